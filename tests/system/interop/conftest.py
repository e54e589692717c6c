"""Cards of wallet tests, one pair a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.emulator import EmulatorProcess
from tests.system.interop.programs import MNEMONIC, OTHER_MNEMONIC


@pytest.fixture(scope="module")
def card() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as process:
        yield process


@pytest.fixture(scope="module")
def other_card() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--mnemonic", OTHER_MNEMONIC, "--xpub-export") as process:
        yield process
