"""What is ours, what is signed already, what the policy allows, and Electrum's origins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryptnox_core.bip32 import Path
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.psbt import (
    BadPsbt,
    Chain,
    InvalidSignature,
    Limit,
    Policy,
    Psbt,
    PsbtError,
    RefusedInput,
    RefusedOutput,
    collect,
    insert,
    plan,
)
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
    assert collected.stays_unchanged
    assert collected.paths == ()
    assert collected.why_nothing() is None


def test_foreign_psbt_is_left_alone_even_when_it_lies() -> None:
    """Not ours to judge, and nothing of it is signed."""
    bent = draft(spend("p2wpkh"), outs=[Out(p2wpkh(OTHER.key("m/0")), 100_001)])
    assert collect(Psbt.parse(bent.encode()), OTHER.fingerprint).stays_unchanged


@pytest.mark.parametrize("kind", ["p2pkh", "p2wpkh", "p2wsh", "rawtr", "tapscript"])
def test_signed_inputs_are_done(kind: str) -> None:
    signed = sign(draft(spend(kind), spend(kind, 1)).base64())
    collected = collect(Psbt.parse(signed.encode()), ME.fingerprint)
    assert collected.stays_unchanged
    assert collected.done == {0, 1}
    assert collected.paths == ()


def test_final_inputs_are_done() -> None:
    bent = draft(spend("p2wpkh"), spend("p2pkh", 1))
    bent.inputs[0].append((b"\x08", b"\x00"))
    bent.inputs[1].append((b"\x07", b""))
    collected = collect(Psbt.parse(bent.encode()), ME.fingerprint)
    assert collected.stays_unchanged
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
    assert collect(signed, ME.fingerprint).stays_unchanged
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
    assert collect(Psbt.parse(bent.encode()), ME.fingerprint).stays_unchanged
    maps[0][b"\x03"] = le(1)
    bent.inputs = [list(pairs.items()) for pairs in maps]
    with pytest.raises(RefusedInput, match="input 0: your signature in it has sighash type 0x82"):
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
    make_plan(parsed(spend("p2wpkh", previous=False)))
    proved = In(p2wpkh(OTHER.key("m/3")), fields=[deriv("m/3", OTHER)])
    made = make_plan(parsed(spend("p2wpkh", previous=False), proved))
    assert [request.input_index for request in made.requests] == [0]
    assert made.summary.fee == 10_000


@pytest.mark.parametrize("kind", ["p2wpkh", "p2sh-p2wpkh", "p2wsh", "p2sh-p2wsh", "miniscript"])
def test_two_unproved_inputs_need_leave(kind: str) -> None:
    psbt = parsed(spend(kind, 0, previous=False), spend(kind, 1, previous=False, witness_utxo=True))
    with pytest.raises(RefusedInput, match=r"input 0: its amount is not proved.*--allow-unproved-amounts"):
        make_plan(psbt)
    made = make_plan(psbt, allow_unproved_amounts=True)
    assert len(made.requests) == 2
    assert made.summary.fee is None


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("shown", [False, True])
def test_foreign_input_has_to_be_proved_too(shown: bool, final: bool) -> None:
    """It may be ours with its derivation left out, and signed in a run of its own."""
    foreign = In(p2wpkh(OTHER.key("m/3")), previous=False, witness_utxo=shown)
    if final:
        foreign.fields.append((b"\x08", b"\x00"))
    with pytest.raises(RefusedInput, match=r"input 1: its amount is not proved.*payjoin.*--allow-unproved-amounts"):
        make_plan(parsed(spend("p2wpkh"), foreign))


@pytest.mark.parametrize("kind", ["rawtr", "tapscript"])
def test_taproot_signature_settles_nothing_for_others(kind: str) -> None:
    """A taproot signature that commits to all amounts may be worthless: somebody else's key may spend its input."""
    items = [spend("p2wpkh", 0, previous=False), spend("p2wpkh", 1, previous=False), spend(kind, 2, previous=False)]
    with pytest.raises(RefusedInput, match="input 0: its amount is not proved"):
        make_plan(parsed(*items))
    with pytest.raises(RefusedInput, match="input 1: its amount is not proved"):
        make_plan(parsed(items[0], items[2]))
    bent = draft(*items)
    bent.inputs[2].append(sighash(0x81))
    with pytest.raises(RefusedInput, match="input 0: its amount is not proved"):
        make_plan(Psbt.parse(bent.encode()), allow_sighash=True)


def test_taproot_alone_needs_no_previous_transactions() -> None:
    bent = draft(*[spend("rawtr", number, previous=False) for number in range(3)])
    check_on_kernel(sign(bent.encode()), bent)
    assert make_plan(Psbt.parse(bent.encode())).summary.fee == 10_000


def test_taproot_with_anyonecanpay_settles_its_own_input() -> None:
    bent = draft(spend("rawtr", previous=False), In(p2wpkh(OTHER.key("m/3"))))
    bent.inputs[0].append(sighash(0x81))
    assert len(make_plan(Psbt.parse(bent.encode()), allow_sighash=True).requests) == 1
    bent = draft(spend("rawtr"), In(p2wpkh(OTHER.key("m/3")), previous=False))
    bent.inputs[0].append(sighash(0x81))
    with pytest.raises(RefusedInput, match="input 1: its amount is not proved"):
        make_plan(Psbt.parse(bent.encode()), allow_sighash=True)


# --- fee limits -----------------------------------------------------------------------------------------------------

FAR = p2wpkh(OTHER.key("m/0"))
BITCOIN = 100_000_000


def paying(fee: int, amount: int = BITCOIN, **options: object) -> Psbt:
    return parsed(spend("p2wpkh", amount=amount, **options), outs=[Out(FAR, amount - fee)])


def test_default_fee_limits() -> None:
    """A tenth of a bitcoin, 10,000 satoshi a virtual byte, half of our inputs above 50,000 satoshi."""
    make_plan(paying(1_000_000))
    reason = r"fee of 10,000,001 satoshi is above the limit of 10,000,000 satoshi; change it with max_fee in"
    with pytest.raises(PsbtError, match=reason):
        make_plan(paying(10_000_001))
    reason = (
        r"fee rate of 1[0-9],[0-9]{3}\.[0-9] sat/vB is above the limit of 10,000 sat/vB; change it with max_fee_rate in"
    )
    with pytest.raises(PsbtError, match=reason):
        make_plan(paying(2_000_000))
    make_plan(paying(50_000, 50_001))
    make_plan(paying(50_001, 100_002))
    reason = (
        "fee of 50,001 satoshi is above the limit of 50 % of the 100,000 satoshi .*; change it with max_fee_percent "
    )
    with pytest.raises(PsbtError, match=reason):
        make_plan(paying(50_001, 100_000))


def test_fee_limits_are_chosen() -> None:
    psbt = parsed(spend("p2wpkh"))
    make_plan(psbt, max_fee=10_000, max_fee_rate=91.0)
    with pytest.raises(PsbtError, match="fee of 10,000 satoshi is above the configured limit of 9,999 satoshi"):
        make_plan(psbt, max_fee=9_999)
    with pytest.raises(PsbtError, match="sat/vB is above the configured limit"):
        make_plan(psbt, max_fee_rate=90.0)
    make_plan(paying(90_000_000), max_fee=None, max_fee_rate=None, max_fee_percent=95.0)
    with pytest.raises(PsbtError, match="is above the limit of 10,000 sat/vB"):
        make_plan(paying(90_000_000), max_fee=None, max_fee_percent=None)


def test_a_person_may_decide_about_the_default_limits() -> None:
    made = make_plan(paying(10_000_001), ask_fee=True)
    assert made.high_fee == "the fee of 10,000,001 satoshi is above the limit of 10,000,000 satoshi"
    assert make_plan(paying(1_000), ask_fee=True).high_fee is None
    with pytest.raises(PsbtError, match="configured limit"):
        make_plan(paying(10_000_001), ask_fee=True, max_fee=10_000_000)


def test_unknown_fee_and_the_limits() -> None:
    """The default limits are lifted with the amounts; what the user chose is not."""
    psbt = parsed(spend("p2wpkh"), In(p2wpkh(OTHER.key("m/3")), previous=False))
    assert make_plan(psbt, allow_unproved_amounts=True).summary.fee is None
    with pytest.raises(PsbtError, match="fee is unknown"):
        make_plan(psbt, allow_unproved_amounts=True, max_fee=1)


def test_unneeded_bytes_do_not_make_a_fee_rate_small() -> None:
    foreign = In(
        p2wpkh(OTHER.key("m/3")), amount=BITCOIN, fields=[(b"\x08", b"\x01\xfe" + le(390_000) + bytes(390_000))]
    )
    psbt = parsed(spend("p2wpkh", amount=BITCOIN), foreign, outs=[Out(FAR, 2 * BITCOIN - 5_000_000)])
    with pytest.raises(PsbtError, match="is above the limit of 10,000 sat/vB"):
        make_plan(psbt)


def test_what_no_node_relays_is_not_signed() -> None:
    outs = [Out(b"\x6a" + bytes(99_900), 0), Out(FAR, 50_000)]
    with pytest.raises(PsbtError, match="400000 weight units"):
        make_plan(parsed(spend("p2wpkh"), outs=outs))


def test_policy_is_strict_by_default() -> None:
    policy = Policy()
    assert not (policy.allow_sighash or policy.allow_unproved_amounts or policy.ask_fee)
    assert {policy.max_fee, policy.max_fee_rate, policy.max_fee_percent} == {Limit.DEFAULT}


# --- the network ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chain", "coin"), [(Chain.TEST, 0), (Chain.REGTEST, 0), (Chain.MAIN, 1)])
@pytest.mark.parametrize("purpose", [44, 48, 49, 84, 86, 87])
def test_keys_of_another_network_than_named(purpose: int, chain: Chain, coin: int) -> None:
    path = f"m/{purpose}h/{coin}h/0h/0/0"
    psbt = parsed(In(p2wpkh(ME.key(path)), fields=[deriv(path)]))
    assert make_plan(psbt).summary.chain is (Chain.TEST if coin else Chain.MAIN)
    with pytest.raises(RefusedInput, match="--chain names another network"):
        make_plan(psbt, chain=chain)
    other = f"m/{purpose}h/{1 - coin}h/0h/0/0"
    assert make_plan(parsed(In(p2wpkh(ME.key(other)), fields=[deriv(other)])), chain=chain).summary.chain is chain


@pytest.mark.parametrize("path", ["m/45h/0h/0h/0/0", "m/84h/2h/0h/0/0", "m/0/0", "m/84/0/0/0/0"])
def test_keys_of_no_network(path: str) -> None:
    psbt = parsed(In(p2wpkh(ME.key(path)), fields=[deriv(path)]))
    for chain in Chain:
        assert make_plan(psbt, chain=chain).summary.chain is chain


# --- change ---------------------------------------------------------------------------------------------------------


def test_wrong_key_of_change_refuses_all() -> None:
    path = "m/84h/0h/0h/1/0"
    bent = draft(spend("p2wpkh"), outs=[Out(p2wpkh(OTHER.key(path)), 50_000, [out_deriv(path, key=OTHER.key(path))])])
    psbt = Psbt.parse(bent.encode())
    reason = r"output 0: it claims to be your change, .* \(its key at m/84h/0h/0h/1/0 is different\)"
    with pytest.raises(RefusedOutput, match=reason):
        make_plan(psbt)
    collected = collect(psbt, ME.fingerprint)
    with pytest.raises(RefusedOutput, match=f"output 0: it claims a key at {path}"):
        plan(psbt, collected, ME.keys(collected.paths))


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
    assert collect(psbt, ME.fingerprint).stays_unchanged
    collected = collect(psbt, ME.fingerprint, ACCOUNTS)
    assert collected.paths == (Path.parse("m/84h/0h/0h/0/3"),)
    made = plan(psbt, collected, ME.keys(collected.all_paths))
    assert made.summary.outputs[0].change
    check_on_kernel(insert(psbt, [(request, ME.sign(request)) for request in made.requests]), bent)


def test_electrum_match_by_chance_is_skipped() -> None:
    """Four bytes can collide: no lie, just not ours. Ours beside it is signed."""
    mark = ME.account(ACCOUNT).fingerprint
    key = OTHER.key("m/84h/0h/0h/0/3")
    foreign = In(p2wpkh(key), fields=[electrum(mark, (0, 3), key)])
    change = Out(p2wpkh(key), 90_000, [(b"\x02" + key, mark + le(1) + le(5))])
    psbt = parsed(foreign, spend("p2wpkh", 7), outs=[change, Out(FAR, 100_000)])
    collected = collect(psbt, ME.fingerprint, ACCOUNTS)
    made = plan(psbt, collected, ME.keys(collected.all_paths))
    assert [request.input_index for request in made.requests] == [1]
    assert [item.index for item in made.skipped] == [0]
    assert not made.summary.outputs[0].change


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
    assert collect(psbt, ME.fingerprint, ACCOUNTS).stays_unchanged


def test_bip86_is_explained() -> None:
    path = SPEND_PATH["rawtr"].format(0)
    key = ME.key(path)[1:]
    psbt = parsed(In(bip86(key), fields=[tap_deriv(path), (b"\x17", key)]))
    text = collect(psbt, ME.fingerprint).why_nothing()
    assert text is not None
    assert "BIP86" in text
    assert "tweaked" in text


# What is known by its name


SILENT = (b"\x09", ME.key("m/1") + ME.key("m/2"))


@pytest.mark.parametrize("version", [0, 2])
def test_a_silent_payment_is_refused_with_what_helps(version: int) -> None:
    """Also where its script is there: nobody here can tell that it is the payee's."""
    given = draft(spend("p2wpkh"), version=version)
    given.outputs[0].append(SILENT)
    with pytest.raises(RefusedOutput, match=r"output 0: it is a silent payment .*ordinary address"):
        make_plan(Psbt.parse(given.encode()))


def test_a_silent_payment_without_a_script_is_named() -> None:
    given = draft(spend("p2wpkh"), version=2)
    given.outputs[0].append(SILENT)
    raw = given.encode()
    script = b"\x01\x04" + bytes((len(given.outs[0].script),)) + given.outs[0].script
    assert raw.count(script) == 1
    with pytest.raises(BadPsbt, match=r"output 0: it is a silent payment .*; its script is not there yet"):
        Psbt.parse(raw.replace(script, b""))


def test_a_coin_of_a_silent_payment_is_refused_where_it_is_ours() -> None:
    for wallet, ours in ((ME, True), (OTHER, False)):
        given = draft(spend("p2wpkh"), In(b"\x51\x20" + wallet.key("m/3")[1:], 50_000), version=2)
        given.inputs[1] += [(b"\x1f" + wallet.key("m/3"), wallet.origin("m/352h/0h/0h/0h/0")), (b"\x20", bytes(32))]
        psbt = Psbt.parse(given.encode())
        if ours:
            with pytest.raises(RefusedInput, match="input 1: it is a coin of a silent payment"):
                make_plan(psbt)
        else:
            assert [request.input_index for request in make_plan(psbt).requests] == [0]


def test_an_anchor_is_named_and_does_no_harm() -> None:
    given = draft(spend("p2wpkh"), outs=[Out(p2wpkh(OTHER.key("m/0")), 89_000), Out(bytes.fromhex("51024e73"), 0)])
    plan = make_plan(Psbt.parse(given.encode()))
    assert "output 1 pays to an anchor that anyone can spend (P2A)" in [notice.text for notice in plan.warnings]
    assert plan.summary.outputs[1].kind.name == "P2A" and plan.requests
    spent = draft(spend("p2wpkh"), In(bytes.fromhex("51024e73"), 240))
    assert [request.input_index for request in make_plan(Psbt.parse(spent.encode())).requests] == [0]
