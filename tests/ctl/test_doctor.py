"""`doctor`."""

from __future__ import annotations

from tests.ctl.program import answer
from tests.support.emulator import EmulatorProcess


def test_doctor(card: EmulatorProcess) -> None:
    findings = {entry["check"]: entry for entry in answer(card, "doctor", code=3, schema="doctor")["findings"]}
    assert findings["PC/SC service"]["verdict"] == "bad"
    assert "pcscd" in findings["PC/SC service"]["remedy"]
    assert findings[f"card in {card.path}"]["verdict"] == "good"
    assert card.stats()["pin_tries"] == 0
