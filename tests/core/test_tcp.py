"""The APDU relay: framing at its edges with plain sockets, and both ends together over the emulated card."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cryptnox_core.card import Card
from cryptnox_core.errors import (
    CardRemovedError,
    CryptnoxError,
    NoCardError,
    ReaderBusyError,
    TransportError,
    UsageError,
)
from cryptnox_core.transport.tcp import MAX_MESSAGE, ApduRelay, RemoteTransport, is_loopback, listen, parse_address
from tests.core.emulated import PIN, EmulatedReader, EmulatedTransport, seeded
from tests.support.emulator import MNEMONIC, EmulatorProcess

SELECT = bytes.fromhex("00A4040007A0000010000112")
Peer = Callable[[socket.socket], None]


def message(body: bytes, length: int | None = None) -> bytes:
    return str(len(body) if length is None else length).encode().ljust(64) + body


def read_request(connection: socket.socket) -> list[int]:
    data = b""
    while len(data) < 64 or len(data) < 64 + int(data[:64]):
        piece = connection.recv(4096)
        if not piece:
            raise EOFError
        data += piece
    return json.loads(data[64:])


@contextlib.contextmanager
def serving(*peers: Peer) -> Iterator[int]:
    """A listener whose connections are handled by these functions, one each; gives the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        for peer in peers:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError, EOFError):
                peer(connection)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # A blocked accept does not notice close; a connection of our own ends it.
        with contextlib.suppress(OSError):
            socket.create_connection(listener.getsockname(), 1).close()
        listener.close()
        thread.join(5)


def answering(raw: bytes) -> Peer:
    """Reads one request, sends these bytes, and waits for the client to leave."""

    def peer(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(raw)
        connection.recv(1)

    return peer


def exchange(raw: bytes, *, timeout: float = 5.0) -> bytes:
    with serving(answering(raw)) as port:
        transport = RemoteTransport.connect("127.0.0.1", port, timeout)
        try:
            return transport.transmit(SELECT)
        finally:
            transport.close()


class TestClient:
    def test_request_and_answer(self) -> None:
        seen: list[list[int]] = []

        def peer(connection: socket.socket) -> None:
            seen.append(read_request(connection))
            connection.sendall(message(b"[[1, 2], 144, 0]"))
            seen.append(read_request(connection))
            connection.sendall(message(b"[[],106,130]"))

        with serving(peer) as port:
            transport = RemoteTransport.connect("127.0.0.1", port)
            assert transport.name == f"tcp:127.0.0.1:{port}"
            assert transport.transmit(SELECT) == b"\x01\x02\x90\x00"
            assert transport.transmit(b"\x80\xfa") == b"\x6a\x82"
            transport.close()
        assert seen == [list(SELECT), [0x80, 0xFA]]

    def test_an_answer_in_single_bytes(self) -> None:
        def peer(connection: socket.socket) -> None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            read_request(connection)
            for byte in message(b"[[7], 144, 0]"):
                connection.sendall(bytes((byte,)))

        with serving(peer) as port:
            assert RemoteTransport.connect("127.0.0.1", port).transmit(SELECT) == b"\x07\x90\x00"

    def test_the_longest_apdu(self) -> None:
        def peer(connection: socket.socket) -> None:
            request = read_request(connection)
            connection.sendall(message(json.dumps([request, 144, 0]).encode()))

        with serving(peer) as port:
            longest = bytes([0xFF]) * (65535 + 7)
            assert RemoteTransport.connect("127.0.0.1", port).transmit(longest) == longest + b"\x90\x00"

    @pytest.mark.parametrize(
        "raw",
        [
            message(b""),
            message(b"{}"),
            message(b"[]"),
            message(b"[[], 144]"),
            message(b"[[], 144, 0, 0]"),
            message(b"[[256], 144, 0]"),
            message(b"[[-1], 144, 0]"),
            message(b"[[true], 144, 0]"),
            message(b"[[1.0], 144, 0]"),
            message(b'[["1"], 144, 0]'),
            message(b'["AA", 144, 0]'),
            message(b"[[], 144, 256]"),
            message(b"[[], null, 0]"),
            message(b"[[], 144, 0"),
            message(b"\xff\xfe"),
            message(b"[" * 100_000),
            message(b"[[" + b"9" * 5000 + b"], 144, 0]"),
            b" " * 64,
            b"x" * 64,
            b"-1".ljust(64),
            b"+5".ljust(64) + b"[[],1,2]",
            b"1_0".ljust(64) + b"[[], 1, 2]",
            "٣".encode().ljust(64),
            b"\0" * 64,
            str(MAX_MESSAGE + 1).encode().ljust(64),
            b"9" * 64,
        ],
    )
    def test_nonsense(self, raw: bytes) -> None:
        with pytest.raises(TransportError) as caught:
            exchange(raw)
        assert type(caught.value) is TransportError

    def test_unusable_after_an_error(self) -> None:
        with serving(answering(message(b"[]"))) as port:
            transport = RemoteTransport.connect("127.0.0.1", port)
            with pytest.raises(TransportError):
                transport.transmit(SELECT)
            with pytest.raises(CardRemovedError):
                transport.transmit(SELECT)
            transport.close()
            transport.close()

    def test_silence(self) -> None:
        started = time.monotonic()
        with pytest.raises(CardRemovedError):
            exchange(b"", timeout=0.2)
        assert time.monotonic() - started < 3

    def test_the_limit_is_for_the_whole_answer(self) -> None:
        """A far end that drips a byte now and then does not keep the client for ever."""

        def peer(connection: socket.socket) -> None:
            read_request(connection)
            for byte in message(b"[[], 144, 0]"):
                connection.sendall(bytes((byte,)))
                time.sleep(0.05)

        with serving(peer) as port:
            transport = RemoteTransport.connect("127.0.0.1", port, 0.3)
            started = time.monotonic()
            with pytest.raises(CardRemovedError):
                transport.transmit(SELECT)
            assert time.monotonic() - started < 2

    @pytest.mark.parametrize("cut", [1, 63, 64, 70])
    def test_closed_within_the_second_answer(self, cut: int) -> None:
        def peer(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(message(b"[[], 144, 0]"))
            read_request(connection)
            connection.sendall(message(b"[[], 144, 0]")[:cut])

        with serving(peer) as port:
            transport = RemoteTransport.connect("127.0.0.1", port)
            transport.transmit(SELECT)
            with pytest.raises(CardRemovedError):
                transport.transmit(SELECT)

    def test_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with pytest.raises(NoCardError):
            RemoteTransport.connect("127.0.0.1", port)

    def test_closed_at_once_is_busy(self) -> None:
        with serving(lambda connection: None) as port:
            transport = RemoteTransport.connect("127.0.0.1", port)
            with pytest.raises(ReaderBusyError):
                transport.transmit(SELECT)

    def test_busy_is_waited_for(self) -> None:
        def busy(connection: socket.socket) -> None:
            return None

        with serving(busy, busy, answering(message(b"[[], 144, 0]"))) as port:
            transport = RemoteTransport.connect("127.0.0.1", port, wait=10)
            assert transport.transmit(SELECT) == b"\x90\x00"
            transport.close()

    def test_nothing_is_sent_again_after_an_answer(self) -> None:
        """Only the first APDU of a connection may be repeated: later ones may hold a PIN."""
        requests: list[list[int]] = []

        def peer(connection: socket.socket) -> None:
            requests.append(read_request(connection))
            connection.sendall(message(b"[[], 144, 0]"))
            requests.append(read_request(connection))

        with serving(peer, peer) as port:
            transport = RemoteTransport.connect("127.0.0.1", port, wait=10)
            transport.transmit(SELECT)
            with pytest.raises(CardRemovedError):
                transport.transmit(b"\x80\x20")
        assert requests == [list(SELECT), [0x80, 0x20]]


class TestAddresses:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1", "[::1]"])
    def test_loopback(self, host: str) -> None:
        assert is_loopback(host)

    @pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "::", "", "127.0.0.1.example.org"])
    def test_not_loopback(self, host: str) -> None:
        assert not is_loopback(host)
        with pytest.raises(UsageError):
            listen(host, 0)

    def test_listening_wider_when_told(self) -> None:
        listen("0.0.0.0", 0, remote=True).close()

    def test_port_in_use(self) -> None:
        with listen("127.0.0.1", 0) as taken, pytest.raises(TransportError):
            listen("127.0.0.1", taken.getsockname()[1])

    def test_parsing(self) -> None:
        assert parse_address("127.0.0.1:9720") == ("127.0.0.1", 9720)
        assert parse_address("[::1]:1") == ("::1", 1)
        for text in ("", "host", ":1", "host:", "host:x", "host:70000", "host:-1", "host:²"):
            with pytest.raises(UsageError):
                parse_address(text)


@contextlib.contextmanager
def relaying(relay: ApduRelay) -> Iterator[int]:
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    thread = threading.Thread(target=relay.serve, args=(listener,), daemon=True)
    thread.start()
    try:
        yield port
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        assert not thread.is_alive()


class TestRelay:
    def test_a_card_through_both_ends(self) -> None:
        reader = EmulatedReader.of(seeded())

        def power_up() -> EmulatedTransport:
            reader.engine.power_up()
            return EmulatedTransport(reader.engine)

        with relaying(ApduRelay(power_up)) as port:
            for _ in range(2):
                with Card(RemoteTransport.connect("127.0.0.1", port)) as card:
                    card.open_channel()
                    card.verify_pin(PIN)
                    assert card.master_fingerprint().hex() == "73c5da0a"
                    card.write_user_data(bytes(1200))

    def test_the_card_is_closed_with_its_client(self) -> None:
        opened: list[EmulatedTransport] = []

        def power_up() -> EmulatedTransport:
            opened.append(EmulatedTransport(EmulatedReader.of(seeded()).engine))
            return opened[-1]

        with relaying(ApduRelay(power_up)) as port:
            Card(RemoteTransport.connect("127.0.0.1", port)).close()
            with Card(RemoteTransport.connect("127.0.0.1", port)) as card:
                card.select()
        assert [transport.closed for transport in opened] == [1, 1]

    def test_no_card(self) -> None:
        def none() -> EmulatedTransport:
            raise NoCardError("empty")

        with relaying(ApduRelay(none)) as port, pytest.raises(ReaderBusyError):
            Card(RemoteTransport.connect("127.0.0.1", port)).select()

    @pytest.mark.parametrize("raw", [b"x" * 64, message(b"{}"), message(b"[300]"), message(b"[1,2", 5), b"7"])
    def test_nonsense_ends_the_connection_only(self, raw: bytes) -> None:
        reader = EmulatedReader.of(seeded())
        with relaying(ApduRelay(lambda: EmulatedTransport(reader.engine), idle=0.5)) as port:
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                client.sendall(raw)
                assert client.recv(64) == b""
            with Card(RemoteTransport.connect("127.0.0.1", port)) as card:
                card.select()

    def test_one_client_at_a_time(self) -> None:
        """Others are closed at once, and the relay says why; when the one has left the next is served."""
        said: list[str] = []
        reader = EmulatedReader.of(seeded())
        with relaying(ApduRelay(lambda: EmulatedTransport(reader.engine), tell=said.append)) as port:
            with Card(RemoteTransport.connect("127.0.0.1", port)) as card:
                card.select()
                for _ in range(3):
                    started = time.monotonic()
                    with pytest.raises(ReaderBusyError):
                        Card(RemoteTransport.connect("127.0.0.1", port)).select()
                    assert time.monotonic() - started < 2
                card.select()
            with Card(RemoteTransport.connect("127.0.0.1", port)) as card:
                card.select()
        assert len(said) == 3 and all("was turned away: 127.0.0.1:" in line for line in said)

    @pytest.mark.parametrize("begins", [b"", b"21".ljust(64) + b"[0"])
    def test_a_silent_client_keeps_nobody_away(self, begins: bytes) -> None:
        """Nor one that stops in the middle of its first message."""
        said: list[str] = []
        reader = EmulatedReader.of(seeded())
        relay = ApduRelay(lambda: EmulatedTransport(reader.engine), first=0.3, tell=said.append)
        with relaying(relay) as port, socket.create_connection(("127.0.0.1", port), 5) as silent:
            silent.sendall(begins)
            with Card(RemoteTransport.connect("127.0.0.1", port, wait=5)) as card:
                card.select()
                time.sleep(0.5)  # the limit is for the first command only
                card.select()
            assert silent.recv(64) == b""
        assert any("said nothing for 0 s" in line for line in said)

    def test_a_client_that_falls_silent_is_sent_away(self) -> None:
        said: list[str] = []
        opened = EmulatedTransport(EmulatedReader.of(seeded()).engine)
        with relaying(ApduRelay(lambda: opened, idle=0.3, tell=said.append)) as port:
            card = Card(RemoteTransport.connect("127.0.0.1", port))
            card.select()
            time.sleep(0.6)
            with pytest.raises(CardRemovedError):
                card.select()
        assert opened.closed == 1 and "disconnected" in said[0]

    def test_the_end_of_the_service_releases_the_card(self) -> None:
        opened = EmulatedTransport(EmulatedReader.of(seeded()).engine)
        with relaying(ApduRelay(lambda: opened)) as port:
            card = Card(RemoteTransport.connect("127.0.0.1", port))
            card.select()
        assert opened.closed == 1

    def test_a_card_that_cannot_be_had_is_told(self) -> None:
        said: list[str] = []

        def none() -> EmulatedTransport:
            raise NoCardError("the reader is empty")

        with relaying(ApduRelay(none, tell=said.append)) as port, pytest.raises(ReaderBusyError):
            Card(RemoteTransport.connect("127.0.0.1", port)).select()
        assert said and said[0].endswith("was disconnected: the reader is empty")

    def test_the_vendors_direction(self) -> None:
        """The wallet listens, the machine with the reader dials."""
        reader = EmulatedReader.of(seeded())
        ports: list[int] = []
        listening = threading.Event()

        def ready(port: int) -> None:
            ports.append(port)
            listening.set()

        def dial() -> None:
            listening.wait(5)
            ApduRelay(lambda: EmulatedTransport(reader.engine)).dial("127.0.0.1", ports[0])

        thread = threading.Thread(target=dial, daemon=True)
        thread.start()
        with Card(RemoteTransport.accept("127.0.0.1", 0, 5, ready=ready)) as card:
            card.open_channel()
            assert card.channel_open
        thread.join(5)
        assert not thread.is_alive()

    def test_nobody_dials(self) -> None:
        with pytest.raises(NoCardError):
            RemoteTransport.accept("127.0.0.1", 0, 0.1)

    def test_dialling_nobody(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with pytest.raises(TransportError):
            ApduRelay(lambda: EmulatedTransport(EmulatedReader.of(seeded()).engine)).dial("127.0.0.1", port)


class TestEmulatorProcess:
    def test_a_session(self) -> None:
        with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as emulator:
            with Card(RemoteTransport.connect(emulator.host, emulator.port)) as card:
                card.open_channel()
                assert card.serial == emulator.serial
                card.verify_pin("000000")
                assert card.master_fingerprint().hex() == "73c5da0a"
                with pytest.raises(ReaderBusyError):
                    Card(RemoteTransport.connect(emulator.host, emulator.port)).select()
            with Card(RemoteTransport.connect(emulator.host, emulator.port, wait=5)) as card:
                card.open_channel()

    @pytest.mark.parametrize("kind", ["remove", "reset", "garbage", "badmac", "silence", "sw:6F00"])
    def test_faults_over_the_wire(self, kind: str) -> None:
        with EmulatorProcess("--mnemonic", MNEMONIC, "--fault", f"{kind}@20:2") as emulator:
            with Card(RemoteTransport.connect(emulator.host, emulator.port, 1.0)) as card:
                card.open_channel()
                card.pin_tries_left()
                with pytest.raises(CryptnoxError):
                    card.verify_pin("000000")
                assert not card.channel_open
            with Card(RemoteTransport.connect(emulator.host, emulator.port, wait=5)) as card:
                card.open_channel()
                card.verify_pin("000000")
                assert card.master_fingerprint().hex() == "73c5da0a"
            assert emulator.stats()["pin_tries"] == 0
