"""Plans which DERIVE KEY, GET PUBKEY and SIGN commands cost the card least.

Every level of derivation takes the card about as long as a signature. It remembers the current key and the one above
it, and nothing of either may be relied on from before the session. The plan has the fewest child derivations, and
among those nearly always the fewest commands; see `plan_session` for what exactly is claimed. No command carries more
levels than somebody between host and card leaves alone (`first_block`). Pure: no card, no keys, no I/O.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections import Counter
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptnox_core.bip32 import MASTER, Path
from cryptnox_core.errors import UsageError
from cryptnox_core.first_block import COMPARED_LEVELS, LEVELS, in_steps
from cryptnox_core.wire import MAX_DEPTH, XPUB_MIN_DEPTH, Source

Steps: TypeAlias = tuple[int, ...]
_Uses: TypeAlias = "dict[Steps, list[_Use]]"
_NOWHERE = Path()


@dataclass(frozen=True, slots=True)
class Position:
    """Which k1 key is current on the card, as far as this session knows; None: unknown. Its parent is remembered
    too."""

    current: Path | None = None


UNKNOWN = Position()


@dataclass(frozen=True, slots=True)
class Derive:
    """DERIVE KEY: `path_suffix` from `source`; afterwards `result` is current. Empty only for the master key itself. At
    most 3 levels; 4 where the extended key of `result` is read next (`first_block`)."""

    path_suffix: Path
    source: Source
    result: Path


@dataclass(frozen=True, slots=True)
class ReadPublicKey:
    """GET PUBKEY of the current key, which is the one at `path`."""

    path: Path


@dataclass(frozen=True, slots=True)
class ReadExtended:
    """GET PUBKEY 02: the extended public key of the current key, which is the one at `path`."""

    path: Path


@dataclass(frozen=True, slots=True)
class ReadOnTheFly:
    """GET PUBKEY of `path`, which is `suffix` (1 to 3 levels) from `source`; the current key stays."""

    path: Path
    source: Source
    suffix: Path


@dataclass(frozen=True, slots=True)
class Sign:
    """SIGN request number `index` with the key at `path`: `suffix` from `source`, empty for the current key, which
    stays."""

    index: int
    path: Path
    source: Source
    suffix: Path


Step: TypeAlias = Derive | ReadPublicKey | ReadExtended | ReadOnTheFly | Sign


@dataclass(frozen=True, slots=True, order=True)
class PlanCost:
    """What a plan costs the card."""

    derivations: int
    """Child derivations: levels of all paths sent."""
    commands: int
    """APDUs: one a step."""
    verifications: int
    """VERIFY PIN needed on the way where a signature ends the PIN's validity (PROTOCOL.md 9): one before each DERIVE
    KEY or GET PUBKEY that follows a SIGN. Not part of `commands`."""


def plan_cost(steps: Iterable[Step]) -> PlanCost:
    """Counts a plan."""
    derivations = commands = verifications = 0
    after_signature = False
    for step in steps:
        commands += 1
        match step:
            case Derive():
                derivations += step.path_suffix.depth
            case ReadOnTheFly() | Sign():
                derivations += step.suffix.depth
        signs = isinstance(step, Sign)
        verifications += after_signature and not signs
        after_signature = signs
    return PlanCost(derivations, commands, verifications)


def lower_bound(paths: Iterable[Path]) -> int:
    """Child derivations that no sequence of commands can do without: the distinct keys on the given paths, without
    the master key, each of which the card has to derive once."""
    return len({path.steps[:depth] for path in paths for depth in range(1, path.depth + 1)})


def plan_session(
    *,
    fingerprint: bool = False,
    xpubs: Sequence[Path] = (),
    public_keys: Sequence[Path] = (),
    signatures: Sequence[Path] = (),
    known: Collection[Path] = (),
    at: Position = UNKNOWN,
) -> tuple[Step, ...]:
    """DOC"""
    _check(xpubs, public_keys, signatures)
    have = {path.steps for path in known}
    exported = {path for path in dict.fromkeys(xpubs) if not _follows(path, have)}
    have |= {path.steps for path in exported}
    singles = [path for path in public_keys if path.depth and not _follows(path, have)]
    reads: _Uses = {path.steps: [_Use(path, extended=path in exported)] for path in [*exported, *singles]}
    signs: _Uses = {}
    for index, path in enumerate(signatures):
        signs.setdefault(path.steps, []).append(_Use(path, index))
    own = [use.step(Source.CURRENT, _NOWHERE) for use in signs.pop((), ())]

    best: tuple[Step, ...] | None = None
    for end in _ends(reads, signs):
        plan = _Plan(at.current)
        if fingerprint or MASTER in public_keys:
            plan.move(MASTER.steps)
            plan.steps.append(ReadPublicKey(MASTER))
        plan = _phase(plan, reads, LEVELS, end)
        if own and not plan.current and plan.current is not None:
            plan.steps += own
            plan = _phase(plan, signs, MAX_DEPTH)
        else:
            plan = _phase(plan, signs, MAX_DEPTH)
            if own:
                plan.move(())
                plan.steps += own
        steps = tuple(_in_pieces(plan.steps))
        if best is None or plan_cost(steps) < plan_cost(best):
            best = steps
    return best or ()


def _check(xpubs: Sequence[Path], public_keys: Sequence[Path], signatures: Sequence[Path]) -> None:
    for path in (*xpubs, *public_keys, *signatures):
        if path.depth > MAX_DEPTH:
            raise UsageError(f"{path}: the card derives at most {MAX_DEPTH} levels")
    for path in xpubs:
        if path.depth < XPUB_MIN_DEPTH:
            raise UsageError(f"{path}: the card exports extended keys from {XPUB_MIN_DEPTH} levels on")


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

    def run(self, visits: Sequence[Steps], uses: Mapping[Steps, Sequence[_Use]]) -> None:
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



_DERIVATION = 1 << 24
_NEVER = 1 << 60


@dataclass(slots=True, eq=False)
class _Node:
    """A key of the tree, and what serving it and all below it costs."""

    steps: Steps
    uses: int = 0
    pinned: bool = False
    children: dict[int, _Node] = field(default_factory=dict)
    count: int = 0
    levels: int = 0
    deepest: int = 0
    side: bool = False
    served: int = 0
    spine: int = 0
    on: list[_Node] = field(default_factory=list)
    last: bool = False
    base: bool = False

    def add(self, steps: Steps) -> _Node:
        node = self
        for depth, step in enumerate(steps, 1):
            node = node.children.setdefault(step, _Node(steps[:depth]))
        return node

    def weigh(self, levels: int, held: Steps | None, end: Steps) -> None:
        depth, children = len(self.steps), list(self.children.values())
        for child in children:
            child.weigh(levels, held, end)
        below = max((child.deepest for child in children), default=0)
        self.count = self.uses + sum(child.count for child in children)
        self.levels = self.uses * depth + sum(child.levels for child in children)
        self.deepest = _NEVER if self.pinned else max(below, depth)
        # From the key above, when that is remembered
        make = 0 if self.steps == held else _DERIVATION + 1
        fly = (self.levels - self.count * (depth - 1)) * _DERIVATION if self.deepest < depth + levels else _NEVER
        side = make + (self.levels - self.count * depth) * _DERIVATION if below <= depth + levels else _NEVER
        self.side, self.served = side < fly, min(side, fly)
        if depth < len(end) and end[:depth] == self.steps:
            self.served = _NEVER
        # When it is remembered itself
        gains = {child: child.spine - child.served for child in children}
        self.on = [child for child in children if gains[child] < 0]
        self.last = self.steps == end[:-1] and bool(end)
        if not self.on and not self.last and children:
            least = min(children, key=gains.__getitem__)
            if gains[least] < depth * _DERIVATION:
                self.on = [least]
        rest = [child for child in children if child not in self.on]
        current = self.uses > 0 or (bool(rest) and not self.base and not any(child.side for child in rest))
        self.spine = current + sum(child.spine for child in self.on) + sum(child.served for child in rest)
        if self.last or not self.on:
            self.spine += depth * _DERIVATION
        if self.steps == held:
            self.spine -= _DERIVATION
        if any(child.steps == held for child in self.on) and any(child.side for child in rest):
            self.spine += _DERIVATION

    def runs(self, held: Steps | None, end: Steps) -> list[list[Steps]]:
        runs = [run for child in self.on for run in child.runs(held, end)]
        if held:
            runs.sort(key=lambda run: not any(s[:len(held)] == held for s in run))
        if self.last or not self.on:
            runs.append([end] if self.last else [])
        rest = [child for child in self.children.values() if child not in self.on]
        visits = [child.steps for child in rest if child.side and child.steps != end]
        visits.sort(key=lambda steps: steps != held)
        fed = visits or any(run and run[0][:-1] == self.steps for run in runs) or self.last
        if self.uses or (not self.base and any(child.count for child in rest) and not fed):
            visits.insert(0, self.steps)
        place = -1 if self.last else 0
        runs[place][:0] = visits
        if end:
            runs.sort(key=lambda run: run[-1:] == [end])
        return runs


def _phase(plan: _Plan, uses: _Uses, levels: int, end: Steps = ()) -> _Plan:
    best = None
    start = plan.current or None
    for base in dict.fromkeys([(), start or (), start[:-1] if start else ()]):
        trees = [_Node(()), _Node(())]
        for steps, wanted in uses.items():
            if steps != start:
                near = bool(base) and len(steps) > len(base) and steps[: len(base)] == base
                node = trees[not near].add(steps)
                node.uses, node.pinned = len(wanted), wanted[0].extended
        near = trees[0]
        for step in base:
            if not near.children:
                break
            near = near.children[step]
        visits = []
        for tree, held, stop in ((near, start, ()), (trees[1], None, end)):
            if stop:
                tree.add(stop)
            if tree.children:
                tree.base = True
                tree.weigh(levels, held, stop)
                visits += [steps for run in tree.runs(held, stop) for steps in run]
        tried = _Plan(None)
        tried.current, tried.steps = plan.current, list(plan.steps)
        tried.run(visits, uses)
        if best is None or plan_cost(_in_pieces(tried.steps)) < plan_cost(_in_pieces(best.steps)):
            best = tried
    return best


def _ends(reads: _Uses, signs: _Uses) -> list[Steps]:
    if not reads or not signs:
        return [()]
    nodes = [Counter(steps[:depth] for steps in uses for depth in range(len(steps) + 1) for _ in uses[steps]) for uses in (reads, signs)]
    inner = {steps[:-1] for tree in nodes for steps in tree if steps}
    found = {}
    for steps in {**nodes[0], **nodes[1]}:
        if steps and all(tree[steps[:-1]] for tree in nodes):
            kind = steps if steps in inner else (steps[:-1], *(tree[steps] for tree in nodes), steps in reads and reads[steps][0].extended)
            found.setdefault(kind, steps)
    return [(), *sorted(found.values(), key=lambda steps: -nodes[1][steps[:-1]])[:24]]
