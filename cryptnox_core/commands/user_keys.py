"""User keys: a second way to authenticate, by signatures of a key held elsewhere (PROTOCOL 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from cryptnox_core.apdu import CommandApdu
from cryptnox_core.commands.base import Command, Meaning, apdu, no_data, puk_field
from cryptnox_core.errors import (
    MalformedResponseError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    UsageError,
)
from cryptnox_core.hashes import sha256
from cryptnox_core.models import UserKeyInfo
from cryptnox_core.p256 import is_point
from cryptnox_core.wire import (
    CHALLENGE_LENGTH,
    DIGEST_LENGTH,
    FIDO_CREDENTIAL_MAX,
    MAX_HASHES,
    MAX_HASHES_FIDO,
    P256_POINT_LENGTH,
    RSA_MODULUS,
    USER_KEY_TEXT,
    CheckUserKeyMode,
    Ins,
    Sw,
    UserKeySlot,
)

_NO_KEY: Meaning = (NotFoundError, "there is no user key in this slot")


def digest_to_sign(hashes: bytes | Sequence[bytes], *, rehash: bool = False) -> bytes:
    """The 32 bytes that a user key of slot 1 or 2 signs (ECDSA, or RSA PKCS #1 v1.5 with SHA-256).

    A challenge or one digest stands for itself; of a list it is SHA-256 of the count and the digests. Sources disagree
    whether the card takes SHA-256 once more (`rehash`, as the vendor's command line does). FIDO keys sign assertions.
    """
    if isinstance(hashes, bytes):
        digest = hashes
    else:
        digest = sha256(bytes((len(hashes),)) + b"".join(hashes))
    return sha256(digest) if rehash else digest


@dataclass(frozen=True, slots=True)
class AddUserKey(Command[None]):
    """ADD USER KEY, with the PUK. Requires: the PIN verified (on some cards). NotAllowedError: the slot is taken."""

    slot: UserKeySlot
    text: str
    """Up to 64 bytes of UTF-8."""
    public_key: bytes
    """Slot 1 and 3: P-256 point, 65 bytes; slot 2: RSA-2048 modulus, 256 bytes, exponent 65537."""
    puk: str = field(repr=False)
    credential_id: bytes = b""
    """FIDO: 1 to 64 bytes; otherwise empty."""

    ins: ClassVar[Ins] = Ins.ADD_USER_KEY
    uses_puk: ClassVar[bool] = True
    meanings: ClassVar[Mapping[int, Meaning]] = {
        Sw.NOT_ALLOWED: (NotAllowedError, "there is a user key in this slot already"),
    }

    def encode(self) -> CommandApdu:
        text = self.text.encode("utf-8")
        if len(text) > USER_KEY_TEXT:
            raise UsageError(f"the text has at most {USER_KEY_TEXT} bytes")
        if self.slot is UserKeySlot.RSA:
            if len(self.public_key) != RSA_MODULUS:
                raise UsageError(f"the RSA modulus has {RSA_MODULUS} bytes")
        elif len(self.public_key) != P256_POINT_LENGTH or not is_point(self.public_key):
            raise UsageError(f"the key is a P-256 point of {P256_POINT_LENGTH} bytes")
        credential = b""
        if self.slot is UserKeySlot.FIDO:
            if not 1 <= len(self.credential_id) <= FIDO_CREDENTIAL_MAX:
                raise UsageError(f"a FIDO credential id has 1 to {FIDO_CREDENTIAL_MAX} bytes")
            credential = bytes((len(self.credential_id),)) + self.credential_id
        elif self.credential_id:
            raise UsageError("only FIDO keys have a credential id")
        head = bytes((self.slot,)) + text.ljust(USER_KEY_TEXT, b"\0")
        return apdu(self.ins, data=head + credential + self.public_key + puk_field(self.puk))

    def decode(self, data: bytes) -> None:
        no_data(data, "ADD USER KEY")


@dataclass(frozen=True, slots=True)
class DeleteUserKey(Command[None]):
    """DELETE USER KEY, with the PUK. NotFoundError: the slot is empty."""

    slot: UserKeySlot
    puk: str = field(repr=False)

    ins: ClassVar[Ins] = Ins.DELETE_USER_KEY
    uses_puk: ClassVar[bool] = True
    meanings: ClassVar[Mapping[int, Meaning]] = {Sw.NOT_ALLOWED: _NO_KEY}

    def encode(self) -> CommandApdu:
        return apdu(self.ins, data=bytes((self.slot,)) + puk_field(self.puk))

    def decode(self, data: bytes) -> None:
        no_data(data, "DELETE USER KEY")


@dataclass(frozen=True, slots=True)
class ReadUserKey(Command[UserKeyInfo]):
    """READ DATA slot 00: text and key of a slot. NotFoundError: the slot is empty."""

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
        if len(data) != CHALLENGE_LENGTH:
            raise MalformedResponseError(f"CHECK USER KEY: a challenge has {CHALLENGE_LENGTH} bytes, not {len(data)}")
        return bytes(data)


def _verdict(data: bytes) -> bool:
    if data not in (b"\x00", b"\x01"):
        raise MalformedResponseError("CHECK USER KEY: the answer is neither 00 nor 01")
    return data == b"\x01"


@dataclass(frozen=True, slots=True)
class UserKeyResponse(Command[bool]):
    """CHECK USER KEY 02: the signature over the challenge. True: authenticated as by the PIN."""

    slot: UserKeySlot
    signature: bytes

    ins: ClassVar[Ins] = Ins.CHECK_USER_KEY
    meanings: ClassVar[Mapping[int, Meaning]] = {
        Sw.CONDITIONS: (NotAuthenticatedError, "ask for a challenge first"),
        Sw.NOT_ALLOWED: _NO_KEY,
    }

    def encode(self) -> CommandApdu:
        return apdu(self.ins, CheckUserKeyMode.RESPONSE, data=bytes((self.slot,)) + self.signature)

    def decode(self, data: bytes) -> bool:
        return _verdict(data)


@dataclass(frozen=True, slots=True)
class AuthorizeHashes(Command[bool]):
    """CHECK USER KEY 00 (one hash) or 10 (a list of up to 4, FIDO 3): unlocks SIGN for these digests."""

    slot: UserKeySlot
    digests: tuple[bytes, ...]
    signature: bytes
    as_list: bool = False

    ins: ClassVar[Ins] = Ins.CHECK_USER_KEY
    meanings: ClassVar[Mapping[int, Meaning]] = {Sw.NOT_ALLOWED: _NO_KEY}

    def encode(self) -> CommandApdu:
        most = (MAX_HASHES_FIDO if self.slot is UserKeySlot.FIDO else MAX_HASHES) if self.as_list else 1
        if not 1 <= len(self.digests) <= most or any(len(digest) != DIGEST_LENGTH for digest in self.digests):
            raise UsageError(f"1 to {most} digests of {DIGEST_LENGTH} bytes are authorised at once")
        digests = b"".join(self.digests)
        if not self.as_list:
            return apdu(self.ins, CheckUserKeyMode.SIGN_HASH, data=bytes((self.slot,)) + digests + self.signature)
        head = bytes((self.slot, len(self.digests)))
        return apdu(self.ins, CheckUserKeyMode.SIGN_HASHES, data=head + digests + self.signature)

    def decode(self, data: bytes) -> bool:
        return _verdict(data)


@dataclass(frozen=True, slots=True)
class FidoCredentialId(Command[bytes]):
    """CHECK USER KEY 03 01: the credential id of the FIDO slot, 1 to 64 bytes.

    Sources do not say whether its length comes first; a first byte that is the length of the rest is taken for it.
    """

    ins: ClassVar[Ins] = Ins.CHECK_USER_KEY
    meanings: ClassVar[Mapping[int, Meaning]] = {Sw.NOT_ALLOWED: _NO_KEY, Sw.CONDITIONS: _NO_KEY}

    def encode(self) -> CommandApdu:
        return apdu(self.ins, CheckUserKeyMode.CREDENTIAL_ID, 0x01)

    def decode(self, data: bytes) -> bytes:
        if len(data) > 1 and data[0] == len(data) - 1:
            return bytes(data[1:])
        if not 1 <= len(data) <= FIDO_CREDENTIAL_MAX:
            raise MalformedResponseError(f"CHECK USER KEY: {len(data)} bytes are no credential id")
        return bytes(data)
