"""`list`, and `doctor` as far as it lists."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cryptnox_core.wire import Ins
from hwilib_cryptnox.ctl.main import main
from tests.core.emulated import SERIAL, initialized, seeded
from tests.core.test_certificate import der, issue, relabeled
from tests.ctl.program import answer, run
from tests.support.emulator import MNEMONIC, EmulatorProcess
from tests.support.readers import Ask, Readers, Slot


@pytest.mark.parametrize("command", ["list", "doctor"])
def test_looking_at_one_card(card: EmulatorProcess, command: str) -> None:
    """Only at the one that is named; what is not there is an error here too."""

    def looked_at(*options: str, there: EmulatorProcess | None = None, code: int = 0) -> list[str]:
        data = answer(there, command, *options, code=code, schema=command)
        if command == "list":
            return [str(entry["serial"]) for entry in data["readers"]]
        return [entry["finding"] for entry in data["findings"] if entry["check"].startswith("card")]

    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export", "--serial", str(2**60)) as other:
        for option in ("--card", "--reader"):
            (found,) = looked_at(option, other.path, there=card)
            assert str(other.serial) in found
    elsewhere = 0 if command == "list" else 3  # there is no PC/SC service here
    (found,) = looked_at("--card", str(card.serial), there=card, code=elsewhere)
    assert str(card.serial) in found
    for options in (("--card", "12345"), ("--card", "tcp:127.0.0.1:1"), ("--reader", "tcp:127.0.0.1:1"),
                    ("--reader", "no such")):  # fmt: skip
        if command == "list":
            answer(card, command, *options, code=3)
        else:
            assert len(looked_at(*options, there=card, code=3)) == 1
    answer(card, command, "--card", "no-number", code=2)
    assert card.stats()["by_ins"].get("20") is None


def test_serials_for_scripts(card: EmulatorProcess) -> None:
    """One a line, as they are given to --card; nothing else on stdout, also where a reader could not be asked."""
    with EmulatorProcess("--serial", str(2**60)) as other:
        for one in (card, other):
            done = run(card, "list", "--serials", "--card", one.path)
            assert (done.returncode, done.stdout, done.stderr) == (0, f"{one.serial}\n", "")
            assert answer(card, "list", "--serials", "--card", one.path, schema="list --serials") == {
                "serials": [str(one.serial)]
            }
            assert run(None, "info", "--card", one.path, "--json").returncode == 0
    none = run(None, "list", "--serials")
    assert (none.returncode, none.stdout) == (0, "")
    assert run(card, "list", "--serials", "--card", "tcp:127.0.0.1:1").returncode == 3


@pytest.mark.parametrize("size", [30, 1800])
def test_an_impostor_beside_a_good_card(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    """Whose serial number is one that no card has: the good card is told and used all the same."""
    good = der(issue(serial=(1 << 159) - 1))
    long = relabeled(good, b"\x02\x14\x7f" + b"\xff" * 19, b"\x7f" * size)
    whole = len(long).to_bytes(2, "big") + long

    def impostor(apdu: bytes, ask: Ask) -> bytes:
        if apdu[1] == Ins.GET_MANUFACTURER_CERTIFICATE:
            return whole[255 * apdu[3] : 255 * apdu[3] + 255] + b"\x90\x00"
        return ask(apdu)

    Readers(evil=Slot.of(initialized(), impostor), good=Slot.of(seeded())).install(monkeypatch)

    def told(*words: str) -> dict[str, Any]:
        assert main([*words, "--json"]) == 0
        data: dict[str, Any] = json.loads(capsys.readouterr().out)
        return data

    evil, card = told("list")["readers"]
    assert evil["serial"] is None and "more than 20 bytes" in evil["state"]
    assert card["serial"] == str(SERIAL)
    assert told("list", "--serials")["serials"] == [str(SERIAL)]
    assert told("info", "--card", str(SERIAL))["serial"] == str(SERIAL)
