"""Hashes and base58 as Bitcoin uses them."""

from __future__ import annotations

import hashlib

from cryptnox_core.errors import UsageError

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_VALUE = {character: value for value, character in enumerate(_BASE58)}
_BASE58_MAX = 200


def sha256(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def hash256(data: bytes) -> bytes:
    """SHA-256 twice."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def ripemd160(data: bytes) -> bytes:
    """RIPEMD-160, also where OpenSSL was built or configured without it."""
    try:
        return hashlib.new("ripemd160", data, usedforsecurity=False).digest()
    except ValueError:
        from cryptnox_core.crypto.ripemd160 import digest

        return digest(data)


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256."""
    return ripemd160(hashlib.sha256(data).digest())


def tagged_hash(tag: str, data: bytes) -> bytes:
    """BIP340: SHA-256 of the tag's hash, twice, and the data."""
    mark = hashlib.sha256(tag.encode("ascii")).digest()
    return hashlib.sha256(mark + mark + data).digest()


def base58check_encode(data: bytes) -> str:
    """Base58 with a four-byte checksum."""
    data += hash256(data)[:4]
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, remainder = divmod(number, 58)
        text = _BASE58[remainder] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def base58check_decode(text: str) -> bytes:
    """The inverse of `base58check_encode`.

    Raises: UsageError for foreign characters, a wrong checksum, or more than 200 characters.
    """
    if len(text) > _BASE58_MAX:
        raise UsageError("too long for base58 text")
    number = 0
    for character in text:
        if character not in _BASE58_VALUE:
            raise UsageError("not base58 text")
        number = number * 58 + _BASE58_VALUE[character]
    zeros = len(text) - len(text.lstrip("1"))
    data = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(data) < 4 or hash256(data[:-4])[:4] != data[-4:]:
        raise UsageError("the base58 checksum does not match")
    return data[:-4]
