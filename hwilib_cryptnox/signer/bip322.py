"""Signed messages after BIP322, the "simple" form, for P2WPKH addresses. Pure."""

from __future__ import annotations

import base64
import binascii

from cryptnox_core.crypto.hashes import hash160, hash256
from cryptnox_core.crypto.secp256k1 import InvalidSignatureError, is_low_s, is_public_key, verify_ecdsa
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.psbt.message import to_spend
from hwilib_cryptnox.psbt.script import p2pkh, p2wpkh

_VERSION = bytes(4)
_SEQUENCE = bytes(4)
_LOCK_TIME = bytes(4)
_SIGHASH_ALL = 1
_OP_RETURN = b"\x6a"


def digest(message: bytes, public_key: bytes) -> bytes:
    """What the key of a P2WPKH address signs: BIP143's hash of the virtual spending transaction, SIGHASH_ALL."""
    key_hash = hash160(public_key)
    outpoint = hash256(to_spend(message, p2wpkh(key_hash))) + bytes(4)
    code = p2pkh(key_hash)
    return hash256(
        b"".join(
            (
                _VERSION,
                hash256(outpoint),
                hash256(_SEQUENCE),
                outpoint,
                bytes((len(code),)) + code,
                bytes(8),
                _SEQUENCE,
                hash256(bytes(8) + bytes((len(_OP_RETURN),)) + _OP_RETURN),
                _LOCK_TIME,
                _SIGHASH_ALL.to_bytes(4, "little"),
            )
        )
    )


def encode_signature(public_key: bytes, signature: bytes) -> str:
    """Base64 of the witness: the DER signature with its sighash byte, and the key (33 bytes)."""
    items = (signature + bytes((_SIGHASH_ALL,)), public_key)
    return base64.b64encode(b"\x02" + b"".join(bytes((len(item),)) + item for item in items)).decode("ascii")


def verify(script: bytes, message: bytes, signature: str) -> bool:
    """Whether a signature in the simple form is good for a P2WPKH script (22 bytes).

    Raises UsageError for another script, or for what is no such signature.
    """
    if len(script) != 22 or script[:2] != b"\x00\x14":
        raise UsageError("BIP322's simple form is verified here for P2WPKH addresses only")
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError("the signature is not base64") from error
    made, key = _witness(raw)
    if made[-1] != _SIGHASH_ALL or not is_public_key(key) or hash160(key) != script[2:]:
        return False
    try:
        return is_low_s(made[:-1]) and verify_ecdsa(key, digest(message, key), made[:-1])
    except InvalidSignatureError:
        return False


def _witness(raw: bytes) -> tuple[bytes, bytes]:
    """The two items of the witness; short enough that each length is one byte."""
    if len(raw) > 1 and raw[0] == 2:
        first = raw[2 : 2 + raw[1]]
        rest = raw[2 + raw[1] :]
        if first and rest and len(rest) == 1 + rest[0] == 34:
            return first, rest[1:]
    raise UsageError("not a BIP322 signature in the simple form of a P2WPKH address")
