"""One reader, in which emulated cards take turns."""

from __future__ import annotations

from pathlib import Path

from tests.support.emulator import EmulatorProcess


class Slot:
    """A context manager that takes the last card out."""

    def __init__(self) -> None:
        self.card = EmulatorProcess()

    def insert(self, state: Path, *options: str) -> EmulatorProcess:
        """Take out the card that is there, put in the one with this state."""
        self.card.stop()
        address = f"127.0.0.1:{self.card.port}"
        self.card = EmulatorProcess("--state", str(state), *options, listen=address).start()
        return self.card

    def remove(self) -> None:
        """Take out the card that is there."""
        self.card.stop()

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, *_: object) -> None:
        self.card.stop()
