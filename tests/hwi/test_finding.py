"""The card that is meant where none is named: what is asked of one that is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwilib_cryptnox.storage.state import State
from tests.hwi.conftest import PIN, Program
from tests.support.emulator import EmulatorProcess


@pytest.mark.parametrize("which", [("-t", "cryptnox"), ("-f", "73c5da0a")])
def test_a_card_that_is_refused_gets_no_pin(
    hwi: Program, signer: EmulatorProcess, state: State, which: tuple[str, ...]
) -> None:
    """Its serial was another card's, whose fingerprint is not known."""
    state.update(signer.serial, lambda now: replace(now, static_key=bytes(32)))
    answer = hwi(*which, "--emulators", "-p", PIN, "getmasterxpub", env={"CRYPTNOX_EMULATOR": signer.path[4:]})
    assert answer["code"] == -3 and "another card with the serial" in answer["error"]
    assert "20" not in signer.stats()["by_ins"]
