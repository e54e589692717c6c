"""The program under test, forked from this process: with a terminal of its own, pipes, and short waits."""

from __future__ import annotations

import fcntl
import gc
import importlib
import os
import pkgutil
import pty
import signal
import struct
import sys
import termios
import traceback
from collections.abc import Callable, Sequence

import hwilib_cryptnox
from cryptnox_core import remote
from hwilib_cryptnox import hwi
from hwilib_cryptnox.ctl import main as ctl
from tests.life import readers

for _module in pkgutil.walk_packages(hwilib_cryptnox.__path__, "hwilib_cryptnox."):
    if "specter" not in _module.name:  # they want Specter
        importlib.import_module(_module.name)  # once here, not in each forked process

SILENCE = 0.4
"""Seconds a program waits here for an answer that does not come (a minute elsewhere)."""
SIZE = (24, 80)
"""Lines and columns of the terminal."""


def start(
    program: str,
    words: Sequence[str],
    environ: dict[str, str],
    stdin: str | None,
    stdout: str,
    ports: dict[str, int],
    alone: bool,
) -> tuple[int, int, int, int]:
    """Fork it: its process, its terminal, and the pipes that stdout (-1: none) and stderr come by."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    given_read, given_write = os.pipe()
    os.write(given_write, (stdin or "").encode())
    os.close(given_write)
    gc.freeze()  # the forked process copies no page only because it collects
    pid = os.fork()
    if not pid:
        try:
            os.setsid()
            if not alone:
                fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            os.dup2(slave if stdin is None and not alone else given_read, 0)
            os.dup2(os.open("/dev/full", os.O_WRONLY) if stdout == "full" else out_write, 1)
            os.dup2(err_write, 2)
            os.closerange(3, 64)
            if stdout == "closed":
                os.close(1)
            _be(program, list(words), environ, ports, closed=stdout == "closed")
        finally:
            os._exit(70)
    os.close(slave)
    os.close(out_write)
    os.close(err_write)
    os.close(given_read)
    if stdout == "broken":
        os.close(out_read)
        return pid, master, -1, err_read
    return pid, master, out_read, err_read


def _be(program: str, words: list[str], environ: dict[str, str], ports: dict[str, int], *, closed: bool) -> None:
    """The program, in the forked process; does not return."""
    status = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(environ)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - this process's until its end
        sys.stdout = None if closed else open(1, "w", closefd=False)  # type: ignore[assignment]  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        sys.argv = ["hwi-cryptnox" if program == "hwi" else "cryptnoxctl", *words]
        _short_silence()
        if ports:
            readers.install(ports, SILENCE)
        status = PROGRAMS[program](words)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter would
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            status = 120  # as the interpreter would
    os._exit(status)


def _short_silence() -> None:
    """A card that is silent is given up soon."""
    receive = remote._MessageStream.receive

    def soon(self: remote._MessageStream, limit: float | None) -> bytes:
        return receive(self, SILENCE if limit is None or limit > SILENCE else limit)

    remote._MessageStream.receive = soon  # type: ignore[method-assign]


def _hwi(words: list[str]) -> int:
    hwi.main()
    return 0


PROGRAMS: dict[str, Callable[[list[str]], int]] = {"hwi": _hwi, "ctl": ctl.main}
