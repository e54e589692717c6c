"""Words and secrets as people type them: pasted in pieces, on small screens, with Enter pressed twice."""

from __future__ import annotations

import os
import re
import time

import pexpect
import pytest
from embit import bip39

from hwilib_cryptnox.signer.mnemonic import pages
from tests.ctl.program import PIN, answer, dialogue, ended, shown, terminal
from tests.ctl.test_setup import BEGUN, SETUP, words_shown
from tests.support.derived import Derived
from tests.support.emulator import MNEMONIC, EmulatorProcess

LONG = bip39.mnemonic_from_bytes((3 << 124).to_bytes(32, "big"))
"""24 words, whose first 12 are MNEMONIC, a valid mnemonic of its own."""
ASKED = ("PIN of card", PIN)


def paste(child: pexpect.spawn, question: str, text: str | bytes) -> None:
    """All at once, as a terminal program hands it on."""
    child.expect_exact(question)
    os.write(child.child_fd, text if isinstance(text, bytes) else text.encode())


@pytest.fixture
def long_card():
    with EmulatorProcess("--mnemonic", LONG, "--xpub-export") as process:
        yield process


def test_the_long_mnemonic_begins_with_another() -> None:
    assert LONG.startswith(f"{MNEMONIC} ") and bip39.mnemonic_is_valid(LONG)
    assert Derived.of_words(LONG).fingerprint != Derived.of_words(MNEMONIC).fingerprint == "73c5da0a"


@pytest.mark.parametrize("end", ["\n", ""])
def test_24_words_pasted_as_two_lines_are_24_words(long_card: EmulatorProcess, end: str) -> None:
    words = LONG.split()
    with terminal(long_card, "backup", "check") as child:
        dialogue(child, ASKED, ("How many words", "24"))
        paste(child, "Word 1: ", " ".join(words[:12]) + "\n" + " ".join(words[12:]) + end)
        if not end:
            paste(child, "Word 13: ", "\n")
        dialogue(child, ("Passphrase: ", ""))
        child.expect_exact("hold the same wallet")
        assert ended(child) == 0


@pytest.mark.parametrize("text", [LONG.replace("about ", "about\n"), LONG, f"{LONG}\n", f"{MNEMONIC}\nzoo"])
def test_more_words_than_were_announced_are_never_dropped(fresh: EmulatorProcess, text: str) -> None:
    """The first 12 of them alone would be another wallet."""
    with terminal(fresh, *SETUP, "--seed", "restore") as child:
        dialogue(child, *BEGUN, ("How many words", "12"))
        paste(child, "Word 1: ", text + ("" if text.endswith(("\n", "zoo")) else "\n"))
        child.expect_exact("more than 12 words: none of them is used")
        dialogue(child, ("Word 1: ", MNEMONIC), ("Passphrase: ", ""))
        child.expect_exact("73c5da0a")
        assert ended(child) == 0


def test_an_enter_too_much_is_no_word(fresh: EmulatorProcess) -> None:
    """Nor is it the passphrase."""
    with terminal(fresh, *SETUP, "--seed", "restore") as child:
        dialogue(child, *BEGUN, ("How many words", "12"))
        paste(child, "Word 1: ", f"{MNEMONIC}\n\n")
        dialogue(child, ("Passphrase: ", "x"), ("Type it again", "x"))
        child.expect_exact(Derived.of_words(MNEMONIC, "x").fingerprint)
        assert ended(child) == 0


def test_a_line_with_a_slip_is_typed_again_and_what_followed_it_too(long_card: EmulatorProcess) -> None:
    """What was pasted behind it must not take its place."""
    words = LONG.split()
    first, second = " ".join(words[:12]), " ".join(words[12:])
    with terminal(long_card, "backup", "check") as child:
        dialogue(child, ASKED, ("How many words", "24"))
        paste(child, "Word 1: ", f"{first.replace('about', 'abuot')}\n{second}\n")
        child.expect_exact("Word 12 is not in the list; type this line again; what came after it was not used")
        dialogue(child, ("Word 1: ", first), ("Word 13: ", second), ("Passphrase: ", ""))
        child.expect_exact("hold the same wallet")
        assert ended(child) == 0


@pytest.mark.parametrize("count", ["12", "24"])
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (100, 50), (40, 12), (30, 8)])
def test_all_words_are_seen_at_once_or_page_by_page(
    fresh: EmulatorProcess, count: str, columns: int, rows: int
) -> None:
    """No word scrolls away on a screen of its own: every page fits, with the question below it."""
    with terminal(fresh, *SETUP, "--seed", "new", "--words", count, columns=columns, rows=rows) as child:
        dialogue(child, *BEGUN)
        words: list[str] = []
        while len(words) < int(count):
            child.expect_exact("Written down?")
            page = child.before.rpartition("\x1b[H")[2]
            assert page.count("\n") < rows
            assert all(len(line) <= columns for line in page.replace("\r", "").split("\n"))
            words += words_shown(child)
            child.sendline("")
        assert len(words) == int(count) and bip39.mnemonic_is_valid(" ".join(words))
        for number, word in enumerate(words, 1):
            dialogue(child, (f"Word {number} of {count}", word[:4]))
        dialogue(child, ('"no check" to continue', "no check"))
        child.expect_exact(Derived.of_words(" ".join(words)).fingerprint)
        assert ended(child) == 0


def test_pages_lose_no_word() -> None:
    words = [f"word{chr(97 + number)}" for number in range(24)]
    for columns in range(1, 130, 7):
        for rows in range(1, 60):
            found = list(pages(words, columns, rows))
            assert all(len(page) <= max(rows - 2, 1) for page in found)
            seen = dict(re.findall(r"(\d+)\. (word[a-z])", "\n".join("\n".join(page) for page in found)))
            assert [seen[str(number)] for number in range(1, 25)] == words


def test_two_enters_do_not_flash_the_puk_past(fresh: EmulatorProcess) -> None:
    with terminal(fresh, *SETUP) as child:
        dialogue(child, ("New PIN", PIN), ("Type it again", PIN), ("Use it anyway?", "y"))
        child.expect_exact("Choose it yourself?")
        child.send("\n\n\n\n\n")  # pressed ahead
        child.expect(r"\s(\d{12})\s")
        puk = str(child.match[1])
        child.expect_exact("Written down?")
        time.sleep(0.3)
        child.send("\n\n")
        dialogue(child, ("Type it back", "111111111111"), ("Show it again?", "y"), ("Written down?", ""))
        dialogue(child, ("Type it back", puk), ("own pairing key?", "n"), ("Initialize", "y"), ("Your choice", "card"))
        dialogue(child, ("no backup", "no backup"))
        child.expect_exact("The card is ready")
        assert ended(child) == 0
    assert answer(fresh, "info")["seeded"]


def test_a_passphrase_that_is_no_utf8_is_asked_for_again(fresh: EmulatorProcess) -> None:
    """Guessed letters would make another wallet."""
    with terminal(fresh, *SETUP, "--seed", "restore") as child:
        dialogue(child, *BEGUN, ("How many words", "12"), ("Word 1", MNEMONIC))
        paste(child, "Passphrase: ", "zürich\n".encode("latin-1"))
        child.expect_exact("This is not UTF-8 text")
        dialogue(child, ("Passphrase: ", "zürich "))
        child.expect_exact("It begins or ends with a space, and that counts")
        paste(child, "Type it again: ", b"z\xfcrich \n")
        child.expect_exact("This is not UTF-8 text")
        dialogue(child, ("Type it again: ", "zürich "))
        child.expect_exact(Derived.of_words(MNEMONIC, "zürich ").fingerprint)
        assert ended(child) == 0
        assert "rich" not in shown(child) and "Traceback" not in shown(child)


def test_what_is_typed_beside_shown_words_is_not_echoed(fresh: EmulatorProcess) -> None:
    """Nor what is typed between two of its screens."""
    with terminal(fresh, *SETUP, "--seed", "new", "--words", "12", columns=40, rows=10) as child:
        dialogue(child, *BEGUN)
        child.expect_exact("Written down?")
        before = len(shown(child))
        child.send("bananas too early")
        child.send("\nbananas again")
        child.expect_exact("Written down?")
        time.sleep(0.3)
        child.send("and bananas")
        time.sleep(0.3)
        child.sendintr()
        child.expect_exact("Interrupted; ")
        assert ended(child) == 1
        assert "bananas" not in shown(child)[before:]
