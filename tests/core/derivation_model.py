"""What derivation plans are tried on: a model of the card's memory, an exhaustive search over all sequences of
commands, and trees."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hypothesis import strategies as st

from cryptnox_core.bip32 import HARDENED, MASTER, Path
from cryptnox_core.derivation import (
    UNKNOWN,
    Derive,
    PlanCost,
    Position,
    ReadExtended,
    ReadOnTheFly,
    ReadPublicKey,
    Sign,
    Step,
    plan_cost,
    plan_session,
)
from cryptnox_core.wire import Source

ACCOUNT = Path.parse("m/84h/0h/0h")


@dataclass
class ModelCard:
    """What the card remembers, and what it has been made to do. Every illegal step is an AssertionError."""

    current: Path | None = None
    derivations: int = 0
    commands: int = 0
    verifications: int = 0
    signed: list[tuple[int, Path]] = field(default_factory=list)
    read: list[Path] = field(default_factory=list)
    read_extended: list[Path] = field(default_factory=list)
    pin_valid: bool = True
    unchecked: Path | None = None
    """Current after a command whose first block nothing has checked yet."""
    repeatable: bool = False
    """A DERIVE KEY of two blocks was sent: somebody in between can have it carried out again at any time."""

    def _start(self, source: Source) -> Path:
        if source is Source.MASTER:
            return MASTER
        assert self.current is not None, "relies on the current key of an earlier session"
        if source is Source.CURRENT:
            return self.current
        return self.current.parent  # raises at the master key, as the card does (6B00)

    def _go(self, source: Source, suffix: Path) -> Path:
        result = self._start(source).extend(suffix)
        assert suffix.depth <= 8 and result.depth <= 8
        self.derivations += suffix.depth
        return result

    def run(self, step: Step) -> None:
        self.commands += 1
        if not isinstance(step, Sign) and not self.pin_valid:
            self.verifications += 1
            self.pin_valid = True
        assert self.unchecked is None or step == ReadExtended(self.unchecked)
        self.unchecked = None
        match step:
            case Derive(suffix, source, result):
                assert suffix.depth or source is Source.MASTER
                self.current = self._go(source, suffix)
                assert self.current == result
                if suffix.depth > 3:
                    assert suffix.depth == 4
                    self.unchecked, self.repeatable = result, True
            case ReadPublicKey(path):
                assert path == self.current and not self.repeatable
                self.read.append(path)
            case ReadExtended(path):
                assert path == self.current and path.depth >= 3
                self.read_extended.append(path)
            case ReadOnTheFly(path, source, suffix):
                assert 1 <= suffix.depth <= 3 and self._go(source, suffix) == path and not self.repeatable
                self.read.append(path)
            case Sign(index, path, source, suffix):
                if suffix.depth:
                    assert self._go(source, suffix) == path
                else:
                    assert source is Source.CURRENT and path == self.current
                self.signed.append((index, path))
                self.pin_valid = False


class Planner(Protocol):
    """`plan_session`."""

    def __call__(
        self,
        *,
        fingerprint: bool = False,
        xpubs: Sequence[Path] = (),
        public_keys: Sequence[Path] = (),
        signatures: Sequence[Path] = (),
        known: Collection[Path] = (),
        at: Position = UNKNOWN,
    ) -> tuple[Step, ...]: ...


def lower_bound(paths: Iterable[Path]) -> int:
    """Child derivations that no sequence of commands can do without: the distinct keys on the given paths, without
    the master key, each of which the card has to derive once."""
    return len({path.steps[:depth] for path in paths for depth in range(1, path.depth + 1)})


def replay(
    fingerprint: bool = False,
    xpubs: Sequence[Path] = (),
    public_keys: Sequence[Path] = (),
    signatures: Sequence[Path] = (),
    at: Position = UNKNOWN,
    *,
    planner: Planner = plan_session,
) -> PlanCost:
    """Plans, replays, checks that everything asked for is done once and in order, and gives the cost."""
    steps = planner(fingerprint=fingerprint, xpubs=xpubs, public_keys=public_keys, signatures=signatures, at=at)
    card = ModelCard(at.current)
    for step in steps:
        card.run(step)
    assert sorted(card.signed) == list(enumerate(signatures))
    assert sorted(card.read_extended) == sorted(set(xpubs))
    follows = {
        path for path in public_keys for known in xpubs if path.starts_with(known) and path.below(known).is_unhardened
    }
    masters = {MASTER} if fingerprint else set()
    assert sorted(card.read) == sorted(set(public_keys) - follows | masters)
    kinds = [isinstance(step, Sign) for step in steps if not isinstance(step, Derive)]
    assert kinds == sorted(kinds), "a signature before a reading"
    cost = plan_cost(steps)
    assert (cost.derivations, cost.commands, cost.verifications) == (
        card.derivations,
        card.commands,
        card.verifications,
    )
    return cost


def exhaustive(
    xpubs: Sequence[Path] = (),
    public_keys: Sequence[Path] = (),
    signatures: Sequence[Path] = (),
    at: Position = UNKNOWN,
) -> tuple[int, int]:
    """Fewest (child derivations, commands) over all sequences of commands: uniform-cost search over what the card
    remembers and what is left to do. Knows nothing of the planner's structure.

    DERIVE KEY and reading take three levels at most; DERIVE KEY four where the extended key is read next and no single
    key afterwards.
    """
    wanted = sorted(Counter(signatures).items())
    reads = sorted({(path, True) for path in xpubs} | {(path, False) for path in public_keys if path not in xpubs})
    keys = {Path(path.steps[:depth]) for path in (*xpubs, *public_keys, *signatures) for depth in range(path.depth + 1)}
    if at.current is not None:
        keys.add(at.current)
    start = (at.current, (1 << len(reads)) - 1, tuple(count for _, count in wanted))
    queue: list[tuple[int, int, int, tuple[Path | None, int, tuple[int, ...]]]] = [(0, 0, 0, start)]
    done = set()
    number = 0
    while queue:
        derivations, commands, _, state = heapq.heappop(queue)
        if state in done:
            continue
        done.add(state)
        current, reads_left, signs_left = state
        if not reads_left and not any(signs_left):
            return derivations, commands
        bases = [MASTER]
        if current is not None:
            bases += [current] + ([current.parent] if current.depth else [])

        def reach(path: Path, bases: list[Path] = bases) -> int:
            return min(
                (path.depth - base.depth for base in bases if path.starts_with(base) and path != base), default=99
            )

        following: list[tuple[int, tuple[Path | None, int, tuple[int, ...]]]] = []
        for key in keys:
            if key == MASTER != current:
                following.append((0, (key, reads_left, signs_left)))
            elif key != current and reach(key) <= 3:
                following.append((reach(key), (key, reads_left, signs_left)))
        singles = any(reads_left >> place & 1 and not extended for place, (_, extended) in enumerate(reads))
        both = []
        for place, (path, extended) in enumerate(reads):
            if reads_left >> place & 1:
                rest = (current, reads_left & ~(1 << place), signs_left)
                if path == current:
                    following.append((0, rest))
                elif not extended and path != MASTER and reach(path) <= 3:
                    following.append((reach(path), rest))
                if extended and not singles and path != current and reach(path) == 4:
                    both.append((4, (path, *rest[1:])))
        if not reads_left:
            for place, (path, _) in enumerate(wanted):
                if signs_left[place]:
                    rest = (current, 0, (*signs_left[:place], signs_left[place] - 1, *signs_left[place + 1 :]))
                    if path == current:
                        following.append((0, rest))
                    elif path != MASTER:
                        following.append((reach(path), rest))
        for count, moves in ((1, following), (2, both)):
            for extra, after in moves:
                if extra < 99 and after not in done:
                    number += 1
                    heapq.heappush(queue, (derivations + extra, commands + count, number, after))
    raise AssertionError("nothing does all that was asked for")


def paths(shortest: int, longest: int) -> st.SearchStrategy[Path]:
    return st.lists(st.integers(HARDENED, HARDENED + 1), min_size=shortest, max_size=longest).map(
        lambda steps: Path(tuple(steps))
    )


small_signatures = st.lists(st.tuples(paths(1, 5), st.integers(1, 2)), max_size=5).map(
    lambda pairs: [path for path, count in pairs for _ in range(count)]
)


def crowded(rng: random.Random) -> list[Path]:
    """Up to a dozen paths with siblings, cousins and prefixes among them."""
    fan, depth = rng.choice([2, 2, 3]), rng.choice([3, 4, 5])
    pool = [
        Path(tuple(HARDENED + rng.randrange(fan) for _ in range(rng.randint(1, depth))))
        for _ in range(rng.randint(1, 4))
    ]
    for path in list(pool):
        if rng.random() < 0.6:
            pool += [path.child(k, hardened=True) for k in range(rng.randint(1, 3))]
    return pool
