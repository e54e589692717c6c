"""Loads what programs load late, so that it is loaded once and not in each forked process."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil

import hwilib_cryptnox


def import_everything() -> None:
    """Every module of the wallet side that can be imported here: Specter's part wants Specter, Electrum's Electrum, the
    plugin hwilib. One that is missing is no program's own fault: whoever needs it tells."""
    for module in pkgutil.walk_packages(hwilib_cryptnox.__path__, "hwilib_cryptnox."):
        if module.name.split(".")[1] not in ("specter", "electrum"):
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(module.name)
