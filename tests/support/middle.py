"""Somebody between wallet and card who has no key: sees and sends on every command, and may send others in between."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from types import TracebackType

from tests.support.emulator import EmulatorProcess

HEADER = 64


def read_message(connection: socket.socket) -> bytes | None:
    """One framed message; None at the end."""
    data = b""
    while len(data) < HEADER or len(data) < HEADER + int(data[:HEADER]):
        try:
            piece = connection.recv(1 << 16)
        except OSError:
            return None
        if not piece:
            return None
        data += piece
    return data


class Middle:
    """Replays the handshake's last command right before each command with one of the instructions `ins`: the card's
    answer to it moves the IV, so that the first 16 plain bytes of the next command are changed (PROTOCOL.md 11).

    Where it listens: `path`, `host`, `port`; what it hides behind is `card`.
    """

    def __init__(self, card: EmulatorProcess, *ins: int) -> None:
        self.card = card
        self.changed = 0
        self._ins = ins
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        self.path = f"tcp:{self.host}:{self.port}"
        self.serial = card.serial
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Middle:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                wallet, _ = self._listener.accept()
            except OSError:
                return
            with wallet, socket.create_connection((self.card.host, self.card.port)) as card:
                self._pass_on(wallet, card)

    def _pass_on(self, wallet: socket.socket, card: socket.socket) -> None:
        handshake = b""
        while (request := read_message(wallet)) is not None:
            ins = json.loads(request[HEADER:])[1]
            if ins == 0x11:
                handshake = request
            elif ins in self._ins and handshake:
                card.sendall(handshake)
                read_message(card)
                self.changed += 1
            card.sendall(request)
            answer = read_message(card)
            if answer is None:
                return
            wallet.sendall(answer)
