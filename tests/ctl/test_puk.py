"""`puk`."""

from __future__ import annotations

from tests.ctl.program import PUK, answer
from tests.support.emulator import EmulatorProcess

WRONG_PUK = "111111111111"


def test_wrong_puk(card: EmulatorProcess) -> None:
    assert "Wrong PUK" in answer(card, "xpub", "off", "--stdinpuk", stdin="111111111111\n", code=4)["error"]
    answer(card, "xpub", "off", "--stdinpuk", stdin="short\n", code=4)
    assert card.stats()["puk_tries"] == 1


def test_puk_verify(card: EmulatorProcess) -> None:
    words = ("puk", "verify", "--stdinpuk")
    assert answer(card, *words, stdin=PUK, schema="puk verify")["verified"]
    assert "not the PUK of the card" in answer(card, *words, stdin=WRONG_PUK, code=4)["error"]
    assert card.stats()["puk_tries"] == 0 and "20" not in card.stats()["by_ins"]
