"""`hwi`."""

from __future__ import annotations

from tests.ctl.program import answer


def test_hwi_switch() -> None:
    assert answer(None, "hwi", "status", schema="hwi status")["enabled"] in (True, False)
