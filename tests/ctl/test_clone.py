"""A second card of the same words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ctl.program import PIN, PUK, answer, dialogue, ended, run, terminal
from tests.ctl.slot import Slot
from tests.support.emulator import MNEMONIC, EmulatorProcess

OTHER_PIN = "135790"


@pytest.fixture
def first() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export", "--serial", str(1 << 60)) as process:
        yield process


def test_the_same_wallet(first: EmulatorProcess) -> None:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export", "--serial", str(1 << 61)) as second:
        data = answer(first, "clone", "check", "--second", second.path, schema="clone check")
        assert (data["same"], data["accounts_compared"], data["needed"]) == (True, True, [])
        assert [card["serial"] for card in data["cards"]] == [str(first.serial), str(second.serial)]
        assert {card["fingerprint"] for card in data["cards"]} == {"73c5da0a"}
        assert {card["genuine"] for card in data["cards"]} == {"emulated"}


def test_what_the_second_card_lacks(first: EmulatorProcess) -> None:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--serial", str(1 << 61)) as second:
        assert run(second, "pairing", "change", "--stdinpuk", stdin=PUK).returncode == 0
        assert run(second, "pinless", "set", "m/43h/60h/1581h/0", "--stdinpuk", stdin=PUK).returncode == 0
        data = answer(first, "clone", "check", "--second", second.path, schema="clone check")
        assert (data["same"], data["accounts_compared"]) == (True, False)
        text = " ".join(data["needed"])
        for remedy in ("xpub on", "pinless clear", "pairing export"):
            assert f"{remedy}" in text and str(second.serial) in text


def test_another_wallet_and_another_passphrase(first: EmulatorProcess) -> None:
    for options in (("--seed", bytes(range(64)).hex()), ("--mnemonic", MNEMONIC, "--passphrase", "x")):
        with EmulatorProcess(*options, "--xpub-export", "--serial", str(1 << 61)) as second:
            data = answer(first, "clone", "check", "--second", second.path, schema="clone check", code=5)
            assert (data["same"], data["needed"]) == (False, [])
            assert data["cards"][0]["fingerprint"] != data["cards"][1]["fingerprint"]


def test_no_seed_and_the_same_card(first: EmulatorProcess) -> None:
    with EmulatorProcess("--pin", PIN) as second:
        assert "has no seed" in answer(first, "clone", "check", "--second", second.path, code=1)["error"]
    assert "first card again" in answer(first, "clone", "check", "--second", first.path, code=2)["error"]


def test_a_second_card_in_no_reader(first: EmulatorProcess) -> None:
    """All readers are meant where none is named, also where there is none: nobody is asked to swap cards."""
    done = run(None, "--card", first.path, "clone", "check", "--stdinpass", "--second", "", stdin=PIN)
    assert done.returncode == 3 and "terminal" not in done.stderr


def test_the_pin_of_stdin_is_the_first_cards(first: EmulatorProcess) -> None:
    """The second card has a PIN of its own: the first one's would cost it a try."""
    with EmulatorProcess("--mnemonic", MNEMONIC, "--pin", OTHER_PIN, "--serial", str(1 << 61)) as second:
        words = ["clone", "check", "--stdinpass", "--second", second.path]
        answer(first, *words, stdin=f"{PIN}\n", pin=None, code=4)
        words[:2] = ["backup", "check"]
        answer(first, *words, stdin=f"{PIN}\n", pin=None, code=4)
        assert (first.stats()["pin_tries"], second.stats()["pin_tries"]) == (0, 0)


def test_two_cards_in_one_reader(tmp_path: Path) -> None:
    """An Enter before the card is in ends nothing."""
    for name, serial in (("a", 1 << 60), ("b", 1 << 61)):
        options = ("--mnemonic", MNEMONIC, "--xpub-export", "--serial", str(serial), "--state", str(tmp_path / name))
        with EmulatorProcess(*options):
            pass
    with Slot() as slot, terminal(slot.insert(tmp_path / "a"), "clone", "check") as child:
        dialogue(child, ("PIN of card", PIN), ("insert the second card", ""))
        child.expect_exact("That is still the first card")
        slot.remove()
        dialogue(child, ("insert the second card", ""))
        child.expect_exact("insert the second card")
        slot.insert(tmp_path / "b")
        child.sendline("")
        dialogue(child, ("PIN of card", PIN))
        child.expect_exact("hold the same wallet")
        assert ended(child) == 0
