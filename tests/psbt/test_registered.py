"""Registered wallets: their change is known by deriving the whole script, and whatever is not theirs is a payment."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import pytest

from cryptnox_core.bip32 import HARDENED, Path
from hwilib_cryptnox.psbt import Notice, NoticeKind, Summary, WalletInputs
from hwilib_cryptnox.signer.registered.card_wallets import CardWallet
from tests.psbt.dishonest import OUTCOMES
from tests.psbt.dishonest_change import CHANGE, EVE, paying
from tests.psbt.dishonest_wallets import (
    BACK,
    BACK_PATH,
    COSIGNER,
    MULTI,
    OURS,
    US,
    XPUBS,
    Place,
    places,
    shared_coin,
    shared_out,
)
from tests.psbt.factory import (
    ME,
    NUMS,
    OTHER,
    Draft,
    In,
    Out,
    Pairs,
    Wallet,
    leaf_hash,
    multisig,
    out_deriv,
    p2sh,
    p2wpkh,
    p2wsh,
    pushed,
    spend,
    tap_deriv,
    taproot,
)
from tests.psbt.runs import Coin, Run, Truth, lies, run
from tests.psbt.signing import check_on_kernel, sign
from tests.psbt.test_outcomes import EXPORTS, judged
from tests.support.versions import parsed

THIRD = Wallet(b"the third cosigner of another wallet")


def key(wallet: Wallet, path: str = MULTI, steps: str = "/<0;1>/*") -> str:
    return f"[{wallet.fingerprint.hex()}{path[1:]}]{wallet.account(path).to_string()}{steps}"


def keys(*wallets: Wallet, path: str = MULTI) -> str:
    return ",".join(key(wallet, path) for wallet in wallets)


def registered(name: str, text: str) -> CardWallet:
    return CardWallet.of(name, parsed(text), ME.fingerprint)


FAMILY = registered("Family", f"wsh(sortedmulti(2,{keys(*US)}))")
SAVINGS = registered("Savings", f"wsh(sortedmulti(2,{keys(ME, COSIGNER, THIRD)}))")
BOTH = (SAVINGS, FAMILY)


def kinds(summary: Summary | None, *, grave: bool | None = None) -> set[NoticeKind]:
    assert summary is not None
    return {notice.kind for notice in summary.warnings if grave is None or notice.grave is grave}


def texts(made: Run, kind: NoticeKind) -> list[str]:
    assert made.summary is not None
    return [notice.text for notice in made.summary.warnings if notice.kind is kind]


def change_of(made: Run) -> dict[int, str]:
    assert made.summary is not None, made.refusal
    return {out.index: str(out.path) for out in made.summary.outputs if out.change}


# --- what is so


@EXPORTS
def test_change_is_known_by_name(export: bool | None) -> None:
    """No extended keys in the PSBT are needed."""
    made = run(paying(*shared_out(BACK), shared_coin(OURS)), wallets=BOTH, export=export)
    assert change_of(made) == {1: BACK_PATH} and made.summary is not None
    assert made.summary.wallets == (WalletInputs("Family", "2 of 2 must sign", (0,)),)
    assert [out.wallet for out in made.summary.outputs] == [None, "Family"]
    assert made.summary.unregistered == () and kinds(made.summary) == set()


@pytest.mark.parametrize("version", [0, 2])
def test_it_is_signed_and_valid(version: int) -> None:
    draft = Draft(
        [shared_coin(OURS), shared_coin(places(US, "1/2"))],
        [Out(p2wpkh(OTHER.key("m/0")), 1_900_000), Out(*_swap(shared_out(BACK), 90_000))],
        version=version,
    )
    made = run(draft, wallets=BOTH)
    assert change_of(made) == {1: BACK_PATH} and len(made.made) == 2
    assert made.summary is not None and made.summary.wallets[0].inputs == (0, 1)
    check_on_kernel(sign(sign(draft.encode()).encode(), COSIGNER), draft)


def _swap(made: tuple[bytes, Pairs], amount: int) -> tuple[bytes, int, Pairs]:
    return made[0], amount, made[1]


@pytest.mark.parametrize("fields", ["all", "no scripts", "ours alone"])
def test_a_psbt_need_not_tell_the_scripts_of_its_change(fields: str) -> None:
    """The script is derived whole, so that our own claim is enough."""
    script, pairs = shared_out(BACK)
    if fields == "no scripts":
        pairs = [pair for pair in pairs if pair[0] != b"\x01"]
    if fields == "ours alone":
        pairs = [out_deriv(BACK_PATH)]
    assert change_of(run(paying(script, pairs, shared_coin(OURS)), wallets=BOTH)) == {1: BACK_PATH}


@pytest.mark.parametrize("wrap", ["p2sh", "p2sh-p2wsh"])
def test_nested_and_plain_p2sh(wrap: str) -> None:
    head = {"p2sh": "sh({})", "p2sh-p2wsh": "sh(wsh({}))"}[wrap]
    wallet = registered("Old", head.format(f"sortedmulti(2,{keys(*US)})"))
    draft = paying(*shared_out(BACK, wrap=wrap), shared_coin(OURS, wrap=wrap))
    assert change_of(run(draft, wallets=[FAMILY, wallet])) == {1: BACK_PATH}
    other = paying(*shared_out(BACK), shared_coin(OURS, wrap=wrap))
    made = run(other, wallets=[FAMILY, wallet])
    assert change_of(made) == {} and texts(made, NoticeKind.TO_WALLET) == [
        'output 1 pays to the registered wallet "Family"'
    ]


def test_miniscript() -> None:
    def script(place: str) -> bytes:
        from tests.psbt.factory import h160

        recovery = b"\x76\xa9" + pushed(h160(COSIGNER.key(f"{MULTI}/{place}"))) + b"\x88\xad\x5c\xb2"
        return pushed(ME.key(f"{MULTI}/{place}")) + b"\xac\x73\x64" + recovery + b"\x68"

    wallet = registered("Heirs", f"wsh(or_d(pk({key(ME)}),and_v(v:pkh({key(COSIGNER)}),older(12))))")
    coin = shared_coin(OURS, script=script("0/3"))
    made = run(paying(*shared_out(BACK, script=script("1/7")), coin), wallets=[FAMILY, wallet])
    assert change_of(made) == {1: BACK_PATH} and made.summary is not None
    assert made.summary.wallets == (WalletInputs("Heirs", "a script with 2 keys", (0,)),)
    bent = script("1/7").replace(b"\x5c\xb2", b"\x51\xb2")
    made = run(paying(*shared_out(BACK, script=bent), coin), wallets=[FAMILY, wallet])
    assert change_of(made) == {} and NoticeKind.STRANGE_SCRIPT in kinds(made.summary, grave=True)


def leaf(wallet: Wallet, place: str) -> bytes:
    return pushed(wallet.key(f"{MULTI}/{place}")[1:]) + b"\xac"


def test_taproot_leaves() -> None:
    wallet = registered("Leaves", f"tr({NUMS.hex()},{{pk({key(ME)}),pk({key(COSIGNER)})}})")

    def output(place: str, kind: int, other: Wallet = COSIGNER) -> tuple[bytes, Pairs]:
        leaves = [leaf(ME, place), leaf(other, place)]
        script, fields = taproot(leaves)
        claims = [tap_deriv(f"{MULTI}/{place}", [leaf_hash(leaves[0])], kind=kind)]
        return script, [*claims, *(fields if kind == 0x16 else [])]

    script, fields = output("0/3", 0x16)
    coin = In(script, 1_000_000, [*fields, (b"\x17", NUMS)])
    made = run(paying(*output("1/7", 0x07), coin), wallets=[FAMILY, wallet])
    assert change_of(made) == {1: BACK_PATH} and len(made.made) == 1
    made = run(paying(*output("1/7", 0x07, EVE), coin), wallets=[FAMILY, wallet])
    assert change_of(made) == {}


@pytest.mark.parametrize("count", [15, 20])
def test_many_keys(count: int) -> None:
    cosigners = [ME, *(Wallet(b"cosigner %d" % number) for number in range(count - 1))]
    wallet = registered("Crowd", f"wsh(sortedmulti({count - 1},{keys(*cosigners)}))")

    def script(place: str) -> bytes:
        found = b"".join(map(pushed, sorted(one.key(f"{MULTI}/{place}") for one in cosigners)))
        numbers = [bytes((0x50 + n,)) if n <= 16 else bytes((1, n)) for n in (count - 1, count)]
        return numbers[0] + found + numbers[1] + b"\xae"

    coin = shared_coin(places(cosigners, "0/3"), script=script("0/3"))
    made = run(paying(*shared_out(places(cosigners, "1/7"), script=script("1/7")), coin), wallets=[wallet])
    assert change_of(made) == {1: BACK_PATH}


# --- attacks


def scripted_out(script: bytes, *claims: tuple[bytes, bytes]) -> tuple[bytes, Pairs]:
    return p2wsh(script), [(b"\x01", script), *claims]


def two_of(*found: Place) -> bytes:
    return multisig(2, sorted(wallet.key(path) for wallet, path in found))


FAR_PATH = f"{MULTI}/1/2147483647"
ATTACKS: dict[str, tuple[bytes, Pairs]] = {
    "the cosigner replaced": shared_out([(ME, BACK_PATH), (EVE, BACK_PATH)]),
    "the cosigner replaced, its origin kept": scripted_out(
        two_of((ME, BACK_PATH), (EVE, BACK_PATH)),
        out_deriv(BACK_PATH),
        (b"\x02" + EVE.key(BACK_PATH), COSIGNER.origin(BACK_PATH)),
    ),
    "the threshold lowered": shared_out(BACK, 1),
    "a key more": shared_out([*BACK, (EVE, BACK_PATH)]),
    "our key alone, twice": scripted_out(multisig(2, [ME.key(BACK_PATH)] * 2), out_deriv(BACK_PATH)),
    "another account": shared_out([(one, "m/48h/0h/1h/2h/1/7") for one in US]),
    "branch 2": shared_out(places(US, "2/7")),
    "a hardened branch": shared_out(places(US, "1h/7")),
    "a hardened index": shared_out(places(US, "1/7h")),
    "a level more": shared_out(places(US, "1/7/0")),
    "keys of different places": shared_out([(ME, BACK_PATH), (COSIGNER, f"{MULTI}/1/8")]),
    "nested": shared_out(BACK, wrap="p2sh-p2wsh"),
    "bare": (multisig(2, sorted(one.key(BACK_PATH) for one in US)), [out_deriv(BACK_PATH)]),
    "the keys in the other order": scripted_out(
        multisig(2, sorted((one.key(BACK_PATH) for one in US), reverse=True)), out_deriv(BACK_PATH)
    ),
    "the script of another index": (
        shared_out(places(US, "1/8"))[0],
        [out_deriv(BACK_PATH), out_deriv(BACK_PATH, COSIGNER)],
    ),
    "the script of the other branch": (shared_out(places(US, "0/7"))[0], [out_deriv(BACK_PATH)]),
    "our key and anybody's": scripted_out(pushed(ME.key(BACK_PATH)) + b"\xac\x73\x64\x51\x68", out_deriv(BACK_PATH)),
    "our key alone": (p2wpkh(ME.key(BACK_PATH)), [out_deriv(BACK_PATH)]),
}


@EXPORTS
@pytest.mark.parametrize("known", [[], XPUBS], ids=["no extended keys", "extended keys"])
@pytest.mark.parametrize("name", ATTACKS)
def test_attacks(name: str, known: Pairs, export: bool | None) -> None:
    """None of them is change, whatever the PSBT brings, and what looks like it is a grave warning (or refused)."""
    draft = paying(*ATTACKS[name], shared_coin(OURS), extra=list(known))
    made = run(draft, wallets=BOTH, export=export)
    if made.refusal is not None:
        return
    assert made.made and change_of(made) == {}
    assert lies(made, Truth([Coin("told", draft.ins[0], "ours")], draft.outs)) == []
    alone = name == "our key alone"  # a payment like others: it looks like no address of the wallet
    assert (NoticeKind.STRANGE_SCRIPT in kinds(made.summary, grave=True)) is not alone


@pytest.mark.parametrize("name", ["branch 2"])
def test_the_extended_keys_of_a_psbt_prove_nothing_beside_a_registered_wallet(name: str) -> None:
    """Without a registered wallet this is change, by the same template; the registered wallet has no such branch."""
    draft = paying(*ATTACKS[name], shared_coin(OURS), extra=list(XPUBS))
    assert change_of(run(draft)) == {1: f"{MULTI}/2/7"}
    assert change_of(run(draft, wallets=BOTH)) == {}


def test_a_far_index_is_change_and_warned_of() -> None:
    made = run(paying(*shared_out([(one, FAR_PATH) for one in US]), shared_coin(OURS)), wallets=BOTH)
    assert change_of(made) == {1: FAR_PATH}
    assert NoticeKind.CHANGE_PATH in kinds(made.summary, grave=True)
    near = run(paying(*shared_out(places(US, "1/1003")), shared_coin(OURS)), wallets=BOTH)
    assert kinds(near.summary) == set()
    beyond = run(paying(*shared_out(places(US, "1/1004")), shared_coin(OURS)), wallets=BOTH)
    assert kinds(beyond.summary, grave=True) == {NoticeKind.CHANGE_PATH}


def test_unusual_branches_are_the_wallets_own() -> None:
    wallet = registered("Odd", f"wsh(sortedmulti(2,{key(ME, steps='/<5;9>/*')},{key(COSIGNER, steps='/<2;3>/*')}))")
    found = [(ME, f"{MULTI}/5/3"), (COSIGNER, f"{MULTI}/2/3")]
    back = [(ME, f"{MULTI}/9/7"), (COSIGNER, f"{MULTI}/3/7")]
    made = run(paying(*shared_out(back), shared_coin(found)), wallets=[wallet])
    assert change_of(made) == {1: f"{MULTI}/9/7"} and kinds(made.summary) == set()


def test_a_wallet_that_was_registered_with_another_key_under_our_origin_is_not_believed() -> None:
    """As if wallets.json had been changed: its script holds a key that is not the card's."""
    stranger = f"[{ME.fingerprint.hex()}{MULTI[1:]}]{EVE.account(MULTI).to_string()}/<0;1>/*"
    wallet = registered("Family", f"wsh(sortedmulti(1,{stranger},{key(COSIGNER)}))")
    script = multisig(1, sorted([EVE.key(BACK_PATH), COSIGNER.key(BACK_PATH)]))
    made = run(paying(p2wsh(script), [out_deriv(BACK_PATH)], shared_coin(OURS)), wallets=[wallet])
    assert made.refusal is None or not made.made
    if made.made:
        assert change_of(made) == {}


# --- several wallets


def test_change_of_one_wallet_for_inputs_of_another_is_a_payment() -> None:
    three = (ME, COSIGNER, THIRD)
    made = run(paying(*shared_out(places(three, "1/7")), shared_coin(OURS)), wallets=BOTH)
    assert change_of(made) == {} and made.summary is not None and made.summary.outputs[1].wallet == "Savings"
    assert texts(made, NoticeKind.TO_WALLET) == ['output 1 pays to the registered wallet "Savings"']
    assert not kinds(made.summary, grave=True)


@pytest.mark.parametrize("back", [US, (ME, COSIGNER, THIRD)])
def test_inputs_of_two_wallets_have_no_change(back: Sequence[Wallet]) -> None:
    coins = shared_coin(OURS), shared_coin(places((ME, COSIGNER, THIRD), "0/4"))
    made = run(paying(*shared_out(places(back, "1/7")), *coins, extra=list(XPUBS)), wallets=BOTH)
    assert change_of(made) == {} and made.summary is not None
    assert [one.name for one in made.summary.wallets] == ["Family", "Savings"]
    assert len(texts(made, NoticeKind.TO_WALLET)) == 1


def test_a_coin_of_one_key_beside_the_wallets_has_no_change_in_the_wallet() -> None:
    """Some dust beside it is enough: the wallet's change is a payment then, and one key's is warned of."""
    single = spend("p2wpkh", amount=1_000_000)
    made = run(paying(*shared_out(BACK), shared_coin(OURS), single), wallets=BOTH)
    assert change_of(made) == {} and texts(made, NoticeKind.TO_WALLET)
    made = run(paying(p2wpkh(ME.key(CHANGE)), [out_deriv(CHANGE)], shared_coin(OURS), single), wallets=BOTH)
    assert change_of(made) == {1: CHANGE} and NoticeKind.CHANGE_PATH in kinds(made.summary, grave=True)


def test_a_coin_of_no_registered_wallet_beside_the_wallets_has_no_change() -> None:
    strange = shared_coin([(ME, f"{MULTI}/0/9"), (EVE, f"{MULTI}/0/9")])
    made = run(paying(*shared_out(BACK), shared_coin(OURS), strange, extra=list(XPUBS)), wallets=BOTH)
    assert change_of(made) == {} and made.summary is not None
    assert [one.inputs for one in made.summary.unregistered] == [(1,)]


def test_one_key_pays_to_a_registered_wallet() -> None:
    made = run(paying(*shared_out(BACK)), wallets=BOTH)
    assert change_of(made) == {} and made.summary is not None and made.summary.outputs[1].wallet == "Family"
    assert kinds(made.summary) == {NoticeKind.TO_WALLET}


# --- inputs of no registered wallet


def test_inputs_of_no_registered_wallet_are_named() -> None:
    coins = [shared_coin(places(US, f"0/{n}")) for n in range(12)]
    made = run(paying(*shared_out(BACK), *coins, extra=list(XPUBS)))
    assert change_of(made) == {1: BACK_PATH}, "as before, by the extended keys"
    assert texts(made, NoticeKind.NO_WALLET) == [
        "inputs 0, 1, 2, 3, 4, 5, 6, 7 and 4 more are held by 2 of 2 keys, not by a registered wallet"
    ]
    assert not kinds(made.summary, grave=True)
    one = run(paying(*shared_out(BACK), coins[0], spend("miniscript", amount=1_000_000)), wallets=[SAVINGS])
    assert texts(one, NoticeKind.NO_WALLET) == [
        "input 0 is held by 2 of 2 keys, not by a registered wallet",
        "input 1 is held by a script, not by a registered wallet",
    ]


def test_a_registered_wallet_is_no_change_of_coins_that_nobody_registered() -> None:
    """The same keys and threshold, a level higher: to the extended keys of a PSBT they are one wallet."""
    coin = shared_coin(places(US, "3"))
    known = run(paying(*shared_out(BACK), coin, extra=list(XPUBS)))
    assert known.made and change_of(known) == {1: BACK_PATH}
    made = run(paying(*shared_out(BACK), coin, extra=list(XPUBS)), wallets=BOTH)
    assert made.made and change_of(made) == {}
    assert texts(made, NoticeKind.TO_WALLET)
    assert made.summary is not None and made.summary.outputs[1].wallet == "Family"
    assert made.summary.sent == sum(output.amount for output in made.summary.outputs)


def test_a_wallet_that_the_person_named_is_none_of_them() -> None:
    made = run(paying(*shared_out(BACK), shared_coin(OURS)), named=FAMILY)
    assert change_of(made) == {1: BACK_PATH} and made.summary is not None
    assert made.summary.unregistered == () and kinds(made.summary) == set()


def test_change_of_the_named_wallet_alone_is_no_strange_script() -> None:
    """The same inputs, and a change branch that the registered wallet does not have: the person named it."""
    named = registered("Odd", FAMILY.descriptor.split("#")[0].replace("<0;1>", "<0;2>"))
    made = run(paying(*shared_out(places(US, "2/7")), shared_coin(OURS)), named=named, wallets=BOTH)
    assert change_of(made) == {1: f"{MULTI}/2/7"} and NoticeKind.STRANGE_SCRIPT not in kinds(made.summary)
    assert made.summary is not None and made.summary.outputs[1].wallet is None
    made = run(paying(*shared_out(BACK), shared_coin(OURS)), named=FAMILY, wallets=BOTH)
    assert change_of(made) == {1: BACK_PATH} and made.summary is not None
    assert made.summary.outputs[1].wallet == "Family" and made.summary.wallets[0].name == "Family"


def test_required() -> None:
    draft = paying(*shared_out(BACK), shared_coin(OURS), extra=list(XPUBS))
    for wallets in ((), (SAVINGS,)):
        made = run(draft, wallets=wallets, require_registered=True)
        assert not made.made
        assert "input 0: it is held by 2 of 2 keys, not by a registered wallet" in str(made.refusal)
        assert "cryptnoxctl wallet add" in str(made.refusal)
    assert change_of(run(draft, wallets=BOTH, require_registered=True)) == {1: BACK_PATH}
    assert run(draft, named=FAMILY, require_registered=True).refusal is not None
    assert run(paying(p2wpkh(ME.key(CHANGE)), [out_deriv(CHANGE)]), require_registered=True).made


# --- the whole catalogue, beside registered wallets


def truly(draft: Draft, told: Mapping[int, str], wallet: CardWallet = FAMILY) -> dict[int, str]:
    """Which outputs are the registered wallet's, looked for by brute force."""
    policy = wallet.policy
    assert policy is not None
    found = dict(told)
    for index, out in enumerate(draft.outs):
        for branch in range(2):
            for number in (*range(12), 1000, 1003, 1004, 5000, HARDENED - 1):
                if policy.script(branch, number) == out.script:
                    found[index] = f"{MULTI}/{branch}/{number}"
    return found


@pytest.mark.parametrize("export", [None, False], ids=["all-keys", "no-export"])
@pytest.mark.parametrize("name", OUTCOMES)
def test_the_catalogue(name: str, export: bool | None) -> None:
    wanted = OUTCOMES[name]
    _, truth = judged(name, export)
    draft = wanted.make()
    made = run(draft, accounts=wanted.accounts, export=export, wallets=BOTH, **wanted.policy)
    if not made.made:
        return
    assert lies(made, Truth(truth.coins, truth.outs, truly(draft, truth.change))) == []


# --- time


def test_a_hundred_inputs_and_twenty_wallets() -> None:
    """All wallets have our key at the same origin; the true one is the last."""
    others = [Wallet(b"cosigner of wallet %d" % number) for number in range(20)]
    wallets = [
        registered(f"Wallet {n}", f"wsh(sortedmulti(2,{keys(ME, COSIGNER, one)}))") for n, one in enumerate(others)
    ]
    three = (ME, COSIGNER, others[-1])
    coins = [shared_coin(places(three, f"0/{n}"), amount=50_000) for n in range(100)]
    draft = Draft(
        coins, [Out(p2wpkh(OTHER.key("m/0")), 4_000_000), Out(*_swap(shared_out(places(three, "1/7")), 980_000))]
    )
    data = draft.encode()

    def took(chosen: Sequence[CardWallet]) -> float:
        started = time.process_time()
        made = run(data, wallets=chosen)
        assert made.made and (not chosen or change_of(made) == {1: BACK_PATH})
        return time.process_time() - started

    took(wallets)
    assert took(wallets) - took(()) < 0.6


def test_a_psbt_with_many_claims_takes_no_longer_for_it() -> None:
    """Each output is derived at a few places, whatever it claims."""
    asked: list[Path] = []

    class Counting:
        name, words = "Family", "2 of 2 must sign"

        def __call__(self, script: bytes, claim: object) -> bool:
            asked.append(claim.path)  # type: ignore[attr-defined]
            return FAMILY(script, claim)  # type: ignore[arg-type]

        def work(self, script: bytes, claim: object) -> int:
            return FAMILY.work(script, claim)  # type: ignore[arg-type]

    script = two_of(*places((ME, EVE), "1/7"))
    claims = [out_deriv(f"{MULTI}/1/{n}") for n in range(60)]
    run(paying(b"\x51\x20" + bytes(31) + b"\x02", [], shared_coin(OURS)), wallets=[Counting()])
    asked.clear()
    made = run(paying(p2sh(p2wsh(script)), claims, shared_coin(OURS)), wallets=[Counting()] * 5)
    assert made.made or made.refusal is not None
    assert len(asked) <= 1 + 6 * 4


def test_a_psbt_that_would_take_minutes_is_refused() -> None:
    """Each true claim costs one script of each wallet, and an output of which nobody tells the script takes any number
    of them. It is refused, and not judged by the weaker rule of coins that nobody registered."""
    asked = 0

    class Counting:
        name, words = "Family", "2 of 2 must sign"

        def __call__(self, script: bytes, claim: object) -> bool:
            nonlocal asked
            asked += 1
            return False

        def work(self, script: bytes, claim: object) -> int:
            return 2

    coin = shared_coin(places((ME, EVE), "0/3"), amount=10_000_000)
    claims = [out_deriv(f"{MULTI}/1/{number}") for number in range(4)]
    outs = [Out(p2wsh(b"%d" % number), 1_000, claims) for number in range(1_500)]
    made = run(Draft([coin], [*outs, Out(p2wpkh(OTHER.key("m/0")), 8_400_000)]), wallets=[Counting()] * 20)
    assert made.refusal is not None and "split it" in str(made.refusal)
    assert asked < 26_000


def test_a_script_of_many_keys_costs_as_many() -> None:
    """What is counted are the keys that are derived in vain, not the scripts."""
    asked: list[int] = []

    class Counting:
        name, words = "Clan", "2 of 15 must sign"
        wallet = registered(
            "Clan", f"wsh(sortedmulti(2,{keys(ME, *[Wallet(b'cosigner number %02d' % n) for n in range(14)])}))"
        )

        def __call__(self, script: bytes, claim: object) -> bool:
            asked.append(self.work(script, claim))
            return self.wallet(script, claim)  # type: ignore[arg-type]

        def work(self, script: bytes, claim: object) -> int:
            return self.wallet.work(script, claim)  # type: ignore[arg-type]

    coin = shared_coin(places((ME, EVE), "0/3"), amount=10_000_000)
    claims = [out_deriv(f"{MULTI}/1/{number}") for number in range(4)]
    outs = [Out(p2wsh(b"%d" % number), 1_000, claims) for number in range(750)]
    made = run(Draft([coin], [*outs, Out(p2wpkh(OTHER.key("m/0")), 9_150_000)]), wallets=[Counting()])
    assert made.refusal is not None and "split it" in str(made.refusal)
    assert set(asked) == {15} and sum(asked) < 40_100
    asked.clear()
    at_other_places = [out_deriv(f"m/48h/0h/0h/1h/1/{number}") for number in range(4)]
    outs = [Out(p2wsh(b"%d" % number), 1_000, at_other_places) for number in range(750)]
    made = run(Draft([coin], [*outs, Out(p2wpkh(OTHER.key("m/0")), 9_150_000)]), wallets=[Counting()])
    assert made.made and sum(asked) == 15


def test_a_key_that_is_only_named_is_not_called_held() -> None:
    """Nobody can read the script: it may be anybody's alone."""
    for script, claim in (
        (p2wsh(pushed(OTHER.key("m/1")) + b"\xac"), out_deriv(BACK_PATH)),
        (p2sh(pushed(OTHER.key("m/1")) + b"\xac"), out_deriv(BACK_PATH)),
        (b"\x51\x20" + OTHER.key("m/2")[1:], tap_deriv(BACK_PATH, kind=0x07)),
    ):
        (text,) = texts(run(paying(script, [claim], shared_coin(OURS)), wallets=BOTH), NoticeKind.STRANGE_SCRIPT)
        assert text == (
            "output 1 is a payment: it names a key of this card, and is not an address of the wallet that the inputs "
            "come from"
        )


def test_the_share_of_a_fee_says_of_what() -> None:
    """Beside a registered wallet's coin only what the card's key alone holds is measured."""
    coin, dust = shared_coin(OURS, amount=100_000_000), spend("p2wpkh", 0, amount=10_000)
    made = run(Draft([coin, dust], [Out(p2wpkh(OTHER.key("m/0")), 100_010_000 - 60_000)]), wallets=[FAMILY])
    assert "50 % of the 10,000 satoshi that this card's key alone holds" in str(made.refusal)


def test_change_in_any_order_is_a_registered_wallets() -> None:
    """That the wallet sorts its keys is known: no coin has to show it."""
    orders = {ME.key(f"{MULTI}/1/{n}") < COSIGNER.key(f"{MULTI}/1/{n}"): n for n in range(20)}
    assert set(orders) == {True, False}
    for number in orders.values():
        out = shared_out(places(US, f"1/{number}"))
        made = run(paying(*out, shared_coin(OURS), extra=list(XPUBS)), wallets=BOTH)
        assert change_of(made) == {1: f"{MULTI}/1/{number}"} and kinds(made.summary) == set()


def test_notices_are_plain_sentences() -> None:
    made = run(paying(*ATTACKS["the cosigner replaced"], shared_coin(OURS)), wallets=BOTH)
    (text,) = texts(made, NoticeKind.STRANGE_SCRIPT)
    assert text == (
        "output 1 is a payment: it holds a key of this card together with others, and is not an address of the "
        "wallet that the inputs come from"
    )
    assert Notice(NoticeKind.STRANGE_SCRIPT, text).grave and not Notice(NoticeKind.TO_WALLET, "").grave
