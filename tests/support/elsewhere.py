"""This system as another one, as far as Python code sees it: its name, what is missing there, and `msvcrt`.

`FAKED_SYSTEM=win32 python -m pytest -p tests.support.elsewhere --quick` chooses and runs the tests of that system. What
Python's own library and the packages do there is not faked: they are loaded before.
"""

from __future__ import annotations

import importlib
import io
import os
import select
import shutil
import signal
import socket
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

MISSING_MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty")
"""On Windows."""
_ON_BOTH = ("fork", "forkpty", "posix_spawn")
"""Of `os`: the tests that are chosen for these systems start nothing."""
_MISSING = {
    os: """chown fchmod fchown getegid geteuid getgid getpgid getpgrp getuid killpg lchown major mkfifo mknod openpty
        posix_spawnp pread preadv pwrite pwritev set_blocking setsid sysconf tcgetpgrp ttyname uname wait
        O_CLOEXEC O_DIRECTORY O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC""",
    select: "poll epoll",
    signal: "SIGKILL SIGHUP SIGPIPE SIGUSR1 SIGUSR2 pthread_kill pthread_sigmask",
    socket: "AF_UNIX socketpair",
}
"""Where there is Windows: what these modules of Python do not have."""
_LOADED = """
    argparse asyncio bdb bz2 concurrent.futures configparser csv ctypes.util ctypes.wintypes decimal difflib doctest
    email getpass http.client importlib.metadata importlib.resources inspect json logging.handlers lzma
    multiprocessing netrc pathlib pdb platform plistlib pprint queue random secrets shlex socketserver sqlite3 ssl
    statistics subprocess tarfile tempfile textwrap timeit unittest.mock urllib.request uuid webbrowser
    xml.etree.ElementTree zipfile
    _pytest.capture _pytest.pathlib bdkpython bitcoinkernel click.testing coincurve colorama
    cryptography.hazmat.primitives.asymmetric.ec cryptography.x509 embit.descriptor embit.psbt embit.script hwilib.psbt
    hypothesis.strategies jsonschema mnemonic pexpect rich.console rich.progress rich.table smartcard.scard xdist
"""
"""What looks at the system's name when it is loaded."""


class _Kernel32:
    """The modes of a console that has all of them."""

    modes: ClassVar[dict[int, int]] = {}

    def GetConsoleMode(self, handle: Any, mode: Any) -> int:
        mode._obj.value = self.modes.setdefault(handle.value, 0x0007)
        return 1

    def SetConsoleMode(self, handle: Any, mode: Any) -> int:
        self.modes[handle.value] = mode.value
        return 1


class Msvcrt(types.ModuleType):
    """The parts of `msvcrt` that are used; `keys` are those that were pressed."""

    LK_NBLCK = 2

    def __init__(self, flock: Callable[[int], object]) -> None:
        super().__init__("msvcrt")
        self.keys = ""
        self._flock = flock

    def locking(self, descriptor: int, mode: int, length: int) -> None:
        """PermissionError where another has it, at once with LK_NBLCK."""
        assert (mode, length) == (self.LK_NBLCK, 1)
        try:
            self._flock(descriptor)
        except BlockingIOError:
            raise PermissionError(13, "Permission denied") from None

    def get_osfhandle(self, descriptor: int) -> int:
        """Any number will do."""
        return 1000 + descriptor

    def kbhit(self) -> bool:
        """Whether a key was pressed."""
        return bool(self.keys)

    def getwch(self) -> str:
        """The next one."""
        key, self.keys = self.keys[0], self.keys[1:]
        return key


def msvcrt() -> Msvcrt:
    """One with this system's locks."""
    import fcntl

    return Msvcrt(lambda descriptor: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB))


def kernel32() -> Any:
    """What ctypes.WinDLL makes."""
    return lambda name, use_last_error=False: _Kernel32()


def become(system: str, put: Callable[[Any, str, Any], object], take: Callable[[Any, str], object]) -> None:
    """Be `win32` or `darwin`. `put` sets an attribute, or an item of a dictionary, `take` deletes an attribute."""
    import ctypes

    if system == "win32":
        put(sys.modules, "msvcrt", msvcrt())
        put(ctypes, "WinDLL", kernel32())
        for name in MISSING_MODULES:
            put(sys.modules, name, None)
        for module, names in _MISSING.items():
            for name in names.split():
                if hasattr(module, name):
                    take(module, name)
    else:
        import fcntl

        put(fcntl, "F_FULLFSYNC", 51)  # which this system refuses, as some file systems there do
    put(sys, "platform", system)


def patched(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For one test."""

    def put(where: object, name: str, value: object) -> None:
        if isinstance(where, dict):
            monkeypatch.setitem(where, name, value)
        else:
            monkeypatch.setattr(where, name, value, raising=False)

    become(system, put, monkeypatch.delattr)


@pytest.fixture
def windows(tmp_path: Path) -> Iterator[Msvcrt]:
    """Windows, with its folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
        patch.setenv("APPDATA", str(tmp_path / "Roaming"))
        for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            patch.delenv(name)
        patch.setattr(_Kernel32, "modes", {})
        patch.setattr("hwilib_cryptnox.storage.files._NO_FOLLOW", 0)
        patch.delitem(sys.modules, "hwilib_cryptnox.console.windows", raising=False)
        patched("win32", patch)
        yield sys.modules["msvcrt"]  # type: ignore[misc]


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """macOS, with a home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name)
    patched("darwin", monkeypatch)


def _always(system: str) -> None:
    """For the whole process."""
    for name in _LOADED.split():
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    shutil._use_fd_functions = False  # type: ignore[attr-defined]
    io._WindowsConsoleIO = type("_WindowsConsoleIO", (), {})  # type: ignore[attr-defined]

    def put(where: Any, name: str, value: Any) -> None:
        if isinstance(where, dict):
            where[name] = value
        else:
            setattr(where, name, value)

    become(system, put, delattr)
    for name in _ON_BOTH:
        if hasattr(os, name):
            delattr(os, name)


if os.environ.get("FAKED_SYSTEM"):
    _always(os.environ["FAKED_SYSTEM"])
