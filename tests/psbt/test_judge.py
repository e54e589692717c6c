"""Finished inputs of every kind: good as they are, and never good with one byte changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwilib_cryptnox.psbt.finalize import extract
from hwilib_cryptnox.psbt.judge import Verdict, judge
from hwilib_cryptnox.psbt.sighash import SignatureHasher
from hwilib_cryptnox.psbt.tx import Transaction
from tests.psbt.factory import In, draft, p2sh, spend
from tests.psbt.signing import sign
from tests.support.kernel import failing_inputs

KINDS = ("p2pkh", "p2pk", "p2sh-p2wpkh", "p2wpkh", "multisig", "p2sh", "p2wsh", "p2sh-p2wsh", "rawtr", "tapscript")


def transaction(*kinds: str) -> tuple[Transaction, list[In]]:
    ins = [spend(kind, number) for number, kind in enumerate(kinds)]
    return Transaction.parse(extract(sign(draft(*ins).encode()))), ins


def verdicts(tx: Transaction, ins: list[In]) -> list[Verdict]:
    spent = [(item.amount, item.script) for item in ins]
    hasher = SignatureHasher(tx, spent)
    witnesses = tx.witnesses or ((),) * len(ins)
    return [
        judge(tx, hasher, index, spent[index], (tx.script_sigs[index], witnesses[index])).verdict
        for index in range(len(ins))
    ]


def test_all_kinds_together() -> None:
    tx, ins = transaction(*KINDS)
    assert verdicts(tx, ins) == [Verdict.GOOD] * len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_one_byte_changed(kind: str) -> None:
    """Of the scriptSig and of every item of the witness: whatever Core refuses, and nodes, is not good here."""
    tx, ins = transaction(kind)
    places = [(-1, tx.script_sigs[0]), *enumerate(tx.witnesses[0] if tx.witnesses else ())]
    tried = 0
    for item, content in places:
        for at in range(0, len(content), 3):
            bent = content[:at] + bytes((content[at] ^ 1,)) + content[at + 1 :]
            if item < 0:
                changed = replace(tx, script_sigs=(bent,))
            else:
                stack = tx.witnesses[0]
                changed = replace(tx, witnesses=((*stack[:item], bent, *stack[item + 1 :]),))
            tried += 1
            assert verdicts(changed, ins) != [Verdict.GOOD]
            assert failing_inputs(changed.encode(), [(ins[0].amount, ins[0].script)]) == [0]
    assert tried > 15


@pytest.mark.parametrize("kind", KINDS)
def test_another_amount_or_output(kind: str) -> None:
    tx, ins = transaction(kind)
    other = replace(tx, outputs=((tx.outputs[0][0] - 1, tx.outputs[0][1]),))
    assert verdicts(other, ins) == [Verdict.BAD]
    cheaper = [replace(ins[0], amount=ins[0].amount - 1)]
    commits = kind not in ("p2pkh", "p2pk", "multisig", "p2sh")
    assert verdicts(tx, cheaper) == [Verdict.BAD if commits else Verdict.GOOD]


def test_a_witness_or_a_script_sig_where_none_belongs() -> None:
    tx, ins = transaction("p2wpkh")
    assert verdicts(replace(tx, script_sigs=(b"\x51",)), ins) == [Verdict.BAD]
    tx, ins = transaction("p2pkh")
    assert verdicts(replace(tx, witnesses=((b"\x01",),)), ins) == [Verdict.BAD]
    tx, ins = transaction("p2sh-p2wpkh")
    assert verdicts(replace(tx, script_sigs=(b"\x51" + tx.script_sigs[0],)), ins) == [Verdict.BAD]


def test_what_only_the_future_judges() -> None:
    tx, ins = transaction("p2wpkh")
    for script in (b"\x52\x20" + bytes(32), b"\x51\x21" + bytes(33), p2sh(b"\x51\x20" + bytes(32))):
        redeem = b"\x22\x51\x20" + bytes(32) if script[0] == 0xA9 else b""
        assert verdicts(replace(tx, script_sigs=(redeem,)), [replace(ins[0], script=script)]) == [Verdict.UNKNOWN]
    annexed, ins = transaction("rawtr")
    assert verdicts(replace(annexed, witnesses=((*annexed.witnesses[0], b"\x50"),)), ins) == [Verdict.UNKNOWN]


def test_anchors_take_nothing() -> None:
    tx, ins = transaction("p2wpkh")
    anchor = [replace(ins[0], script=bytes.fromhex("51024e73"))]
    empty = replace(tx, witnesses=((),))
    assert verdicts(empty, anchor) == [Verdict.GOOD]
    assert failing_inputs(empty.encode(), [(anchor[0].amount, anchor[0].script)]) == []
    assert verdicts(tx, anchor) == [Verdict.UNKNOWN]


def test_a_script_sig_that_computes_is_not_understood() -> None:
    tx, ins = transaction("p2pkh")
    assert verdicts(replace(tx, script_sigs=(b"\x76" + tx.script_sigs[0],)), ins) == [Verdict.UNKNOWN]
