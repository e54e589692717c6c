"""A card's signature over a wallet's name and descriptor, and the text in which HWI hands it on. Pure.

On another computer a registration is believed only where this very card made it. Its key is at a path of its own
purpose, m/1380271955h (the letters REGS): one hardened level, which no wallet standard uses and from which no wallet's
key comes.

What is signed is BIP340's tagged hash with the tag `hwi-cryptnox/registration`: one SHA-256 over 64 bytes that are the
hash of the tag twice, and then the version, the name and the descriptor. It can be the digest of nothing else that is
signed in Bitcoin: transactions before taproot and signed messages are hashed twice, so that their digest is the SHA-256
of 32 bytes, never of 64 and more; taproot's and BIP322's hashes begin with the hashes of other tags.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from cryptnox_core.bip32 import HARDENED, Path
from cryptnox_core.crypto.hashes import tagged_hash
from cryptnox_core.crypto.secp256k1 import from_compact, is_low_s, normalize, to_compact, verify_ecdsa
from cryptnox_core.errors import UsageError
from hwilib_cryptnox import DEVICE_TYPE
from hwilib_cryptnox.psbt import BadPsbt
from hwilib_cryptnox.psbt.codec import decode_base64
from hwilib_cryptnox.psbt.errors import NotBase64Error
from hwilib_cryptnox.psbt.tx import read_compact, read_with_length, with_length
from hwilib_cryptnox.signer.wallets import PolicyError, WalletPolicy, check_name

REGISTRATION_PATH = Path((int.from_bytes(b"REGS", "big") | HARDENED,))
TAG = "hwi-cryptnox/registration"
VERSION = 1
_MAGIC = b"rdesc"
_HWI_VERSION = 1
_SIGNATURE = 64
_MOST_TEXT = 64 * 1024


class RegistrationError(PolicyError):
    """What was given is no registration, or none of this card. The text says why."""


def registration_digest(name: str, descriptor: str) -> bytes:
    """The 32 bytes that a card signs: of a name as `check_name` gives it, and a descriptor in its normal form."""
    content = b"".join([with_length(text.encode("utf-8")) for text in (name, descriptor)])
    return tagged_hash(TAG, bytes((VERSION,)) + content)


def encode(signature: bytes) -> bytes:
    """The registration of a DER signature: the version and the 64 bytes r | s, with low s."""
    return bytes((VERSION,)) + to_compact(normalize(signature))


def verify(public_key: bytes, name: str, descriptor: str, registration: bytes) -> bool:
    """Whether a registration is a card's signature over a name and a descriptor. `public_key`: the card's compressed
    key at REGISTRATION_PATH."""
    if len(registration) != 1 + _SIGNATURE or registration[0] != VERSION:
        return False
    try:
        signature = from_compact(registration[1:])
        return is_low_s(signature) and verify_ecdsa(public_key, registration_digest(name, descriptor), signature)
    except UsageError:
        return False


@dataclass(frozen=True, slots=True)
class Registration:
    """A wallet that a card has registered, as HWI hands it on."""

    name: str
    policy: WalletPolicy
    registration: bytes
    """65 bytes: version and signature."""

    @property
    def descriptor(self) -> str:
        """The wallet's, in its normal form."""
        return self.policy.descriptor

    def to_text(self) -> str:
        """HWI's serialization: base64 of `rdesc`, version 1, name, descriptor, device type and registration."""
        fields = self.name.encode("utf-8"), self.descriptor.encode("ascii"), DEVICE_TYPE.encode("ascii")
        parts = [with_length(field) for field in (*fields, self.registration)]
        return base64.b64encode(_MAGIC + bytes((_HWI_VERSION,)) + b"".join(parts)).decode("ascii")

    @classmethod
    def parse(cls, text: str) -> Registration:
        """The inverse of `to_text`. Whose signature it is has to be looked at yet.

        Raises: RegistrationError, or PolicyError for a name or a descriptor that cannot be registered.
        """
        raw = _decoded(text)
        if raw[: len(_MAGIC)] != _MAGIC:
            raise RegistrationError(
                "this is not a registration: it does not begin like one that registerdescriptor returned"
            )
        try:
            version, at = read_compact(raw, len(_MAGIC))
            if version != _HWI_VERSION:
                raise RegistrationError(f"the registration has version {version}, but only version 1 is known")
            fields = []
            for _ in range(4):
                field, at = read_with_length(raw, at)
                fields.append(field)
        except BadPsbt:
            raise RegistrationError("the registration is cut off or damaged") from None
        if at != len(raw):
            raise RegistrationError("the registration has extra bytes after its end")
        name, descriptor, device, registration = fields
        if device != DEVICE_TYPE.encode("ascii"):
            raise RegistrationError("the registration was made by another type of device")
        try:
            told, text = name.decode("utf-8"), descriptor.decode("ascii")
        except UnicodeDecodeError:
            raise RegistrationError("the registration is cut off or damaged") from None
        if check_name(told) != told:
            raise RegistrationError("the registration's name is not in the form in which names are signed")
        if len(registration) != 1 + _SIGNATURE or registration[0] != VERSION:
            raise RegistrationError("the registration has no signature from a Cryptnox card")
        return cls(told, WalletPolicy.parse(text), registration)


def _decoded(text: str) -> bytes:
    if len(text) > _MOST_TEXT:
        raise RegistrationError("this is not a registration: it is too long")
    try:
        return decode_base64(text.strip())
    except NotBase64Error:
        raise RegistrationError("this is not a registration: it is not base64") from None
