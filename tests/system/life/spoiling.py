"""A state folder to which nothing can be written."""

from __future__ import annotations

import contextlib
from pathlib import Path


def spoil(state: Path, kind: str) -> None:
    """Nothing can be written to a state folder any more: it is a file, or its disk is full."""
    if kind == "state gone":
        if state.is_dir():
            state.rename(state.with_name("away"))
        state.parent.mkdir(parents=True, exist_ok=True)
        state.write_text("in the way")
        return
    with (state.parent.parent / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


def mend(state: Path) -> None:
    """The state folder is as before `spoil`."""
    (state.parent.parent / "filler").unlink(missing_ok=True)
    if state.is_file():
        state.unlink()
        if state.with_name("away").is_dir():
            state.with_name("away").rename(state)
