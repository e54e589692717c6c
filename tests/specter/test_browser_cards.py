"""Specter Desktop in Chromium with two cards in two readers: which card a PIN goes to, and cards that come and go."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from embit.transaction import Transaction

from tests.specter.chromium import Browser
from tests.specter.office import RECIPIENT, THIRD_MNEMONIC, paid, serving
from tests.specter.person import PIN_HEADING, Person, key_line, root_of
from tests.specter.server import Specter
from tests.specter.stand_in import StandIn
from tests.support import pcsc
from tests.support.emulator import EmulatorProcess
from tests.system.interop.programs import FINGERPRINT, MNEMONIC, OTHER_MNEMONIC

pytestmark = [pytest.mark.heavy, pytest.mark.pcsc, pytest.mark.timeout(pcsc.LOCK_WAIT + 600)]

PIN, OTHER_PIN = "314159", "271828"
OTHER_FINGERPRINT = root_of(OTHER_MNEMONIC).my_fingerprint.hex()
SECOND_SLOT = 1


@pytest.fixture(scope="module")
def card(virtual_readers: pcsc.VirtualReaders) -> Iterator[EmulatorProcess]:
    """The card that stays."""
    with virtual_readers.card("--mnemonic", MNEMONIC, "--xpub-export", "--pin", PIN) as card:
        yield card


@pytest.fixture
def other(virtual_readers: pcsc.VirtualReaders) -> Iterator[EmulatorProcess]:
    """A card with another seed and PIN in the other reader, new each time: this computer does not know it."""
    with second(virtual_readers) as card:
        yield card


def second(readers: pcsc.VirtualReaders) -> contextlib.AbstractContextManager[EmulatorProcess]:
    return readers.card("--mnemonic", OTHER_MNEMONIC, "--xpub-export", "--pin", OTHER_PIN, slot=SECOND_SLOT)


@pytest.fixture(scope="module")
def node() -> Iterator[StandIn]:
    with StandIn(psbt_version=2) as node:
        yield node


@pytest.fixture(scope="module")
def specter(
    specter_python: Path, node: StandIn, card: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Specter]:
    with serving(specter_python, tmp_path_factory.mktemp("cards"), node, card) as server:
        yield server


@pytest.fixture(scope="module")
def person(browser: Browser, specter: Specter, node: StandIn) -> Person:
    return Person(browser.open(specter.base), node)


@pytest.fixture(scope="module")
def wallet(person: Person) -> str:
    """A wallet of the card that stays, made while it was alone; this computer knows the card afterwards."""
    person.add_card("First card", PIN)
    person.create_wallet("Savings", "First card", funds=(100_000,) * 8)
    return "Savings"


_numbers = itertools.count(1)


@pytest.fixture
def number() -> int:
    """Of this test: with every PC/SC library each is run again, and names are taken then."""
    return next(_numbers)


def tries(*cards: EmulatorProcess) -> list[int]:
    """Refused PINs so far, card by card."""
    return [card.stats()["pin_tries"] for card in cards]


def asked(card: EmulatorProcess) -> int:
    """VERIFY PIN commands so far, questions for the counter included."""
    return card.stats()["by_ins"].get("20", 0)


def line(card: EmulatorProcess, rest: str) -> str:
    return f"{card.serial} - {rest}"


def test_the_pin_goes_to_the_chosen_card(
    person: Person, wallet: str, card: EmulatorProcess, other: EmulatorProcess
) -> None:
    """The list tells the cards apart; the PIN typed for the first costs the unknown second one nothing."""
    before, others = tries(card, other), asked(other)
    person.draft(wallet, RECIPIENT, 50_000)
    person.sign_with("First card")
    shown = person.listed()
    assert len(shown) == 2
    assert sorted(text for text in shown if line(card, FINGERPRINT) in text or f"{other.serial} - " in text) == sorted(
        shown
    )
    person.choose(str(card.serial))
    person.enter(PIN)
    assert paid(person.send(), RECIPIENT) == [50_000]
    assert tries(card, other) == before
    assert asked(other) == others


def test_the_other_cards_pin(person: Person, wallet: str, card: EmulatorProcess, other: EmulatorProcess) -> None:
    """Typed for the wrong card it costs that card one try, the other none, and the message says so."""
    before = tries(card, other)
    person.draft(wallet, RECIPIENT, 50_000)
    person.sign_with("First card")
    person.choose(str(card.serial))
    person.enter(OTHER_PIN)
    person.told("Wrong PIN")
    assert tries(card, other) == [before[0] + 1, before[1]]
    person.dismiss()
    person.sign_with("First card")
    person.choose(str(card.serial))
    person.enter(PIN)
    assert paid(person.send(), RECIPIENT) == [50_000]


def test_a_card_that_has_no_key_of_the_wallet(person: Person, wallet: str, other: EmulatorProcess) -> None:
    before = other.stats()
    person.draft(wallet, RECIPIENT, 50_000)
    person.sign_with("First card")
    person.choose(str(other.serial))
    person.enter(OTHER_PIN)
    person.told("does not have matching signing key")
    assert other.stats()["signatures"] == before["signatures"] == 0
    assert tries(other) == [0]


def test_both_cards_sign(
    person: Person, wallet: str, card: EmulatorProcess, other: EmulatorProcess, number: int
) -> None:
    """A 2-of-3 of both cards and a key on paper, its keys read while both cards are there."""
    person.begin_device(f"Second card {number}")
    person.get_keys()
    person.choose(str(other.serial))
    person.enter(OTHER_PIN)
    assert [key[:9] for key in person.finish_device()] == [f"[{OTHER_FINGERPRINT}"] * 4
    person.add_cosigner(f"Paper {number}", key_line(THIRD_MNEMONIC, "m/48h/1h/0h/2h"))
    person.create_wallet(
        f"Vault {number}", "First card", f"Second card {number}", f"Paper {number}", funds=(60_000, 70_000)
    )
    person.draft(f"Vault {number}", RECIPIENT, 110_000)
    for name, signer, pin, count in (("First card", card, PIN, 1), (f"Second card {number}", other, OTHER_PIN, 2)):
        person.sign_with(name)
        person.choose(str(signer.serial))
        person.enter(pin)
        person.tab.call("until", "count => document.querySelector('#sigscount').innerText === count", str(count))
    raw = person.send()
    assert paid(raw, RECIPIENT) == [110_000]
    assert tries(other) == [0]
    assert other.stats()["signatures"] == len(Transaction.parse(raw).vin)


def test_a_removed_card(person: Person, wallet: str, virtual_readers: pcsc.VirtualReaders, number: int) -> None:
    """Taken out while its PIN is asked for: the page says that the card is gone. Put in again, it is read."""
    person.begin_device(f"Comes and goes {number}")
    with second(virtual_readers) as card:
        person.get_keys()
        person.choose(str(card.serial))
        person.tab.see(PIN_HEADING)
    person.enter(OTHER_PIN)
    message = person.told("card")
    assert "insert" in message.lower() and "emulat" not in message.lower()
    person.dismiss()
    with second(virtual_readers) as card:
        person.get_keys()
        person.choose(str(card.serial))
        person.enter(OTHER_PIN)
        assert [key[:9] for key in person.finish_device()] == [f"[{OTHER_FINGERPRINT}"] * 4
        assert tries(card) == [0]


def test_a_swapped_card(person: Person, wallet: str, virtual_readers: pcsc.VirtualReaders) -> None:
    """Another card in the chosen one's place gets no PIN and signs nothing."""
    person.begin_device("Swapped")
    with second(virtual_readers) as chosen:
        person.get_keys()
        person.choose(str(chosen.serial))
        person.tab.see(PIN_HEADING)
    options = ("--mnemonic", OTHER_MNEMONIC, "--xpub-export", "--pin", OTHER_PIN)
    with virtual_readers.card(*options, slot=SECOND_SLOT) as swapped:
        person.enter(OTHER_PIN)
        assert "insert" in person.told("card").lower()
        assert asked(swapped) == 0
