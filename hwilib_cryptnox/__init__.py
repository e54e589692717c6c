"""Cryptnox smart cards as a Bitcoin signer: HWI driver, `hwi-cryptnox` and `cryptnoxctl`.

`register()` makes hwilib see the card, `enumerate()` lists cards, `CryptnoxClient` is the driver. Importing this
package loads none of them, nor hwilib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from hwilib_cryptnox.plugin.client import CryptnoxClient as CryptnoxClient
    from hwilib_cryptnox.plugin.client import enumerate as enumerate  # noqa: A004 - the name HWI fixes
    from hwilib_cryptnox.plugin.register import register as register

__version__ = "1.0.0rc1"
DEVICE_TYPE = "cryptnox"
"""As HWI names the device."""

__all__ = ["DEVICE_TYPE", "CryptnoxClient", "__version__", "enumerate", "register"]


def __getattr__(name: str) -> object:
    """Load what is asked for (PEP 562)."""
    if name == "register":
        return _module("plugin.register")
    if name in ("CryptnoxClient", "enumerate"):
        return getattr(_module("plugin.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _module(name: str) -> ModuleType:
    from importlib import import_module

    return import_module(f"{__name__}.{name}")
