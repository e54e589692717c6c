"""Specter Desktop in Chromium over the bridge: Specter runs elsewhere, the card is at the computer of the browser.

And a bridge that lies: what it says of a card is shown as text, and no PIN goes to it but the one typed for its card.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.specter.chromium import Browser
from tests.specter.liar import Liar, Lies
from tests.specter.office import PIN, RECIPIENT, WRONG_PIN, paid, serving
from tests.specter.person import Person, key_line
from tests.specter.server import Specter
from tests.specter.stand_in import StandIn
from tests.support.emulator import EmulatorProcess
from tests.system.interop.programs import MNEMONIC

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("specter"), pytest.mark.timeout(600)]

PSBT_VERSION = 2
INJECTION = "<img src=x onerror='alert(document.title)'>"


@pytest.fixture(scope="module")
def bridge(specter_python: Path, card: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Specter]:
    """At the card's computer."""
    folder = tmp_path_factory.mktemp("bridge")
    with serving(specter_python, folder, None, card, "--hwibridge") as server:
        yield server


@pytest.fixture(scope="module")
def remote(
    specter_python: Path, node: StandIn, card: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Specter]:
    """Elsewhere, without a card."""
    folder = tmp_path_factory.mktemp("remote")
    with serving(specter_python, folder, node, card, CRYPTNOX_EMULATOR="") as server:
        yield server


@pytest.fixture(scope="module")
def person(browser: Browser, remote: Specter, node: StandIn) -> Person:
    return Person(browser.open(remote.base), node)


def use_bridge(person: Person, address: str) -> None:
    """Name the bridge on the page of settings."""
    person.tab.go("settings/hwi")
    person.tab.click("#custom_hwibridge")
    person.tab.fill("#custom_url", address)
    person.tab.click("button[value=update_hwi]")
    person.tab.see("HWIBridge URL is updated")


def test_bridge(browser: Browser, person: Person, bridge: Specter, remote: Specter, card: EmulatorProcess) -> None:
    """The bridge obeys no page that was not put on its list; then keys, a wrong PIN and a payment are as they are
    without it."""
    use_bridge(person, f"{bridge.base}/hwi/api/")
    apdus = card.stats()["apdus"]
    person.begin_device("Far card")
    person.get_keys()
    person.told("whitelist")
    assert card.stats()["apdus"] == apdus

    owner = browser.open(bridge.base)
    owner.go("hwi/settings/")
    owner.fill("textarea", f"{remote.base}/")
    owner.click("button:has-text('Update')")
    owner.see("Whitelist is updated")

    person.begin_device("Far card")
    person.get_keys()
    person.enter(WRONG_PIN)
    person.told("Wrong PIN")
    assert card.stats()["pin_tries"] == 1
    person.dismiss()
    person.get_keys()
    person.enter(PIN)
    assert len(person.finish_device()) == 4
    person.create_wallet("Far", "Far card", funds=(100_000,))
    person.draft("Far", RECIPIENT, 40_000)
    person.sign_with("Far card")
    person.choose()
    person.enter(PIN)
    assert paid(person.send(), RECIPIENT) == [40_000]
    assert card.stats()["pin_tries"] == 1
    for server in (bridge, remote):
        log = server.log.read_text()
        assert f'"{PIN}"' not in log and WRONG_PIN not in log


@pytest.fixture(scope="module")
def liar() -> Iterator[Liar]:
    with Liar() as liar:
        yield liar


CARD = {"type": "cryptnox", "path": "cryptnox:30000000001", "fingerprint": "73c5da0a", "needs_passphrase_sent": False}
READY = {"result": [CARD]}
LOCKED = {"result": [{**CARD, "needs_passphrase_sent": True}]}
TWO = {"result": [{**CARD, "needs_passphrase_sent": True, "path": f"cryptnox:{number}"} for number in (30000000001, 2)]}
EVIL_CARD = {**dict.fromkeys(("label", "path", "fingerprint", "model", "error"), INJECTION), "type": "cryptnox"}
LIES: Mapping[str, Lies] = {
    "a card": {
        "enumerate": {"result": [{**EVIL_CARD, "needs_pin_sent": False, "needs_passphrase_sent": False}]},
        "extract_xpub": {"error": {"code": INJECTION, "message": INJECTION}},
    },
    "a part of the type": {
        "enumerate": {"result": [{**CARD, "type": "crypt", "fingerprint": INJECTION}, CARD]},
        "extract_xpub": {"error": INJECTION},
    },
    "no list": {"enumerate": {"result": INJECTION}},
    "an error": {"enumerate": {"error": {"code": -1, "message": f"Internal error: {INJECTION}"}}},
    "an error of another form": {"enumerate": {"error": INJECTION}},
    "no JSON": {"enumerate": INJECTION},
    "JSON, but nothing else": {"enumerate": json.dumps(INJECTION)},
    "what a PIN opened": {
        "enumerate": TWO,
        "cryptnox_unlock": {"result": {**CARD, "type": f"cryptnox{INJECTION}"}},
    },
    "what a PIN's error is": {
        "enumerate": TWO,
        "cryptnox_unlock": {"error": {"message": [INJECTION]}},
    },
    "a key": {
        "enumerate": READY,
        "extract_xpub": {"result": f"{key_line(MNEMONIC, 'm/84h/1h/0h')}{INJECTION}"},
    },
    "where a key comes from": {
        "enumerate": LOCKED,
        "extract_xpub": {"result": f"[{INJECTION}]{key_line(MNEMONIC, 'm/84h/1h/0h').partition(']')[2]}"},
    },
}


@pytest.mark.parametrize("lies", LIES.values(), ids=LIES)
def test_what_a_lying_bridge_says_is_text(person: Person, liar: Liar, lies: Lies) -> None:
    """It is shown, or it is refused. None of it becomes a part of the page, and no PIN that was not typed is sent."""
    use_bridge(person, liar.address)
    liar.lies = lies
    liar.asked.clear()
    person.tab.call("said")
    person.begin_device("Odd card")
    for _ in range(2):  # one after the other on the same page
        person.get_keys()
        if lies["enumerate"] is TWO:
            person.choose("30000000001")
        if lies["enumerate"] in (LOCKED, TWO):
            person.enter(WRONG_PIN)
        person.told("")
        person.dismiss()
    assert person.tab.call("evaluate", "document.querySelectorAll('img[src=x]').length") == 0
    assert person.tab.call("said")["dialogs"] == []
    assert {method for method, _ in liar.asked} == lies.keys()
    pins = [parameters.get("passphrase") for method, parameters in liar.asked if method != "enumerate"]
    assert set(filter(None, pins)) <= ({WRONG_PIN} if lies["enumerate"] in (LOCKED, TWO) else set())
    assert not any(parameters.get("passphrase") for method, parameters in liar.asked if method == "enumerate")


def test_two_cards_of_a_lying_bridge(person: Person, liar: Liar) -> None:
    """In the list of cards, too; the PIN goes to none but the one that was chosen."""
    use_bridge(person, liar.address)
    cards = [{**EVIL_CARD, "needs_pin_sent": False, "needs_passphrase_sent": locked} for locked in (True, False)]
    error = {"error": {"code": -1, "message": f"Internal error: {INJECTION}"}}
    liar.lies = {"enumerate": {"result": cards}, "cryptnox_unlock": error, "extract_xpub": error}
    person.tab.call("said")
    person.begin_device("Odd cards")
    for number in (0, 1):
        person.get_keys()
        assert len(person.listed()) == 2
        person.tab.click(f"#hwi_selector_container button >> nth={number}")
        if number == 0:
            person.enter(WRONG_PIN)
        person.told("onerror")
        person.dismiss()
    assert person.tab.call("evaluate", "document.querySelectorAll('img[src=x]').length") == 0
    assert person.tab.call("said")["dialogs"] == []
