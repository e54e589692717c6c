"""Reading what is given to work on, writing results. An existing file is never overwritten without being told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.frame import App

MAX_INPUT = 100 * 1024 * 1024
"""Bytes."""


def read_input(app: App, name: str) -> bytes:
    """The content of a file, or of stdin for `-`."""
    if name == "-":
        if app.stdin_taken:
            app.read_secrets()
        data = sys.stdin.buffer.read(MAX_INPUT + 1)
    else:
        path = Path(name)
        if not path.is_file():
            raise CtlError(Exit.USAGE, f"{name}: no such file")
        with path.open("rb") as file:
            data = file.read(MAX_INPUT + 1)
    if len(data) > MAX_INPUT:
        raise CtlError(Exit.INPUT, f"{name}: more than {MAX_INPUT // 1024 // 1024} MiB")
    if not data:
        raise CtlError(Exit.INPUT, f"{name}: it is empty")
    return data


def check_free(path: Path, force: bool) -> None:
    """Refuse early, before a card is troubled, what `write_new` would refuse."""
    if path.exists() and not force:
        raise CtlError(Exit.USAGE, f"{path} exists already", "another name: --output FILE; to overwrite it: --force")
    if not path.parent.is_dir():
        raise CtlError(Exit.USAGE, f"{path.parent} is no folder")


def write_new(path: Path, content: bytes, *, force: bool = False, private: bool = False) -> None:
    """Write a file that must not be there yet, unless `force`; `private`: readable by its owner only."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        descriptor = os.open(path, flags, 0o600 if private else 0o666)
    except FileExistsError as error:
        raise CtlError(Exit.USAGE, f"{path} exists already", "another name, or --force") from error
    except OSError as error:
        raise CtlError(Exit.USAGE, f"{path}: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
