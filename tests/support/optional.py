"""What is not installed everywhere. A test that uses it is skipped there, and says why."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

NO_HWILIB = "hwi is not installed: no 3.x of it admits Python 3.13 and later"
NO_SDK = "the vendor's SDK is not installed: it needs Python 3.11 or later, and pyscard, which is compiled on Linux"


class _Late:
    """A module that is imported at its first use."""

    def __init__(self, name: str, reason: str) -> None:
        self._name, self._reason = name, reason

    def __getattr__(self, name: str) -> Any:
        return getattr(pytest.importorskip(self._name, reason=self._reason), name)


bdk: Any = _Late("bdkpython", "bdkpython is not installed: it has no wheel for this Python")
zxing: Any = _Late("zxingcpp", "zxing-cpp is not installed: it has no wheel for this machine")
pbk: Any = _Late("pbk", "py-bitcoinkernel is not installed: it has no wheel for this Python")


def hwilib(name: str = "hwilib") -> ModuleType:
    """HWI's library, or a module of it."""
    module: ModuleType = pytest.importorskip(name, reason=NO_HWILIB)
    return module


def sdk() -> ModuleType:
    """The vendor's."""
    module: ModuleType = pytest.importorskip("cryptnox_sdk_py", reason=NO_SDK)
    return module
