"""The way of somebody who has a card and Electrum, and nothing else: docs/electrum.md, step by step, with pictures."""

from __future__ import annotations

from pathlib import Path

from tests.electrum.people import SCRIPTS, Person, card
from tests.electrum.rig import PLUGIN_PASSWORD
from tests.electrum.window import ElectrumWindow, prepare
from tests.support.emulator import MNEMONIC, EmulatorProcess

RECIPIENT = "bcrt1q29g4z52329g4z52329g4z52329g4z5237w8wct"
WIDTH = 640
PICTURES = {
    "electrum-plugin.png": "Electrum's question before it installs the plugin",
    "electrum-card.png": "The wizard's list of cards",
    "electrum-receive.png": "An address of the wallet, confirmed by the card",
    "electrum-send.png": "The review of a payment, before the card signs it",
}
"""What the page shows."""
_ROOT = """#!/bin/sh
# Where there is a desktop, a window asks for the administrator's password here. Afterwards nobody else can write there.
"$@" && mount -o remount,ro /etc
"""


def first_start(person: Person, *cards: EmulatorProcess) -> ElectrumWindow:
    """Electrum without a plugin, on a computer where none was ever installed."""
    person.program.insert(*(one.path for one in cards))
    root = person.program.path.parent / "pkexec"
    root.write_text(_ROOT)
    root.chmod(0o755)
    prepare(person.home / "electrum", "regtest")
    return ElectrumWindow(
        person.rig,
        person.screen,
        person.home,
        person.program.path.parent,
        environ={"CRYPTNOX_EMULATOR": "127.0.0.1:9"},
        keys="new",
    )


def install(person: Person, window: ElectrumWindow, pictures: Path) -> None:
    """From the wizard's first page to the list of cards, which knows the plugin now."""
    window.wait("Electrum wallet")
    window.click("Next")
    window.wait("What kind of wallet")
    window.click("Next")
    window.wait("Use a hardware device")
    window.click("Use a hardware device")
    window.click("Next")
    window.wait("No hardware device detected")
    window.click("Add plugin")
    window.click("Add", window="Electrum Plugins")
    window.wait("choose a plugin authorization password")
    window.write(PLUGIN_PASSWORD, 0, window="Password")
    window.write(PLUGIN_PASSWORD, 1, window="Password")
    window.click("OK", window="Password")
    window.click("Try Auto-Setup")
    window.wait("Auto-Setup successful")
    window.click("OK")
    window.wait_gone("Your plugins key")
    window.click("Add", window="Electrum Plugins")
    window.choose_file(str(person.plugin), window="zipfile")
    window.wait("Signs with a Cryptnox smart card")
    window.shoot(pictures / "electrum-plugin.png", window="Plugin", width=WIDTH)
    window.click("Install")
    window.wait("please enter your plugin authorization password")
    window.write(PLUGIN_PASSWORD, window="Password")
    window.click("OK", window="Password")
    window.wait("Enabled")
    window.click("Close", window="Electrum Plugins")
    window.wait("Select a device")


def walk(person: Person, pictures: Path) -> bytes:
    """All of it; the signed transaction."""
    with card(MNEMONIC) as mine, first_start(person, mine) as window:
        install(person, window, pictures)
        window.shoot(pictures / "electrum-card.png", width=WIDTH)
        window.click("Next")
        window.wait("Choose the type of addresses")
        window.click(SCRIPTS[84])
        window.click("Next")
        person.type_pin(window)
        window.wait("password")
        window.click("Finish")
        window.wait("History")
        person.fund(window, 150_000)
        person.request(window)
        person.check_address(window)
        person.type_pin(window)
        window.wait("This address belongs to the card")
        window.shoot(pictures / "electrum-receive.png", width=WIDTH)
        window.click("OK", window="Cryptnox card")
        person.prepare_payment(window, RECIPIENT, "0.0005")
        window.click("Sign", window="Transaction")
        window.wait("about to sign")
        window.shoot(pictures / "electrum-send.png", window="review", width=WIDTH)
        window.click("Sign", window="review")
        window.wait("Status: Signed")
        return person.signed(window)
