"""The derivation planner: every plan is replayed on a model of the card's memory, wallets' trees are compared with the
lower bound. How far from the least possible it is: test_derivation_rule.py."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from cryptnox_core.bip32 import HARDENED, MASTER, Path
from cryptnox_core.derivation import (
    UNKNOWN,
    Derive,
    PlanCost,
    Position,
    ReadExtended,
    ReadOnTheFly,
    plan_cost,
    plan_session,
)
from cryptnox_core.errors import UsageError
from tests.core.derivation_model import ACCOUNT, exhaustive, lower_bound, replay

# First contact with a card: whether a signature ends the PIN's validity (`pin-ends-at-sign`) shows only when a command
# that follows a signature is refused


Costs = frozenset[tuple[int, int]]
"""Commands besides SIGN on a card whose PIN stays verified, and on one where a signature ends that: what one strategy,
which does not know the card, comes to. Only those that no other strategy undercuts."""


class Contact(NamedTuple):
    """What the card remembers, what is left to do, and what the host knows of the card."""

    current: Path | None
    reads: frozenset[Path]
    """The account's extended key; the master key, for the fingerprint."""
    signs: frozenset[Path]
    derivations: int
    """That may still be spent."""
    signed: bool = False
    """Since the last VERIFY PIN."""
    ends: bool | None = None
    """Whether a signature ends the PIN's validity; None: not known yet."""

    def reach(self, path: Path) -> int:
        """Derivations to a key from the nearest that is remembered."""
        bases = [MASTER] if not self.current else [MASTER, self.current, self.current.parent]
        return min(path.depth - base.depth for base in bases if path.starts_with(base))

    def without_signing(self) -> Iterator[Contact]:
        """After each DERIVE KEY and GET PUBKEY that could be next."""
        if self.current in self.reads:
            yield self._replace(reads=self.reads - {self.current})
        for key in {Path(path.steps[:depth]) for path in self.signs | self.reads for depth in range(path.depth + 1)}:
            if key != self.current and self.reach(key) <= self.derivations:
                yield self._replace(current=key, derivations=self.derivations - self.reach(key))


@functools.cache
def strategies(at: Contact) -> Costs:
    """All strategies from here on; none where the derivations do not suffice. The account's key has to be read before
    the first signature, the fingerprint at any time."""
    if not at.reads and not at.signs:
        return frozenset({(0, 0)})
    found: set[tuple[int, int]] = set()
    for key in at.signs if at.reads <= {MASTER} else ():
        cost = 0 if key == at.current else at.reach(key)
        if cost <= at.derivations:
            after = at._replace(signs=at.signs - {key}, derivations=at.derivations - cost, signed=True)
            found |= strategies(after)
    if at.signed and at.ends is not False:  # VERIFY PIN
        found |= {(lasts + 1, ends + 1) for lasts, ends in strategies(at._replace(signed=False))}
    for after in at.without_signing():
        if not at.signed or at.ends is False:
            found |= {(lasts + 1, ends + 1) for lasts, ends in strategies(after)}
        elif at.ends is None:
            accepted, refused = strategies(after._replace(ends=False)), strategies(at._replace(ends=True))
            if accepted and refused:
                found.add((1 + min(accepted)[0], 1 + min(ends for _, ends in refused)))
    return frozenset(a for a in found if not any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in found))


@pytest.mark.parametrize(
    ("chains", "undercut_by_none"),
    [
        ((2, 2), {(14, 16), (15, 15)}),
        ((3, 2), {(14, 16), (15, 15)}),
        ((3, 3), {(14, 16), (15, 15)}),
        ((3, 1), {(13, 13)}),
        ((1, 1), {(12, 12)}),
        ((4, 0), {(13, 13)}),
    ],
)
def test_no_strategy_for_an_unknown_card_has_14_and_15_commands(
    chains: tuple[int, int], undercut_by_none: set[tuple[int, int]]
) -> None:
    """Of all strategies with the fewest derivations: 14 commands where the PIN stays verified mean 16 where it does
    not, and 15 there mean 15 everywhere. The planner has the 14."""
    wanted = [ACCOUNT.child(chain).child(number) for chain in (0, 1) for number in range(chains[chain])]
    # SELECT, two pages of the certificate, card certificate, OPEN, MUTUAL, the PIN's tries, VERIFY PIN
    before = 8
    start = Contact(None, frozenset({MASTER, ACCOUNT}), frozenset(wanted), lower_bound([ACCOUNT, *wanted]))
    found = {(before + lasts, before + ends) for lasts, ends in strategies(start)}
    assert found == undercut_by_none
    assert strategies(start._replace(derivations=start.derivations - 1)) == set()
    cost = replay(fingerprint=True, xpubs=[ACCOUNT], signatures=wanted)
    others = before + cost.commands - len(wanted)
    assert (others, others + cost.verifications + (cost.verifications > 0)) == min(found)


# The trees of wallets


def leaves(count: int, *, accounts: int = 1, chains: int = 2, root: str = "m/84h/0h") -> list[Path]:
    """`count` different keys, spread evenly over accounts and chains."""
    base = Path.parse(root)
    return [
        Path((*base.steps, HARDENED | n % accounts, n // accounts % chains, n // accounts // chains))
        for n in range(count)
    ]


@pytest.mark.parametrize("count", [2, 3, 10, 100, 1000])
@pytest.mark.parametrize("chains", [1, 2])
def test_one_account(count: int, chains: int) -> None:
    """3 derivations for the account, 1 a chain, 1 a key: the lower bound. Fingerprint and account take four commands,
    each chain one, and one PIN between the chains where a signature ends its validity."""
    wanted = leaves(count, chains=chains)
    cost = replay(fingerprint=True, xpubs=[ACCOUNT], signatures=wanted)
    used = min(chains, count)
    if count <= 3:
        assert cost.derivations == lower_bound([ACCOUNT, *wanted]) == 3 + used + count
        assert cost.commands <= 4 + used + count
    else:
        assert cost == PlanCost(3 + used + count, 4 + used + count, used - 1)
        assert cost.derivations == lower_bound([ACCOUNT, *wanted])


def test_one_input_needs_no_chain_made_current() -> None:
    cost = replay(fingerprint=True, xpubs=[ACCOUNT], signatures=leaves(1))
    assert cost == PlanCost(5, 5, 0)


def test_multisig_path() -> None:
    """Four levels to the account of BIP48: the bound again."""
    account = Path.parse("m/48h/0h/0h/2h")
    wanted = [Path((*account.steps, chain, n)) for n in range(50) for chain in (0, 1)]
    cost = replay(fingerprint=True, xpubs=[account], signatures=wanted)
    assert cost.derivations == lower_bound(wanted) == 4 + 2 + 100


def test_two_accounts_with_both_chains_cannot_meet_the_bound() -> None:
    wanted = leaves(12, accounts=2)
    assert lower_bound(wanted) == 20
    assert replay(signatures=wanted).derivations == 22
    # The account forks once more for reading, which comes first.
    accounts = [Path.parse("m/84h/0h/0h"), Path.parse("m/84h/0h/1h")]
    assert replay(xpubs=accounts, signatures=wanted).derivations == 23


def test_small_fork_is_searched_through() -> None:
    """Two accounts with both chains, in the smallest size in which it pays to fork: no sequence of commands meets the
    bound."""
    wanted = leaves(8, accounts=2, root="m/84h")
    assert lower_bound(wanted) == 1 + 2 + 4 + 8
    assert exhaustive(signatures=wanted) == (16, 12)
    assert replay(signatures=wanted).derivations == 16


def test_two_accounts_with_one_chain_each() -> None:
    """Only the last fork is forgotten: one derivation above the bound."""
    wanted = leaves(20, accounts=2, chains=1)
    assert replay(signatures=wanted).derivations - lower_bound(wanted) <= 2


def test_one_key_in_many_inputs_is_derived_once() -> None:
    key = Path.parse("m/84h/0h/0h/0/7")
    assert replay(signatures=[key] * 200) == PlanCost(5, 202, 0)
    assert replay(signatures=[key]) == PlanCost(5, 1, 0)


def test_key_read_and_signed_with_is_derived_once() -> None:
    """Export off: the last key read stays current for signing; every other one is derived twice."""
    key = Path.parse("m/84h/0h/0h/0/7")
    assert replay(fingerprint=True, public_keys=[key], signatures=[key]) == PlanCost(5, 6, 0)
    wanted = leaves(100)
    cost = replay(fingerprint=True, public_keys=wanted, signatures=wanted)
    assert cost.derivations == 3 + 2 + 100 + 1 + 100


def test_descriptors_of_three_accounts() -> None:
    accounts = [Path.parse(f"m/{purpose}h/0h/0h") for purpose in (44, 49, 84)]
    assert replay(fingerprint=True, xpubs=accounts) == PlanCost(9, 8, 0)


def test_read_on_the_fly() -> None:
    """One command; a further one for each three levels that the channel does not protect."""
    assert replay(public_keys=[Path.parse("m/44h/0h/0h")]) == PlanCost(3, 1, 0)
    assert replay(public_keys=[Path.parse("m/44h/0h/0h/0/0")]) == PlanCost(5, 2, 0)
    assert replay(public_keys=[Path(tuple(range(8)))]) == PlanCost(8, 3, 0)


def test_four_levels_at_once_only_for_an_extended_key_that_is_read_next() -> None:
    """Its child number is the fourth level. Any other reading in the plan would rest on a command that can be sent
    again."""
    multisig = Path.parse("m/48h/0h/0h/2h")
    assert replay(xpubs=[multisig]) == PlanCost(4, 2, 0)
    assert replay(fingerprint=True, xpubs=[multisig]) == PlanCost(4, 4, 0)
    assert replay(public_keys=[multisig]) == PlanCost(4, 2, 0)
    assert replay(xpubs=[multisig], public_keys=[multisig.child(0, hardened=True)]) == PlanCost(5, 4, 0)
    assert replay(xpubs=[multisig.child(1, hardened=True)]) == PlanCost(5, 3, 0)
    assert replay(signatures=[multisig] * 3) == PlanCost(4, 5, 0)


def test_goes_on_from_a_known_key() -> None:
    wanted = leaves(100)
    assert replay(signatures=wanted, at=Position(ACCOUNT)) == PlanCost(102, 102, 1)
    assert replay(signatures=wanted, at=UNKNOWN).derivations == 105


def test_master_key() -> None:
    assert replay(fingerprint=True) == PlanCost(0, 2, 0)
    assert replay(fingerprint=True, at=Position(MASTER)) == PlanCost(0, 1, 0)
    assert replay(public_keys=[MASTER], fingerprint=True) == PlanCost(0, 2, 0)
    assert replay(signatures=[MASTER, MASTER]) == PlanCost(0, 3, 0)
    assert replay(fingerprint=True, signatures=[MASTER]) == PlanCost(0, 3, 0)
    assert replay(signatures=[MASTER, *leaves(10)]).commands == 1 + 1 + 3 + 10
    assert plan_session() == ()


def test_nothing_is_read_that_the_host_can_derive() -> None:
    below = ACCOUNT.extend(Path((0, 5)))
    hardened = ACCOUNT.child(5, hardened=True)
    assert plan_session(xpubs=[ACCOUNT], known=[ACCOUNT]) == ()
    assert plan_session(public_keys=[below, ACCOUNT], known=[ACCOUNT]) == ()
    assert plan_cost(plan_session(public_keys=[hardened], known=[ACCOUNT])) == PlanCost(4, 2, 0)
    steps = plan_session(xpubs=[ACCOUNT, ACCOUNT], public_keys=[below, hardened, hardened])
    assert [type(step) for step in steps] == [Derive, ReadExtended, ReadOnTheFly]


def test_eight_levels() -> None:
    deep = Path(tuple(range(8)))
    assert replay(signatures=[deep, deep]).derivations == 8
    for request in ("xpubs", "public_keys", "signatures"):
        with pytest.raises(UsageError):
            plan_session(**{request: [deep.child(0)]})  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        plan_session(xpubs=[Path((0, 1))])


def test_time_grows_with_the_number_of_keys() -> None:
    """Ten times the keys take about ten times as long, not a hundred times."""

    def seconds(count: int) -> float:
        wanted = leaves(count)
        before = time.process_time()
        plan_session(fingerprint=True, public_keys=wanted, signatures=wanted)
        return time.process_time() - before

    assert seconds(10_000) < 40 * min(seconds(1000) for _ in range(3))


def test_many_accounts() -> None:
    wanted = leaves(300, accounts=300)
    before = time.process_time()
    cost = replay(xpubs=sorted({path.parent.parent for path in wanted}), signatures=wanted)
    assert time.process_time() - before < 5
    assert cost.derivations <= 2 + 300 + 4 * 300
