"""What the card says about itself, as typed values. Parsers raise MalformedResponseError and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from cryptnox_core import wire
from cryptnox_core.apdu import ByteReader
from cryptnox_core.arguments import member, octets
from cryptnox_core.crypto.p256 import is_point
from cryptnox_core.errors import MalformedResponseError
from cryptnox_core.wire import KeySource, StatusFlag, UserKeyFlag, UserKeySlot

_HISTORY_ENTRY = 4 + wire.DIGEST_LENGTH


@dataclass(frozen=True, slots=True)
class AppletInfo:
    """Response of SELECT: 24 bytes in 1.6, of which 6 are needed; what later applets append is not looked at."""

    card_type: int
    """`B` (Basic) or `N` (NFT) as a byte."""
    version: tuple[int, int, int]
    flags: StatusFlag
    user_keys: UserKeyFlag
    """Which slots hold a key. Nothing where the answer ends before."""
    custom: bytes
    """16 bytes, public, free for any use. Fewer where the answer ends before."""

    @classmethod
    def parse(cls, data: bytes) -> AppletInfo:
        """Read the data of the response; unknown flags are kept and ignored.

        Raises: MalformedResponseError for fewer than 6 bytes.
        """
        reader = ByteReader(octets(data, "an answer"), "SELECT")
        card_type = reader.number(1)
        version = (reader.number(1), reader.number(1), reader.number(1))
        flags, rest = StatusFlag(reader.number(2)), reader.rest()
        user_keys = UserKeyFlag(int.from_bytes(rest[:2], "big") if len(rest) >= 2 else 0)
        return cls(card_type, version, flags, user_keys, custom=rest[2 : 2 + wire.CUSTOM_BYTES])

    @property
    def is_version_2(self) -> bool:
        """Applet 2.0 or later."""
        return self.version >= wire.VERSION_2

    @property
    def reset_disabled(self) -> bool:
        """RESET is switched off for good: the card can never be erased. Known of applet 2.0 and later only."""
        return self.is_version_2 and StatusFlag.RESET_DISABLED in self.flags

    @property
    def user_key_slots(self) -> tuple[UserKeySlot, ...]:
        """The slots that this applet has: three, from version 2.0 on five."""
        later = (UserKeySlot.EC4, UserKeySlot.EC5)
        return tuple(slot for slot in UserKeySlot if self.is_version_2 or slot not in later)

    @property
    def tells_user_keys(self) -> bool:
        """Whether SELECT told which slots hold a key: an answer that ends before its custom bytes may not have."""
        return bool(self.user_keys or self.custom)

    def has_user_key(self, slot: UserKeySlot) -> bool:
        """Whether SELECT said that this slot holds a key."""
        return UserKeyFlag[member(UserKeySlot, slot, "slot").name] in self.user_keys

    @property
    def type_name(self) -> str:
        """`Basic`, `NFT`, or the byte in hexadecimal."""
        names = {wire.CARD_TYPE_BASIC: "Basic", wire.CARD_TYPE_NFT: "NFT"}
        return names.get(self.card_type, f"type {self.card_type:02x}")

    @property
    def is_nft(self) -> bool:
        """An NFT card: one key, no tree."""
        return self.card_type == wire.CARD_TYPE_NFT

    @property
    def initialized(self) -> bool:
        """INIT was done: there are a PIN and a PUK."""
        return StatusFlag.INITIALIZED in self.flags

    @property
    def seeded(self) -> bool:
        """There is a seed or key."""
        return StatusFlag.SEEDED in self.flags

    @property
    def pin_auth(self) -> bool:
        """The PIN is accepted; off means user keys only."""
        return StatusFlag.PIN_AUTH in self.flags

    @property
    def pinless_path(self) -> bool:
        """A path is set whose key signs without PIN."""
        return StatusFlag.PINLESS_PATH in self.flags

    @property
    def xpub_export(self) -> bool:
        """Extended public keys may be read."""
        return StatusFlag.XPUB_EXPORT in self.flags

    @property
    def clear_public_key(self) -> bool:
        """The current public key may be read without the secure channel."""
        return StatusFlag.CLEAR_PUBKEY in self.flags


@dataclass(frozen=True, slots=True)
class CardInfo:
    """Response of READ DATA 00 00."""

    key_source: KeySource | int
    """A number where the byte has no known meaning."""
    name: str
    email: str
    signature_counter: int

    @classmethod
    def parse(cls, data: bytes) -> CardInfo:
        """Read the data of the response; text that is no UTF-8 keeps its readable part.

        Raises: MalformedResponseError where a field is cut off.
        """
        reader = ByteReader(data, "READ DATA (card info)")
        source = reader.number(1)
        name, email = reader.prefixed(), reader.prefixed()
        counter = reader.number(4)
        return cls(
            key_source=KeySource(source) if source in set(KeySource) else source,
            name=name.decode("utf-8", "replace"),
            email=email.decode("utf-8", "replace"),
            signature_counter=counter,
        )


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One signature the card made: its number and the hash that was signed."""

    counter: int
    digest: bytes
    """32 bytes."""

    @classmethod
    def parse(cls, data: bytes) -> HistoryEntry | None:
        """Read the data of the response; None for an unused entry: shorter than one, or all zero."""
        if len(data) < _HISTORY_ENTRY or not any(data[:_HISTORY_ENTRY]):
            return None
        reader = ByteReader(data, "GET HISTORY")
        return cls(reader.number(4), reader.take(wire.DIGEST_LENGTH))


@dataclass(frozen=True, slots=True)
class UserKeyInfo:
    """One user-key slot: the owner's text, and the key as it was stored."""

    slot: UserKeySlot
    text: str
    public_key: bytes
    """P-256 point, 65 bytes. Slot 2: RSA modulus, 256 bytes (exponent 65537)."""
    credential_id: bytes = b""
    """FIDO only, and only where the card shows it here; `Card.fido_credential_id` asks for it."""

    @classmethod
    def parse(cls, slot: UserKeySlot, data: bytes) -> UserKeyInfo:
        """Read the data of the response. Raises MalformedResponseError where there is no key of the slot's kind."""
        reader = ByteReader(data, "READ DATA (user key)")
        text = reader.take(wire.USER_KEY_TEXT).rstrip(b"\0").decode("utf-8", "replace")
        if slot is UserKeySlot.RSA:
            return cls(slot, text, reader.take(wire.RSA_MODULUS))
        key, rest = reader.take(wire.P256_POINT_LENGTH), reader.rest()
        if is_point(key):
            return cls(slot, text, key)
        if slot is UserKeySlot.FIDO:
            reader = ByteReader(key + rest, "READ DATA (user key)")
            credential, key = reader.prefixed(), reader.take(wire.P256_POINT_LENGTH)
            if len(credential) <= wire.FIDO_CREDENTIAL_MAX and is_point(key):
                return cls(slot, text, key, credential)
        raise MalformedResponseError("READ DATA (user key): not a P-256 key")


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """Response of SIGNATURE CHECK (NFT): what was signed, and the signature (DER, secp256k1)."""

    message: bytes
    """36 bytes: `CR`, then bytes of the card's and the caller's nonce."""
    signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> SignatureCheck:
        """Read the data of the response. The signature is checked by `Card.signature_check`.

        Raises: MalformedResponseError where the message does not start with `CR`.
        """
        reader = ByteReader(data, "SIGNATURE CHECK")
        message = reader.take(wire.SIGNATURE_CHECK_MESSAGE)
        if not message.startswith(wire.SIGNATURE_CHECK_TAG):
            raise MalformedResponseError("SIGNATURE CHECK: the message does not start with CR")
        return cls(message, reader.signature())


class Musig2Part(NamedTuple):
    """What a card adds to a MuSig2 signature."""

    nonce: bytes
    """Its public nonce, 66 bytes."""
    partial: bytes
    """Its partial signature, 32 bytes."""


class KeyPathSignature(NamedTuple):
    """A signature of a taproot key path, which a card made with MuSig2."""

    nonce: bytes
    """The card's public nonce, 66 bytes."""
    signature: bytes
    """64 bytes (BIP340)."""
