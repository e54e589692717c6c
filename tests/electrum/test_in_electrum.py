"""The plugin in Electrum 4.8.3's own window, with emulated cards; Bitcoin Core's verifier judges what was signed."""

from __future__ import annotations

import pytest

from tests.electrum.people import PIN, SCRIPTS, Person
from tests.support.emulator import MNEMONIC, EmulatorProcess

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("electrum-window"), pytest.mark.timeout(1200)]

RECIPIENT = "bcrt1q29g4z52329g4z52329g4z52329g4z5237w8wct"


@pytest.mark.parametrize("purpose", SCRIPTS)
def test_receive_and_send(person: Person, purpose: int) -> None:
    with (
        EmulatorProcess("--mnemonic", MNEMONIC, "--pin", PIN, "--xpub-export") as card,
        person.electrum(card.path) as window,
    ):
        person.make_wallet(window, purpose)
        print(window.text())
        person.fund(window, 100_000, 70_000)
        window.shoot(person.home / "a.png")
        person.prepare_payment(window, RECIPIENT, "0.0015")
        print(window.text())
        window.shoot(person.home / "b.png")
        window.click("Sign", window="Transaction")
        person.type_pin(window)
        window.wait("This is what it is about to sign")
        print(window.text())
        window.shoot(person.home / "c.png")
        window.click("Sign", window="review")
        window.wait_gone("review")
        window.wait("Signed")
        print(window.text())
        person.signed(window)
