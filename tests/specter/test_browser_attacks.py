"""What people and programs do to Specter's pages while a card is asked: two tabs, a reload, a double click, a card that
goes between the question and the answer."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.specter.chromium import Browser
from tests.specter.office import PIN, RECIPIENT, WRONG_PIN, paid
from tests.specter.person import PIN_HEADING, Person
from tests.specter.server import Specter
from tests.specter.stand_in import StandIn
from tests.support.emulator import EmulatorProcess
from tests.system.interop.programs import TIME_LIMIT

INPUTS = "[...document.querySelectorAll('input, textarea')].map(one => one.value).join()"
pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("specter"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def person(browser: Browser, specter: Specter, node: StandIn) -> Person:
    person = Person(browser.open(specter.base), node)
    person.add_card("My card", PIN)
    person.create_wallet("Savings", "My card", funds=(100_000,) * 8)
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


def test_two_clicks_on_sign(person: Person, card: EmulatorProcess) -> None:
    """The second is told that the first is at work, or does nothing; afterwards the page signs as ever."""
    tries = card.stats()["pin_tries"]
    person.draft("Savings", RECIPIENT, 50_000)
    person.tab.click("#my_card_tx_sign_btn")
    person.tab.call("dblclick", "#my_card_hwi_sign_btn")
    person.tab.call("wait_for_timeout", 3000)
    if person.tab.shows("#hwi_selector"):
        person.tab.click("#hwi_selector >> text=Close")
    person.dismiss()
    person.sign_with("My card")
    person.choose()
    person.enter(PIN)
    assert paid(person.send(), RECIPIENT) == [50_000]
    assert card.stats()["pin_tries"] == tries


def test_back_and_forward(person: Person, card: EmulatorProcess) -> None:
    """Who leaves the page with a PIN in the dialog, and comes back, finds no PIN there, and none was sent."""
    sent = card.stats()["by_ins"].get("20", 0)
    person.begin_device("Left alone")
    person.get_keys()
    person.tab.see(PIN_HEADING)
    person.tab.fill("#passphrase-input", PIN)
    person.tab.go("wallets/wallet/savings/receive/")
    person.tab.call("go_back", {"wait_until": "domcontentloaded"})
    person.tab.call("wait_for_timeout", 2000)
    assert PIN not in person.tab.call(
        "evaluate", "[...document.querySelectorAll('input')].map(one => one.value).join()"
    )
    assert card.stats()["by_ins"].get("20", 0) == sent


def test_the_last_try(person: Person, card: EmulatorProcess) -> None:
    """No page spends it, with any PIN; a terminal does, and then the page signs again."""
    card_is_fine(card)
    spent = card.stats()["pin_tries"]
    person.draft("Savings", RECIPIENT, 50_000)
    for number in range(9):
        person.sign_with("My card")
        person.choose()
        person.enter(f"{135791136 + number}")
        message = person.told("PIN")
        person.dismiss()
        if message.startswith("One PIN try is left; nothing was sent"):
            break
        spent += 1
        assert card.stats()["pin_tries"] == spent, message
    else:
        raise AssertionError(message)
    assert card.stats()["pin_tries"] == spent
    person.sign_with("My card")
    person.choose()
    person.enter(PIN)
    assert "cryptnoxctl pin verify" in person.told("One PIN try is left; nothing was sent")
    assert card.stats()["pin_tries"] == spent
    person.dismiss()
    card_is_fine(card)
    person.sign_with("My card")
    person.choose()
    person.enter(PIN)
    assert paid(person.send(), RECIPIENT) == [50_000]


def card_is_fine(card: EmulatorProcess) -> None:
    """Have the counter of tries full, by the right PIN in a terminal."""
    names = {"CRYPTNOX_EMULATOR": f"{card.host}:{card.port}", "CRYPTNOX_LAST_TRY": "1"}
    subprocess.run(
        [sys.executable, "-m", "hwilib_cryptnox.ctl.main", "pin", "verify", "--stdinpass"],
        input=f"{PIN}\n",
        text=True,
        env={**os.environ, **names},
        check=True,
        timeout=TIME_LIMIT,
    )


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
