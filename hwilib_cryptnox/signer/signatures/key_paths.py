"""Which DERIVE KEYs make keys current one after the other: MuSig2 signs with the current key alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cryptnox_core.bip32 import Path
from cryptnox_core.derivation import Derive, Position, Sign
from cryptnox_core.first_block import in_steps
from cryptnox_core.wire import Source


def plan_at_keys(paths: Sequence[Path], at: Position) -> Iterator[Derive | Sign]:
    """A Sign for each path with its key current, `index` being its place, and the Derives before it.

    Keys of one parent come together, those of the current key's parent first: the card remembers the parent, so that
    each costs one level. No command has more than three levels (`first_block`).
    `paths`: up to 8 levels each, in any order, with repeats. `at`: where the card is.
    """
    current, nowhere = at.current, Path()
    family = _parent(current)

    def order(index: int) -> tuple[bool, tuple[int, ...]]:
        parent = _parent(paths[index])
        return parent is None or parent not in (family, current), paths[index].steps

    for index in sorted(range(len(paths)), key=order):
        path = paths[index]
        if path != current:
            source, base = _nearest(current, path)
            for piece in in_steps(path.below(base)):
                base = base.extend(piece)
                yield Derive(piece, source, base)
                source = Source.CURRENT
            current = path
        yield Sign(index, path, Source.CURRENT, nowhere)


def _parent(path: Path | None) -> Path | None:
    return path.parent if path is not None and path.depth else None


def _nearest(current: Path | None, path: Path) -> tuple[Source, Path]:
    """The nearest key above a path that the card remembers."""
    if current is not None and current.depth and path.starts_with(current):
        return Source.CURRENT, current
    parent = _parent(current)
    if parent is not None and parent.depth and path != parent and path.starts_with(parent):
        return Source.PARENT, parent
    return Source.MASTER, Path()
