"""How far the plans of `plan_session` are from the fewest child derivations, by class of trees: none more for one
account and for two, at most one more elsewhere. Compared with the optimal planner of the tests, and where trees are
small with an exhaustive search over all sequences of commands, which also tells where the optimal planner is not."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptnox_core.bip32 import HARDENED, MASTER, Path
from cryptnox_core.derivation import UNKNOWN, PlanCost, Position
from tests.core import derivation_oracle
from tests.core.derivation_model import crowded, exhaustive, paths, replay, small_signatures

BIP48 = 48


@dataclass(frozen=True)
class Request:
    """What a plan is asked for."""

    xpubs: Sequence[Path] = ()
    public_keys: Sequence[Path] = ()
    signatures: Sequence[Path] = ()
    at: Position = UNKNOWN
    fingerprint: bool = False

    def planned(self) -> PlanCost:
        """By the product; replayed."""
        return replay(self.fingerprint, self.xpubs, self.public_keys, self.signatures, self.at)

    def optimal(self) -> PlanCost:
        """By the optimal planner; replayed."""
        planner = derivation_oracle.plan_session
        return replay(self.fingerprint, self.xpubs, self.public_keys, self.signatures, self.at, planner=planner)

    def least(self) -> PlanCost:
        """By exhaustive search."""
        return PlanCost(*exhaustive(self.xpubs, self.public_keys, self.signatures, self.at), 0)


def more(cost: PlanCost, than: PlanCost) -> tuple[int, int]:
    """Derivations and commands more than another plan has."""
    return cost.derivations - than.derivations, cost.commands - than.commands


accounts_of_wallets = st.builds(
    lambda purpose, number, script: Path(
        (HARDENED | purpose, HARDENED, HARDENED | number, *([HARDENED | script] if purpose == BIP48 else []))
    ),
    st.sampled_from([44, 49, 84, 86, BIP48]),
    st.integers(0, 2),
    st.integers(1, 2),
)


@st.composite
def wallets(draw: st.DrawFn, least: int, most: int, keys: int = 12) -> Request:
    """A request of a wallet with so many accounts: signing with the accounts' keys read before, or known; reading
    alone; or with the export of extended keys off. From an unknown position, the master key, where `enumerate` or the
    fingerprint leave the card, an account's key, or a chain's, where signing leaves it."""
    accounts = draw(st.lists(accounts_of_wallets, min_size=least, max_size=most, unique=True))
    below = st.builds(
        lambda account, chain, number: account.child(chain).child(number),
        st.sampled_from(accounts),
        st.integers(0, 3),
        st.integers(0, 5),
    )
    wanted = draw(st.lists(below, min_size=1, max_size=keys))
    change = draw(st.lists(below, max_size=2))
    single = sorted({*wanted, *change})
    request = draw(
        st.sampled_from(
            [
                Request(signatures=wanted),
                Request(xpubs=accounts, signatures=wanted),
                Request(xpubs=accounts[:1], signatures=wanted),
                Request(public_keys=single, signatures=wanted),
                Request(public_keys=single[:2], signatures=wanted),
                Request(xpubs=accounts),
                Request(public_keys=single),
            ]
        )
    )
    positions = [None, MASTER, *accounts, draw(accounts_of_wallets), wanted[0].parent]
    return replace(request, at=Position(draw(st.sampled_from(positions))), fingerprint=draw(st.booleans()))


@settings(max_examples=400, deadline=None)
@given(request=wallets(1, 1))
def test_one_account_is_optimal(request: Request) -> None:
    """In derivations, and in commands for them."""
    assert more(request.planned(), request.optimal()) <= (0, 0)


@settings(max_examples=300, deadline=None)
@given(request=wallets(2, 2))
def test_two_accounts_are_optimal(request: Request) -> None:
    """In derivations. A few plans from an account's key have one command more."""
    assert more(request.planned(), request.optimal()) <= (0, 1)


@settings(max_examples=100, deadline=None)
@given(request=wallets(1, 2, keys=4))
def test_one_and_two_small_accounts_are_as_exhaustive_search_finds(request: Request) -> None:
    """Also where reading and signing follow a known key, of which the optimal planner claims nothing."""
    request = replace(request, fingerprint=False)
    assert more(request.planned(), request.least())[0] <= 0


@settings(max_examples=100, deadline=None)
@given(request=wallets(3, 6, keys=20))
def test_several_accounts_are_at_most_one_derivation_off(request: Request) -> None:
    assert more(request.planned(), request.optimal())[0] <= 1


@settings(max_examples=100, deadline=None)
@given(request=wallets(1, 3), other=accounts_of_wallets, number=st.integers(0, 9))
def test_a_message_key_besides_is_at_most_one_derivation_off(request: Request, other: Path, number: int) -> None:
    """Read and signed with, in an account of its own or among the others' keys."""
    key = other.child(0).child(number)
    request = replace(
        request, public_keys=sorted({*request.public_keys, key}), signatures=[*request.signatures, key], xpubs=()
    )
    assert more(request.planned(), request.optimal())[0] <= 1


@settings(max_examples=150, deadline=None)
@given(signatures=small_signatures, current=st.none() | paths(0, 5))
def test_signing_with_any_keys_is_at_most_one_derivation_off(signatures: list[Path], current: Path | None) -> None:
    request = Request(signatures=signatures, at=Position(current))
    assert more(request.planned(), request.least())[0] <= 1


@settings(max_examples=100, deadline=None)
@given(
    xpubs=st.lists(paths(3, 5), max_size=3, unique=True),
    public_keys=st.lists(paths(1, 5), max_size=3, unique=True),
    current=st.none() | paths(0, 5),
)
def test_reading_any_keys_is_at_most_one_derivation_off(
    xpubs: list[Path], public_keys: list[Path], current: Path | None
) -> None:
    request = Request(xpubs, public_keys, at=Position(current))
    assert more(request.planned(), request.least())[0] <= 1


@settings(max_examples=100, deadline=None)
@given(
    xpubs=st.lists(paths(3, 4), max_size=2, unique=True),
    public_keys=st.lists(paths(1, 5), max_size=2, unique=True),
    signatures=st.lists(paths(1, 5), max_size=4),
)
def test_reading_and_signing_with_any_keys_is_at_most_one_derivation_off(
    xpubs: list[Path], public_keys: list[Path], signatures: list[Path]
) -> None:
    request = Request(xpubs, public_keys, signatures)
    assert more(request.planned(), request.least())[0] <= 1


# Crowded trees: the shapes that wallets do not have


def crowded_requests(seed: int) -> Mapping[str, Request]:
    """Six requests for the keys of one crowd; none where there are too many to search through."""
    rng = random.Random(seed)
    pool = crowded(rng)
    signatures = [rng.choice(pool) for _ in range(rng.randint(0, 7))]
    if len(set(signatures)) > 5:
        return {}
    at = Position(rng.choice(pool) if rng.random() < 0.5 else rng.choice(pool).parent)
    xpubs = sorted({path.parent for path in rng.choices(pool, k=2) if path.depth > 3})
    public_keys = sorted(set(rng.choices(pool, k=rng.randint(0, 2))))
    both = Request(xpubs, public_keys, signatures)
    return {
        "signing": replace(both, xpubs=(), public_keys=()),
        "signing from a known key": replace(both, xpubs=(), public_keys=(), at=at),
        "reading": replace(both, signatures=()),
        "reading from a known key": replace(both, signatures=(), at=at),
        "both": both,
        "both from a known key": replace(both, at=at),
    }


def gaps(seeds: range) -> dict[str, Counter[tuple[int, int]]]:
    """How often so many derivations and commands more than the least are planned, by kind of request."""
    found: dict[str, Counter[tuple[int, int]]] = {}
    for seed in seeds:
        for name, request in crowded_requests(seed).items():
            found.setdefault(name, Counter())[more(request.planned(), request.least())] += 1
    return found


def check_gaps(found: dict[str, Counter[tuple[int, int]]]) -> None:
    """At most one derivation off; nearly none is."""
    for name, gap in found.items():
        assert all(0 <= derivations <= 1 for derivations, _ in gap), (name, gap)
        assert gap[0, 0] >= 0.97 * gap.total(), (name, gap)
        assert sum(count for (derivations, _), count in gap.items() if derivations) <= 0.005 * gap.total(), (name, gap)


def test_crowded_trees_are_at_most_one_derivation_off() -> None:
    check_gaps(gaps(range(150)))


@pytest.mark.heavy
def test_many_crowded_trees_are_at_most_one_derivation_off() -> None:
    check_gaps(gaps(range(1000, 4000)))
