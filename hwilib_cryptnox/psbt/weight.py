"""How large the signed transaction will be, for the fee rate and the limit of what is relayed (BIP141)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cryptnox_core.crypto.hashes import hash160
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.checks import TAPSCRIPT, Route, Spend, Spending
from hwilib_cryptnox.psbt.codec import FieldMap, Psbt
from hwilib_cryptnox.psbt.errors import PsbtError
from hwilib_cryptnox.psbt.script import Kind, is_witness_program, kind_of, operations, parse_multisig
from hwilib_cryptnox.psbt.tx import encode_compact, encode_output, read_witness, with_length

MAX_WEIGHT = 400_000
"""Weight units; nodes do not relay a larger transaction."""
MAX_BLOCK_WEIGHT = 4_000_000
"""Weight units; no block holds a larger transaction."""
_SIGNATURE, _KEY, _SCHNORR = 72, 34, 65
"""Bytes with their length byte: DER signature (low S) and sighash type, compressed key, Schnorr signature (DEFAULT)."""
_FINAL_SIGNATURE = 73
_MOST_LEAF = 200
"""Bytes that a leaf counts at most: whoever has the internal key, or a smaller leaf, need not show it in the end."""


def check_size(psbt: Psbt) -> None:
    """PsbtError where the transaction is too large to be relayed even unsigned: told before anything is hashed, for
    each legacy signature hashes all of it."""
    if 4 * len(psbt.unsigned_tx()) > MAX_WEIGHT:
        raise too_large()


def too_large() -> PsbtError:
    """The refusal of a transaction that no node relays."""
    return PsbtError(f"the transaction is larger than {MAX_WEIGHT} weight units, and no node relays it: split it")


def check_block(psbt: Psbt) -> None:
    """The same of one that is too large for a block."""
    if 4 * len(psbt.unsigned_tx()) > MAX_BLOCK_WEIGHT:
        raise PsbtError(f"the transaction is larger than {MAX_BLOCK_WEIGHT} weight units, and no block holds it")


def virtual_size(
    psbt: Psbt,
    spendings: tuple[Spending | None, ...],
    spends: tuple[Spend, ...] = (),
    signed_leaves: Mapping[int, bytes | None] | None = None,
) -> int:
    """Virtual bytes of the transaction once signed, for the fee rate: exact but for a byte or so a signature for
    single keys and multisig, too low elsewhere, so that the fee rate is never told too low: whoever brings an input
    could else make it look low with bytes that the transaction does not need in the end.

    `signed_leaves`: the inputs that this run signs, with the leaf hash of a tapscript.
    """
    return (_weight(psbt, spendings, spends, signed_leaves or {}, bounded=True) + 3) // 4


def weight(psbt: Psbt, spendings: tuple[Spending | None, ...]) -> int:
    """Weight units of the transaction once signed, final inputs as they are."""
    return _weight(psbt, spendings, (), {}, bounded=False)


def _weight(
    psbt: Psbt,
    spendings: tuple[Spending | None, ...],
    spends: tuple[Spend, ...],
    signed_leaves: Mapping[int, bytes | None],
    *,
    bounded: bool,
) -> int:
    tx = psbt.tx
    base = 8 + len(encode_compact(len(tx.outpoints))) + len(encode_compact(len(tx.outputs)))
    base += sum([len(encode_output(output)) for output in tx.outputs])
    witness = 0
    for index, fields in enumerate(psbt.inputs):
        spending = spendings[index] if spendings else None
        if fields.is_final:
            script_sig, stack = _final_sizes(fields)
            if bounded:
                output = spends[index].output if spends else None
                most = (0, 0) if spending is None or output is None else _most_needed(fields, spending, output[1])
                script_sig, stack = min(script_sig, most[0]), min(stack, most[1])
        elif spending is None:
            script_sig, stack = 0, 0
        elif spending.kind is Kind.P2TR:
            script_sig, stack = 0, 1 + _SCHNORR + _leaf_size(fields, spending, signed_leaves.get(index))
        else:
            script_sig, stack = _input_sizes(spending)
        base += 40 + len(encode_compact(script_sig)) + script_sig
        witness += stack
    if witness:
        witness += 2 + sum([1 for spending in spendings if spending is None or spending.route is Route.LEGACY])
    return 4 * base + witness


def _leaf_size(fields: FieldMap, spending: Spending, leaf_hash: bytes | None) -> int:
    """Bytes of script and control block of the leaf that is signed; none for the key path, which costs least."""
    leaf = spending.leaves.get(leaf_hash) if leaf_hash is not None else None
    if leaf is None:
        return 0
    script = leaf.script + bytes((TAPSCRIPT,))
    controls = [len(control) for control, value in fields.keyed(f.IN_TAP_LEAF_SCRIPT) if value == script]
    return min(len(leaf.script) + min(controls, default=0) + 2, _MOST_LEAF)


def _final_sizes(fields: FieldMap) -> tuple[int, int]:
    script_sig, witness = fields.get(f.IN_FINAL_SCRIPTSIG), fields.get(f.IN_FINAL_SCRIPTWITNESS)
    return len(script_sig or b""), len(witness or b"")


def _most_needed(fields: FieldMap, spending: Spending, script: bytes) -> tuple[int, int]:
    """Bytes of scriptSig and witness that a final input is counted with at most: what keys need, and the script itself
    where it has to be shown. What else a script takes counts nothing."""
    key_witness = 1 + _FINAL_SIGNATURE + _KEY
    if spending.kind is Kind.P2WPKH:
        return 0, key_witness
    if spending.kind is Kind.P2PKH:
        return _FINAL_SIGNATURE + _KEY, 0
    if spending.kind is Kind.P2PK:
        return _FINAL_SIGNATURE, 0
    if spending.kind is Kind.P2TR:
        return 0, 1 + _SCHNORR + 1
    witness = fields.get(f.IN_FINAL_SCRIPTWITNESS)
    items = read_witness(witness, 0)[0] if witness else ()
    last = items[-1] if items else b""
    if spending.kind is Kind.P2WSH:
        return 0, _most_for_script(last, hashlib.sha256(last).digest() == script[2:])
    if spending.kind is Kind.P2SH:
        redeem = _last_push(fields.get(f.IN_FINAL_SCRIPTSIG) or b"")
        right = hash160(redeem) == script[2:22]
        if not right or not is_witness_program(redeem):
            return _most_for_script(redeem, right), 0
        if kind_of(redeem) is Kind.P2WPKH:
            return len(redeem) + 1, key_witness
        return len(redeem) + 1, _most_for_script(last, hashlib.sha256(last).digest() == redeem[2:])
    return 0, 0


def _last_push(script: bytes) -> bytes:
    try:
        pushes = [data for _, data, _ in operations(script)]
    except ValueError:
        return b""
    return pushes[-1] or b"" if pushes else b""


def _most_for_script(script: bytes, right: bool) -> int:
    """Bytes that show a script, with its signatures where it is a multisig. `right`: the output is locked with it."""
    if not right:
        return 0
    multisig = parse_multisig(script)
    return 3 + (multisig[0] if multisig else 0) * (_FINAL_SIGNATURE + 1) + len(with_length(script))


def _input_sizes(spending: Spending) -> tuple[int, int]:
    """Bytes of scriptSig and witness that signing adds, but for taproot."""
    if spending.kind is Kind.P2PK:
        unlocking = _SIGNATURE + 1
    elif spending.key_hash is not None:
        unlocking = _SIGNATURE + _KEY + 1
    else:
        multisig = parse_multisig(spending.script)
        unlocking = 1 + (multisig[0] if multisig else 1) * (_SIGNATURE + 1)
        if spending.kind in (Kind.P2SH, Kind.P2WSH):
            unlocking += len(with_length(spending.script))
    if spending.route is Route.LEGACY:
        return unlocking, 0
    nested = {Kind.P2WPKH: 23, Kind.P2WSH: 35}.get(spending.nested, 0) if spending.nested is not None else 0
    return nested, 1 + unlocking
