"""Specter Desktop in Chromium, as a person uses it with one card: what the pages show, what the card counts, what
Bitcoin Core's verifier says of the transaction.

The node behind Specter is a stand-in (tests/specter/stand_in.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from embit.transaction import Transaction

from tests.specter.chromium import Browser
from tests.specter.office import PIN, RECIPIENT, THIRD_MNEMONIC, WRONG_PIN, paid, serving
from tests.specter.person import PIN_HEADING, Person, cosign, key_line, root_of
from tests.specter.server import Specter
from tests.specter.stand_in import StandIn
from tests.support.emulator import EmulatorProcess
from tests.system.interop.paper import message_key
from tests.system.interop.programs import FINGERPRINT, MNEMONIC, OTHER_MNEMONIC

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("specter"), pytest.mark.timeout(600)]

VERSIONS = (0, 2)
PATHS = ("m/49h/1h/0h", "m/84h/1h/0h", "m/48h/1h/0h/1h", "m/48h/1h/0h/2h")


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
    folder = tmp_path_factory.mktemp("browser")
    no_readers = {"CRYPTNOX_EMULATOR": card.path.removeprefix("tcp:"), "PCSCLITE_CSOCK_NAME": str(folder / "no-pcscd")}
    with serving(specter_python, folder, node, card, **no_readers) as server:
        yield server


@pytest.fixture(scope="module")
def person(browser: Browser, specter: Specter, node: StandIn) -> Person:
    return Person(browser.open(specter.base), node)


@pytest.fixture(scope="module")
def device(person: Person) -> str:
    """The card, added as a device."""
    person.add_card("My card", PIN)
    return "My card"


@pytest.fixture(scope="module")
def wallet(person: Person, device: str) -> str:
    """A wallet of the card alone, with a coin for each test that pays from it."""
    person.create_wallet("Savings", device, funds=(100_000,) * 6)
    return "Savings"


@pytest.fixture(autouse=True)
def nothing_leaks(person: Person, specter: Specter) -> Iterator[None]:
    """After each test: no PIN was written to the browser's console or Specter's log, and no script of a page failed."""
    person.tab.call("said")
    yield
    said = person.tab.call("said")
    assert [line for line in said["console"] if PIN in line or WRONG_PIN in line or line.startswith("uncaught")] == []
    assert said["dialogs"] == []
    log = specter.log.read_text()
    assert f'"{PIN}"' not in log and WRONG_PIN not in log


def test_add_device(person: Person, card: EmulatorProcess) -> None:
    """A wrong PIN costs one try and says so; a second try on the same page is taken as it is typed."""
    tries = card.stats()["pin_tries"]
    person.begin_device("First try")
    person.get_keys()
    person.enter(WRONG_PIN)
    assert "left" in person.told("Wrong PIN")
    assert card.stats()["pin_tries"] == tries + 1
    person.get_keys()
    person.enter(PIN)
    assert person.finish_device() == [slip132(path) for path in PATHS]
    assert card.stats()["pin_tries"] == tries + 1


def slip132(path: str) -> str:
    """The card's key as Specter shows it."""
    versions = {"m/49": "044a5262", "m/84": "045f1cf6", "m/48h/1h/0h/1": "024289ef", "m/48h/1h/0h/2": "02575483"}
    (version,) = (version for start, version in versions.items() if path.startswith(start))
    key = root_of(MNEMONIC).derive(path).to_public().to_base58(version=bytes.fromhex(version))
    return f"[{FINGERPRINT}{path[1:]}]{key}"


@pytest.mark.parametrize("version", VERSIONS)
def test_single_sig(person: Person, node: StandIn, card: EmulatorProcess, wallet: str, version: int) -> None:
    node.psbt_version = version
    tries, before = card.stats()["pin_tries"], card.stats()["signatures"]
    person.draft(wallet, RECIPIENT, 150_000)
    person.sign_with("My card")
    person.choose()
    person.enter(PIN)
    raw = person.send()
    assert paid(raw, RECIPIENT) == [150_000]
    assert card.stats()["signatures"] == before + len(Transaction.parse(raw).vin)
    assert card.stats()["pin_tries"] == tries


@pytest.mark.parametrize("version", VERSIONS)
def test_nested(person: Person, node: StandIn, device: str, version: int) -> None:
    node.psbt_version = version
    person.create_wallet(f"Nested {version}", device, nested=True, funds=(80_000, 90_000))
    person.draft(f"Nested {version}", RECIPIENT, 120_000)
    person.sign_with(device)
    person.choose()
    person.enter(PIN)
    assert paid(person.send(), RECIPIENT) == [120_000]


@pytest.mark.parametrize("version", VERSIONS)
def test_two_of_three(person: Person, node: StandIn, card: EmulatorProcess, device: str, version: int) -> None:
    node.psbt_version = version
    cosigners = {f"Second {version}": OTHER_MNEMONIC, f"Third {version}": THIRD_MNEMONIC}
    for name, mnemonic in cosigners.items():
        person.add_cosigner(name, key_line(mnemonic, "m/48h/1h/0h/2h"))
    person.create_wallet(f"Vault {version}", device, *cosigners, funds=(60_000, 70_000))
    person.draft(f"Vault {version}", RECIPIENT, 110_000)
    tries = card.stats()["pin_tries"]
    person.sign_with(device)
    person.choose()
    person.enter(PIN)
    person.tab.see("Acquired 1 of 2 signatures")
    person.paste(cosign(OTHER_MNEMONIC, person.unsigned()))
    assert paid(person.send(), RECIPIENT) == [110_000]
    assert card.stats()["pin_tries"] == tries


def test_mistakes_while_signing(person: Person, card: EmulatorProcess, wallet: str) -> None:
    """One after the other on one page: what is no PIN reaches no card; who closes the dialogue has sent nothing; a
    wrong PIN costs one try and says how many are left. Then the right one signs."""
    tries, sent = card.stats()["pin_tries"], card.stats()["by_ins"].get("20", 0)
    person.draft(wallet, RECIPIENT, 50_000)
    for typed in ("", "correct horse", "123"):
        person.sign_with("My card")
        person.choose()
        person.enter(typed)
        message = person.told("4 to 9 digits")
        assert "--" not in message and "CRYPTNOX_" not in message
        person.dismiss()
    person.sign_with("My card")
    person.choose()
    person.tab.see(PIN_HEADING)
    person.tab.fill("#passphrase-input", WRONG_PIN)
    person.tab.call("keyboard.press", "Escape")
    person.told("terminated")
    person.dismiss()
    assert card.stats()["by_ins"].get("20", 0) == sent
    person.sign_with("My card")
    person.choose()
    person.tab.see(PIN_HEADING)
    assert person.tab.call("input_value", "#passphrase-input") == ""
    person.enter(WRONG_PIN)
    assert "left" in person.told("Wrong PIN")
    assert card.stats()["pin_tries"] == tries + 1
    person.sign_with("My card")
    person.choose()
    person.enter(PIN)
    assert paid(person.send(), RECIPIENT) == [50_000]
    assert card.stats()["pin_tries"] == tries + 1


def test_message(person: Person, device: str) -> None:
    person.tab.go("devices/device/my_card/")
    person.tab.click("text=Sign message")
    person.tab.fill("#messageDerivationPath", "m/84h/1h/0h/0/7")
    person.tab.fill("#message", "Signed in a browser")
    person.tab.click("text=Sign message via USB")
    person.choose()
    person.enter(PIN)
    person.tab.see("Message was signed successfully")
    key = root_of(MNEMONIC).derive("m/84h/1h/0h/0/7").to_public().key.sec()
    assert message_key(person.tab.text("#signature").strip(), "Signed in a browser") == key


@pytest.mark.parametrize("path", ["", "m", "m/"])
def test_message_without_a_path(person: Person, card: EmulatorProcess, device: str, path: str) -> None:
    """No message is signed with the master key because somebody left the path empty."""
    before = card.stats()
    person.tab.go("devices/device/my_card/")
    person.tab.click("text=Sign message")
    person.tab.fill("#messageDerivationPath", path)
    person.tab.fill("#message", "Signed by nobody")
    person.tab.click("text=Sign message via USB")
    assert "m/84h" in person.told("path")
    assert card.stats()["signatures"] == before["signatures"]


def test_no_screen(person: Person, card: EmulatorProcess, wallet: str) -> None:
    """It is said before anything is asked."""
    apdus = card.stats()["apdus"]
    person.address(wallet)
    person.tab.click("text=Display address on device")
    person.told("screen")
    assert not person.tab.shows("#hwi_passphrase")
    assert card.stats()["apdus"] == apdus
