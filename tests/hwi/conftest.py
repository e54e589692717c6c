"""The emulated card, and the program run against it: in this process (quick), or as a process of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hwilib_cryptnox.hwi import program
from hwilib_cryptnox.pin import policy as unlock
from hwilib_cryptnox.storage.state import State
from tests.support import quick
from tests.support.emulator import MNEMONIC, PIN, SEED, EmulatorProcess


@dataclass
class Outcome:
    """What a run left."""

    answer: Any
    error: str
    code: int


class Program:
    """`hwi-cryptnox`, as a function."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def outcome(self, *arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Outcome:
        """Run in this process, as a process of its own would: nothing is remembered but what is on disk."""
        unlock._refused.clear()
        unlock._noted.clear()
        self._capsys.readouterr()
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            try:
                code = program.run(list(arguments))
            except SystemExit as end:
                code = int(end.code or 0)
        out, error = self._capsys.readouterr()
        lines = out.splitlines()
        assert len(lines) == 1, out
        return Outcome(json.loads(lines[0]), error, code)

    def __call__(self, *arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Any:
        """The answer of a run that ends with status 0 and says nothing on stderr."""
        outcome = self.outcome(*arguments, stdin=stdin, env=env)
        assert (outcome.code, outcome.error) == (0, "")
        return outcome.answer

    def on(self, card: EmulatorProcess, *arguments: str, pin: str | None = PIN, **options: Any) -> Any:
        """A command on a card by its path."""
        password = () if pin is None else ("--password", pin)
        return self("--device-type", "cryptnox", "--device-path", card.path, *password, *arguments, **options)


@pytest.fixture
def hwi(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return Program(monkeypatch, capsys)


@pytest.fixture
def state() -> State:
    """The state folder of this test."""
    return State()


@pytest.fixture(scope="module")
def card() -> Iterator[EmulatorProcess]:
    """A card with the well-known recovery words, shared by the tests of a module: none of them spends a PIN try."""
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as emulator:
        yield emulator


@pytest.fixture(scope="module")
def signer() -> Iterator[EmulatorProcess]:
    """A card with the keys of `tests.psbt.factory.ME`."""
    with EmulatorProcess("--seed", SEED, "--xpub-export") as emulator:
        yield emulator


@pytest.fixture
def fresh() -> Iterator[EmulatorProcess]:
    """A card of this test's own."""
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as emulator:
        yield emulator


def run_process(
    *arguments: str, stdin: str | bytes = "", env: dict[str, str] | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[bytes]:
    """`hwi-cryptnox` as a process."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    command = [str(Path(sys.executable).with_name("hwi-cryptnox")), *arguments]
    return quick.run(command, input=data, capture_output=True, env={**os.environ, **(env or {})}, timeout=timeout)
