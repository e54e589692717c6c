"""The extension's cards without Specter: which card a typed PIN reaches, and the words of errors in a web page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.optional import NO_HWILIB

pytest.importorskip("hwilib", reason=NO_HWILIB)

from cryptnox_core.errors import CardRemovedError, NoCardError, NoReaderError
from hwilib_cryptnox.errors import CardNotFoundError, LastTryError, NoPinError, RefusedCardError, RefusedPinError
from hwilib_cryptnox.hwi.errors import to_hwi_error
from hwilib_cryptnox.pin import policy as unlock
from hwilib_cryptnox.pin.policy import GIVE_IT_ONCE, Unlocker
from hwilib_cryptnox.specter import cards
from hwilib_cryptnox.specter.cards import Client, for_page, listed, listed_with, unlocked
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State
from tests.support.emulator import MNEMONIC, PIN, EmulatorProcess

FINGERPRINT = "73c5da0a"
OTHER_MNEMONIC = " ".join(["zoo"] * 11 + ["wrong"])
WRONG = "111111"
TREZOR = {"type": "trezor", "path": "webusb:001:1", "model": "trezor_1"}
COMMAND_LINE = re.compile(r"--[a-z]|CRYPTNOX_|stdin")


@pytest.fixture(autouse=True)
def forgotten() -> None:
    unlock._refused.clear()
    unlock._noted.clear()


class Pair:
    """Two cards with other seeds; Specter's list holds both, as of two readers."""

    def __init__(self, first: EmulatorProcess, second: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
        self.first, self.second = first, second
        self._monkeypatch = monkeypatch

    def see(self, card: EmulatorProcess) -> dict[str, Any]:
        """The entry of a card that this computer does not know; from now on it is the one that is listed."""
        self._monkeypatch.setenv("CRYPTNOX_EMULATOR", card.path.removeprefix("tcp:"))
        (entry,) = listed()
        assert entry["path"] == card.path and "fingerprint" not in entry and entry["needs_passphrase_sent"]
        return entry

    def tries(self) -> tuple[int, int]:
        return self.first.stats()["pin_tries"], self.second.stats()["pin_tries"]

    def pins(self) -> tuple[int, int]:
        """VERIFY PIN commands, right ones and questions for the counter included."""
        first, second = (card.stats()["by_ins"].get("20", 0) for card in (self.first, self.second))
        return first, second


@pytest.fixture(scope="module")
def emulators() -> Iterator[tuple[EmulatorProcess, EmulatorProcess]]:
    with (
        EmulatorProcess("--mnemonic", MNEMONIC) as first,
        EmulatorProcess("--mnemonic", OTHER_MNEMONIC, "--xpub-export") as second,
    ):
        yield first, second


@pytest.fixture
def pair(emulators: tuple[EmulatorProcess, EmulatorProcess], monkeypatch: pytest.MonkeyPatch) -> Pair:
    return Pair(*emulators, monkeypatch)


def test_the_pin_of_a_reaches_a_only(pair: Pair) -> None:
    entry = pair.see(pair.first)
    pair.see(pair.second)
    before, other = pair.pins()
    found = unlocked(entry, PIN)
    assert found["fingerprint"] == FINGERPRINT and found["needs_passphrase_sent"] is False
    assert "error" not in found and "code" not in found and found["path"] == pair.first.path
    assert pair.pins()[0] > before and pair.pins()[1] == other


def test_a_wrong_pin_costs_a_one_try_and_b_none(pair: Pair) -> None:
    entry = pair.see(pair.first)
    before, other = pair.tries()
    for _ in range(3):
        with pytest.raises(Exception, match=r"(?i)wrong pin, \d+ tries left"):
            unlocked(entry, WRONG)
    assert pair.tries() == (before + 1, other)
    assert unlocked(entry, PIN)["fingerprint"] == FINGERPRINT, "the right one is taken afterwards"


@pytest.mark.parametrize("other", ["a card", "a trezor", "nothing was listed"])
def test_what_is_typed_for_some_device_reaches_no_card(pair: Pair, other: str) -> None:
    """Specter tells no driver which device it was typed for: only where the list has one device it is known."""
    second = pair.see(pair.second)
    first = pair.see(pair.first)
    before = {"a card": [first, second], "a trezor": [TREZOR, first], "nothing was listed": []}[other]
    sent = pair.pins()
    for typed in (PIN, WRONG):
        (entry,) = listed_with(typed, before)
        assert entry["needs_passphrase_sent"] and "fingerprint" not in entry
    assert pair.pins() == sent


def test_another_card_than_the_one_that_was_listed(pair: Pair) -> None:
    second = pair.see(pair.second)
    pair.see(pair.first)
    sent = pair.pins()
    assert "fingerprint" not in listed_with(PIN, [second])[0]
    assert pair.pins() == sent


def test_the_only_device(pair: Pair) -> None:
    """A wrong PIN, and none, are said so at once: without a fingerprint Specter speaks of another signing key."""
    entry = pair.see(pair.first)
    before = pair.tries()
    with pytest.raises(Exception, match=r"(?i)wrong pin") as refused:
        listed_with(WRONG, [entry])
    assert WRONG not in str(refused.value)
    assert pair.tries() == (before[0] + 1, before[1])
    for none in ("correct horse battery", "12345678901"):
        with pytest.raises(Exception, match="PIN needed: type the card's PIN, 4 to 9 digits") as refused:
            listed_with(none, [entry])
        assert not COMMAND_LINE.search(str(refused.value)) and none not in str(refused.value)
    with pytest.raises(Exception, match=r"PIN needed: type the card's PIN, 4 to 9 digits$"):
        unlocked(entry, "")
    assert [found["fingerprint"] for found in listed_with(PIN, [entry])] == [FINGERPRINT]
    assert pair.tries()[1] == before[1]


def test_a_known_card_gets_its_pin_when_it_signs(pair: Pair) -> None:
    entry = {**pair.see(pair.first), "fingerprint": FINGERPRINT}
    sent = pair.pins()
    assert unlocked(entry, WRONG)["fingerprint"] == FINGERPRINT
    assert pair.pins() == sent


def test_a_card_that_gives_no_keys_out_says_so(pair: Pair) -> None:
    """Specter shows nothing of what goes wrong after it has the fingerprint."""
    client = Client(pair.first.path, PIN)
    with pytest.raises(Exception, match="xpub export is off"):
        client.get_master_fingerprint()
    assert client.identify() == FINGERPRINT
    client.close()
    other = Client(pair.second.path, PIN)
    assert other.get_master_fingerprint().hex() == other.identify()
    other.close()


@pytest.mark.parametrize("path", ["", " ", "m", "m/"])
def test_no_message_is_signed_with_the_master_key(pair: Pair, path: str) -> None:
    client = Client(pair.first.path, PIN)
    sent, signed = pair.pins(), pair.first.stats()["signatures"]
    with pytest.raises(Exception, match="Say which key signs: a derivation path like m/84h"):
        client.sign_message("hello", path)
    client.close()
    assert pair.pins() == sent and pair.first.stats()["signatures"] == signed


def test_no_option_of_a_command_line_is_named() -> None:
    no_pin = Unlocker(Settings(), State(), "correct horse").no_pin(["three tries are left"], how=GIVE_IT_ONCE)
    errors = [
        NoPinError(str(no_pin), no_pin.reason, why=no_pin.why),
        Unlocker(Settings(), State()).no_pin(),
        LastTryError("One PIN try is left; nothing was sent. CRYPTNOX_LAST_TRY=1 allows it"),
        RefusedPinError("a PIN was refused before, at most 4 tries left", 4, how=GIVE_IT_ONCE),
    ]
    for error in errors:
        assert COMMAND_LINE.search(str(error)), "else it need not be told in other words"
        told = for_page(error)
        # A whole command that helps may be named.
        text = str(told).replace("cryptnoxctl pin change --with-puk", "")
        assert not COMMAND_LINE.search(text), text
        assert to_hwi_error(told).code == to_hwi_error(error).code
    assert str(for_page(errors[0])) == (
        "PIN needed: type the card's PIN, 4 to 9 digits (given password is not a card PIN; three tries are left)"
    )
    assert str(for_page(errors[3])) == "a PIN was refused before, at most 4 tries left; type the right one"


@pytest.mark.parametrize("kind", [CardRemovedError, NoCardError, NoReaderError])
def test_a_card_that_is_gone(kind: type[Exception]) -> None:
    error = kind("no card at 127.0.0.1:9720")
    told = for_page(error)
    assert str(told) == "The card does not answer: insert it and try again"
    assert to_hwi_error(told).code == to_hwi_error(error).code


def test_a_card_that_is_not_in_its_reader() -> None:
    """Says which, what to do, and the same code as ever. What is no question of a card put in keeps its words."""
    gone = CardNotFoundError("the card 30000000001 is not in any reader")
    assert str(for_page(gone)) == "the card 30000000001 is not in any reader; insert it and try again"
    assert to_hwi_error(for_page(gone)).code == to_hwi_error(gone).code
    for error in (cards.not_listed(), RefusedCardError("this card is not genuine")):
        assert for_page(error) is error


def test_a_removed_card(monkeypatch: pytest.MonkeyPatch) -> None:
    with EmulatorProcess("--mnemonic", MNEMONIC) as card:
        monkeypatch.setenv("CRYPTNOX_EMULATOR", card.path.removeprefix("tcp:"))
        (entry,) = listed()
        client = Client(card.path, PIN)
    with pytest.raises(Exception, match=r"^The card does not answer: insert it and try again$"):
        unlocked(entry, PIN)
    with pytest.raises(Exception, match=r"^The card does not answer: insert it and try again$"):
        client.sign_message("hello", "m/84h/0h/0h/0/0")
    assert listed() == []
    assert str(cards.not_listed()) == "The card does not answer: insert it and try again"


def test_other_errors_keep_their_words() -> None:
    error = RefusedPinError("Wrong PIN, 4 tries left at most", 4, spent=True)
    assert for_page(error) is error
