"""Signed messages in Bitcoin Core's legacy format (`signmessage`), as all wallets write it. BIP322: `bip322`. Pure."""

from __future__ import annotations

import base64

from cryptnox_core.crypto.hashes import hash160, hash256
from cryptnox_core.crypto.secp256k1 import (
    decompress,
    recover,
    recovery_id,
    to_compact,
)
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.networks import ScriptType
from hwilib_cryptnox.psbt.change import single_key_scripts
from hwilib_cryptnox.psbt.codec import decode_base64
from hwilib_cryptnox.psbt.errors import NotBase64Error, StrayBitsError
from hwilib_cryptnox.psbt.script import Kind, kind_of
from hwilib_cryptnox.psbt.tx import with_length

MAGIC = b"\x18Bitcoin Signed Message:\n"
_FIRST_HEADER = 27
_COMPRESSED = 4
_RECOVERY = 3
"""The bits of a header, above the first, that are the recovery id."""
_KINDS = 4
"""Of keys and addresses, by the other bits: uncompressed, compressed, and since BIP137 nested segwit and segwit."""
_NESTED, _SEGWIT = 2, 3
_LENGTH = 65
_LENGTH_BITS = 64
"""Of the greatest CompactSize."""


def decode_signature(signature: str) -> bytes:
    """The bytes of a base64 signature of a message, in whatever format. UsageError for what is not base64."""
    try:
        return decode_base64(signature)
    except StrayBitsError as error:
        raise UsageError("the signature is not base64: its last character carries stray bits") from error
    except NotBase64Error as error:
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
    raw = decode_signature(signature)
    if len(raw) != _LENGTH or not _FIRST_HEADER <= raw[0] < _FIRST_HEADER + _KINDS * _COMPRESSED:
        raise UsageError("not a message signature of 65 bytes")
    return raw[0] - _FIRST_HEADER, raw[1:]


def recover_public_key(message: str | bytes, signature: str) -> tuple[bytes, bool]:
    """The key (33 bytes) that made a base64 signature over `message`, and whether it is used compressed.

    Raises UsageError for what is no such signature, or one that no key can have made.
    """
    number, compact = _split(signature)
    return recover(compact, number & _RECOVERY, message_digest(message)), number >= _COMPRESSED


def is_legacy(signature: str) -> bool:
    """Whether a text is a signature of this format, good or not."""
    try:
        _split(signature)
    except UsageError:
        return False
    return True


def verify_for_script(script: bytes, message: str | bytes, signature: str) -> bool:
    """Whether a signature of this format is good for the scriptPubKey of an address of one key.

    Bitcoin Core signs for P2PKH alone. Electrum and others write the same header for segwit addresses, too; Trezor and
    others one that tells the kind of address (BIP137), which has to be the right one then.
    Raises UsageError for what is no such signature, and for other addresses.
    """
    kind, (number, _) = kind_of(script), _split(signature)
    if kind not in (Kind.P2PKH, Kind.P2WPKH, Kind.P2SH):
        raise UsageError("a signature of this format is for addresses of a single key; others sign after BIP322")
    key, compressed = recover_public_key(message, signature)
    told = number // _COMPRESSED
    if not compressed:
        return kind is Kind.P2PKH and hash160(decompress(key)) == script[3:23]
    if (told == _NESTED and kind is not Kind.P2SH) or (told == _SEGWIT and kind is not Kind.P2WPKH):
        return False
    scripts = single_key_scripts(key)
    return script in (scripts[ScriptType.P2PKH], scripts[ScriptType.P2WPKH], scripts[ScriptType.P2SH_P2WPKH])
