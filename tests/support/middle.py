"""Somebody between host and card: a relay that may look at every APDU, send its own, change answers, or leave."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.support.emulator import EmulatorProcess

_HEADER = 64
Ask = Callable[[bytes], bytes]
"""Sends one APDU to the card; its answer, the status word at the end."""
Answer = Callable[[bytes, Ask], bytes | None]
"""What the host is answered to an APDU; None: nothing, the connection is closed."""


class Middle:
    """`with Middle(card, answer) as middle:` is reached at `middle.path` like the card. `gone`: no further connection
    is served."""

    def __init__(self, card: EmulatorProcess, answer: Answer) -> None:
        self._card = card
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.gone = False
        self.host, self.port = "127.0.0.1", int(self._listener.getsockname()[1])
        self.path = f"tcp:{self.host}:{self.port}"
        self.serial = card.serial

    def __enter__(self) -> Middle:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                host, _ = self._listener.accept()
            except OSError:
                return
            with host:
                if not self.gone:
                    with suppress(OSError, EOFError):
                        self._conversation(host)

    def _conversation(self, host: socket.socket) -> None:
        with socket.create_connection((self._card.host, self._card.port)) as card:

            def ask(apdu: bytes) -> bytes:
                _send(card, list(apdu))
                data, sw1, sw2 = _receive(card)
                return bytes((*data, sw1, sw2))

            while True:
                response = self._answer(bytes(_receive(host)), ask)
                if response is None:
                    return
                _send(host, [list(response[:-2]), *response[-2:]])


def _send(connection: socket.socket, message: object) -> None:
    body = json.dumps(message).encode()
    connection.sendall(str(len(body)).encode().ljust(_HEADER) + body)


def _receive(connection: socket.socket) -> list:  # type: ignore[type-arg]
    return list(json.loads(_exactly(connection, int(_exactly(connection, _HEADER)))))


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


class FirstBlock:
    """XORs the first 16 plain bytes of the next commands of an instruction: a handshake command is sent once more
    before it, so that the card's IV is another one than the host's (`first_block`). `times`: of so many of them;
    `longer`: of those with more than so many bytes of wrapped data."""

    def __init__(self, ins: int, times: int = 1, *, longer: int = 0) -> None:
        self._ins = ins
        self._times = times
        self._longer = longer
        self._handshake = b""

    def __call__(self, apdu: bytes, ask: Ask) -> bytes:
        if apdu[1] == 0x11:
            self._handshake = apdu
        elif apdu[1] == self._ins and self._times and apdu[4] > self._longer:
            self._times -= 1
            ask(self._handshake)
        return ask(apdu)


class LostAnswer:
    """The card does what it is told, its answer is lost, and it does not come back (until `middle.gone` is False)."""

    def __init__(self, ins: int) -> None:
        self._ins = ins
        self.middle: Middle | None = None

    def __call__(self, apdu: bytes, ask: Ask) -> bytes | None:
        answer = ask(apdu)
        if apdu[1] == self._ins and self.middle is not None:
            self.middle.gone = True
            return None
        return answer
