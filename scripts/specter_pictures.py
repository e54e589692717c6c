"""Remakes the pictures of docs/specter.md: Specter Desktop in Chromium, with an emulated card in the virtual reader.

    .venv/bin/python scripts/specter_pictures.py

What it needs is fetched as for the long tests, beside the checkout.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.specter.pictures import main  # noqa: E402

main(ROOT / "docs" / "pictures")
