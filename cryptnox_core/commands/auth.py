"""The handshake's last step, PIN and PUK (docs/protocol.md, The channel)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from cryptnox_core.apdu import ByteReader, CommandApdu, ResponseApdu
from cryptnox_core.arguments import octets, switch
from cryptnox_core.commands.base import (
    COUNT_UNKNOWN,
    MOST_EXTRA,
    POWER_CYCLE,
    Command,
    Meaning,
    PukCommand,
    StatusCommand,
    apdu,
    pin_field,
    puk_field,
)
from cryptnox_core.errors import (
    CryptnoxError,
    InvalidDataError,
    MalformedResponseError,
    NotAllowedError,
    PinLockedError,
    WrongPukError,
)
from cryptnox_core.models import AppletInfo
from cryptnox_core.wire import CHALLENGE_LENGTH, Ins, SecretKind, Sw


@dataclass(frozen=True, slots=True)
class MutuallyAuthenticate(Command[None]):
    """MUTUALLY AUTHENTICATE: random bytes each way. That the MACs fit is what is proved."""

    challenge: bytes = field(repr=False)
    """32 bytes."""

    ins: ClassVar[Ins] = Ins.MUTUALLY_AUTHENTICATE

    def encode(self) -> CommandApdu:
        return apdu(self.ins, data=octets(self.challenge, "the challenge", CHALLENGE_LENGTH))

    def decode(self, data: bytes) -> None:
        if len(data) < CHALLENGE_LENGTH:
            raise MalformedResponseError(f"MUTUALLY AUTHENTICATE: {len(data)} bytes, not {CHALLENGE_LENGTH}")


_PIN_MEANINGS: Mapping[int, Meaning] = {
    Sw.CONDITIONS: (PinLockedError, POWER_CYCLE),
    Sw.NOT_ALLOWED: (NotAllowedError, "PIN authentication is off; a user key is needed"),
}


@dataclass(frozen=True, slots=True)
class PinTriesLeft(Command[int]):
    """VERIFY PIN without data: the tries left, "at most". Spends none. Both forms of the answer are taken."""

    ins: ClassVar[Ins] = Ins.VERIFY_PIN
    meanings: ClassVar[Mapping[int, Meaning]] = _PIN_MEANINGS

    def encode(self) -> CommandApdu:
        return apdu(self.ins)

    def result(self, response: ResponseApdu, info: AppletInfo | None = None) -> int:
        """As usual; a status word 63Cx is an answer too."""
        if response.sw & 0xFFF0 == Sw.TRIES_LEFT:
            return response.sw & 0x0F
        return Command.result(self, response, info)

    def decode(self, data: bytes) -> int:
        if len(data) > 1 + MOST_EXTRA:
            raise MalformedResponseError(f"VERIFY PIN: {len(data)} bytes instead of one")
        return ByteReader(data, "VERIFY PIN").number(1)


@dataclass(frozen=True, slots=True)
class VerifyPin(StatusCommand):
    """VERIFY PIN.

    Raises: WrongPinError, and a try is spent; PinLockedError: see `PinTriesLeft` after a power cycle; NotAllowedError
    where PIN authentication is off.
    """

    pin: str = field(repr=False)
    """4 to 9 digits."""

    ins: ClassVar[Ins] = Ins.VERIFY_PIN
    meanings: ClassVar[Mapping[int, Meaning]] = _PIN_MEANINGS

    @property
    def uses_pin(self) -> bool:
        return True

    def encode(self) -> CommandApdu:
        return apdu(self.ins, data=pin_field(self.pin))


@dataclass(frozen=True, slots=True)
class ChangePin(PukCommand):
    """CHANGE PIN. Requires the PIN verified, or the PUK given (then also where PIN authentication is off)."""

    new_pin: str = field(repr=False)
    """4 to 9 digits."""
    puk: str | None = field(default=None, repr=False)

    ins: ClassVar[Ins] = Ins.CHANGE_SECRET
    meanings: ClassVar[Mapping[int, Meaning]] = {Sw.WRONG_DATA: (InvalidDataError, "the card rejects the new PIN")}

    @property
    def uses_puk(self) -> bool:
        return self.puk is not None

    def encode(self) -> CommandApdu:
        puk = b"" if self.puk is None else puk_field(self.puk)
        return apdu(self.ins, SecretKind.PIN, data=pin_field(self.new_pin) + puk)

    def error(self, sw: int, info: AppletInfo | None = None) -> CryptnoxError:
        """6985 with a PUK given can be its refusal."""
        if sw == Sw.CONDITIONS and self.puk is not None and (info is None or info.initialized):
            return WrongPukError("wrong PUK", sw, self.ins, COUNT_UNKNOWN)
        return Command.error(self, sw, info)


@dataclass(frozen=True, slots=True)
class ChangePuk(PukCommand):
    """CHANGE PUK, with the current one."""

    new_puk: str = field(repr=False)
    current_puk: str = field(repr=False)

    ins: ClassVar[Ins] = Ins.CHANGE_SECRET
    meanings: ClassVar[Mapping[int, Meaning]] = {Sw.WRONG_DATA: (InvalidDataError, "the card rejects the new PUK")}

    def encode(self) -> CommandApdu:
        return apdu(self.ins, SecretKind.PUK, data=puk_field(self.new_puk) + puk_field(self.current_puk))


@dataclass(frozen=True, slots=True)
class UnblockPin(PukCommand):
    """UNBLOCK PIN: sets a new PIN with the PUK. NotAllowedError unless the PIN is blocked for good."""

    puk: str = field(repr=False)
    new_pin: str = field(repr=False)

    ins: ClassVar[Ins] = Ins.UNBLOCK_PIN
    meanings: ClassVar[Mapping[int, Meaning]] = {
        Sw.CONDITIONS: (NotAllowedError, "the PIN is not blocked"),
        Sw.WRONG_DATA: (InvalidDataError, "the card rejects the new PIN"),
    }

    def encode(self) -> CommandApdu:
        return apdu(self.ins, data=puk_field(self.puk) + pin_field(self.new_pin))


@dataclass(frozen=True, slots=True)
class SetPinAuth(PukCommand):
    """SET PIN AUTH. NotAllowedError where no user key exists."""

    enabled: bool
    puk: str = field(repr=False)

    ins: ClassVar[Ins] = Ins.SET_PIN_AUTH
    meanings: ClassVar[Mapping[int, Meaning]] = {
        Sw.NOT_ALLOWED: (NotAllowedError, "PIN authentication can only be turned off when the card has a user key"),
    }

    def encode(self) -> CommandApdu:
        enabled = switch(self.enabled, "PIN authentication")
        return apdu(self.ins, data=(b"\x00" if enabled else b"\x01") + puk_field(self.puk))
