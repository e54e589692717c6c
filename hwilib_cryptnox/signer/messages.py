"""Signed messages: Bitcoin Core's legacy format (`signmessage`), and BIP322's "simple" form for P2WPKH. Pure."""

from __future__ import annotations

import base64
import binascii

from cryptnox_core.crypto.hashes import hash160, hash256
from cryptnox_core.crypto.secp256k1 import (
    InvalidSignatureError,
    from_compact,
    is_low_s,
    is_public_key,
    recover,
    recovery_id,
    to_compact,
    verify_ecdsa,
)
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.psbt import BadPsbt, Sighash
from hwilib_cryptnox.psbt.message import to_sign
from hwilib_cryptnox.psbt.script import Kind, kind_of, p2pkh, p2wpkh
from hwilib_cryptnox.psbt.sighash import SignatureHasher
from hwilib_cryptnox.psbt.tx import read_witness, with_length

MAGIC = b"\x18Bitcoin Signed Message:\n"
_FIRST_HEADER = 27
_COMPRESSED = 4
_RECOVERY = 3
"""The bits of a header, above the first, that are the recovery id."""
_LENGTH = 65
_LENGTH_BITS = 64
"""Of the greatest CompactSize."""


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError("the signature is not base64") from error


# Bitcoin Core's format


def message_digest(message: str | bytes) -> bytes:
    """The 32 bytes that are signed: double SHA-256 of the magic, the length and the message (text as UTF-8)."""
    data = message.encode("utf-8") if isinstance(message, str) else message
    if len(data) >> _LENGTH_BITS:
        raise UsageError("the message is too long")
    return hash256(MAGIC + with_length(data))


def encode_signature(public_key: bytes, digest: bytes, signature: bytes) -> str:
    """A DER signature as base64 of 65 bytes: header 31 to 34 (27 + 4 for a compressed key + recovery id), r, s.

    Raises InvalidSignatureError when the signature is not `public_key`'s over `digest`.
    """
    header = _FIRST_HEADER + _COMPRESSED + recovery_id(public_key, digest, signature)
    return base64.b64encode(bytes((header,)) + to_compact(signature)).decode("ascii")


def _split(signature: str) -> tuple[int, bytes]:
    """What the header says, from 0, and r and s. UsageError for what is no such signature."""
    raw = _decoded(signature)
    if len(raw) != _LENGTH or not _FIRST_HEADER <= raw[0] < _FIRST_HEADER + 2 * _COMPRESSED:
        raise UsageError("not a message signature of 65 bytes")
    return raw[0] - _FIRST_HEADER, raw[1:]


def verify_message(public_key: bytes, message: str | bytes, signature: str) -> bool:
    """Whether a base64 signature of this format over `message` is `public_key`'s.

    Raises UsageError for what is no such signature. The recovery id must lead to the key, as Bitcoin Core demands.
    """
    number, compact = _split(signature)
    digest, der = message_digest(message), from_compact(compact)
    return verify_ecdsa(public_key, digest, der) and recovery_id(public_key, digest, der) == number & _RECOVERY


def recover_public_key(message: str | bytes, signature: str) -> tuple[bytes, bool]:
    """The key (33 bytes) that made a base64 signature over `message`, and whether it is used compressed.

    Raises UsageError for what is no such signature, or one that no key can have made.
    """
    number, compact = _split(signature)
    return recover(compact, number & _RECOVERY, message_digest(message)), bool(number & _COMPRESSED)


# BIP322's simple form


def simple_digest(message: bytes, public_key: bytes) -> bytes:
    """What the key of a P2WPKH address signs: BIP143's hash of BIP322's virtual transaction, SIGHASH_ALL."""
    key_hash = hash160(public_key)
    hasher = SignatureHasher(to_sign(message, p2wpkh(key_hash)))
    return hasher.segwit_v0(0, p2pkh(key_hash), 0, Sighash.ALL)


def encode_simple(public_key: bytes, signature: bytes) -> str:
    """Base64 of the witness: the DER signature with its sighash byte, and the key (33 bytes)."""
    witness = b"\x02" + with_length(signature + bytes((Sighash.ALL,))) + with_length(public_key)
    return base64.b64encode(witness).decode("ascii")


def verify_simple(script: bytes, message: bytes, signature: str) -> bool:
    """Whether a signature in the simple form is good for a P2WPKH script (22 bytes).

    Raises UsageError for another script, or for what is no such signature.
    """
    if kind_of(script) is not Kind.P2WPKH:
        raise UsageError("BIP322's simple form is verified here for P2WPKH addresses only")
    made, key = _witness(_decoded(signature))
    if made[-1] != Sighash.ALL or not is_public_key(key) or hash160(key) != script[2:]:
        return False
    try:
        return is_low_s(made[:-1]) and verify_ecdsa(key, simple_digest(message, key), made[:-1])
    except InvalidSignatureError:
        return False


def _witness(raw: bytes) -> tuple[bytes, bytes]:
    """The two items of the witness: a signature with its sighash byte, and a compressed key."""
    try:
        items, end = read_witness(raw, 0)
    except BadPsbt:
        items, end = (), 0
    if end != len(raw) or len(items) != 2 or not items[0] or len(items[1]) != 33:
        raise UsageError("not a BIP322 signature in the simple form of a P2WPKH address")
    return items[0], items[1]
