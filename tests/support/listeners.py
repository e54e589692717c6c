"""A port of this machine that counts who connects, and a reader that has a name of somebody's choice."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from cryptnox_core.transport import pcsc
from tests.system.life.readers import Scard

_CARD = b"1"
"""What the slot of a reader says where a card is in it."""


@dataclass
class Listener:
    """Says one thing to whoever connects, and hangs up."""

    port: int
    callers: list[int] = field(default_factory=list)


@contextmanager
def listener(says: bytes = b"") -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard = Listener(server.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                with connection:
                    heard.callers.append(address[1])
                    connection.sendall(says)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield heard
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@contextmanager
def readers_called(monkeypatch: pytest.MonkeyPatch, *names: str) -> Iterator[None]:
    """The PC/SC service of this process has readers of these names, with a card in each."""
    with listener(_CARD) as slot:
        scard = Scard(dict.fromkeys(names, slot.port))
        monkeypatch.setattr(pcsc, "_scard", lambda: scard)
        yield
