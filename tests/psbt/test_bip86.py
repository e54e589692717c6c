"""Taproot key paths (BIP86) in the engine, for a card that signs them and for one that does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from cryptnox_core.bip32 import Path
from hwilib_cryptnox.psbt import Plan, Policy, Psbt, RefusedInput, RefusedOutput, SignRequest, collect, insert, plan
from hwilib_cryptnox.psbt.collect import BIP86_REASON, WITH_SCRIPTS_REASON
from hwilib_cryptnox.psbt.finalize import extract
from hwilib_cryptnox.psbt.insert import InvalidSignature
from hwilib_cryptnox.psbt.signers import input_statuses
from tests.psbt.factory import ME, OTHER, Draft, In, Out, draft, leaf_hash, p2wpkh, pushed, spend, tap_deriv, taproot
from tests.psbt.factory import bip86 as bip86_script
from tests.support import bip86
from tests.support.kernel import failing_inputs

PATHS = bip86.one_of_each()


def planned(given: Draft, *, taproot: bool = True, **policy: bool) -> Plan:
    psbt = Psbt.parse(given.encode())
    collected = collect(psbt, ME.fingerprint, taproot=taproot)
    return plan(psbt, collected, ME.keys(collected.all_paths), Policy(**policy))  # type: ignore[arg-type]


def signed(given: Draft, requests: Sequence[SignRequest]) -> Psbt:
    return insert(Psbt.parse(given.encode()), [(request, bip86.signature(request)) for request in requests])


def spent(given: Draft) -> list[tuple[int, bytes]]:
    return [(item.amount, item.script) for item in given.ins]


def skipped(given: Draft, *, taproot: bool = True) -> str | None:
    return collect(Psbt.parse(given.encode()), ME.fingerprint, taproot=taproot).why_nothing()


def test_signed_for_the_output_key() -> None:
    given = bip86.spending(PATHS)
    made = planned(given)
    assert [request.output_key for request in made.requests] == [item.script[2:] for item in given.ins]
    assert [request.public_key for request in made.requests] == [ME.key(path) for path in PATHS]
    assert made.summary.own_amount == made.summary.amount_in == 400_000 and not made.skipped
    result = signed(given, made.requests)
    assert failing_inputs(extract(result), spent(given)) == []
    again = collect(result, ME.fingerprint, taproot=True)
    assert again.stays_unchanged and again.done == {0, 1, 2, 3}


def test_only_the_signature_of_the_output_key_is_taken() -> None:
    """That of the untweaked key is as wrong as none."""
    given = bip86.spending(PATHS[:1])
    (request,) = planned(given).requests
    untweaked = ME.private(request.path).sign_schnorr(request.digest)
    with pytest.raises(InvalidSignature):
        insert(Psbt.parse(given.encode()), [(request, untweaked)])


def test_for_another_card_nothing_changes() -> None:
    given = bip86.spending(PATHS)
    assert BIP86_REASON in (skipped(given, taproot=False) or "")
    assert "cryptnoxctl taproot check" in BIP86_REASON
    assert not planned(given, taproot=False).requests
    mixed = draft(spend("p2wpkh"), bip86.coin(PATHS[0], proved=True))
    assert [request.input_index for request in planned(mixed, taproot=False).requests] == [0]
    assert [request.input_index for request in planned(mixed).requests] == [0, 1]


def test_an_internal_key_is_not_needed() -> None:
    coin = bip86.coin(PATHS[2])
    bare = replace(coin, fields=[pair for pair in coin.fields if pair[0] != b"\x17"])
    given = draft(bare)
    assert failing_inputs(extract(signed(given, planned(given).requests)), spent(given)) == []


def test_an_output_with_scripts_is_left_alone() -> None:
    """Our key is its internal key: whoever has the leaf spends it without us, and no wallet was registered."""
    key = ME.key(PATHS[0])[1:]
    leaf = pushed(OTHER.key("m/3")[1:]) + b"\xac"
    script, fields = taproot([leaf], key)
    root = leaf_hash(leaf)
    for more in ([(b"\x17", key), (b"\x18", root)], [(b"\x17", key)], [(b"\x18", root)]):
        given = draft(In(script, fields=[*fields, tap_deriv(PATHS[0]), *more]))
        assert WITH_SCRIPTS_REASON in (skipped(given) or "")
        assert BIP86_REASON in (skipped(given, taproot=False) or "")


def test_lies_refuse_the_whole_psbt() -> None:
    honest = bip86.coin(PATHS[0])
    key = ME.key(PATHS[0])[1:]
    others = tap_deriv("m/86h/0h/0h/0/777")
    with pytest.raises(RefusedInput):  # the origin of another key of the card
        planned(draft(replace(honest, fields=[(b"\x16" + key, others[1]), (b"\x17", key)])))
    with pytest.raises(RefusedInput):  # a key of ours that the output has nothing to do with
        planned(draft(replace(honest, fields=[others, (b"\x17", key)])))
    with pytest.raises(RefusedInput):  # an internal key that is not the output's
        planned(
            draft(
                replace(
                    honest,
                    script=bip86_script(OTHER.key("m/1")[1:]),
                    fields=[*honest.fields[:1], (b"\x17", OTHER.key("m/1")[1:])],
                )
            )
        )
    untrue = In(bip86_script(OTHER.key("m/1")[1:]), fields=[tap_deriv(PATHS[0]), (b"\x17", key)])
    assert not planned(draft(untrue)).requests  # called ours, and not


def test_it_commits_to_all_inputs() -> None:
    """Without the UTXO of one of them there is no digest; with a wrong amount the signature is worth nothing."""
    coin, other = bip86.coin(PATHS[1]), In(p2wpkh(OTHER.key("m/5")), previous=False)
    assert "commits to all inputs" in (skipped(draft(coin, replace(other, witness_utxo=False))) or "")
    given = draft(coin, other)
    assert len(planned(given).requests) == 1  # taproot signatures alone: no amount has to be proved
    lied = draft(coin, replace(other, amount=90_000))
    lied.ins[1] = other
    lied.inputs[1] = replace(other, amount=90_000).pairs()
    result = signed(lied, planned(lied).requests)
    assert input_statuses(result)[0].complete  # by what the PSBT says
    whole = result.with_added({1: [(b"\x08", b"\x00")]}, None)
    assert failing_inputs(extract(whole), spent(given))[0] == 0
    with pytest.raises(RefusedInput, match="amount is not proved"):
        planned(draft(coin, replace(spend("p2wpkh"), previous=False), spend("p2wpkh", 1)))


@pytest.mark.parametrize("kind", [2, 3, 0x81, 0x82, 0x83])
def test_sighash_types_that_leave_something_open(kind: int) -> None:
    given = bip86.spending(PATHS[:1], kind=kind)
    with pytest.raises(RefusedInput, match="allow-sighash"):
        planned(given)
    result = signed(given, planned(given, allow_sighash=True, allow_unproved_amounts=True).requests)
    assert failing_inputs(extract(result), spent(given)) == []


def test_change_of_bip86() -> None:
    """Change for a card that can spend it, by its key alone; for another it is a payment."""
    back = bip86.change("m/86h/0h/0h/1/3", 60_000)
    pay = Out(p2wpkh(OTHER.key("m/0")), 30_000)
    for coin in (bip86.coin(PATHS[0]), spend("p2wpkh"), spend("rawtr")):
        given = draft(coin, outs=[pay, back])
        made = planned(given)
        assert [output.path and str(output.path) for output in made.summary.outputs] == [None, "m/86h/0h/0h/1/3"]
        assert made.summary.sent == 30_000
    given = draft(spend("p2wpkh"), outs=[pay, back])
    assert planned(given, taproot=False).summary.sent == 90_000


def test_change_that_is_none() -> None:
    true = bip86.change("m/86h/0h/0h/1/3", 60_000)
    pay = Out(p2wpkh(OTHER.key("m/0")), 30_000)
    theirs = replace(true, script=bip86_script(OTHER.key("m/9")[1:]))
    given = draft(bip86.coin(PATHS[0]), outs=[pay, theirs])
    assert planned(given).summary.sent == 90_000
    wrong = replace(true, fields=[(b"\x07" + OTHER.key("m/9")[1:], tap_deriv("m/86h/0h/0h/1/3")[1])])
    with pytest.raises(RefusedOutput):
        planned(draft(bip86.coin(PATHS[0]), outs=[pay, wrong]))
    leaf, _ = taproot([pushed(OTHER.key("m/3")[1:]) + b"\xac"], ME.key("m/86h/0h/0h/1/3")[1:])
    assert planned(draft(bip86.coin(PATHS[0]), outs=[pay, replace(true, script=leaf)])).summary.sent == 90_000


def test_a_signature_of_ours_that_is_there() -> None:
    given = bip86.spending(PATHS[:2])
    made = planned(given)
    first = signed(given, made.requests[:1])
    left = collect(first, ME.fingerprint, taproot=True)
    assert [candidate.index for candidate in left.candidates] == [1] and left.done == {0}
    assert planned_of(first).ours == {0, 1}
    (pair,) = [(key, value) for key, value in first.inputs[0].pairs.items() if key == b"\x13"]
    given.inputs[0].append((pair[0], pair[1][:-1] + bytes((pair[1][-1] ^ 1,))))
    with pytest.raises(RefusedInput, match="not valid"):
        planned(given)


def planned_of(psbt: Psbt) -> Plan:
    collected = collect(psbt, ME.fingerprint, taproot=True)
    return plan(psbt, collected, ME.keys(collected.all_paths))


def test_who_signed_is_told_by_the_origin() -> None:
    given = bip86.spending(PATHS[:1])
    before = input_statuses(Psbt.parse(given.encode()))[0]
    assert [signer.signed for signer in before.signers] == [False] and not before.complete
    after = input_statuses(signed(given, planned(given).requests))[0]
    (signer,) = after.signers
    assert after.complete and signer.signed and signer.origin is not None
    assert signer.origin.path == Path.parse(PATHS[0])
