"""What is not installed everywhere, and what its tests say where it is not."""

from __future__ import annotations

from types import ModuleType

import pytest

NO_HWILIB = "hwi is not installed: no 3.x of it admits Python 3.13 and later"
NO_BDK = "bdkpython is not installed: it has no wheel for this Python"
NO_KERNEL = "py-bitcoinkernel is not installed: it has no wheel for this Python"
NO_SDK = "the vendor's SDK is not installed: it needs Python 3.11 or later, and pyscard, which is compiled on Linux"


def hwilib(name: str = "hwilib") -> ModuleType:
    """HWI's library, or a module of it; skips the test where it is not installed."""
    module: ModuleType = pytest.importorskip(name, reason=NO_HWILIB)
    return module
