"""What is ours, what is signed already, what the policy allows, and Electrum's origins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryptnox_core.bip32 import Path
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.psbt import (
    InvalidSignature,
    Policy,
    Psbt,
    PsbtError,
    RefusedInput,
    RefusedOutput,
    collect,
    insert,
    plan,
)
from hwilib_cryptnox.psbt.sighash import SignatureHasher
from hwilib_cryptnox.psbt.tx import Transaction
from tests.psbt.factory import (
    ME,
    OTHER,
    SPEND_PATH,
    In,
    Out,
    bip86,
    deriv,
    draft,
    le,
    out_deriv,
    p2wpkh,
    sighash,
    spend,
    tap_deriv,
)
from tests.psbt.signing import check_on_kernel, make_plan, sign


def parsed(*items: In, **options: object) -> Psbt:
    return Psbt.parse(draft(*items, **options).encode())  # type: ignore[arg-type]


# --- nothing to do --------------------------------------------------------------------------------------------------


def test_foreign_psbt_is_left_alone() -> None:
    psbt = Psbt.parse(draft(spend("p2wpkh"), spend("p2pkh", 1)).base64())
    collected = collect(psbt, OTHER.fingerprint)
    assert collected.nothing_to_do
    assert collected.paths == ()
    assert collected.why_nothing() is None


def test_foreign_psbt_is_left_alone_even_when_it_lies() -> None:
    """Not ours to judge, and nothing of it is signed."""
    bent = draft(spend("p2wpkh"), outs=[Out(p2wpkh(OTHER.key("m/0")), 100_001)])
    assert collect(Psbt.parse(bent.encode()), OTHER.fingerprint).nothing_to_do


@pytest.mark.parametrize("kind", ["p2pkh", "p2wpkh", "p2wsh", "rawtr", "tapscript"])
def test_signed_inputs_are_done(kind: str) -> None:
    signed = sign(draft(spend(kind), spend(kind, 1)).base64())
    collected = collect(Psbt.parse(signed.encode()), ME.fingerprint)
    assert collected.nothing_to_do
    assert collected.done == {0, 1}
    assert collected.paths == ()


def test_final_inputs_are_done() -> None:
    bent = draft(spend("p2wpkh"), spend("p2pkh", 1))
    bent.inputs[0].append((b"\x08", b"\x00"))
    bent.inputs[1].append((b"\x07", b""))
    collected = collect(Psbt.parse(bent.encode()), ME.fingerprint)
    assert collected.nothing_to_do
    assert collected.done == {0, 1}


def test_what_is_left_is_signed() -> None:
    """An interrupted signing goes on where it stopped, and ends in the same bytes."""
    bent = draft(*[spend("p2wpkh", number) for number in range(4)])
    psbt = Psbt.parse(bent.encode())
    pairs = [(request, ME.sign(request)) for request in make_plan(psbt).requests]
    half = Psbt.parse(insert(psbt, pairs[1:3]).raw)
    rest = make_plan(half).requests
    assert [request.input_index for request in rest] == [0, 3]
    whole = insert(half, [(request, ME.sign(request)) for request in rest])
    assert whole.raw == insert(psbt, pairs).raw
    check_on_kernel(whole, bent)


def test_done_beside_unsignable_is_left_alone() -> None:
    """Bitcoin Core asks again while an input is not final; the card is not bothered."""
    key = ME.key("m/86h/0h/0h/0/9")[1:]
    bent = draft(spend("p2wpkh"), In(bip86(key), fields=[tap_deriv("m/86h/0h/0h/0/9"), (b"\x17", key)]))
    signed = sign(bent.encode())
    assert collect(signed, ME.fingerprint).nothing_to_do
    first = make_plan(Psbt.parse(bent.encode()))
    assert [item.index for item in first.skipped] == [1]
    assert first.why_nothing() is None


def test_our_signature_of_another_allowed_type_counts() -> None:
    """Made with --allow-sighash; the field that asked for it was taken away since."""
    bent = draft(spend("p2wpkh"), spend("rawtr", 1))
    for pairs in bent.inputs:
        pairs.append(sighash(0x82))
    signed = sign(bent.encode(), allow_sighash=True)
    maps = [dict(fields.pairs) for fields in signed.inputs]
    for pairs in maps:
        del pairs[b"\x03"]
    bent.inputs = [list(pairs.items()) for pairs in maps]
    assert collect(Psbt.parse(bent.encode()), ME.fingerprint).nothing_to_do
    maps[0][b"\x03"] = le(1)
    bent.inputs = [list(pairs.items()) for pairs in maps]
    with pytest.raises(RefusedInput, match="input 0: its signature of ours has sighash type 0x82"):
        collect(Psbt.parse(bent.encode()), ME.fingerprint)


# --- keys -----------------------------------------------------------------------------------------------------------


def test_missing_key_is_the_callers_mistake() -> None:
    psbt = parsed(spend("p2wpkh"))
    with pytest.raises(UsageError, match="the key at m/84h/0h/0h/0/0 is missing"):
        plan(psbt, collect(psbt, ME.fingerprint), {})


def test_fingerprint_has_four_bytes() -> None:
    with pytest.raises(UsageError):
        collect(parsed(spend("p2wpkh")), b"abc")


@pytest.mark.parametrize("kind", ["p2wpkh", "rawtr"])
def test_insert_checks_every_signature(kind: str) -> None:
    psbt = parsed(spend(kind), spend(kind, 1))
    first, second = make_plan(psbt).requests
    good = ME.sign(first)
    for bad in (ME.sign(second), b"", good[:-1], good + b"\x00", bytes(64), OTHER.sign(first)):
        with pytest.raises(InvalidSignature, match="input 0: the signature does not verify"):
            insert(psbt, [(first, bad)])
    with pytest.raises(UsageError, match="already"):
        insert(psbt, [(first, good), (first, good)])
    with pytest.raises(UsageError, match="already"):
        insert(insert(psbt, [(first, good)]), [(first, good)])
    with pytest.raises(UsageError, match="no input 7"):
        insert(psbt, [(replace(first, input_index=7), good)])


# --- unproved amounts -----------------------------------------------------------------------------------------------


def test_single_unproved_input_is_signed() -> None:
    foreign = In(p2wpkh(OTHER.key("m/3")), fields=[deriv("m/3", OTHER)], previous=False)
    for items in ([spend("p2wpkh", previous=False)], [spend("p2wpkh", previous=False), foreign]):
        bent = draft(*items)
        psbt = Psbt.parse(bent.encode())
        assert [request.input_index for request in make_plan(psbt).requests] == [0]


@pytest.mark.parametrize("kind", ["p2wpkh", "p2sh-p2wpkh", "p2wsh", "p2sh-p2wsh", "miniscript"])
def test_two_unproved_inputs_need_leave(kind: str) -> None:
    psbt = parsed(spend(kind, 0, previous=False), spend(kind, 1, previous=False, witness_utxo=True))
    with pytest.raises(RefusedInput, match=r"input 0: its amount is not proved.*--allow-unproved-amounts"):
        make_plan(psbt)
    assert len(make_plan(psbt, allow_unproved_amounts=True).requests) == 2


@pytest.mark.parametrize("kind", ["rawtr", "tapscript"])
def test_taproot_signature_commits_to_all_amounts(kind: str) -> None:
    items = [spend("p2wpkh", 0, previous=False), spend("p2wpkh", 1, previous=False), spend(kind, 2, previous=False)]
    assert len(make_plan(parsed(*items)).requests) == 3
    bent = draft(*items)
    bent.inputs[2].append(sighash(0x81))
    with pytest.raises(RefusedInput, match="input 0: its amount is not proved"):
        make_plan(Psbt.parse(bent.encode()), allow_sighash=True)


def test_taproot_signature_that_is_there_commits_too() -> None:
    psbt = parsed(*[spend("p2wpkh", n, previous=False) for n in range(2)], spend("rawtr", 2, previous=False))
    requests = make_plan(psbt).requests
    signed = insert(psbt, [(requests[2], ME.sign(requests[2]))])
    assert [request.input_index for request in make_plan(signed).requests] == [0, 1]


def test_committing_signature_must_be_proved_to_be_ours() -> None:
    """Its key is asked for before the other inputs are signed."""
    psbt = parsed(*[spend("p2wpkh", n, previous=False) for n in range(2)], spend("rawtr", 2, previous=False))
    requests = make_plan(psbt).requests
    signed = insert(psbt, [(requests[2], ME.sign(requests[2]))])
    assert requests[2].path in collect(signed, ME.fingerprint).paths


def test_electrum_match_by_chance_commits_to_nothing() -> None:
    mark = ME.account(ACCOUNT).fingerprint
    key = OTHER.key("m/1")
    theirs = In(b"\x51\x20" + key[1:], fields=[(b"\x16" + key[1:], b"\x00" + mark + le(0) + le(3))], previous=False)
    bent = draft(*[spend("p2wpkh", n, previous=False) for n in range(2)], theirs)
    spent = [(item.amount, item.script) for item in bent.ins]
    digest = SignatureHasher(Transaction.parse(bent.unsigned()), spent).taproot(2, 0)
    bent.inputs[2].append((b"\x13", OTHER.private("m/1").sign_schnorr(digest)))
    psbt = Psbt.parse(bent.encode())
    collected = collect(psbt, ME.fingerprint, ACCOUNTS)
    with pytest.raises(RefusedInput, match="input 0: its amount is not proved"):
        plan(psbt, collected, ME.keys(collected.paths))


def test_taproot_alone_needs_no_previous_transactions() -> None:
    bent = draft(*[spend("rawtr", number, previous=False) for number in range(3)])
    check_on_kernel(sign(bent.encode()), bent)


# --- fee limits -----------------------------------------------------------------------------------------------------


def test_fee_limits() -> None:
    psbt = parsed(spend("p2wpkh"))
    make_plan(psbt, max_fee=10_000, max_fee_rate=91.0)
    with pytest.raises(PsbtError, match="fee of 10000 satoshi is above the configured limit of 9999"):
        make_plan(psbt, max_fee=9_999)
    with pytest.raises(PsbtError, match="sat/vB is above the configured limit"):
        make_plan(psbt, max_fee_rate=90.0)


def test_fee_limit_with_unknown_fee() -> None:
    foreign = In(p2wpkh(OTHER.key("m/3")), previous=False, witness_utxo=False)
    psbt = parsed(spend("p2wpkh"), foreign)
    assert make_plan(psbt).summary.fee is None
    with pytest.raises(PsbtError, match="cannot be told"):
        make_plan(psbt, max_fee=1)


def test_policy_is_strict_by_default() -> None:
    assert Policy() == Policy(False, False, None, None)


# --- change ---------------------------------------------------------------------------------------------------------


def test_wrong_key_of_change_refuses_all() -> None:
    path = "m/84h/0h/0h/1/0"
    bent = draft(spend("p2wpkh"), outs=[Out(p2wpkh(OTHER.key(path)), 50_000, [out_deriv(path, key=OTHER.key(path))])])
    psbt = Psbt.parse(bent.encode())
    with pytest.raises(RefusedOutput, match="output 0: the card's key at m/84h/0h/0h/1/0 is another"):
        make_plan(psbt)
    assert make_plan(psbt, change=False).summary.outputs[0].change.value == "said to be ours, not proved"


# --- Electrum -------------------------------------------------------------------------------------------------------

ACCOUNT = Path.parse("m/84h/0h/0h")
ACCOUNTS = {ME.account(ACCOUNT).fingerprint: ACCOUNT}


def electrum(fingerprint: bytes, steps: tuple[int, ...], key: bytes) -> tuple[bytes, bytes]:
    return b"\x06" + key, fingerprint + b"".join(le(step) for step in steps)


def test_electrum_origins() -> None:
    """The account's own fingerprint and two levels: found when the account is known, else foreign."""
    mark = ME.account(ACCOUNT).fingerprint
    key = ME.key("m/84h/0h/0h/0/3")
    change = Out(
        p2wpkh(ME.key("m/84h/0h/0h/1/5")), 90_000, [(b"\x02" + ME.key("m/84h/0h/0h/1/5"), mark + le(1) + le(5))]
    )
    bent = draft(In(p2wpkh(key), fields=[electrum(mark, (0, 3), key)]), outs=[change])
    psbt = Psbt.parse(bent.encode())
    assert collect(psbt, ME.fingerprint).nothing_to_do
    collected = collect(psbt, ME.fingerprint, ACCOUNTS)
    assert collected.paths == (Path.parse("m/84h/0h/0h/0/3"),)
    made = plan(psbt, collected, ME.keys(collected.paths + collected.change_paths))
    assert made.summary.outputs[0].change.value == "ours"
    check_on_kernel(insert(psbt, [(request, ME.sign(request)) for request in made.requests]), bent)


def test_electrum_match_by_chance_is_skipped() -> None:
    """Four bytes can collide: no lie, just not ours. Ours beside it is signed."""
    mark = ME.account(ACCOUNT).fingerprint
    key = OTHER.key("m/84h/0h/0h/0/3")
    foreign = In(p2wpkh(key), fields=[electrum(mark, (0, 3), key)])
    change = Out(p2wpkh(key), 90_000, [(b"\x02" + key, mark + le(1) + le(5))])
    psbt = parsed(foreign, spend("p2wpkh", 7), outs=[change])
    collected = collect(psbt, ME.fingerprint, ACCOUNTS)
    made = plan(psbt, collected, ME.keys(collected.paths + collected.change_paths))
    assert [request.input_index for request in made.requests] == [1]
    assert [item.index for item in made.skipped] == [0]
    assert made.summary.outputs[0].change.value == "not ours"


def test_electrum_key_outside_its_script_is_skipped() -> None:
    mark = ME.account(ACCOUNT).fingerprint
    odd = In(p2wpkh(OTHER.key("m/1")), fields=[electrum(mark, (0, 3), ME.key("m/84h/0h/0h/0/3"))])
    psbt = parsed(odd, spend("p2wpkh", 7))
    collected = collect(psbt, ME.fingerprint, ACCOUNTS)
    made = plan(psbt, collected, ME.keys(collected.paths))
    assert [request.input_index for request in made.requests] == [1]
    assert "fingerprint alone" in made.skipped[0].reason


@pytest.mark.parametrize("steps", [(), (0x80000000, 1), (0, 0, 0, 0)])
def test_electrum_paths_are_short_and_not_hardened(steps: tuple[int, ...]) -> None:
    mark, key = ME.account(ACCOUNT).fingerprint, ME.key("m/84h/0h/0h/0/3")
    psbt = parsed(In(p2wpkh(key), fields=[electrum(mark, steps, key)]))
    assert collect(psbt, ME.fingerprint, ACCOUNTS).nothing_to_do


def test_bip86_is_explained() -> None:
    path = SPEND_PATH["rawtr"].format(0)
    key = ME.key(path)[1:]
    psbt = parsed(In(bip86(key), fields=[tap_deriv(path), (b"\x17", key)]))
    text = collect(psbt, ME.fingerprint).why_nothing()
    assert text is not None
    assert "BIP86" in text
    assert "tweaked" in text
