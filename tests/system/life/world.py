"""Cards in their places, a home for programs, and programs run there one after the other.

The cards live in this process. The programs are forked from it; it has no second thread.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from cryptnox_core.emulator.memory import Memory
from cryptnox_core.emulator.readings import Reading
from tests.system.life.forking import PLAIN, SIZE, Way
from tests.system.life.people import Person
from tests.system.life.running import Event, Exchange, Running, Told
from tests.system.life.slots import Chip, Slot
from tests.system.life.spoiling import mend, spoil

READERS = ["Life Reader 00 00", "Life Reader 01 00"]


class World:
    """Cards, a home, and programs run on them one after the other."""

    def __init__(
        self, folder: Path, *memories: Memory, in_readers: bool = False, readings: Sequence[Reading] = ()
    ) -> None:
        """`in_readers`: the cards are in readers of a PC/SC service, and not at addresses."""
        self.folder = folder
        names = READERS if in_readers else [""] * len(memories)
        self.slots = [Slot(memory, name, readings) for memory, name in zip(memories, names, strict=False)]
        self.cards = [slot.card for slot in self.slots]
        self.spare: list[Chip] = []
        """Cards that are in no slot."""

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        for slot in self.slots:
            slot.remove()

    @property
    def state(self) -> Path:
        """The program's state folder."""
        return self.folder / "state/hwi-cryptnox"

    def swap(self, place: int = 0) -> None:
        """The person takes the card out and puts the spare one in."""
        slot = self.slots[place]
        slot.hang_up()
        slot.card.power_up()
        self.spare.append(slot.card)
        slot.card = self.spare.pop(0)

    def kept(self) -> dict[str, object]:
        """`pairing.json`."""
        file = self.state / "pairing.json"
        content: dict[str, object] = json.loads(file.read_text()) if file.is_file() else {}
        return content

    def environment(self) -> dict[str, str]:
        """A home of its own, no reader, short waits."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTNOX_")}
        return {
            **kept,
            "HOME": str(self.folder),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "PCSCLITE_CSOCK_NAME": os.devnull,
            **({} if self.slots[0].reader else {"CRYPTNOX_EMULATOR": self.slots[0].address}),
            "CRYPTNOX_REINSERT_WAIT": "0.1",
            "CRYPTNOX_WAIT": "0.2",
            "TERM": "dumb",
            "COLUMNS": str(SIZE[1]),
            "LINES": str(SIZE[0]),
        }

    def run(
        self,
        program: str,
        words: Sequence[str],
        person: Person,
        event: Event | None = None,
        way: Way = PLAIN,
    ) -> Told:
        """Run a program to its end, while a person answers what it asks."""
        with Running(self, program, words, person, event, way) as running:
            return running.finish()

    def race(self, programs: Sequence[tuple[str, Sequence[str], Person]], way: Way) -> list[Told]:
        """Several programs at once, turn by turn."""
        with contextlib.ExitStack() as stack:
            running = [
                stack.enter_context(Running(self, program, words, person, None, way))
                for program, words, person in programs
            ]
            while sum(each.step() for each in running):
                pass
            return [each.told for each in running]


__all__ = ["READERS", "SIZE", "Chip", "Event", "Exchange", "Slot", "Told", "Way", "World", "mend", "spoil"]
