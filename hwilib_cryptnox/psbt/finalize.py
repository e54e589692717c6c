"""Finalises the standard scripts of a signed PSBT and extracts the network transaction.

For `sign --finalize` and for tests; a wallet that asked for signatures finalises itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial

from cryptnox_core.crypto.hashes import hash160
from cryptnox_core.crypto.secp256k1 import (
    InvalidPublicKeyError,
    InvalidSignatureError,
    is_low_s,
    verify_ecdsa,
    verify_schnorr,
)
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.checks import Route, Spending, ecdsa_digest, spending_of, spent_outputs
from hwilib_cryptnox.psbt.codec import FieldMap, Psbt
from hwilib_cryptnox.psbt.errors import PlacedError
from hwilib_cryptnox.psbt.musig import parts_given, whole_pairs
from hwilib_cryptnox.psbt.script import (
    OP_1,
    OP_16,
    OP_CHECKSIG,
    OP_CHECKSIGADD,
    OP_NUMEQUAL,
    Kind,
    operations,
    p2pkh,
    parse_multisig,
    push,
)
from hwilib_cryptnox.psbt.sighash import ECDSA_TYPES, Sighash, SignatureHasher
from hwilib_cryptnox.psbt.tx import read_witness

Stack = tuple[bytes, ...]
Unlocking = tuple[bytes, Stack]
"""scriptSig and witness."""


class NotFinal(PlacedError):  # noqa: N818 - named as its siblings
    """An input lacks signatures, or its script is none of those that are finalised here."""


def extract(psbt: Psbt) -> bytes:
    """The network transaction. Raises NotFinal where an input is not complete, RefusedInput where it contradicts
    itself.

    Signatures are verified before they are used; what an input's final fields hold is taken as it is.
    """
    spends = spent_outputs(psbt)
    hasher = SignatureHasher(psbt.tx, [spend.output for spend in spends])
    script_sigs, witnesses = [], []
    for index, (fields, spend) in enumerate(zip(psbt.inputs, spends, strict=True)):
        if fields.is_final:
            script_sig, witness = _final_fields(fields)
        elif spend.output is None:
            raise NotFinal(index, "the PSBT does not say what it spends")
        else:
            spending = spending_of(index, fields, spend.output[1])
            script_sig, witness = unlock(index, fields, spending, spend.output[0], hasher)
        script_sigs.append(script_sig)
        witnesses.append(witness)
    return replace(psbt.tx, script_sigs=tuple(script_sigs), witnesses=tuple(witnesses)).encode()


def _final_fields(fields: FieldMap) -> Unlocking:
    witness = fields.get(f.IN_FINAL_SCRIPTWITNESS)
    return fields.get(f.IN_FINAL_SCRIPTSIG) or b"", read_witness(witness, 0)[0] if witness else ()


def unlock(index: int, fields: FieldMap, spending: Spending, amount: int, hasher: SignatureHasher) -> Unlocking:
    """What spends one input that is not final yet. Raises NotFinal where something is missing."""
    if spending.problem is not None:
        raise NotFinal(index, spending.problem)
    if spending.route is Route.TAPROOT:
        return b"", _taproot(index, fields, spending, hasher)

    digest = cache(partial(ecdsa_digest, hasher, index, spending, amount))
    stack = _ecdsa_stack(index, spending.script, _ecdsa_signatures(fields, digest))
    redeem = fields.get(f.IN_REDEEM_SCRIPT)
    if spending.route is Route.LEGACY:
        items = [*stack, redeem] if spending.kind is Kind.P2SH and redeem is not None else stack
        return b"".join(map(push, items)), ()
    nested = push(redeem) if redeem is not None else b""
    return nested, tuple(stack) if spending.key_hash is not None else (*stack, spending.script)


def _ecdsa_signatures(fields: FieldMap, digest: Callable[[int], bytes]) -> dict[bytes, bytes]:
    """The valid partial signatures (with sighash type) by key."""
    return {key: value for key, value in fields.keyed(f.IN_PARTIAL_SIG) if ecdsa_valid(key, value, digest)}


def ecdsa_valid(key: bytes, value: bytes, digest: Callable[[int], bytes]) -> bool:
    """Whether a partial signature (DER and sighash type) verifies and would be relayed: low S, a type that is
    defined. `digest` gives the hash of a type."""
    try:
        return value[-1] in ECDSA_TYPES and is_low_s(value[:-1]) and verify_ecdsa(key, digest(value[-1]), value[:-1])
    except (InvalidSignatureError, InvalidPublicKeyError):
        return False


def _ecdsa_stack(index: int, script: bytes, signatures: dict[bytes, bytes]) -> list[bytes]:
    """What satisfies P2PK, P2PKH or multisig."""
    multisig = parse_multisig(script)
    if multisig is not None:
        threshold, keys = multisig
        present = [signatures[key] for key in keys if key in signatures][:threshold]
        if len(present) < threshold:
            raise NotFinal(index, f"{len(present)} of {threshold} signatures are there")
        return [b"", *present]
    stack = _key_stack(script, signatures)
    if stack is None:
        raise NotFinal(index, "no signature that its script could use, or a script that is not finalised here")
    return stack


def _key_stack(script: bytes, signatures: dict[bytes, bytes]) -> list[bytes] | None:
    """What satisfies P2PK and P2PKH, and as leaves pk and pk_h."""
    for key, signature in signatures.items():
        if script == push(key) + bytes((OP_CHECKSIG,)):
            return [signature]
        if script == p2pkh(hash160(key)):
            return [signature, key]
    return None


def _taproot(index: int, fields: FieldMap, spending: Spending, hasher: SignatureHasher) -> Stack:
    value = fields.get(f.IN_TAP_KEY_SIG)
    if value is not None and schnorr_valid(spending.script, value, index, None, hasher):
        return (value,)
    parts = parts_given(index, fields, spending, hasher)
    added = whole_pairs(fields, parts)
    fields = fields._replace(pairs={**fields.pairs, **dict(added)})
    if any(key == bytes((f.IN_TAP_KEY_SIG,)) for key, _ in added):
        return (fields.pairs[bytes((f.IN_TAP_KEY_SIG,))],)
    signatures: dict[tuple[bytes, bytes], bytes] = {}
    for key, value in fields.keyed(f.IN_TAP_SCRIPT_SIG):
        if key[32:] in spending.leaves and schnorr_valid(key[:32], value, index, key[32:], hasher):
            signatures[key[:32], key[32:]] = value
    controls = {value[:-1]: control for control, value in fields.keyed(f.IN_TAP_LEAF_SCRIPT)}
    for leaf_hash, leaf in spending.leaves.items():
        mine = {key: value for (key, signed_leaf), value in signatures.items() if signed_leaf == leaf_hash}
        stack = _key_stack(leaf.script, mine) or _multi_a_stack(leaf.script, mine)
        if stack is not None and leaf.problem is None:
            return (*stack, leaf.script, controls[leaf.script])
    for one in parts:
        valid, signers = sum(one.valid.values()), len(one.key.signers)
        if valid < signers:
            raise NotFinal(index, f"{valid} of {signers} partial signatures (MuSig2) are there")
    raise NotFinal(index, "no taproot signature that can be finalised here")


def schnorr_valid(key: bytes, value: bytes, index: int, leaf_hash: bytes | None, hasher: SignatureHasher) -> bool:
    """Whether a taproot signature of 64 or 65 bytes verifies for the output key, or with a leaf hash for the leaf."""
    sighash = value[64] if len(value) > 64 else Sighash.DEFAULT
    if len(value) > 64 and sighash == Sighash.DEFAULT:
        return False
    try:
        digest = hasher.taproot(index, sighash, leaf_hash=leaf_hash)
    except ValueError:
        return False
    return verify_schnorr(key, digest, value[:64])


def _multi_a_stack(script: bytes, signatures: dict[bytes, bytes]) -> Sequence[bytes] | None:
    """`<key> CHECKSIG <key> CHECKSIGADD ... m NUMEQUAL`: one item a key, the first key's on top."""
    parsed = list(operations(script))
    body, tail = parsed[:-2], [opcode for opcode, _, _ in parsed[-2:]]
    if len(body) < 2 or len(body) % 2 or tail[1] != OP_NUMEQUAL or not OP_1 <= tail[0] <= OP_16:
        return None
    threshold, keys = tail[0] - OP_1 + 1, [data for _, data, _ in body[::2]]
    if [opcode for opcode, _, _ in body[1::2]] != [OP_CHECKSIG, *[OP_CHECKSIGADD] * (len(keys) - 1)]:
        return None
    used, items = 0, []
    for key in keys:
        signature = signatures.get(key or b"", b"") if used < threshold else b""
        used += bool(signature)
        items.append(signature)
    return items[::-1] if used == threshold else None
