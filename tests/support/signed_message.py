"""A judge of signed messages in Bitcoin Core's format: without a line of the product."""

from __future__ import annotations

import base64
from hashlib import sha256

from embit.compact import to_bytes

from tests.support.curve import PublicKey

MAGIC = b"\x18Bitcoin Signed Message:\n"
FIRST = 31
"""The header of a compressed key, of the first of four recovery ids."""


def verify_message(public_key: bytes, message: str | bytes, signature: str) -> bool:
    """Whether a base64 signature is the compressed key's over a message (text as UTF-8), its recovery id included."""
    raw, data = base64.b64decode(signature, validate=True), message.encode() if isinstance(message, str) else message
    digest = sha256(sha256(MAGIC + to_bytes(len(data)) + data).digest()).digest()
    if len(raw) != 65 or not FIRST <= raw[0] < FIRST + 4:
        return False
    key = PublicKey.from_signature_and_message(raw[1:] + bytes((raw[0] - FIRST,)), digest, hasher=None)
    return key.format() == public_key
