"""Cards that the vendor's tools were at: the "easy mode", whose secrets are public, and marks in the custom bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cryptnox_core import open_card
from tests.core.emulated import SEED
from tests.ctl.program import answer, dialogue, ended, run, shown, terminal
from tests.support.emulator import PIN, EmulatorProcess

EASY = "EASY MODE"
EASY_PIN = "000000000"
EASY_PUK = "000000000000"
MARKED = bytes([1, 0, 1]) + b"thirteen more"
PIV_ONLY = bytes([1, 0, 0]) + b"thirteen more"


def made(card: EmulatorProcess, name: str, email: str, pin: str) -> None:
    with open_card(card.path) as opened:
        opened.init(name, email, pin=pin, puk=EASY_PUK)
        opened.open_channel()
        opened.load_seed(SEED, pin)
        opened.set_xpub_export(True, EASY_PUK)


@pytest.fixture
def easy() -> Iterator[EmulatorProcess]:
    with EmulatorProcess() as process:
        made(process, EASY, EASY, EASY_PIN)
        yield process


def test_adopt_names_an_easy_mode_card(easy: EmulatorProcess) -> None:
    first, *others = answer(easy, "adopt", pin=EASY_PIN)["needed"]
    assert "easy mode" in first and EASY_PIN in first and EASY_PUK in first and "no money" in first
    assert "cryptnoxctl pin change" in first and "cryptnoxctl puk change" in first
    assert not any("easy mode" in line for line in others)
    assert "Next, connect a wallet" not in run(easy, "adopt", pin=EASY_PIN).stdout


def test_adopt_says_it_before_an_address_is_shown(easy: EmulatorProcess) -> None:
    with terminal(easy, "adopt") as child:
        dialogue(child, ("PIN of card", EASY_PIN))
        child.expect_exact("Careful: put no money on this card")
        assert "bc1q" not in shown(child)
        dialogue(child, ('type "no check"', "no check"))
        child.expect_exact("To do: put no money on this card")
        assert ended(child) == 0


def test_a_changed_pin_leaves_the_public_puk(easy: EmulatorProcess) -> None:
    with open_card(easy.path) as opened:
        opened.verify_pin(EASY_PIN)
        opened.change_pin(PIN)
    (first, *_) = answer(easy, "adopt")["needed"]
    assert EASY_PUK in first and "cryptnoxctl puk change" in first and "pin change" not in first


def test_doctor_names_an_easy_mode_card_without_a_pin(easy: EmulatorProcess) -> None:
    tried = easy.stats()["by_ins"].get("20", 0)
    findings = answer(easy, "doctor", code=3, schema="doctor", pin=EASY_PIN)["findings"]
    (found,) = [entry for entry in findings if "easy mode" in entry["finding"]]
    assert found["verdict"] == "note" and found["check"] == f"card in {easy.path}"
    assert "no money" in found["remedy"] and "cryptnoxctl puk change" in found["remedy"]
    assert easy.stats()["by_ins"].get("20", 0) == tried


@pytest.mark.parametrize(("name", "email"), [("EASY MODE", "ada@example.org"), ("Ada", "EASY MODE"), ("", "")])
def test_other_cards_are_not_called_that(name: str, email: str) -> None:
    with EmulatorProcess() as card:
        made(card, name, email, PIN)
        assert not any("easy" in line for line in answer(card, "adopt")["needed"])
        findings = answer(card, "doctor", code=3, schema="doctor")["findings"]
        assert not any("easy" in entry["finding"] for entry in findings)


@pytest.fixture
def marked() -> Iterator[EmulatorProcess]:
    with EmulatorProcess() as process:
        made(process, "", "", PIN)
        with open_card(process.path) as opened:
            opened.verify_pin(PIN)
            opened.write_custom_bytes(MARKED)
        yield process


def custom(card: EmulatorProcess) -> bytes:
    return bytes.fromhex(answer(card, "data", "read", "--custom", schema="data read")["hex"])


def test_overwriting_marks_is_told_and_asked(marked: EmulatorProcess) -> None:
    words = ("data", "write", "--custom", "-")
    done = run(marked, *words, stdin="sixteen bytes ok")
    assert done.returncode == 2 and custom(marked) == MARKED
    assert "Marked now: PIV, Windows Hello" in " ".join(done.stderr.split())
    before = marked.stats()["by_ins"].get("FC", 0)
    done = run(marked, *words, "--yes", stdin="sixteen bytes ok")
    assert done.returncode == 0 and "Marked now: PIV, Windows Hello" in " ".join(done.stderr.split())
    assert custom(marked) == b"sixteen bytes ok" and marked.stats()["by_ins"]["FC"] == before + 1


def test_only_the_marks_that_change_are_named(marked: EmulatorProcess) -> None:
    done = run(marked, "data", "write", "--custom", "--yes", "-", stdin=PIV_ONLY)
    assert "Marked now: Windows Hello. Overwriting" in " ".join(done.stderr.split()) and custom(marked) == PIV_ONLY
    changed = PIV_ONLY[:3] + b"other 13 more"
    done = run(marked, "data", "write", "--custom", "--yes", "-", stdin=changed)
    assert "vendor" not in done.stderr and custom(marked) == changed


def test_marks_of_ones_own_are_asked_about_at_a_terminal(tmp_path: Path) -> None:
    """Where no other bytes stand: no leaves the card as it is; the warning comes before the question."""
    with EmulatorProcess() as card:
        made(card, "", "", PIN)
        file = tmp_path / "bytes"
        file.write_bytes(PIV_ONLY)
        for reply, code, held in (("n", 2, bytes(16)), ("y", 0, PIV_ONLY)):
            with terminal(card, "data", "write", "--custom", str(file)) as child:
                dialogue(child, ("PIN of card", PIN))
                child.expect_exact("Your bytes mark PIV")
                dialogue(child, ("anyway?", reply))
                assert (ended(child) == 0) is (code == 0)
            assert custom(card) == held
        assert card.stats()["by_ins"]["FC"] == 1


def test_the_users_data_is_not_meant(marked: EmulatorProcess) -> None:
    done = run(marked, "data", "write", "-", stdin=bytes([9, 9, 9]) + b"data")
    assert done.returncode == 0 and "mark" not in done.stderr
