"""Signatures of a signing that was interrupted: how they are kept, and which is for what. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from cryptnox_core.crypto.secp256k1 import verify_ecdsa, verify_schnorr
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.psbt import Candidate, SignRequest
from hwilib_cryptnox.psbt import SignatureKind as Kind
from hwilib_cryptnox.psbt.musig import MusigPart


def kept_entry(request: SignRequest, signature: bytes) -> dict[str, str]:
    """A signature as it is kept in partial/."""
    key = request.public_key if request.kind is Kind.ECDSA else request.xonly_key
    return {"digest": request.digest.hex(), "key": (_part(request.musig) or key).hex(), "signature": signature.hex()}


def kept_signatures(stored: Iterable[object], candidates: Iterable[Candidate]) -> list[tuple[Candidate, bytes]]:
    """Those of the kept ones that are for candidates and verify. `stored`: anything; the rest is left aside."""
    found = {
        (entry.get("digest"), entry.get("key")): entry.get("signature")
        for entry in stored
        if isinstance(entry, dict) and all(isinstance(value, str) for value in entry.values())
    }
    kept = []
    for candidate in candidates:
        text = found.get((candidate.digest.hex(), (_part(candidate.musig) or candidate.signing_key).hex()))
        with contextlib.suppress(ValueError):  # no hexadecimal digits
            signature = bytes.fromhex(text or "")
            if verifies(candidate, signature):
                kept.append((candidate, signature))
    return kept


def _part(part: MusigPart | None) -> bytes:
    """Whose part of which MuSig2 key; empty for other signatures."""
    return b"" if part is None else part.pairs(b"")[1][0]


def place_of(item: Candidate | SignRequest) -> tuple[object, ...]:
    """What is the same in a candidate, and in the request that the plan makes of it."""
    if isinstance(item, Candidate):
        index, path = item.index, item.claim.path
    else:
        index, path = item.input_index, item.path
    return index, path, item.kind, item.leaf_hash, item.digest, _part(item.musig)


def verifies(candidate: Candidate, signature: bytes) -> bool:
    """Whether a signature is the one that is wanted."""
    if candidate.musig is not None:
        return candidate.musig.verifies(candidate.digest, signature)
    try:
        if candidate.kind is Kind.ECDSA:
            return verify_ecdsa(candidate.claim.public_key, candidate.digest, signature)
        return verify_schnorr(candidate.signing_key, candidate.digest, signature)
    except UsageError:
        return False
