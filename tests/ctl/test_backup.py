"""`backup`."""

from __future__ import annotations

from tests.ctl.program import SEED, answer
from tests.support.emulator import MNEMONIC, EmulatorProcess


def test_backup_of_a_second_card(card: EmulatorProcess) -> None:
    with EmulatorProcess("--seed", SEED, "--serial", str(1 << 60)) as second:
        same = answer(card, "backup", "check", "--second", second.path, schema="backup check")
        assert same["same"]
    with EmulatorProcess("--mnemonic", MNEMONIC) as third:
        data = answer(card, "backup", "check", "--second", third.path, schema="backup check", code=5)
        assert not data["same"]
