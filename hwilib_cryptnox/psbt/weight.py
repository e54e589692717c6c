"""How large the signed transaction will be, for the fee rate."""

from __future__ import annotations

from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.checks import Lock, Route
from hwilib_cryptnox.psbt.codec import InputMap, Psbt
from hwilib_cryptnox.psbt.script import Kind, parse_multisig
from hwilib_cryptnox.psbt.tx import encode_compact, encode_output, with_length

_SIGNATURE, _KEY, _SCHNORR = 72, 34, 65
"""Bytes with their length byte: DER signature with low S and sighash type, compressed key, Schnorr signature of type
DEFAULT."""


def virtual_size(psbt: Psbt, locks: tuple[Lock | None, ...]) -> int:
    """Virtual bytes of the transaction once signed: exact but for a byte or so a signature for single keys and
    multisig, too low for inputs whose script is not known (so the fee rate is not told too low)."""
    tx = psbt.tx
    base = 8 + len(encode_compact(len(tx.outpoints))) + len(encode_compact(len(tx.outputs)))
    base += sum([len(encode_output(output)) for output in tx.outputs])
    witness = 0
    for index, fields in enumerate(psbt.inputs):
        script_sig, stack = _input_sizes(fields, locks[index] if locks else None)
        base += 40 + len(encode_compact(script_sig)) + script_sig
        witness += stack
    if witness:
        witness += 2 + sum([1 for lock in locks if lock is None or lock.route is Route.LEGACY])
    return (4 * base + witness + 3) // 4


def _input_sizes(fields: InputMap, lock: Lock | None) -> tuple[int, int]:
    """Bytes of scriptSig and witness."""
    if fields.is_final:
        script_sig, witness = fields.get(f.IN_FINAL_SCRIPTSIG), fields.get(f.IN_FINAL_SCRIPTWITNESS)
        return len(script_sig or b""), len(witness or b"")
    if lock is None:
        return 0, 0
    if lock.kind is Kind.P2TR:
        control = max([len(key) - 1 for key in fields.pairs if key[0] == f.IN_TAP_LEAF_SCRIPT], default=0)
        leaf = max([len(leaf.script) for leaf in lock.leaves.values()], default=0)
        return 0, 1 + _SCHNORR + (control + leaf + 2 if control else 0)
    if lock.kind is Kind.P2PK:
        unlocking = _SIGNATURE + 1
    elif lock.key_hash is not None:
        unlocking = _SIGNATURE + _KEY + 1
    else:
        multisig = parse_multisig(lock.script)
        unlocking = 1 + (multisig[0] if multisig else 1) * (_SIGNATURE + 1)
        if lock.kind in (Kind.P2SH, Kind.P2WSH):
            unlocking += len(with_length(lock.script))
    if lock.route is Route.LEGACY:
        return unlocking, 0
    nested = {Kind.P2WPKH: 23, Kind.P2WSH: 35}.get(lock.nested, 0) if lock.nested is not None else 0
    return nested, 1 + unlocking
