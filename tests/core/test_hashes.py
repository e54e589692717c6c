"""Hashes and base58 against published values."""

from __future__ import annotations

import hashlib

import pytest
from embit import base58 as oracle
from hypothesis import given
from hypothesis import strategies as st

from cryptnox_core.crypto import hashes, ripemd160
from cryptnox_core.errors import UsageError

RIPEMD160 = {
    # From the page of the algorithm's authors.
    b"": "9c1185a5c5e9fc54612808977ee8f548b2258d31",
    b"a": "0bdc9d2d256b3ee9daae347be6f4dc835a467ffe",
    b"abc": "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc",
    b"message digest": "5d0689ef49d2fae572b881b123a85ffa21595f36",
    b"abcdefghijklmnopqrstuvwxyz": "f71c27109c692c1b56bbdceb5b9d2865b3708dbc",
    b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq": "12a053384a9c0c88e405a06c27dcf49ada62eb2b",
    b"1234567890" * 8: "9b752e45573d4b39f4dbd3323cab82bf63326bfb",
}


@pytest.mark.parametrize("message", RIPEMD160, ids=len)
def test_ripemd160(message: bytes) -> None:
    assert ripemd160.digest(message).hex() == RIPEMD160[message]
    assert hashes.ripemd160(message).hex() == RIPEMD160[message]


@given(st.binary(max_size=300))
def test_the_two_ripemd160_agree(message: bytes) -> None:
    assert ripemd160.digest(message) == hashes.ripemd160(message)


def test_ripemd160_without_openssls(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("unsupported hash type ripemd160")

    monkeypatch.setattr(hashlib, "new", refuse)
    assert hashes.ripemd160(b"abc").hex() == RIPEMD160[b"abc"]


def test_compositions() -> None:
    assert hashes.sha256(b"abc") == hashlib.sha256(b"abc").digest()
    assert hashes.hash256(b"abc") == hashlib.sha256(hashlib.sha256(b"abc").digest()).digest()
    assert hashes.hash160(b"abc") == hashes.ripemd160(hashlib.sha256(b"abc").digest())
    tag = hashlib.sha256(b"BIP0340/nonce").digest()
    assert hashes.tagged_hash("BIP0340/nonce", b"x") == hashlib.sha256(tag + tag + b"x").digest()


@given(st.binary(max_size=100))
def test_base58check(data: bytes) -> None:
    text = hashes.base58check_encode(data)
    assert text == oracle.encode_check(data)
    assert hashes.base58check_decode(text) == data


@pytest.mark.parametrize("text", ["", "1", "0", "é", "1" * 201, "3mJr0", "11111"])
def test_no_base58check(text: str) -> None:
    with pytest.raises(UsageError):
        hashes.base58check_decode(text)
