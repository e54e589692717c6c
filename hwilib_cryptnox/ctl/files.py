"""Reading what is given to work on, writing results. An existing file is never overwritten without being told."""

from __future__ import annotations

import os
import secrets
import sys
from codecs import BOM_UTF8
from pathlib import Path

from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.frame import App

MAX_INPUT = 100 * 1024 * 1024
"""Bytes."""


def read_input(app: App, name: str, *, empty: bool = False) -> bytes:
    """The content of a file, or of stdin for `-`. `empty`: it may be."""
    if name == "-":
        if app.stdin_taken:
            app.read_secrets()
        data = sys.stdin.buffer.read(MAX_INPUT + 1)
    else:
        path = Path(name)
        if not path.exists() or path.is_dir():
            raise CtlError(Exit.USAGE, f"{name}: {'it is a folder' if path.is_dir() else 'no such file'}")
        with path.open("rb") as file:
            data = file.read(MAX_INPUT + 1)
    if len(data) > MAX_INPUT:
        raise CtlError(Exit.INPUT, f"{name}: more than {MAX_INPUT // 1024 // 1024} MiB")
    if not data and not empty:
        raise CtlError(Exit.INPUT, f"{name}: it is empty")
    return data


def read_text(path: Path) -> str:
    """A text file, UTF-8, with or without a byte order mark."""
    return decoded(path.read_bytes().removeprefix(BOM_UTF8), str(path))


def decoded(data: bytes, name: str) -> str:
    """UTF-8 as text."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CtlError(Exit.INPUT, f"{name}: this is no text (UTF-8)") from error


def check_free(path: Path, force: bool | None) -> None:
    """Refuse early, before a card is troubled, what `write_new` would refuse."""
    if path.exists() and not force:
        raise _taken(path, force)
    if not path.parent.is_dir():
        raise CtlError(Exit.USAGE, f"{path.parent} is no folder")
    if not os.access(path.parent if _is_new_or_plain(path) else path, os.W_OK):
        raise CtlError(Exit.USAGE, f"{path} cannot be written", "name another place: --output FILE")


def _is_new_or_plain(path: Path) -> bool:
    return not path.exists() or path.is_file()


def _taken(path: Path, force: bool | None) -> CtlError:
    hint = "name another file" if force is None else "name another file, or overwrite this one: --force"
    return CtlError(Exit.USAGE, f"{path} exists already", hint)


def write_new(path: Path, content: bytes, *, force: bool | None = None, private: bool = False) -> None:
    """Write a file that must not be there yet, unless `force` (None: the command has no such option); `private`:
    readable by its owner only.

    Whole or not at all, whenever the program ends: what it replaces is there until the new content is.
    """
    target = path.resolve() if force else path
    plain = _is_new_or_plain(target)
    place = target.with_name(f".{target.name}.{secrets.token_hex(4)}") if plain else target
    flags = os.O_WRONLY | (os.O_CREAT | os.O_EXCL if plain else 0)
    try:
        if plain and not force and target.exists():
            raise FileExistsError
        descriptor = os.open(place, flags, 0o600 if private else 0o666)
    except FileExistsError as error:
        raise _taken(path, force) from error
    except OSError as error:
        raise CtlError(Exit.USAGE, f"{path}: {error.strerror}", "free some space, or name another place") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if plain:
                os.fsync(descriptor)
        if place != target:
            _give_name(place, target, force=bool(force))
    except FileExistsError as error:
        place.unlink(missing_ok=True)
        raise _taken(path, force) from error
    except OSError as error:
        if plain:
            place.unlink(missing_ok=True)
        raise CtlError(Exit.USAGE, f"{path}: {error.strerror}", "free some space, or name another place") from error


def _give_name(place: Path, target: Path, *, force: bool) -> None:
    """Move a complete file to its name; FileExistsError where that is taken, unless `force`."""
    if not force:
        try:
            os.link(place, target)
        except FileExistsError:
            raise
        except OSError:  # a file system without links: the name is free as far as can be told
            if target.exists():
                raise FileExistsError from None
        else:
            place.unlink()
            return
    place.replace(target)
