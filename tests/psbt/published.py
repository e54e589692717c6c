"""Published test vectors: a small set of our own, and the whole where CRYPTNOX_VECTORS names the folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_OWN = Path(__file__).parent / "vectors"


def load(name: str) -> Any:
    """A file of vectors; the whole set where it is there."""
    whole = Path(os.environ.get("CRYPTNOX_VECTORS", "/nonexistent")) / name
    return json.loads((whole if whole.is_file() else _OWN / name).read_text())
