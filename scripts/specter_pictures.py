"""Remakes the pictures of docs/specter.md: a payment signed in the real Specter Desktop, in Chromium.

    .venv/bin/python scripts/specter_pictures.py

Two emulated cards are in the virtual reader, which must be installed (see CONTRIBUTING.md). The first time fetches
Specter into .venv-specter and Chromium into .venv-chromium, which takes minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.specter.pictures import main  # noqa: E402

if __name__ == "__main__":
    main(ROOT / "docs" / "pictures")
