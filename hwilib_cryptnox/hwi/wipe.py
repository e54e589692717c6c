"""`wipe` of HWI's command line: a dialogue on the terminal. Stdin and stdout stay free."""

from __future__ import annotations

import contextlib
import logging

from cryptnox_core.errors import TransportError
from hwilib_cryptnox.console.terminal import Terminal
from hwilib_cryptnox.errors import (
    NOT_INITIALIZED_TEXT,
    RESET_DISABLED_TEXT,
    CanceledError,
    LeftError,
    NoWalletError,
    RetoldError,
    TerminalError,
    UnavailableError,
)
from hwilib_cryptnox.hwi.errors import to_hwi_error
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.irreversible import AWAY_TEXT, End, admit, erase, erased_words, failure, forget_erased
from hwilib_cryptnox.signer.wallet import Wallet
from hwilib_cryptnox.storage.state import StateError

_log = logging.getLogger(__name__)


def wipe(wallet: Wallet, done: list[str] | None = None) -> bool:
    """Back to the factory state: the person types the serial number, then the PUK. True: the card is erased.

    `done` gets the sentence that says so as soon as it is true. Raises CanceledError where the person leaves,
    UnavailableError without a terminal, otherwise one with what is true of the card; StatusWordError where it refuses
    the PUK.
    """
    found = wallet.open()
    serial = found.card.serial
    if not found.card.info.initialized:
        raise NoWalletError(f"{NOT_INITIALIZED_TEXT}: there is nothing to wipe")
    if found.card.info.reset_disabled:
        raise UnavailableError(RESET_DISABLED_TEXT)
    admit(wallet.access, found.card)
    terminal = Terminal()
    puk = _asked(found, terminal)
    wait = wallet.access.settings.reinsert_wait
    ending = erase(wallet.access, found, puk, lambda: terminal.say(AWAY_TEXT.format(wait)))
    words = erased_words(serial)
    if done is not None and ending.end is End.TAKEN:
        done.append(words.done)  # before anything else can be interrupted
    lost = forget_erased(wallet.access.state, serial, ending.end)
    if ending.end is not End.TAKEN:
        cause = ending.lost or TransportError("the answer was lost")
        message, hint = failure(words, ending, to_hwi_error(cause).message)
        raise RetoldError(cause, f"{message}. {hint[:1].upper()}{hint[1:]}")
    if lost is not None:
        _log.warning("what this computer remembers of the card %d is still there: %s", serial, lost)
    return True


def _asked(found: OpenCard, terminal: Terminal) -> str:
    """The PUK, after the person has named the card."""
    serial = found.card.serial
    known = b""
    with contextlib.suppress(StateError):  # then it is not said
        known = found.state.record(serial).fingerprint or b""
    wallet = f", whose wallet has the fingerprint {known.hex()}" if known and not found.simulated else ""
    try:
        terminal.say(f"This erases the card {serial} in {found.reader}{wallet}.")
        terminal.say("Without its recovery words the money on it is lost.")
        terminal.typed("", str(serial))
        return terminal.puk()
    except LeftError as error:
        raise CanceledError(str(error)) from error
    except TerminalError as error:
        raise UnavailableError(f"{error}: this command needs a terminal") from error
