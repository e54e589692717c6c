"""Places for emulated cards: what a card is asked, and what it really holds, is known here."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from dataclasses import fields

from cryptnox_core.emulator.card import Answer, Handler
from cryptnox_core.emulator.card import Card as EmulatedCard
from cryptnox_core.emulator.channel import Channel
from cryptnox_core.emulator.context import Context
from cryptnox_core.emulator.frame import Command, Refusal
from cryptnox_core.emulator.memory import Memory
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.emulator.server import decode_length, decode_request, encode_answer
from cryptnox_core.wire import RELAY_HEADER, Ins
from tests.system.life.facts import Facts, facts_of

_SECRET = frozenset(
    {Ins.VERIFY_PIN, Ins.CHANGE_SECRET, Ins.UNBLOCK_PIN, Ins.CHANGE_PAIRING_KEY, Ins.LOAD_KEY, Ins.GENERATE_KEY}
    | {Ins.SET_PUB_EXPORT, Ins.SET_PINLESS_PATH, Ins.SET_PIN_AUTH, Ins.ADD_USER_KEY, Ins.DELETE_USER_KEY, Ins.SIGN}
    | {Ins.RESET}
)
"""Instructions whose data, where there are any, hold a PIN, a PUK, a seed or a pairing key."""


class Chip(EmulatedCard):
    """An emulated card that remembers the commands with a secret it was sent."""

    def __init__(self, memory: Memory, readings: Sequence[Reading] = ()) -> None:
        super().__init__(memory, readings)
        self.secrets: list[int] = []
        """Instructions."""
        self.says = 0
        """The status word, in the channel, that the next command ends with once it is executed; 0 its own."""

    def process(self, raw: bytes, **how: bool) -> Answer:
        if len(raw) > 1 and raw[1] == Ins.INIT:
            self.secrets.append(Ins.INIT)
        return super().process(raw, **how)

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

    def __init__(self, memory: Memory, reader: str = "", readings: Sequence[Reading] = ()) -> None:
        self.card = Chip(memory, readings)
        self.taken = False
        """Another program has it."""
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
        """The card is in, and free."""
        self.taken = False
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
        busy = self.taken or self.client is not None
        if self.reader:
            client.sendall(b"0" if busy else b"1")
        if busy:
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
