"""The program under test, forked from this process: with a terminal of its own, pipes, and short waits."""

from __future__ import annotations

import fcntl
import gc
import os
import pty
import signal
import struct
import sys
import termios
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

from cryptnox_core.transport import tcp as remote
from hwilib_cryptnox.ctl import main as ctl
from hwilib_cryptnox.hwi import program as hwi
from tests.support.everything import import_everything
from tests.system.life import readers
from tests.system.torture.forked import MOMENTS

import_everything()  # once here, not in each forked process

SILENCE = 0.4
"""Seconds a program waits here for an answer that does not come (a minute elsewhere)."""
SIZE = (24, 80)
"""Lines and columns of the terminal."""


@dataclass(frozen=True)
class Way:
    """How a program is run."""

    stdin: str | None = None
    """What is piped in; None for the terminal."""
    stdout: str = "pipe"
    """Or `full`, `closed`, `broken` (its reader has left)."""
    prompt: int = 0
    """The prompt, from 1, at which `key` is typed."""
    key: bytes = b"\x03"
    """Ctrl-C, or Ctrl-D."""
    alone: bool = False
    """There is no terminal."""
    moment: int = 0
    """The moment (`tests.system.torture.forked`), from 1, at which Ctrl-C comes."""
    count: bool = False
    """The moments are counted, which takes time."""
    environ: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    """Readers by name, where there are any."""


PLAIN = Way()
"""As people do."""


@dataclass
class Forked:
    """A process, its terminal, and the pipes by which its stdout, its stderr and its count of moments come."""

    pid: int
    terminal: int
    out: int
    err: int
    report: int


def start(program: str, words: Sequence[str], way: Way) -> Forked:
    """Fork it."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
    (out, out_end), (err, err_end), (given_end, given), (report, report_end) = (os.pipe() for _ in range(4))
    os.write(given, (way.stdin or "").encode())
    os.close(given)
    gc.freeze()  # the forked process copies no page only because it collects
    pid = os.fork()
    if not pid:
        try:
            os.setsid()
            if not way.alone:
                fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            os.dup2(slave if way.stdin is None and not way.alone else given_end, 0)
            os.dup2(os.open("/dev/full", os.O_WRONLY) if way.stdout == "full" else out_end, 1)
            os.dup2(err_end, 2)
            os.dup2(report_end, _REPORT)
            os.closerange(3, _REPORT)
            if way.stdout == "closed":
                os.close(1)
            _be(program, list(words), way)
        finally:
            os._exit(70)
    for number in (slave, out_end, err_end, given_end, report_end):
        os.close(number)
    if way.stdout == "broken":
        os.close(out)
        out = -1
    return Forked(pid, master, out, err, report)


_REPORT = 100
"""The descriptor of the report."""


def _be(program: str, words: list[str], way: Way) -> None:
    """The program, in the forked process; does not return."""
    status, seen = 70, 0

    def look(frame: FrameType, event: str, function: object) -> None:
        nonlocal seen
        if event == "c_call" and getattr(function, "__name__", "") in MOMENTS:
            seen += 1
            if seen == way.moment:
                os.kill(os.getpid(), signal.SIGINT)

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(way.environ)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - this process's until its end
        sys.stdout = None if way.stdout == "closed" else open(1, "w", closefd=False)  # type: ignore[assignment]  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        sys.argv = ["hwi-cryptnox" if program == "hwi" else "cryptnoxctl", *words]
        _short_silence()
        if way.ports:
            readers.install(dict(way.ports), SILENCE)
        if way.moment or way.count:
            sys.setprofile(look)
        status = PROGRAMS[program](words)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter would
        traceback.print_exc()
        status = 1
    finally:
        sys.setprofile(None)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            status = 120  # as the interpreter would
    os.write(_REPORT, str(seen).encode())
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
