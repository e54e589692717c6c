"""The pictures of docs/specter.md: a payment signed in Specter's pages. Made by scripts/specter_pictures.py."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.specter.chromium import Browser
from tests.specter.office import RECIPIENT, serving
from tests.specter.person import PIN_HEADING, Person
from tests.specter.server import SPECTER
from tests.specter.stand_in import StandIn
from tests.support import pcsc
from tests.system.interop.programs import MNEMONIC, OTHER_MNEMONIC, PIN, environment

PICTURES = {
    "specter-card.png": "Specter's list of cards, each by its serial number",
    "specter-pin.png": "Specter asks for the PIN of the card that you chose",
    "specter-send.png": "The payment is signed and can be sent",
}
"""What the page shows."""
WINDOW = {"width": 560, "height": 420}
CLIP = {"x": 80, "y": 32, "width": 400, "height": 356}
"""What of the window a picture has: the dialog, so that it can be read on a phone."""
MOST_BYTES = 40_000


def walk(person: Person, wallet: str, device: str, card: str, pin: str, folder: Path) -> bytes:
    """Sign and send a payment; the transaction. `card`: a text of its line in the list."""
    person.draft(wallet, RECIPIENT, 50_000)
    size = person.tab.call("evaluate", "({ width: innerWidth, height: innerHeight })")
    person.tab.call("set_viewport_size", {"viewport_size": WINDOW})
    person.sign_with(device)
    person.listed()
    _take(person, folder / "specter-card.png")
    person.choose(card)
    person.tab.see(PIN_HEADING)
    _take(person, folder / "specter-pin.png")
    person.enter(pin)
    person.tab.call("wait_for_selector", "#broadcast_local_btn >> visible=true")
    _take(person, folder / "specter-send.png")
    person.tab.call("set_viewport_size", {"viewport_size": size})
    return person.send()


def _take(person: Person, path: Path) -> None:
    """One picture, once what moves has come to rest."""
    person.dismiss()
    person.tab.call("wait_for_timeout", 800)
    person.tab.picture(path, CLIP)


def main(folder: Path) -> None:
    """Write the pictures. Two cards are in the virtual readers: one that this computer knows, and another."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        pcsc.VirtualReaders.acquire(Path(scratch)) as readers,
        readers.card("--mnemonic", MNEMONIC, "--xpub-export") as card,
        StandIn() as node,
        serving(environment("specter", SPECTER), Path(scratch), node, card) as server,
        Browser() as browser,
    ):
        person = Person(browser.open(server.base), node)
        person.add_card("My card", PIN)
        person.create_wallet("Savings", "My card", funds=(100_000,))
        with readers.card("--mnemonic", OTHER_MNEMONIC, "--xpub-export", slot=1):
            walk(person, "Savings", "My card", str(card.serial), PIN, folder)
