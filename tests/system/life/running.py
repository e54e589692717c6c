"""A program at a terminal, and the cards it works on, in one loop: so that it is known what the cards hold at each
word, and a fault, a kill or a key can be placed between any two APDUs and at any prompt."""

from __future__ import annotations

import copy
import os
import re
import select
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cryptnox_core.emulator.card import Answer
from cryptnox_core.wire import Ins
from tests.system.life.forking import Way, start
from tests.system.life.people import Person
from tests.system.life.slots import Slot
from tests.system.life.spoiling import spoil
from tests.system.life.words import QUESTION, continues

if TYPE_CHECKING:
    from tests.system.life.world import World

LIMIT = 30.0
"""Seconds a program may take."""
_SHOWN, _HIDDEN = "\x1b[?1049h", "\x1b[?1049l"


@dataclass(frozen=True)
class Event:
    """What happens at one APDU.

    `kind` before the card has seen the APDU: `remove` the card leaves; `sw:XXXX` somebody in between answers with a
    status word; `kill` SIGKILL, `int` Ctrl-C.

    After it was executed: `lost` its answer is lost, the card powered off; `torn` as `lost`, but RESET is left half
    done; `other` as `lost`, and another card is put in; `taken` as `lost`, and another program takes the card;
    `garbage`, `badmac` a wrong answer; `silence`; `killed` SIGKILL, `inted` Ctrl-C, `inted twice` once more at the next
    APDU, `signal N` that signal; `state gone`, `state full` from here on nothing can be written to the state folder.

    A lie: `forgets` the card says 9000 and keeps what it had; `alters` it says 9000, and the value it took is another
    one (what a reader in the middle can do to a first block).

    `says:XXXX` it says that, in the channel, after it was executed.

    With `out` the card does not come back. `wait`: nothing.
    """

    kind: str
    at: int = 0
    """Number of the APDU, from 1."""
    out: bool = False

    def __str__(self) -> str:
        return f"{self.kind}{' for good' if self.out else ''}@{self.at}"


@dataclass(frozen=True)
class Exchange:
    """One APDU, as the card saw it. `changes`: the facts that it changed."""

    number: int
    ins: int
    changes: frozenset[str] = frozenset()
    serial: int = 0
    """Which card's."""

    @property
    def changed(self) -> bool:
        return bool(self.changes)

    def __str__(self) -> str:
        return f"{self.number}:{Ins(self.ins).name if self.ins in list(Ins) else f'{self.ins:02X}'}"


@dataclass
class Told:
    """A program that ended: its status (minus the signal), all that it said, and when."""

    status: int = -1
    out: str = ""
    err: str = ""
    terminal: str = ""
    prompts: list[str] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    progress: str = ""
    """What the terminal showed after the card was changed first and before the last prompt: lines, no prompts."""
    late: str = ""
    """The same, after the last prompt."""
    hung: bool = False
    moments: int = 0
    """How many it passed; 0 where it was killed."""

    @property
    def killed(self) -> bool:
        """By whatever signal."""
        return self.status < 0

    def changing(self) -> list[int]:
        """Numbers of the APDUs that changed the card."""
        return [exchange.number for exchange in self.exchanges if exchange.changed]


class Running:
    """One program, from its fork to its end."""

    def __init__(
        self,
        world: World,
        program: str,
        words: Sequence[str],
        person: Person,
        event: Event | None,
        way: Way,
    ) -> None:
        self.world, self.person, self.event, self.way = world, person, event, way
        self.told = Told()
        self.count = 0
        self.changed = False
        self.ended = False
        self.end = time.monotonic() + LIMIT
        self.line = ""
        """The terminal's last line, as far as it has come."""
        self.above: list[str] = []
        """The lines above it, up to the last answer."""
        self.prompt = ""
        """The last line of the last question."""
        self.again = False
        self.answered = False
        self.late: tuple[Slot, bytes] | None = None
        self.secret = False
        """A secret is on the screen."""
        ports = {slot.reader: slot.port for slot in world.slots if slot.reader}
        way = replace(way, environ={**world.environment(), **way.environ}, ports=ports)
        process = start(program, words, way)
        self.pid, self.terminal, self.out, self.err = process.pid, process.terminal, process.out, process.err
        self.report, self.death = process.report, os.pidfd_open(process.pid)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        for number in (*self._open(), self.report, self.death):
            os.close(number)
        for slot in self.world.slots:
            slot.hang_up()

    def finish(self) -> Told:
        """Until it has ended."""
        while self.step():
            pass
        return self.told

    def step(self) -> bool:
        """One turn; whether it still runs."""
        if self.ended:
            return False
        if time.monotonic() > self.end:
            self.told.hung = True
            self._signal(signal.SIGKILL)
        done, status = os.waitpid(self.pid, os.WNOHANG)
        self.ended = done != 0
        if self.ended:
            self.told.status = os.waitstatus_to_exitcode(status)
        self._turn(0.0 if self.ended else 0.004 if self._question() else 0.02)
        if self.ended:
            while any(number in select.select(self._open(), [], [], 0)[0] for number in (self.out, self.err)):
                self._turn(0.0)
            self._line_ends()
            self.told.moments = int(os.read(self.report, 32) or 0)
        return not self.ended

    def _signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if not self.ended:
            os.kill(self.pid, number)

    def _open(self) -> list[int]:
        return [number for number in (self.terminal, self.out, self.err) if number >= 0]

    def _turn(self, wait: float) -> None:
        slots = self.world.slots
        clients = {slot.client: slot for slot in slots if slot.client is not None}
        listeners = {slot.listener: slot for slot in slots if slot.listener is not None}
        watched: list[Any] = [*clients, *listeners, *self._open(), *([] if self.ended else [self.death])]
        readable, _, _ = select.select(watched, [], [], wait)
        for number in self._open():
            if number in readable:
                self._said(number)
        for client, slot in clients.items():
            if client in readable:
                for apdu in slot.receive():
                    self._exchange(slot, apdu)
        for listener, slot in listeners.items():
            if listener in readable and slot.listener is listener:
                slot.accept()
        if not readable:
            self._asked()
            if self.late is not None:  # a reader's helper thread still waits for it
                slot, answer = self.late
                self.late = None
                if slot.reader:
                    slot.send(answer)

    # What it says

    def _said(self, number: int) -> None:
        try:
            piece = os.read(number, 1 << 16).decode("utf-8", "replace")
        except OSError:  # the terminal's other end is closed
            piece = ""
        if not piece:
            if number != self.terminal:
                os.close(number)
                self.out = -1 if number == self.out else self.out
                self.err = -1 if number == self.err else self.err
            elif _ended(self.pid):
                time.sleep(0.001)
            return
        if number == self.terminal:
            piece = piece.replace("\r\n", "\n")
            self.told.terminal += piece
            *lines, self.line = (self.line + piece).split("\n")
            for line in lines:
                self._line(line)
        else:
            if number == self.err:
                self.told.err += piece
            else:
                self.told.out += piece

    def _line(self, line: str) -> None:
        if self.answered:  # the echo of what was typed
            self.answered = False
            line = ""
        else:
            self.above.append(line.rpartition(_HIDDEN)[2])
        self._look_for_a_secret(line)
        if self.changed and not self.secret and not self._is_prompt(line):
            self.told.late += line.rpartition(_HIDDEN)[2] + "\n"

    def _look_for_a_secret(self, line: str) -> None:
        self.secret = (self.secret or _SHOWN in line) and _HIDDEN not in line

    def _line_ends(self) -> None:
        self._line(self.line)
        self.told.terminal += "\n"

    def _is_prompt(self, line: str) -> bool:
        return bool(self.prompt) and line.startswith(self.prompt)

    def _asked(self) -> None:
        """Answer where the last line is a question, and nothing moves."""
        question = self._question()
        if not question:
            return
        begun = self._begun()
        question = " ".join([*begun, question])
        for line in reversed(begun):  # a question tells nothing
            self.told.late = self.told.late.removesuffix(f"{line}\n")
        self.told.prompts.append(question)
        self.prompt = self.line
        self.told.progress += self.told.late
        self.told.late = ""
        number = len(self.told.prompts)
        if number == self.way.prompt:
            os.write(self.terminal, self.way.key)
            self._wait_for_the_line()
            return
        reply = self.person.reply(self.told.terminal, question, self.world)
        os.write(self.terminal, reply.encode("utf-8", "surrogateescape") + b"\n")
        self._wait_for_the_line()

    def _begun(self) -> list[str]:
        """The lines before the last one that are of the same question: it is wider than the window."""
        lines, line = [], self.line
        while self.above and self.above[-1][:1] != " " and continues(self.above[-1], line, QUESTION):
            line = self.above.pop()
            lines.insert(0, line)
        return lines

    def _question(self) -> str:
        """The last line, where it is one."""
        question = self.line.rpartition("\x1b[H")[2]
        return question if re.search(r"(: |\] |> )$", question) else ""

    def _wait_for_the_line(self) -> None:
        """A question is answered once: its line ends before the next look."""
        self._look_for_a_secret(self.line)
        self.line = ""
        self.above = []
        self.answered = True

    # What the cards are asked

    def _exchange(self, slot: Slot, apdu: bytes) -> None:
        self.count += 1
        event = self.event if self.event is not None and self.event.at == self.count else None
        kind = event.kind if event is not None else "wait"
        if self.again:
            self.again = False
            self._signal(signal.SIGINT)
            return
        if kind in ("remove", "int", "kill") or kind.startswith("sw:"):
            self._note(slot, apdu, set())
            self._before(slot, kind)
        else:
            before, memory = slot.facts, copy.deepcopy(slot.card.memory)
            slot.card.says = int(kind[-4:], 16) if kind.startswith("says:") else 0
            answer = slot.card.process(apdu, torn=kind == "torn")
            slot.card.says = 0
            changes = before.changes(slot.facts)
            if kind == "forgets":
                slot.put_back(memory)
            elif kind == "alters":
                slot.alter(before, first=apdu[1] == Ins.INIT)
            self._note(slot, apdu, changes)
            self._after(slot, kind, answer)
        if event is not None and event.out:
            slot.remove()

    def _note(self, slot: Slot, apdu: bytes, changes: set[str]) -> None:
        ins, serial = apdu[1] if len(apdu) > 1 else 0, slot.card.memory.serial
        self.told.exchanges.append(Exchange(self.count, ins, frozenset(changes), serial))
        self.changed = self.changed or bool(changes)

    def _before(self, slot: Slot, kind: str) -> None:
        if kind == "remove":
            slot.hang_up()
        elif kind == "int":
            self._signal(signal.SIGINT)
        elif kind == "kill":
            self._signal(signal.SIGKILL)
        else:
            slot.send(bytes.fromhex(kind.removeprefix("sw:")))

    def _after(self, slot: Slot, kind: str, answer: Answer) -> None:
        if kind in ("lost", "torn"):
            slot.hang_up()
        elif kind == "taken":
            slot.hang_up()
            slot.taken = True
        elif kind == "other":
            self.world.swap(self.world.slots.index(slot))
        elif kind.startswith("signal "):
            self._signal(int(kind.removeprefix("signal ")))
            self.late = (slot, answer.raw)
        elif kind == "killed":
            self._signal(signal.SIGKILL)
        elif kind in ("inted", "inted twice"):
            self.again = kind == "inted twice"
            self._signal(signal.SIGINT)
            self.late = (slot, answer.raw)
        elif kind == "garbage":
            slot.send(b"\xa5" * 48 + b"\x90\0")
        elif kind == "badmac":
            raw = answer.raw
            slot.send(bytes([raw[0] ^ 1]) + raw[1:] if answer.data else raw)
        elif kind != "silence":
            if kind.startswith("state "):
                spoil(self.world.state, kind)
            slot.send(answer.raw)


def _ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
