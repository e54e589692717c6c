"""The pictures of docs/specter.md, made for scripts/specter_pictures.py: a card, Specter, a browser."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.specter.chromium import Browser, Tab
from tests.specter.office import RECIPIENT, serving
from tests.specter.person import PIN_HEADING, Person
from tests.specter.server import SPECTER
from tests.specter.stand_in import StandIn
from tests.support import pcsc
from tests.system.interop.programs import MNEMONIC, PIN, environment

SIZE = {"width": 900, "height": 560}
LIMIT = 100_000
"""Bytes of a picture."""


def main(folder: Path) -> None:
    """Write the pictures."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        pcsc.VirtualReaders.acquire(Path(scratch)) as readers,
        readers.card("--mnemonic", MNEMONIC, "--xpub-export") as card,
        StandIn() as node,
        serving(environment("specter", SPECTER), Path(scratch), node, card) as server,
        Browser() as browser,
    ):
        tab = browser.open(server.base)
        tab.call("set_viewport_size", SIZE)
        person = Person(tab, node)
        person.begin_device("My card")
        person.get_keys()
        tab.see(PIN_HEADING)
        take(tab, folder / "specter-pin.png")
        person.enter(PIN)
        tab.call("until", "() => !document.querySelector('#xpubs_table').innerText.includes('-\\n')")
        take(tab, folder / "specter-keys.png")
        person.finish_device()
        person.create_wallet("Savings", "My card", funds=(100_000, 70_000))
        person.draft("Savings", RECIPIENT, 150_000)
        person.sign_with("My card")
        person.listed()
        take(tab, folder / "specter-sign.png")


def take(tab: Tab, path: Path) -> None:
    """Write one picture, once what moves has come to rest."""
    tab.call("wait_for_timeout", 800)
    tab.picture(path)
    assert path.stat().st_size < LIMIT, f"{path} is {path.stat().st_size} bytes"
