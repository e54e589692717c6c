"""The one card that a command which sets up or erases is for: the one that was named, and no other."""

from __future__ import annotations

from dataclasses import replace

from cryptnox_core.errors import CryptnoxError, PinLockedError, ReaderBusyError, TransportError
from hwilib_cryptnox.console.terminal import Terminal
from hwilib_cryptnox.errors import (
    BadRequestError,
    CanceledError,
    CardNotFoundError,
    LeftError,
    NoPinError,
    NotReadyError,
    RetoldError,
    TerminalError,
    UnavailableError,
    WalletError,
)
from hwilib_cryptnox.pin.policy import Unlocker, tries_left
from hwilib_cryptnox.signer.cards import CARD_PREFIX, Access, ForeignCardError, OpenCard
from hwilib_cryptnox.signer.irreversible import admit
from hwilib_cryptnox.signer.wallet import NOT_FOUND_TEXT, Wallet, remembered

BY_SERIAL = f"name it by its serial number: --device-path {CARD_PREFIX}SERIAL, without --fingerprint"


def named_card(
    access: Access,
    unlocker: Unlocker,
    path: str | None,
    fingerprint: bytes | None,
    *,
    empty: bool = False,
) -> Wallet:
    """The card at `path`, or the only one in all readers; with `fingerprint` the one that has it, which is read from
    the card: the PIN is asked for where no source has it. `empty`: cards without a seed go before others.

    Raises BadRequestError where several cards may be meant, CardNotFoundError where none is, or where the one at
    `path` has another fingerprint; and what keeps the PIN from being verified.
    """
    wallet = Wallet(path, access, unlocker, expected=fingerprint) if path else None
    if wallet is None:
        wallet = _only(access, unlocker, fingerprint, empty=empty)
    if fingerprint is not None:
        try:
            _prove(wallet, unlocker)
        except BaseException:
            wallet.close()
            raise
    return wallet


def _only(access: Access, unlocker: Unlocker, fingerprint: bytes | None, *, empty: bool) -> Wallet:
    opened: list[OpenCard] = []
    unusable: list[str] = []
    problems: list[Exception] = []
    others: list[str] = []
    chosen: OpenCard | None = None
    try:
        for reader in access.readers():
            _identify(access, reader, opened, unusable, problems)
        if fingerprint is None:
            meant = [found for found in opened if empty and not found.card.info.seeded]
            if not meant:
                meant, others = opened, unusable
        else:
            meant = [found for found in opened if remembered(found) == fingerprint]
            meant = meant or [found for found in opened if found.card.info.seeded and remembered(found) is None]
        if len(meant) + len(others) > 1:
            names = [*(str(found.card.serial) for found in meant), *others]
            raise BadRequestError(f"{len(names)} cards may be meant: {', '.join(names)}; {BY_SERIAL}")
        if not meant:
            raise problems[0] if problems else CardNotFoundError(NOT_FOUND_TEXT)
        chosen = meant[0]
        return Wallet(chosen.path, access, unlocker, found=chosen, expected=fingerprint)
    finally:
        for found in opened:
            if found is not chosen:
                found.close()


def _identify(
    access: Access, reader: str, opened: list[OpenCard], unusable: list[str], problems: list[Exception]
) -> None:
    """The card in a reader: in `opened` where it is one of ours and can be used, in `unusable` where it cannot."""
    try:
        found = access.connect(reader, access.settings.wait)
    except (ReaderBusyError, PinLockedError) as error:
        problems.append(error)
        return
    except (TransportError, ForeignCardError):
        return
    try:
        access.identify(found)
    except (CryptnoxError, WalletError) as error:
        problems.append(error)
        unusable.append(f"one in {reader}")
        found.close()
    except BaseException:
        found.close()
        raise
    else:
        opened.append(found)


def _prove(wallet: Wallet, unlocker: Unlocker) -> None:
    """Read the fingerprint from the card and compare it."""
    found = wallet.open()
    admit(wallet.access, found.card)
    if not found.card.info.seeded:
        raise CardNotFoundError(f"the card {found.card.serial} holds no seed, so it has no fingerprint; {BY_SERIAL}")
    try:
        if not unlocker.has_source:
            wallet.unlocker = replace(unlocker, password=_typed_pin(found))
        wallet.session()
    except (NoPinError, NotReadyError, UnavailableError) as error:
        text = f"the fingerprint of the card {found.card.serial} is read with its PIN: {error}. Without it {BY_SERIAL}"
        raise RetoldError(error, text) from error


def _typed_pin(found: OpenCard) -> str:
    left = tries_left(found.card)
    terminal = Terminal()
    try:
        return terminal.pin(f"PIN of card {found.card.serial} (at most {left} tries left), to compare its fingerprint")
    except LeftError as error:
        raise CanceledError(str(error)) from error
    except TerminalError as error:
        raise NoPinError(str(error)) from error
