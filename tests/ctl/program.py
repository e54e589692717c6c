"""Runs cryptnoxctl as people do: as a program, with pipes or on a terminal of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pexpect

from tests.support import quick
from tests.support.emulator import PIN, PUK, SEED, EmulatorProcess
from tests.support.terminal import spawn

COMMAND = [sys.executable, "-m", "hwilib_cryptnox.ctl.main"]
SCHEMAS = Path(__file__).with_name("schemas.json")
__all__ = ["PIN", "PUK", "SEED"]
WAIT = 60
"""Seconds a terminal test waits for a text."""


@cache
def schemas() -> dict[str, Any]:
    return json.loads(SCHEMAS.read_text())


def environment(card: EmulatorProcess | None, **more: str) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    if card is not None:
        env["CRYPTNOX_EMULATOR"] = f"{card.host}:{card.port}"
    return env | more


def run(
    card: EmulatorProcess | None, *words: str, stdin: str | bytes = "", pin: str | None = PIN, **more: str
) -> subprocess.CompletedProcess[str]:
    """Without a terminal. `pin` comes from the environment; None for none."""
    env = environment(card, **more) | ({} if pin is None else {"CRYPTNOX_PIN": pin})
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    done = quick.run([*COMMAND, *words], input=data, capture_output=True, env=env, start_new_session=True, timeout=120)
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    )


def answer(
    card: EmulatorProcess | None, *words: str, schema: str | None = None, code: int = 0, **options: Any
) -> dict[str, Any]:
    """The JSON answer of a command, checked against its schema (by default the command's name) and its exit code."""
    done = run(card, *words, "--json", **options)
    assert done.returncode == code, (done.stdout, done.stderr)
    data = json.loads(done.stdout)
    jsonschema.validate(data, schemas()["error" if code and schema is None else schema or words[0]])
    return data


@contextmanager
def terminal(
    card: EmulatorProcess | None,
    *words: str,
    stdout: Path | None = None,
    columns: int = 300,
    rows: int = 50,
    **more: str,
) -> Iterator[pexpect.spawn]:
    """On a terminal of its own, so wide that what it says is not broken; `stdout`: into this file instead."""
    child = spawn(
        [*COMMAND, *words],
        stdout=stdout,
        env=environment(card, **{"TERM": "xterm", **more}),
        encoding="utf-8",
        timeout=WAIT,
        dimensions=(rows, columns),
    )
    child.seen = []
    child.logfile_read = Recorder(child.seen)
    try:
        yield child
    finally:
        child.close(force=True)


class Recorder:
    """Keeps all that the terminal showed."""

    def __init__(self, pieces: list[str]) -> None:
        self._pieces = pieces

    def write(self, text: str) -> None:
        self._pieces.append(text)

    def flush(self) -> None:
        pass


def shown(child: pexpect.spawn) -> str:
    """All that the terminal showed."""
    return "".join(child.seen)


def uncolored(text: str) -> str:
    """What a terminal showed, without colors and carriage returns."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r", "")


def dialogue(child: pexpect.spawn, *steps: tuple[str, str]) -> None:
    """Wait for each text, answer it."""
    for question, reply in steps:
        child.expect_exact(question)
        child.sendline(reply)


def ended(child: pexpect.spawn) -> int:
    """Wait for the end; the exit code."""
    child.expect(pexpect.EOF)
    child.wait()
    return int(child.exitstatus)
