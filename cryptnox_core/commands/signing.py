"""Signing and decryption (docs/protocol.md, Keys and signatures)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from cryptnox_core import wire
from cryptnox_core.apdu import ByteReader, CommandApdu
from cryptnox_core.arguments import octets
from cryptnox_core.bip32 import Path
from cryptnox_core.commands.base import Command, Meaning, apdu, optional_pin, path_field
from cryptnox_core.crypto import p256, secp256k1
from cryptnox_core.errors import (
    BadSignatureError,
    InvalidDataError,
    NoSeedError,
    NotFoundError,
    NotInitializedError,
    UsageError,
)
from cryptnox_core.models import SignatureCheck
from cryptnox_core.wire import Curve, DecryptMode, Ins, KeyUse, SignatureKind, Source, Sw


def verified_signature(
    signature: bytes,
    digest: bytes,
    public_key: bytes,
    *,
    curve: Curve = Curve.K1,
    kind: SignatureKind = SignatureKind.ECDSA,
) -> bytes:
    """The signature in its canonical form (strict DER with low S; 64 bytes for Schnorr) once it has been verified.

    `digest`: 32 bytes.
    `public_key`: 33 or 65 bytes.
    Raises: BadSignatureError.
    """
    if kind is SignatureKind.SCHNORR:
        if not secp256k1.verify_schnorr(secp256k1.compress(public_key)[1:], digest, signature):
            raise BadSignatureError("the card's Schnorr signature does not verify")
        return signature
    try:
        if curve is Curve.K1:
            canonical = secp256k1.normalize(signature)
            valid = secp256k1.verify_ecdsa(public_key, digest, canonical)
        else:
            canonical = p256.normalize(signature)
            valid = p256.verify_digest(public_key, digest, canonical)
    except ValueError as error:
        raise BadSignatureError("the card's answer is not a DER signature") from error
    if not valid:
        raise BadSignatureError("the card's signature does not verify")
    return canonical


@dataclass(frozen=True, slots=True)
class Sign(Command[bytes]):
    """SIGN a digest: DER as the card sends it, or 64 bytes for Schnorr, not yet verified. PIN errors as VERIFY PIN."""

    digest: bytes
    """32 bytes."""
    pin: str | None = field(default=None, repr=False)
    """None only after a user key authorized this digest: without PIN some cards take the end of the path for one and
    count a try."""
    path: Path | None = None
    """1 to 8 levels from `source`, derived on the fly: the current key stays. None: the current key."""
    source: Source = Source.MASTER
    curve: Curve = Curve.K1
    kind: SignatureKind = SignatureKind.ECDSA

    ins: ClassVar[Ins] = Ins.SIGN
    needs_seed: ClassVar[bool] = True
    meanings: ClassVar[Mapping[int, Meaning]] = {
        Sw.WRONG_DATA: (InvalidDataError, "the card rejects the digest or path, or the digest was not authorized"),
    }

    @property
    def uses_pin(self) -> bool:
        return self.pin is not None

    def encode(self) -> CommandApdu:
        if self.kind is SignatureKind.SCHNORR and self.curve is not Curve.K1:
            raise UsageError("Schnorr signatures are for k1 keys only")
        data, p1 = octets(self.digest, "a digest", wire.DIGEST_LENGTH), int(self.curve)
        if self.path is not None:
            if not self.path.steps:
                raise UsageError("deriving on the fly needs at least one level")
            data += path_field(self.path)
            p1 |= KeyUse.DERIVE | self.source
        return apdu(self.ins, p1, self.kind, data + optional_pin(self.pin))

    def decode(self, data: bytes) -> bytes:
        if self.kind is SignatureKind.SCHNORR:
            return ByteReader(data, "SIGN").take(wire.SCHNORR_LENGTH)
        return ByteReader(data, "SIGN").signature()


@dataclass(frozen=True, slots=True)
class SignPinless(Command[bytes]):
    """SIGN with the key of the pin-less path, or NotFoundError, without channel and PIN. DER, not yet verified."""

    digest: bytes
    """32 bytes."""

    ins: ClassVar[Ins] = Ins.SIGN
    secure: ClassVar[bool] = False
    needs_seed: ClassVar[bool] = True
    meanings: ClassVar[Mapping[int, Meaning]] = {
        Sw.CONDITIONS: (NoSeedError, "the card has no key"),
        Sw.REFERENCED_DATA_NOT_FOUND: (NotFoundError, "no PIN-less path is set"),
    }

    def encode(self) -> CommandApdu:
        digest = octets(self.digest, "a digest", wire.DIGEST_LENGTH)
        return apdu(self.ins, KeyUse.PINLESS, SignatureKind.ECDSA, digest)

    def decode(self, data: bytes) -> bytes:
        return ByteReader(data, "SIGN").signature()


@dataclass(frozen=True, slots=True)
class SignPublic(Command[bytes]):
    """SIGN PUBLIC: the static key's signature (DER, ECDSA with SHA-256) over the current public key of a curve."""

    curve: Curve = Curve.K1

    ins: ClassVar[Ins] = Ins.SIGN_PUBLIC
    needs_seed: ClassVar[bool] = True

    def encode(self) -> CommandApdu:
        return apdu(self.ins, self.curve, long_answer=True)

    def decode(self, data: bytes) -> bytes:
        return ByteReader(data, "SIGN PUBLIC").signature()


@dataclass(frozen=True, slots=True)
class Decrypt(Command[bytes]):
    """DECRYPT with the card's fixed P-256 key: the 32 bytes IV | AES-128 key, or the plaintext of `ciphertext`."""

    point: bytes
    """The sender's P-256 key, 65 bytes."""
    pin: str | None = field(default=None, repr=False)
    """None only where a user key authorized."""
    ciphertext: bytes | None = None
    """None: give the key. Otherwise whole blocks of 16 bytes for the card to decrypt."""

    ins: ClassVar[Ins] = Ins.DECRYPT
    needs_seed: ClassVar[bool] = True
    meanings: ClassVar[Mapping[int, Meaning]] = {Sw.CONDITIONS: (NoSeedError, "the card has no seed")}

    @property
    def uses_pin(self) -> bool:
        return self.pin is not None

    def encode(self) -> CommandApdu:
        point = octets(self.point, "the sender's key", wire.P256_POINT_LENGTH)
        if not p256.is_point(point):
            raise UsageError("DECRYPT takes an uncompressed P-256 point of 65 bytes")
        data = optional_pin(self.pin) + point
        if self.ciphertext is None:
            return apdu(self.ins, DecryptMode.SYMMETRIC_KEY, data=data)
        ciphertext = octets(self.ciphertext, "a ciphertext")
        if not ciphertext or len(ciphertext) % wire.BLOCK:
            raise UsageError(f"a ciphertext is one or more blocks of {wire.BLOCK} bytes")
        # Where the plaintext makes the answer long, this command is a long one already.
        return apdu(self.ins, DecryptMode.DATA, data=data + ciphertext)

    def decode(self, data: bytes) -> bytes:
        if self.ciphertext is None:
            return ByteReader(data, "DECRYPT").take(2 * wire.BLOCK)
        return bytes(data[: len(self.ciphertext)])


@dataclass(frozen=True, slots=True)
class CheckSignature(Command[SignatureCheck]):
    """SIGNATURE CHECK (NFT): the card signs 36 bytes made from a nonce, to show that it holds the key."""

    nonce: bytes
    """16 bytes."""

    ins: ClassVar[Ins] = Ins.GET_CARD_CERTIFICATE
    meanings: ClassVar[Mapping[int, Meaning]] = {
        Sw.CONDITIONS: (NoSeedError, "the card has no key"),
        Sw.DATA_INVALID: (InvalidDataError, f"the nonce has {wire.SIGNATURE_CHECK_NONCE} bytes"),
        Sw.NOT_ALLOWED: (NotInitializedError, "the card is not initialized"),
    }

    def encode(self) -> CommandApdu:
        return apdu(self.ins, 0x01, data=octets(self.nonce, "the nonce", wire.SIGNATURE_CHECK_NONCE))

    def decode(self, data: bytes) -> SignatureCheck:
        return SignatureCheck.parse(data)
