"""Signed messages."""

from __future__ import annotations

import base64
import hashlib

import pytest

from cryptnox_core.crypto.secp256k1 import InvalidSignatureError
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.signer.messages import encode_signature, message_digest, verify_message
from tests.support.curve import PrivateKey, PublicKey

KEY = PrivateKey(hashlib.sha256(b"message key").digest())
PUBLIC = KEY.public_key.format()
HEADS = {0: "00", 1: "01", 252: "fc", 253: "fdfd00", 65535: "fdffff", 65536: "fe00000100", 1_000_000: "fe40420f00"}


@pytest.mark.parametrize("length", HEADS)
def test_digest(length: int) -> None:
    """The layout written out: magic with its length, length of the message, message; SHA-256 twice."""
    message = b"m" * length
    raw = b"\x18Bitcoin Signed Message:\n" + bytes.fromhex(HEADS[length]) + message
    assert message_digest(message) == hashlib.sha256(hashlib.sha256(raw).digest()).digest()


def test_text_is_utf8() -> None:
    assert message_digest("Zürich ₿") == message_digest("Zürich ₿".encode())


@pytest.mark.parametrize("number", range(16))
def test_header_leads_to_the_key(number: int) -> None:
    """Sixteen signatures: the chance that all have the same recovery id is 2^-15."""
    digest = message_digest(f"message {number}")
    signature = KEY.sign(digest, hasher=None)
    raw = base64.b64decode(encode_signature(PUBLIC, digest, signature))
    assert len(raw) == 65 and 31 <= raw[0] <= 34
    recovered = PublicKey.from_signature_and_message(raw[1:] + bytes((raw[0] - 31,)), digest, hasher=None)
    assert recovered.format() == PUBLIC
    assert verify_message(PUBLIC, f"message {number}", base64.b64encode(raw).decode())
    assert not verify_message(PUBLIC, "another message", base64.b64encode(raw).decode())


def test_a_foreign_signature_is_not_encoded() -> None:
    digest = message_digest("message")
    with pytest.raises(InvalidSignatureError):
        encode_signature(PrivateKey(b"\x02" * 32).public_key.format(), digest, KEY.sign(digest, hasher=None))


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", base64.b64encode(b"\x00" * 65).decode()])
def test_no_signature(text: str) -> None:
    with pytest.raises(UsageError):
        verify_message(PUBLIC, "message", text)
