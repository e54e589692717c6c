"""Plans which DERIVE KEY, GET PUBKEY and SIGN commands cost the card least.

Every level of derivation takes the card about as long as a signature. It remembers the current key and the one above
it, and nothing of either may be relied on from before the session. No command carries more levels than somebody between
host and card leaves alone (`first_block`). Pure: no card, no keys, no I/O.

**The rule.** DERIVE KEYs come in runs that begin at the master key. In a run the remembered parent only moves down,
along a *spine*, at one derivation a level. A child of a key on the spine can be made current, as a *side*, for one
derivation; what is below a side, or below the spine, is used *on the fly*, at one derivation a level and use. So from
the leaves up each key is served from the key above, as a side where two uses or more are at it or below, else on the
fly; or spines go through it, where that costs less (`_Node.weigh`). Only where to begin, and which key to end the
reading at, are tried one by one (`_phase`, `_end`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptnox_core.bip32 import MASTER, Path
from cryptnox_core.errors import UsageError
from cryptnox_core.first_block import COMPARED_LEVELS, LEVELS, in_steps
from cryptnox_core.wire import MAX_DEPTH, XPUB_MIN_DEPTH, Source

Steps: TypeAlias = tuple[int, ...]
_Uses: TypeAlias = "Mapping[Steps, Sequence[_Use]]"
_DERIVATION = 1 << 24
"""Weight of a child derivation; a command weighs 1."""
_NEVER = 1 << 60
_MOST_ENDS = 24
_NOWHERE = Path()


@dataclass(frozen=True, slots=True)
class Position:
    """Which k1 key is current on the card, as far as this session knows. Its parent is remembered too."""

    current: Path | None = None
    """None: unknown."""


UNKNOWN = Position()


@dataclass(frozen=True, slots=True)
class Derive:
    """DERIVE KEY: another key becomes current."""

    path_suffix: Path
    """Levels from `source`, at most 3; 4 where the extended key of `result` is read next (`first_block`). Empty only
    for the master key itself."""
    source: Source
    result: Path
    """What is current afterwards."""


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
    """GET PUBKEY of the key at `path`; the current key stays."""

    path: Path
    source: Source
    suffix: Path
    """The levels from `source` to `path`, 1 to 3."""


@dataclass(frozen=True, slots=True)
class Sign:
    """SIGN with the key at `path`; the current key stays."""

    index: int
    """The request's number, from 0."""
    path: Path
    source: Source
    suffix: Path
    """The levels from `source` to `path`; empty for the current key."""


Step: TypeAlias = Derive | ReadPublicKey | ReadExtended | ReadOnTheFly | Sign


@dataclass(frozen=True, slots=True, order=True)
class PlanCost:
    """What a plan costs the card."""

    derivations: int
    """Child derivations: levels of all paths sent."""
    commands: int
    """APDUs: one a step."""
    verifications: int
    """VERIFY PIN needed on the way where a signature ends the PIN's validity (docs/emulator.md, the reading
    `pin-ends-at-sign`): one before each DERIVE KEY or GET PUBKEY that follows a SIGN. Not part of `commands`."""


def plan_cost(steps: Iterable[Step]) -> PlanCost:
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


def plan_session(
    *,
    fingerprint: bool = False,
    xpubs: Sequence[Path] = (),
    public_keys: Sequence[Path] = (),
    signatures: Sequence[Path] = (),
    known: Collection[Path] = (),
    at: Position = UNKNOWN,
) -> tuple[Step, ...]:
    """The cheapest steps that read the master key, extended keys and public keys, and then sign.

    `fingerprint`: read the master key.
    `xpubs`: paths of 3 to 8 levels, to read the extended key at.
    `public_keys`: paths of 0 to 8 levels. What follows from an extended key of this plan or of `known` is the host's to
    derive and has no step; the same path is read once.
    `signatures`: paths of 0 to 8 levels, in any order, with repeats: one Sign for each, `index` is its place.
    `known`: paths whose extended key the host has.
    `at`: where the steps start.
    Requires: the PIN verified before the first step that is no Sign; it goes along in every SIGN. Where a signature
    ends its validity it is verified again before the next Derive (`PlanCost.verifications`).
    Raises: UsageError for a path of a wrong depth.

    The fewest child derivations for one account or two, elsewhere at most one more: docs/performance.md, "The
    derivation
    planner", with what cannot be had.
    """
    _check(xpubs, public_keys, signatures)
    have = {path.steps for path in known}
    exported = {path for path in dict.fromkeys(xpubs) if not _follows(path, have)}
    have |= {path.steps for path in exported}
    singles = [path for path in public_keys if path.depth and not _follows(path, have)]
    reads = {path.steps: [_Use(path, extended=path in exported)] for path in [*exported, *singles]}
    signs: dict[Steps, list[_Use]] = {}
    for index, path in enumerate(signatures):
        signs.setdefault(path.steps, []).append(_Use(path, index))
    own = [use.step(Source.CURRENT, _NOWHERE) for use in signs.pop((), ())]

    start = None if at.current is None else at.current.steps
    steps: list[Step] = []
    if fingerprint or MASTER in public_keys:
        steps, start = [*_move(start, ()), ReadPublicKey(MASTER)], ()
    steps += _phase(start, reads, LEVELS, _end(start, reads, signs))
    middle = _current(start, steps)
    if own and middle == ():
        steps += own
    steps += _phase(middle, signs, MAX_DEPTH)
    if own and middle != ():
        steps += [*_move(_current(start, steps), ()), *own]
    return tuple(_in_pieces(steps))


def _check(xpubs: Sequence[Path], public_keys: Sequence[Path], signatures: Sequence[Path]) -> None:
    for path in (*xpubs, *public_keys, *signatures):
        if path.depth > MAX_DEPTH:
            raise UsageError(f"{path}: the card derives at most {MAX_DEPTH} levels")
    for path in xpubs:
        if path.depth < XPUB_MIN_DEPTH:
            raise UsageError(f"{path}: the card exports extended keys from {XPUB_MIN_DEPTH} levels on")


def _in_pieces(steps: Sequence[Step]) -> Iterator[Step]:
    """The same with no DERIVE KEY of more levels than the channel protects: it becomes several (`first_block`).

    Four levels stay together where the extended key is read next, which is compared, and no single key afterwards,
    which nothing would compare if the command were sent again.
    """
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


def _current(start: Steps | None, steps: Sequence[Step]) -> Steps | None:
    return next((step.result.steps for step in reversed(steps) if isinstance(step, Derive)), start)


def _below(steps: Steps, base: Steps) -> bool:
    return len(steps) > len(base) and steps[: len(base)] == base


def _nearest(current: Steps | None, target: Steps) -> tuple[Source, Path]:
    """The nearest key above `target` that is remembered where `current` is, and the levels from there."""
    if current and _below(target, current):
        return Source.CURRENT, Path(target[len(current) :])
    if current and len(current) > 1 and _below(target, current[:-1]):
        return Source.PARENT, Path(target[len(current) - 1 :])
    return Source.MASTER, Path(target)


def _move(current: Steps | None, target: Steps) -> list[Step]:
    """Makes a key current, where it is not."""
    source, suffix = _nearest(current, target)
    return [] if current == target else [Derive(suffix, source, Path(target))]


def _run(start: Steps | None, visits: Sequence[Steps], uses: _Uses) -> list[Step]:
    """Make the keys of `visits` current in turn, and put each use where it costs least.

    Of several such places the last: uses that can wait for the next Derive do, so that a PIN ended by a signature is
    verified again as seldom as may be.
    """
    stops = [start, *visits]
    current = {stop: place for place, stop in enumerate(stops) if stop is not None}
    remembered = {stop[:-1]: place for place, stop in enumerate(stops) if stop} | {(): len(stops) - 1}
    for stop, place in current.items():
        remembered[stop] = max(place, remembered.get(stop, 0))
    due: list[list[_Use]] = [[] for _ in stops]
    for target, wanted in uses.items():
        above = (target[:depth] for depth in range(len(target) - 1, -1, -1))
        place = current[target] if target in current else next(remembered[base] for base in above if base in remembered)
        due[place] += wanted
    steps: list[Step] = []
    now = start
    for here, wanted in zip(stops, due, strict=True):
        if here is not None:
            steps += _move(now, here)
            now = here
        for use in sorted(wanted, key=lambda use: not use.extended):  # right after the Derive: see `_in_pieces`
            source, suffix = (Source.CURRENT, _NOWHERE) if use.path.steps == now else _nearest(now, use.path.steps)
            steps.append(use.step(source, suffix))
    return steps


@dataclass(slots=True, eq=False)
class _Node:
    """A key of the tree: how often it is used, and whether it must be current for that (`pinned`)."""

    steps: Steps
    uses: int = 0
    pinned: bool = False
    children: dict[int, _Node] = field(default_factory=dict)
    # From here on: what `weigh` finds.
    count: int = 0
    """Uses here and below."""
    levels: int = 0
    """Their depths together."""
    deepest: int = 0
    """Depth of the deepest of them."""
    side: bool = False
    """Served as a side, where the key above is on a spine and it is not; else on the fly."""
    served: int = 0
    """Cost of that."""
    spine: int = 0
    """Cost where it is on a spine."""
    on: Collection[_Node] = ()
    """Where the spines go on."""
    ends: bool = False
    """A spine ends here."""

    def add(self, steps: Steps) -> _Node:
        node = self
        for depth, step in enumerate(steps, 1):
            if step not in node.children:
                node.children[step] = _Node(steps[:depth])
            node = node.children[step]
        return node

    def weigh(self, limit: int, held: Steps, end: Steps) -> None:
        """Choose how each key is served, from the leaves up.

        `limit`: levels on the fly.
        `held`: the key that is current at the start.
        `end`: the one to be current in the end, a side of a spine that ends above it.
        """
        depth, children = len(self.steps), self.children.values()
        for child in children:
            child.weigh(limit, held, end)
        below = max((child.deepest for child in children), default=0)
        self.count = self.uses + sum(child.count for child in children)
        self.levels = self.uses * depth + sum(child.levels for child in children)
        self.deepest = _NEVER if self.pinned else max(below, depth)

        make = 0 if self.steps == held else _DERIVATION + 1
        side = make + (self.levels - self.count * depth) * _DERIVATION if below <= depth + limit else _NEVER
        fly = (self.levels - self.count * (depth - 1)) * _DERIVATION if self.deepest < depth + limit else _NEVER
        self.side, self.served = side < fly, _NEVER if _below(end, self.steps) else min(side, fly)

        whole, last = depth * _DERIVATION, bool(end) and self.steps == end[:-1]
        self.on = {child for child in children if child.spine < child.served}
        if not self.on and not last and children:
            cheapest = min(children, key=lambda child: child.spine - child.served)
            if cheapest.spine - cheapest.served < whole:
                self.on = {cheapest}
        self.ends = last or not self.on
        rest = [child for child in children if child not in self.on]
        itself = self.uses > 0 or (bool(rest) and not any(child.side for child in rest))
        self.spine = self.ends * whole + itself
        self.spine += sum(child.spine for child in self.on) + sum(child.served for child in rest)

    def runs(self, held: Steps, end: Steps, begins: bool = True) -> list[list[Steps]]:
        """The keys to make current, spine by spine: `held` first, `end` last. Where spines begin one is remembered."""

        def place(child: _Node) -> tuple[bool, bool]:
            return child.steps == end[: len(child.steps)], child.steps != held

        order = sorted(self.children.values(), key=place)
        runs = [run for child in order if child in self.on for run in child.runs(held, end, begins=False)]
        last = bool(end) and self.steps == end[:-1]
        if self.ends:
            runs.append([end] if last else [])
        rest = [child for child in order if child not in self.on]
        visits = [child.steps for child in rest if child.side and child.steps != end]
        parent = visits or any(run and run[0][:-1] == self.steps for run in runs)
        if self.uses or (not begins and not parent and any(child.count for child in rest)):
            visits.insert(0, self.steps)
        first = -1 if last else 0
        runs[first] = visits + runs[first]
        return runs


def _visits(uses: _Uses, limit: int, base: Steps = (), held: Steps = (), end: Steps = ()) -> list[Steps]:
    """The keys to make current for uses below `base`, which is remembered at first."""
    if not uses and not end:
        return []
    root = _Node(())
    for steps, wanted in uses.items():
        node = root.add(steps)
        node.uses, node.pinned = len(wanted), wanted[0].extended
    root.add(end)
    top = root.add(base)
    top.weigh(limit, held, end)
    return [steps for run in top.runs(held, end) for steps in run]


def _phase(start: Steps | None, uses: _Uses, limit: int, end: Steps = ()) -> list[Step]:
    """The cheapest of some plans.

    All from the master key; first what is below the key current at the start, or below its parent; and what is below
    it, with as much else on the fly: the parent's other keys, or all.
    """
    held = start or ()
    left = {steps: wanted for steps, wanted in uses.items() if steps != held}
    plans = []
    for base, parent in dict.fromkeys([((), None), (held, None), (held[:-1], None), (held, held[:-1]), (held, ())]):
        near = {steps: wanted for steps, wanted in left.items() if base and _below(steps, base)}
        fly = {steps for steps in left if parent is not None and _below(steps, parent) and steps not in near}
        far = {steps: wanted for steps, wanted in left.items() if steps not in near and steps not in fly}
        if any(_nearest(start, steps)[1].depth > limit or uses[steps][0].extended for steps in fly):
            continue
        if base and _below(end, base):
            visits = [*_visits(far, limit), *_visits(near, limit, base, held, end)]
        else:
            visits = [*_visits(near, limit, base, held), *_visits(far, limit, end=end)]
        plans.append(_run(start, visits, uses))
    return min(plans, key=plan_cost)


def _end(start: Steps | None, reads: _Uses, signs: _Uses) -> Steps:
    """The key to be current when the reading is over, so that the signing goes on from it; empty for whichever.

    It, or its parent, is above keys to read and keys to sign with. Leaves of equal standing count once.
    """
    if not reads or not signs:
        return ()
    reads, signs = _thinned(reads), _thinned(signs)
    read, signed = ({steps[:depth] for steps in uses for depth in range(len(steps) + 1)} for uses in (reads, signs))
    inner = {steps[:-1] for steps in read | signed if steps}
    ends: dict[object, tuple[int, Steps]] = {}
    for steps in sorted(read | signed):
        if steps and steps[:-1] in read & signed:
            standing = steps if steps in inner else (steps[:-1], steps in read, len(signs.get(steps, ())))
            saving = len(steps) - (steps not in read) - (steps not in signed)
            ends.setdefault(standing, (saving, steps))
    phases = _phase(start, reads, LEVELS), _phase(None, signs, MAX_DEPTH)
    alone = sum(plan_cost(phase).derivations for phase in phases)
    best: tuple[PlanCost, Steps] | None = None
    for saving, end in [(MAX_DEPTH, ()), *sorted(ends.values(), reverse=True)[:_MOST_ENDS]]:
        if best and best[0].derivations < alone - saving:
            break
        reading = _phase(start, reads, LEVELS, end)
        signing = _phase(_current(start, reading), signs, MAX_DEPTH)
        cost = plan_cost(_in_pieces([*reading, *signing]))
        best = min(best or (cost, end), (cost, end), key=lambda found: found[0])
    return best[1] if best else ()


def _thinned(uses: _Uses) -> _Uses:
    """The same with at most 8 single uses below each key: they cost as much as the longest spine, and more change
    no choice."""
    seen: Counter[Steps] = Counter()
    kept = {}
    for steps, wanted in uses.items():
        single = len(wanted) == 1 and not wanted[0].extended
        seen[steps[:-1]] += single
        if not single or seen[steps[:-1]] <= MAX_DEPTH:
            kept[steps] = wanted
    return kept
