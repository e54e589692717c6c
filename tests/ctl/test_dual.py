"""Two cards that make one secret: whatever happens between their two halves, no half is left unnoticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.ctl.program import answer, dialogue, ended, run, shown, terminal
from tests.ctl.slot import Slot
from tests.ctl.test_setup import BEGUN, NEW_PIN, NEW_PUK, SETUP
from tests.support.derived import Derived
from tests.support.emulator import EmulatorProcess

DUAL = (*SETUP, "--seed", "dual")
PUT_SECOND, PUT_FIRST = "insert the second card", "Remove the second card and insert the card"


def memory(state: Path) -> dict[str, Any]:
    """What a card holds."""
    held: dict[str, Any] = json.loads(state.read_text())
    return held


def seeds(folder: Path) -> tuple[str, str]:
    """Of both cards."""
    return memory(folder / "a")["seed"], memory(folder / "b")["seed"]


def both_begun(child: pexpect.spawn, slot: Slot, folder: Path, *options: str) -> tuple[int, int]:
    """Up to the point where the first card is wanted back; the serial numbers. `options`: of the second card."""
    first = slot.card.serial
    dialogue(child, *BEGUN)
    child.expect_exact(PUT_SECOND)
    second = slot.insert(folder / "b", *options).serial
    child.sendline("")
    dialogue(child, *BEGUN)
    return first, second


def test_an_enter_before_the_card_is_in_ends_nothing(tmp_path: Path) -> None:
    with Slot() as slot, terminal(slot.insert(tmp_path / "a"), *DUAL, CRYPTNOX_WAIT="0.3") as child:
        first = slot.card.serial
        dialogue(child, *BEGUN, (PUT_SECOND, ""))
        child.expect_exact("That is still the first card")
        slot.remove()
        dialogue(child, (PUT_SECOND, ""), (PUT_SECOND, ""), (PUT_SECOND, ""))
        child.expect_exact(PUT_SECOND)
        slot.insert(tmp_path / "b")
        child.sendline("")
        dialogue(child, *BEGUN, (PUT_FIRST, ""))
        child.expect_exact(f"This is a different card, not the card {first}")
        slot.remove()
        dialogue(child, (PUT_FIRST, ""), (PUT_FIRST, ""))
        child.expect_exact(PUT_FIRST)
        slot.insert(tmp_path / "a")
        child.sendline("")
        child.expect_exact("The card is ready")
        assert ended(child) == 0
    one, two = seeds(tmp_path)
    assert one == two != ""


@pytest.mark.parametrize("kind", ["remove", "badmac", "sw:6F00", "reset"])
@pytest.mark.parametrize("whose", ["second", "first"])
def test_a_fault_at_the_second_half_is_gone_on_from(tmp_path: Path, kind: str, whose: str) -> None:
    """`badmac`: the card has done its part, and its answer is lost."""
    fault = ("--fault", f"{kind}@D0:{2 if whose == 'second' else 1}")
    with Slot() as slot, terminal(slot.insert(tmp_path / "a"), *DUAL) as child:
        both_begun(child, slot, tmp_path, *(fault if whose == "second" else ()))
        child.expect_exact(PUT_FIRST)
        slot.insert(tmp_path / "a", *(fault if whose == "first" else ()))
        child.sendline("")
        child.expect_exact("hold the same seed")
        child.expect_exact("The card is ready")
        assert ended(child) == 0
    one, two = seeds(tmp_path)
    assert one == two != ""


def test_stopped_before_the_second_half_nothing_is_left(tmp_path: Path) -> None:
    with Slot() as slot, terminal(slot.insert(tmp_path / "a"), *DUAL) as child:
        dialogue(child, *BEGUN)
        child.expect_exact(PUT_SECOND)
        child.sendintr()
        child.expect_exact(f"Interrupted; the card {slot.card.serial} is initialized and has no seed")
        assert ended(child) == 1
    assert memory(tmp_path / "a")["seed"] == ""


def test_stopped_at_the_second_cards_questions_both_are_told_of(tmp_path: Path) -> None:
    with Slot() as slot, terminal(slot.insert(tmp_path / "a"), *DUAL) as child:
        first = slot.card.serial
        dialogue(child, *BEGUN)
        child.expect_exact(PUT_SECOND)
        slot.insert(tmp_path / "b")
        child.sendline("")
        child.expect_exact("New PIN")
        child.sendintr()
        child.expect_exact(
            f"nothing was changed on the card {slot.card.serial}; the card {first} is initialized and has no seed"
        )
        assert ended(child) == 1
    assert not memory(tmp_path / "b")["initialized"]


def test_an_orphan_is_named_and_never_called_usable(tmp_path: Path) -> None:
    """The first card stays away. The second holds a secret of which there is no other copy."""
    with Slot() as slot:
        with terminal(slot.insert(tmp_path / "a"), *DUAL) as child:
            first, second = both_begun(child, slot, tmp_path)
            child.expect_exact(PUT_FIRST)
            child.sendintr()
            child.expect_exact(f"The card {second} holds the seed. The card {first} has no seed")
            child.expect_exact("Put no money on either card")
            child.expect_exact(f"cryptnoxctl reset --card {second}")
            assert ended(child) == 1
        assert memory(tmp_path / "b")["seed"] != "" == memory(tmp_path / "a")["seed"]
        data = answer(slot.card, "adopt", pin=NEW_PIN)
        assert any("backup check --second-card" in step for step in data["needed"])
        assert "Next, connect a wallet" not in run(slot.card, "adopt", pin=NEW_PIN).stdout
        with terminal(slot.card, *DUAL) as child:
            child.expect_exact("There is already a wallet on this card")
            assert ended(child) == 1
        with terminal(slot.card, "backup", "check", "--second-card") as child:
            dialogue(child, ("PIN of card", NEW_PIN))
            child.expect_exact(PUT_SECOND)
            slot.insert(tmp_path / "a")
            child.sendline("")
            child.expect_exact(f"The card {first} has no seed")
            assert ended(child) == 1
        # What was said to do, done.
        slot.insert(tmp_path / "b")
        assert run(slot.card, "reset", "--serial", str(second), "--stdinpuk", stdin=NEW_PUK).returncode == 0
        with terminal(slot.insert(tmp_path / "a"), *DUAL) as child:
            dialogue(child, ("PUK: ", NEW_PUK), ("PIN of card", NEW_PIN))
            child.expect_exact(PUT_SECOND)
            slot.insert(tmp_path / "b")
            child.sendline("")
            dialogue(child, *BEGUN)
            child.expect_exact(PUT_FIRST)
            slot.insert(tmp_path / "a")
            child.sendline("")
            child.expect_exact("The card is ready")
            assert ended(child) == 0
    one, two = seeds(tmp_path)
    assert one == two != ""


def test_both_cards_are_the_wallet_that_others_derive(tmp_path: Path) -> None:
    states = (tmp_path / "a", tmp_path / "b")
    with EmulatorProcess("--state", str(states[0])) as one, EmulatorProcess("--state", str(states[1])) as two:
        with terminal(one, *DUAL, "--second", two.path) as child:
            dialogue(child, *BEGUN, *BEGUN)
            child.expect_exact("The card is ready")
            assert ended(child) == 0
            said = shown(child)
        wallet = Derived.of_seed(bytes.fromhex(memory(states[0])["seed"]))
        for card in (one, two):
            data = answer(card, "sheet", pin=NEW_PIN)
            assert data["fingerprint"] == wallet.fingerprint and data["fingerprint"] in said
            assert [entry["address"] for entry in data["addresses"]] == wallet.addresses("p2wpkh", 5)
            assert data["addresses"][0]["address"] in said
            assert all(account["key"] == wallet.account_key(account["path"]) for account in data["accounts"])
