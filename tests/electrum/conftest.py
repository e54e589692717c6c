"""Electrum, its screen and the plugin, made once a run; a person's home for each test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.electrum.people import Person
from tests.electrum.rig import Rig
from tests.electrum.window import Screen
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
def person(rig: Rig, screen: Screen, plugin: Path, tmp_path: Path) -> Person:
    return Person(rig, screen, plugin, tmp_path)
