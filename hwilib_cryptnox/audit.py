"""Signatures a card was asked for through this program, and their comparison with what the card remembers."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cryptnox_core.models import HistoryEntry
from hwilib_cryptnox.settings import Settings
from hwilib_cryptnox.state import State, StateError

_log = logging.getLogger(__name__)


def remember(settings: Settings, state: State, serial: int, digests: Iterable[bytes], txid: str | None) -> None:
    """Note digests (32 bytes each) a card was asked to sign, with the transaction they belong to (None: a message).

    A digest is noted also where its signature was lost on the way: the card counts it all the same.
    """
    if not settings.audit:
        return
    now = int(time.time())
    entries: list[dict[str, object]] = [
        {"time": now, "serial": str(serial), "digest": digest.hex(), "txid": txid} for digest in digests
    ]
    if entries:
        try:
            state.audit(entries)
        except StateError as error:  # a signing is not given up for its diary
            _log.warning("no audit line was written for what the card signed: %s", error)


@dataclass(frozen=True, slots=True)
class Noted:
    """One digest this computer remembers."""

    digest: bytes
    time: int
    """Unix time."""
    txid: str | None


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
    def out_of_sight(self) -> int:
        """Signatures older than the card's history."""
        return max(0, self.counter - len(self.seen))


def noted_digests(entries: Iterable[Mapping[str, object]], serial: int) -> dict[bytes, Noted]:
    """What is remembered of one card, by digest. Lines that are none of ours are left out."""
    found = {}
    for entry in entries:
        if entry.get("serial") != str(serial):
            continue
        with contextlib.suppress(ValueError):
            digest, txid = bytes.fromhex(str(entry.get("digest"))), entry.get("txid")
            found[digest] = Noted(digest, int(str(entry.get("time", 0))), None if txid is None else str(txid))
    return found


def compare(counter: int, history: Sequence[HistoryEntry], noted: Mapping[bytes, Noted]) -> Comparison:
    """By digest: signatures are made anew with another nonce, digests are what they are."""
    return Comparison(counter, tuple((entry, noted.get(entry.digest)) for entry in history))
