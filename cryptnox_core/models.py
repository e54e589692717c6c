"""What the card says about itself, as typed values. Parsers raise MalformedResponseError and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from cryptnox_core.bip32 import ExtendedPublicKey
from cryptnox_core.certificate import CardCertificate, Genuineness
from cryptnox_core.errors import MalformedResponseError
from cryptnox_core.reader import ByteReader
from cryptnox_core.wire import (
    CARD_TYPE_BASIC,
    CARD_TYPE_NFT,
    CUSTOM_BYTES,
    DIGEST_LENGTH,
    FIDO_CREDENTIAL_MAX,
    P256_POINT_LENGTH,
    RSA_MODULUS,
    SIGNATURE_CHECK_MESSAGE,
    SIGNATURE_CHECK_TAG,
    USER_KEY_TEXT,
    KeySource,
    StatusFlag,
    UserKeyFlag,
    UserKeySlot,
)

__all__ = [
    "AppletInfo",
    "CardCertificate",
    "CardInfo",
    "ExtendedPublicKey",
    "Genuineness",
    "HistoryEntry",
    "SignatureCheck",
    "UserKeyInfo",
]


@dataclass(frozen=True, slots=True)
class AppletInfo:
    """Response of SELECT (24 bytes; what later applets append is not looked at)."""

    card_type: int
    """`B` (Basic) or `N` (NFT) as a byte."""
    version: tuple[int, int, int]
    flags: StatusFlag
    user_keys: UserKeyFlag
    custom: bytes
    """16 bytes, public, free for any use."""

    @classmethod
    def parse(cls, data: bytes) -> AppletInfo:
        """From the data of the response; unknown flags are kept and ignored."""
        reader = ByteReader(data, "SELECT")
        return cls(
            card_type=reader.number(1),
            version=(reader.number(1), reader.number(1), reader.number(1)),
            flags=StatusFlag(reader.number(2)),
            user_keys=UserKeyFlag(reader.number(2)),
            custom=reader.take(CUSTOM_BYTES),
        )

    @property
    def type_name(self) -> str:
        """`Basic`, `NFT`, or the byte in hexadecimal."""
        return {CARD_TYPE_BASIC: "Basic", CARD_TYPE_NFT: "NFT"}.get(self.card_type, f"type {self.card_type:02x}")

    @property
    def is_nft(self) -> bool:
        """An NFT card: one key, no tree."""
        return self.card_type == CARD_TYPE_NFT

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
        """Text that is no UTF-8 keeps its readable part."""
        reader = ByteReader(data, "READ DATA (card info)")
        source = reader.number(1)
        name, email = reader.prefixed(), reader.prefixed()
        counter = reader.number(4)
        reader.end()
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

    @classmethod
    def parse(cls, data: bytes) -> HistoryEntry | None:
        """None for an unused entry (empty or all zero)."""
        if not any(data):
            return None
        reader = ByteReader(data, "GET HISTORY")
        entry = cls(reader.number(4), reader.take(DIGEST_LENGTH))
        reader.end()
        return entry


@dataclass(frozen=True, slots=True)
class UserKeyInfo:
    """One user-key slot: the owner's text, and the key as it was stored."""

    slot: UserKeySlot
    text: str
    public_key: bytes
    """Slot 1 and 3: P-256 point, 65 bytes. Slot 2: RSA modulus, 256 bytes (exponent 65537)."""
    credential_id: bytes = b""
    """FIDO only, and only where the card shows it here; `Card.fido_credential_id` asks for it."""

    @classmethod
    def parse(cls, slot: UserKeySlot, data: bytes) -> UserKeyInfo:
        """From the answer of READ DATA with the slot as P1."""
        reader = ByteReader(data, "READ DATA (user key)")
        text = reader.take(USER_KEY_TEXT).rstrip(b"\0").decode("utf-8", "replace")
        credential = b""
        if slot is UserKeySlot.FIDO and reader.left > P256_POINT_LENGTH:
            credential = reader.prefixed()
            if len(credential) > FIDO_CREDENTIAL_MAX:
                raise MalformedResponseError("READ DATA (user key): the credential id is too long")
        key = reader.take(RSA_MODULUS if slot is UserKeySlot.RSA else P256_POINT_LENGTH)
        reader.end()
        return cls(slot, text, key, credential)


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """Response of SIGNATURE CHECK (NFT): what was signed, and the signature (DER, secp256k1)."""

    message: bytes
    """36 bytes: `CR`, then bytes of the card's and the caller's nonce."""
    signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> SignatureCheck:
        """Checks the mark `CR` at the start; the signature is checked by `Card.signature_check`."""
        reader = ByteReader(data, "SIGNATURE CHECK")
        message = reader.take(SIGNATURE_CHECK_MESSAGE)
        if not message.startswith(SIGNATURE_CHECK_TAG):
            raise MalformedResponseError("SIGNATURE CHECK: the message does not start with CR")
        return cls(message, reader.rest())
