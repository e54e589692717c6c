"""Whether a card is one that this computer knows or its manufacturer vouches for, and whose wallet one shows for which
neither is so: who is between reader and card can show a certificate that he made himself, with a serial number of his
choice, and hand everything on to the card that is there."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from cryptnox_core.certificate import Genuineness
from hwilib_cryptnox.errors import RefusedCardError, UnreadableCardsError
from hwilib_cryptnox.storage.files import StateError
from hwilib_cryptnox.storage.settings import EMULATOR_PREFIX

if TYPE_CHECKING:
    from cryptnox_core.card import Card

_log = logging.getLogger(__name__)


class _Record(Protocol):
    """What is asked of a `CardRecord`."""

    @property
    def fingerprint(self) -> bytes | None: ...
    @property
    def static_key(self) -> bytes | None: ...


class Remembered(Protocol):
    """What is asked of the `State`."""

    def record(self, serial: int) -> _Record: ...
    def records(self) -> Mapping[int, _Record]: ...
    def knows(self, card: Card) -> bool: ...
    def meet(self, card: Card) -> None: ...
    def keep_wallet(self, serial: int, fingerprint: bytes, *, doubted: bool) -> None: ...


def check_identity(card: Card, state: Remembered) -> None:
    """Refuse a card with a known serial and another static key than before; UnreadableCardsError where that cannot be
    read and nobody vouches for the card, for it may be such a one. The certificate must have been read."""
    try:
        other = state.record(card.serial).static_key is not None and not state.knows(card)
    except StateError as error:
        if card.genuineness is Genuineness.GENUINE:
            return
        raise UnreadableCardsError(card.serial, error) from error
    if other:
        raise RefusedCardError(
            f"another card with the serial {card.serial} was used before, so this one is refused (cryptnoxctl forget "
            f"{card.serial} if it is yours)"
        )


def is_known(card: Card, state: Remembered) -> bool:
    """Whether it is the card that was used here under its serial, or a genuine one; over TCP anybody can sign for a
    card. The certificate must have been read."""
    with contextlib.suppress(StateError):  # then it has to be genuine
        if state.knows(card):
            return True
    return card.genuineness is Genuineness.GENUINE and not card.transport.name.startswith(EMULATOR_PREFIX)


def remember_key(card: Card, state: Remembered) -> None:
    """Remember the key of a card whose channel was opened by a secret of its owner's."""
    with contextlib.suppress(StateError):  # then the manufacturer has to vouch for it
        state.meet(card)


def holder_of(state: Remembered, fingerprint: bytes | None, serial: int) -> int | None:
    """Another card than `serial` that is known, and remembered to hold a wallet (4 bytes)."""
    with contextlib.suppress(StateError):  # then nothing is known of any
        for other, record in state.records().items():
            known = other != serial and record.static_key is not None
            if known and fingerprint is not None and record.fingerprint == fingerprint:
                return other
    return None


def holder_instead_of(card: Card, state: Remembered, fingerprint: bytes | None) -> int | None:
    """As `holder_of`, for a card that is neither known nor genuine; None for any other."""
    return None if is_known(card, state) else holder_of(state, fingerprint, card.serial)


def remember_wallet(card: Card, state: Remembered, fingerprint: bytes) -> bytes | None:
    """Remember what wallet (4 bytes) a card holds that has accepted its PIN; which one was remembered before. One that
    holds another card's, and that the manufacturer does not vouch for, is told of, and does not become known by it: it
    gets no PIN automatically.

    Raises: StateError.
    """
    before = state.record(card.serial)
    other = None if card.genuineness is Genuineness.GENUINE else holder_of(state, fingerprint, card.serial)
    doubted = other is not None and (before.fingerprint != fingerprint or before.static_key is None)
    state.keep_wallet(card.serial, fingerprint, doubted=doubted)
    if doubted:
        _log.warning(
            "this card says that it is %d and holds the wallet of the card %d, but its manufacturer does not vouch for "
            "it: something between the reader and your card may have read the PIN. If this is not your second card, do "
            "not use this reader, and change the PIN in another one: cryptnoxctl pin change",
            card.serial,
            other,
        )
    return before.fingerprint
