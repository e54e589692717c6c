"""Both programs in this process, as a shell starts them, and emulated cards in every state."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.support.emulator import MNEMONIC, PIN, SEED, EmulatorProcess
from tests.system.frozen import names

CARDS: dict[str, tuple[str, ...]] = {
    "wallet": ("--mnemonic", MNEMONIC, "--xpub-export"),
    "signer": ("--seed", SEED, "--xpub-export"),
    "export off": ("--mnemonic", MNEMONIC),
    "factory": (),
    "no seed": ("--pin", PIN),
    "NFT": ("--type", "N", "--seed", "11" * 32),
    "empty NFT": ("--type", "N"),
}
"""Options of the emulated cards by their names."""


class Cards:
    """Emulated cards, started when they are wanted first, and used by all tests of a module that spend nothing."""

    def __init__(self) -> None:
        self._running: dict[str, EmulatorProcess] = {}

    def __getitem__(self, name: str) -> EmulatorProcess:
        if name not in self._running:
            self._running[name] = EmulatorProcess(*CARDS[name]).start()
        return self._running[name]

    def of(self, card: str | list[str] | None, stack: ExitStack) -> EmulatorProcess | None:
        """One of them by its name, or a wallet's of a case's own, by further options, which ends with `stack`."""
        if card is None or isinstance(card, str):
            return None if card is None else self[card]
        return stack.enter_context(EmulatorProcess(*CARDS["wallet"], *card))

    def stop(self) -> None:
        for card in self._running.values():
            card.stop()


@contextmanager
def _streams(monkeypatch: pytest.MonkeyPatch, stdin: bytes) -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """Pipes for stdin, stdout and stderr, and no terminal."""
    out, error = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    open_path = Path.open

    def without_terminal(path: Path, *arguments: Any, **options: Any) -> IO[Any]:
        if str(path) == "/dev/tty":
            raise OSError(6, "No such device or address")
        return open_path(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", without_terminal)
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", error)
        yield out, error


def _written(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def hwi(monkeypatch: pytest.MonkeyPatch, *arguments: str, stdin: str = "") -> tuple[int, Any]:
    """Exit status of `hwi-cryptnox`, and its answer."""
    names.forget_this_process()
    with _streams(monkeypatch, stdin.encode()) as (out, _):
        monkeypatch.setattr(sys, "argv", ["hwi-cryptnox", *arguments])
        with pytest.raises(SystemExit) as end:
            names.program("hwi-cryptnox")()
    (line,) = _written(out).splitlines()
    return int(end.value.code or 0), json.loads(line)


def ctl(monkeypatch: pytest.MonkeyPatch, *arguments: str, stdin: str | bytes = "") -> dict[str, Any]:
    """The answer of `cryptnoxctl ... --json` that is an error, which says the exit status."""
    names.forget_this_process()
    before = signal.getsignal(signal.SIGTERM)
    with _streams(monkeypatch, stdin if isinstance(stdin, bytes) else stdin.encode()) as (out, error):
        try:
            code = names.program("cryptnoxctl")([*arguments, "--json"])
        finally:
            signal.signal(signal.SIGTERM, before)
    text = _written(out)
    assert text, _written(error)
    answer: dict[str, Any] = json.loads(text)
    assert answer["exit_code"] == code, answer
    return answer


def configure(*lines: str) -> None:
    """Write the configuration file."""
    folder = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_bytes("\n".join((*lines, "")).encode("utf-8", "surrogateescape"))


def filled(text: str, card: EmulatorProcess | None, folder: Path) -> str:
    """A text of a case with what is known only when it runs."""
    values = {"tmp": str(folder), "config": os.environ["XDG_CONFIG_HOME"], "state": os.environ["XDG_STATE_HOME"]}
    if card is not None:
        values |= {"path": card.path, "serial": str(card.serial), "address": card.path.removeprefix("tcp:")}
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    return text
