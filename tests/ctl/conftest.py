"""Emulated cards of the command tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.emulator import SEED, EmulatorProcess


@pytest.fixture
def card() -> Iterator[EmulatorProcess]:
    """A card with a wallet, xpub export on."""
    with EmulatorProcess("--seed", SEED, "--xpub-export") as process:
        yield process


@pytest.fixture
def bare() -> Iterator[EmulatorProcess]:
    """A card with a wallet, xpub export off, as cards come from the vendor's tools."""
    with EmulatorProcess("--seed", SEED) as process:
        yield process


@pytest.fixture
def fresh() -> Iterator[EmulatorProcess]:
    """A card from the factory."""
    with EmulatorProcess() as process:
        yield process
