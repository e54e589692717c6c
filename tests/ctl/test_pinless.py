"""`pinless`."""

from __future__ import annotations

from tests.ctl.program import PUK, answer
from tests.support.emulator import EmulatorProcess


def test_pinless_path(card: EmulatorProcess) -> None:
    puk = {"stdin": f"{PUK}\n"}
    answer(card, "pinless", "set", "m/44h/0h/0h", "--stdinpuk", code=2, **puk)
    answer(card, "pinless", "set", "m/43h/60h/1581h/0", "--stdinpuk", schema="pinless set", **puk)
    assert answer(card, "info")["pinless_path"]
    answer(card, "pinless", "clear", "--stdinpuk", schema="pinless clear", **puk)
    assert not answer(card, "info")["pinless_path"]
