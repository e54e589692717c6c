"""Finding and opening cards: `open_card` and `list_cards`, at an address and where there is no reader."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from cryptnox_core import (
    Genuineness,
    NoCardError,
    NoReaderError,
    NotInitializedError,
    PairingError,
    PcscTransport,
    RemoteTransport,
    TrustAnchors,
    UsageError,
    list_cards,
    open_card,
)
from cryptnox_core.emulator import ca
from cryptnox_core.wire import COMMON_PAIRING_KEY
from tests.core.emulated import PIN, PUK
from tests.core.values import NAMES, WRONG, ours
from tests.support.emulator import MNEMONIC, EmulatorProcess
from tests.support.listeners import listener, readers_called

ANCHORS = TrustAnchors.builtin() + TrustAnchors.from_pem(ca.ca_certificate_pem().encode())


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--pin", PIN, "--puk", PUK) as process:
        yield process


class TestOpenCard:
    """At an address; readers: test_pcsc.py."""

    def test_ready_for_the_pin(self, emulator: EmulatorProcess) -> None:
        for arguments in ({"card": emulator.path}, {"reader": emulator.path}):
            with open_card(**arguments, anchors=ANCHORS) as card:
                assert card.channel_open and card.serial == emulator.serial
                assert card.genuineness is Genuineness.GENUINE
                card.verify_pin(PIN)
                assert card.master_fingerprint().hex() == "73c5da0a"

    def test_by_serial(self, emulator: EmulatorProcess) -> None:
        with open_card(emulator.serial, reader=emulator.path) as card:
            assert card.channel_open
        with pytest.raises(NoCardError, match="the card 5 is not in any reader"):
            open_card(5, reader=emulator.path)

    def test_without_channel(self, emulator: EmulatorProcess) -> None:
        with open_card(emulator.path, channel=False) as card:
            assert not card.channel_open and card.info.seeded and card.serial == emulator.serial
            with pytest.raises(UsageError, match="open the secure channel first"):
                card.verify_pin(PIN)

    def test_another_pairing_key(self, emulator: EmulatorProcess) -> None:
        """The card is let go again."""
        with pytest.raises(PairingError):
            open_card(emulator.path, pairing_key=bytes(32))
        with open_card(emulator.path, pairing_key=COMMON_PAIRING_KEY) as card:
            assert card.channel_open

    def test_list(self, emulator: EmulatorProcess) -> None:
        (found,) = list_cards(reader=emulator.path)
        assert (found.reader, found.serial, found.error) == (emulator.path, emulator.serial, None)
        assert found.info is not None and found.info.seeded

    def test_a_card_as_from_the_factory(self) -> None:
        """It has no channel before `init`."""
        with EmulatorProcess() as emulator:
            with open_card(emulator.path) as card:
                assert not card.info.initialized and not card.channel_open
                with pytest.raises(NotInitializedError):
                    card.open_channel()
                card.init("Ada", "", pin=PIN, puk=PUK)
                card.open_channel()
                card.generate_key(PIN)
            with open_card(emulator.path) as card:
                assert card.channel_open and card.info.seeded

    def test_nobody_there(self) -> None:
        with EmulatorProcess() as emulator:
            path = emulator.path
        with pytest.raises(NoCardError):
            open_card(path)
        assert list_cards(reader=path) == []
        for host in ("a" * 70, "no.such.host.invalid"):
            with pytest.raises(NoCardError):
                open_card(f"tcp:{host}:9720")

    @pytest.mark.parametrize(
        "arguments",
        [
            {"card": "12345"},
            {"card": ""},
            {"card": "tcp:"},
            {"card": "tcp:127.0.0.1"},
            {"card": "tcp:127.0.0.1:99999"},
            {"card": "tcp:127.0.0.1:9720", "reader": "x"},
            {"card": 1.5},
            {"card": b"x"},
            {"card": True},
            {"reader": b"x"},
            {"reader": 1.5},
            {"pairing_key": "x"},
            {"pairing_key": bytes(31)},
            {"wait": "5"},
            {"wait": -1},
            {"wait": float("nan")},
        ],
    )
    def test_mistakes(self, arguments: dict[str, object]) -> None:
        with pytest.raises(UsageError):
            open_card(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [*WRONG, 1e300, float("inf"), float("nan"), 99999], ids=[*NAMES, "1e300", "inf", "nan", "99999"]
)
def test_connections(emulator: EmulatorProcess, wrong: object) -> None:
    for name in inspect.signature(open_card).parameters:
        given = {} if name in ("card", "reader") else {"card": emulator.path}
        if name != "reader" or wrong is not None:
            ours(lambda name=name, given=given: open_card(**{**given, name: wrong}).close())  # type: ignore[misc]
    ours(lambda: list_cards(wrong, reader=emulator.path))  # type: ignore[arg-type]
    for name in ("host", "port", "timeout", "wait"):
        given = {"host": emulator.host, "port": emulator.port, name: wrong}
        ours(lambda given=given: RemoteTransport.connect(**given).close())  # type: ignore[misc]
    if wrong not in ("", 99999):  # those mean readers
        ours(lambda: PcscTransport.open(wrong))  # type: ignore[arg-type]
    ours(lambda: PcscTransport.open("no such reader", wrong))  # type: ignore[arg-type]


def test_a_reader_that_is_called_as_an_address_is_not_dialed(monkeypatch: pytest.MonkeyPatch) -> None:
    with listener() as far, readers_called(monkeypatch, f"tcp:127.0.0.1:{far.port}", "tcp:evil 00 00"):
        assert list_cards() == []
        for arguments in ({}, {"card": 5}):
            with pytest.raises(NoReaderError):
                open_card(**arguments)
    assert far.callers == []


def test_without_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """As programs for the vendor's library tell it apart from a reader that is empty."""
    monkeypatch.setattr("cryptnox_core.transport.pcsc.list_readers", list)
    for arguments in ({}, {"card": 5}):
        with pytest.raises(NoReaderError):
            open_card(**arguments)
    assert list_cards() == []
