"""AES-CBC against NIST's published blocks, and the padding bit for bit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptnox_core.crypto.aes import decrypt_cbc, encrypt_cbc, encrypt_padded, pad, unpad

# NIST SP 800-38A, F.2.5 and F.2.6 (CBC-AES256).
KEY = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
IV = bytes(range(16))
PLAIN = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
CIPHER = bytes.fromhex(
    "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
    "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b"
)


def test_published_blocks() -> None:
    assert encrypt_cbc(KEY, IV, PLAIN) == CIPHER
    assert decrypt_cbc(KEY, IV, CIPHER) == PLAIN


def test_padding() -> None:
    """ISO/IEC 9797-1, method 2: `80`, then zeros; a whole block where the data fills its last one."""
    assert pad(b"") == b"\x80" + bytes(15)
    assert pad(bytes(15)) == bytes(15) + b"\x80"
    assert pad(bytes(16)) == bytes(16) + b"\x80" + bytes(15)
    assert unpad(b"\x80\x80" + bytes(14)) == b"\x80"


@pytest.mark.parametrize(
    "blocks",
    [b"", bytes(16), bytes(32), b"\x01" * 16, b"\x80" + bytes(16), b"data" + b"\x80" + bytes(27), b"\x81" + bytes(15)],
    ids=bytes.hex,
)
def test_what_is_no_padding(blocks: bytes) -> None:
    assert unpad(blocks) is None


@given(st.binary(max_size=100))
def test_there_and_back(data: bytes) -> None:
    padded = pad(data)
    assert len(padded) % 16 == 0 and 1 <= len(padded) - len(data) <= 16
    assert unpad(padded) == data
    assert unpad(decrypt_cbc(KEY, IV, encrypt_padded(KEY, IV, data))) == data
