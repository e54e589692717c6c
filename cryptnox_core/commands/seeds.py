"""How a seed or key comes onto the card, and random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from cryptnox_core import wire
from cryptnox_core.apdu import ByteReader, CommandApdu
from cryptnox_core.arguments import number, octets
from cryptnox_core.commands.base import Command, Meaning, apdu, optional_pin
from cryptnox_core.crypto import p256
from cryptnox_core.errors import MalformedResponseError, NotAllowedError, UsageError
from cryptnox_core.wire import Ins, KeyTag, LoadKeyType, Sw

_ALREADY_SEEDED: Mapping[int, Meaning] = {
    Sw.NOT_ALLOWED: (NotAllowedError, "the card already holds a seed; it can only get another one after a reset"),
}


@dataclass(frozen=True, slots=True)
class LoadKey(Command[bytes]):
    """LOAD KEY.

    Step 1 of a dual seed returns the signed public key: point (65 bytes) and DER signature; the others nothing.
    Raises: NotAllowedError where there is a seed already; WrongPinError.
    """

    kind: LoadKeyType
    key_data: bytes = field(repr=False)
    pin: str | None = field(default=None, repr=False)
    """None only where a user key authorized."""

    ins: ClassVar[Ins] = Ins.LOAD_KEY
    meanings: ClassVar[Mapping[int, Meaning]] = _ALREADY_SEEDED

    @classmethod
    def seed(cls, seed: bytes, pin: str | None) -> LoadKey:
        """A binary seed of 16 to 64 bytes."""
        seed = octets(seed, "a seed")
        if not wire.SEED_MIN <= len(seed) <= wire.SEED_MAX:
            raise UsageError(f"a seed has {wire.SEED_MIN} to {wire.SEED_MAX} bytes, not {len(seed)}")
        return cls(LoadKeyType.SEED, seed, pin)

    @classmethod
    def key_pair(
        cls, private_key: bytes, pin: str | None, *, public_key: bytes = b"", chain_code: bytes = b""
    ) -> LoadKey:
        """A private key of 32 bytes; with a chain code of 32 an extended one. The public key has 65, or none."""
        fields = (
            (KeyTag.PUBLIC_KEY, octets(public_key, "a public key", 0, wire.P256_POINT_LENGTH)),
            (KeyTag.PRIVATE_KEY, octets(private_key, "a private key", 32)),
            (KeyTag.CHAIN_CODE, octets(chain_code, "a chain code", 0, 32)),
        )
        body = b"".join(bytes((tag, len(value))) + value for tag, value in fields if value)
        kind = LoadKeyType.EXTENDED_KEY if chain_code else LoadKeyType.KEY_PAIR
        # The template's length needs the long form from 128 bytes on.
        length = bytes((len(body),)) if len(body) < 0x80 else bytes((0x81, len(body)))
        return cls(kind, bytes((KeyTag.TEMPLATE,)) + length + body, pin)

    @property
    def uses_pin(self) -> bool:
        return self.pin is not None

    def encode(self) -> CommandApdu:
        return apdu(self.ins, self.kind, data=octets(self.key_data, "key data") + optional_pin(self.pin))

    def decode(self, data: bytes) -> bytes:
        if self.kind is not LoadKeyType.DUAL_STEP_1:
            return b""
        reader = ByteReader(data, "LOAD KEY (dual)")
        point = reader.take(wire.P256_POINT_LENGTH)
        if not p256.is_point(point):
            raise MalformedResponseError("LOAD KEY (dual): no signed public key")
        return point + reader.signature()


@dataclass(frozen=True, slots=True)
class GenerateKey(Command[bytes]):
    """GENERATE KEY: a seed made on the card. Returns the 32-byte id of the master key, or nothing: sources disagree.

    Raises: NotAllowedError where there is a seed already; WrongPinError.
    """

    pin: str | None = field(default=None, repr=False)
    """None only where a user key authorized."""

    ins: ClassVar[Ins] = Ins.GENERATE_KEY
    meanings: ClassVar[Mapping[int, Meaning]] = _ALREADY_SEEDED

    @property
    def uses_pin(self) -> bool:
        return self.pin is not None

    def encode(self) -> CommandApdu:
        return apdu(self.ins, data=optional_pin(self.pin))

    def decode(self, data: bytes) -> bytes:
        return bytes(data[: wire.KEY_ID_LENGTH]) if len(data) >= wire.KEY_ID_LENGTH else b""


@dataclass(frozen=True, slots=True)
class GenerateSeedWrapKey(Command[bytes]):
    """GENERATE SEED WRAP KEY: an RSA key on the card to wrap a seed with. Returns its public part, raw."""

    bits: int = 2048
    """512 to 4096, a multiple of 8."""

    ins: ClassVar[Ins] = Ins.GENERATE_SEED_WRAP_KEY
    meanings: ClassVar[Mapping[int, Meaning]] = _ALREADY_SEEDED

    def encode(self) -> CommandApdu:
        if number(self.bits, "an RSA size") % 8 or not 512 <= self.bits <= 4096:
            raise UsageError("an RSA size is 512 to 4096 bits, a multiple of 8")
        return apdu(self.ins, data=self.bits.to_bytes(2, "big"), long_answer=True)

    def decode(self, data: bytes) -> bytes:
        if not data:
            raise MalformedResponseError("GENERATE SEED WRAP KEY: no key")
        return bytes(data)


@dataclass(frozen=True, slots=True)
class GenerateRandom(Command[bytes]):
    """GENERATE RANDOM: random bytes of the card."""

    size: int
    """16 to 64 bytes, a multiple of 4."""

    ins: ClassVar[Ins] = Ins.GENERATE_RANDOM

    def encode(self) -> CommandApdu:
        fits = wire.RANDOM_MIN <= number(self.size, "the size") <= wire.RANDOM_MAX
        if not fits or self.size % wire.RANDOM_MULTIPLE:
            amount = f"{wire.RANDOM_MIN} to {wire.RANDOM_MAX} random bytes"
            raise UsageError(f"the card gives {amount}, a multiple of {wire.RANDOM_MULTIPLE}")
        return apdu(self.ins, self.size)

    def decode(self, data: bytes) -> bytes:
        return ByteReader(data, "GENERATE RANDOM").take(self.size)
