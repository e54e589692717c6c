"""Specter Desktop in Chromium with a real node behind it: what the tests with the stand-in show is not its work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.specter.chromium import Browser
from tests.specter.office import PIN, RECIPIENT, THIRD_MNEMONIC, paid, serving
from tests.specter.person import Person, cosign, key_line
from tests.specter.real_node import RealNode
from tests.support.emulator import EmulatorProcess
from tests.system.interop.programs import MNEMONIC, OTHER_MNEMONIC

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("specter"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    node = RealNode(tmp_path_factory.mktemp("node"))
    try:
        yield node
    finally:
        node.stop()


def test_payments(browser: Browser, specter_python: Path, node: RealNode, tmp_path: Path) -> None:
    """Single-sig and 2-of-3; the node itself takes the transactions."""
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export", "--pin", PIN) as card:
        no_readers = {"CRYPTNOX_EMULATOR": card.path.removeprefix("tcp:"), "PCSCLITE_CSOCK_NAME": str(tmp_path / "no")}
        with serving(specter_python, tmp_path, node, card, **no_readers) as server:
            person = Person(browser.open(server.base), node)
            person.add_card("My card", PIN)
            person.create_wallet("Savings", "My card", funds=(100_000, 70_000))
            person.draft("Savings", RECIPIENT, 150_000)
            person.sign_with("My card")
            person.choose()
            person.enter(PIN)
            assert paid(person.send(), RECIPIENT) == [150_000]
            node.mine()

            person.add_cosigner("Second", key_line(OTHER_MNEMONIC, "m/48h/1h/0h/2h"))
            person.add_cosigner("Third", key_line(THIRD_MNEMONIC, "m/48h/1h/0h/2h"))
            person.create_wallet("Vault", "My card", "Second", "Third", funds=(60_000, 70_000))
            person.draft("Vault", RECIPIENT, 110_000)
            person.sign_with("My card")
            person.choose()
            person.enter(PIN)
            person.tab.see("Acquired 1 of 2 signatures")
            person.paste(cosign(OTHER_MNEMONIC, person.unsigned()))
            assert paid(person.send(), RECIPIENT) == [110_000]
            assert card.stats()["pin_tries"] == 0
