"""Signed messages of BIP322 (version 2.0.0): the forms `smp`, `ful` and `pof`, verified and written. Pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from cryptnox_core.crypto.hashes import hash160, hash256
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.psbt import BadPsbt, Psbt, PsbtError, Sighash
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.codec import FieldMap
from hwilib_cryptnox.psbt.finalize import final_fields
from hwilib_cryptnox.psbt.judge import Judgement, Verdict, judge
from hwilib_cryptnox.psbt.message import MESSAGE_OUTPUT, MESSAGE_VERSIONS, to_sign, to_spend
from hwilib_cryptnox.psbt.script import Kind, is_witness_program, kind_of, p2pkh, p2wpkh, push
from hwilib_cryptnox.psbt.sighash import SignatureHasher
from hwilib_cryptnox.psbt.tx import MAX_MONEY, Output, Transaction, encode_compact, read_witness, with_length
from hwilib_cryptnox.signer.messages import decode_signature

MAX_SIGNATURE = 4_000_000
"""Characters: what a block could hold, about. A proof of many coins is long."""
_SEGWIT = (Kind.P2WPKH, Kind.P2WSH, Kind.P2TR)
_ZERO = bytes(4)


class Form(Enum):
    """The forms, by their prefix."""

    SIMPLE = "smp"
    FULL = "ful"
    FUNDS = "pof"

    @property
    def words(self) -> str:
        """As it is told in `--json`."""
        return _WORDS[self]


_WORDS = {
    Form.SIMPLE: "bip322-simple",
    Form.FULL: "bip322-full",
    Form.FUNDS: "bip322-proof-of-funds",
}


@dataclass(frozen=True, slots=True)
class Coin:
    """What a proof of funds shows. Whether it exists and is unspent only the chain tells."""

    txid: str
    index: int
    amount: int
    """Satoshi."""
    proved: bool
    """Its previous transaction is there: then the amount is what that transaction paid."""
    sequence: int


@dataclass(frozen=True, slots=True)
class Verified:
    """What BIP322 calls the state of a signature."""

    form: Form
    verdict: Verdict
    reason: str = ""
    """Why it is not valid, or not told."""
    lock_time: int = 0
    """T: it counts from then on; see `Message`."""
    sequence: int = 0
    """S: from this age of the coin on; see `Message`."""
    coins: tuple[Coin, ...] = ()


def verify(script: bytes, message: bytes, signature: str) -> Verified:
    """What a signature in one of the three forms is worth for the scriptPubKey of an address.

    Without a prefix it is taken for a simple one, as version 1 of the BIP made it, or for a whole transaction.
    Raises UsageError for what is no such signature.
    """
    text = "".join(signature.split())
    if len(text) > MAX_SIGNATURE:
        raise UsageError("the signature is too long")
    form = next((form for form in Form if text.startswith(form.value)), None)
    encoded = text if form is None else text[len(form.value) :]
    if not encoded:
        raise UsageError("the signature is too short")
    raw = decode_signature(encoded)
    if form is Form.FUNDS:
        return _funds(script, message, raw)
    if form is Form.FULL:
        return _full(script, message, raw)
    witness = _witness(raw)
    if witness is not None:
        return _simple(script, message, witness, old=form is None)
    if form is None and len(raw) > len(_ZERO):
        return _full(script, message, raw)
    raise UsageError("not a BIP322 signature in the simple form: no witness")


def _witness(raw: bytes) -> tuple[bytes, ...] | None:
    try:
        items, end = read_witness(raw, 0)
    except BadPsbt:
        return None
    return items if end == len(raw) else None


def _simple(script: bytes, message: bytes, witness: tuple[bytes, ...], *, old: bool) -> Verified:
    """`old`: without a prefix, as version 1 allowed it for nested addresses, too."""
    script_sig = b""
    if kind_of(script) is Kind.P2SH and old and len(witness) == 2:
        script_sig = push(p2wpkh(hash160(witness[1])))
    elif not is_witness_program(script):
        return Verified(Form.SIMPLE, Verdict.BAD, "the simple form is for segwit addresses")
    tx = to_sign(message, script)
    judged = judge(tx, _hasher(tx, [(0, script)]), 0, (0, script), (script_sig, witness), whole=True)
    return Verified(Form.SIMPLE, judged.verdict, judged.reason)


def _hasher(tx: Transaction, spent: Sequence[Output]) -> SignatureHasher:
    return SignatureHasher(tx, list(spent))


def _full(script: bytes, message: bytes, raw: bytes) -> Verified:
    try:
        tx = Transaction.parse(raw)
    except BadPsbt as error:
        raise UsageError(f"not a BIP322 signature in the full form: no transaction ({error})") from error
    problem = _problem(tx, script, message)
    if problem is None and len(tx.outpoints) > 1:
        problem = "it shows coins but not what they hold: a proof of funds begins with pof"
    if problem is not None:
        return Verified(Form.FULL, Verdict.BAD, problem)
    witness = tx.witnesses[0] if tx.witnesses else ()
    judged = judge(tx, _hasher(tx, [(0, script)]), 0, (0, script), (tx.script_sigs[0], witness), whole=True)
    return _told(Form.FULL, tx, [judged])


def _problem(tx: Transaction, script: bytes, message: bytes) -> str | None:
    """Why a transaction is not `to_sign` of a message and an address."""
    if not tx.outpoints or tx.outpoints[0] != hash256(to_spend(message, script)) + bytes(4):
        return "it is for another message, or by another address"
    if tx.outputs != (MESSAGE_OUTPUT,):
        return "its transaction does not have the one output of a signed message"
    if len(set(tx.outpoints)) != len(tx.outpoints):
        return "it shows a coin twice"
    return None


def _told(form: Form, tx: Transaction, judged: Sequence[Judgement], coins: tuple[Coin, ...] = ()) -> Verified:
    """All inputs together: the worst of them."""
    for verdict in (Verdict.BAD, Verdict.UNKNOWN):
        for index, one in enumerate(judged):
            if one.verdict is verdict:
                where = f"input {index}: " if len(judged) > 1 else ""
                return Verified(form, verdict, f"{where}{one.reason}")
    if int.from_bytes(tx.version, "little") not in MESSAGE_VERSIONS:
        return Verified(form, Verdict.UNKNOWN, "its transaction has an unknown version")
    lock_time, sequence = (int.from_bytes(value, "little") for value in (tx.lock_time, tx.sequences[0]))
    return Verified(form, Verdict.GOOD, "", lock_time, sequence, coins)


# Proof of funds


def _funds(script: bytes, message: bytes, raw: bytes) -> Verified:
    try:
        psbt = Psbt.parse(raw)
    except PsbtError as error:
        raise UsageError(f"not a BIP322 proof of funds: {error}") from error
    problem = _problem(psbt.tx, script, message)
    if problem is None and not all(fields.is_final for fields in psbt.inputs):
        problem = "its PSBT is not finalized"
    if problem is not None:
        return Verified(Form.FUNDS, Verdict.BAD, problem)
    try:
        spent = _spent(psbt, script)
    except PsbtError as error:
        return Verified(Form.FUNDS, Verdict.BAD, str(error))
    amounts = [output[0] for output, _ in spent]
    if min(amounts) < 0 or sum(amounts) > MAX_MONEY:
        return Verified(Form.FUNDS, Verdict.BAD, "it shows more than all bitcoin, or less than nothing")
    tx, hasher = psbt.tx, _hasher(psbt.tx, [output for output, _ in spent])
    judged = [
        judge(tx, hasher, index, spent[index][0], final_fields(fields), whole=True)
        for index, fields in enumerate(psbt.inputs)
    ]
    coins = tuple(
        Coin(
            outpoint[:32][::-1].hex(),
            int.from_bytes(outpoint[32:], "little"),
            output[0],
            proved,
            int.from_bytes(sequence, "little"),
        )
        for outpoint, sequence, (output, proved) in zip(tx.outpoints[1:], tx.sequences[1:], spent[1:], strict=True)
    )
    return _told(Form.FUNDS, tx, judged, coins)


def _spent(psbt: Psbt, script: bytes) -> list[tuple[Output, bool]]:
    """What each input spends, and whether its previous transaction is there: its own, or that of an input before it
    with the same transaction id. Raises PsbtError."""
    previous: dict[bytes, bytes] = {}
    outputs: dict[bytes, tuple[Output, ...]] = {}
    found: list[tuple[Output, bool]] = [((0, script), True)]
    for index, (fields, outpoint) in enumerate(zip(psbt.inputs, psbt.tx.outpoints, strict=True)):
        content = fields.get(f.IN_NON_WITNESS_UTXO)
        if content is not None:
            if fields.previous is None or fields.previous.txid != outpoint[:32]:
                raise PsbtError(f"input {index}: non_witness_utxo is not the transaction that it spends")
            previous.setdefault(outpoint[:32], content)
        if not index:
            continue
        known = previous.get(outpoint[:32])
        if known is None:
            claimed = fields.witness_utxo
            if claimed is None or not _is_segwit(claimed[1], fields):
                raise PsbtError(f"input {index}: the PSBT does not prove what it spends")
            found.append((claimed, False))
            continue
        if outpoint[:32] not in outputs:  # once: any number of inputs may share a long one
            outputs[outpoint[:32]] = Transaction.parse(known).outputs
        number = int.from_bytes(outpoint[32:], "little")
        output = outputs[outpoint[:32]][number] if number < len(outputs[outpoint[:32]]) else None
        if output is None:
            raise PsbtError(f"input {index}: non_witness_utxo has no output of that index")
        if fields.witness_utxo is not None and fields.witness_utxo != output:
            raise PsbtError(f"input {index}: witness_utxo and non_witness_utxo contradict each other")
        found.append((output, True))
    return found


def _is_segwit(script: bytes, fields: FieldMap) -> bool:
    if kind_of(script) is Kind.P2SH:
        pushed = fields.get(f.IN_FINAL_SCRIPTSIG) or b""
        return is_witness_program(pushed[1:]) and hash160(pushed[1:]) == script[2:22]
    return is_witness_program(script)


# Signing


def digest_of(message: bytes, script: bytes, public_key: bytes) -> bytes:
    """The 32 bytes that the key (33 bytes) of an address of one key signs: by ECDSA for P2PKH and P2WPKH, nested or
    not, by Schnorr for a taproot output that is the key itself. UsageError for another script."""
    tx, kind = to_sign(message, script), kind_of(script)
    hasher = SignatureHasher(tx, [(0, script)])
    if kind is Kind.P2PKH:
        return hasher.legacy(0, script, Sighash.ALL)
    if kind in (Kind.P2WPKH, Kind.P2SH):
        return hasher.segwit_v0(0, p2pkh(hash160(public_key)), 0, Sighash.ALL)
    if kind is Kind.P2TR:
        return hasher.taproot(0, Sighash.DEFAULT)
    raise UsageError("a message is signed for an address of one key")


def encode(message: bytes, script: bytes, public_key: bytes, signature: bytes) -> tuple[Form, str]:
    """The form and the text of a signature by the key of an address; see `digest_of`. `signature`: DER without
    sighash type, or 64 bytes for a taproot output. UsageError where it is not good."""
    kind, made = kind_of(script), signature + bytes((Sighash.ALL,))
    witness: tuple[bytes, ...] = (made, public_key)
    script_sig = b""
    if kind is Kind.P2TR:
        witness = (signature,)
    elif kind is Kind.P2PKH:
        script_sig, witness = push(made) + push(public_key), ()
    elif kind is Kind.P2SH:
        script_sig = push(p2wpkh(hash160(public_key)))
    tx = to_sign(message, script)
    if not judge(tx, _hasher(tx, [(0, script)]), 0, (0, script), (script_sig, witness), whole=True).good:
        raise UsageError("the signature does not belong to the address")
    return written(replace(tx, script_sigs=(script_sig,), witnesses=(witness,)), script)


def written(tx: Transaction, script: bytes, funds: Psbt | None = None) -> tuple[Form, str]:
    """The shortest form that a signed `to_sign` may have, and its text. `funds`: the finalized PSBT of one that shows
    coins."""
    plain = (tx.version, tx.lock_time, tx.sequences[0], tx.script_sigs[0]) == (_ZERO, _ZERO, _ZERO, b"")
    if funds is not None:
        form, raw = Form.FUNDS, funds.raw
    elif plain and kind_of(script) in _SEGWIT:
        items = tx.witnesses[0]
        form, raw = Form.SIMPLE, encode_compact(len(items)) + b"".join(map(with_length, items))
    else:
        form, raw = Form.FULL, tx.encode()
    return form, form.value + base64.b64encode(raw).decode("ascii")
