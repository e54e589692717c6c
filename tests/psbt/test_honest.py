"""What wallets really send is signed as ever, and what is refused of it says what helps.

The forms are those of the wallets' own code: which UTXO fields they leave in, how they name keys, what stands in the
global map. BDK writes its own.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryptnox_core.bip32 import Path
from hwilib_cryptnox.psbt import Chain, Psbt, PsbtError, insert
from tests.psbt.dishonest_wallets import COSIGNER, MULTI, US, places, shared_coin, shared_out, xpub
from tests.psbt.factory import (
    ME,
    OTHER,
    SPEND_PATH,
    Draft,
    In,
    Out,
    Pairs,
    Wallet,
    deriv,
    le,
    multisig,
    out_deriv,
    p2pkh,
    p2sh,
    p2wpkh,
    p2wsh,
    spend,
    tap_deriv,
)
from tests.psbt.runs import Run, run
from tests.psbt.signing import check_on_kernel
from tests.system.interop.paper import PaperWallet

VERSIONS = pytest.mark.parametrize("version", [0, 2])
EXPORTS = pytest.mark.parametrize("export", [True, False], ids=["export", "no-export"])
CHANGE_PATH = {
    "p2pkh": "m/44h/0h/0h/1/3",
    "p2sh-p2wpkh": "m/49h/0h/0h/1/3",
    "p2wpkh": "m/84h/0h/0h/1/3",
    "rawtr": "m/86h/0h/0h/1/3",
}
SINGLE = tuple(CHANGE_PATH)


def back(kind: str, amount: int = 40_000) -> Out:
    """Change as wallets describe it."""
    path = CHANGE_PATH[kind]
    key = ME.key(path)
    if kind == "rawtr":
        return Out(b"\x51\x20" + key[1:], amount, [tap_deriv(path, kind=0x07)])
    redeem = [(b"\x00", p2wpkh(key))] if kind == "p2sh-p2wpkh" else []
    scripts = {"p2pkh": p2pkh(key), "p2sh-p2wpkh": p2sh(p2wpkh(key)), "p2wpkh": p2wpkh(key)}
    return Out(scripts[kind], amount, [*redeem, out_deriv(path)])


def payment(kind: str, *items: In, version: int = 0, extra: Pairs | None = None) -> Draft:
    """One payment, change, and 500 satoshi of fee an input."""
    total = sum(item.amount for item in items)
    outs = [Out(p2wpkh(OTHER.key("m/0")), total - 40_000 - 500 * len(items)), back(kind)]
    return Draft(list(items), outs, version, extra=extra or [])


def assert_signed(made: Run, count: int, change: dict[int, str] | None = None) -> None:
    """All that is ours is signed, change is found, and there is nothing to beware of."""
    assert made.refusal is None, made.refusal
    assert sorted(request.input_index for request, _ in made.made) == list(range(count))
    assert made.summary is not None and made.summary.fee is not None
    assert {out.index: str(out.path) for out in made.summary.outputs if out.change} == (change or {})
    assert not [str(notice) for notice in made.summary.warnings if notice.grave]


def finished(made: Run, draft: Draft) -> bytes:
    """Complete for Bitcoin Core's verifier."""
    assert made.psbt is not None
    return check_on_kernel(insert(made.psbt, [(request, ME.sign(request)) for request, _ in made.made]), draft)


# --- Bitcoin Core ----------------------------------------------------------------------------------------------------


@EXPORTS
@VERSIONS
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", SINGLE)
def test_bitcoin_core(kind: str, count: int, version: int, export: bool) -> None:
    """Both UTXO fields; all-taproot PSBTs have witness_utxo only. Version 2 says what may still be changed."""
    items = [spend(kind, number, previous=kind != "rawtr") for number in range(count)]
    draft = payment(kind, *items, version=version, extra=[(b"\x06", b"\x00")] if version else [])
    made = run(draft, export=export, chain=Chain.MAIN)
    assert_signed(made, count, {1: CHANGE_PATH[kind]})
    finished(made, draft)


@VERSIONS
def test_bitcoin_core_with_coins_of_all_types(version: int) -> None:
    """Then all inputs have their previous transactions, and the change is of the recipient's type."""
    draft = payment("p2wpkh", *[spend(kind, number) for number, kind in enumerate(SINGLE)], version=version)
    made = run(draft)
    assert_signed(made, len(SINGLE), {1: CHANGE_PATH["p2wpkh"]})
    finished(made, draft)


def test_bitcoin_core_with_lock_times_of_version_2() -> None:
    draft = payment("p2wpkh", spend("p2wpkh"), spend("p2wpkh", 1), version=2)
    draft.inputs[0].append((b"\x12", le(800_000)))
    made = run(draft)
    assert_signed(made, 2, {1: CHANGE_PATH["p2wpkh"]})
    draft.lock_time = 800_000
    finished(made, draft)


@pytest.mark.parametrize("kind", SINGLE)
def test_a_partly_signed_one_is_resumed(kind: str) -> None:
    """Bitcoin Core asks once per script type and chain; an interrupted signing comes back with what it has."""
    draft = payment(kind, *[spend(kind, number) for number in range(4)])
    first = run(draft)
    assert first.psbt is not None
    half = insert(first.psbt, [(request, ME.sign(request)) for request, _ in first.made[1:3]])
    rest = run(half.raw)
    assert [request.input_index for request, _ in rest.made] == [0, 3]
    assert rest.summary is not None and rest.summary.our_inputs == 4
    assert rest.summary.our_amount == sum(item.amount for item in draft.ins)
    done = insert(half, [(request, ME.sign(request)) for request, _ in rest.made])
    check_on_kernel(done, draft)
    assert run(done.raw).summary is None


# --- Specter and Electrum --------------------------------------------------------------------------------------------


@EXPORTS
@pytest.mark.parametrize("kind", ["p2wpkh", "p2sh-p2wpkh"])
def test_specter(kind: str, export: bool) -> None:
    """Previous transactions and extended keys in the global map."""
    account = SPEND_PATH[kind].rsplit("/", 2)[0]
    draft = payment(kind, spend(kind), spend(kind, 1), extra=[xpub(ME, account)])
    made = run(draft, export=export, chain=Chain.MAIN)
    assert_signed(made, 2, {1: CHANGE_PATH[kind]})
    finished(made, draft)


@EXPORTS
@pytest.mark.parametrize("wrap", ["p2wsh", "p2sh-p2wsh"])
@pytest.mark.parametrize("count", [1, 2])
def test_specter_multisig(wrap: str, count: int, export: bool) -> None:
    """2 of 2: our signature is added; the cosigner's makes it complete. The change is proved by the extended keys where
    the coins show that the wallet sorts them: one coin's order may be chance."""
    coins = [replace(shared_coin(places(US, f"0/{number}"), wrap=wrap), salt=number) for number in range(count)]
    script, fields = shared_out(places(US, "1/0"), wrap=wrap)
    outs = [Out(p2wpkh(OTHER.key("m/0")), 100_000), Out(script, 1_000_000 * count - 101_000, fields)]
    draft = Draft(coins, outs, extra=[xpub(ME), xpub(COSIGNER)])
    made = run(draft, export=export)
    change = {1: f"{MULTI}/1/0"} if count > 1 else {}
    assert_signed(made, count, change)
    assert made.psbt is not None
    half = insert(made.psbt, [(request, ME.sign(request)) for request, _ in made.made])
    theirs = run(half.raw, wallet=COSIGNER)
    assert_signed(theirs, count, change)
    check_on_kernel(insert(half, [(request, COSIGNER.sign(request)) for request, _ in theirs.made]), draft)


@EXPORTS
@VERSIONS
def test_multisig_without_extended_keys(version: int, export: bool) -> None:
    """It is signed; its change is shown as what it is for this signer: a payment."""
    script, fields = shared_out(places(US, "1/0"))
    outs = [Out(p2wpkh(OTHER.key("m/0")), 100_000), Out(script, 899_000, fields)]
    made = run(Draft([shared_coin(places(US, "0/0"))], outs, version), export=export)
    assert_signed(made, 1)


@EXPORTS
@pytest.mark.parametrize("kind", ["p2pkh", "p2sh-p2wpkh", "p2wpkh"])
def test_electrum_with_origins(kind: str, export: bool) -> None:
    """Both UTXO fields and the extended key with its origin."""
    account = SPEND_PATH[kind].rsplit("/", 2)[0]
    draft = payment(kind, spend(kind), spend(kind, 1), extra=[xpub(ME, account)])
    made = run(draft, export=export)
    assert_signed(made, 2, {1: CHANGE_PATH[kind]})
    finished(made, draft)


@pytest.mark.parametrize("count", [1, 2])
def test_electrum_restored_from_an_account_key(count: int) -> None:
    """Its origins begin with the account's own fingerprint."""
    account = Path.parse("m/84h/0h/0h")
    mark = ME.account(account).fingerprint

    def named(pairs: Pairs) -> Pairs:
        return [
            (key, mark + value[-8:]) if key[0] in (0x06, 0x02) and value[:4] == ME.fingerprint else (key, value)
            for key, value in pairs
        ]

    draft = payment("p2wpkh", *[spend("p2wpkh", number) for number in range(count)])
    draft.inputs, draft.outputs = list(map(named, draft.inputs)), list(map(named, draft.outputs))
    made = run(draft, accounts={mark: account}, export=True)
    assert_signed(made, count, {1: CHANGE_PATH["p2wpkh"]})
    finished(made, draft)


# --- BDK -------------------------------------------------------------------------------------------------------------


def bdk_descriptor(pattern: str, account: str, chain: int) -> str:
    """A descriptor of our account on a test network."""
    key = ME.account(account).to_string(bytes.fromhex("043587cf"))
    return pattern.format(f"[{ME.fingerprint.hex()}{account[1:].replace('h', chr(39))}]{key}/{chain}/*")


@pytest.mark.parametrize(
    ("pattern", "account"),
    [
        ("pkh({})", "m/44h/1h/0h"),
        ("sh(wpkh({}))", "m/49h/1h/0h"),
        ("wpkh({})", "m/84h/1h/0h"),
        ("wsh(pk({}))", "m/48h/1h/0h/2h"),
    ],
)
@pytest.mark.parametrize("coins", [1, 3])
def test_bdk(pattern: str, account: str, coins: int) -> None:
    """What BDK writes, finalises and takes for its own again."""
    wallet = PaperWallet(bdk_descriptor(pattern, account, 0), bdk_descriptor(pattern, account, 1))
    for _ in range(coins):
        wallet.receive(60_000)
    text = wallet.pay(p2wpkh(OTHER.key("m/0")), 60_000 * coins - 20_000)
    made = run(text, export=True, chain=Chain.TEST)
    single = not pattern.startswith("wsh")
    change = {out.index: str(out.path) for out in made.summary.outputs if out.change} if made.summary else {}
    assert_signed(made, coins, change)
    assert list(change.values()) == [f"{account}/1/0"] if single else not change
    assert made.psbt is not None
    signed = insert(made.psbt, [(request, ME.sign(request)) for request, _ in made.made])
    before = wallet.balance
    wallet.finish(signed.to_base64())
    assert 0 < before - wallet.balance - (60_000 * coins - 20_000) < 3_000


# --- Sparrow and files -----------------------------------------------------------------------------------------------


@EXPORTS
@pytest.mark.parametrize("kind", ["p2wpkh", "p2sh-p2wpkh"])
def test_sparrow_specter_diy(kind: str, export: bool) -> None:
    """Keeps the previous transactions."""
    account = SPEND_PATH[kind].rsplit("/", 2)[0]
    draft = payment(kind, *[spend(kind, number) for number in range(3)], extra=[xpub(ME, account)])
    assert_signed(run(draft, export=export), 3, {1: CHANGE_PATH[kind]})


@EXPORTS
@VERSIONS
@pytest.mark.parametrize("kind", ["p2wpkh", "p2sh-p2wpkh"])
def test_sparrow_coldcard_with_one_coin(kind: str, version: int, export: bool) -> None:
    """witness_utxo only: its own signature commits to the amount, and there is no other."""
    draft = payment(kind, spend(kind, previous=False), version=version)
    made = run(draft, export=export)
    assert_signed(made, 1, {1: CHANGE_PATH[kind]})
    finished(made, draft)


def test_sparrow_coldcard_with_several_coins_says_what_helps() -> None:
    made = run(payment("p2wpkh", *[spend("p2wpkh", number, previous=False) for number in range(2)]))
    assert "add the previous transaction (non_witness_utxo)" in str(made.refusal)
    assert "--allow-unproved-amounts" in str(made.refusal)
    allowed = run(
        payment("p2wpkh", *[spend("p2wpkh", number, previous=False) for number in range(2)]),
        allow_unproved_amounts=True,
    )
    assert len(allowed.made) == 2 and allowed.summary is not None and allowed.summary.fee is None


def test_a_payjoin_whose_strangers_prove_nothing_says_what_helps() -> None:
    stranger = In(p2wpkh(OTHER.key("m/3")), 70_000, [(b"\x08", b"\x01\x01\x51")], previous=False)
    made = run(payment("p2wpkh", spend("p2wpkh"), stranger))
    assert str(made.refusal).startswith("input 1: its amount is not proved")
    for word in ("payjoin", "non_witness_utxo", "--allow-unproved-amounts"):
        assert word in str(made.refusal)
    assert "\n" not in str(made.refusal)


def test_a_payjoin_whose_strangers_prove_their_amounts() -> None:
    stranger = In(p2wpkh(OTHER.key("m/3")), 70_000, [deriv("m/3", OTHER)])
    made = run(payment("p2wpkh", spend("p2wpkh"), stranger))
    assert_signed(made, 1, {1: CHANGE_PATH["p2wpkh"]})
    assert made.summary is not None and (made.summary.our_amount, made.summary.net) == (100_000, 60_000)


@pytest.mark.parametrize(
    ("fee", "setting"), [(10_000_001, "max_fee"), (5_000_000, "max_fee_rate"), (200_000, "max_fee_percent")]
)
def test_a_high_fee_names_its_setting(fee: int, setting: str) -> None:
    amount = 300_000 if setting == "max_fee_percent" else 100_000_000
    data = Draft([spend("p2wpkh", amount=amount)], [Out(p2wpkh(OTHER.key("m/0")), amount - fee)])
    made = run(data)
    assert f"{setting} in config.toml or CRYPTNOX_{setting.upper()}" in str(made.refusal)
    limits: dict[str, object] = {"max_fee": None, "max_fee_rate": None, "max_fee_percent": None}
    assert run(data, **limits).made


# --- HWI's own device tests ------------------------------------------------------------------------------------------


def other_fingerprint(pairs: Pairs) -> Pairs:
    """HWI's tests let an input pass for another's by the first byte of its fingerprint."""
    return [(key, bytes((value[0] ^ 1,)) + value[1:]) if key[0] == 0x06 else (key, value) for key, value in pairs]


@EXPORTS
@pytest.mark.parametrize("kind", ["p2pkh", "p2sh-p2wpkh", "p2wpkh", "p2wsh", "p2sh"])
@pytest.mark.parametrize("left", [0, 1, 2])
def test_hwi_device_tests(kind: str, left: int, export: bool) -> None:
    """All but one input are given another fingerprint: that one is signed, and no other."""
    change = kind if kind in CHANGE_PATH else "p2wpkh"
    draft = payment(change, *[spend(kind, number) for number in range(3)])
    for index, pairs in enumerate(draft.inputs):
        if index != left:
            draft.inputs[index] = other_fingerprint(pairs)
    made = run(draft, export=export)
    assert made.refusal is None
    assert [request.input_index for request, _ in made.made] == [left]


@pytest.mark.parametrize("wrap", ["p2wsh", "p2sh", "p2sh-p2wsh"])
def test_hwi_device_tests_multisig_of_one_device(wrap: str) -> None:
    """2 of 3 with all keys on the device: it signs with each."""
    paths = [f"m/48h/1h/{number}h/0/0" for number in range(3)]
    script = multisig(2, sorted(ME.key(path) for path in paths))
    found: list[tuple[Wallet, str]] = [(ME, path) for path in paths]
    draft = Draft([shared_coin(found, wrap=wrap, script=script)], [Out(p2wpkh(OTHER.key("m/0")), 999_000)])
    made = run(draft)
    assert made.refusal is None and len(made.made) == 3
    finished(made, draft)


def test_what_is_refused_is_one_sentence() -> None:
    """Nothing here ends in a traceback or in several lines."""
    for data in (b"", b"psbt\xff", p2wsh(b"\x51")):
        with pytest.raises(PsbtError) as caught:
            Psbt.parse(data)
        assert "\n" not in str(caught.value)
