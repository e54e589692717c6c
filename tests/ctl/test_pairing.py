"""`pairing`, `owner`."""

from __future__ import annotations

from pathlib import Path

from tests.ctl.program import PUK, answer
from tests.support.emulator import EmulatorProcess


def test_owner_and_pairing(card: EmulatorProcess, tmp_path: Path) -> None:
    assert answer(card, "owner")["name"] == ""
    puk = {"stdin": f"{PUK}\n"}
    assert answer(card, "pairing", "change", "--stdinpuk", schema="pairing change", **puk)["own_pairing_key"]
    assert answer(card, "info")["own_pairing_key"]
    answer(card, "pairing", "change", "--stdinpuk", code=4, stdin="111111111111\n")
    assert answer(card, "pin", "tries", schema="pin tries")["pin_tries_left"] == 6
    exported = tmp_path / "key"
    answer(card, "pairing", "export", str(exported), schema="pairing export")
    answer(card, "pairing", "export", str(exported), code=2)
    answer(card, "pairing", "recover", "--file", str(exported), schema="pairing recover")
    assert answer(card, "pairing", "recover", schema="pairing recover")["own_pairing_key"], "nothing to recover"
    elsewhere = {"XDG_STATE_HOME": str(tmp_path / "elsewhere")}
    answer(card, "pairing", "recover", "--stdinpuk", code=4, stdin="111111111111\n", **elsewhere)
    words = ("pairing", "recover", "--stdinpuk")
    assert not answer(card, *words, schema="pairing recover", **puk, **elsewhere)["own_pairing_key"]
    assert card.stats()["puk_tries"] == 1
    # Here the card is back on the common key: that is found out without a PUK.
    assert not answer(card, "pairing", "recover", schema="pairing recover")["own_pairing_key"]
    assert not answer(card, "info")["own_pairing_key"]
    answer(card, "pairing", "export", str(exported) + "2", code=1)
    answer(card, "pairing", "change", "--stdinpuk", **puk, schema="pairing change")
    answer(card, "pairing", "change", "--common", "--stdinpuk", **puk, schema="pairing change")
