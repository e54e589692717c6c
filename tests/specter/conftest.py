"""Specter in a browser: one browser for all test files, and an office for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.specter.chromium import Browser
from tests.specter.server import SPECTER
from tests.system.interop.programs import environment


@pytest.fixture(scope="session")
def specter_python() -> Path:
    """The Python of the environment that has Specter."""
    return environment("specter", SPECTER)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser
