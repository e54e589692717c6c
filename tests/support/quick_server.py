"""The process that `quick` has fork: it has loaded our programs, and runs one in each process it makes."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import importlib
import io
import json
import os
import select
import signal
import socket
import struct
import sys
import termios
import threading
import traceback
from collections.abc import Callable
from typing import Any, TextIO

from hwilib_cryptnox.ctl import main as ctl
from hwilib_cryptnox.hwi import program as hwi
from tests.support.everything import import_everything

_SIZE = struct.Struct(">I")
_STATUS = struct.Struct(">i")


def _ctl() -> int:
    return ctl.main(sys.argv[1:])


def _hwi() -> None:
    hwi.main()


PROGRAMS: dict[str, Callable[[], int | None]] = {"ctl": _ctl, "hwi": _hwi}


def load() -> None:
    """Everything that a program loads late, so that it is loaded once."""
    import_everything()
    for name in (
        "cryptnox_core.emulator.server",
        "cryptnox_core.transport.pcsc",
        "cryptnox_core.transport.tcp",
        "coincurve",
        "embit",
    ):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _stream(number: int, mode: str, like: TextIO, **options: Any) -> TextIO:
    return io.TextIOWrapper(
        open(number, mode, -1, closefd=False),
        encoding=like.encoding,
        errors=like.errors,
        line_buffering=options.get("line_buffering", os.isatty(number)),
        write_through=False,
    )


def run(request: dict[str, Any], descriptors: list[int]) -> int:
    """In the new process: become the program. Its exit status."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.closerange(3, 4096)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    if request["session"]:
        os.setsid()
    if request["terminal"]:
        fcntl.ioctl(2, termios.TIOCSCTTY, 0)  # the terminal that stderr is becomes the session's
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = [request["command"], *request["words"]]
    sys.stdin = _stream(0, "rb", sys.stdin)
    sys.stdout = _stream(1, "wb", sys.stdout)
    sys.stderr = _stream(2, "wb", sys.stderr, line_buffering=True)
    try:
        return int(PROGRAMS[request["program"]]() or 0)
    except SystemExit as end:
        return int(end.code or 0)
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 - as Python's own end
        traceback.print_exc()
    return 1


def end(status: int) -> None:
    """As Python ends: threads, exit handlers, what is still to be written."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError:
        status = 120
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(status)


def serve(connection: socket.socket) -> None:
    """Fork a program for each request, and tell of each one's end."""
    ends: dict[int, int] = {}
    awake, wake = os.pipe()
    os.set_blocking(awake, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([connection, awake], [], [])
        if awake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(awake, 4096)
            _tell(ends)
        if connection in ready:
            size, descriptors, _, _ = socket.recv_fds(connection, _SIZE.size, 4)
            if not size:  # the tests are over, or were killed: an emulated card left behind would spoil the next ones
                for pid in ends:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM)
                return
            request = json.loads(connection.recv(_SIZE.unpack(size)[0], socket.MSG_WAITALL))
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                status = 1
                try:
                    # Numbers 0 to 2 are about to be replaced: none of these may be one of them.
                    status = run(request, descriptors[:3])
                finally:
                    end(status)
            ends[pid] = descriptors[3]
            for descriptor in descriptors[:3]:
                os.close(descriptor)
            connection.sendall(_SIZE.pack(pid))


def _tell(ends: dict[int, int]) -> None:
    while ends:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        with contextlib.suppress(OSError):
            os.write(ends[pid], _STATUS.pack(status))
        os.close(ends.pop(pid))


if __name__ == "__main__":
    load()
    serve(socket.socket(fileno=int(sys.argv[1])))
