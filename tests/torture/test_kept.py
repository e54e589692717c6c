"""A taste of `scripts/torture`, and every step of it that ever failed."""

from __future__ import annotations

import json

import pytest

from tests.torture.parts import Commands
from tests.torture.run import KEPT, PARTS, torture

STEPS = [(name, number) for name, numbers in json.loads(KEPT.read_text()).items() for number in numbers]


@pytest.mark.parametrize("name,number", STEPS or [("psbts", 0)])
def test_what_failed_once(name: str, number: int) -> None:
    part = PARTS[name]()
    try:
        part.step(number)
    finally:
        part.close()


def test_a_short_torture() -> None:
    """Every part runs, every part does something, nothing is found."""
    found = torture(6, 1, tuple(PARTS))
    assert set(found) == set(PARTS)
    for name, result in found.items():
        assert result.steps and sum(result.counts.values()) >= 1, name
        assert not result.failures, result.failures[0][1]


@pytest.mark.heavy
def test_every_fault_at_every_apdu_of_every_command(request: pytest.FixtureRequest) -> None:
    commands = Commands()
    for number in range(len(commands.combinations)):
        commands.step(number)
    rows = [f"{count:6} {what}" for what, count in sorted(commands.counts.items())]
    request.node.user_properties.append(("table", ["faults: every command", *rows]))
