"""A PC/SC service for the forked program: pyscard's functions, with the slots of `world` as readers.

It stands where pyscard does, so that the transport under test is the real one, its helper threads among it.
"""

from __future__ import annotations

import itertools
import json
import socket
from typing import Any

from cryptnox_core.transport import pcsc

_FOUND, _BUSY = b"1", b"0"
_CHUNK = 1 << 16


class Scard:
    """As much of `smartcard.scard` as the transport uses."""

    SCARD_S_SUCCESS = 0
    SCARD_SCOPE_USER = 0
    SCARD_SHARE_EXCLUSIVE, SCARD_SHARE_SHARED = 1, 2
    SCARD_PROTOCOL_T1 = SCARD_PCI_T1 = 2
    SCARD_LEAVE_CARD, SCARD_RESET_CARD = 0, 1
    SCARD_STATE_UNAWARE, SCARD_STATE_PRESENT = 0, 0x20
    SCARD_E_NO_SERVICE, SCARD_E_SERVICE_STOPPED, SCARD_E_COMM_DATA_LOST = 0x8010001D, 0x8010001E, 0x8010002F
    SCARD_E_UNKNOWN_READER, SCARD_E_READER_UNAVAILABLE = 0x80100009, 0x80100017
    SCARD_E_NO_READERS_AVAILABLE, SCARD_E_NO_SMARTCARD = 0x8010002E, 0x8010000C
    SCARD_W_UNRESPONSIVE_CARD, SCARD_W_UNSUPPORTED_CARD = 0x80100066, 0x80100065
    SCARD_E_PROTO_MISMATCH, SCARD_E_SHARING_VIOLATION = 0x8010000F, 0x8010000B
    SCARD_W_REMOVED_CARD, SCARD_W_RESET_CARD, SCARD_W_UNPOWERED_CARD = 0x80100069, 0x80100068, 0x80100067
    SCARD_E_NOT_TRANSACTED, SCARD_F_COMM_ERROR, SCARD_E_INVALID_HANDLE = 0x80100016, 0x80100013, 0x80100003

    def __init__(self, ports: dict[str, int]) -> None:
        self._ports = ports
        self._numbers = itertools.count(1)
        self._cards: dict[int, socket.socket] = {}

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the readers of these tests lack {name}")

    def SCardEstablishContext(self, scope: int) -> tuple[int, int]:
        return self.SCARD_S_SUCCESS, next(self._numbers)

    def SCardReleaseContext(self, context: int) -> int:
        return self.SCARD_S_SUCCESS

    def SCardIsValidContext(self, context: int) -> int:
        return self.SCARD_S_SUCCESS

    def SCardListReaders(self, context: int, groups: list[str]) -> tuple[int, list[str]]:
        return self.SCARD_S_SUCCESS, list(self._ports)

    def SCardGetErrorMessage(self, code: int) -> str:
        return f"error {code:08X}"

    def SCardGetStatusChange(
        self, context: int, wait: int, states: list[tuple[str, int]]
    ) -> tuple[int, list[tuple[str, int, list[int]]]]:
        found = []
        for name, *_ in states:
            there, connection = self._dial(name)
            if connection is not None:
                connection.close()
            found.append((name, self.SCARD_STATE_PRESENT if there else 0, [0x3B]))
        return self.SCARD_S_SUCCESS, found

    def _dial(self, name: str) -> tuple[bool, socket.socket | None]:
        """Whether a card is there, and the connection to it where nobody has one."""
        try:
            connection = socket.create_connection(("127.0.0.1", self._ports[name]), 10)
        except OSError:
            return False, None
        if connection.recv(1) == _FOUND:
            return True, connection
        connection.close()
        return True, None

    def SCardConnect(self, context: int, reader: str, mode: int, protocol: int) -> tuple[int, int, int]:
        if reader not in self._ports:
            return self.SCARD_E_UNKNOWN_READER, 0, 0
        there, connection = self._dial(reader)
        if not there:
            return self.SCARD_E_NO_SMARTCARD, 0, 0
        if connection is None:
            return self.SCARD_E_SHARING_VIOLATION, 0, 0
        connection.settimeout(None)
        number = next(self._numbers)
        self._cards[number] = connection
        return self.SCARD_S_SUCCESS, number, self.SCARD_PROTOCOL_T1

    def SCardTransmit(self, card: int, protocol: int, apdu: list[int]) -> tuple[int, list[int]]:
        connection = self._cards.get(card)
        if connection is None:
            return self.SCARD_E_INVALID_HANDLE, []
        body = json.dumps(apdu).encode("ascii")
        try:
            connection.sendall(str(len(body)).encode("ascii").ljust(64) + body)
            header = self._exactly(connection, 64)
            data, sw1, sw2 = json.loads(self._exactly(connection, int(header)))
        except OSError:
            return self.SCARD_W_REMOVED_CARD, []
        return self.SCARD_S_SUCCESS, [*data, sw1, sw2]

    @staticmethod
    def _exactly(connection: socket.socket, length: int) -> bytes:
        data = b""
        while len(data) < length:
            piece = connection.recv(min(_CHUNK, length - len(data)))
            if not piece:
                raise ConnectionError
            data += piece
        return data

    def SCardStatus(self, card: int) -> tuple[int, str, int, int, list[int]]:
        return self.SCARD_S_SUCCESS, next(iter(self._ports)), self.SCARD_STATE_PRESENT, self.SCARD_PROTOCOL_T1, [0x3B]

    def SCardBeginTransaction(self, card: int) -> int:
        return self.SCARD_S_SUCCESS

    def SCardEndTransaction(self, card: int, disposition: int) -> int:
        return self.SCARD_S_SUCCESS

    def SCardDisconnect(self, card: int, disposition: int) -> int:
        connection = self._cards.pop(card, None)
        if connection is not None:
            connection.close()
        return self.SCARD_S_SUCCESS


def install(ports: dict[str, int], silence: float) -> None:
    """In this process, which is the program's, the readers are these."""
    scard = Scard(ports)
    pcsc._scard = lambda: scard
    pcsc._TRANSMIT_LIMIT = silence
