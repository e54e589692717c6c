"""A card whose PIN is verified and whose fingerprint is known."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from cryptnox_core.bip32 import MASTER
from cryptnox_core.card import Card
from cryptnox_core.derivation import Position
from cryptnox_core.errors import ProtocolError, StatusWordError
from cryptnox_core.models import AppletInfo
from cryptnox_core.wire import KeySource
from hwilib_cryptnox.errors import (
    NO_SEED_TEXT,
    NOT_INITIALIZED_TEXT,
    SINGLE_KEY_TEXT,
    FailedError,
    NoWalletError,
    UnavailableError,
)
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.storage.state import StateError


@dataclass(slots=True)
class Session:
    """An open card whose PIN is verified."""

    found: OpenCard
    pin: str = field(repr=False)
    fingerprint: bytes
    """4 bytes, of the master key."""
    position: Position
    """The current key, as far as this session knows."""

    @property
    def card(self) -> Card:
        """The card."""
        return self.found.card


def check_usable(info: AppletInfo) -> None:
    """WalletError unless the card holds a wallet, as far as SELECT tells."""
    if info.is_nft:
        raise UnavailableError("an NFT card holds one key, not a wallet")
    if not info.initialized:
        raise NoWalletError(NOT_INITIALIZED_TEXT)
    if not info.seeded:
        raise NoWalletError(NO_SEED_TEXT)


def authenticate(found: OpenCard, unlocker: Unlocker, *, polling: bool = False, purpose: str = "") -> Session:
    """Verify the PIN and read the fingerprint, which is remembered and compared with what was.

    The secure channel must be open. Raises what `Unlocker.unlock` raises, and what `begin` does.
    """
    check_usable(found.card.info)
    pin = unlocker.unlock(found.card, found.reader, polling=polling, purpose=purpose)
    return begin(found, pin, polling=polling)


def begin(found: OpenCard, pin: str, *, polling: bool = False) -> Session:
    """The session of a card that has just accepted a PIN: its fingerprint is read.

    Raises what the card's commands raise, and WalletError for a card whose seed was replaced: once, for what is
    remembered is mended.
    """
    with deriving(found):
        fingerprint = found.card.master_fingerprint()
    if polling:
        refuse_single_key(found)
    if not found.simulated:
        _remember(found, fingerprint)
    return Session(found, pin, fingerprint, Position(MASTER))


def refuse_single_key(found: OpenCard) -> None:
    """WalletError for a card with a single key, from which nothing can be derived. It is asked where a fingerprint is
    read for a list, and where a derivation failed: other commands need not spend a command on it. A card that does not
    tell is taken for one with a tree."""
    try:
        source = found.card.info_page().key_source
    except (StatusWordError, ProtocolError):
        return
    if source != KeySource.SINGLE:
        return
    with contextlib.suppress(StateError):  # then it shows up in lists
        found.state.update(found.card.serial, lambda now: replace(now, fingerprint=None))
    raise NoWalletError(SINGLE_KEY_TEXT)


@contextlib.contextmanager
def deriving(found: OpenCard) -> Iterator[None]:
    """Around derivations: says why they fail on a card with a single key."""
    try:
        yield
    except StatusWordError:
        if found.card.channel_open:
            refuse_single_key(found)
        raise


def _remember(found: OpenCard, fingerprint: bytes) -> None:
    serial, before = found.card.serial, None
    with contextlib.suppress(StateError):  # without state nothing is compared
        before = found.state.record(serial).fingerprint
        found.state.update(serial, lambda now: replace(now, fingerprint=fingerprint))
    if before is not None and before != fingerprint:
        raise FailedError(
            f"the card {serial} was given another seed: its fingerprint is {fingerprint.hex()}, it was {before.hex()}",
        )
