"""Programs of ours without the time that Python and the libraries take to start: a process that has loaded them forks.

What runs is the program's own `main`, in a process of its own with the streams, the terminal, the environment, the
folder and the arguments it was given. Programs in the tests of start-up and of streams that are closed, and any whose
environment changes how Python itself behaves are started as people start them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

_MODULES = {"hwilib_cryptnox.ctl.main": "ctl", "hwilib_cryptnox.hwi.program": "hwi"}
_SCRIPTS = {"cryptnoxctl": "ctl", "hwi-cryptnox": "hwi"}
_PYTHONS_OWN = ("PYTHON", "LC_", "LANG", "MALLOC", "LD_")
_SIZE = struct.Struct(">I")
_STATUS = struct.Struct(">i")


def _program(command: list[str]) -> tuple[str, list[str]] | None:
    """Which program a command line starts, and its arguments; None for any other."""
    if command[:2] == [sys.executable, "-m"] and command[2] in _MODULES:
        return _MODULES[command[2]], command[3:]
    path = Path(command[0])
    if path.parent == Path(sys.executable).parent and path.name in _SCRIPTS:
        return _SCRIPTS[path.name], command[1:]
    return None


def _pythons_own(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_PYTHONS_OWN)}


class _Server:
    """The process that forks; one for each process that runs tests, ended by the end of its socket."""

    def __init__(self) -> None:
        self.environment = dict(os.environ)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            # Not a child that anybody waits for: it ends when this process does.
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.quick_server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=Path(__file__).resolve().parents[2],
                start_new_session=True,
            )
        self._socket = ours
        self._lock = threading.Lock()

    def start(self, request: dict[str, Any], streams: tuple[int, int, int]) -> tuple[int, int]:
        """The process number of a program, and the descriptor that its end can be read from."""
        sys.audit("os.fork")  # as if it were done here: tests that start no process are watched
        status, end = os.pipe()
        try:
            content = json.dumps(request).encode("ascii")
            with self._lock:
                socket.send_fds(self._socket, [_SIZE.pack(len(content))], [*streams, end])
                self._socket.sendall(content)
                pid = _SIZE.unpack(self._socket.recv(_SIZE.size, socket.MSG_WAITALL))[0]
        except BaseException:
            os.close(status)
            raise
        finally:
            os.close(end)
        return pid, status


_servers: dict[int, _Server] = {}


def server() -> _Server:
    if os.getpid() not in _servers:
        _servers.clear()
        _servers[os.getpid()] = _Server()
    return _servers[os.getpid()]


def forked(command: list[str], environment: dict[str, str]) -> tuple[str, list[str]] | None:
    """As `_program`; None also where Python itself would behave otherwise than in the process that forks."""
    found = _program(command)
    return found if found and _pythons_own(environment) == _pythons_own(server().environment) else None


def status_of(end: int, wait: bool) -> int | None:
    """The status that the end of a program left here, as `os.waitpid` gives it; None while it runs."""
    os.set_blocking(end, wait)
    try:
        content = os.read(end, _STATUS.size)
    except BlockingIOError:
        return None
    os.close(end)
    return int(_STATUS.unpack(content)[0]) if content else signal.SIGKILL


class Popen(subprocess.Popen):  # type: ignore[type-arg]
    """As `subprocess.Popen`; our own programs are forked."""

    _end = -1

    def _execute_child(self, args: Any, *rest: Any) -> None:
        command = [os.fsdecode(word) for word in args] if isinstance(args, list | tuple) else []
        cwd, env = rest[4], rest[5]
        environment = dict(os.environ if env is None else env)
        found = forked(command, environment) if command else None
        if found is None:
            super()._execute_child(args, *rest)  # type: ignore[misc]
            return
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = rest[9:15]
        name, words = found
        request = {
            "program": name,
            "command": command[0],
            "words": words,
            "environment": environment,
            "folder": os.fspath(cwd or Path.cwd()),
            "session": bool(rest[20]),
            "terminal": False,
        }
        streams = tuple(own if given == -1 else given for own, given in enumerate((p2cread, c2pwrite, errwrite)))
        self.pid, self._end = server().start(request, streams)  # type: ignore[arg-type]
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._end < 0:
            return super()._try_wait(wait_flags)  # type: ignore[misc,no-any-return]
        status = status_of(self._end, not wait_flags & os.WNOHANG)
        if status is None:
            return 0, 0
        self._end = -2
        return self.pid, status

    def _internal_poll(self, *arguments: Any, **named: Any) -> int | None:
        if self._end == -1:
            return super()._internal_poll(*arguments, **named)  # type: ignore[misc,no-any-return]
        if self.returncode is None and self._end >= 0:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode


def run(
    command: list[str],
    *,
    input: str | bytes | None = None,  # noqa: A002 - the name of subprocess.run
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """As `subprocess.run`; our own programs are forked."""
    if input is not None:
        options["stdin"] = subprocess.PIPE
    if capture_output:
        options["stdout"] = options["stderr"] = subprocess.PIPE
    with Popen(command, **options) as process:
        try:
            out, err = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
    if check and process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, out, err)
    return subprocess.CompletedProcess(command, process.returncode, out, err)
