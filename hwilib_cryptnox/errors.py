"""From any error to the pair HWI speaks of: a code and one line for the user. Knows no hwilib, sends nothing."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from cryptnox_core import errors
from cryptnox_core.wire import Sw


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


class WalletError(Exception):
    """A refusal of the wallet side: HWI's code and a sentence that says what to do. `spent`: it cost a PIN try."""

    def __init__(self, code: Code, message: str, *, spent: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.spent = spent


class RefusedPinError(WalletError):
    """A PIN was refused, now or before; nothing more is sent. `spent`: just now, and a try with it."""

    def __init__(self, message: str, left: int | None = None, *, spent: bool = False) -> None:
        super().__init__(Code.BAD_ARGUMENT, message, spent=spent)
        self.left = left


class NoPinError(WalletError):
    """No source has a PIN for this card."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.NO_PASSWORD, message)


class SoftLockedError(WalletError):
    """The card answers nothing until it is powered anew. `spent` is False: this was seen before a PIN was sent."""

    def __init__(self) -> None:
        super().__init__(Code.NOT_READY, SOFT_LOCKED_TEXT)


BUSY_TEXT = "Card is in use by another program"
LOCKED_TEXT = "PIN blocked: unblock with the PUK (cryptnoxctl pin unblock)"
SOFT_LOCKED_TEXT = "PIN locked for this session: remove and re-insert the card"
NO_PIN_NOW_TEXT = (
    "No PIN is accepted: remove and re-insert the card; if that does not help, unblock with the PUK "
    "(cryptnoxctl pin unblock)"
)
EXPORT_OFF_TEXT = "xpub export is off: cryptnoxctl xpub on (needs the PUK)"
PAIRING_TEXT = "paired with another key: cryptnoxctl pairing recover (needs the PUK)"
NOT_INITIALIZED_TEXT = "Not initialized"
NO_SEED_TEXT = "Not initialized: the card has no seed"
SINGLE_KEY_TEXT = "the card holds a single key, not a wallet"
PIN_AUTH_OFF_TEXT = "PIN authentication is off on this card"
RESET_DISABLED_TEXT = "Reset is disabled on this card, for good: it cannot be erased; nothing was sent"
NO_SCREEN_TEXT = "The Cryptnox card has no screen"


def wrong_pin_text(left: int) -> str:
    """What a refused PIN is answered with."""
    return f"Wrong PIN, {left} {'try' if left == 1 else 'tries'} left at most"


class Fault(NamedTuple):
    """What the caller of HWI is told."""

    code: Code
    message: str


_CODES: tuple[tuple[type[BaseException], Code, str], ...] = (
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


def fault(error: BaseException) -> Fault:
    """The code and text of any error. Total: what is not known is FAILURE, never silence."""
    if isinstance(error, WalletError):
        return Fault(error.code, str(error))
    if isinstance(error, errors.WrongPinError):
        return Fault(Code.BAD_ARGUMENT, wrong_pin_text(error.left))
    if isinstance(error, errors.PinLockedError) and error.sw == Sw.CONDITIONS:
        return Fault(Code.NOT_READY, SOFT_LOCKED_TEXT)
    psbt_code = _psbt_code(error)
    if psbt_code is not None:
        return Fault(psbt_code, str(error))
    for kind, code, text in _CODES:
        if isinstance(error, kind):
            return Fault(code, text or str(error))
    return Fault(Code.FAILURE, str(error) or type(error).__name__)


def _psbt_code(error: BaseException) -> Code | None:
    """Errors of the PSBT engine. Imported late: most commands never load it."""
    if not isinstance(error, ValueError) or isinstance(error, errors.CryptnoxError):
        return None
    from hwilib_cryptnox.psbt import BadPsbt, PsbtError

    if isinstance(error, BadPsbt):
        return Code.INVALID_TX
    return Code.BAD_ARGUMENT if isinstance(error, PsbtError) else None
