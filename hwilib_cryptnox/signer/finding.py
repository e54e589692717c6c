"""The card that a command of HWI's means by a fingerprint, or by none."""

from __future__ import annotations

import contextlib

from cryptnox_core.errors import CryptnoxError, PinLockedError, ReaderBusyError, TransportError
from hwilib_cryptnox.errors import CanceledError, CardNotFoundError, WalletError
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.signer.cards import Access, ForeignCardError, OpenCard, remembered
from hwilib_cryptnox.signer.wallet import NOT_FOUND_TEXT, Wallet, authenticate, of_card
from hwilib_cryptnox.storage.state import StateError


def find_wallet(access: Access, unlocker: Unlocker, fingerprint: bytes | None, *, purpose: str = "") -> Wallet:
    """The card with a fingerprint. Where None is given: the first that holds a seed, or else the first.

    Of several cards that are known to have the fingerprint one is taken, one without a note of a refused PIN before
    others; what keeps its PIN from being verified names it, and says how another one is chosen.

    A PIN is sent only where no card is known to have the fingerprint. A card that is given none does not end the
    search; one that refuses it does, since a command spends one try at the most: it has a note then, and cards with a
    note come last, so that the next command reaches the others. Raises CardNotFoundError, with
    HWI's own text, where there is no such card, and the reason a card could not be asked.
    """
    opened: list[OpenCard] = []
    problems: list[Exception] = []
    wallet: Wallet | None = None
    other: OpenCard | None = None
    noted: OpenCard | None = None
    try:
        for reader in access.readers():
            found = _identified(access, reader, opened, problems)
            if found is None:
                continue
            if fingerprint is None:
                fits = found.card.info.seeded
                other = other or found
            else:
                fits = remembered(found) == fingerprint
            if fits and (fingerprint is None or not _noted(found)):
                wallet = Wallet(found.path, access, unlocker, found=found, expected=fingerprint)
                return wallet
            if fits:
                noted = noted or found
        other = other or noted
        if other is not None:
            wallet = Wallet(other.path, access, unlocker, found=other, expected=fingerprint)
            return wallet
        for found in sorted(opened, key=_noted):
            if found.card.info.seeded and found.card.channel_open and remembered(found) is None:
                try:
                    session = authenticate(found, unlocker, purpose=purpose)
                except CanceledError:
                    raise
                except (CryptnoxError, WalletError) as error:
                    if isinstance(error, WalletError) and error.spent and len(opened) > 1:
                        raise of_card(error, found.card.serial) from error
                    problems.append(error)
                    continue
                if session.fingerprint == fingerprint:
                    wallet = Wallet(found.path, access, unlocker, session=session, expected=fingerprint)
                    return wallet
    finally:
        for found in opened:
            if wallet is None or not wallet.holds(found):
                found.close()
    for problem in problems:
        raise problem
    raise CardNotFoundError(NOT_FOUND_TEXT)


def _identified(access: Access, reader: str, opened: list[OpenCard], problems: list[Exception]) -> OpenCard | None:
    """The card in a reader, identified; None where there is none of ours, or it does not hold a tree of keys."""
    try:
        found = access.connect(reader, access.settings.wait)
    except (ReaderBusyError, PinLockedError) as error:
        problems.append(error)
        return None
    except (TransportError, ForeignCardError):
        return None
    opened.append(found)
    if found.card.info.is_nft:
        return None
    try:
        access.identify(found)
    except (CryptnoxError, WalletError) as error:
        problems.append(error)
        return None
    return found


def _noted(found: OpenCard) -> bool:
    """Whether a note of a refused PIN stands."""
    with contextlib.suppress(StateError):  # then nothing is known of it
        return found.card.channel_open and found.state.record(found.card.serial).note is not None
    return False
