"""How a command ends: exit codes by the class of an error, and its one message with what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from cryptnox_core import errors
from hwilib_cryptnox.console.told import Told, is_of_psbt, told
from hwilib_cryptnox.errors import (
    BadRequestError,
    BadWordsError,
    CardNotFoundError,
    NoHiddenInputError,
    NoPinError,
    NoTerminalError,
    NotReadyError,
    RefusedPinError,
    RetoldError,
    TerminalError,
    UnknownPukError,
)


class Exit(IntEnum):
    """Exit codes of cryptnoxctl."""

    DONE = 0
    REFUSED = 1
    """By the card, or by the person."""
    USAGE = 2
    NO_CARD = 3
    """No reader, no card, or somebody else holds it."""
    SECRET = 4
    """PIN or PUK: wrong, blocked, or not available."""
    INPUT = 5
    """What was given to work on was refused: a transaction, a message, a file."""


class CtlError(TerminalError):
    """An expected failure of a command of cryptnoxctl."""

    def __init__(self, exit_code: Exit, message: str, hint: str = "", *, unchanged: str = "") -> None:
        super().__init__(message, hint=hint, unchanged=unchanged)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Problem(Told):
    """An error as it is shown."""

    exit_code: Exit = Exit.REFUSED


_REFUSALS = (errors.WrongPinError, errors.PinLockedError, errors.WrongPukError)
_EXITS = {
    Exit.NO_CARD: (CardNotFoundError, errors.TransportError),
    Exit.SECRET: (NoPinError, RefusedPinError, NotReadyError, UnknownPukError, *_REFUSALS),
    Exit.INPUT: (BadWordsError,),
    Exit.USAGE: (BadRequestError, NoTerminalError, NoHiddenInputError, errors.UsageError),
}
"""All others are REFUSED."""


def explain(error: BaseException) -> Problem:
    """What to tell the person. Total: an error nobody foresaw is REFUSED with its text, never silence."""
    said = told(error)
    return Problem(said.message, said.hint, said.unchanged, _exit_of(error))


def _exit_of(error: BaseException) -> Exit:
    if isinstance(error, CtlError):
        return error.exit_code
    if isinstance(error, RetoldError):
        return _exit_of(error.cause)
    if isinstance(error, OSError) and error.filename is not None:
        return Exit.USAGE
    if is_of_psbt(error):
        return Exit.INPUT
    return next((exit_code for exit_code, kinds in _EXITS.items() if isinstance(error, kinds)), Exit.REFUSED)
