"""HWI's codes, and which of them each class of error has. Knows no hwilib, sends nothing."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from cryptnox_core import errors
from cryptnox_core.wire import Sw
from hwilib_cryptnox import errors as kinds
from hwilib_cryptnox.errors import BUSY_TEXT, NO_PIN_NOW_TEXT, NO_SEED_TEXT, NOT_INITIALIZED_TEXT, PAIRING_TEXT

PIN_TEXT = "The PIN goes with the command: --password, --stdinpass or CRYPTNOX_PIN_COMMAND"
NO_BACKUP_TEXT = "The card gives no backup out: keep the recovery words"
NO_TOGGLE_TEXT = "The card has no switch for a passphrase: it is part of the seed that was loaded"
NO_DESCRIPTORS_TEXT = "The card keeps no descriptors; none has to be registered"
UNAVAILABLE = {
    "displayaddress": kinds.NO_SCREEN_TEXT,
    "backup": NO_BACKUP_TEXT,
    "promptpin": PIN_TEXT,
    "sendpin": PIN_TEXT,
    "togglepassphrase": NO_TOGGLE_TEXT,
    "registerdescriptor": NO_DESCRIPTORS_TEXT,
    "installudevrules": "Nothing to install: card readers are reached through the PC/SC service (pcscd)",
}
"""HWI's commands that no card has, and why."""


class Code(IntEnum):
    """HWI's error codes (hwilib/errors.py)."""

    NO_DEVICE_TYPE = -1
    MISSING_ARGUMENTS = -2
    CONNECTION = -3
    UNKNOWN_DEVICE_TYPE = -4
    INVALID_TX = -5
    NO_PASSWORD = -6
    BAD_ARGUMENT = -7
    NOT_IMPLEMENTED = -8
    UNAVAILABLE = -9
    ALREADY_INITIALIZED = -10
    NOT_READY = -12
    FAILURE = -13
    CANCELED = -14
    BUSY = -15
    HELP = -17
    NOT_INITIALIZED = -18


class HwiError(NamedTuple):
    """What the caller of HWI is told."""

    code: Code
    message: str


class NoDeviceTypeError(kinds.BadRequestError):
    """The command does not say which device it is for."""


class UnknownDeviceTypeError(kinds.BadRequestError):
    """The command is for a type of device that is none of ours."""


_CODES: tuple[tuple[type[BaseException], Code, str], ...] = (
    (NoDeviceTypeError, Code.NO_DEVICE_TYPE, ""),
    (UnknownDeviceTypeError, Code.UNKNOWN_DEVICE_TYPE, ""),
    (kinds.CardNotFoundError, Code.CONNECTION, ""),
    (kinds.NoPinError, Code.NO_PASSWORD, ""),
    (kinds.RefusedPinError, Code.BAD_ARGUMENT, ""),
    (kinds.BadRequestError, Code.BAD_ARGUMENT, ""),
    (kinds.BadWordsError, Code.BAD_ARGUMENT, ""),
    (kinds.UnknownPukError, Code.BAD_ARGUMENT, ""),
    (kinds.NoHiddenInputError, Code.BAD_ARGUMENT, ""),
    (kinds.UnavailableError, Code.UNAVAILABLE, ""),
    (kinds.NoTerminalError, Code.UNAVAILABLE, ""),
    (kinds.AlreadyInitializedError, Code.ALREADY_INITIALIZED, ""),
    (kinds.NotReadyError, Code.NOT_READY, ""),
    (kinds.CanceledError, Code.CANCELED, ""),
    (kinds.NoWalletError, Code.NOT_INITIALIZED, ""),
    (kinds.WalletError, Code.FAILURE, ""),
    (errors.WrongPinError, Code.BAD_ARGUMENT, ""),
    (errors.PinLockedError, Code.NOT_READY, NO_PIN_NOW_TEXT),
    (errors.WrongPukError, Code.BAD_ARGUMENT, ""),
    (errors.NotInitializedError, Code.NOT_INITIALIZED, NOT_INITIALIZED_TEXT),
    (errors.NoSeedError, Code.NOT_INITIALIZED, NO_SEED_TEXT),
    (errors.NotSupportedError, Code.UNAVAILABLE, ""),
    (errors.StatusWordError, Code.FAILURE, ""),
    (errors.ReaderBusyError, Code.BUSY, BUSY_TEXT),
    (errors.PairingError, Code.NOT_READY, PAIRING_TEXT),
    (errors.UnknownChannelError, Code.NOT_READY, ""),
    (errors.TransportError, Code.CONNECTION, ""),
    (errors.CertificateError, Code.CONNECTION, ""),
    (errors.ChannelError, Code.CONNECTION, ""),
    (errors.ProtocolError, Code.FAILURE, ""),
    (errors.UsageError, Code.BAD_ARGUMENT, ""),
    (NotImplementedError, Code.NOT_IMPLEMENTED, ""),
    (KeyboardInterrupt, Code.CANCELED, "Canceled"),
)
"""The first that fits, and its text where it is not the error's own."""


def to_hwi_error(error: BaseException) -> HwiError:
    """The code and text of any error. Total: what is not known is FAILURE, never silence."""
    if isinstance(error, kinds.EndedError):
        return HwiError(_code_of_end(error.cause), str(error))
    if isinstance(error, kinds.RetoldError):
        return HwiError(to_hwi_error(error.cause).code, str(error))
    if isinstance(error, errors.WrongPinError):
        return HwiError(Code.BAD_ARGUMENT, kinds.wrong_pin_text(error.left))
    if isinstance(error, errors.PinLockedError) and error.sw == Sw.CONDITIONS:
        return HwiError(Code.NOT_READY, kinds.SOFT_LOCKED_TEXT)
    psbt_code = _psbt_code(error)
    if psbt_code is not None:
        return HwiError(psbt_code, str(error))
    for kind, code, text in _CODES:
        if isinstance(error, kind):
            return HwiError(code, text or str(error))
    return HwiError(Code.FAILURE, str(error) or type(error).__name__)


def _code_of_end(cause: BaseException) -> Code:
    """Of a set-up that ended early: HWI has no code for what the card and the line to it do then."""
    if isinstance(cause, kinds.WalletError | KeyboardInterrupt):
        return to_hwi_error(cause).code
    if isinstance(cause, errors.TransportError):
        return Code.CONNECTION
    if isinstance(cause, _GIVEN) or (isinstance(cause, OSError) and cause.filename is not None):
        return Code.BAD_ARGUMENT
    return Code.FAILURE


_GIVEN = (errors.WrongPinError, errors.PinLockedError, errors.WrongPukError, errors.UsageError)
"""What a person gave is wrong, or was too often."""


def _psbt_code(error: BaseException) -> Code | None:
    """Errors of the PSBT engine. Imported late: most commands never load it."""
    if not isinstance(error, ValueError) or isinstance(error, errors.CryptnoxError):
        return None
    from hwilib_cryptnox.psbt import BadPsbt, PsbtError

    if isinstance(error, BadPsbt):
        return Code.INVALID_TX
    return Code.BAD_ARGUMENT if isinstance(error, PsbtError) else None
