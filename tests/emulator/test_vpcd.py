"""The emulated card in the virtual reader, whose end is played here; the real one: tests/system/interop."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.emulator.client import AID, OK, Host, read_exactly
from tests.support.emulator import PIN, EmulatorProcess

SELECT = b"\0\xa4\4\0\7" + AID
POWER_OFF, POWER_ON, RESET, ATR = b"\0", b"\1", b"\2", b"\4"


class Reader:
    """One slot of the reader driver."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def insert(self) -> None:
        self.slot, _ = self.listener.accept()
        self.slot.settimeout(10)

    def send(self, body: bytes) -> None:
        self.slot.sendall(len(body).to_bytes(2, "big") + body)

    def receive(self, length: int) -> bytes:
        return read_exactly(self.slot, length)

    def exchange(self, body: bytes) -> bytes:
        self.send(body)
        return self.receive(int.from_bytes(self.receive(2), "big"))

    def process(self, apdu: bytes) -> Reader:
        self.raw = self.exchange(apdu)
        return self


@pytest.fixture
def reader() -> Iterator[Reader]:
    result = Reader()
    yield result
    result.listener.close()


def test_power_and_atr(reader: Reader) -> None:
    with EmulatorProcess("--mnemonic", "zoo " * 11 + "wrong", vpcd=reader.address) as emulator:
        assert emulator.ready == f"ready listen=- vpcd={reader.address} serial={emulator.serial}"
        reader.insert()
        atr = reader.exchange(ATR)
        assert atr[0] == 0x3B and atr[1] >> 4 == 0x8 and atr[2] & 0xF == 1  # the first protocol named is T=1
        assert atr[-1] == atr[1] ^ atr[2]
        reader.send(POWER_ON)
        card = Host(reader).connect()  # type: ignore[arg-type]
        assert card.verify(PIN) == OK
        for code in (RESET, POWER_OFF):
            card.connect()
            reader.send(code)
            assert reader.exchange(b"\x80\xf4\0\0") == b"\x69\x85"
        assert emulator.stop() == 0


def test_a_removed_card_stays_away_and_comes_back(reader: Reader) -> None:
    with EmulatorProcess("--fault", "remove@2", vpcd=reader.address):
        reader.insert()
        reader.send(POWER_ON)
        assert reader.exchange(SELECT)[-2:] == b"\x90\0"
        reader.send(SELECT)
        with pytest.raises(ConnectionError):
            reader.receive(1)
        gone = time.monotonic()
        reader.insert()
        assert time.monotonic() - gone >= 1.5
        assert reader.exchange(SELECT)[-2:] == b"\x90\0"


def test_both_ways_at_once(reader: Reader) -> None:
    with EmulatorProcess(vpcd=reader.address, listen="127.0.0.1:0") as emulator:
        reader.insert()
        assert emulator.port
        assert reader.exchange(SELECT)[-2:] == b"\x90\0"
