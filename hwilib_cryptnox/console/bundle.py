"""The one-file binary, in which Python, libraries and both programs are unpacked for each run, and its children. On
its own because the sources of PINs and the commands for people both ask, and it needs nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

_LIBRARY_PATH = "LD_LIBRARY_PATH"
_ITS_OWN = "_PYI_"
"""By variables of this prefix PyInstaller's first process tells the second, which is this one, where the files are."""


def bundled() -> bool:
    """Whether this process runs from such a binary (PyInstaller's), be it ours or another program's."""
    return bool(getattr(sys, "frozen", False)) and hasattr(sys, "_MEIPASS")


def child_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a program that is not ours: the one that the binary was started with. In its own, the library
    path would make the system's programs load the binary's libraries. `more` is added."""
    environment = dict(os.environ)
    if bundled():
        original = environment.pop(f"{_LIBRARY_PATH}_ORIG", None)
        environment = {
            name: value
            for name, value in environment.items()
            if name != _LIBRARY_PATH and not name.startswith(_ITS_OWN)
        }
        if original is not None:
            environment[_LIBRARY_PATH] = original
    return {**environment, **(more or {})}
