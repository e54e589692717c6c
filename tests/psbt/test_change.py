"""Change of wallets with several keys: by the extended keys that the PSBT names, every key derived and compared."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hwilib_cryptnox.psbt import NoticeKind, Psbt, RefusedInput, RefusedOutput, collect, plan
from tests.psbt.factory import (
    ME,
    OTHER,
    In,
    Out,
    Pairs,
    Wallet,
    deriv,
    draft,
    le,
    multisig,
    out_deriv,
    p2sh,
    p2wpkh,
    p2wsh,
    pushed,
    spend,
    tap_deriv,
)
from tests.psbt.signing import check_on_kernel, make_plan, sign

THIRD = Wallet(b"the third of a wallet with three keys")
STRANGER = Wallet(b"a stranger who wants to be the third")
ACCOMPLICE = Wallet(b"an accomplice of the stranger")
COSIGNERS = (ME, OTHER, THIRD)
ACCOUNT, SECOND = "m/48h/0h/0h/2h", "m/48h/0h/1h/2h"
FAR = Out(p2wpkh(STRANGER.key("m/0")), 60_000)


def xpub(wallet: Wallet, account: str = ACCOUNT, path: str | None = None) -> tuple[bytes, bytes]:
    """A PSBT_GLOBAL_XPUB; `path`: where it is said to be."""
    return b"\x01" + wallet.account(account).to_bytes(), wallet.origin(path or account)


XPUBS: Pairs = [xpub(wallet) for wallet in COSIGNERS]


def script_at(place: str, wallets: Sequence[Wallet] = COSIGNERS, threshold: int = 2, account: str = ACCOUNT) -> bytes:
    return multisig(threshold, sorted(wallet.key(f"{account}/{place}") for wallet in wallets))


def coin(place: str = "0/3", wallets: Sequence[Wallet] = COSIGNERS, **options: object) -> In:
    script = script_at(place, wallets, **options)  # type: ignore[arg-type]
    account = options.get("account", ACCOUNT)
    return In(p2wsh(script), 100_000, [(b"\x05", script), *(deriv(f"{account}/{place}", one) for one in wallets)])


def change(place: str = "1/4", wallets: Sequence[Wallet] = COSIGNERS, **options: object) -> Out:
    script = script_at(place, wallets, **options)  # type: ignore[arg-type]
    account = options.get("account", ACCOUNT)
    return Out(p2wsh(script), 35_000, [(b"\x01", script), *(out_deriv(f"{account}/{place}", one) for one in wallets)])


def changes(*ins: In, outs: Sequence[Out], extra: Pairs | None = None) -> list[int]:
    payment = Out(FAR.script, sum(item.amount for item in ins) - sum(out.amount for out in outs) - 500)
    psbt = Psbt.parse(draft(*ins, outs=[payment, *outs], extra=list(XPUBS if extra is None else extra)).encode())
    summary = make_plan(psbt).summary
    assert summary.amount_out == summary.sent + summary.change_amount
    return [output.index for output in summary.outputs if output.change]


def test_change_of_the_wallet_that_the_inputs_come_from() -> None:
    bent = draft(coin(), coin("1/0"), outs=[FAR, change(), change("0/9")], extra=list(XPUBS))
    summary = make_plan(Psbt.parse(bent.encode())).summary
    assert [str(output.path) for output in summary.outputs if output.path] == [f"{ACCOUNT}/1/4", f"{ACCOUNT}/0/9"]
    assert (summary.sent, summary.change_amount, summary.net) == (60_000, 70_000, 130_000)
    both = sign(sign(bent.encode()).encode(), OTHER)
    check_on_kernel(both, bent)


@pytest.mark.parametrize("nested", [False, True])
def test_change_of_nested_and_bare_scripts(nested: bool) -> None:
    def wrapped(script: bytes, field: int) -> tuple[bytes, Pairs]:
        if nested:
            return p2sh(p2wsh(script)), [(le(field, 1), p2wsh(script)), (le(field + 1, 1), script)]
        return p2sh(script), [(le(field, 1), script)]

    script, fields = wrapped(script_at("0/1"), 4)
    item = In(script, 100_000, [*fields, *(deriv(f"{ACCOUNT}/0/1", one) for one in COSIGNERS)])
    script, fields = wrapped(script_at("1/1"), 0)
    out = Out(script, 35_000, [*fields, *(out_deriv(f"{ACCOUNT}/1/1", one) for one in COSIGNERS)])
    assert changes(item, outs=[out]) == [1]
    assert changes(item, outs=[change("1/1")]) == []
    assert changes(coin(), outs=[out]) == []


@pytest.mark.parametrize(
    ("name", "out", "extra"),
    [
        ("no extended keys", change(), []),
        ("one cosigner's extended key is missing", change(), XPUBS[:2]),
        ("a cosigner was replaced", change(wallets=(ME, OTHER, STRANGER)), XPUBS),
        ("a cosigner was replaced and is named", change(wallets=(ME, OTHER, STRANGER)), [*XPUBS, xpub(STRANGER)]),
        (
            "all cosigners were replaced",
            change(wallets=(ME, STRANGER, ACCOMPLICE)),
            [*XPUBS, xpub(STRANGER), xpub(ACCOMPLICE)],
        ),
        ("the threshold is lower", change(threshold=1), XPUBS),
        ("a key more", change(wallets=(*COSIGNERS, STRANGER)), [*XPUBS, xpub(STRANGER)]),
        ("a key less", change(wallets=(ME, OTHER)), XPUBS),
        ("another account", change(account=SECOND), [*XPUBS, *(xpub(one, SECOND) for one in COSIGNERS)]),
    ],
)
def test_what_is_not_that_wallets_is_a_payment(name: str, out: Out, extra: Pairs) -> None:
    assert changes(coin(), outs=[out], extra=extra) == []


def test_the_order_of_the_keys_is_the_wallets() -> None:
    """Where inputs have sorted keys in two orders the wallet sorts them (BIP67), and finds no script in which they are
    not."""
    place = f"{ACCOUNT}/1/4"

    def out(keys: list[bytes]) -> Out:
        script = multisig(2, keys)
        return Out(p2wsh(script), 35_000, [(b"\x01", script), *(out_deriv(place, one) for one in COSIGNERS)])

    keys = sorted(wallet.key(place) for wallet in COSIGNERS)
    assert changes(coin(), coin("1/0"), outs=[out(keys)]) == [1]
    assert changes(coin(), coin("1/0"), outs=[out(keys[::-1])]) == []

    def in_order(number: int) -> In:
        spent = multisig(2, [wallet.key(f"{ACCOUNT}/0/{number}") for wallet in COSIGNERS])
        claims = [deriv(f"{ACCOUNT}/0/{number}", one) for one in COSIGNERS]
        return In(p2wsh(spent), 100_000, [(b"\x05", spent), *claims])

    coins = [in_order(number) for number in range(4)]
    assert len({tuple(sorted(item.fields[0][1])) for item in coins}) > 1
    same = [wallet.key(place) for wallet in COSIGNERS]
    assert changes(*coins, outs=[out(same)]) == [1]
    for other in (same[::-1], [same[1], same[0], same[2]]):
        assert changes(*coins, outs=[out(other)]) == []


def two_of_two(place: str, *, sorts: bool) -> bytes:
    keys = [wallet.key(f"{ACCOUNT}/{place}") for wallet in (ME, OTHER)]
    return multisig(2, sorted(keys) if sorts else keys)


def in_descriptors_order(branch: int, wanted: bool) -> str:
    """A place at which the keys of two wallets stand as BIP67 sorts them, or the other way round."""
    for number in range(50):
        place = f"{branch}/{number}"
        if (two_of_two(place, sorts=True) == two_of_two(place, sorts=False)) is wanted:
            return place
    raise AssertionError


def two_coin(place: str) -> In:
    script = two_of_two(place, sorts=True)
    return In(p2wsh(script), 100_000, [(b"\x05", script), *(deriv(f"{ACCOUNT}/{place}", one) for one in (ME, OTHER))])


def two_out(place: str, *, sorts: bool = True) -> Out:
    script = two_of_two(place, sorts=sorts)
    claims = [out_deriv(f"{ACCOUNT}/{place}", one) for one in (ME, OTHER)]
    return Out(p2wsh(script), 35_000, [(b"\x01", script), *claims])


def test_an_order_that_may_be_chance_proves_nothing() -> None:
    """The keys of one coin are sorted, as half of those of a wallet that does not sort are: it would not find change
    with its keys in another order. Two coins in two orders are a wallet's that sorts."""
    same, other = in_descriptors_order(0, True), in_descriptors_order(0, False)
    near, swapped = in_descriptors_order(1, True), in_descriptors_order(1, False)
    assert two_of_two(swapped, sorts=True) != two_of_two(swapped, sorts=False)
    assert changes(two_coin(same), outs=[two_out(swapped)]) == []
    assert changes(two_coin(other), outs=[two_out(near)]) == []
    assert changes(two_coin(same), outs=[two_out(swapped, sorts=False)]) == []
    assert changes(two_coin(same), outs=[two_out(near)]) == changes(two_coin(other), outs=[two_out(swapped)]) == [1]
    both = two_coin(same), two_coin(other)
    assert changes(*both, outs=[two_out(near), two_out(swapped), two_out(swapped, sorts=False)]) == [1, 2]
    payment = Out(FAR.script, 64_500)
    made = make_plan(Psbt.parse(draft(two_coin(same), outs=[payment, two_out(swapped)], extra=list(XPUBS)).encode()))
    assert (made.summary.sent, made.summary.change_amount) == (99_500, 0)
    (notice,) = [notice for notice in made.warnings if notice.kind is NoticeKind.KEY_ORDER]
    assert notice.text == (
        "output 1 is a payment: it has the keys of the inputs, but their order does not prove that it comes back to "
        "the wallet; register the wallet to have its change recognized (cryptnoxctl wallet add)"
    )
    assert notice.index == 1 and not notice.grave


def test_origins_prove_nothing() -> None:
    """The stranger's key is said to be the third's, at the third's path, with the third's fingerprint."""
    place = f"{ACCOUNT}/1/4"
    keys = [ME.key(place), OTHER.key(place), STRANGER.key(place)]
    script = multisig(2, sorted(keys))
    claims = [out_deriv(place), out_deriv(place, OTHER), (b"\x02" + keys[2], THIRD.origin(place))]
    out = Out(p2wsh(script), 35_000, [(b"\x01", script), *claims])
    coins = coin(), coin("1/0")  # in two orders, so that none proves anything
    assert changes(*coins, outs=[change()]) == [1]
    assert changes(*coins, outs=[out]) == []
    lying = b"\x01" + STRANGER.account(ACCOUNT).to_bytes(), THIRD.origin(ACCOUNT)
    assert changes(*coins, outs=[out], extra=[*XPUBS, lying]) == []
    assert changes(*coins, outs=[out], extra=[*XPUBS[:2], lying]) == []


def test_all_inputs_have_to_be_of_the_wallet() -> None:
    """One of the attacker's, of a wallet in which the card is the only honest key, does not make its change ours."""
    theirs = (ME, STRANGER, ACCOMPLICE)
    extra = [*XPUBS, xpub(STRANGER), xpub(ACCOMPLICE)]
    assert changes(coin(wallets=theirs), outs=[change("1/7", theirs)], extra=extra) == [1]
    assert changes(coin(wallets=theirs), coin(), outs=[change("1/7", theirs)], extra=extra) == []
    assert changes(coin(), spend("p2wpkh"), outs=[change()]) == []


def test_keys_of_one_script_stand_at_one_place() -> None:
    keys = [ME.key(f"{ACCOUNT}/1/4"), OTHER.key(f"{ACCOUNT}/1/2000000000"), THIRD.key(f"{ACCOUNT}/1/4")]
    script = multisig(2, sorted(keys))
    claims = [
        out_deriv(f"{ACCOUNT}/1/4"),
        out_deriv(f"{ACCOUNT}/1/2000000000", OTHER),
        out_deriv(f"{ACCOUNT}/1/4", THIRD),
    ]
    assert changes(coin(), outs=[Out(p2wsh(script), 35_000, [(b"\x01", script), *claims])]) == []


def test_one_keys_change_of_several_keys_coins_is_a_payment() -> None:
    """It leaves the wallet: the others cannot spend it any more."""
    path = "m/84h/0h/0h/1/0"
    out = Out(p2wpkh(ME.key(path)), 35_000, [out_deriv(path)])
    assert changes(coin(), outs=[out]) == []
    assert changes(spend("p2wpkh"), outs=[out]) == [1]


@pytest.mark.parametrize("shared", [True, False])
def test_one_keys_change_with_dust_beside_several_keys_coins_is_warned_of(shared: bool) -> None:
    """A stranger's dust on an address of one key makes one key's change possible, and several keys' coins leave."""
    back = Out(p2wpkh(ME.key("m/84h/0h/0h/1/0")), 60_000, [out_deriv("m/84h/0h/0h/1/0")])
    coins = [spend("p2wpkh", amount=600), coin() if shared else spend("p2wpkh", 1)]
    payment = Out(FAR.script, 40_000)
    summary = make_plan(Psbt.parse(draft(*coins, outs=[payment, back], extra=list(XPUBS)).encode())).summary
    graves = [notice.text for notice in summary.warnings if notice.grave]
    assert (
        graves
        == ["you spend coins that need several keys or a script, and output 1 is change to a single key"] * shared
    )


def test_a_second_claim_lends_no_path() -> None:
    """Change at an index that no wallet looks at, beside a claim at a usual place whose key is in no script."""
    usual, far = "m/84h/0h/0h/1/0", "m/84h/0h/0h/1/2147483646"
    claims = [out_deriv(usual), out_deriv(far)]
    for script in (p2wpkh(ME.key(far)), p2wpkh(ME.key(usual))):
        psbt = Psbt.parse(draft(spend("p2wpkh"), outs=[FAR, Out(script, 35_000, claims)]).encode())
        with pytest.raises(RefusedOutput, match="its script does not contain that key"):
            make_plan(psbt)
    nested = p2sh(p2wpkh(ME.key(far)))  # without its redeem script nothing tells which key it holds
    psbt = Psbt.parse(draft(spend("p2wpkh"), outs=[FAR, Out(nested, 35_000, claims)]).encode())
    summary = make_plan(psbt).summary
    assert str(summary.outputs[1].path) == far
    assert NoticeKind.CHANGE_PATH in [notice.kind for notice in summary.warnings if notice.grave]


UNUSUAL = {
    "m/84h/0h/0h/1234567/5": "neither the receive nor the change chain",
    "m/84h/0h/0h/1h/5": "hardened below the account",
    "m/84h/0h/0h/1/5h": "hardened below the account",
    "m/84h/0h/1h/1/5": "its account is not an account of the inputs",
    "m/84h/1h/0h/1/5": "its keys are for a different network than the inputs'",
    "m/84h/0h/0h/1/1008": "more than 1000 beyond",
    "m/84h/0h/0h/5": "neither the receive nor the change chain",
    "m/0/5": "its account is not an account of the inputs",
}


@pytest.mark.parametrize("path", UNUSUAL)
def test_change_that_a_wallet_may_not_find(path: str) -> None:
    out = Out(p2wpkh(ME.key(path)), 35_000, [out_deriv(path)])
    psbt = Psbt.parse(draft(spend("p2wpkh", 7), outs=[FAR, out]).encode())
    (notice,) = [notice for notice in make_plan(psbt).warnings if notice.kind is NoticeKind.CHANGE_PATH]
    assert notice.grave
    assert UNUSUAL[path] in notice.text


@pytest.mark.parametrize("path", ["m/84h/0h/0h/1/1007", "m/84h/0h/0h/0/0"])
def test_change_that_a_wallet_finds(path: str) -> None:
    out = Out(p2wpkh(ME.key(path)), 35_000, [out_deriv(path)])
    psbt = Psbt.parse(draft(spend("p2wpkh", 7), outs=[FAR, out]).encode())
    assert not [notice for notice in make_plan(psbt).warnings if notice.kind is NoticeKind.CHANGE_PATH]


def test_change_of_another_script_type_is_noted() -> None:
    """Bitcoin Core takes the payee's type: nothing grave."""
    path = "m/84h/0h/0h/1/0"
    out = Out(b"\x51\x20" + ME.key(path)[1:], 35_000, [tap_deriv(path, kind=0x07)])
    psbt = Psbt.parse(draft(spend("p2wpkh"), outs=[FAR, out]).encode())
    (notice,) = [notice for notice in make_plan(psbt).warnings if notice.kind is NoticeKind.CHANGE_TYPE]
    assert not notice.grave


def miniscript(place: str, number: int = 0x5C, other: Wallet = OTHER) -> bytes:
    """or_d(pk(me), and_v(v:pkh(other), older(number)))."""
    from tests.psbt.factory import h160

    recovery = b"\x76\xa9" + pushed(h160(other.key(f"{ACCOUNT}/{place}"))) + b"\x88\xad" + bytes((number, 0xB2))
    return pushed(ME.key(f"{ACCOUNT}/{place}")) + b"\xac\x73\x64" + recovery + b"\x68"


def test_change_of_a_script_of_any_form() -> None:
    def out(script: bytes, other: Wallet = OTHER) -> Out:
        claims = [out_deriv(f"{ACCOUNT}/1/4"), out_deriv(f"{ACCOUNT}/1/4", other)]
        return Out(p2wsh(script), 35_000, [(b"\x01", script), *claims])

    script = miniscript("0/3")
    item = In(p2wsh(script), 100_000, [(b"\x05", script), deriv(f"{ACCOUNT}/0/3"), deriv(f"{ACCOUNT}/0/3", OTHER)])
    assert changes(item, outs=[out(miniscript("1/4"))]) == [1]
    assert changes(item, outs=[out(miniscript("1/4", 0x51))]) == []
    stranger = miniscript("1/4", other=STRANGER)
    assert changes(item, outs=[out(stranger, STRANGER)], extra=[*XPUBS, xpub(STRANGER)]) == []


@pytest.mark.parametrize("bad", [b"\x01" + bytes(78), b"\x01" + ME.account(ACCOUNT).to_bytes()[:45] + b"\x05" * 33])
def test_an_extended_key_that_is_none_proves_nothing(bad: bytes) -> None:
    assert changes(coin(), outs=[change()], extra=[*XPUBS[:2], (bad, THIRD.origin(ACCOUNT))]) == []


def test_a_wallet_that_is_named() -> None:
    """Inputs and outputs that name our key have to be that wallet's."""
    psbt = Psbt.parse(draft(coin(), outs=[FAR, change()]).encode())
    collected = collect(psbt, ME.fingerprint)
    keys = ME.keys(collected.all_paths)
    scripts = {p2wsh(script_at("0/3")), p2wsh(script_at("1/4"))}
    summary = plan(psbt, collected, keys, wallet=lambda script, _: script in scripts).summary
    assert [output.change for output in summary.outputs] == [False, True]
    with pytest.raises(RefusedInput, match="it does not belong to the wallet"):
        plan(psbt, collected, keys, wallet=lambda script, _: False)
    with pytest.raises(RefusedOutput, match="it does not belong to the wallet"):
        plan(psbt, collected, keys, wallet=lambda script, _: script == p2wsh(script_at("0/3")))
