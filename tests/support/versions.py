"""What the version of another implementation that is installed can be asked about."""

from __future__ import annotations

from importlib import metadata

import pytest
from packaging.version import Version

EMBIT = Version(metadata.version("embit"))
EMBIT_KNOWS_SCRIPT_PATHS = pytest.mark.skipif(
    Version("0.8") > EMBIT, reason=f"embit {EMBIT} is no judge here: annex and script path came with 0.8"
)
