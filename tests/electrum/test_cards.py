"""What the wizard says about each card in the readers, and what a wallet does about PINs, refusals and other cards."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from embit.networks import NETWORKS
from embit.script import p2wpkh

from tests.electrum.people import PIN, Person, card
from tests.electrum.test_in_electrum import RECIPIENT, ROOT
from tests.electrum.window import ElectrumWindow
from tests.support.emulator import EmulatorProcess
from tests.system.interop.programs import OTHER_MNEMONIC

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("electrum-window"), pytest.mark.timeout(1200)]

WRONG = "864209"


@pytest.fixture
def other() -> Iterator[EmulatorProcess]:
    with card(OTHER_MNEMONIC) as process:
        yield process


def pay(person: Person, window: ElectrumWindow) -> None:
    """A payment, up to the window that shows it unsigned."""
    person.fund(window, 100_000)
    person.prepare_payment(window, RECIPIENT, "0.0005")


def unsigned(window: ElectrumWindow) -> None:
    """Nothing came of it."""
    window.wait_gone("Please wait")
    window.wait("Status: Unsigned")


def test_cards_that_cannot_be_used(person: Person) -> None:
    """Each says why, and what to do; the person goes back, and takes the one that works."""
    with (
        EmulatorProcess() as new,
        EmulatorProcess("--pin", PIN) as empty,
        card() as busy,
        card(export=False) as closed,
        socket.create_connection((busy.host, busy.port)),
        person.electrum(new) as window,
    ):
        person.choose_card(window)
        window.wait("This card cannot be used now")
        assert "cryptnoxctl setup" in window.text()

        person.program.insert(empty.path)
        window.click("Back")
        window.click("Rescan devices")
        window.wait("Select a device")
        window.click("Next")
        window.wait("no seed")
        assert "cryptnoxctl setup" in window.text()

        person.program.insert(busy.path)
        window.click("Back")
        window.click("Rescan devices")
        window.wait("in use")
        window.click("Next")
        window.wait("This card cannot be used now")
        assert "Close the other program that uses the card" in window.text()

        person.program.insert(closed.path)
        window.click("Back")
        window.click("Rescan devices")
        window.wait("Select a device")
        window.click("Next")
        window.wait("Choose the type of addresses")
        window.click("Next")
        person.type_pin(window)
        window.wait("cryptnoxctl xpub on")
        assert "PUK" in window.text()
        assert closed.stats()["pin_tries"] == 0


def test_a_card_among_several(person: Person, other: EmulatorProcess) -> None:
    """The wallet is of the card that was chosen, and each card is told from the other."""
    with card() as mine, person.electrum(other, mine) as window:
        window.wait("Electrum wallet")
        window.click("Next")
        window.wait("What kind of wallet")
        window.click("Next")
        window.click("Use a hardware device")
        window.click("Next")
        window.wait("Select a device")
        assert str(mine.port) in window.text()
        assert str(other.port) in window.text()
        window.click(f"Cryptnox {mine.path.removeprefix('tcp:')}*")
        window.click("Next")
        window.wait("Choose the type of addresses")
        window.click("Next")
        person.type_pin(window)
        window.wait("password")
        window.click("Finish")
        window.wait("History")
        window.quit()
        assert person.wallet()["keystore"]["root_fingerprint"] == "73c5da0a"
        assert other.stats()["by_ins"].get("20", 0) == 0  # no PIN was sent to it


def test_a_wrong_pin_costs_one_try(person: Person, own: EmulatorProcess) -> None:
    with person.electrum(own) as window:
        window.wait("History")
        person.type_pin(window, WRONG)
        window.wait("Wrong PIN")
        assert "tries are left" in window.text()
        assert own.stats()["pin_tries"] == 1
        # The same again is not sent.
        person.type_pin(window, WRONG)
        window.wait("It was not sent again")
        assert own.stats()["pin_tries"] == 1
        person.type_pin(window)
        window.wait_gone("Type the PIN")
        pay(person, window)
        person.sign(window)
        assert own.stats()["pin_tries"] == 1


def test_cancel_at_every_step(person: Person, own: EmulatorProcess) -> None:
    with person.electrum(own) as window:
        window.wait("Type the PIN of")
        window.click("Cancel", window="PIN")
        window.wait_gone("Type the PIN")
        pay(person, window)
        window.click("Sign", window="Transaction")
        window.wait("Type the PIN of")
        window.click("Cancel", window="PIN")
        unsigned(window)
        window.click("Sign", window="Transaction")
        person.type_pin(window)
        window.wait("about to sign")
        window.click("Cancel", window="review")
        unsigned(window)
        # The window's own cross is a no, too.
        window.click("Sign", window="Transaction")
        window.wait("about to sign")
        window.do("close", window="review")
        unsigned(window)
        assert own.stats()["signatures"] == 0
        person.sign(window)
        assert own.stats()["pin_tries"] == 0


def test_another_card_between_two_dialogues(person: Person, own: EmulatorProcess, other: EmulatorProcess) -> None:
    """Nothing is signed, no try is spent, and with the right one it goes on."""
    with person.electrum(own) as window:
        window.wait("Type the PIN of")
        person.program.insert(other.path)
        person.type_pin(window)
        window.wait("Put the card into the reader")
        window.click("OK")
        person.program.insert(own.path)
        pay(person, window)
        window.click("Sign", window="Transaction")
        person.type_pin(window)
        window.wait("about to sign")
        window.click("Cancel", window="review")
        unsigned(window)
        person.program.insert(other.path)
        window.click("Sign", window="Transaction")
        window.wait("Put the card into the reader", "is not connected", "Please insert")
        window.click("OK") if "OK" in window.text() else window.click("No")
        unsigned(window)
        assert other.stats()["signatures"] == 0
        assert other.stats()["pin_tries"] == 0
        person.program.insert(own.path)
        person.sign(window)


def test_pair_again(person: Person, own: EmulatorProcess, other: EmulatorProcess) -> None:
    """Another card when the wallet is opened: the window says so, and pairs again with the right one."""
    with person.electrum(other) as window:
        window.wait("Please select which Cryptnox card")
        window.click("OK")
        person.type_pin(window)
        window.wait("This card does not hold the keys of this wallet")
        assert "73c5da0a" in window.text()
        window.click("OK")
        person.program.insert(own.path)
        window.click("Cryptnox card*")
        window.wait("Master fingerprint")
        window.click("Pair again")
        person.type_pin(window)
        window.wait("The card is paired with this wallet")
        window.click("OK")
        pay(person, window)
        person.sign(window)
        assert other.stats()["signatures"] == 0
        assert own.stats()["pin_tries"] + other.stats()["pin_tries"] == 0


def test_two_windows_have_a_pin_each(person: Person, own: EmulatorProcess) -> None:
    """What one window was told, the other asks for."""
    second = person.wallet_file(name="second")
    second.write_text(person.wallet_file().read_text())
    with person.electrum(own) as window:
        person.pair(window)
        open_wallet(window, str(second))
        sign_message(window, "second")
        person.type_pin(window)
        signature(window)
        window.click("Close", window="Message")
        window.wait_gone("Signature")
        sign_message(window, "default_wallet")
        signature(window)  # without a question
        assert own.stats()["pin_tries"] == 0


def open_wallet(window: ElectrumWindow, file: str) -> None:
    """In a second window."""
    window.menu("File", "Open")
    window.choose_file(file, window="Select")
    window.until(lambda: len([title for title in window.titles() if title.startswith("Electrum Regtest")]) == 2)


def sign_message(window: ElectrumWindow, wallet: str, address: str = "") -> None:
    """In the window of a wallet, for its first address; up to the PIN, where it is asked for."""
    mine = p2wpkh(ROOT.derive("m/84h/1h/0h/0/0").get_public_key()).address(NETWORKS["regtest"])
    window.menu("Tools", "Sign/verify message", window=wallet)
    window.write("Paid in full.", 0, window="Message")
    window.write(address or str(mine), 1, window="Message")
    window.click("Sign", window="Message")


def signature(window: ElectrumWindow) -> str:
    """What is made of it."""
    return str(window.until(lambda: window.do("read", number=2, window="Message"), what="a signature"))
