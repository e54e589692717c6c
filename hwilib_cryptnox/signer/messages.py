"""Signed messages in Bitcoin Core's legacy format (`signmessage`, `verifymessage`). Pure."""

from __future__ import annotations

import base64
import binascii

from cryptnox_core.crypto.hashes import hash256
from cryptnox_core.crypto.secp256k1 import from_compact, recovery_id, to_compact, verify_ecdsa
from cryptnox_core.errors import UsageError

MAGIC = b"\x18Bitcoin Signed Message:\n"
_FIRST_HEADER = 27
_COMPRESSED = 4
_LENGTH = 65


def _compact_size(number: int) -> bytes:
    """Bitcoin's variable-length integer."""
    if number < 0xFD:
        return bytes((number,))
    for mark, width in ((0xFD, 2), (0xFE, 4), (0xFF, 8)):
        if number < 1 << 8 * width:
            return bytes((mark,)) + number.to_bytes(width, "little")
    raise UsageError("the message is too long")


def message_digest(message: str | bytes) -> bytes:
    """The 32 bytes that are signed: double SHA-256 of the magic, the length and the message (text as UTF-8)."""
    data = message.encode("utf-8") if isinstance(message, str) else message
    return hash256(MAGIC + _compact_size(len(data)) + data)


def encode_signature(public_key: bytes, digest: bytes, signature: bytes) -> str:
    """A DER signature as base64 of 65 bytes: header 31 to 34 (27 + 4 for a compressed key + recovery id), r, s.

    Raises InvalidSignatureError when the signature is not `public_key`'s over `digest`.
    """
    header = _FIRST_HEADER + _COMPRESSED + recovery_id(public_key, digest, signature)
    return base64.b64encode(bytes((header,)) + to_compact(signature)).decode("ascii")


def verify_message(public_key: bytes, message: str | bytes, signature: str) -> bool:
    """Whether a base64 signature of this format over `message` is `public_key`'s.

    Raises UsageError for what is no such signature. The recovery id must lead to the key, as Bitcoin Core demands.
    """
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError("the signature is not base64") from error
    if len(raw) != _LENGTH or not _FIRST_HEADER <= raw[0] < _FIRST_HEADER + 2 * _COMPRESSED:
        raise UsageError("not a message signature of 65 bytes")
    digest, der = message_digest(message), from_compact(raw[1:])
    return (
        verify_ecdsa(public_key, digest, der) and recovery_id(public_key, digest, der) == (raw[0] - _FIRST_HEADER) & 3
    )


def recover_public_key(message: str | bytes, signature: str) -> tuple[bytes, bool]:
    """The key (33 bytes) that made a base64 signature over `message`, and whether it is used compressed.

    Raises UsageError for what is no such signature, or one that no key can have made.
    """
    from coincurve import PublicKey

    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError("the signature is not base64") from error
    if len(raw) != _LENGTH or not _FIRST_HEADER <= raw[0] < _FIRST_HEADER + 2 * _COMPRESSED:
        raise UsageError("not a message signature of 65 bytes")
    number = raw[0] - _FIRST_HEADER
    try:
        key = PublicKey.from_signature_and_message(raw[1:] + bytes((number & 3,)), message_digest(message), hasher=None)
    except ValueError as error:
        raise UsageError("no key can have made this signature") from error
    return key.format(compressed=True), bool(number & _COMPRESSED)
