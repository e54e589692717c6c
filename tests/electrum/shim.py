"""The program as the plugin finds it: `hwi-cryptnox` in a folder, running this checkout; or one that misbehaves."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path, script: str) -> Path:
    """A program of that name which is a shell script."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "hwi-cryptnox"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def real(folder: Path, *, log: Path | None = None) -> Path:
    """The real one. `log` gets its arguments, a line a run. (The plugin takes Python's variables away.)"""
    note = "" if log is None else f"echo \"$@\" >> '{log}'\n"
    return write(folder, f"{note}PYTHONPATH='{ROOT}' exec '{sys.executable}' -m hwilib_cryptnox.hwi \"$@\"")
