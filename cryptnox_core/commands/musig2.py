"""MuSig2 on applets that have it (docs/protocol.md, MuSig2): 6D00, NotSupportedError, on all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from cryptnox_core import wire
from cryptnox_core.apdu import ByteReader, CommandApdu
from cryptnox_core.arguments import octets
from cryptnox_core.commands.base import Command, Meaning, StatusCommand, apdu
from cryptnox_core.crypto import secp256k1
from cryptnox_core.crypto.musig2 import KEY_LENGTH, NONCE_LENGTH, PARTIAL_LENGTH
from cryptnox_core.crypto.points import GENERATOR
from cryptnox_core.errors import MalformedResponseError, NotAllowedError
from cryptnox_core.wire import Ins, Sw

_STATE: Mapping[int, Meaning] = {
    Sw.CONDITIONS: (NotAllowedError, "the card is not ready for this step of MuSig2: no PIN, no nonce, or another key"),
    Sw.UNKNOWN: (NotAllowedError, "the card could not make its part of the signature"),
}


@dataclass(frozen=True, slots=True)
class GenerateNonce(Command[bytes]):
    """NONCE GEN: a new pair of nonces for the current k1 key; those of before are forgotten. The public nonce, 66
    bytes."""

    ins: ClassVar[Ins] = Ins.NONCE_GEN
    needs_seed: ClassVar[bool] = True

    def encode(self) -> CommandApdu:
        return apdu(self.ins, 0, 0)

    def decode(self, data: bytes) -> bytes:
        nonce = ByteReader(data, "NONCE GEN").take(NONCE_LENGTH)
        halves = nonce[:KEY_LENGTH], nonce[KEY_LENGTH:]
        if not all(map(secp256k1.is_public_key, halves)):
            raise MalformedResponseError("NONCE GEN: not two points")
        if any(half[1:] == GENERATOR[1:] for half in halves):
            raise MalformedResponseError("NONCE GEN: a nonce that everyone knows")  # its secret number is 1
        return nonce


@dataclass(frozen=True, slots=True)
class LoadCosignerKey(StatusCommand):
    """LOAD COSIGNER KEY: the next key of the list, the card's own among them."""

    key: bytes
    """33 bytes."""

    ins: ClassVar[Ins] = Ins.MUSIG2
    needs_seed: ClassVar[bool] = True
    meanings: ClassVar[Mapping[int, Meaning]] = _STATE

    def encode(self) -> CommandApdu:
        return apdu(self.ins, wire.MUSIG2_LOAD_KEY, 0, octets(self.key, "a key", KEY_LENGTH))


@dataclass(frozen=True, slots=True)
class SignPartially(Command[bytes]):
    """PARTIAL SIGN: 32 bytes, not yet verified. The nonces are gone, whatever the outcome."""

    nonces: bytes
    """The aggregate of all public nonces, 66 bytes."""
    key: bytes
    """33 bytes: the aggregate of the keys, tweaked. Its first byte tells whether the card's key is negated."""
    message: bytes
    """32 bytes."""

    ins: ClassVar[Ins] = Ins.MUSIG2
    needs_seed: ClassVar[bool] = True
    meanings: ClassVar[Mapping[int, Meaning]] = _STATE

    def encode(self) -> CommandApdu:
        nonces = octets(self.nonces, "the nonces", NONCE_LENGTH)
        points = [secp256k1.decompress(half) for half in (nonces[:KEY_LENGTH], nonces[KEY_LENGTH:])]
        key = octets(self.key, "a key", KEY_LENGTH)
        message = octets(self.message, "a message", wire.DIGEST_LENGTH)
        return apdu(self.ins, wire.MUSIG2_SIGN, 0, b"".join([*points, key, message]))

    def decode(self, data: bytes) -> bytes:
        return ByteReader(data, "PARTIAL SIGN").take(PARTIAL_LENGTH)
