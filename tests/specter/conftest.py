"""Specter in a browser: one browser for all test files; a node, a card and a Specter for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.specter.chromium import Browser
from tests.specter.office import PIN, serving
from tests.specter.person import Person
from tests.specter.server import SPECTER, Specter
from tests.specter.stand_in import StandIn
from tests.support.emulator import EmulatorProcess
from tests.system.interop.programs import MNEMONIC, environment


@pytest.fixture(scope="session")
def specter_python() -> Path:
    """The Python of the environment that has Specter."""
    return environment("specter", SPECTER)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest) -> Iterator[StandIn]:
    """The node behind Specter: a stand-in, which makes PSBTs of the version that a test file calls `PSBT_VERSION`."""
    with StandIn(psbt_version=getattr(request.module, "PSBT_VERSION", 0)) as node:
        yield node


@pytest.fixture(scope="module")
def card() -> Iterator[EmulatorProcess]:
    """A card that Specter reaches without a reader."""
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export", "--pin", PIN) as card:
        yield card


@pytest.fixture(scope="module")
def specter(
    specter_python: Path, node: StandIn, card: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Specter]:
    with serving(specter_python, tmp_path_factory.mktemp("specter"), node, card) as server:
        yield server


@pytest.fixture(scope="module")
def person(browser: Browser, specter: Specter, node: StandIn) -> Person:
    """Somebody with a tab of their own, who did nothing yet."""
    return Person(browser.open(specter.base), node)
