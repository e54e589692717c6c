"""Emulated cards in readers of this process, with somebody between reader and card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from cryptnox_core.emulator.memory import Memory
from cryptnox_core.errors import CardRemovedError
from cryptnox_core.transport import pcsc
from tests.core.emulated import EmulatedReader, EmulatedTransport
from tests.system.life.readers import Scard

Ask = Callable[[bytes], bytes]
Middle = Callable[[bytes, Ask], bytes]
"""What the host is answered to an APDU; the second one asks the card."""


def nobody(apdu: bytes, ask: Ask) -> bytes:
    """The card's own answer."""
    return ask(apdu)


@dataclass
class Slot:
    """A card in a reader."""

    reader: EmulatedReader
    middle: Middle = nobody

    @classmethod
    def of(cls, memory: Memory, middle: Middle = nobody) -> Slot:
        return cls(EmulatedReader.of(memory), middle)


class Readers(Scard):
    """`pyscard`'s functions; the slots by the names of their readers."""

    def __init__(self, **slots: Slot) -> None:
        super().__init__(dict.fromkeys(slots, 0))
        self._slots = slots
        self._connected: dict[int, tuple[Slot, EmulatedTransport]] = {}

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pcsc, "_scard", lambda: self)

    def SCardGetStatusChange(
        self, context: int, wait: int, states: list[tuple[str, int]]
    ) -> tuple[int, list[tuple[str, int, list[int]]]]:
        return self.SCARD_S_SUCCESS, [(name, self.SCARD_STATE_PRESENT, [0x3B]) for name, *_ in states]

    def SCardConnect(self, context: int, reader: str, mode: int, protocol: int) -> tuple[int, int, int]:
        slot, number = self._slots[reader], next(self._numbers)
        slot.reader.engine.power_up()
        self._connected[number] = slot, EmulatedTransport(slot.reader.engine)
        return self.SCARD_S_SUCCESS, number, self.SCARD_PROTOCOL_T1

    def SCardTransmit(self, card: int, protocol: int, apdu: list[int]) -> tuple[int, list[int]]:
        slot, transport = self._connected[card]
        try:
            return self.SCARD_S_SUCCESS, list(slot.middle(bytes(apdu), transport.transmit))
        except CardRemovedError:
            return self.SCARD_W_REMOVED_CARD, []

    def SCardDisconnect(self, card: int, disposition: int) -> int:
        self._connected.pop(card, None)
        return self.SCARD_S_SUCCESS


def once(ins: int, answer: Callable[[bytes], bytes]) -> Middle:
    """The first answer to an instruction becomes another one."""
    left = [True]

    def middle(apdu: bytes, ask: Ask) -> bytes:
        if apdu[1] != ins or not left:
            return ask(apdu)
        left.pop()
        return answer(ask(apdu))

    return middle
