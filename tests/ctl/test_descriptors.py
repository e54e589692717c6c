"""`descriptors`."""

from __future__ import annotations

from tests.ctl.program import answer
from tests.support.emulator import EmulatorProcess


def test_descriptors(card: EmulatorProcess) -> None:
    from tests.support.optional import bdk

    shown = answer(card, "descriptors")["descriptors"]
    assert [entry["type"] for entry in shown] == ["p2pkh", "p2sh-p2wpkh", "p2wpkh"]
    for entry in shown:
        for name in ("receive", "change"):
            bdk.Descriptor(entry[name], bdk.NetworkKind.MAIN)
