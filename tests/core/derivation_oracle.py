"""The optimal planner: what `cryptnox_core.derivation.plan_session` is compared with.

The fewest child derivations, and among those nearly always the fewest commands: see `plan_session`. The search behind
it is `derivation_search`; `tests/core/test_derivation.py` compares it with an exhaustive search over all sequences of
commands, and the product's plain rule with both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cryptnox_core.bip32 import MASTER, Path
from cryptnox_core.derivation import (
    UNKNOWN,
    Derive,
    Position,
    ReadExtended,
    ReadOnTheFly,
    ReadPublicKey,
    Sign,
    Step,
    plan_cost,
)
from cryptnox_core.first_block import COMPARED_LEVELS, LEVELS, in_steps
from cryptnox_core.wire import MAX_DEPTH, Source
from tests.core.derivation_search import Answers, Node, Search, Steps, build_tree

_MOST_JUNCTIONS = 24
_NOWHERE = Path()


def plan_session(
    *,
    fingerprint: bool = False,
    xpubs: Sequence[Path] = (),
    public_keys: Sequence[Path] = (),
    signatures: Sequence[Path] = (),
    known: Collection[Path] = (),
    at: Position = UNKNOWN,
) -> tuple[Step, ...]:
    """The cheapest steps that read the master key (`fingerprint`), extended keys and public keys, and then sign.

    xpubs: 3 to 8 levels each. public_keys: 0 to 8; what follows from an extended key of this plan or of `known`
    (paths whose extended key the host has) is the host's to derive and has no step; the same path is read once.
    signatures: 0 to 8 levels; one Sign for each, `index` is its place; any order, with repeats. Reading comes before
    signing.

    Steps start at `at`. The PIN must be verified before the first step that is no Sign, and goes along in every SIGN.
    Where a signature ends its validity it is verified again before the next Derive (`PlanCost.verifications`).

    Optimal in child derivations over all sequences that read before they sign, where the position is unknown, or is
    known and there is only reading or only signing, and no master key is asked for besides; in commands too, but for a
    few plans with paths of more than three levels, which take one or two more. The sole limit is for trees with very
    many keys to end the reading at: the 24 with most signatures near are then compared.
    The bound of `lower_bound` is met for one account, but not where two branches that both fork have to be visited:
    two accounts with both chains and three keys each cost 22, not 20, since the card forgets the first fork.
    """
    have = {path.steps for path in known}
    exported = {path for path in dict.fromkeys(xpubs) if not _follows(path, have)}
    have |= {path.steps for path in exported}
    read = dict.fromkeys([*exported, *(path for path in public_keys if path.depth and not _follows(path, have))])
    wanted: dict[Path, list[int]] = {}
    for index, path in enumerate(signatures):
        wanted.setdefault(path, []).append(index)

    best: tuple[Step, ...] | None = None
    for continued in (True, False):
        plan = _Plan(at.current)
        if fingerprint or MASTER in public_keys:
            plan.move(MASTER.steps)
            plan.steps.append(ReadPublicKey(MASTER))
        reading, signing = _choose(plan.current, read, frozenset(path.steps for path in exported), wanted, continued)
        plan.visit(reading, {path.steps: [_Use(path, extended=path in exported)] for path in read})
        own = [Sign(index, MASTER, Source.CURRENT, _NOWHERE) for index in wanted.get(MASTER, ())]
        if own and plan.current == MASTER.steps:
            plan.steps += own
            own = []
        plan.visit(
            signing,
            {path.steps: [_Use(path, index) for index in indexes] for path, indexes in wanted.items() if path.depth},
        )
        if own:
            plan.move(MASTER.steps)
            plan.steps += own
        steps = tuple(_in_pieces(plan.steps))
        if best is None or plan_cost(steps) < plan_cost(best):
            best = steps
    return best or ()


def _in_pieces(steps: Sequence[Step]) -> Iterator[Step]:
    """The same with no DERIVE KEY of more levels than the channel protects (`first_block`): it becomes several, each
    from the key of the one before. Four levels stay together where the extended key is read next, which the runner
    compares, and no single key afterwards, which nothing would compare if the command were sent again."""
    single = max((at for at, step in enumerate(steps) if isinstance(step, ReadPublicKey | ReadOnTheFly)), default=-1)
    for at, step in enumerate(steps):
        if not isinstance(step, Derive) or step.path_suffix.depth <= LEVELS:
            yield step
            continue
        compared = steps[at + 1 : at + 2] == [ReadExtended(step.result)] and single < at
        if compared and step.path_suffix.depth <= COMPARED_LEVELS:
            yield step
            continue
        source, left = step.source, step.path_suffix.depth
        for piece in in_steps(step.path_suffix):
            left -= piece.depth
            yield Derive(piece, source, Path(step.result.steps[: step.result.depth - left]))
            source = Source.CURRENT


def _follows(path: Path, have: Collection[Steps]) -> bool:
    """Whether the host can derive a key from an extended key it has."""
    return any(path.steps[:depth] in have and Path(path.steps[depth:]).is_unhardened for depth in range(path.depth + 1))


@dataclass(frozen=True, slots=True)
class _Use:
    """One reading, or signature number `index`."""

    path: Path
    index: int | None = None
    extended: bool = False

    def step(self, source: Source, suffix: Path) -> Step:
        if self.index is not None:
            return Sign(self.index, self.path, source, suffix)
        if suffix.depth:
            return ReadOnTheFly(self.path, source, suffix)
        return ReadExtended(self.path) if self.extended else ReadPublicKey(self.path)


class _Plan:
    """Steps so far and the key that is current after them."""

    def __init__(self, current: Path | None) -> None:
        self.steps: list[Step] = []
        self.current = None if current is None else current.steps

    def _remembered(self) -> list[tuple[Source, Steps]]:
        """What a path can start from, cheapest command first."""
        if not self.current:
            return [(Source.MASTER, ())]
        return [(Source.CURRENT, self.current), (Source.PARENT, self.current[:-1]), (Source.MASTER, ())]

    def _nearest(self, target: Steps) -> tuple[Source, Path]:
        """The nearest remembered key above `target`, and the levels from there."""
        above = [
            (len(steps), source)
            for source, steps in self._remembered()
            if len(steps) < len(target) and target[: len(steps)] == steps
        ]
        depth, source = max(above, key=lambda found: (found[0], found[1] == Source.MASTER))
        return source, Path(target[depth:])

    def move(self, target: Steps) -> None:
        """Makes a key current."""
        if self.current == target:
            return
        source, suffix = self._nearest(target) if target else (Source.MASTER, _NOWHERE)
        self.steps.append(Derive(suffix, source, Path(target)))
        self.current = target

    def visit(self, visits: Sequence[Steps], uses: Mapping[Steps, Sequence[_Use]]) -> None:
        """Makes the keys of `visits` current in turn and puts each use where it costs least, the last such place:
        uses that can wait for the next Derive do, so that a PIN ended by a signature is verified again as seldom as
        may be."""
        stops = [self.current, *visits]
        current = {steps: place for place, steps in enumerate(stops) if steps is not None}
        remembered = {steps[:-1]: place for place, steps in enumerate(stops) if steps} | {(): len(stops) - 1}
        for steps, place in current.items():
            remembered[steps] = max(place, remembered.get(steps, 0))
        due: list[list[_Use]] = [[] for _ in stops]
        for target, wanted in uses.items():
            if target in current:
                due[current[target]] += wanted
            elif target:
                nearest = next(
                    target[:depth] for depth in range(len(target) - 1, -1, -1) if target[:depth] in remembered
                )
                due[remembered[nearest]] += wanted
        for place, stop in enumerate(stops):
            if place and stop is not None:
                self.move(stop)
            for use in sorted(due[place], key=lambda use: not use.extended):  # right after the Derive: see `_in_pieces`
                here = self.current == use.path.steps
                source, suffix = (Source.CURRENT, _NOWHERE) if here else self._nearest(use.path.steps)
                self.steps.append(use.step(source, suffix))


def _choose(
    current: Steps | None,
    read: Collection[Path],
    exported: frozenset[Steps],
    wanted: Mapping[Path, Sequence[int]],
    continued: bool,
) -> tuple[list[Steps], list[Steps]]:
    """The keys to make current while reading and while signing; `continued`: go on from the current key."""
    reading = build_tree({path.steps: 1 for path in read}, exported)
    signing = build_tree({path.steps: len(indexes) for path, indexes in wanted.items()})
    start = current if continued else None
    if not reading.children or not signing.children:
        read_at = _search(reading, start, LEVELS).visits() if reading.children else []
        return read_at, _search(signing, start).visits() if signing.children else []
    if start:
        visits = _search(reading, start, LEVELS).visits()
        return visits, _search(signing, visits[-1] if visits else start).visits()
    ends = _junctions(reading, signing)
    for end in ends:
        reading.add(end)
        signing.add(end)
    kept_reading: Answers = {}
    kept_signing: Answers = {}
    best = (Search(reading, kept_reading, levels=LEVELS), Search(signing, {}))
    for end in ends:
        pair = (Search(reading, kept_reading, end=end, levels=LEVELS), Search(signing, kept_signing, start=end))
        if pair[0].cost + pair[1].cost < best[0].cost + best[1].cost:
            best = pair
    return best[0].visits(), best[1].visits()


def _search(tree: Node, start: Steps | None, levels: int = MAX_DEPTH) -> Search:
    """A search from a known position, where that is of use: its parent is on the way to a key of the tree. `levels`: of
    a key used on the fly; a signature proves itself however deep its key is."""
    if not start or tree.find(start[:-1]) is None:
        return Search(tree, {}, levels=levels)
    tree.add(start)
    return Search(tree, {}, start=start, levels=levels)


def _junctions(reading: Node, signing: Node) -> list[Steps]:
    """Keys that may with profit be current when the reading is over and the signing begins: what is remembered then,
    the key or its parent, is above a key to read and above one to sign with. Leaves of equal standing count once."""
    uses: dict[Steps, int] = {}
    for node in reversed(list(signing.walk())):
        uses[node.steps] = node.uses + sum(uses[child.steps] for child in node.children.values())
    steps_of_all = dict.fromkeys(node.steps for tree in (reading, signing) for node in tree.walk())
    nodes = {steps: (reading.find(steps), signing.find(steps)) for steps in steps_of_all}
    found: dict[tuple[object, ...], Steps] = {}
    for steps, (read, signed) in nodes.items():
        if not steps or not all(nodes[steps[:-1]]):
            continue
        inner = bool((read and read.children) or (signed and signed.children))
        standing = tuple((node.uses, node.pinned) if node else (0, False) for node in (read, signed))
        found.setdefault((steps,) if inner else (steps[:-1], *standing), steps)
    return sorted(found.values(), key=lambda steps: -uses[steps[:-1]])[:_MOST_JUNCTIONS]
