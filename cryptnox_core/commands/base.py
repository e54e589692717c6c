"""What a command is, and what status words mean unless a command says otherwise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Generic, TypeVar

from cryptnox_core.apdu import CommandApdu, ResponseApdu
from cryptnox_core.arguments import is_pin, text
from cryptnox_core.bip32 import Path
from cryptnox_core.errors import (
    CryptnoxError,
    InvalidDataError,
    MalformedResponseError,
    NoSeedError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    NotInitializedError,
    NotSupportedError,
    PinLockedError,
    StatusWordError,
    UsageError,
    WrongPinError,
    WrongPukError,
)
from cryptnox_core.models import AppletInfo
from cryptnox_core.wire import MAX_DEPTH, PIN_FIELD, PIN_MAX, PIN_MIN, PUK_LENGTH, Cla, Ins, Sw

T = TypeVar("T")

Meaning = tuple[type[StatusWordError], str]
"""An exception class without further parameters, and its message."""

COUNT_UNKNOWN = -1
"""`left` of a WrongPukError where the card gives no count."""

POWER_CYCLE = "too many wrong PINs since the card was inserted: remove the card, put it back, and try again"

_NOTHING: Mapping[int, Meaning] = MappingProxyType({})
_COMMON: Mapping[int, Meaning] = MappingProxyType(
    {
        Sw.WRONG_LENGTH: (InvalidDataError, "the card rejects the length of the data"),
        Sw.SECURITY_STATUS: (NotAuthenticatedError, "the card needs an authentication first"),
        Sw.AUTH_BLOCKED: (PinLockedError, "the card accepts no PIN now"),
        Sw.DATA_INVALID: (InvalidDataError, "the card rejects the data"),
        Sw.CONDITIONS: (NotAuthenticatedError, "the card needs the PIN first"),
        Sw.NOT_ALLOWED: (NotAllowedError, "the card does not allow this in its present state"),
        Sw.WRONG_DATA: (InvalidDataError, "the card rejects the data"),
        Sw.FILE_NOT_FOUND: (NotFoundError, "the card does not have what was asked for"),
        Sw.WRONG_P1P2: (InvalidDataError, "the card rejects the parameters"),
        Sw.REFERENCED_DATA_NOT_FOUND: (NotFoundError, "the card does not have what was asked for"),
        Sw.WRONG_PARAMETERS: (InvalidDataError, "the card rejects the parameters"),
        Sw.INS_NOT_SUPPORTED: (NotSupportedError, "this card does not know the command"),
        Sw.CLA_NOT_SUPPORTED: (NotSupportedError, "this card does not know the command"),
    }
)


MOST_EXTRA = 16
"""Bytes that a later applet may add to the answer of a command in the channel that is answered by a status word, or by
a single byte. With more it would be the answer to another command (`first_block`)."""


class Command(ABC, Generic[T]):
    """One instruction: frozen data, its APDU, the meaning of its answer.

    Subclasses are frozen dataclasses. What comes behind the documented data of an answer is not looked at: a card that
    says more has done its work all the same.
    """

    __slots__ = ()

    ins: ClassVar[Ins]
    secure: ClassVar[bool] = True
    """Goes through the secure channel."""
    plain_read: ClassVar[bool] = False
    """Changes nothing, on the card or in its session: sending it twice does no harm."""
    needs_init: ClassVar[bool] = True
    """6985 and 6986 on a card that was never initialized mean just that."""
    needs_seed: ClassVar[bool] = False
    """6985 on a card without seed means just that."""
    meanings: ClassVar[Mapping[int, Meaning]] = _NOTHING
    """Status words that mean something else here than usual."""

    @property
    def uses_pin(self) -> bool:
        """A PIN is in it that the card compares with its own: 63Cx counts PIN tries."""
        return False

    @property
    def uses_puk(self) -> bool:
        """The PUK is in it: 63Cx and 984x count PUK tries."""
        return False

    @abstractmethod
    def encode(self) -> CommandApdu:
        """The command in plain. Raises UsageError for what the card can never take, so that nothing is sent."""

    @abstractmethod
    def decode(self, data: bytes) -> T:
        """The result, from the data of a 9000 response. Raises MalformedResponseError for a wrong form."""

    def result(self, response: ResponseApdu, info: AppletInfo | None = None) -> T:
        """The result of a response.

        `info`: what the latest SELECT said; it sharpens the message.
        Raises: the exception that the status word stands for; MalformedResponseError.
        """
        if not response.ok:
            raise self.error(response.sw, info)
        return self.decode(response.data)

    def error(self, sw: int, info: AppletInfo | None = None) -> CryptnoxError:
        """The exception for a status word other than 9000."""
        tries = self._tries(sw)
        if tries is not None:
            return tries
        if sw in (Sw.CONDITIONS, Sw.NOT_ALLOWED) and info is not None:
            if self.needs_init and not info.initialized:
                return NotInitializedError("the card is not initialized", sw, self.ins)
            if sw == Sw.CONDITIONS and self.needs_seed and not info.seeded:
                return NoSeedError("the card has no seed", sw, self.ins)
        meaning = self.meanings.get(sw) or _COMMON.get(sw)
        if meaning is None:
            return StatusWordError("the card answered with an undocumented status word", sw, self.ins)
        return meaning[0](meaning[1], sw, self.ins)

    def _tries(self, sw: int) -> StatusWordError | None:
        """The exception for the status words that carry a count, where a secret was sent that can be wrong. To any
        other command they say nothing: anybody on the way can have said them in the clear."""
        count, kind = sw & 0x0F, sw & 0xFFF0
        if self.uses_puk and kind == Sw.PUK_TRIES_LEFT:
            # Some cards always say 9840, so that a zero there is no count.
            return WrongPukError("wrong PUK", sw, self.ins, count or COUNT_UNKNOWN)
        if self.uses_puk and kind == Sw.TRIES_LEFT:
            return WrongPukError("wrong PUK", sw, self.ins, count)
        if not self.uses_pin or kind != Sw.TRIES_LEFT:
            return None
        if count == 0:
            return PinLockedError(
                "the card accepts no PIN until it is removed and re-inserted, or until the PUK unblocks it",
                sw,
                self.ins,
            )
        return WrongPinError(f"wrong PIN; at most {count} {'try' if count == 1 else 'tries'} left", sw, self.ins, count)


class StatusCommand(Command[None]):
    """A command whose answer is its status word."""

    __slots__ = ()

    def decode(self, data: bytes) -> None:
        """Nothing: 9000 is the answer, with a few bytes behind it perhaps. More are another command's answer."""
        if self.secure and len(data) > MOST_EXTRA:
            raise MalformedResponseError(f"{type(self).__name__}: {len(data)} unexpected bytes")


class PukCommand(StatusCommand):
    """A command with the PUK, 12 ASCII characters. WrongPukError where it is wrong."""

    __slots__ = ()

    @property
    def uses_puk(self) -> bool:
        return True


def apdu(ins: Ins, p1: int = 0, p2: int = 0, data: bytes = b"", *, long_answer: bool = False) -> CommandApdu:
    """An applet command.

    `long_answer`: the answer may pass 256 bytes once wrapped, so the extended form is used.
    """
    return CommandApdu(Cla.APPLET, ins, p1, p2, data, extended=long_answer)


def pin_field(pin: str) -> bytes:
    """The 9 bytes of a PIN. Raises UsageError unless it is text of 4 to 9 digits."""
    text(pin, "a PIN")
    if not is_pin(pin):
        raise UsageError(f"a PIN has {PIN_MIN} to {PIN_MAX} digits")
    return pin.encode("ascii").ljust(PIN_FIELD, b"\0")


def optional_pin(pin: str | None) -> bytes:
    """As `pin_field`; nothing for None (a user key authorized)."""
    return b"" if pin is None else pin_field(pin)


def puk_field(puk: str) -> bytes:
    """The 12 bytes of a PUK. Raises UsageError unless it is text of 12 ASCII characters."""
    text(puk, "a PUK")
    if len(puk) != PUK_LENGTH or not puk.isascii():
        raise UsageError(f"a PUK has {PUK_LENGTH} ASCII characters")
    return puk.encode("ascii")


def path_field(path: Path) -> bytes:
    """A path as the card takes it, 4 bytes a level. Raises UsageError for more than 8 levels."""
    if len(path) > MAX_DEPTH:
        raise UsageError(f"the card derives at most {MAX_DEPTH} levels; {path} has {len(path)}")
    return path.to_bytes()
