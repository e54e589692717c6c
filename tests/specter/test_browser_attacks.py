"""What people and programs do to Specter's pages while a card is asked: two tabs, a reload, a double click, a card that
goes between the question and the answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.specter.chromium import Browser
from tests.specter.office import PIN, RECIPIENT, WRONG_PIN, paid, serving
from tests.specter.person import PIN_HEADING, Person
from tests.specter.server import Specter
from tests.specter.stand_in import StandIn
from tests.support.emulator import EmulatorProcess
from tests.system.interop.programs import MNEMONIC

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("specter"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def node() -> Iterator[StandIn]:
    with StandIn() as node:
        yield node


@pytest.fixture(scope="module")
def card() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export", "--pin", PIN) as card:
        yield card


@pytest.fixture(scope="module")
def specter(
    specter_python: Path, node: StandIn, card: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Specter]:
    folder = tmp_path_factory.mktemp("attacks")
    no_readers = {"CRYPTNOX_EMULATOR": card.path.removeprefix("tcp:"), "PCSCLITE_CSOCK_NAME": str(folder / "no-pcscd")}
    with serving(specter_python, folder, node, card, **no_readers) as server:
        yield server


@pytest.fixture(scope="module")
def person(browser: Browser, specter: Specter, node: StandIn) -> Person:
    person = Person(browser.open(specter.base), node)
    person.add_card("My card", PIN)
    person.create_wallet("Savings", "My card", funds=(100_000,) * 4)
    return person


def test_two_tabs(browser: Browser, specter: Specter, person: Person, node: StandIn, card: EmulatorProcess) -> None:
    """The same wrong PIN typed in both costs one try; each then signs its own transaction with the right one."""
    second = Person(browser.open(specter.base), node)
    tries = card.stats()["pin_tries"]
    both = (person, second)
    for somebody in both:
        somebody.draft("Savings", RECIPIENT, 50_000)
        somebody.sign_with("My card")
        somebody.choose()
        somebody.tab.see(PIN_HEADING)
    for somebody in both:
        somebody.enter(WRONG_PIN)
        somebody.told("PIN")
        somebody.dismiss()
    assert card.stats()["pin_tries"] == tries + 1
    for somebody in both:
        somebody.sign_with("My card")
        somebody.choose()
        somebody.tab.see(PIN_HEADING)
    for somebody in both:
        somebody.enter(PIN)
        assert paid(somebody.send(), RECIPIENT) == [50_000]
    assert card.stats()["pin_tries"] == tries + 1
    second.tab.call("close")


def test_double_click_and_reload(person: Person, card: EmulatorProcess) -> None:
    """A double click is one submission. A page that is loaded again while the card works leaves the card free, the
    transaction unsigned, and nothing of the PIN."""
    tries = card.stats()["pin_tries"]
    person.draft("Savings", RECIPIENT, 50_000)
    person.sign_with("My card")
    person.choose()
    person.tab.see(PIN_HEADING)
    person.tab.fill("#passphrase-input", PIN)
    person.tab.call("dblclick", "#passphrase-submit-btn")
    person.tab.see("Signing transaction")
    person.tab.go("wallets/wallet/savings/send/pending/")
    person.tab.click("button[value=openpsbt]")
    person.tab.see("Sign Transaction")
    person.tab.ready()
    person.sign_with("My card")
    person.choose()
    person.tab.see(PIN_HEADING)
    assert person.tab.call("input_value", "#passphrase-input") == ""
    person.tab.fill("#passphrase-input", PIN)
    person.tab.call("dblclick", "#passphrase-submit-btn")
    assert paid(person.send(), RECIPIENT) == [50_000]
    assert card.stats()["pin_tries"] == tries


def test_the_card_ends(person: Person, card: EmulatorProcess) -> None:
    """Gone between its PIN and its answer: the page says so in words for people, and stays usable. Last of this file:
    the card does not come back."""
    person.draft("Savings", RECIPIENT, 50_000)
    person.sign_with("My card")
    person.choose()
    person.tab.see(PIN_HEADING)
    card.stop()
    person.enter(PIN)
    message = person.told("card")
    assert "Errno" not in message and "refused" not in message and "emulat" not in message.lower()
    person.tab.see("Sign Transaction")
    assert not person.tab.shows("#hwi_progress")
