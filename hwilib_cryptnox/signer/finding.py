"""The card that a command of HWI's means by a fingerprint, or by none."""

from __future__ import annotations

import contextlib

from cryptnox_core.errors import CryptnoxError, PinLockedError, ReaderBusyError, TransportError
from hwilib_cryptnox.errors import CanceledError, CardNotFoundError, WalletError
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.signer.cards import Access, ForeignCardError, OpenCard, remembered
from hwilib_cryptnox.signer.wallet import NOT_FOUND_TEXT, Wallet, authenticate, of_card
from hwilib_cryptnox.storage.state import StateError


def find_wallet(access: Access, unlocker: Unlocker, fingerprint: bytes | None, *, prompt: str = "") -> Wallet:
    """The card with a fingerprint. Where None is given: the first that holds a seed, or else the first.

    Of several cards that are known to have the fingerprint one is taken, one without a note of a refused PIN before
    others; what keeps its PIN from being verified names it, and says how another one is chosen.

    A PIN is sent only where no card is known to have the fingerprint. A card that is given none does not end the
    search; one that refuses it does, since a command spends one try at the most: it has a note then, and cards with a
    note come last, so that the next command reaches the others. Raises CardNotFoundError, with
    HWI's own text, where there is no such card, and the reason a card could not be asked.
    """
    cards: list[OpenCard] = []
    problems: list[Exception] = []
    wallet: Wallet | None = None
    other: OpenCard | None = None
    noted: OpenCard | None = None
    try:
        for reader in access.readers():
            opened = _identified(access, reader, cards, problems)
            if opened is None:
                continue
            if fingerprint is None:
                fits = opened.card.info.seeded
                other = other or opened
            else:
                fits = remembered(opened) == fingerprint
            if fits and (fingerprint is None or not _noted(opened)):
                wallet = Wallet(opened.path, access, unlocker, opened=opened, expected=fingerprint)
                return wallet
            if fits:
                noted = noted or opened
        other = other or noted
        if other is not None:
            wallet = Wallet(other.path, access, unlocker, opened=other, expected=fingerprint)
            return wallet
        for opened in sorted(cards, key=_noted):
            if opened.card.info.seeded and opened.card.channel_open and remembered(opened) is None:
                try:
                    session = authenticate(opened, unlocker, prompt=prompt)
                except CanceledError:
                    raise
                except (CryptnoxError, WalletError) as error:
                    if isinstance(error, WalletError) and error.spent and len(cards) > 1:
                        raise of_card(error, opened.card.serial) from error
                    problems.append(error)
                    continue
                if session.fingerprint == fingerprint:
                    wallet = Wallet(opened.path, access, unlocker, session=session, expected=fingerprint)
                    return wallet
    finally:
        for opened in cards:
            if wallet is None or not wallet.holds(opened):
                opened.close()
    for problem in problems:
        raise problem
    raise CardNotFoundError(NOT_FOUND_TEXT)


def _identified(access: Access, reader: str, cards: list[OpenCard], problems: list[Exception]) -> OpenCard | None:
    """The card in a reader, identified; None where there is none of ours, or it does not hold a tree of keys."""
    try:
        opened = access.connect(reader, access.settings.wait)
    except (ReaderBusyError, PinLockedError) as error:
        problems.append(error)
        return None
    except (TransportError, ForeignCardError):
        return None
    cards.append(opened)
    if opened.card.info.is_nft:
        return None
    try:
        access.identify(opened)
    except (CryptnoxError, WalletError) as error:
        problems.append(error)
        return None
    return opened


def _noted(opened: OpenCard) -> bool:
    """Whether a note of a refused PIN stands."""
    with contextlib.suppress(StateError):  # then nothing is known of it
        return opened.card.channel_open and opened.state.record(opened.card.serial).note is not None
    return False
