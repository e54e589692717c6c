"""Which keys to make current, and in which order, so that the card derives least: the search of `derivation_oracle`.

The card remembers one node of the key tree, the current key, and the node above it. From one current key it can go,
or work on the fly, below itself and below its parent; to anything else only from the master key. So a sequence of
DERIVE KEYs falls into runs that begin at the master key. Within a run the remembered parent only moves down: it
follows a *spine*, a path from the root, and each child of a spine node can be made current (a *side*) for one
derivation. What hangs below a spine node or a side without being one itself is used on the fly, at one derivation a
level and use, where that is not too far below for one command. A spine costs its length.

The cheapest set of spines follows by dynamic programming over the tree. Per node: what its subtree costs when served
on the fly from a node above, when the node is a side, and when spines run through it, with three marks: `regular` (a
spine that starts at the master key), `free` (the one that goes on from the key that is current at the start),
`explicit` (the node itself is made current on the way, so that its own key can be used). Costs are one integer: child
derivations first, DERIVE KEY commands second. Time is linear in the number of nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from cryptnox_core.wire import MAX_DEPTH

Steps: TypeAlias = tuple[int, ...]

DERIVATION = 1 << 24
"""Weight of a child derivation; a DERIVE KEY command weighs 1."""
MAKE = DERIVATION + 1
"""A child of a remembered key made current."""
NEVER = 1 << 60
_FLY, _SIDE = "fly", "side"

_REGULAR, _FREE, _VIA_HELD, _FED, _NEEDED = 1, 2, 4, 8, 16
"""Marks while the branches of a node are gone through: a regular and the free spine among them; the free one goes on
below the key current at the start, not below its parent; a current key leaves the node remembered as its parent;
something is used on the fly from the node."""


@dataclass(slots=True, eq=False)
class Node:
    """A key of the tree: how often it is used, and whether it must be current for that (`pinned`: its extended key is
    read)."""

    steps: Steps
    uses: int = 0
    pinned: bool = False
    children: dict[int, Node] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """Levels below the master key."""
        return len(self.steps)

    def walk(self) -> Iterator[Node]:
        """The node and all below it."""
        yield self
        for child in self.children.values():
            yield from child.walk()

    def find(self, steps: Steps) -> Node | None:
        """The node at a path, where there is one."""
        node: Node | None = self
        for step in steps:
            node = node.children.get(step) if node else None
        return node

    def add(self, steps: Steps) -> Node:
        """The node at a path, made where there is none."""
        node = self
        for depth, step in enumerate(steps, 1):
            node = node.children.setdefault(step, Node(steps[:depth]))
        return node


def build_tree(uses: Mapping[Steps, int], pinned: frozenset[Steps] = frozenset()) -> Node:
    """The tree of the given paths; the master key's own uses are not part of the search."""
    root = Node(())
    for steps, count in uses.items():
        if steps:
            node = root.add(steps)
            node.uses, node.pinned = count, steps in pinned
    return root


class _Label(NamedTuple):
    regular: int
    free: int
    explicit: int


class _Picked(NamedTuple):
    """Choices for the branches of a node, as a linked list."""

    before: _Picked | None
    branch: Node
    tags: tuple[str | _Label, ...]


@dataclass(slots=True)
class _Answer:
    """What a subtree costs: on the fly from depth d (`fly - d * fly_uses * DERIVATION`), as a side, with spines
    through it. `deepest`: of the keys that are used on the fly."""

    fly: int
    fly_uses: int
    side: int
    deepest: int
    spines: dict[_Label, tuple[int, _Picked | None]] = field(default_factory=dict)


Answers: TypeAlias = dict[Steps, _Answer]


_Table: TypeAlias = "dict[int, tuple[int, _Picked | None]]"
"""By marks: the least cost, and what was picked for it."""


class Search:
    """One phase: the keys of `root` are used in any order, from the key current at `start` (None: unknown or of no
    use), and afterwards `end` is current (None: whatever). Not both. `cost` is the minimum, `visits()` the keys to
    make current.

    `answers` keeps what does not depend on start and end, for further searches of the same tree. `levels`: how far
    below a remembered key one can be used on the fly.
    """

    def __init__(
        self,
        root: Node,
        answers: Answers,
        start: Steps | None = None,
        end: Steps | None = None,
        *,
        levels: int = MAX_DEPTH,
    ) -> None:
        self._root = root
        self._answers = answers
        self._levels = levels
        self._held = start or None
        self._end = end or None
        self._base = self._held[:-1] if self._held else None
        self._stay: tuple[int, _Picked | None] = (NEVER, None)
        self._own_answers: dict[Steps, _Answer] = {}
        special = self._held or self._end or ()
        self._special = {special[:depth] for depth in range(len(special) + 1)} | self._doubtful_leaf()
        answer = self._solve(root)
        self._label, (self.cost, _) = min(
            ((label, found) for label, found in answer.spines.items() if label.regular),
            key=lambda item: item[1][0],
        )

    def _doubtful_leaf(self) -> set[Steps]:
        """Beside the starting key a lone leaf that is used twice may be better on the fly: making it current forgets
        the starting key, which costs the derivation that it saves."""
        base = None if self._base is None else self._root.find(self._base)
        if base is None:
            return set()
        leaves = [leaf for leaf in base.children.values() if not leaf.children and leaf.steps != self._held]
        sides = [leaf for leaf in leaves if _is_side_leaf(leaf)]
        return {leaf.steps for leaf in sides if len(sides) == 1 and leaf.uses == 2 and not leaf.pinned}

    def _solve(self, node: Node) -> _Answer:
        kept = self._own_answers if node.steps in self._special else self._answers
        if node.steps not in kept:
            kept[node.steps] = self._solve_anew(node)
        return kept[node.steps]

    def _solve_anew(self, node: Node) -> _Answer:
        held, depth = node.steps == self._held, node.depth
        fly, fly_uses = (0, 0) if held else (node.uses * depth * DERIVATION, node.uses)
        if node.steps == self._end or (node.pinned and not held):
            fly = NEVER
        deepest = depth if node.uses and not held else 0
        below, singles, sides = 0, 0, 0
        branches = []
        for child in node.children.values():
            if child.children or child.steps in self._special:
                branches.append(child)
                continue
            if not child.uses:
                continue
            singles += not _is_side_leaf(child)
            sides += _is_side_leaf(child)
            fly += NEVER if child.pinned else child.uses * (depth + 1) * DERIVATION
            below += NEVER if child.pinned else child.uses * DERIVATION
            fly_uses += child.uses
            deepest = max(deepest, child.depth)
        marks = (_FED if sides else 0) | (_NEEDED if singles else 0)
        table: _Table = {marks: (singles * DERIVATION + sides * MAKE, None)}
        for branch in branches:
            answer = self._solve(branch)
            fly += answer.fly
            fly_uses += answer.fly_uses
            below += answer.fly - depth * answer.fly_uses * DERIVATION
            deepest = max(deepest, answer.deepest)
            table = self._with_branch(table, node, branch, answer)
        if deepest - depth > self._levels:
            below = NEVER
        answer = _Answer(min(fly, NEVER), fly_uses, min(below + (0 if held else MAKE), NEVER), deepest)
        if held:
            answer.fly, answer.fly_uses, answer.deepest = answer.side, 0, 0
        if node.children or not depth:
            if node.steps == self._base:
                self._finish_base(node, table, answer)
            else:
                self._finish(node, table, answer)
        return answer

    def _with_branch(self, table: _Table, node: Node, branch: Node, answer: _Answer) -> _Table:
        """The table with one more branch, which is used on the fly, made a side, or has spines through it."""
        depth, held, end = node.depth, branch.steps == self._held, branch.steps == self._end
        options: list[tuple[int, int, tuple[str | _Label, ...]]] = []
        if not end and answer.deepest - depth <= self._levels:
            cost = answer.fly - depth * answer.fly_uses * DERIVATION
            options.append((_NEEDED if answer.fly_uses else 0, cost, (_FLY,)))
        options.append((0 if held else _FED, answer.side, (_SIDE,)))
        no_free = self._base is None or (depth < len(self._base) and node.steps in self._special)
        # A spine that ends here and the branch as a side do no worse than a spine through the branch at this cost.
        dominated = answer.side + 2 * depth * DERIVATION if node.steps != self._base and not end else NEVER
        for label, (cost, _) in answer.spines.items():
            if (label.free and no_free) or cost >= dominated:
                continue
            marks = (_REGULAR if label.regular else 0) | (_FREE if label.free else 0)
            if held and label.free:
                marks |= _VIA_HELD
            if end:
                options.append((marks | _FED, cost + MAKE, (_SIDE, label)))
            else:
                options.append((marks | (_FED if label.explicit else 0), cost, (label,)))
        grown: _Table = {}
        for before, (cost, picked) in table.items():
            for marks, extra, tags in options:
                total = cost + extra
                if extra >= NEVER or before & marks & _FREE:
                    continue
                key = before | marks
                if key not in grown or total < grown[key][0]:
                    grown[key] = (total, _Picked(picked, branch, tags))
        return grown

    def _finish(self, node: Node, table: _Table, answer: _Answer) -> None:
        """Spines through a node: where no branch has one, one ends here."""
        depth, current_anyway = node.depth, node.steps in (self._held, self._end)
        used = not current_anyway and (node.uses > 0 or node.pinned)
        end_here = self._end is not None and node.steps == self._end[:-1]
        for marks, (cost, picked) in table.items():
            regular_here, free_here = int(marks & _REGULAR > 0), int(marks & _FREE > 0)
            kinds = [(regular_here, free_here)]
            if end_here or not (regular_here or free_here):
                cost += depth * DERIVATION
                kinds = [(1, free_here)] if end_here else [(1, 0), (0, 1)]
            starved = marks & _NEEDED and not marks & _FED and not current_anyway and depth > 0
            for explicit in (0, 1):
                if (explicit and (current_anyway or not depth)) or (not explicit and (used or starved)):
                    continue
                for regular, free in kinds:
                    _keep(answer, _Label(regular, free, explicit), cost + explicit, picked)

    def _finish_base(self, node: Node, table: _Table, answer: _Answer) -> None:
        """The parent of the key current at the start: remembered without a derivation, until the free spine leaves
        it."""
        depth = node.depth
        used = node.uses > 0 or node.pinned
        for marks, (cost, picked) in table.items():
            if marks & _FREE:
                cost -= depth * DERIVATION + (DERIVATION if marks & _VIA_HELD else 0)
            if not marks & _REGULAR:
                # Sides are made before the free spine leaves, which then has to derive the starting key again.
                stay = cost + (DERIVATION if marks & _VIA_HELD and marks & _FED else 0)
                if stay < self._stay[0]:
                    self._stay = (stay, picked)
                cost += depth * DERIVATION
            for explicit in (0, 1) if depth else (0,):
                if explicit or not used or not depth:
                    _keep(answer, _Label(1, 0, explicit), cost + explicit, picked)
        answer.fly = min(NEVER, self._stay[0] + (NEVER if node.pinned else node.uses * depth * DERIVATION))
        answer.fly_uses, answer.deepest = node.uses, depth if node.uses else 0
        answer.side = min(NEVER, MAKE + self._stay[0])

    def visits(self) -> list[Steps]:
        """The keys to make current, in order."""
        runs = self._runs(self._root, self._label)
        return [steps for run in (runs.free, *runs.regular, runs.last) for steps in run or ()]

    def _runs(self, node: Node, label: _Label) -> _Runs:
        return self._collect(node, self._solve(node).spines[label][1], label)

    def _collect(self, node: Node, picked: _Picked | None, label: _Label) -> _Runs:
        runs = _Runs()
        mine = [node.steps] if label.explicit else []
        at_end = self._end is not None and node.steps == self._end[:-1]
        for branch, tags in _in_order(picked):
            for tag in tags:
                if isinstance(tag, _Label):
                    runs.join(self._runs(branch, tag))
                    continue
                if tag == _SIDE and branch.steps not in (self._held, self._end):
                    mine.append(branch.steps)
                if self._base is not None and self._base[: branch.depth] == branch.steps:
                    runs.join(self._staying())
        mine += [
            leaf.steps
            for leaf in node.children.values()
            if not leaf.children and leaf.steps not in self._special and _is_side_leaf(leaf)
        ]
        if at_end and self._end is not None:
            runs.last = [*mine, self._end]
        elif not label.regular:
            runs.free = [*mine, *(runs.free or ())]
        elif runs.regular:
            runs.regular[0][:0] = mine
        elif runs.last is not None:
            runs.last[:0] = mine
        else:
            runs.regular.append(mine)
        return runs

    def _staying(self) -> _Runs:
        """The run from the start where no other spine goes through the parent of the starting key."""
        base = self._root.find(self._base or ())
        return _Runs() if base is None else self._collect(base, self._stay[1], _Label(0, 1, 0))


@dataclass(slots=True)
class _Runs:
    """Keys made current, by run: the one that starts where the card is, those from the master key, the one to end
    with."""

    free: list[Steps] | None = None
    regular: list[list[Steps]] = field(default_factory=list)
    last: list[Steps] | None = None

    def join(self, other: _Runs) -> None:
        self.free = self.free if other.free is None else other.free
        self.regular += other.regular
        self.last = self.last if other.last is None else other.last


def _in_order(picked: _Picked | None) -> list[tuple[Node, tuple[str | _Label, ...]]]:
    choices = []
    while picked is not None:
        choices.append((picked.branch, picked.tags))
        picked = picked.before
    return choices[::-1]


def _is_side_leaf(leaf: Node) -> bool:
    """A leaf below a remembered key: used once it costs one derivation on the fly; used more often it is made
    current."""
    return leaf.pinned or leaf.uses > 1


def _keep(answer: _Answer, label: _Label, cost: int, picked: _Picked | None) -> None:
    if label not in answer.spines or cost < answer.spines[label][0]:
        answer.spines[label] = (cost, picked)
