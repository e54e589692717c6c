"""How a command ends: exit codes, and every error turned into one message with what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from errno import EIO, ENOSPC

from cryptnox_core import errors
from hwilib_cryptnox.errors import (
    BUSY_TEXT,
    PIN_AUTH_OFF_TEXT,
    Code,
    NoPinError,
    RefusedPinError,
    WalletError,
    wrong_pin_text,
)
from hwilib_cryptnox.pin.sources import NO_PIN_TEXT
from hwilib_cryptnox.storage.state import StateError


class Exit(IntEnum):
    """Exit codes of cryptnoxctl."""

    DONE = 0
    REFUSED = 1
    """By the card, or by the person."""
    USAGE = 2
    NO_CARD = 3
    """No reader, no card, or somebody else holds it."""
    SECRET = 4
    """PIN or PUK: wrong, blocked, or not to be had."""
    INPUT = 5
    """What was given to work on was refused: a transaction, a message, a file."""


class CtlError(Exception):
    """An expected failure of a command."""

    def __init__(self, exit_code: Exit, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.hint = hint


NOTHING_CHANGED = "; nothing was changed"


class CanceledError(CtlError):
    """The person said no, or left."""

    def __init__(self, message: str = f"Canceled{NOTHING_CHANGED}") -> None:
        super().__init__(Exit.REFUSED, message)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as it is shown."""

    exit_code: Exit
    message: str
    hint: str = ""


_PIN_HINT = "cryptnoxctl pin tries shows what is left; a blocked PIN is set anew with the PUK: cryptnoxctl pin unblock"
_PUK_HINT = "the card takes 12 wrong PUKs until it is powered anew, any number in all"
_POWER_CYCLE = "take the card out and put it back, then: cryptnoxctl pin tries"
_SETUP_HINT = "set the card up: cryptnoxctl setup"
_REOPEN = "put the card in again and repeat the command"

_KINDS: tuple[tuple[type[BaseException], Exit, str], ...] = (
    (errors.WrongPinError, Exit.SECRET, _PIN_HINT),
    (errors.PinLockedError, Exit.SECRET, _POWER_CYCLE),
    (errors.WrongPukError, Exit.SECRET, _PUK_HINT),
    (errors.NotInitializedError, Exit.REFUSED, _SETUP_HINT),
    (errors.NoSeedError, Exit.REFUSED, _SETUP_HINT),
    (errors.StatusWordError, Exit.REFUSED, ""),
    (errors.ServiceUnavailableError, Exit.NO_CARD, "cryptnoxctl doctor says what is missing"),
    (errors.NoReaderError, Exit.NO_CARD, "plug a reader in, then: cryptnoxctl doctor"),
    (errors.NoCardError, Exit.NO_CARD, "put the card into the reader; cryptnoxctl list shows what is there"),
    (errors.CardRemovedError, Exit.NO_CARD, _REOPEN),
    (errors.ReaderBusyError, Exit.NO_CARD, "end the other program, or wait for it: CRYPTNOX_WAIT=30"),
    (errors.TransportError, Exit.NO_CARD, _REOPEN),
    (errors.PairingError, Exit.REFUSED, "cryptnoxctl pairing recover (needs the PUK)"),
    (errors.UnknownChannelError, Exit.REFUSED, "this program cannot use the card yet"),
    (errors.CertificateError, Exit.REFUSED, "do not use this card: it cannot prove that it is the one it says it is"),
    (errors.BadSignatureError, Exit.REFUSED, "the signature was thrown away; do not use this card"),
    (errors.ProtocolError, Exit.REFUSED, _REOPEN),
    (errors.UsageError, Exit.USAGE, ""),
    (StateError, Exit.REFUSED, "the folder must belong to you and be writable"),
    (KeyboardInterrupt, Exit.REFUSED, ""),
)

_CODES = {
    Code.NO_DEVICE_TYPE: Exit.USAGE,
    Code.MISSING_ARGUMENTS: Exit.USAGE,
    Code.CONNECTION: Exit.NO_CARD,
    Code.UNKNOWN_DEVICE_TYPE: Exit.USAGE,
    Code.INVALID_TX: Exit.INPUT,
    Code.NO_PASSWORD: Exit.SECRET,
    Code.BAD_ARGUMENT: Exit.USAGE,
    Code.NOT_READY: Exit.SECRET,
    Code.BUSY: Exit.NO_CARD,
    Code.HELP: Exit.USAGE,
}
"""HWI's codes; the others end as REFUSED."""


def explain(error: BaseException) -> Problem:
    """What to tell the person. Total: an error nobody foresaw is REFUSED with its text, never silence."""
    if isinstance(error, CtlError):
        return Problem(error.exit_code, str(error), error.hint)
    if isinstance(error, WalletError):
        return _of_wallet(error)
    if isinstance(error, errors.WrongPinError):
        return Problem(Exit.SECRET, wrong_pin_text(error.left), _PIN_HINT)
    if isinstance(error, KeyboardInterrupt):
        return Problem(Exit.REFUSED, "Interrupted")
    input_error = _of_psbt(error)
    if input_error is not None:
        return input_error
    for kind, exit_code, hint in _KINDS:
        if isinstance(error, kind):
            return Problem(exit_code, _sentence(str(error)), hint)
    if isinstance(error, OSError) and error.filename is not None:
        return Problem(Exit.USAGE, f"{error.filename}: {error.strerror}")
    if isinstance(error, OSError) and error.strerror:
        full = error.errno in (ENOSPC, EIO)
        return Problem(Exit.REFUSED, _sentence(error.strerror), "the output could not be written" if full else "")
    return Problem(Exit.REFUSED, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _of_wallet(error: WalletError) -> Problem:
    if isinstance(error, NoPinError):
        # The rest of the text names an option that this program does not have.
        reasons = str(error).removesuffix(NO_PIN_TEXT).removesuffix("; ")
        message = f"A PIN is needed: {reasons}" if reasons else "A PIN is needed"
        return Problem(Exit.SECRET, message, "run it in a terminal, or set CRYPTNOX_PIN_COMMAND")
    if isinstance(error, RefusedPinError):
        return Problem(Exit.SECRET, _sentence(str(error)), _PIN_HINT)
    hint = _KINDS_HINT.get(error.code, "")
    if str(error) == BUSY_TEXT:
        hint = "end the other program, or wait for it: CRYPTNOX_WAIT=30"
    elif str(error) == PIN_AUTH_OFF_TEXT:
        hint = "cryptnoxctl pin-auth on (needs the PUK)"
    return Problem(_CODES.get(error.code, Exit.REFUSED), _sentence(str(error)), hint)


_KINDS_HINT = {Code.CONNECTION: "cryptnoxctl list shows what is there", Code.NOT_INITIALIZED: _SETUP_HINT}


def _of_psbt(error: BaseException) -> Problem | None:
    """Errors of the PSBT engine. Imported late: most commands never load it."""
    if not isinstance(error, ValueError):
        return None
    from hwilib_cryptnox.psbt.errors import PsbtError

    if not isinstance(error, PsbtError):
        return None
    return Problem(Exit.INPUT, f"The transaction is refused: {error}", "nothing was signed")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text[1:2].isalpha() or text[1:2] == " " else text
