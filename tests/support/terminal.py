"""Programs on a terminal of their own, as `pexpect.spawn` has them; ours are forked (`quick`)."""

from __future__ import annotations

import fcntl
import os
import shlex
import struct
import termios
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pexpect
from ptyprocess import PtyProcess

from tests.support import quick


class _Terminal(PtyProcess):  # type: ignore[misc]
    """A forked program on a terminal: no child of this process, so its end is read from `end`."""

    def __init__(self, pid: int, fd: int, end: int) -> None:
        super().__init__(pid, fd)
        self._end = end
        self.delayafterclose = 0.0

    def isalive(self) -> bool:
        return not self.terminated and not self._ended(wait=self.flag_eof)

    def wait(self) -> int | None:
        if not self.terminated:
            self._ended(wait=True)
        return self.exitstatus  # type: ignore[no-any-return]

    def _ended(self, wait: bool) -> bool:
        status = quick.status_of(self._end, wait)
        if status is None:
            return False
        self.terminated, self.status = True, status
        self.exitstatus = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        self.signalstatus = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        return True


class _Spawned(pexpect.spawn):
    def __init__(self, command: list[str], redirected: dict[int, Path], found: tuple[str, list[str]], **options: Any):
        self._request, self._redirected = found, redirected
        super().__init__(command[0], command[1:], **options)

    def _spawnpty(self, args: list[bytes], **options: Any) -> _Terminal:
        name, words = self._request
        request = {
            "program": name,
            "command": os.fsdecode(args[0]),
            "words": words,
            "environment": dict(os.environ if options["env"] is None else options["env"]),
            "folder": os.fspath(options["cwd"] or Path.cwd()),
            "session": True,
            "terminal": True,
        }
        with ExitStack() as opened:
            master, terminal = os.openpty()
            opened.callback(os.close, terminal)
            size = struct.pack("HHHH", *(options.get("dimensions") or (24, 300)), 0, 0)
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
            streams = [terminal] * 3
            for number, path in self._redirected.items():
                streams[number] = opened.enter_context(path.open("wb" if number else "rb")).fileno()
            pid, end = quick.server().start(request, (streams[0], streams[1], streams[2]))
        return _Terminal(pid, master, end)


def spawn(
    command: list[str],
    *,
    stdin: Path | None = None,
    stdout: Path | None = None,
    env: dict[str, str] | None = None,
    **options: Any,
) -> pexpect.spawn:
    """As `pexpect.spawn`, with streams from and to files: a program on a terminal of its own; ours are forked. What is
    sent is sent at once."""
    redirected = {number: path for number, path in enumerate((stdin, stdout)) if path is not None}
    found = quick.forked(command, dict(os.environ if env is None else env))
    if found is not None:
        child = _Spawned(command, redirected, found, env=env, **options)
    else:
        line = "exec " + shlex.join(command)
        for number, path in redirected.items():
            line += f" {number}{'>' if number else '<'}{shlex.quote(str(path))}"
        child = pexpect.spawn("/bin/sh", ["-c", line], env=env, **options)
    child.delaybeforesend = None
    return child
