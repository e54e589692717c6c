"""Finding `hwi-cryptnox` and running it: with time limits, without a shell, the PIN by a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from .errors import CanceledError, ProgramError

NAME = "hwi-cryptnox"
MISSING_TEXT = (
    f"The program {NAME} was not found. Install {NAME}, or name its file in Electrum under Tools, Plugins, Cryptnox "
    "card, Settings."
)
_WINDOWS = sys.platform == "win32"
_PATIENCE = 5.0
"""Seconds a program gets to release the card when it is told to end."""
_LONGEST_LINE = 64 << 20
_MOST_LINES = 64
"""Lines that wait to be read; then the pipe holds the program back."""
_KEPT_ERRORS = 4000


def find_program(chosen: str = "", environment: Mapping[str, str] | None = None) -> str:
    """The file of the program: the one that the settings name, on PATH, or in the usual folders of pipx, uv and pip.
    ProgramError where there is none; never one of the current folder."""
    env = os.environ if environment is None else environment
    if chosen:
        file = Path(chosen).expanduser()
        if file.is_absolute() and _runs(file):
            return str(file)
        raise ProgramError(f"{chosen} is no program that can be run. Name the file {NAME} in the plugin's settings.")
    for folder in _folders(env):
        for name in (f"{NAME}.exe",) if _WINDOWS else (NAME,):
            if folder.is_absolute() and _runs(folder / name):
                return str(folder / name)
    raise ProgramError(MISSING_TEXT)


def _runs(file: Path) -> bool:
    try:
        return file.is_file() and os.access(file, os.X_OK)
    except OSError:
        return False


def _folders(env: Mapping[str, str]) -> Iterable[Path]:
    """Where the program may be, in the order of looking."""
    yield from (Path(part) for part in env.get("PATH", "").split(os.pathsep) if part)
    for name in ("PIPX_BIN_DIR", "UV_TOOL_BIN_DIR", "XDG_BIN_HOME"):
        if env.get(name):
            yield Path(env[name])
    home = Path(env.get("USERPROFILE" if _WINDOWS else "HOME") or Path.home())
    scripts = "Scripts" if _WINDOWS else "bin"
    yield home / ".local" / "bin"
    data = Path(env.get("XDG_DATA_HOME") or home / ".local" / "share")
    for tools in (data / "pipx" / "venvs", home / ".local" / "pipx" / "venvs", home / "pipx" / "venvs"):
        yield tools / NAME / scripts
    yield data / "uv" / "tools" / NAME / scripts
    if _WINDOWS and env.get("APPDATA"):
        roaming = Path(env["APPDATA"])
        yield roaming / "uv" / "tools" / NAME / scripts
        with contextlib.suppress(OSError):
            yield from sorted((roaming / "Python").glob("Python*/Scripts"))
    elif sys.platform == "darwin":
        yield Path("/opt/homebrew/bin")
        with contextlib.suppress(OSError):
            yield from sorted((home / "Library" / "Python").glob("*/bin"))
    if not _WINDOWS:
        yield from map(Path, ("/usr/local/bin", "/usr/bin"))


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for the program: without what Electrum's AppImage or one-file program sets for its own Python and
    libraries, which would make another Python fail."""
    env = {name: value for name, value in environment.items() if not name.startswith(("PYTHON", "_PYI_", "_MEIPASS"))}
    bundled = env.pop("APPDIR", None)
    original = env.pop("LD_LIBRARY_PATH_ORIG", None)
    if bundled or original is not None or getattr(sys, "frozen", False):
        env.pop("LD_LIBRARY_PATH", None)
        if original:
            env["LD_LIBRARY_PATH"] = original
    if bundled:
        parts = env.get("PATH", "").split(os.pathsep)
        env["PATH"] = os.pathsep.join(part for part in parts if not Path(part).is_relative_to(bundled))
    return env


class Conversation:
    """One run of the program: lines of JSON from it, lines to it. To be used with `with`, from one thread; `stop` may
    be called from any."""

    def __init__(self, words: Sequence[str], lines: Iterable[str] = (), more: Mapping[str, str] | None = None) -> None:
        """Start it. `lines` are written to its stdin, `more` is added to its environment. ProgramError."""
        self._stopped = threading.Event()
        self._patience = _PATIENCE
        self._file = words[0]
        options: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            options = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
        try:
            self._process = subprocess.Popen(
                list(words),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**child_environment(os.environ), **(more or {})},
                **options,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ProgramError(f"{words[0]} cannot be started: {reason}.") from error
        self._out: queue.Queue[bytes | None] = queue.Queue(_MOST_LINES)
        self._over = False
        self._in: queue.Queue[bytes | None] = queue.Queue()
        self._said = bytearray()
        for line in lines:
            self.send(line)
        names = ("_read", "_write", "_listen")
        self._threads = {
            name: threading.Thread(target=getattr(self, name), name=f"{NAME}{name}", daemon=True) for name in names
        }
        for thread in self._threads.values():
            thread.start()

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def send(self, line: str) -> None:
        """Write a line to its stdin, without waiting for it to be read."""
        self._in.put(line.encode("utf-8", "surrogateescape") + b"\n")

    def stop(self) -> None:
        """Tell it to end: it releases the card, and whoever waits for an answer gets CanceledError."""
        self._stopped.set()
        self._patience = 0.0
        self._signal(signal.SIGINT)

    def next_answer(self, limit: float) -> Any:
        """The next line of JSON. ProgramError where it does not come within `limit` seconds, or is none; CanceledError
        after `stop`."""
        end = time.monotonic() + limit
        while True:
            try:
                line = self._out.get(timeout=max(0.0, min(0.2, end - time.monotonic())))
                break
            except queue.Empty:
                if self._stopped.is_set():
                    raise CanceledError("Canceled.") from None
                if time.monotonic() >= end:
                    self._patience = 0.0
                    raise ProgramError(
                        f"{NAME} did not answer within {limit:.0f} seconds. Take the card out, put it back, "
                        "and try again."
                    ) from None
        if self._stopped.is_set():
            raise CanceledError("Canceled.")
        try:
            if line is None:
                raise ValueError("no answer")
            return json.loads(line)
        except (ValueError, RecursionError):
            raise ProgramError(self._why_no_answer()) from None

    def _why_no_answer(self) -> str:
        self._ended(1)
        self._threads["_listen"].join(1)
        told = bytes(self._said).decode("utf-8", "replace").strip().splitlines()
        last = f" Its last words: {' '.join(told[-1].split())[:200]}" if told else ""
        return f"{self._file} gave no answer (exit status {self._process.returncode}).{last}"

    # Threads: none of them blocks the caller, whatever the program does. Each closes its own stream: closing one that
    # another thread reads from would wait for what the program's children leave open.

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._stream("stdout") as stream:
            while (line := stream.readline(_LONGEST_LINE)) and self._offer(line):
                pass
        self._offer(None)

    def _offer(self, line: bytes | None) -> bool:
        """Keep a line until it is asked for; False where nobody will."""
        while not self._over:
            with contextlib.suppress(queue.Full):
                self._out.put(line, timeout=0.2)
                return True
        return False

    def _write(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._stream("stdin") as stream:  # OSError: it has ended
            while (line := self._in.get()) is not None:
                stream.write(line)
                stream.flush()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._stream("stderr") as stream:
            while piece := stream.readline(_KEPT_ERRORS):
                self._said += piece
                del self._said[:-_KEPT_ERRORS]

    def _stream(self, name: str) -> IO[bytes]:
        stream: IO[bytes] = getattr(self._process, name)
        return stream

    # The end

    def _signal(self, number: int) -> None:
        if _WINDOWS:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _end(self) -> None:
        """Let it end by itself, then tell it to, then end it."""
        self._in.put(None)
        self._over = True
        if self._patience and self._ended(self._patience):
            return
        self._signal(signal.SIGINT)
        self._ended(_PATIENCE)
        self._kill()  # also what it leaves running

    def _ended(self, limit: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(limit)
        return self._process.returncode is not None

    def _kill(self) -> None:
        if sys.platform == "win32":
            tool = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "taskkill.exe"
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(
                    [str(tool), "/F", "/T", "/PID", str(self._process.pid)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    check=False,
                    timeout=_PATIENCE,
                )
            self._process.kill()
        else:
            self._signal(signal.SIGKILL)
        self._ended(_PATIENCE)
