"""Remakes the pictures of docs/electrum.md: the way of a stranger through the real Electrum, with an emulated card.

    .venv/bin/python scripts/electrum_pictures.py

The first time fetches Electrum into .venv-electrum, which takes minutes.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.electrum.people import Person  # noqa: E402
from tests.electrum.rig import Rig  # noqa: E402
from tests.electrum.stranger import walk  # noqa: E402
from tests.electrum.window import Screen  # noqa: E402


def main() -> None:
    """Write them."""
    rig = Rig.made()
    screen = Screen(rig)
    try:
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            build = runpy.run_path(str(ROOT / "scripts" / "build-electrum-plugin"))["build"]
            walk(Person(rig, screen, build(home / "plugin"), home), ROOT / "docs" / "pictures")
    finally:
        screen.stop()


if __name__ == "__main__":
    main()
