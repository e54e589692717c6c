"""Finalises the standard scripts of a signed PSBT and extracts the network transaction.

For `sign --finalize` and for tests; a wallet that asked for signatures finalises itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial

from cryptnox_core.crypto.hashes import hash160
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.checks import Route, Spending, ecdsa_digest, spending_of, spent_outputs
from hwilib_cryptnox.psbt.codec import FieldMap, Psbt
from hwilib_cryptnox.psbt.errors import PlacedError
from hwilib_cryptnox.psbt.musig import Aggregates, parts_given, whole_pairs
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
from hwilib_cryptnox.psbt.sighash import SignatureHasher
from hwilib_cryptnox.psbt.tx import Stack, Transaction, Unlocking, read_witness, txid_of
from hwilib_cryptnox.psbt.verifying import ecdsa_valid, schnorr_valid

_NATIVE = (Kind.P2WPKH, Kind.P2WSH, Kind.P2TR)


class NotFinal(PlacedError):  # noqa: N818 - named as its siblings
    """An input lacks signatures, or its script is none of those that are finalised here."""


def extract(psbt: Psbt) -> bytes:
    """The network transaction. Raises NotFinal where an input is not complete, RefusedInput where it contradicts
    itself.

    Signatures are verified before they are used; what an input's final fields hold is taken as it is.
    """
    return _finished(psbt).encode()


def txid(psbt: Psbt) -> str | None:
    """The id that the transaction has, or will have once it is signed. None where a signature may still change it:
    unless it is complete, every input must be known to be segwit. Raises RefusedInput where an input contradicts
    itself."""
    try:
        return txid_of(_finished(psbt))
    except NotFinal:
        pass
    script_sigs = []
    for index, (fields, spend) in enumerate(zip(psbt.inputs, spent_outputs(psbt), strict=True)):
        if fields.is_final:
            script_sigs.append(final_fields(fields)[0])
            continue
        if spend.output is None:
            return None
        spending = spending_of(index, fields, spend.output[1])
        if spending.kind in _NATIVE:
            script_sigs.append(b"")
        elif spending.nested in _NATIVE:
            script_sigs.append(push(fields.get(f.IN_REDEEM_SCRIPT) or b""))
        else:
            return None
    return txid_of(replace(psbt.tx, script_sigs=tuple(script_sigs)))


def _finished(psbt: Psbt) -> Transaction:
    spends = spent_outputs(psbt)
    hasher = SignatureHasher(psbt.tx, [spend.output for spend in spends])
    aggregates = Aggregates()
    script_sigs, witnesses = [], []
    for index, (fields, spend) in enumerate(zip(psbt.inputs, spends, strict=True)):
        if fields.is_final:
            script_sig, witness = final_fields(fields)
        elif spend.output is None:
            raise NotFinal(index, "the PSBT does not say what it spends")
        else:
            spending = spending_of(index, fields, spend.output[1])
            script_sig, witness = unlock(index, fields, spending, spend.output[0], hasher, aggregates)
        script_sigs.append(script_sig)
        witnesses.append(witness)
    return replace(psbt.tx, script_sigs=tuple(script_sigs), witnesses=tuple(witnesses))


def final_fields(fields: FieldMap) -> Unlocking:
    """scriptSig and witness of an input that was finalized."""
    witness = fields.get(f.IN_FINAL_SCRIPTWITNESS)
    return fields.get(f.IN_FINAL_SCRIPTSIG) or b"", read_witness(witness, 0)[0] if witness else ()


def unlock(
    index: int,
    fields: FieldMap,
    spending: Spending,
    amount: int,
    hasher: SignatureHasher,
    aggregates: Aggregates | None = None,
) -> Unlocking:
    """What spends one input that is not final yet. Raises NotFinal where something is missing. `aggregates`: the MuSig2
    keys of the PSBT, where several of its inputs are looked at."""
    if spending.kind is Kind.P2A:
        return b"", ()
    if spending.problem is not None:
        raise NotFinal(index, spending.problem)
    if spending.route is Route.TAPROOT:
        return b"", _taproot(index, fields, spending, hasher, aggregates)

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
        raise NotFinal(index, "no signature that its script could use, or a script that cannot be finalized here")
    return stack


def _key_stack(script: bytes, signatures: dict[bytes, bytes]) -> list[bytes] | None:
    """What satisfies P2PK and P2PKH, and as leaves pk and pk_h."""
    for key, signature in signatures.items():
        if script == push(key) + bytes((OP_CHECKSIG,)):
            return [signature]
        if script == p2pkh(hash160(key)):
            return [signature, key]
    return None


def _taproot(
    index: int, fields: FieldMap, spending: Spending, hasher: SignatureHasher, aggregates: Aggregates | None
) -> Stack:
    value = fields.get(f.IN_TAP_KEY_SIG)
    if value is not None and schnorr_valid(spending.script, value, index, None, hasher):
        return (value,)
    parts = parts_given(index, fields, spending, hasher, aggregates)
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
    raise NotFinal(index, "no taproot signature that can be finalized here")


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
