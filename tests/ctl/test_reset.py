"""`reset`, `forget`."""

from __future__ import annotations

from tests.ctl.program import PIN, PUK, answer
from tests.support.emulator import EmulatorProcess


def test_reset_and_forget(card: EmulatorProcess) -> None:
    answer(card, "pin", "verify", "--stdinpass", stdin=f"{PIN}\n", pin=None, schema="pin verify")
    assert answer(None, "forget", "all")["forgotten"] == [str(card.serial)]
    assert answer(None, "forget", str(card.serial))["forgotten"] == []
    answer(None, "forget", "everything", code=2)
    answer(card, "reset", "--serial", "1", "--stdinpuk", stdin=f"{PUK}\n", code=1)
    assert card.stats()["by_ins"].get("FD", 0) == 0
    assert answer(card, "reset", "--serial", str(card.serial), "--stdinpuk", stdin=f"{PUK}\n")["reset"]
    assert not answer(card, "info")["initialized"]
