"""The emulated card in vsmartcard's virtual reader: it connects to `vpcd`."""

from __future__ import annotations

import socket
import threading
import time
from typing import NoReturn

from cryptnox_core.emulator.server import Engine, Gone

ATR = bytes.fromhex("3B800181")
"""T=1 alone: the vendor's SDK connects with nothing else."""
_POWER_OFF, _POWER_ON, _RESET, _GET_ATR = 0, 1, 2, 4
_OUT_OF_SLOT = 2.0
"""Seconds a removed card stays away: pcscd can miss less than 1.5."""
_RETRY = 0.5
_SILENCE = 30.0
"""Seconds without an answer after which the reader gives a silent card up as removed."""


class VirtualReader:
    """One slot of the virtual reader. `run` stays connected, and comes back whenever it loses it."""

    def __init__(self, engine: Engine, host: str, port: int) -> None:
        self._engine = engine
        self._address = (host, port)
        self.connected = threading.Event()

    def run(self) -> NoReturn:
        """Serve the reader for ever."""
        while True:
            try:
                with socket.create_connection(self._address) as connection:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.connected.set()
                    self._engine.power_up()
                    self._serve(connection)
                    pause = _OUT_OF_SLOT
            except OSError:
                pause = _RETRY
            self.connected.clear()
            time.sleep(pause)

    def _serve(self, connection: socket.socket) -> None:
        """Answer messages until the reader hangs up or the card vanishes."""
        while True:
            body = self._receive(connection)
            if body is None:
                return
            if len(body) > 1:
                answer = self._engine.exchange(body)
                if answer is Gone.SILENT:
                    time.sleep(_SILENCE)
                if not isinstance(answer, bytes):
                    return
                connection.sendall(len(answer).to_bytes(2, "big") + answer)
            elif body[0] in (_POWER_OFF, _POWER_ON, _RESET):
                self._engine.power_up()
            elif body[0] == _GET_ATR:
                connection.sendall(len(ATR).to_bytes(2, "big") + ATR)

    @staticmethod
    def _receive(connection: socket.socket) -> bytes | None:
        """One message, never empty; `None` when the reader is gone."""
        data = b""
        wanted = 2
        while len(data) < wanted:
            if hasattr(socket, "TCP_QUICKACK"):
                # The driver writes length and body apart and waits for an acknowledgement between them, which the
                # kernel would delay by 40 ms. The option wears off, so it is set anew each time.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            part = connection.recv(wanted - len(data))
            if not part:
                return None
            data += part
            if len(data) == 2 and wanted == 2:
                wanted += int.from_bytes(data, "big")
                if wanted == 2:
                    return None
        return data[2:]
