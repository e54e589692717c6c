"""An error as a person is told of it: a sentence, and what to do next. Which class it has decides, never its text."""

from __future__ import annotations

from dataclasses import dataclass
from errno import EIO, ENOSPC

from cryptnox_core import errors
from hwilib_cryptnox.errors import (
    CardNotFoundError,
    NoPinError,
    NoWalletError,
    PinAuthOffError,
    RefusedPinError,
    RetoldError,
    TerminalError,
    WalletError,
    wrong_pin_text,
)
from hwilib_cryptnox.storage.state import StateError


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of an error."""

    message: str
    hint: str = ""
    unchanged: str = ""
    """The end of the message where that says that nothing was changed."""


_PIN_HINT = (
    "cryptnoxctl pin tries shows how many are left; if you forgot the PIN, set a new one with the PUK: "
    "cryptnoxctl pin change --with-puk"
)
_PUK_HINT = (
    "look for the PUK that you wrote down. The card takes 12 wrong ones before you must remove it and put it back; "
    "there is no total limit"
)
_POWER_CYCLE = "remove the card, put it back, then: cryptnoxctl pin tries"
_REFUSED_HINT = (
    "if you do not know why, ask the person who made the file before you sign it anywhere. Nothing was signed"
)
_DAMAGED_HINT = "have your wallet make the file again, and copy all of it. Nothing was signed"
_UNWRITTEN_HINT = "free some space, or write to another place; the output could not be written"
_SETUP_HINT = "set the card up: cryptnoxctl setup"
_REOPEN = "put the card back and run the command again"

_HINTS: tuple[tuple[type[BaseException], str], ...] = (
    (RefusedPinError, _PIN_HINT),
    (PinAuthOffError, "cryptnoxctl pin-auth on (needs the PUK)"),
    (CardNotFoundError, "cryptnoxctl list shows which cards are here"),
    (NoWalletError, _SETUP_HINT),
    (errors.WrongPinError, _PIN_HINT),
    (errors.PinLockedError, _POWER_CYCLE),
    (errors.WrongPukError, _PUK_HINT),
    (errors.NotInitializedError, _SETUP_HINT),
    (errors.NoSeedError, _SETUP_HINT),
    (errors.StatusWordError, ""),
    (errors.ServiceUnavailableError, "cryptnoxctl doctor shows what is missing"),
    (errors.NoReaderError, "plug a reader in, then: cryptnoxctl doctor"),
    (errors.NoCardError, "put the card into the reader; cryptnoxctl list shows which cards are here"),
    (errors.CardRemovedError, _REOPEN),
    (errors.ReaderBusyError, "close the other program, or wait for it: CRYPTNOX_WAIT=30"),
    (errors.TransportError, _REOPEN),
    (errors.PairingError, "cryptnoxctl pairing recover (needs the PUK)"),
    (errors.UnknownChannelError, "look for a newer version of this program: it does not support this card yet"),
    (errors.CertificateError, "do not use this card: it cannot prove that it is genuine"),
    (errors.BadSignatureError, "do not use this card; the signature was discarded"),
    (errors.ProtocolError, _REOPEN),
    (StateError, "make sure that the folder is yours and that you can write to it: cryptnoxctl doctor"),
)
"""The first that fits."""
_OURS = (WalletError, errors.CryptnoxError, StateError)


def told(error: BaseException) -> Told:
    """What to tell the person. Total: an error nobody foresaw is told with its class and text, never silence."""
    if isinstance(error, TerminalError):
        return Told(str(error), error.hint, error.unchanged)
    if isinstance(error, RetoldError):
        return Told(_sentence(str(error)), error.hint)
    if isinstance(error, NoPinError):
        # How else a PIN is given is said of this program's own ways.
        message = f"A PIN is needed: {error.reason}" if error.reason else "A PIN is needed"
        return Told(message, "run it in a terminal, or set CRYPTNOX_PIN_COMMAND")
    if isinstance(error, errors.WrongPinError):
        return Told(wrong_pin_text(error.left), _PIN_HINT if error.left else _POWER_CYCLE)
    if isinstance(error, KeyboardInterrupt):
        return Told("Interrupted")
    if is_of_psbt(error):
        from hwilib_cryptnox.psbt.errors import BadPsbt

        hint = _DAMAGED_HINT if isinstance(error, BadPsbt) else _REFUSED_HINT
        return Told(f"The transaction is refused: {error}", hint)
    if isinstance(error, _OURS):
        own = error.hint if isinstance(error, WalletError) else ""
        hint = own or next((hint for kind, hint in _HINTS if isinstance(error, kind)), "")
        return Told(_sentence(str(error)), hint)
    if isinstance(error, OSError) and error.filename is not None:
        return Told(f"{error.filename}: {error.strerror}")
    if isinstance(error, OSError) and error.strerror:
        full = error.errno in (ENOSPC, EIO)
        return Told(_sentence(error.strerror), _UNWRITTEN_HINT if full else "")
    return Told(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def is_of_psbt(error: BaseException) -> bool:
    """Whether it is the PSBT engine's. Imported late: most commands never load it."""
    if not isinstance(error, ValueError) or isinstance(error, errors.CryptnoxError):
        return False
    from hwilib_cryptnox.psbt.errors import PsbtError

    return isinstance(error, PsbtError)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text[1:2].isalpha() or text[1:2] == " " else text
