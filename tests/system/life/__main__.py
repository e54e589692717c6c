"""`python -m tests.system.life "ctl pin change" "lost@10"`: one scene with one twist, and all that was told. Without a
twist: its APDUs and prompts. Without a scene: the names of all."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.system.life.play import play, twists
from tests.system.life.scenes import SCENES


def main(arguments: list[str]) -> int:
    """Print it."""
    if not arguments:
        print("\n".join(SCENES))
        return 0
    scene = SCENES[arguments[0]]
    with tempfile.TemporaryDirectory() as place:
        played = whole = play(scene, Path(place))
    if len(arguments) > 1:
        twist = next(twist for twist in twists(whole, disk=True) if str(twist) == arguments[1])
        with tempfile.TemporaryDirectory() as place:
            played = play(scene, Path(place), twist)
    told = played.told
    print(f"status {told.status}\n--- stdout\n{told.out}--- stderr\n{told.err}--- terminal\n{told.terminal}---")
    print(" ".join(f"{exchange}{'*' if exchange.changed else ''}" for exchange in told.exchanges))
    for before, after in zip(played.before, played.after, strict=True):
        for name in sorted(before.changes(after)):
            print(f"{name}: {getattr(before, name)!r} -> {getattr(after, name)!r}")
    print(f"verdict: {played.verdict or 'no false word'}")
    return 1 if played.verdict else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
