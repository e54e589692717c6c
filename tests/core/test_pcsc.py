"""PC/SC: the time limit on calls that block, and the choice of reader and card with two virtual readers."""

from __future__ import annotations

import _thread
import threading
import time

import pytest

from cryptnox_core.card import Card
from cryptnox_core.discovery import list_cards, open_card
from cryptnox_core.errors import (
    CardRemovedError,
    CryptnoxError,
    NoCardError,
    NoReaderError,
    ReaderBusyError,
    ServiceUnavailableError,
    TransportError,
)
from cryptnox_core.transport import pcsc as client
from cryptnox_core.transport.pcsc import PcscTransport, find_reader, is_token, list_readers
from tests.support import pcsc
from tests.support.emulator import MNEMONIC

LATE = ReaderBusyError("late")


class TestTimeLimit:
    def test_result_and_error_pass(self) -> None:
        undone: list[int] = []
        assert client._within(5, lambda: 7, undone.append, LATE) == 7
        with pytest.raises(NoCardError):
            client._within(5, self.fail, undone.append, LATE)
        assert undone == []

    @staticmethod
    def fail() -> int:
        raise NoCardError("empty")

    def test_a_late_result_is_undone(self) -> None:
        """A connect that comes back after it was given up must not keep the card."""
        release, undone = threading.Event(), threading.Event()

        def blocked() -> int:
            release.wait(10)
            return 7

        started = time.monotonic()
        with pytest.raises(ReaderBusyError):
            client._within(0.05, blocked, lambda result: undone.set(), LATE)
        assert time.monotonic() - started < 5
        assert not undone.is_set()
        release.set()
        assert undone.wait(5)

    def test_what_an_interrupt_left_behind_is_undone(self) -> None:
        """Ctrl-C while a card is awaited: when it comes after all, it is let go of."""
        release, undone = threading.Event(), threading.Event()

        def blocked() -> int:
            threading.Timer(0.05, _thread.interrupt_main).start()
            release.wait(10)
            return 7

        try:
            with pytest.raises(KeyboardInterrupt):
                client._within(10, blocked, lambda result: undone.set(), LATE)
        finally:
            release.set()
        assert undone.wait(5)

    def test_a_late_error_is_dropped(self) -> None:
        release = threading.Event()

        def blocked() -> int:
            release.wait(10)
            raise NoCardError("empty")

        with pytest.raises(ReaderBusyError):
            client._within(0.05, blocked, lambda result: None, LATE)
        release.set()


def test_no_service() -> None:
    for call in (list_readers, lambda: list_cards(0), lambda: open_card(), lambda: PcscTransport.open(0)):
        with pytest.raises(ServiceUnavailableError):
            call()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SCARD_E_NO_SERVICE", ServiceUnavailableError),
        ("SCARD_E_UNKNOWN_READER", NoReaderError),
        ("SCARD_E_NO_SMARTCARD", NoCardError),
        ("SCARD_W_UNRESPONSIVE_CARD", NoCardError),
        ("SCARD_E_PROTO_MISMATCH", NoCardError),
        ("SCARD_E_SHARING_VIOLATION", ReaderBusyError),
        ("SCARD_W_REMOVED_CARD", CardRemovedError),
        ("SCARD_W_RESET_CARD", CardRemovedError),
        ("SCARD_E_NOT_TRANSACTED", CardRemovedError),
        ("SCARD_F_INTERNAL_ERROR", TransportError),
    ],
)
@pytest.mark.parametrize("library", ["smartcard.scard", "cryptnox_core.transport.pcsclite"])
def test_return_codes(name: str, kind: type[TransportError], library: str) -> None:
    scard = pytest.importorskip(library, reason="pyscard is not installed")
    assert type(client._failure(scard, getattr(scard, name), "reader")) is kind


@pytest.mark.parametrize(
    ("reader", "token"),
    [
        ("Yubico YubiKey OTP+FIDO+CCID 00 00", True),
        ("Yubico Yubikey NEO OTP+U2F+CCID 01 00", True),
        ("Yubico YubiKey CCID 0", True),
        ("Nitrokey Nitrokey 3 [CCID/ICCD Interface] 00 00", True),
        ("Free Software Initiative of Japan Gnuk (FSIJ-1.2.15-43211613) 00 00", True),
        ("ACS ACR39U ICC Reader 00 00", False),
        ("Virtual PCD 00 00", False),
        ("HID Global OMNIKEY 5422 Smartcard Reader [OMNIKEY 5422CL Smartcard Reader] 00 00", False),
        ("Identiv uTrust 3700 F CL Reader 0", False),
    ],
)
def test_readers_that_are_tokens_themselves(reader: str, token: bool) -> None:
    assert is_token(reader) is token


def test_a_token_is_not_touched_in_search_of_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names it means it."""
    yubikey, asked = "Yubico YubiKey OTP+FIDO+CCID 00 00", list[str]()

    def opened(reader: str, wait: float) -> PcscTransport:
        asked.append(reader)
        raise NoCardError("it is not asked")

    monkeypatch.setattr(client, "list_readers", lambda: [yubikey, "ACS ACR39U ICC Reader 00 00"])
    monkeypatch.setattr(PcscTransport, "open", opened)
    assert list_cards() == []
    with pytest.raises(NoCardError):
        open_card()
    assert asked == ["ACS ACR39U ICC Reader 00 00"] * 2
    assert list_cards(reader=yubikey) == [] and asked[2:] == [yubikey]


@pytest.mark.pcsc("both")
class TestTwoReaders:
    def test_another_card_is_left_as_it_is(self, virtual_readers: pcsc.VirtualReaders) -> None:
        """A reset would end what another program has open there, like the PIN of a card that approves signatures."""
        one = pcsc.SLOTS[0]
        with virtual_readers.card("--mnemonic", MNEMONIC, unlike=pcsc.ANOTHER_CARD) as card, pcsc.sharing(one) as alive:
            before = card.stats()["apdus"]
            assert list_cards(2) == []
            with pytest.raises(NoCardError):
                open_card(reader=one)
            assert card.stats()["apdus"] == before + 2, "it was asked whether it is one of ours"
            assert alive()

    def test_choice_of_card(self, virtual_readers: pcsc.VirtualReaders) -> None:
        one, two = pcsc.SLOTS
        with (
            virtual_readers.card("--mnemonic", MNEMONIC) as first,
            virtual_readers.card("--serial", str((1 << 60) + 5), "--type", "N", slot=1) as second,
        ):
            found = {card.reader: card for card in list_cards(5)}
            assert (found[one].serial, found[two].serial) == (first.serial, second.serial)
            assert found[two].info is not None and found[two].info.is_nft
            for reader in (None, one, list_readers().index(one)):
                with open_card(first.serial, reader=reader) as card:
                    assert card.serial == first.serial and card.transport.name == one
            with open_card(second.serial) as card:
                assert card.transport.name == two
            with open_card(reader=two) as card:
                assert card.info.is_nft
            with pytest.raises(NoCardError):
                open_card(12345)
            with pytest.raises(NoCardError):
                open_card(first.serial, reader=two)
            assert client.card_present(one)
            assert find_reader("00 01") == two
            for wrong in ("Virtual PCD", "no such reader", 99, -1):
                with pytest.raises(NoReaderError):
                    find_reader(wrong)
            with Card(PcscTransport.open(one)), pytest.raises(ReaderBusyError):
                PcscTransport.open(one, 0.3)
        assert not client.card_present(one)
        with pytest.raises(NoCardError):
            PcscTransport.open(one, 0.3)
        assert [card for card in list_cards(0.3) if card.reader in pcsc.SLOTS] == []

    def test_removed_in_the_middle(self, virtual_readers: pcsc.VirtualReaders) -> None:
        with virtual_readers.card("--mnemonic", MNEMONIC) as emulator:
            card = open_card(emulator.serial)
            card.open_channel()
            emulator.stop()
            with pytest.raises(CardRemovedError):
                card.pin_tries_left()
            assert not card.channel_open
            with pytest.raises(CardRemovedError):
                card.select()
            card.close()
            card.close()

    @pytest.mark.parametrize("fault", ["badmac@20:1", "garbage@20:1", "sw:6982@20:1", "reset@20:1"])
    def test_faults_through_the_reader(self, virtual_readers: pcsc.VirtualReaders, fault: str) -> None:
        with virtual_readers.card("--mnemonic", MNEMONIC, "--fault", fault) as emulator:
            with open_card(emulator.serial) as card:
                card.open_channel()
                with pytest.raises(CryptnoxError):
                    card.verify_pin("000000")
                assert not card.channel_open
            with open_card(emulator.serial) as card:
                card.open_channel()
                card.verify_pin("000000")
                assert card.pin_tries_left() == 6
            assert emulator.stats()["pin_tries"] == 0
