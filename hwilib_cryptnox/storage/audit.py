"""What a card remembers of its signatures, compared with what this computer asked it for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cryptnox_core.crypto.hashes import sha256
from cryptnox_core.models import HistoryEntry

ASKED, MADE, WITHHELD = "asked", "made", "withheld"
"""Kinds of lines (`event`); lines of earlier versions have none and were written after the card was asked."""
TRIAL_DIGEST = sha256(b"hwi-cryptnox: a signature with the PIN while PIN authentication is off")
"""What `pin-auth off` tries to have signed. No transaction and no message has this digest: theirs are SHA-256 of 32
bytes, or of text that begins otherwise, and nobody finds two texts with one SHA-256."""


@dataclass(frozen=True, slots=True)
class Noted:
    """One digest that this computer asked a card to sign."""

    digest: bytes
    time: int
    """Unix time."""
    txid: str | None = None
    """None: a message."""
    event: str | None = None
    """ASKED where no answer came (the card or this program was stopped), MADE, or WITHHELD for a repeated nonce; None
    in what earlier versions wrote."""
    outpoint: str | None = None
    """The coin, `txid:index`, where a signature was made for one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the card says beside what this computer remembers."""

    counter: int
    """Signatures the card made in all."""
    seen: tuple[tuple[HistoryEntry, Noted | None], ...]
    """The card's history, newest first, each with what is remembered of its digest."""

    @property
    def elsewhere(self) -> tuple[HistoryEntry, ...]:
        """Signatures nobody asked for here."""
        return tuple(entry for entry, noted in self.seen if noted is None)

    @property
    def unanswered(self) -> tuple[HistoryEntry, ...]:
        """Signatures that were asked for here and never arrived."""
        return tuple(entry for entry, noted in self.seen if noted is not None and noted.event == ASKED)

    @property
    def withheld(self) -> tuple[HistoryEntry, ...]:
        """Signatures that were thrown away here: the card had repeated a nonce."""
        return tuple(entry for entry, noted in self.seen if noted is not None and noted.event == WITHHELD)

    @property
    def out_of_sight(self) -> int:
        """Signatures older than the card's history."""
        return max(0, self.counter - len(self.seen))


def noted_digests(entries: Iterable[Mapping[str, object]], serial: int) -> dict[bytes, Noted]:
    """What is remembered of one card, by digest. What says more of it wins: that a nonce was repeated, then that it
    was made. Lines that are none of ours are left out."""
    found: dict[bytes, Noted] = {}
    for entry in entries:
        if entry.get("serial") != str(serial):
            continue
        several = entry.get("digests")
        for text in several if isinstance(several, list) else [entry.get("digest")]:
            with contextlib.suppress(ValueError):
                noted = _noted(bytes.fromhex(str(text)), entry)
                known = found.get(noted.digest)
                if known is None or _RANK.get(noted.event, 1) >= _RANK.get(known.event, 1):
                    found[noted.digest] = noted
    return found


_RANK = {ASKED: 0, None: 1, MADE: 2, WITHHELD: 3}


def _noted(digest: bytes, entry: Mapping[str, object]) -> Noted:
    texts = {name: str(entry[name]) for name in ("txid", "event", "outpoint") if entry.get(name) is not None}
    return Noted(digest, int(str(entry.get("time", 0))), **texts)


def compare(counter: int, history: Sequence[HistoryEntry], noted: Mapping[bytes, Noted]) -> Comparison:
    """By digest: signatures are made anew with another nonce, digests are what they are."""
    ours = {TRIAL_DIGEST: Noted(TRIAL_DIGEST, 0, event=MADE), **noted}
    return Comparison(counter, tuple((entry, ours.get(entry.digest)) for entry in history))
