"""Every way to a wallet, judged by derivations that are not ours: card, screen, JSON and paper say the same."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.ctl.program import answer, dialogue, ended, terminal
from tests.ctl.test_setup import BEGUN, NEW_PIN, SETUP, Card, words_shown
from tests.ctl.test_words import LONG
from tests.support.derived import TEMPLATES, Derived
from tests.support.emulator import MNEMONIC
from tests.support.terminal import spawn


def check(card: Card, wallet: Derived) -> None:
    """The card is this wallet, whatever is asked of it."""
    for kind in TEMPLATES:
        shown = answer(card.process, "address", "0-2", "--type", kind, pin=NEW_PIN)["addresses"]
        assert [entry["address"] for entry in shown] == wallet.addresses(kind, 3)
    sheet = answer(card.process, "sheet", pin=NEW_PIN)
    assert sheet["fingerprint"] == wallet.fingerprint
    assert all(account["key"] == wallet.account_key(account["path"]) for account in sheet["accounts"])
    assert [entry["address"] for entry in sheet["addresses"]] == wallet.addresses("p2wpkh", 5)


def told(out: Path, wallet: Derived) -> None:
    """What `setup --json` told is this wallet."""
    data: dict[str, Any] = json.loads(out.read_text())
    assert (data["fingerprint"], data["address"]) == (wallet.fingerprint, wallet.addresses("p2wpkh", 1)[0])


@pytest.mark.parametrize(
    ("words", "passphrase"), [(MNEMONIC, ""), (MNEMONIC, " zürich Ω "), (LONG, "")], ids=["12", "passphrase", "24"]
)
def test_restore(tmp_path: Path, words: str, passphrase: str) -> None:
    out, count = tmp_path / "out", str(len(words.split()))
    with Card(tmp_path) as card:
        with terminal(card.process, *SETUP, "--seed", "restore", "--json", stdout=out) as child:
            dialogue(child, *BEGUN, ("How many words", count), ("Word 1", words), ("Passphrase: ", passphrase))
            dialogue(child, *([("Type it again", passphrase)] if passphrase else []))
            assert ended(child) == 0
        wallet = Derived.of_words(words, passphrase)
        told(out, wallet)
        check(card, wallet)


@pytest.mark.parametrize("count", ["12", "24"])
def test_new_words(tmp_path: Path, count: str) -> None:
    out = tmp_path / "out"
    with Card(tmp_path) as card:
        with terminal(card.process, *SETUP, "--seed", "new", "--words", count, "--json", stdout=out) as child:
            dialogue(child, *BEGUN)
            child.expect_exact("Written down?")
            words = words_shown(child)
            dialogue(child, ("", ""), *((f"Word {number} of", word) for number, word in enumerate(words, 1)))
            dialogue(child, ("Press Enter", ""), ("Word 1", " ".join(words)))
            dialogue(child, ("Passphrase: ", ""))
            assert ended(child) == 0
        wallet = Derived.of_words(" ".join(words))
        told(out, wallet)
        check(card, wallet)


def test_made_on_the_card(tmp_path: Path) -> None:
    """There are no words: the emulated card's memory is the witness."""
    out = tmp_path / "out"
    with Card(tmp_path) as card:
        with terminal(card.process, *SETUP, "--seed", "card", "--json", stdout=out) as child:
            dialogue(child, *BEGUN, ('Type "no backup"', "no backup"))
            assert ended(child) == 0
        wallet = Derived.of_seed(card.seed)
        told(out, wallet)
        check(card, wallet)


@pytest.mark.parametrize("command", ["setup", "restore"])
def test_hwi(tmp_path: Path, command: str) -> None:
    program = str(Path(sys.executable).with_name("hwi-cryptnox"))
    out = tmp_path / "out"
    with Card(tmp_path) as card:
        line = [program, "-t", "cryptnox", "-d", card.process.path, "-i", command]
        child = spawn(line, stdin=Path(os.devnull), stdout=out, timeout=60, encoding="utf-8")
        words = LONG.split()
        if command == "restore":
            dialogue(child, ("Word 1", LONG), ("Passphrase: ", "x"), ("Type it again", "x"))
        else:
            dialogue(child, ("Seed (words/card)", "words"), ("How many words", "24"))
        dialogue(child, ("New PIN", NEW_PIN), ("Type it again", NEW_PIN), ("Choose it yourself?", "n"))
        child.expect(r"\s(\d{12})\s")
        puk = str(child.match[1])
        dialogue(child, ("Written down?", ""), ("Type it back", puk), ("Initialize the card now?", "y"))
        if command == "setup":
            child.expect_exact("Written down?")
            words = words_shown(child)
            dialogue(child, ("", ""), *((f"Word {number} of 24", word[:4]) for number, word in enumerate(words, 1)))
        wallet = Derived.of_words(" ".join(words), "x" if command == "restore" else "")
        child.expect_exact(f"Fingerprint of the wallet: {wallet.fingerprint}")
        if command == "setup":
            dialogue(child, ("Press Enter to check", ""), ("Word 1", " ".join(words)), ("Passphrase: ", ""))
        child.expect(pexpect.EOF)
        child.close()
        assert re.fullmatch(r'\{"success": true\}\n', out.read_text())
        check(card, wallet)
