"""Electrum, its screen and the plugin, made once a run; a person's home for each test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.electrum.people import Person, card
from tests.electrum.rig import Rig
from tests.electrum.window import Screen
from tests.support.emulator import EmulatorProcess
from tests.system.interop.programs import ROOT, TIME_LIMIT


@pytest.fixture(scope="session")
def rig() -> Rig:
    return Rig.made()


@pytest.fixture(scope="session")
def screen(rig: Rig) -> Iterator[Screen]:
    screen = Screen(rig)
    yield screen
    screen.stop()


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin's zip, built as its users build it."""
    folder = tmp_path_factory.mktemp("plugin")
    command = [sys.executable, str(ROOT / "scripts/build-electrum-plugin"), str(folder)]
    subprocess.run(command, check=True, timeout=TIME_LIMIT)
    (made,) = folder.glob("*.zip")
    return made


@pytest.fixture
def person(rig: Rig, screen: Screen, plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Person:
    # A short path, whatever the test is called: Electrum's socket is in it, and Linux allows it 107 bytes.
    return Person(rig, screen, plugin, tmp_path_factory.mktemp("person"))


@pytest.fixture(scope="session")
def made(
    rig: Rig, screen: Screen, plugin: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Person, EmulatorProcess]]:
    """A person who has made a wallet (native segwit) in the wizard, and their card."""
    person = Person(rig, screen, plugin, tmp_path_factory.mktemp("made"))
    with card() as cards:
        with person.electrum(cards) as window:
            person.make_wallet(window)
            window.quit()
        yield person, cards


@pytest.fixture
def own(person: Person, made: tuple[Person, EmulatorProcess]) -> Iterator[EmulatorProcess]:
    """The person's card, whose wallet is there already."""
    with card() as cards:
        person.take_wallet(*made, cards)
        yield cards
