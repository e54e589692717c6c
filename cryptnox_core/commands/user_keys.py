"""User keys: a second way to authenticate, by signatures of a key held elsewhere (docs/protocol.md, User keys)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from cryptnox_core import wire
from cryptnox_core.apdu import ByteReader, CommandApdu
from cryptnox_core.arguments import octets, text
from cryptnox_core.commands.base import Command, Meaning, PukCommand, apdu, puk_field
from cryptnox_core.crypto.hashes import sha256
from cryptnox_core.crypto.p256 import is_point
from cryptnox_core.errors import (
    MalformedResponseError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    UsageError,
)
from cryptnox_core.models import UserKeyInfo
from cryptnox_core.wire import CheckUserKeyMode, Ins, Sw, UserKeySlot

_NO_KEY: Meaning = (NotFoundError, "this slot has no user key")


def message_to_sign(hashes: bytes | Sequence[bytes]) -> bytes:
    """The message that a user key signs, as ECDSA with SHA-256, or as RSA PKCS #1 v1.5 with SHA-256 (slot 2).

    A challenge or one digest (32 bytes) is the message itself; of a list it is the count (1 byte) and the digests.
    Signers that hash for themselves (PIV, KMS, Windows Hello) get this; those that want a hash get `digest_to_sign`.
    A FIDO key takes it as the challenge of its assertion.
    Raises: UsageError for more than 4 digests, none, or what is no digest.
    """
    if isinstance(hashes, bytes | bytearray | memoryview):
        return octets(hashes, "a digest", wire.DIGEST_LENGTH)
    if not isinstance(hashes, Sequence):
        raise UsageError("a digest is bytes, and several are a list of them")
    digests = [octets(digest, "a digest", wire.DIGEST_LENGTH) for digest in hashes]
    if not 1 <= len(digests) <= wire.MAX_HASHES:
        raise UsageError(f"1 to {wire.MAX_HASHES} digests can be authorized at once")
    return bytes((len(digests),)) + b"".join(digests)


def digest_to_sign(hashes: bytes | Sequence[bytes]) -> bytes:
    """SHA-256 of `message_to_sign`: what is signed by a user key that takes a hash of 32 bytes."""
    return sha256(message_to_sign(hashes))


@dataclass(frozen=True, slots=True)
class AddUserKey(PukCommand):
    """ADD USER KEY. NotAllowedError where the slot is taken. Some cards require the PIN verified, too."""

    slot: UserKeySlot
    text: str
    """Up to 64 bytes of UTF-8."""
    public_key: bytes
    """P-256 point, 65 bytes; slot 2: RSA-2048 modulus, 256 bytes, exponent 65537."""
    puk: str = field(repr=False)
    credential_id: bytes = b""
    """FIDO: 1 to 64 bytes; otherwise empty."""

    ins: ClassVar[Ins] = Ins.ADD_USER_KEY
    meanings: ClassVar[Mapping[int, Meaning]] = {
        Sw.NOT_ALLOWED: (NotAllowedError, "there is a user key in this slot already"),
    }

    def encode(self) -> CommandApdu:
        label = text(self.text, "the text").encode("utf-8")
        if len(label) > wire.USER_KEY_TEXT:
            raise UsageError(f"the text has at most {wire.USER_KEY_TEXT} bytes")
        if self.slot is UserKeySlot.RSA:
            key = octets(self.public_key, "the RSA modulus", wire.RSA_MODULUS)
        else:
            key = octets(self.public_key, "a P-256 key", wire.P256_POINT_LENGTH)
            if not is_point(key):
                raise UsageError("the key is not a P-256 point")
        credential = octets(self.credential_id, "a credential id")
        if self.slot is UserKeySlot.FIDO:
            if not 1 <= len(credential) <= wire.FIDO_CREDENTIAL_MAX:
                raise UsageError(f"a FIDO credential id has 1 to {wire.FIDO_CREDENTIAL_MAX} bytes")
            credential = bytes((len(credential),)) + credential
        elif credential:
            raise UsageError("only FIDO keys have a credential id")
        head = bytes((self.slot,)) + label.ljust(wire.USER_KEY_TEXT, b"\0")
        return apdu(self.ins, data=head + credential + key + puk_field(self.puk))


@dataclass(frozen=True, slots=True)
class DeleteUserKey(PukCommand):
    """DELETE USER KEY. NotFoundError where the slot is empty."""

    slot: UserKeySlot
    puk: str = field(repr=False)

    ins: ClassVar[Ins] = Ins.DELETE_USER_KEY
    meanings: ClassVar[Mapping[int, Meaning]] = {Sw.NOT_ALLOWED: _NO_KEY}

    def encode(self) -> CommandApdu:
        return apdu(self.ins, data=bytes((self.slot,)) + puk_field(self.puk))


@dataclass(frozen=True, slots=True)
class ReadUserKey(Command[UserKeyInfo]):
    """READ DATA slot 00: text and key of a slot, or NotFoundError. Requires the PIN verified."""

    slot: UserKeySlot

    ins: ClassVar[Ins] = Ins.READ_DATA
    plain_read: ClassVar[bool] = True
    meanings: ClassVar[Mapping[int, Meaning]] = {
        Sw.WRONG_PARAMETERS: _NO_KEY,
        Sw.WRONG_P1P2: _NO_KEY,
        Sw.NOT_ALLOWED: _NO_KEY,
    }

    def encode(self) -> CommandApdu:
        return apdu(self.ins, self.slot, long_answer=self.slot is UserKeySlot.RSA)

    def decode(self, data: bytes) -> UserKeyInfo:
        return UserKeyInfo.parse(self.slot, data)


@dataclass(frozen=True, slots=True)
class UserKeyChallenge(Command[bytes]):
    """CHECK USER KEY 01: 32 random bytes for a user key to sign."""

    ins: ClassVar[Ins] = Ins.CHECK_USER_KEY

    def encode(self) -> CommandApdu:
        return apdu(self.ins, CheckUserKeyMode.CHALLENGE)

    def decode(self, data: bytes) -> bytes:
        return ByteReader(data, "CHECK USER KEY").take(wire.CHALLENGE_LENGTH)


class _Verdict(Command[bool]):
    """A signature of a user key, which the card accepts or not. NotFoundError where the slot is empty.

    Such a signature is over `message_to_sign`; a FIDO key's has the assertion's counter (4 bytes) in front.
    """

    __slots__ = ()

    ins: ClassVar[Ins] = Ins.CHECK_USER_KEY
    meanings: ClassVar[Mapping[int, Meaning]] = {Sw.NOT_ALLOWED: _NO_KEY}

    def decode(self, data: bytes) -> bool:
        verdict = ByteReader(data, "CHECK USER KEY").number(1)
        if verdict not in (0, 1):
            raise MalformedResponseError("CHECK USER KEY: the answer is neither 00 nor 01")
        return verdict == 1


@dataclass(frozen=True, slots=True)
class UserKeyResponse(_Verdict):
    """CHECK USER KEY 02: the signature over the challenge. True: authenticated as by the PIN, but for SIGN.

    Requires: `UserKeyChallenge` before, once for each answer.
    """

    slot: UserKeySlot
    signature: bytes

    meanings: ClassVar[Mapping[int, Meaning]] = {
        Sw.CONDITIONS: (NotAuthenticatedError, "ask for a challenge first"),
        Sw.NOT_ALLOWED: _NO_KEY,
    }

    def encode(self) -> CommandApdu:
        signature = octets(self.signature, "a signature")
        return apdu(self.ins, CheckUserKeyMode.RESPONSE, data=bytes((self.slot,)) + signature)


@dataclass(frozen=True, slots=True)
class AuthorizeHashes(_Verdict):
    """CHECK USER KEY 00 or 10: unlocks SIGN for these digests, in this order. False: refused."""

    slot: UserKeySlot
    digests: tuple[bytes, ...]
    """32 bytes each: one, or as a list up to 4 (FIDO 3)."""
    signature: bytes
    as_list: bool = False
    """Mode 10, also for one."""

    def encode(self) -> CommandApdu:
        most = (wire.MAX_HASHES_FIDO if self.slot is UserKeySlot.FIDO else wire.MAX_HASHES) if self.as_list else 1
        if not 1 <= len(self.digests) <= most:
            raise UsageError(f"1 to {most} digests of {wire.DIGEST_LENGTH} bytes can be authorized at once")
        mode = CheckUserKeyMode.SIGN_HASHES if self.as_list else CheckUserKeyMode.SIGN_HASH
        first = octets(self.digests[0], "a digest", wire.DIGEST_LENGTH)
        message = message_to_sign(self.digests if self.as_list else first)
        return apdu(self.ins, mode, data=bytes((self.slot,)) + message + octets(self.signature, "a signature"))


@dataclass(frozen=True, slots=True)
class FidoCredentialId(Command[bytes]):
    """CHECK USER KEY 03 01: the credential id of the FIDO slot, 1 to 64 bytes.

    The answer is documented with the length in its first byte. One in which that cannot be is taken for the id alone.
    """

    ins: ClassVar[Ins] = Ins.CHECK_USER_KEY
    meanings: ClassVar[Mapping[int, Meaning]] = {Sw.NOT_ALLOWED: _NO_KEY, Sw.CONDITIONS: _NO_KEY}

    def encode(self) -> CommandApdu:
        return apdu(self.ins, CheckUserKeyMode.CREDENTIAL_ID, 0x01)

    def decode(self, data: bytes) -> bytes:
        if data and 1 <= data[0] <= min(len(data) - 1, wire.FIDO_CREDENTIAL_MAX):
            return bytes(data[1 : 1 + data[0]])
        if not 1 <= len(data) <= wire.FIDO_CREDENTIAL_MAX:
            raise MalformedResponseError(f"CHECK USER KEY: {len(data)} bytes are not a credential id")
        return bytes(data)
