"""`cryptnoxctl doctor --record` and `--analyse`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.ctl.program import SEED, answer, dialogue, ended, run, shown, terminal
from tests.support.emulator import EmulatorProcess


def test_record_and_analyse(card: EmulatorProcess, tmp_path: Path) -> None:
    file = tmp_path / "card.json"
    place = ("--card", card.path)
    data = answer(card, "doctor", "--record", str(file), "--yes", *place, schema="doctor record")
    assert data == {"serial": str(card.serial), "file": str(file), "deviations": []}
    assert answer(None, "doctor", "--analyse", str(file), schema="doctor analyse")["deviations"] == []
    assert "as documented" in run(None, "doctor", "--analyse", str(file)).stdout
    before = file.read_bytes()
    assert "exists already" in answer(card, "doctor", "--record", str(file), "--yes", *place, code=2)["error"]
    assert file.read_bytes() == before
    assert card.stats()["pin_tries"] == card.stats()["signatures"] == 0


def test_a_deviation_is_named(tmp_path: Path) -> None:
    file = tmp_path / "card.json"
    with EmulatorProcess("--seed", SEED, "--reading", "tries-min", "--reading", "outer-sw") as card:
        run(card, "doctor", "--record", str(file), "--yes", "--card", card.path)
    found = answer(None, "doctor", "--analyse", str(file), schema="doctor analyse")["deviations"]
    assert sorted(each["reading"] for each in found) == ["outer-sw", "tries-min"]
    assert "(reading tries-min)" in run(None, "doctor", "--analyse", "-", stdin=file.read_bytes()).stdout


def test_it_says_what_identifies_the_card_and_asks(card: EmulatorProcess, tmp_path: Path) -> None:
    file = tmp_path / "card.json"
    refused = run(card, "doctor", "--record", str(file), "--card", card.path)
    assert refused.returncode == 2 and "certificate identify it" in " ".join(refused.stderr.split())
    for typed, code in (("n", 1), ("y", 0)):
        assert not file.exists()
        with terminal(card, "doctor", "--record", str(file), "--card", card.path) as child:
            dialogue(child, ("Record the card", typed))
            assert ended(child) == code
        assert "identify it" in " ".join(shown(child).split())
    assert json.loads(file.read_text())["format"] == 1


def test_what_is_no_recording(tmp_path: Path) -> None:
    for number, content in enumerate(('{"format": 7}', "no JSON", "[" * 100_000, "\xff")):
        file = tmp_path / f"{number}.json"
        file.write_text(content, "latin-1")
        assert answer(None, "doctor", "--analyse", str(file), code=5)["exit_code"] == 5
    assert run(None, "doctor", "--analyse", "x", "--record", "y").returncode == 2
