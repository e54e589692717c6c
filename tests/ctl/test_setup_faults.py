"""A fault at every APDU of a set-up, by both programs: what is told is compared with what the card holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryptnox_core.emulator.faults import parse_fault
from hwilib_cryptnox.signer.mnemonic import seed
from tests.support.emulator import MNEMONIC
from tests.system.torture.forked import Ended, ForkedCard, check_state
from tests.system.torture.programs import COMMANDS, PIN, PUK, Programs, check_secrets

SETUPS = ("ctl setup, words", "ctl setup, card", "ctl setup, initialised", "hwi restore", "hwi setup")
KINDS = ("remove", "badmac", "garbage", "reset", "sw:6F00")
"""`badmac` and `garbage`: the card has done its work, and the answer is lost."""
FOUND = "It is initialized and has no seed. Setup continues from there,"
"""Said before anything is done: true then."""


def kept(memory: dict[str, object]) -> dict[str, object]:
    """What a set-up changes first."""
    return {name: memory[name] for name in ("initialized", "seed", "pin", "puk")}


def judge(name: str, ended: Ended, held: dict[str, object], before: dict[str, object]) -> str:
    """What is wrong with the words that a set-up ended with; empty where all of them are true."""
    said = " ".join((ended.out + ended.err).split()).replace(FOUND, "")
    seeded, initialised = bool(held["seed"]), bool(held["initialized"])
    other = name not in ("ctl setup, card", "hwi setup") and held["seed"] != seed(MNEMONIC).hex()
    success = '"success": true' in said or "The card is ready" in said
    secrets = held["pin"], held["puk"]
    changed = kept(held) != before
    claims = {
        "success, and the card is not ready": success and not (seeded and held["xpub_export"]),
        "success, and it is another seed": success and other,
        "success, and another PIN or PUK": success
        and secrets != (PIN.encode().ljust(9, b"\0").hex(), PUK.encode().hex()),
        "nothing was changed, and it was": "nothing was changed" in said and changed,
        "no seed, and it has one": "has no seed" in said and seeded,
        "initialised, and it is not": "is initialized and" in said and not initialised,
        "a seed, and it has none": ("has a seed" in said or "holds the wallet" in said) and not seeded,
        "the wallet, and it is another": "holds the wallet" in said and other,
        "changed, and told to be canceled or to be repeated": changed and ("Canceled" in said or "repeat" in said),
        "changed, and the card is not named": changed and not success and f"card {held['serial']}" not in said,
    }
    return "; ".join(claim for claim, wrong in claims.items() if wrong)


def run(name: str, fault: str, folder: Path) -> tuple[Ended, str, int]:
    """One set-up with a fault; how it ended, what was wrong with that, and the APDUs it took."""
    command = COMMANDS[name]
    memory = command.memory()
    before = {
        "initialized": memory.initialized,
        "seed": memory.seed.hex(),
        "pin": memory.pin.hex(),
        "puk": memory.puk.hex(),
    }
    with ForkedCard(memory, folder, [parse_fault(fault)] if fault else []) as card:
        ended = Programs._run(command, card, folder)
        check_state(folder)
        check_secrets(card)
        return ended, judge(name, ended, card.memory(), before), card.count("apdus")


@pytest.mark.parametrize("name", SETUPS)
def test_what_is_told_is_true(name: str, tmp_path: Path) -> None:
    """A fault at each APDU, the kinds in turn."""
    ended, wrong, count = run(name, "", tmp_path)
    assert not wrong and not ended.status, (wrong, ended)
    went_on = 0
    for number in range(1, count + 1):
        fault = f"{KINDS[number % len(KINDS)]}@{number}"
        folder = tmp_path / str(number)
        folder.mkdir()
        ended, wrong, _ = run(name, fault, folder)
        assert not wrong, (fault, wrong, ended)
        went_on += "The card is ready" in ended.out or '"success": true' in ended.out
    assert went_on > count // 2, "most faults are gone on from"
