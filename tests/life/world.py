"""A program at a terminal, and the emulated cards it works on, in one loop: so that it is known what the cards hold at
each word, and a fault, a kill or a key can be placed between any two APDUs and at any prompt.

The cards live in this process. The program is forked from it, which has no second thread.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import pty
import re
import secrets
import select
import signal
import socket
import struct
import sys
import termios
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import hwilib_cryptnox
from cryptnox_core import remote
from cryptnox_core.emulator.card import Answer, Handler
from cryptnox_core.emulator.card import Card as EmulatedCard
from cryptnox_core.emulator.channel import Channel
from cryptnox_core.emulator.context import Context
from cryptnox_core.emulator.frame import Command
from cryptnox_core.emulator.memory import Memory
from cryptnox_core.emulator.refusal import Refusal
from cryptnox_core.emulator.server import decode_length, decode_request, encode_answer
from cryptnox_core.wire import RELAY_HEADER, Ins
from hwilib_cryptnox import hwi
from hwilib_cryptnox.ctl import main as ctl
from tests.life import readers
from tests.life.facts import Facts, facts_of
from tests.life.people import Person

for _module in pkgutil.walk_packages(hwilib_cryptnox.__path__, "hwilib_cryptnox."):
    if "specter" not in _module.name:  # they want Specter
        importlib.import_module(_module.name)  # once here, not in each forked process

READERS = ["Life Reader 00 00", "Life Reader 01 00"]
LIMIT = 30.0
"""Seconds a program may take."""
SILENCE = 0.4
"""Seconds a program waits here for an answer that does not come (a minute elsewhere)."""
_SECRET = frozenset(
    {Ins.VERIFY_PIN, Ins.CHANGE_SECRET, Ins.UNBLOCK_PIN, Ins.CHANGE_PAIRING_KEY, Ins.LOAD_KEY, Ins.GENERATE_KEY}
    | {Ins.SET_PUB_EXPORT, Ins.SET_PINLESS_PATH, Ins.SET_PIN_AUTH, Ins.ADD_USER_KEY, Ins.DELETE_USER_KEY, Ins.SIGN}
    | {Ins.RESET}
)
"""Instructions whose data, where there are any, hold a PIN, a PUK, a seed or a pairing key."""
_SHOWN, _HIDDEN = "\x1b[?1049h", "\x1b[?1049l"
SIZE = (24, 80)
"""Lines and columns of the terminal."""


@dataclass(frozen=True)
class Event:
    """What happens at one APDU.

    `kind` before the card has seen the APDU: `remove` the card leaves; `sw:XXXX` somebody in between answers with a
    status word; `kill` SIGKILL, `int` Ctrl-C.

    After it was executed: `lost` its answer is lost, the card powered off; `torn` as `lost`, but RESET is left half
    done; `other` as `lost`, and another card is put in; `garbage`, `badmac` a wrong answer; `silence`; `killed`
    SIGKILL, `inted` Ctrl-C, `inted twice` once more at the next APDU, `signal N` that signal; `state gone`, `state
    full` from here on nothing can be written to the state folder.

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

    @property
    def killed(self) -> bool:
        """By whatever signal."""
        return self.status < 0

    def changing(self) -> list[int]:
        """Numbers of the APDUs that changed the card."""
        return [exchange.number for exchange in self.exchanges if exchange.changed]


class Chip(EmulatedCard):
    """An emulated card that remembers the commands with a secret it was sent."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self.secrets: list[int] = []
        """Instructions."""
        self.says = 0
        """The status word, in the channel, that the next command ends with once it is executed; 0 its own."""

    def process(self, raw: bytes, *, torn: bool = False) -> Answer:
        if len(raw) > 1 and raw[1] == Ins.INIT:
            self.secrets.append(Ins.INIT)
        return super().process(raw, torn=torn)

    def _unwrap(self, channel: Channel, command: Command) -> bytes:
        plain = super()._unwrap(channel, command)
        if plain and command.ins in _SECRET:
            self.secrets.append(command.ins)
        return plain

    def _handler(self, command: Command) -> Handler:
        handler, says = super()._handler(command), self.says
        if not says:
            return handler

        def refusing(ctx: Context, again: Command, data: bytes) -> bytes:
            handler(ctx, again, data)
            raise Refusal(says)

        return refusing

    @property
    def facts(self) -> Facts:
        """What it holds."""
        return facts_of(self.memory, self.counters.pin_tries)

    def forget(self) -> None:
        """Nothing computed from an old seed stays."""
        self._ctx.forget_keys()


class Slot:
    """A place for a card, at an address of its own."""

    def __init__(self, memory: Memory, reader: str = "") -> None:
        self.card = Chip(memory)
        self.reader = reader
        """Its name, where it is a reader; else it is an address."""
        self.before = facts_of(memory)
        self._listener: socket.socket | None = None
        self.port = 0
        self.client: socket.socket | None = None
        self.buffer = b""
        self.insert()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def path(self) -> str:
        """The card's path for HWI."""
        return f"cryptnox:{self.card.memory.serial}" if self.reader else f"tcp:{self.address}"

    @property
    def facts(self) -> Facts:
        """What the card holds now."""
        return self.card.facts

    @property
    def listener(self) -> socket.socket | None:
        return self._listener

    def insert(self) -> None:
        """The card is in."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self.port = self._listener.getsockname()[1]

    def remove(self) -> None:
        """The card is out."""
        self.hang_up()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def hang_up(self) -> None:
        """The connection ends: power down."""
        if self.client is not None:
            self.client.close()
            self.client = None
            self.buffer = b""
            self.card.power_up()

    def accept(self) -> None:
        """A client; a second one is closed at once."""
        if self._listener is None:
            return
        client, _ = self._listener.accept()
        if self.reader:
            client.sendall(b"1" if self.client is None else b"0")
        if self.client is not None:
            client.close()
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client = client
        self.card.power_up()

    def receive(self) -> list[bytes]:
        """The APDUs that have come whole. Hangs up where the client has."""
        if self.client is None:
            return []
        try:
            piece = self.client.recv(1 << 16)
        except OSError:
            piece = b""
        if not piece:
            self.hang_up()
            return []
        self.buffer += piece
        found = []
        while len(self.buffer) >= RELAY_HEADER:
            length = decode_length(self.buffer[:RELAY_HEADER])
            if len(self.buffer) < RELAY_HEADER + length:
                break
            found.append(decode_request(self.buffer[RELAY_HEADER : RELAY_HEADER + length]))
            self.buffer = self.buffer[RELAY_HEADER + length :]
        return found

    def send(self, answer: bytes) -> None:
        """Answer the client, if it still listens."""
        if self.client is not None:
            try:
                self.client.sendall(encode_answer(answer))
            except OSError:
                self.hang_up()

    def put_back(self, memory: Memory) -> None:
        """Make the card's memory what it was."""
        for each in fields(Memory):
            setattr(self.card.memory, each.name, getattr(memory, each.name))
        self.card.forget()

    def alter(self, before: Facts, *, first: bool) -> None:
        """Give what has just changed another value. `first`: at INIT, where the pairing key is far behind."""
        memory, now = self.card.memory, self.facts
        if now.pin != before.pin:
            memory.pin = b"918273645"
        if now.puk != before.puk:
            memory.puk = b"alteredbyone"
        if now.pairing_key != before.pairing_key and not first:
            memory.pairing_key = secrets.token_bytes(32)
        if now.data != before.data and memory.user_data:
            memory.user_data = bytes([memory.user_data[0] ^ 1]) + memory.user_data[1:]
        if now.custom != before.custom:
            memory.custom = bytes([memory.custom[0] ^ 1]) + memory.custom[1:]
        if now.seed != before.seed and memory.seed:
            memory.seed = bytes(64)
            self.card.forget()


class World:
    """Cards, a home, and programs run on them one after the other."""

    def __init__(self, folder: Path, *memories: Memory, in_readers: bool = False) -> None:
        """`in_readers`: the cards are in readers of a PC/SC service, and not at addresses."""
        self.folder = folder
        names = READERS if in_readers else [""] * len(memories)
        self.slots = [Slot(memory, name) for memory, name in zip(memories, names, strict=False)]
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
        *,
        stdin: str | None = None,
        stdout: str = "pipe",
        prompt: int = 0,
        key: bytes = b"\x03",
        environ: dict[str, str] | None = None,
        alone: bool = False,
    ) -> Told:
        """Run a program to its end, while a person answers what it asks.

        `stdin`: what is piped in; None for the terminal. `stdout`: `pipe`, `full`, `closed`, `broken`. At the prompt of
        that number (from 1) `key` is typed: Ctrl-C, or Ctrl-D. `alone`: there is no terminal.
        """
        with _Run(self, program, words, person, event, stdin, stdout, prompt, key, environ or {}, alone) as running:
            return running.finish()

    def race(self, programs: Sequence[tuple[str, Sequence[str], Person]], environ: dict[str, str]) -> list[Told]:
        """Several programs at once, turn by turn."""
        with contextlib.ExitStack() as stack:
            running = [
                stack.enter_context(_Run(self, program, words, person, None, None, "pipe", 0, b"", environ, False))
                for program, words, person in programs
            ]
            while sum(each.step() for each in running):
                pass
            return [each.told for each in running]


class _Run:
    """One program, from its fork to its end."""

    def __init__(
        self,
        world: World,
        program: str,
        words: Sequence[str],
        person: Person,
        event: Event | None,
        stdin: str | None,
        stdout: str,
        prompt: int,
        key: bytes,
        environ: dict[str, str],
        alone: bool,
    ) -> None:
        self.world, self.person, self.event = world, person, event
        self.prompt, self.key = prompt, key
        self.told = Told()
        self.count = 0
        self.changed = False
        self.ended = False
        self.end = time.monotonic() + LIMIT
        self.line = ""
        """The terminal's last line, as far as it has come."""
        self.again = False
        self.answered = False
        self.late: tuple[Slot, bytes] | None = None
        self.secret = False
        """A secret is on the screen."""
        self.pid, self.terminal, self.out, self.err = _start(
            program, words, {**world.environment(), **environ}, stdin, stdout, self._readers(), alone
        )

    def _readers(self) -> dict[str, int]:
        return {slot.reader: slot.port for slot in self.world.slots if slot.reader}

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._open():
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
            os.kill(self.pid, signal.SIGKILL)
        done, status = os.waitpid(self.pid, os.WNOHANG)
        self.ended = done != 0
        if self.ended:
            self.told.status = os.waitstatus_to_exitcode(status)
        self._turn(0.0 if self.ended else 0.004 if self._question() else 0.02)
        if self.ended:
            while any(number in select.select(self._open(), [], [], 0)[0] for number in (self.out, self.err)):
                self._turn(0.0)
            self._line_ends()
        return not self.ended

    def _open(self) -> list[int]:
        return [number for number in (self.terminal, self.out, self.err) if number >= 0]

    def _turn(self, wait: float) -> None:
        slots = self.world.slots
        clients = {slot.client: slot for slot in slots if slot.client is not None}
        listeners = {slot.listener: slot for slot in slots if slot.listener is not None}
        watched: list[Any] = [*clients, *listeners, *self._open()]
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
        self._look_for_a_secret(line)
        if self.changed and not self.secret and not self._is_prompt(line):
            self.told.late += line.rpartition(_HIDDEN)[2] + "\n"

    def _look_for_a_secret(self, line: str) -> None:
        self.secret = (self.secret or _SHOWN in line) and _HIDDEN not in line

    def _line_ends(self) -> None:
        self._line(self.line)
        self.told.terminal += "\n"

    def _is_prompt(self, line: str) -> bool:
        return bool(self.told.prompts) and line.startswith(self.told.prompts[-1])

    def _asked(self) -> None:
        """Answer where the last line is a question, and nothing moves."""
        question = self._question()
        if not question:
            return
        self.told.prompts.append(self.line)
        self.told.progress += self.told.late
        self.told.late = ""
        number = len(self.told.prompts)
        if number == self.prompt:
            os.write(self.terminal, self.key)
            self._wait_for_the_line()
            return
        reply = self.person.reply(self.told.terminal, question, self.world)
        os.write(self.terminal, reply.encode("utf-8", "surrogateescape") + b"\n")
        self._wait_for_the_line()

    def _question(self) -> str:
        """The last line, where it is one."""
        question = self.line.rpartition("\x1b[H")[2]
        return question if re.search(r"(: |\] |> )$", question) else ""

    def _wait_for_the_line(self) -> None:
        """A question is answered once: its line ends before the next look."""
        self._look_for_a_secret(self.line)
        self.line = ""
        self.answered = True

    # What the cards are asked

    def _exchange(self, slot: Slot, apdu: bytes) -> None:
        self.count += 1
        event = self.event if self.event is not None and self.event.at == self.count else None
        kind = event.kind if event is not None else "wait"
        if self.again:
            self.again = False
            os.kill(self.pid, signal.SIGINT)
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
            os.kill(self.pid, signal.SIGINT)
        elif kind == "kill":
            os.kill(self.pid, signal.SIGKILL)
        else:
            slot.send(bytes.fromhex(kind.removeprefix("sw:")))

    def _after(self, slot: Slot, kind: str, answer: Answer) -> None:
        if kind in ("lost", "torn"):
            slot.hang_up()
        elif kind == "other":
            self.world.swap(self.world.slots.index(slot))
        elif kind.startswith("signal "):
            os.kill(self.pid, int(kind.removeprefix("signal ")))
            self.late = (slot, answer.raw)
        elif kind == "killed":
            os.kill(self.pid, signal.SIGKILL)
        elif kind in ("inted", "inted twice"):
            self.again = kind == "inted twice"
            os.kill(self.pid, signal.SIGINT)
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


def spoil(state: Path, kind: str) -> None:
    """Nothing can be written to a state folder any more: it is a file, or its disk is full."""
    if kind == "state gone":
        if state.is_dir():
            state.rename(state.with_name("away"))
        state.parent.mkdir(parents=True, exist_ok=True)
        state.write_text("in the way")
        return
    with (state.parent.parent / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


def mend(state: Path) -> None:
    """The state folder is as before `spoil`."""
    (state.parent.parent / "filler").unlink(missing_ok=True)
    if state.is_file():
        state.unlink()
        if state.with_name("away").is_dir():
            state.with_name("away").rename(state)


def _ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _start(
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
COUNTS: Counter[str] = Counter()
