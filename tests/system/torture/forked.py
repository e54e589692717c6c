"""Programs and emulated cards as forked processes: quick to start, and stopped at an exact moment where that is wanted.

The process that uses this has no second thread.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pexpect
from pexpect import fdpexpect

from cryptnox_core.emulator.card import Card as EmulatedCard
from cryptnox_core.emulator.faults import Fault
from cryptnox_core.emulator.memory import Memory
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.emulator.server import Engine, Files, TcpServer
from cryptnox_core.transport.tcp import RemoteTransport
from cryptnox_core.wire import AID, Ins
from hwilib_cryptnox.ctl import main as ctl
from hwilib_cryptnox.hwi import program as hwi
from tests.support.everything import import_everything

import_everything()  # once here, not in each forked process

PROGRAMS: dict[str, Callable[[list[str]], int]] = {"hwi": hwi.run, "ctl": ctl.main}
LIMIT = 30.0
"""Seconds a program may take."""
MOMENTS = frozenset(
    {"open", "fsync", "rename", "replace", "link", "unlink", "mkdir", "chmod", "fchmod", "utime", "flock", "write"}
    | {"flush", "close", "connect", "sendall", "recv"}
)
"""Calls by which something leaves the program: to the card, to its state, to results. Right before each of them is a
moment; what was done after the call before it has happened then."""
Steps = Sequence[tuple[str, str]]
"""What a terminal shows, and what is typed then."""


class ForkedCard:
    """An emulated card on a port of its own, in a process of its own."""

    def __init__(
        self, memory: Memory, folder: Path, faults: Iterable[Fault] = (), readings: Iterable[Reading] = ()
    ) -> None:
        self.serial = memory.serial
        self._state, self._stats = folder / "card.json", folder / "card-stats.json"
        server = TcpServer(
            Engine(EmulatedCard(memory, readings), files=Files(self._state, self._stats), faults=tuple(faults)),
            "127.0.0.1",
            0,
        )
        host, port = server.address
        self.address = f"{host}:{port}"
        self.path = f"tcp:{self.address}"
        self._pid = os.fork()
        if not self._pid:
            try:
                server.serve()
            finally:
                os._exit(1)
        server.close()

    def __enter__(self) -> ForkedCard:
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def settle(self) -> None:
        """Wait until the card has ended what a program that is gone had it begin."""
        host, _, port = self.address.rpartition(":")
        transport = RemoteTransport.connect(host, int(port), LIMIT, wait=LIMIT)
        transport.transmit(bytes((0, Ins.SELECT, 4, 0, len(AID))) + AID)
        transport.close()

    def memory(self) -> dict[str, object]:
        """What the card keeps without power."""
        kept: dict[str, object] = json.loads(self._state.read_text())
        return kept

    def count(self, what: str) -> int:
        """`apdus`, `signatures`, `pin_tries` or `puk_tries` so far."""
        return int(json.loads(self._stats.read_text())[what])


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit status, or minus the signal; what it said."""

    status: int
    out: str
    err: str
    moments: int
    """How many it passed, where they were counted."""
    first: int
    """The moment of its first connection to the card; 0 where it was killed, or they were not counted."""


def environment(folder: Path, card: ForkedCard) -> dict[str, str]:
    """A home of its own, and no reader."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTNOX_")}
    return {
        **kept,
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "PCSCLITE_CSOCK_NAME": os.devnull,
        "CRYPTNOX_EMULATOR": card.address,
        "CRYPTNOX_REINSERT_WAIT": "1",
        "TERM": "dumb",
    }


def run(
    program: str,
    words: Sequence[str],
    environ: Mapping[str, str],
    *,
    stdin: str = "",
    steps: Steps | None = None,
    stop_at: int | None = None,
) -> Ended:
    """Run a program to its end, on pipes, or on a terminal where there are `steps`.

    `stop_at`: kill it (SIGKILL) at this moment, counted from 1; 0: at none, but count them, which takes time.
    AssertionError where it does not end.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        read, write = os.pipe()
        pid, terminal = (os.fork(), -1) if steps is None else pty.fork()
        if not pid:
            if steps is None:
                os.setsid()
                for number, file in enumerate((given, out, err)):
                    os.dup2(file.fileno(), number)
            _be(program, list(words), environ, stop_at, write)
        os.close(write)
        shown = "" if steps is None else _talk(terminal, steps)
        status = _wait(pid)
        moments = os.read(read, 32)
        os.close(read)
        if steps is not None:
            os.close(terminal)
        for file in (out, err):
            file.seek(0)
        passed, first = map(int, moments.split()) if moments else (stop_at or 0, 0)
        return Ended(status, out.read().decode() + shown, err.read().decode(), passed, first)


def _be(program: str, words: list[str], environ: Mapping[str, str], stop_at: int | None, report: int) -> None:
    """The program, in the forked process; does not return."""
    status, seen, first = 70, 0, 0

    def look(frame: FrameType, event: str, function: object) -> None:
        nonlocal seen, first
        if event == "c_call" and getattr(function, "__name__", "") in MOMENTS:
            seen += 1
            if not first and getattr(function, "__name__", "") == "connect":
                first = seen
            if seen == stop_at:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        os.environ.clear()
        os.environ.update(environ)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - this process's until its end
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        sys.argv = [program, *words]
        if stop_at is not None:
            sys.setprofile(look)
        status = PROGRAMS[program](words)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter would
        traceback.print_exc()
        status = 1
    finally:
        sys.setprofile(None)
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(report, f"{seen} {first}".encode())
        os._exit(status)


def _talk(terminal: int, steps: Steps) -> str:
    """Answer what is asked; all that was shown."""
    child = fdpexpect.fdspawn(terminal, encoding="utf-8", timeout=LIMIT)
    child.delaybeforesend = None
    shown = []
    try:
        for question, reply in steps:
            child.expect_exact(question)
            shown.append(child.before + question)
            child.sendline(reply)
        child.expect(pexpect.EOF)
    except pexpect.EOF:
        pass
    except OSError:  # it ended between its question and our answer
        pass
    except pexpect.TIMEOUT as error:
        raise AssertionError(f"it neither asks nor ends: {child.before!r}") from error
    return "".join(shown) + (child.before if isinstance(child.before, str) else "")


def _wait(pid: int) -> int:
    end = time.monotonic() + LIMIT
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"it did not end within {LIMIT:.0f} s")
        time.sleep(0.002)


def check_said(ended: Ended, *secrets: str) -> None:
    """No traceback and no secret in what a program said."""
    for text in (ended.out, ended.err):
        if "Traceback" in text:
            raise AssertionError(text)
        if any(secret in text for secret in secrets):
            raise AssertionError("it tells a secret")


def check_state(folder: Path, *, whole: bool = True) -> int:
    """Every state file is whole and private; how many there are. `whole`: nor is there one that was only begun."""
    state, number = folder / "state/hwi-cryptnox", 0
    for path in state.rglob("*"):
        if path.stat().st_mode & 0o077:
            raise AssertionError(f"{path.name}: others may read it")
        if path.name.startswith(".new-"):
            if whole:
                raise AssertionError(f"{path.relative_to(state)} was only begun, and is still there")
            continue
        if path.is_dir() or path.name == "lock" or path.parent.name == "locks":
            continue
        number += 1
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".jsonl":
            for line in path.read_text().splitlines():
                json.loads(line)
    return number
