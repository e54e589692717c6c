"""Several half-true PSBTs of one transaction: no set of runs gives signatures that were made for less than the
truth."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from hwilib_cryptnox.psbt import NoticeKind
from tests.psbt.factory import OTHER, Draft, Out, Pairs, p2wpkh, sighash
from tests.psbt.runs import Coin, Run, Truth, attackers_coin, attacks, coin, complete, descriptions, lies, run

KINDS = ("p2wpkh", "p2sh-p2wpkh", "p2pkh", "tapscript", "rawtr")
ROLES = ("ours", "hidden", "final", "no UTXO", "another type")
BURN = (100_000_000, 5_000)
"""What a coin holds and what is said of it: a fee of a bitcoin looks like 5,000 satoshi."""
SMALL = (1_000_000, 970_000)
"""A true fee of 35,000 satoshi, within all limits, looks like 5,000."""


def paid(coins: list[Coin], false: int, fee: int = 5_000) -> list[Out]:
    """What is paid where the fee is `fee` if the second coin holds but `false`."""
    shown = coins[0].item.amount + false + sum(item.item.amount for item in coins[2:])
    return [Out(p2wpkh(OTHER.key("m/0")), shown - fee - 1_000), Out(p2wpkh(OTHER.key("m/1")), 1_000)]


def transaction(kind: str, amounts: tuple[int, int], first: str = "p2wpkh") -> tuple[list[Coin], Truth]:
    """A coin of ours, a second one of a kind, and the attacker's."""
    amount, false = amounts
    coins = [coin(first, 0, amount), coin(kind, 1, amount), attackers_coin()]
    return coins, Truth(coins, paid(coins, false))


def drafts(truth: Truth, version: int, *maps: list[Pairs]) -> Iterator[Draft]:
    """One PSBT per combination of descriptions."""
    for chosen in product(*maps):
        made = Draft([item.item for item in truth.coins], list(truth.outs), version)
        made.inputs = [list(pairs) for pairs in chosen]
        yield made


def told(item: Coin, false: int, *roles: str) -> list[Pairs]:
    """All descriptions of a coin in some roles."""
    found = descriptions(item, false)
    return [pairs for role in roles for pairs in found[role].values()]


def half_true(truth: Truth, version: int, role: str, false: int, *, thin: bool = False) -> Iterator[Draft]:
    """The first coin shown as ours and the second in a role, and the other way round; the attacker's coin as it is,
    with another amount, without anything and final (`thin`: as it is)."""
    first, second, theirs = truth.coins
    about = descriptions(theirs, theirs.item.amount + 7)
    attackers = [about["ours"]["honest"]]
    if not thin:
        attackers += [about["ours"]["lied"], about["no UTXO"]["nothing"], about["final"]["proved"]]
    yield from drafts(truth, version, told(first, false, "ours"), told(second, false, role), attackers)
    if role != "ours":
        yield from drafts(truth, version, told(first, false, role), told(second, false, "ours"), attackers)


def assert_harmless(runs: list[Run], truth: Truth) -> None:
    """No transaction is complete, unless each of its signatures was made in a run that showed the truth."""
    done = complete(runs, truth)
    if done is not None:
        _, givers = done
        untrue = [any(lies(made, truth) for made in found) for found in givers]
        assert not untrue or not all(untrue), "a valid transaction out of runs that all lied"
    assert attacks(runs, truth) == []


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", ROLES)
def test_a_bitcoin_of_fee_is_never_signed(role: str, kind: str, version: int) -> None:
    """The truth is refused for its fee, so whatever is signed was a lie."""
    _, truth = transaction(kind, BURN)
    runs = [run(data) for data in half_true(truth, version, role, BURN[1])]
    assert complete(runs, truth) is None
    assert_harmless(runs, truth)


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", ROLES)
def test_a_fee_within_the_limits_is_signed_as_what_it_is(role: str, kind: str, version: int) -> None:
    """The truth is signed, beside whatever else is tried."""
    _, truth = transaction(kind, SMALL)
    runs = [run(data) for data in half_true(truth, version, role, SMALL[1])]
    honest = run(Draft([item.item for item in truth.coins], list(truth.outs), version))
    assert [request.input_index for request, _ in honest.made] == [0, 1]
    assert complete([honest], truth) is not None
    assert lies(honest, truth) == []
    assert_harmless([honest, *runs], truth)


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_leave_for_unproved_amounts_shows_no_number_that_is_not_so(kind: str, version: int) -> None:
    """The fee is unknown, or it is the truth; a configured limit stays one."""
    _, truth = transaction(kind, SMALL)
    for role in ROLES:
        for data in half_true(truth, version, role, SMALL[1]):
            made = run(data, allow_unproved_amounts=True)
            assert attacks([made], truth) == []
            if made.made and made.summary is not None and made.summary.fee is None:
                assert not run(data, allow_unproved_amounts=True, max_fee=1_000_000).made
                assert any(notice.grave for notice in made.summary.warnings)


@pytest.mark.parametrize("kind", KINDS)
def test_three_coins_of_ours(kind: str) -> None:
    """Each run shows another one of three, and the rest in any role, all in the same way."""
    amount, false = BURN
    coins = [coin(one, number, amount) for number, one in enumerate(("p2wpkh", kind, kind))]
    truth = Truth(coins, [Out(p2wpkh(OTHER.key("m/0")), amount + 2 * false - 5_000)])
    runs = []
    for shown in range(3):
        others = [descriptions(item, false) for item in coins]
        for role in ROLES:
            for name in others[2][role]:
                for own in ("honest", "unproved"):
                    maps = [[about[role].get(name, [])] for about in others]
                    maps[shown] = [others[shown]["ours"][own]]
                    runs += [run(data) for data in drafts(truth, 0, *maps)]
    assert complete(runs, truth) is None
    assert_harmless(runs, truth)


@pytest.mark.parametrize("kind", ["p2wpkh", "rawtr", "tapscript", "p2pkh"])
@pytest.mark.parametrize("value", [0x81, 0x82, 0x83, 2, 3])
def test_other_sighash_types_prove_nothing_more(kind: str, value: int) -> None:
    """With leave for them: the numbers are true or absent all the same, and it is said gravely what is left open."""
    _, truth = transaction(kind, SMALL)
    runs = []
    for role in ROLES:
        for data in half_true(truth, 0, role, SMALL[1], thin=True):
            data.inputs[1] = [pair for pair in data.inputs[1] if pair[0] != b"\x03"] + [sighash(value)]
            assert not any(request.sighash_type == value for request, _ in run(data).made)
            runs.append(run(data, allow_sighash=True))
    assert_harmless(runs, truth)
    used = [made for made in runs if any(request.sighash_type == value for request, _ in made.made)]
    assert used
    for made in used:
        assert made.summary is not None
        said = [notice for notice in made.summary.warnings if notice.kind is NoticeKind.SIGHASH]
        assert said and all(notice.grave for notice in said)


def test_anyone_can_pay_in_several_transactions() -> None:
    """ALL|ANYONECANPAY: each coin of ours is signed beside another coin of the attacker's, for the same payment; put
    together without the attacker's coins they pay twice. No fee that can be told is shown as one."""
    amount = 1_000_000
    ours = [coin("p2wpkh", number, amount) for number in range(2)]
    for item in ours:
        coins = [item, attackers_coin(0, amount)]
        data = Draft([one.item for one in coins], [Out(p2wpkh(OTHER.key("m/0")), 2 * amount - 5_000)])
        data.inputs[0].append(sighash(0x81))
        assert not run(data).made
        made = run(data, allow_sighash=True)
        if made.made:
            assert made.summary is not None
            grave = [notice for notice in made.summary.warnings if notice.grave]
            assert made.summary.fee is None or grave


@pytest.mark.heavy
@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize(("first", "kind"), list(product(KINDS, KINDS)))
def test_every_pair_of_kinds(first: str, kind: str, version: int) -> None:
    """All roles for both coins at once."""
    for amounts in (BURN, SMALL):
        _, truth = transaction(kind, amounts, first)
        maps = [told(item, amounts[1], *ROLES) for item in truth.coins[:2]]
        theirs = [truth.coins[2].item.pairs()]
        assert_harmless([run(data) for data in drafts(truth, version, *maps, theirs)], truth)
