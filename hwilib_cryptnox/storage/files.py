"""Files only their owner can read, in a folder only their owner can enter. Symbolic links are refused everywhere, so
that nobody can have this program read, replace or lock another file than its own.

Folders 0700, files 0600, replaced atomically; what a killed process had begun to write is removed by the next one that
writes there. Every failure is an OSError or a ValueError; its text names no content.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

T = TypeVar("T")

APPLICATION = "hwi-cryptnox"
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""Opening a named pipe waits for nobody."""
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | _AT_ONCE
_BINARY = getattr(os, "O_BINARY", 0)
_MOST = 64 * 1024 * 1024
"""Bytes a file may have to be read; far more than this program writes."""
_BEGUN = ".new-"
"""How names of files begin whose content is not complete."""
_WRITING_TIME = 60.0
"""Seconds after which nobody is writing a file any more, where a lock cannot tell."""
_OTHERS_TIME, _RETRY = 2.0, 0.02
"""Seconds another program may have a file open on Windows, and how often that is looked at."""
_JUNCTION = 0xA0000003
"""IO_REPARSE_TAG_MOUNT_POINT: a link to a folder, on Windows, which needs no privilege."""


class NoHomeError(OSError):
    """There is no home folder, and no variable names another place for files. `remedy`: what to do."""

    def __init__(self, names: str) -> None:
        self.remedy = f"set {names} to the full path of a folder that is yours"
        super().__init__(errno.ENOENT, f"this user has no home folder: {self.remedy}")


class SharedFileError(PermissionError):
    """Other users can change a file, or its folder."""


def state_folder() -> Path:
    """Where the state is kept on this platform. NoHomeError."""
    return _folder("XDG_STATE_HOME", ".local/state", "LOCALAPPDATA")


def config_folder() -> Path:
    """Where the configuration file is on this platform. NoHomeError."""
    return _folder("XDG_CONFIG_HOME", ".config", "APPDATA")


def _folder(variable: str, below_home: str, windows_variable: str) -> Path:
    given = os.environ.get(variable, "")
    if given and Path(given).is_absolute():
        return Path(given) / APPLICATION
    windows = sys.platform == "win32"
    try:
        if windows:
            return Path(os.environ.get(windows_variable) or Path.home()) / APPLICATION
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Application Support" / APPLICATION
        return Path.home() / below_home / APPLICATION
    except RuntimeError as error:
        raise NoHomeError(windows_variable if windows else " or ".join(("HOME", variable))) from error


class StateError(Exception):
    """The state cannot be read or written. The text names the file and the reason."""


@dataclass(frozen=True, slots=True)
class PrivateFolder:
    """One folder and the folders right below it; names are like `cards.json` or `certs/5.der`."""

    path: Path

    def read(self, name: str) -> bytes | None:
        """The content of a file; None where there is none."""
        descriptor = self.reader(name)
        if descriptor is None:
            return None
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(_MOST + 1)
        if len(content) > _MOST:
            raise OSError(errno.EFBIG, "larger than anything this program writes")
        return content

    def replace(self, name: str, content: bytes) -> None:
        """Write a file atomically; on disk when this returns."""
        path = self._make(name)
        for place in self._folders(name):
            _remove_abandoned(place)
        descriptor, temporary = _begin(path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                to_disk(file.fileno())
                if sys.platform != "win32":  # there an open file has to keep its name
                    Path(temporary).replace(path)
            if sys.platform == "win32":
                _patiently(lambda: Path(temporary).replace(path))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)

    def append(self, name: str, content: bytes, *, sync: bool = False) -> int:
        """Add whole lines to the end of a file, all or none of them; where they begin. `sync`: on disk when this
        returns. Requires: a lock that all writers take.

        A process that is killed later loses nothing of it; without `sync` a power cut does. A line that was torn by one
        is ended first, so that it spoils no other.
        """
        descriptor = _open(self._make(name), os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            size = start = os.fstat(descriptor).st_size
            if size:
                os.lseek(descriptor, size - 1, os.SEEK_SET)
                if os.read(descriptor, 1) != b"\n":
                    content, start = b"\n" + content, size + 1
            try:
                left = memoryview(content)
                while left:
                    left = left[os.write(descriptor, left) :]
            except BaseException:
                os.ftruncate(descriptor, size)
                raise
            if sync:
                to_disk(descriptor)
        finally:
            os.close(descriptor)
        if sync and not size:
            _sync_folder((self.path / name).parent)
        return start

    def sync(self, name: str) -> None:
        """Everything written to a file until now is on disk when this returns."""
        if self._check(name):
            with contextlib.suppress(FileNotFoundError):
                descriptor = _open(self.path / name, os.O_RDWR)
                try:
                    to_disk(descriptor)
                finally:
                    os.close(descriptor)

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of a file of any length, one after the other; none where there is no file."""
        descriptor = self.reader(name)
        if descriptor is not None:
            with os.fdopen(descriptor, "rb") as file:
                yield from file

    def descriptor(self, name: str) -> int:
        """An open file to lock, made where it is missing. The caller closes it."""
        return _open(self._make(name), os.O_RDWR | os.O_CREAT)

    def exists(self, name: str) -> bool:
        """Whether there is something of that name."""
        return self._check(name) and os.path.lexists(self.path / name)

    def reader(self, name: str) -> int | None:
        """A file opened to be read; None where there is none. The caller closes it."""
        if self._check(name):
            with contextlib.suppress(FileNotFoundError):
                return _open(self.path / name, os.O_RDONLY)
        return None

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self._check(name):
            _patiently(lambda: (self.path / name).unlink(missing_ok=True))

    def touch(self, name: str) -> None:
        """Note that a file was used now."""
        path = self._make(name)
        if os.utime in os.supports_follow_symlinks:
            os.utime(path, follow_symlinks=False)
        else:
            os.utime(path)

    def listing(self, folder: str, ending: str) -> list[tuple[float, str]]:
        """The files of a folder below with an ending: time of the last change (Unix time) and name, latest first."""
        if not self._check(f"{folder}/"):
            return []
        _remove_abandoned(self.path / folder)
        found = []
        for path in (self.path / folder).iterdir():
            if path.name.endswith(ending):
                with contextlib.suppress(FileNotFoundError):  # another process removed it just now
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode):
                        found.append((status.st_mtime, f"{folder}/{path.name}"))
        return sorted(found, reverse=True)

    def _folders(self, name: str) -> list[Path]:
        below, _, _ = name.rpartition("/")
        return [self.path, self.path / below] if below else [self.path]

    def _check(self, name: str) -> bool:
        """Whether the folders of a name are there; OSError where they are not what they have to be."""
        return all(_check_folder(folder) for folder in self._folders(name))

    def _make(self, name: str) -> Path:
        for folder in self._folders(name):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_folder(folder)
        return self.path / name


def lock(descriptor: int) -> None:
    """An exclusive lock on an open file, until it is closed; or BlockingIOError at once."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError from error
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def to_disk(descriptor: int) -> None:
    """What was written to a file outlasts a power cut when this returns. On macOS fsync leaves it in the drive's own
    memory (fsync(2)); F_FULLFSYNC does not, where the file system has it."""
    if sys.platform == "darwin":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def _patiently(action: Callable[[], T]) -> T:
    """On Windows a file cannot be opened, replaced or removed while another program (one of ours that reads it, a virus
    scanner) has it open in the wrong way: for a moment that is waited for."""
    end = time.monotonic() + (_OTHERS_TIME if sys.platform == "win32" else 0)
    while True:
        try:
            return action()
        except PermissionError:
            if time.monotonic() >= end:
                raise
        time.sleep(_RETRY)


def _begin(folder: Path) -> tuple[int, str]:
    """A new file for content that is not complete yet. Its lock says that somebody is writing it."""
    while True:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=_BEGUN)
        if sys.platform == "win32":
            return descriptor, name
        with contextlib.suppress(BlockingIOError):  # taken for abandoned before it was locked, and removed: a new one
            lock(descriptor)
            if os.fstat(descriptor).st_nlink:
                return descriptor, name
        os.close(descriptor)


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes that are gone had begun to write."""
    for path in folder.glob(f"{_BEGUN}*"):
        with contextlib.suppress(OSError):  # being written, gone meanwhile, or none of ours
            if sys.platform == "win32":
                if time.time() - path.lstat().st_mtime > _WRITING_TIME:
                    path.unlink()
                continue
            descriptor = _open(path, os.O_RDWR)
            try:
                lock(descriptor)
                path.unlink()
            finally:
                os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """The names in a folder are on disk when this returns."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_folder(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    _check_owner(status)
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, f"{folder.name}: not a folder")
    if sys.platform != "win32" and stat.S_IMODE(status.st_mode) & 0o077:
        folder.chmod(0o700)
    return True


def _open(path: Path, flags: int) -> int:
    """A regular file of ours, or OSError. Nothing is waited for: a named pipe must not hang the wallet."""
    if not _NO_FOLLOW and path.is_symlink():
        raise OSError(errno.ELOOP, "a symbolic link is not followed")
    try:
        descriptor = _patiently(lambda: os.open(path, flags | _NO_FOLLOW | _BINARY, 0o600))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a symbolic link is not followed") from error
        raise
    try:
        status = os.fstat(descriptor)
        _check_owner(status)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        if sys.platform != "win32" and stat.S_IMODE(status.st_mode) & 0o077:
            os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_owner(status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "a symbolic link is not followed")
    if getattr(status, "st_reparse_tag", 0) == _JUNCTION:
        raise OSError(errno.ELOOP, "a symbolic link is not followed")
    if sys.platform != "win32" and status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to another user")


def read_given(path: Path, most: int) -> bytes:
    """The content of a file that somebody named. Links are followed; nothing is waited for.

    Raises: OSError, also for what is no regular file, or has more than `most` bytes.
    """
    with os.fdopen(_regular(path, 0), "rb") as file:
        return _bounded(file, most)


def read_own(path: Path, most: int) -> bytes:
    """As `read_given`, of a file that only this user and root can change: nothing is read of another.

    A link is followed first, so that what is opened is in the folder that is judged.

    Raises: SharedFileError; OSError.
    """
    place = path if sys.platform == "win32" else Path(os.path.realpath(path))
    with os.fdopen(_regular(place, _NO_FOLLOW), "rb") as file:
        if others_can_change(file.fileno(), place.parent):
            raise SharedFileError(errno.EPERM, "other users can change it")
        return _bounded(file, most)


def _regular(path: Path, flags: int) -> int:
    descriptor = os.open(path, os.O_RDONLY | flags | _AT_ONCE | _BINARY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _bounded(file: IO[bytes], most: int) -> bytes:
    content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most // 1024} KiB")
    return content


def parsed_json(content: str | bytes) -> object:
    """What JSON text says. ValueError for what is none, and for what is nested deeper than Python reads."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def others_can_change(file: int, folder: Path) -> bool:
    """Whether other users can write an open file, or put another in its place in its folder, as far as owners and modes
    tell; root is none. A group that is the user's alone is no other user. False on Windows, whose folders of a user are
    closed to others.

    Raises: OSError.
    """
    if sys.platform == "win32":
        return False
    return any(_open_to_others(status) for status in (os.fstat(file), folder.stat()))


def anybody_can_write(path: Path) -> bool:
    """Whether everybody can write a file, or put another in its place. As `others_can_change` otherwise."""
    if sys.platform == "win32":
        return False
    real = path.resolve()
    return any(_open_to(place.stat(), stat.S_IWOTH) for place in (real, real.parent))


def _open_to_others(status: os.stat_result) -> bool:
    user = os.geteuid()
    if user and status.st_uid not in (0, user):
        return True
    return _open_to(status, stat.S_IWOTH) or (_open_to(status, stat.S_IWGRP) and not _is_users_own(status.st_gid, user))


def _open_to(status: os.stat_result, whom: int) -> bool:
    """In a folder with the sticky bit each file is its owner's alone."""
    sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    return bool(status.st_mode & whom) and not sticky


def _is_users_own(group: int, user: int) -> bool:
    """Whether nobody but a user is in a group, as where each user has one of the same name."""
    import grp
    import pwd

    if not group:
        return True
    with contextlib.suppress(KeyError):
        entry, name = grp.getgrgid(group), pwd.getpwuid(user).pw_name
        return entry.gr_name == name and set(entry.gr_mem) <= {name}
    return False
