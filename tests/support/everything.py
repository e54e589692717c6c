"""Loads what programs load late, so that it is loaded once and not in each forked process."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.util import find_spec

import hwilib_cryptnox


def import_everything() -> None:
    """Every module of the wallet side that can be imported here: Specter's part wants Specter, Electrum's Electrum, the
    plugin hwilib."""
    for module in pkgutil.walk_packages(hwilib_cryptnox.__path__, "hwilib_cryptnox."):
        inside = module.name.split(".")[1] in ("specter", "electrum")
        wants_hwilib = module.name in ("hwilib_cryptnox.plugin.client", "hwilib_cryptnox.plugin.version2")
        if not inside and (find_spec("hwilib") or not wants_hwilib):
            importlib.import_module(module.name)
