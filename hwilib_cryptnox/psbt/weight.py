"""How large the signed transaction will be, for the fee rate and the limit of what is relayed (BIP141)."""

from __future__ import annotations

import hashlib

from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.checks import Lock, Route, Spend
from hwilib_cryptnox.psbt.codec import InputMap, Psbt
from hwilib_cryptnox.psbt.script import Kind, kind_of, parse_multisig
from hwilib_cryptnox.psbt.tx import encode_compact, encode_output, read_witness, with_length

MAX_WEIGHT = 400_000
"""Weight units; nodes do not relay a larger transaction."""
_SIGNATURE, _KEY, _SCHNORR = 72, 34, 65
"""Bytes with their length byte: DER signature with low S and sighash type, compressed key, Schnorr signature of type
DEFAULT."""
_FINAL_SIGNATURE = 73
_SCRIPT_WITNESS = 1_000
"""Bytes that the final witness of a script counts at most, where the script is none whose need is known: whoever
brings it could make a fee rate look small with bytes that nothing needs."""


def virtual_size(psbt: Psbt, locks: tuple[Lock | None, ...], spends: tuple[Spend, ...] = ()) -> int:
    """Virtual bytes of the transaction once signed, for the fee rate: exact but for a byte or so a signature for
    single keys and multisig, too low for inputs whose script is not known, and a final input counts at most what its
    type can need: so the fee rate is not told too low."""
    return (_weight(psbt, locks, spends, bounded=True) + 3) // 4


def weight(psbt: Psbt, locks: tuple[Lock | None, ...]) -> int:
    """Weight units of the transaction once signed, final inputs as they are."""
    return _weight(psbt, locks, (), bounded=False)


def _weight(psbt: Psbt, locks: tuple[Lock | None, ...], spends: tuple[Spend, ...], *, bounded: bool) -> int:
    tx = psbt.tx
    base = 8 + len(encode_compact(len(tx.outpoints))) + len(encode_compact(len(tx.outputs)))
    base += sum([len(encode_output(output)) for output in tx.outputs])
    witness = 0
    for index, fields in enumerate(psbt.inputs):
        lock = locks[index] if locks else None
        script_sig, stack = _final_sizes(fields) if fields.is_final else _input_sizes(fields, lock)
        if fields.is_final and bounded:
            output = spends[index].output if spends else None
            most = _most_needed(fields, lock, None if output is None else output[1])
            script_sig, stack = min(script_sig, most[0]), min(stack, most[1])
        base += 40 + len(encode_compact(script_sig)) + script_sig
        witness += stack
    if witness:
        witness += 2 + sum([1 for lock in locks if lock is None or lock.route is Route.LEGACY])
    return 4 * base + witness


def _final_sizes(fields: InputMap) -> tuple[int, int]:
    """Bytes of scriptSig and witness that are there."""
    script_sig, witness = fields.get(f.IN_FINAL_SCRIPTSIG), fields.get(f.IN_FINAL_SCRIPTWITNESS)
    return len(script_sig or b""), len(witness or b"")


def _most_needed(fields: InputMap, lock: Lock | None, script: bytes | None) -> tuple[int, int]:
    """Bytes of scriptSig and witness that an input of this type can need at most."""
    if lock is None or script is None:
        return 0, 0
    key_witness = 1 + _FINAL_SIGNATURE + _KEY
    if lock.kind is Kind.P2WPKH:
        return 0, key_witness
    if lock.kind is Kind.P2PKH:
        return _FINAL_SIGNATURE + _KEY, 0
    if lock.kind is Kind.P2PK:
        return _FINAL_SIGNATURE, 0
    witness = fields.get(f.IN_FINAL_SCRIPTWITNESS)
    items = read_witness(witness, 0)[0] if witness else ()
    if lock.kind is Kind.P2TR:
        return 0, _SCHNORR + 2 if len(items) == 1 else _SCRIPT_WITNESS
    script_sig = fields.get(f.IN_FINAL_SCRIPTSIG) or b""
    if lock.kind is Kind.P2WSH:
        return 0, _most_for_script(items, script[2:])
    if lock.kind is Kind.P2SH and items:
        redeem = script_sig[1:]
        if kind_of(redeem) is Kind.P2WPKH:
            return 23, key_witness
        return 35, _most_for_script(items, redeem[2:]) if kind_of(redeem) is Kind.P2WSH else 0
    return _SCRIPT_WITNESS, 0


def _most_for_script(items: tuple[bytes, ...], script_hash: bytes) -> int:
    """Bytes of a P2WSH witness: told by its script where that is a multisig."""
    script = items[-1] if items else b""
    multisig = parse_multisig(script) if hashlib.sha256(script).digest() == script_hash else None
    if multisig is None:
        return _SCRIPT_WITNESS
    return 2 + multisig[0] * (_FINAL_SIGNATURE + 1) + len(with_length(script))


def _input_sizes(fields: InputMap, lock: Lock | None) -> tuple[int, int]:
    """Bytes of scriptSig and witness that signing adds."""
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
