"""Whether a signature in a PSBT, or in a finished transaction, verifies and would be relayed. On its own because those
who combine, finalize, run scripts and tell the signers ask the same."""

from __future__ import annotations

from collections.abc import Callable

from cryptnox_core.crypto.secp256k1 import (
    InvalidPublicKeyError,
    InvalidSignatureError,
    is_low_s,
    verify_ecdsa,
    verify_schnorr,
)
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.codec import FieldMap
from hwilib_cryptnox.psbt.sighash import ECDSA_TYPES, Sighash, SignatureHasher


def ecdsa_valid(key: bytes, value: bytes, digest: Callable[[int], bytes]) -> bool:
    """Whether a signature (DER and sighash type) verifies and would be relayed: low S, a type that is defined.

    `key`: 33 or 65 bytes; `digest` gives the hash of a type.
    """
    try:
        return value[-1] in ECDSA_TYPES and is_low_s(value[:-1]) and verify_ecdsa(key, digest(value[-1]), value[:-1])
    except (InvalidSignatureError, InvalidPublicKeyError):
        return False


def schnorr_valid(key: bytes, value: bytes, index: int, leaf_hash: bytes | None, hasher: SignatureHasher) -> bool:
    """Whether a taproot signature of 64 or 65 bytes verifies for the output key, or with a leaf hash for the leaf."""
    sighash = value[64] if len(value) > 64 else Sighash.DEFAULT
    if len(value) > 64 and sighash == Sighash.DEFAULT:
        return False
    try:
        digest = hasher.taproot(index, sighash, leaf_hash=leaf_hash)
    except ValueError:
        return False
    return len(value) in (64, 65) and verify_schnorr(key, digest, value[:64])


def types_in(fields: FieldMap) -> list[int]:
    """The sighash types of the signatures of an input that is not final; those of partial ones of MuSig2 go by its
    field."""
    found = [value[-1] for _, value in fields.keyed(f.IN_PARTIAL_SIG) if value]
    schnorr = [value for _, value in (*fields.keyed(f.IN_TAP_KEY_SIG), *fields.keyed(f.IN_TAP_SCRIPT_SIG))]
    found += [value[64] if len(value) > 64 else Sighash.DEFAULT for value in schnorr]
    if fields.keyed(f.IN_MUSIG2_PARTIAL_SIG):
        found.append(int.from_bytes(fields.get(f.IN_SIGHASH_TYPE) or b"", "little"))
    return found
