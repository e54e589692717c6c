"""What a person is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryptnox_core.bip32 import Path
from hwilib_cryptnox.psbt import (
    Chain,
    NoticeKind,
    Psbt,
    RefusedInput,
    RefusedOutput,
    address_of,
    collect,
    describe,
    plan,
)
from hwilib_cryptnox.psbt.finalize import extract
from hwilib_cryptnox.psbt.summary import account_of, coin_of
from tests.psbt.factory import (
    ME,
    OTHER,
    SPEND_PATH,
    In,
    Out,
    bip86,
    deriv,
    draft,
    multisig,
    out_deriv,
    p2pkh,
    p2sh,
    p2wpkh,
    p2wsh,
    pushed,
    sighash,
    spend,
    tap_deriv,
)
from tests.psbt.signing import make_plan, sign

FAR = Out(p2wpkh(OTHER.key("m/0")), 60_000)
CHANGE = {
    "p2pkh": "m/44h/0h/0h/1/4",
    "p2sh-p2wpkh": "m/49h/0h/0h/1/4",
    "p2wpkh": "m/84h/0h/0h/1/4",
    "rawtr": "m/86h/0h/0h/1/4",
}


def change_output(kind: str) -> Out:
    path = CHANGE[kind]
    key = ME.key(path)
    if kind == "rawtr":
        return Out(b"\x51\x20" + key[1:], 35_000, [tap_deriv(path, kind=0x07)])
    script = {"p2pkh": p2pkh(key), "p2sh-p2wpkh": p2sh(p2wpkh(key)), "p2wpkh": p2wpkh(key)}[kind]
    redeem = [(b"\x00", p2wpkh(key))] if kind == "p2sh-p2wpkh" else []
    return Out(script, 35_000, [out_deriv(path), *redeem])


@pytest.mark.parametrize("kind", CHANGE)
def test_change_is_proved_by_the_key(kind: str) -> None:
    psbt = Psbt.parse(draft(spend(kind), outs=[FAR, change_output(kind)]).encode())
    before, summary = describe(psbt), make_plan(psbt).summary
    assert [out.change for out in before.outputs] == [False, False]
    assert (before.our_inputs, before.sent, before.change_amount) == (0, 95_000, 0)
    assert [out.change for out in summary.outputs] == [False, True]
    assert str(summary.outputs[1].path) == CHANGE[kind]
    for item in (before, summary):
        assert (item.amount_in, item.amount_out, item.fee) == (100_000, 95_000, 5_000)
    assert (summary.inputs, summary.our_inputs, summary.our_amount) == (1, 1, 100_000)
    assert (summary.sent, summary.change_amount, summary.net) == (60_000, 35_000, 65_000)


def test_change_to_a_key_that_the_card_cannot_spend_is_not_proved() -> None:
    path = CHANGE["rawtr"]
    out = Out(bip86(ME.key(path)[1:]), 30_000, [tap_deriv(path, kind=0x07)])
    psbt = Psbt.parse(draft(spend("p2wpkh"), outs=[FAR, out]).encode())
    assert not make_plan(psbt).summary.outputs[1].change


def test_multisig_change_is_a_payment_unless_the_caller_knows_the_wallet() -> None:
    path = "m/48h/0h/0h/2h/1/0"
    script = multisig(1, sorted([ME.key(path), OTHER.key(path)]))
    out = Out(p2wsh(script), 30_000, [(b"\x01", script), out_deriv(path), out_deriv(path, OTHER)])
    psbt = Psbt.parse(draft(spend("p2wsh"), outs=[FAR, out]).encode())
    collected = collect(psbt, ME.fingerprint)
    keys = ME.keys(collected.all_paths)
    assert not plan(psbt, collected, keys).summary.outputs[1].change
    asked = []

    def wallet(script: bytes, claims: object) -> bool:
        asked.append(script)
        return script != FAR.script

    assert plan(psbt, collected, keys, wallet=wallet).summary.outputs[1].change
    assert asked == [spend("p2wsh").script, p2wsh(script)]
    with pytest.raises(RefusedOutput, match="it does not belong to the wallet you named"):
        plan(psbt, collected, keys, wallet=lambda asked, _: asked != p2wsh(script))
    with pytest.raises(RefusedInput, match="input 0: it does not belong to the wallet you named"):
        plan(psbt, collected, keys, wallet=lambda asked, _: asked == p2wsh(script))


ADDRESSES = [
    (p2pkh(ME.key("m/44h/0h/0h/0/0")), Chain.MAIN, "1"),
    (p2pkh(ME.key("m/44h/0h/0h/0/0")), Chain.TEST, "mn"),
    (p2sh(b"\x51"), Chain.MAIN, "3"),
    (p2sh(b"\x51"), Chain.REGTEST, "2"),
    (b"\x00\x14" + bytes(20), Chain.MAIN, "b"),
]


@pytest.mark.parametrize(("script", "chain", "first"), ADDRESSES)
def test_addresses(script: bytes, chain: Chain, first: str) -> None:
    address = address_of(script, chain)
    assert address is not None
    assert address[0] in first


@pytest.mark.parametrize("chain", Chain)
@pytest.mark.parametrize(
    "script", [p2wpkh(ME.key("m/1")), p2wsh(b"\x51"), b"\x51\x20" + bytes(32), p2pkh(b"k"), p2sh(b"k")]
)
def test_addresses_agree_with_embit(script: bytes, chain: Chain) -> None:
    from embit.networks import NETWORKS
    from embit.script import Script

    name = {"MAIN": "main", "TEST": "test", "REGTEST": "regtest"}[chain.name]
    assert address_of(script, chain) == Script(script).address(NETWORKS[name])


def test_no_address() -> None:
    for script in (b"", b"\x6a\x01x", pushed(ME.key("m/1")) + b"\xac", multisig(1, [ME.key("m/1")]), b"\x51"):
        assert address_of(script) is None


@pytest.mark.parametrize("kind", [kind for kind in SPEND_PATH if kind != "miniscript"])
def test_estimated_size_is_close(kind: str) -> None:
    """Within a virtual byte and a half an input: DER signatures vary."""
    bent = draft(*[spend(kind, number) for number in range(3)])
    psbt = Psbt.parse(bent.encode())
    estimate = make_plan(psbt).summary.vsize
    signed = extract(sign(bent.encode()))
    stripped = len(psbt.unsigned_tx()) + sum(len(script) for script in _script_sigs(signed))
    weight = stripped * 3 + len(signed) if signed[4:6] == b"\x00\x01" else 4 * len(signed)
    assert abs(estimate - weight / 4) <= 4.5


def _script_sigs(transaction: bytes) -> tuple[bytes, ...]:
    from hwilib_cryptnox.psbt.tx import Transaction

    return Transaction.parse(transaction).script_sigs


def kinds(psbt: Psbt, **policy: object) -> list[NoticeKind]:
    return [notice.kind for notice in make_plan(psbt, **policy).warnings]


def quiet(*items: In, outs: list[Out] | None = None, **options: object) -> Psbt:
    """A PSBT with a small fee."""
    outs = outs or [Out(p2wpkh(OTHER.key("m/0")), sum(item.amount for item in items) - 500)]
    return Psbt.parse(draft(*items, outs=outs, **options).encode())


def test_no_warnings_without_reason() -> None:
    assert kinds(quiet(spend("p2wpkh"), spend("p2pkh", 1))) == []


def test_fee_warnings() -> None:
    psbt = quiet(spend("p2wpkh", amount=10_000_000), outs=[Out(p2wpkh(OTHER.key("m/0")), 9_940_000)])
    assert kinds(psbt) == [NoticeKind.HIGH_FEE]
    assert make_plan(psbt).warnings[0].text == "the fee rate is 545 sat/vB"
    psbt = quiet(spend("p2wpkh"), outs=[Out(p2wpkh(OTHER.key("m/0")), 95_000)])
    assert kinds(psbt) == [NoticeKind.HIGH_FEE]
    assert "5 % of the amount" in make_plan(psbt).warnings[0].text
    psbt = quiet(spend("p2wpkh", amount=50_000), outs=[Out(b"\x6a", 0)])
    assert "everything there is" in make_plan(psbt).warnings[0].text


def test_amount_warnings() -> None:
    assert kinds(quiet(spend("p2wpkh", previous=False))) == []
    for shown in (False, True):
        unproved = In(p2wpkh(OTHER.key("m/3")), previous=False, witness_utxo=shown)
        psbt = quiet(spend("p2wpkh"), unproved)
        summary = make_plan(psbt, allow_unproved_amounts=True).summary
        assert kinds(psbt, allow_unproved_amounts=True) == [NoticeKind.UNKNOWN_FEE]
        assert (summary.amount_in, summary.our_amount, summary.fee, summary.fee_rate, summary.net) == (None,) * 5


def test_time_lock_warnings() -> None:
    height = quiet(spend("p2wpkh"), lock_time=800_000)
    assert [str(notice) for notice in make_plan(height).warnings] == ["not valid before block 800001"]
    time = quiet(spend("p2wpkh"), lock_time=1_700_000_000)
    assert [str(notice) for notice in make_plan(time).warnings] == ["not valid before 2023-11-14 22:13:20 UTC"]
    final = quiet(replace(spend("p2wpkh"), sequence=0xFFFFFFFF), lock_time=800_000)
    assert kinds(final) == []
    blocks = make_plan(quiet(replace(spend("p2wpkh"), sequence=144))).warnings
    assert [str(notice) for notice in blocks] == ["input 0 is not valid before its output is 144 blocks old"]
    seconds = make_plan(quiet(replace(spend("p2wpkh"), sequence=(1 << 22) + 2))).warnings
    assert "1024 seconds" in str(seconds[0])
    assert kinds(quiet(replace(spend("p2wpkh"), sequence=144), tx_version=1)) == []


def test_sighash_warning() -> None:
    bent = draft(spend("p2wpkh"), outs=[Out(p2wpkh(OTHER.key("m/0")), 99_500)])
    bent.inputs[0].append(sighash(0x83))
    notices = make_plan(Psbt.parse(bent.encode()), allow_sighash=True).warnings
    assert [(notice.kind, notice.index) for notice in notices] == [(NoticeKind.SIGHASH, 0)]
    assert "SINGLE|ANYONECANPAY" in notices[0].text


@pytest.mark.parametrize(
    "script",
    [multisig(1, [OTHER.key("m/1")]), pushed(OTHER.key("m/1")) + b"\xac", b"\x52\x02ab", b"\x6a\x01x"],
)
def test_unknown_script_warning(script: bytes) -> None:
    assert kinds(quiet(spend("p2wpkh"), outs=[Out(script, 99_500)])) == [NoticeKind.UNKNOWN_SCRIPT]


@pytest.mark.parametrize(
    ("script", "amount", "said"),
    [
        (b"", 1, "a script that anyone can spend"),
        (b"\x51", 99_500, "a script that anyone can spend"),
        (b"\x60", 99_500, "a script that anyone can spend"),
        (b"\x51\x02\x4e\x73", 1_000, "an anchor that anyone can spend (P2A)"),
        (b"\x51\x20" + b"\xff" * 32, 1, "a taproot key that does not exist: nobody can ever spend it"),
        (b"\x51\x20" + bytes(32), 0, "a taproot key that does not exist: nobody can ever spend it"),
    ],
)
def test_money_that_is_nobodys(script: bytes, amount: int, said: str) -> None:
    outs = [Out(script, amount), Out(p2wpkh(OTHER.key("m/0")), 99_500 - amount)]
    (notice,) = make_plan(quiet(spend("p2wpkh"), outs=outs)).warnings
    assert notice.text == f"output 0 pays {amount:,} satoshi to {said}"
    assert notice.grave and notice.kind is NoticeKind.LOST


@pytest.mark.parametrize(("script", "amount"), [(b"\x51\x02\x4e\x73", 0), (b"\x51\x02\x4e\x73", 999), (b"\x51", 0)])
def test_an_anchor_is_noted(script: bytes, amount: int) -> None:
    outs = [Out(script, amount), Out(p2wpkh(OTHER.key("m/0")), 99_500 - amount)]
    (notice,) = make_plan(quiet(spend("p2wpkh"), outs=outs)).warnings
    assert notice.kind is NoticeKind.UNKNOWN_SCRIPT and not notice.grave


def test_a_taproot_key_that_exists_is_not_warned_of() -> None:
    outs = [Out(b"\x51\x20" + OTHER.key(f"m/{number}")[1:], 1_000 + number) for number in range(8)]
    assert kinds(quiet(spend("p2wpkh"), outs=[*outs, Out(p2wpkh(OTHER.key("m/0")), 91_000)])) == []


def test_keys_of_another_coin_are_noted() -> None:
    def coin(path: str) -> In:
        return In(p2wpkh(ME.key(path)), 100_000, [deriv(path)])

    (notice,) = make_plan(quiet(coin("m/84h/2h/0h/0/0"), coin("m/84h/2h/0h/0/1"))).warnings
    assert notice.text == (
        "input 0 is spent with a key at m/84h/2h/0h/0/0, where wallets of another coin (type 2) have theirs; amounts "
        "and addresses are shown as Bitcoin's"
    )
    assert not notice.grave and notice.kind is NoticeKind.OTHER_COIN
    many = [coin(f"m/84h/{number}h/0h/0/0") for number in range(2, 9)]
    assert kinds(quiet(*many)) == [NoticeKind.OTHER_COIN] * 3
    for path in ("m/84h/0h/0h/0/0", "m/84h/1h/0h/0/0", "m/0/5", "m/7h/2h/5", "m/45h/0/0/5", "m/84h"):
        assert NoticeKind.OTHER_COIN not in kinds(quiet(coin(path)))


def test_reused_key_warnings() -> None:
    twice = [replace(spend("p2wpkh"), salt=number) for number in range(2)]
    assert kinds(quiet(*twice)) == [NoticeKind.REUSED_KEY]
    back = quiet(spend("p2wpkh"), outs=[Out(spend("p2wpkh").script, 99_500)])
    assert kinds(back) == [NoticeKind.REUSED_KEY]
    same = quiet(spend("p2wpkh"), outs=[Out(p2wpkh(OTHER.key("m/0")), 49_750)] * 2)
    assert kinds(same) == [NoticeKind.REUSED_KEY]


@pytest.mark.parametrize("path", ["m/84h/0h/7h/1/0", "m/84h/0h/0h/1/2000000000", "m/0/0"])
def test_unusual_change_path_warning(path: str) -> None:
    out = Out(p2wpkh(ME.key(path)), 99_500, [out_deriv(path)])
    psbt = quiet(spend("p2wpkh"), outs=[out])
    assert kinds(psbt) == [NoticeKind.CHANGE_PATH]
    assert make_plan(psbt).summary.outputs[0].change


def test_describing_a_psbt() -> None:
    summary = describe(quiet(spend("p2wpkh")))
    assert (summary.our_inputs, summary.fee, summary.amount_out) == (0, 500, 99_500)
    assert describe(quiet(spend("p2wpkh", previous=False))).fee is None


@pytest.mark.parametrize(
    ("path", "account", "coin"),
    [
        ("m/84h/0h/3h/1/9", "m/84h/0h/3h", 0),
        ("m/44h/1h/0h", "m/44h/1h/0h", 1),
        ("m/48h/1h/0h/2h/0/0", "m/48h/1h/0h/2h", 1),
        ("m/48h/0h/0h/0/0", "m/48h/0h/0h", 0),  # Electrum before BIP48, without the script type
        ("m/87h/0h/1h/0/0", "m/87h/0h/1h", 0),
        ("m/86h/2h/0h/0/0", "m/86h/2h/0h", None),  # another coin
        ("m/84h/1/0h/0/0", "m/84h/1/0h", None),  # the coin type is not hardened
        ("m/84/0h/0h/0/0", "m/84/0h/0h", None),  # no purpose
        ("m/45h/0/0/5", "m/45h/0", None),
        ("m/84h/0h", "m", 0),
        ("m/7/8", "m", None),
        ("m", "m", None),
    ],
)
def test_account_and_coin_of_a_key(path: str, account: str, coin: int | None) -> None:
    assert (str(account_of(Path.parse(path))), coin_of(Path.parse(path))) == (account, coin)
