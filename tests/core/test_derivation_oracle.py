"""The optimal planner of the tests, `derivation_oracle`: every plan is replayed on a model of the card's memory, small
ones are compared with exhaustive search over all sequences of commands."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptnox_core.bip32 import Path
from cryptnox_core.derivation import UNKNOWN, PlanCost, Position
from tests.core import derivation_oracle
from tests.core.derivation_model import crowded, exhaustive, paths, replay, small_signatures

MOST_EXTRA = 3
"""Commands that a plan may have more than the fewest for its derivations, where a path has more than three levels."""


def check_optimal(
    xpubs: Sequence[Path] = (),
    public_keys: Sequence[Path] = (),
    signatures: Sequence[Path] = (),
    at: Position = UNKNOWN,
) -> int:
    """The fewest derivations; and the fewest commands for them, up to the number returned."""
    cost = replay(
        xpubs=xpubs, public_keys=public_keys, signatures=signatures, at=at, planner=derivation_oracle.plan_session
    )
    least = exhaustive(xpubs, public_keys, signatures, at)
    deep = any(path.depth > 3 for path in (*xpubs, *public_keys, *signatures))
    extra = cost.commands - least[1]
    assert cost.derivations == least[0] and 0 <= extra <= deep * MOST_EXTRA
    return extra


@settings(max_examples=150, deadline=None)
@given(signatures=small_signatures)
def test_signing_is_optimal(signatures: list[Path]) -> None:
    check_optimal(signatures=signatures)


@settings(max_examples=150, deadline=None)
@given(signatures=small_signatures, current=paths(0, 5))
def test_signing_from_a_known_key_is_optimal(signatures: list[Path], current: Path) -> None:
    check_optimal(signatures=signatures, at=Position(current))


@settings(max_examples=100, deadline=None)
@given(
    xpubs=st.lists(paths(3, 5), max_size=3, unique=True),
    public_keys=st.lists(paths(1, 5), max_size=3, unique=True),
    current=st.none() | paths(0, 5),
)
def test_reading_is_optimal(xpubs: list[Path], public_keys: list[Path], current: Path | None) -> None:
    check_optimal(xpubs=xpubs, public_keys=public_keys, at=Position(current))


@settings(max_examples=150, deadline=None)
@given(
    xpubs=st.lists(paths(3, 4), max_size=2, unique=True),
    public_keys=st.lists(paths(1, 5), max_size=2, unique=True),
    signatures=st.lists(paths(1, 5), max_size=4),
)
def test_reading_and_signing_together_are_optimal(
    xpubs: list[Path], public_keys: list[Path], signatures: list[Path]
) -> None:
    check_optimal(xpubs=xpubs, public_keys=public_keys, signatures=signatures)


def check_crowded(seed: int, extras: Counter[int]) -> PlanCost | None:
    """Four comparisons on one random crowd, whose extra commands are counted; then the gap where reading and signing
    follow a known key."""
    rng = random.Random(seed)
    pool = crowded(rng)
    signatures = [rng.choice(pool) for _ in range(rng.randint(0, 7))]
    if len(set(signatures)) > 5:
        return None
    at = Position(rng.choice(pool) if rng.random() < 0.5 else rng.choice(pool).parent)
    xpubs = sorted({path.parent for path in rng.choices(pool, k=2) if path.depth > 3})
    public_keys = sorted(set(rng.choices(pool, k=rng.randint(0, 2))))
    extras[check_optimal(signatures=signatures)] += 1
    extras[check_optimal(signatures=signatures, at=at)] += 1
    extras[check_optimal(xpubs=xpubs, public_keys=public_keys, at=at)] += 1
    extras[check_optimal(xpubs=xpubs, public_keys=public_keys, signatures=signatures)] += 1
    cost = replay(
        xpubs=xpubs, public_keys=public_keys, signatures=signatures, at=at, planner=derivation_oracle.plan_session
    )
    least = exhaustive(xpubs=xpubs, public_keys=public_keys, signatures=signatures, at=at)
    return PlanCost(cost.derivations - least[0], cost.commands - least[1], 0)


def check_extras(extras: Counter[int]) -> None:
    """Nearly all plans have the fewest commands, too."""
    assert extras[0] >= 0.98 * sum(extras.values()), extras


def test_crowded_trees_are_optimal() -> None:
    extras: Counter[int] = Counter()
    for seed in range(150):
        check_crowded(seed, extras)
    check_extras(extras)


def test_both_phases_from_a_known_key_are_seldom_a_step_off() -> None:
    """The one case whose derivations are not claimed to be the fewest: few are off, and by few."""
    gaps = Counter(gap for seed in range(400, 550) if (gap := check_crowded(seed, Counter())))
    assert all(gap.derivations <= 3 for gap in gaps)
    assert gaps[PlanCost(0, 0, 0)] >= 0.9 * sum(gaps.values()), gaps


@pytest.mark.heavy
def test_many_crowded_trees_are_optimal() -> None:
    extras: Counter[int] = Counter()
    for seed in range(1000, 4000):
        check_crowded(seed, extras)
    check_extras(extras)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@settings(max_examples=1000, deadline=None)
@given(
    xpubs=st.lists(paths(3, 5), max_size=2, unique=True),
    public_keys=st.lists(paths(1, 5), max_size=3, unique=True),
    signatures=small_signatures,
    current=st.none() | paths(1, 5),
)
def test_optimal_in_many_cases(
    xpubs: list[Path], public_keys: list[Path], signatures: list[Path], current: Path | None
) -> None:
    check_optimal(xpubs=xpubs, public_keys=public_keys, signatures=signatures)
    check_optimal(signatures=signatures, at=Position(current))
    check_optimal(xpubs=xpubs, public_keys=public_keys, at=Position(current))


@pytest.mark.parametrize(
    ("xpubs", "public_keys", "signatures", "current", "least"),
    [
        # Beside the starting key a leaf used twice stays on the fly.
        ([], [], ["m/0h/0h"] * 2 + ["m/0h/1h/0h"] * 3, "m/0h/1h", (3, 6)),
        # The key to sign with is read last and stays current.
        (["m/0h/0h/0h"], ["m/0h"], ["m/0h"] * 2, None, (4, 6)),
        # A key that only the signing wants is made current while reading, for its parent.
        ([], ["m/1h/0h/1h/0h", "m/0h/0h/0h"], ["m/1h/1h/0h/1h", "m/1h/1h/1h/0h"], None, (12, 5)),
    ],
)
def test_rare_shapes(
    xpubs: list[str], public_keys: list[str], signatures: list[str], current: str | None, least: tuple[int, int]
) -> None:
    parsed = [[Path.parse(text) for text in texts] for texts in (xpubs, public_keys, signatures)]
    at = Position(None if current is None else Path.parse(current))
    cost = replay(
        xpubs=parsed[0], public_keys=parsed[1], signatures=parsed[2], at=at, planner=derivation_oracle.plan_session
    )
    assert (cost.derivations, cost.commands) == least
