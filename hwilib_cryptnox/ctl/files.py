"""Reading what is given to work on, writing results. An existing file is never overwritten without being told."""

from __future__ import annotations

import os
import secrets
import select
import stat
import sys
import time
from codecs import BOM_UTF8
from pathlib import Path

import click

from hwilib_cryptnox.ctl.app import App
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.values import FilePath
from hwilib_cryptnox.storage.files import to_disk

MAX_INPUT = 100 * 1024 * 1024
"""Bytes."""
PIPE_WAIT = 10.0
"""Seconds a named pipe may be without anybody who writes to it."""
_RETRY = 0.05
_PIECE = 1 << 20
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""Opening a pipe waits for nobody."""
OLD_FILE, NEW_FILE = (FilePath(exists=exists, dir_okay=False, path_type=Path) for exists in (True, False))
output_option = click.option("--output", type=NEW_FILE, help="Write this new file.")
force_option = click.option("--force", is_flag=True, help="Overwrite it.")


def read_input(app: App, name: str, *, empty: bool = False) -> bytes:
    """The content of a file, or of stdin for `-`. `empty`: it may be."""
    if name == "-":
        if app.stdin_taken:
            app.read_secrets()
        data = sys.stdin.buffer.read(MAX_INPUT + 1)
    else:
        data = read_file(name)
    if len(data) > MAX_INPUT:
        raise CtlError(Exit.INPUT, f"{name}: more than {MAX_INPUT // 1024 // 1024} MiB")
    if not data and not empty:
        raise CtlError(Exit.INPUT, f"{name}: it is empty")
    return data


def read_file(path: Path | str) -> bytes:
    """The content of a file or a named pipe; of more than MAX_INPUT bytes one more than that.

    Whoever writes to a pipe may take their time; a pipe nobody writes to is given up after PIPE_WAIT. CtlError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
        try:
            return _read(descriptor, str(path))
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise CtlError(Exit.USAGE, f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise CtlError(Exit.USAGE, f"{path}: this is a folder") from error
    except OSError as error:
        raise CtlError(Exit.USAGE, f"{path}: {error.strerror}") from error


def _read(descriptor: int, name: str) -> bytes:
    """All of it, or more than MAX_INPUT bytes; OSError."""
    data, end = bytearray(), time.monotonic() + PIPE_WAIT
    while len(data) <= MAX_INPUT:
        try:
            piece = os.read(descriptor, min(_PIECE, MAX_INPUT + 1 - len(data)))
        except BlockingIOError:  # somebody has it open for writing
            select.select([descriptor], [], [])
            continue
        data += piece
        if piece:
            continue
        if data or not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            break
        if time.monotonic() > end:
            raise CtlError(Exit.USAGE, f"{name}: nothing writes to this pipe")
        time.sleep(_RETRY)
    return bytes(data)


def read_text(path: Path) -> str:
    """A text file, UTF-8, with or without a byte order mark."""
    return decoded(read_file(path).removeprefix(BOM_UTF8), str(path))


def decoded(data: bytes, name: str) -> str:
    """UTF-8 as text."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CtlError(Exit.INPUT, f"{name}: this is not text (UTF-8)") from error


def check_free(path: Path, force: bool | None) -> None:
    """Refuse early, before a card is troubled, what `write_new` would refuse: that a file can be written is tried."""
    try:
        descriptor, place = _beginning(_target(path, force), private=True)
        os.close(descriptor)
        place.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def _target(path: Path, force: bool | None) -> Path:
    """The name the content gets in the end: where links lead, if `force`. CtlError for one that it cannot get; OSError.

    What is no file takes no file's place. A link to nothing is a name that is taken: nobody meant it.
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        target = path
    else:
        if not force:
            raise _taken(path, force)
        target = Path(os.path.realpath(path))
        try:
            status: os.stat_result | None = path.stat()
        except FileNotFoundError:
            status = None
        if status is not None and not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or a pipe"
            raise CtlError(Exit.USAGE, f"{path} is {what}, not a file", "choose another place")
        if status is not None and _is_stdout(status):
            raise CtlError(Exit.USAGE, f"{path} is where this command reports what it did", "choose another place")
    if not target.parent.is_dir():
        raise CtlError(Exit.USAGE, f"{target.parent} is not a folder")
    return target


def _is_stdout(status: os.stat_result) -> bool:
    try:
        return os.path.samestat(status, os.fstat(1))
    except OSError:
        return False


def _beginning(target: Path, *, private: bool) -> tuple[int, Path]:
    """A new file next to `target`, for content that is not complete yet. Its name is short: the target's may be as long
    as names can be."""
    place = target.with_name(f".new-{secrets.token_hex(8)}")
    return os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666), place


def _taken(path: Path, force: bool | None) -> CtlError:
    hint = "choose another file" if force is None else "choose another file, or overwrite this one: --force"
    return CtlError(Exit.USAGE, f"{path} already exists", hint)


def _unwritable(path: Path, error: OSError) -> CtlError:
    return CtlError(Exit.USAGE, f"{path}: {error.strerror}", "free some space, or choose another place")


def write_new(path: Path, content: bytes, *, force: bool | None = None, private: bool = False) -> None:
    """Write a file that must not be there yet, unless `force` (None: the command has no such option); `private`:
    readable by its owner only.

    Whole or not at all, whenever the program ends: what it replaces is there until the new content is.
    """
    try:
        target = _target(path, force)
        descriptor, place = _beginning(target, private=private)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                to_disk(descriptor)
            _give_name(place, target, force=bool(force))
        finally:
            place.unlink(missing_ok=True)
    except FileExistsError as error:
        raise _taken(path, force) from error
    except OSError as error:
        raise _unwritable(path, error) from error


def _give_name(place: Path, target: Path, *, force: bool) -> None:
    """Move a complete file to its name; FileExistsError where that is taken, unless `force`."""
    if not force:
        try:
            os.link(place, target)
        except FileExistsError:
            raise
        except OSError:  # a file system without links: the name is free as far as can be told
            if os.path.lexists(target):
                raise FileExistsError from None
        else:
            return
    place.replace(target)
