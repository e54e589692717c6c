"""`clear-key`."""

from __future__ import annotations

from pathlib import Path

from cryptnox_core.wire import Ins
from tests.ctl.program import PUK, answer
from tests.psbt.factory import ME
from tests.support.curve import PublicKey
from tests.support.emulator import EmulatorProcess
from tests.support.middle import Ask, Middle


def test_switch_and_read(card: EmulatorProcess) -> None:
    assert "clear-key on" in answer(card, "clear-key", "show", pin=None, code=1)["hint"]
    for _ in range(2):  # the second finds it on
        data = answer(card, "clear-key", "on", "--stdinpuk", stdin=f"{PUK}\n", schema="clear-key on")
        assert data["clear_public_key"] is True and answer(card, "info")["clear_public_key"] is True
    found = answer(card, "clear-key", "show", "m/84h/0h/0h/0/0", schema="clear-key show")
    assert (found["public_key"], found["proved"]) == (ME.key("m/84h/0h/0h/0/0").hex(), True)
    other = answer(card, "clear-key", "show", pin=None, schema="clear-key show")
    assert other["proved"] is False and other["path"] is None
    answer(card, "clear-key", "show", "m/1h", "--curve", "r1", schema="clear-key show")
    answer(card, "clear-key", "show", "m", code=2)
    answer(card, "clear-key", "off", "--stdinpuk", stdin=f"{PUK}\n", schema="clear-key off")
    answer(card, "clear-key", "show", "m/84h/0h/0h/0/0", code=1)
    assert card.stats()["puk_tries"] == card.stats()["pin_tries"] == 0


def test_a_key_exchanged_on_the_way_is_found_out(card: EmulatorProcess) -> None:
    """What comes in the clear is another key of the card: a real one, and not the one of the path."""
    answer(card, "clear-key", "on", "--stdinpuk", stdin=f"{PUK}\n", schema="clear-key on")
    other = PublicKey(ME.key("m/84h/0h/0h/0/1"))

    def exchanged(apdu: bytes, ask: Ask) -> bytes:
        given = ask(apdu)
        if apdu[1] != Ins.GET_PUBLIC_KEY or len(apdu) > 5 or given[-2:] != b"\x90\x00":
            return given
        return other.format(compressed=len(given) == 35) + b"\x90\x00"

    with Middle(card, exchanged) as middle:
        refused = answer(middle, "clear-key", "show", "m/84h/0h/0h/0/0", code=1)
        assert other.format().hex() not in str(refused) and "between card and computer" in str(refused)
        unproved = answer(middle, "clear-key", "show", pin=None, schema="clear-key show")
        assert unproved["proved"] is False and unproved["public_key"] == other.format().hex()


def test_a_wrong_puk_changes_nothing(card: EmulatorProcess) -> None:
    answer(card, "clear-key", "on", "--stdinpuk", stdin="wrongwrong12\n", code=4)
    assert card.stats()["puk_tries"] == 1 and answer(card, "info")["clear_public_key"] is False


def test_a_card_without_a_seed(fresh: EmulatorProcess, tmp_path: Path) -> None:
    answer(fresh, "clear-key", "on", "--stdinpuk", stdin=f"{PUK}\n", code=1)
    answer(fresh, "clear-key", "show", pin=None, code=1)
