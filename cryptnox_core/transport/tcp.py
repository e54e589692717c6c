"""The APDU relay over TCP, both ends.

A message is its length in 64 ASCII characters, then that much JSON: a list of byte values one way, `[data, sw1, sw2]`
the other. There is no encryption and no authentication: whoever reaches the port reaches the card.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import select
import socket
import sys
import threading
import time
from collections.abc import Callable

from cryptnox_core import arguments
from cryptnox_core.errors import (
    CardRemovedError,
    CryptnoxError,
    NoCardError,
    ReaderBusyError,
    TransportError,
    UsageError,
)
from cryptnox_core.transport import Transport
from cryptnox_core.wire import RELAY_HEADER

MAX_MESSAGE = 400_000
"""Bound on one message, bytes: the longest APDU as JSON, with room."""

_MAX_PORT = 0xFFFF
_RETRY_INTERVAL = 0.05
_ATTENTION = 0.5
"""Seconds after which a Ctrl-C is seen, at the latest."""
_SEND_LIMIT = 10.0
"""Seconds a relay's client has to take an answer."""
_RELEASE_LIMIT = 5.0
"""Seconds a relay waits until the card of a client that has left is released."""


class _ClosedError(TransportError):
    """The far end closed the connection between two messages, or within one."""


class _MessageStream:
    """Framed messages on a socket, with a time limit for each whole message."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # already closed by the far end
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def send(self, body: bytes, limit: float | None) -> None:
        self._socket.settimeout(limit)
        try:
            self._socket.sendall(str(len(body)).encode("ascii").ljust(RELAY_HEADER) + body)
        except TimeoutError as error:
            raise CardRemovedError("the card's connection takes no more data") from error
        except OSError as error:
            raise _ClosedError("the card's connection was closed") from error

    def receive(self, limit: float | None) -> bytes:
        deadline = None if limit is None else time.monotonic() + limit
        header = self._read(RELAY_HEADER, deadline).rstrip(b" ")
        if not header.isdigit() or len(header) > 9 or int(header) > MAX_MESSAGE:
            raise TransportError("the other end does not speak the APDU relay's protocol")
        return self._read(int(header), deadline)

    def _read(self, length: int, deadline: float | None) -> bytes:
        data = bytearray()
        while len(data) < length:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise CardRemovedError("the card does not answer")
            self._socket.settimeout(left)
            try:
                piece = self._socket.recv(length - len(data))
            except TimeoutError as error:
                raise CardRemovedError("the card does not answer") from error
            except OSError as error:
                raise _ClosedError("the card's connection was closed") from error
            if not piece:
                raise _ClosedError("the card's connection was closed")
            data += piece
        return bytes(data)


def _load(body: bytes) -> object:
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise TransportError("the other end does not speak the APDU relay's protocol") from error
    return value


def _byte_list(value: object) -> bytes:
    if not isinstance(value, list):
        raise TransportError("the APDU relay did not send a list of bytes")
    for item in value:
        if type(item) is not int or not 0 <= item <= 0xFF:
            raise TransportError("the APDU relay sent something other than a byte")
    return bytes(value)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine without asking a name server."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT` or `[IPv6]:PORT`. Raises UsageError for anything else."""
    arguments.text(text, "an address")
    host, colon, port = text.rpartition(":")
    digits = port.isascii() and port.isdigit() and len(port.lstrip("0")) <= 5
    if not colon or not host or not digits or int(port.lstrip("0") or "0") > _MAX_PORT:
        raise UsageError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


class RemoteTransport:
    """The wallet's end. A connection is a power-up of the card, its end a power-down.

    A far end that serves somebody else closes the connection at once. That is seen with the first APDU, which is then
    sent again on a new connection until `wait` seconds are over (it cannot have had an effect that outlives the
    connection); then ReaderBusyError.
    """

    def __init__(self, stream: _MessageStream, name: str, timeout: float) -> None:
        self._stream: _MessageStream | None = stream
        self._name = name
        self._timeout = timeout
        self._answered = False
        self._reconnect: Callable[[], _MessageStream] | None = None
        self._busy_until = 0.0

    @classmethod
    def connect(cls, host: str, port: int, timeout: float = 60.0, *, wait: float = 0.0) -> RemoteTransport:
        """Connect to a relay or an emulated card.

        `timeout`: seconds for connecting, and for each answer.
        `wait`: seconds that one who serves somebody else is waited for.
        Raises: NoCardError when nobody listens there.
        """
        arguments.text(host, "a host")
        if not 0 <= arguments.number(port, "a port") <= _MAX_PORT:
            raise UsageError(f"a port is a number up to {_MAX_PORT}")
        arguments.seconds(timeout, "the time for an answer")
        arguments.seconds(wait, "the time to wait")

        def dial() -> _MessageStream:
            try:
                return _MessageStream(socket.create_connection((host, port), timeout))
            except (OSError, UnicodeError) as error:  # UnicodeError: a name that no host can have
                raise NoCardError(f"no card at {host}:{port}") from error

        transport = cls(dial(), f"tcp:{host}:{port}", timeout)
        transport._reconnect = dial
        transport._busy_until = time.monotonic() + wait
        return transport

    @classmethod
    def accept(
        cls,
        host: str,
        port: int,
        timeout: float = 60.0,
        *,
        remote: bool = False,
        ready: Callable[[int], None] | None = None,
    ) -> RemoteTransport:
        """Listen for a machine with a reader, as the vendor's design has it, and take the first that connects.

        `port`: 0 picks one; `ready` is told which.
        `timeout`: seconds for somebody to come, and for each answer.
        `remote`: other hosts than this one may reach the port.
        Raises: NoCardError when nobody comes in time.
        """
        with listen(host, port, remote=remote) as listener:
            if ready is not None:
                ready(listener.getsockname()[1])
            listener.settimeout(timeout)
            try:
                connection, peer = listener.accept()
            except TimeoutError as error:
                raise NoCardError("no reader connected") from error
        return cls(_MessageStream(connection), f"tcp:{peer[0]}:{peer[1]}", timeout)

    @property
    def name(self) -> str:
        """`tcp:HOST:PORT`."""
        return self._name

    def transmit(self, apdu: bytes) -> bytes:
        """See `Transport.transmit`."""
        body = json.dumps(list(apdu)).encode("ascii")
        try:
            while True:
                try:
                    return self._exchange(body)
                except _ClosedError as error:
                    if self._answered or self._reconnect is None:
                        raise CardRemovedError("the card's connection was closed") from error
                    if time.monotonic() >= self._busy_until:
                        raise ReaderBusyError(f"the card at {self._name} is in use by another program") from error
                    self.close()
                    time.sleep(_RETRY_INTERVAL)
                    self._stream = self._reconnect()
        except BaseException:
            self.close()
            raise

    def _exchange(self, body: bytes) -> bytes:
        if self._stream is None:
            raise CardRemovedError("the card's connection is closed")
        self._stream.send(body, self._timeout)
        answer = _load(self._stream.receive(self._timeout))
        if not isinstance(answer, list) or len(answer) != 3:
            raise TransportError("the APDU relay's answer is not [data, sw1, sw2]")
        self._answered = True
        return _byte_list(answer[0]) + _byte_list(answer[1:])

    def close(self) -> None:
        """See `Transport.close`. The far end powers the card down."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def listen(host: str, port: int, *, remote: bool = False) -> socket.socket:
    """A listening socket.

    Raises: UsageError for an address that other machines reach, unless `remote`; TransportError where it cannot be had.
    """
    if not remote and not is_loopback(host):
        raise UsageError(f"{host} can be reached from other machines, and you must ask for that")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise TransportError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    except UnicodeError as error:
        raise TransportError(f"cannot listen on {host}:{port}: there is no host with this name") from error


class ApduRelay:
    """The card's end: serves a transport to one client at a time.

    Further clients are closed at once, which their driver reports as a busy card.
    """

    def __init__(
        self,
        open_card: Callable[[], Transport],
        *,
        idle: float | None = None,
        first: float | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """A relay that serves nobody yet.

        `open_card`: called for each client, and its transport closed with it, so that a connection is a power-up.
        `idle`: seconds of silence after which a client is sent away.
        `first`: those before its first command, where that is less.
        `tell`: told in one line who was turned or sent away, and why.
        """
        self._open_card = open_card
        self._idle = idle
        limits = [limit for limit in (first, idle) if limit is not None]
        self._first = min(limits, default=None)
        self._told = tell

    def _tell(self, text: str) -> None:
        if self._told is not None:
            self._told(text)

    def serve(self, listener: socket.socket) -> None:
        """Serve clients of a listening socket until the listener is closed.

        When that happens, or an exception reaches this thread, the client that is served is sent away, and its card
        released.
        """
        client: _Client | None = None
        if sys.platform == "win32":  # where Ctrl-C is seen between two calls only
            listener.settimeout(_ATTENTION)
        try:
            while True:
                try:
                    connection, peer = listener.accept()
                except TimeoutError:
                    continue
                except OSError:
                    return  # the listener was closed: that ends the service
                if client is not None and client.here():
                    self._tell(f"{_named(peer)} was turned away: {client.name} is using the card")
                    connection.close()
                    continue
                client = _Client(self, connection, _named(peer))
        finally:
            if client is not None:
                client.send_away()

    def dial(self, host: str, port: int, timeout: float = 60.0) -> None:
        """Connect to a listening wallet host, as the vendor's design has it, and serve it until it leaves.

        `timeout`: seconds for connecting.
        Raises: TransportError where nobody listens.
        """
        try:
            connection = socket.create_connection((host, port), timeout)
        except (OSError, UnicodeError) as error:
            raise TransportError(f"nothing is listening at {host}:{port}") from error
        self.serve_connection(connection, f"{host}:{port}")

    def serve_connection(self, connection: socket.socket, name: str = "the client") -> None:
        """Serve one client until it leaves, is silent for too long, sends nonsense, or the card fails."""
        stream = _MessageStream(connection)
        try:
            card = self._open_card()
        except CryptnoxError as error:
            stream.close()
            self._tell(f"{name} was disconnected: {error}")
            return
        limit = self._first
        try:
            while True:
                try:
                    apdu = _byte_list(_load(stream.receive(limit)))
                except CardRemovedError:
                    self._tell(f"{name} was disconnected: it said nothing for {limit or 0:.0f} s")
                    return
                limit = self._idle
                response = card.transmit(apdu)
                answer = [list(response[:-2]), *response[-2:]]
                stream.send(json.dumps(answer).encode("ascii"), _SEND_LIMIT)
        except _ClosedError:
            return  # it left
        except CryptnoxError as error:
            self._tell(f"{name} was disconnected: {error}")
        finally:
            stream.close()
            card.close()


class _Client:
    """The client that a relay serves, in a thread of its own."""

    def __init__(self, relay: ApduRelay, connection: socket.socket, name: str) -> None:
        self.name = name
        self._connection = connection
        self._thread = threading.Thread(target=relay.serve_connection, args=(connection, name), daemon=True)
        self._thread.start()

    def here(self) -> bool:
        """Whether it still holds the card. One that has hung up no longer does; the card's release is waited for."""
        if not self._thread.is_alive():
            return False
        try:
            readable, _, _ = select.select([self._connection], [], [], 0)
            hung_up = bool(readable) and self._connection.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):  # closed meanwhile
            hung_up = True
        if hung_up:
            self._thread.join(_RELEASE_LIMIT)
        return self._thread.is_alive()

    def send_away(self) -> None:
        """End it, and wait until the card is released."""
        with contextlib.suppress(OSError):  # it has ended by itself
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(_RELEASE_LIMIT)


def _named(peer: tuple[object, ...]) -> str:
    return f"{peer[0]}:{peer[1]}"
