"""`data`."""

from __future__ import annotations

from pathlib import Path

from tests.ctl.program import SEED, answer, run
from tests.support.emulator import EmulatorProcess


def test_data_of_a_card_with_the_other_form_of_the_length(tmp_path: Path) -> None:
    """It breaks off the channel at the first page; a second channel reads it, and no try is spent."""
    source = tmp_path / "in"
    source.write_bytes(b"kept")
    with EmulatorProcess("--seed", SEED, "--reading", "mac-len-value-only") as card:
        assert answer(card, "data", "write", str(source), schema="data write")["bytes"] == 4
        before = card.stats()["by_ins"]
        assert answer(card, "data", "read", schema="data read")["hex"] == b"kept".hex()
        after = card.stats()
        assert after["by_ins"]["FA"] - before["FA"] == 2 and after["by_ins"]["11"] - before["11"] == 2
        assert after["pin_tries"] == 0


def test_data_and_custom_bytes(card: EmulatorProcess, tmp_path: Path) -> None:
    content = bytes(range(256)) * 10
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(content)
    assert answer(card, "data", "write", str(source), schema="data write")["bytes"] == 2560
    assert answer(card, "data", "read", schema="data read")["hex"] == content.hex()
    assert run(card, "data", "read", "--output", str(target)).returncode == 0
    assert target.read_bytes() == content
    answer(card, "data", "write", "-", stdin="other", code=2)
    answer(card, "data", "write", "--yes", "-", stdin="other", schema="data write")
    assert run(card, "data", "read").stdout == "other"
    answer(card, "data", "write", "--custom", "-", stdin="too short", code=5)
    answer(card, "data", "write", "--custom", "-", stdin="sixteen bytes ok", schema="data write")
    assert answer(card, "data", "read", "--custom", schema="data read")["hex"] == b"sixteen bytes ok".hex()
    source.write_bytes(bytes(3601))
    answer(card, "data", "write", str(source), code=5)
