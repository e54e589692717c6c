"""Somebody new at a terminal, who makes the mistakes that people make: nothing that was answered is lost by them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from embit import bip39

from hwilib_cryptnox.psbt import Psbt
from tests.ctl.program import PIN, answer, dialogue, ended, run, shown, terminal
from tests.ctl.test_setup import Card, words_shown
from tests.support.derived import Derived
from tests.support.emulator import MNEMONIC, EmulatorProcess

ROOT = Path(__file__).resolve().parents[2]
OWN_PIN, OWN_PUK = "739182", "Qz-Mark-Puk7"
FINGERPRINT = "73c5da0a"
SHARES = json.loads((ROOT / "tests/signer/vectors/slip39.json").read_text())
TWO_OF_THREE, SECRET = SHARES[3][1], SHARES[3][2]
"""With the passphrase TREZOR."""
OTHERS = SHARES[42][1]
"""Of another backup, an extendable one."""


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    with Card(tmp_path) as made:
        yield made


def short(words: str) -> str:
    """The first four letters of each."""
    return " ".join(word[:4] for word in words.split())


# From the README to a signed transaction


def test_from_the_readme_to_a_signed_transaction(tmp_path: Path) -> None:
    """As its page says it, with a typing error in the command, a wrong PIN and an answer that is none."""
    page = (ROOT / "README.md").read_text()
    line = next(line for line in page.splitlines() if "cryptnoxctl sign examples/payment.psbt" in line)
    words = line.removeprefix("$ cryptnoxctl ").split()
    signed = tmp_path / "signed.psbt"
    words[words.index("signed.psbt")] = str(signed)
    words[words.index("examples/payment.psbt")] = str(ROOT / "examples/payment.psbt")
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as emulator:
        words[words.index("tcp:127.0.0.1:9720")] = emulator.path
        with terminal(None, "sing", *words[1:]) as child:
            child.expect_exact("Did you mean sign")
            assert ended(child) == 2
        with terminal(None, *words) as child:
            dialogue(child, ("PIN of card", "99"))
            child.expect_exact("4 to 9 digits; it was not sent to the card")
            dialogue(child, ("PIN of card", "999999"))
            child.expect_exact("Wrong PIN, 5 tries left")
            assert ended(child) == 4
        with terminal(None, *words) as child:
            dialogue(child, ("PIN of card", PIN))
            dialogue(child, (r"Sign it with", "sure"))
            child.expect_exact("Type y for yes, or n for no.")
            dialogue(child, (r"Sign it with", "y"))
            assert ended(child) == 0
        psbt = Psbt.parse(signed.read_bytes())
        assert len(psbt.inputs) == 2 and emulator.stats()["pin_tries"] == 1
    assert run(None, "verify", str(signed), "--chain", "regtest").returncode == 0


# From the factory to the first address


def test_from_a_new_card_to_the_first_address(card: Card) -> None:
    with terminal(card.process, "init") as child:
        child.expect_exact("Did you mean setup?")
        assert ended(child) == 2
    with terminal(card.process, "setup", columns=80, rows=24) as child:
        # A weak PIN is named; two that differ; a good one.
        for weak, why in (
            ("1234", "counts up"),
            ("0000", "it repeats one character"),
            ("000000000", "it is the vendor's public easy-mode PIN"),
        ):
            dialogue(child, ("New PIN", weak), ("Type it again", weak))
            child.expect_exact(why)
            dialogue(child, ("Use it anyway?", ""))
        # That was three times: a way out is offered, and what is no way is said.
        dialogue(child, ("What now (again/leave)", "what?"))
        child.expect_exact("Type one of these words: again, leave")
        dialogue(child, ("What now", "again"), ("New PIN", OWN_PIN), ("Type it again", "739183"))
        child.expect_exact("The two do not match.")
        dialogue(child, ("New PIN", OWN_PIN), ("Type it again", OWN_PIN))
        # The PUK typed at the wrong question, and too early, is seen by nobody.
        dialogue(child, ("Choose it yourself?", "n"))
        child.expect(r"\s(\d{12})\s")
        puk = str(child.match[1])
        child.expect_exact("Written down?")
        before = len(shown(child))
        child.sendline(puk)
        dialogue(child, ("Type it back", "000000000000"))
        child.expect_exact("That is not the PUK shown")
        dialogue(child, ("Show it again?", "n"), ("Choose it yourself?", "n"))
        assert puk not in shown(child)[before:]
        child.expect(r"\s(\d{12})\s")
        puk = str(child.match[1])
        child.expect_exact("Written down?")
        before = len(shown(child))
        child.sendline("")
        dialogue(child, ("Type it back", puk))
        dialogue(child, ("Name: ", "x" * 21))
        child.expect_exact("At most 20 bytes fit on the card")
        dialogue(child, ("Name: ", "Ada"), ("E-mail: ", ""), ("own pairing key?", "no idea"))
        child.expect_exact("Type y for yes, or n for no.")
        dialogue(child, ("own pairing key?", "y"))
        assert puk not in shown(child)[before:]
        # No goes back; one thing is changed, all else is kept.
        child.expect_exact("You chose: PIN, PUK, name Ada, e-mail (none), its own pairing key.")
        dialogue(child, ("Initialize the card now?", "n"), ("Change (", "pairing"))
        dialogue(child, ("own pairing key?", "n"))
        child.expect_exact("name Ada, e-mail (none), the default pairing key")
        dialogue(child, ("Initialize the card now?", "n"), ("Change (", "nothing"))
        dialogue(child, ("Initialize the card now?", "y"))
        child.expect_exact("it took your PIN and your PUK")
        # A choice that is none; one that is thought over.
        dialogue(child, ("Your choice", "words"))
        child.expect_exact("Type one of these words: new, restore, shares, dual, card")
        dialogue(child, ("Your choice", "card"), ('Type "no backup" to continue', "ok"))
        child.expect_exact('That is not "no backup"')
        dialogue(child, ('Type "no backup" to continue', ""), ("Your choice", "new"), ("How many words", "18"))
        child.expect_exact("Type one of these words: 12, 24")
        dialogue(child, ("How many words", "12"))
        child.expect_exact("Written down?")
        words = words_shown(child)
        child.sendline("")
        dialogue(child, *[("Word 1 of 12", "nope")] * 3, ("What now (again/show/back/leave)", "show"))
        child.expect_exact("Written down?")
        assert words_shown(child) == words
        child.sendline("")
        dialogue(child, *((f"Word {number} of 12", word[:4]) for number, word in enumerate(words, 1)))
        child.expect_exact("match your words")
        # The backup is offered before an address is shown; a wrong paper, then the right one.
        dialogue(child, ("Press Enter to check the backup now", ""), ("Word 1", MNEMONIC), ("Passphrase", ""))
        child.expect(r"belong to a different wallet, not to the\s+card's")
        assert "bc1q" not in shown(child)
        dialogue(child, ("Press Enter to check", ""), ("Word 1", " ".join(words)), ("Passphrase", ""))
        child.expect_exact("the words on your paper match this wallet")
        child.expect_exact("The card is ready")
        assert ended(child) == 0
    memory = card.memory()
    assert (
        bytes.fromhex(memory["pin"]).rstrip(b"\0") == OWN_PIN.encode() and bytes.fromhex(memory["puk"]) == puk.encode()
    )
    seed = bip39.mnemonic_to_seed(" ".join(words))
    first = answer(card.process, "address", pin=OWN_PIN)["addresses"][0]["address"]
    assert card.seed == seed and first in re.sub(r"\s", "", shown(child))
    assert OWN_PIN not in shown(child)


def test_three_wrong_papers_show_the_words_once_more(card: Card) -> None:
    with terminal(card.process, "setup", "--name", "", "--email", "") as child:
        dialogue(child, ("New PIN", OWN_PIN), ("Type it again", OWN_PIN), ("Choose it yourself?", "y"))
        dialogue(child, ("New PUK", OWN_PUK), ("Type it again", OWN_PUK), ("own pairing key?", ""), ("Initialize", "y"))
        dialogue(child, ("Your choice", "new"), ("How many words", "12"))
        child.expect_exact("Written down?")
        words = words_shown(child)
        child.sendline("")
        dialogue(child, *((f"Word {number} of 12", word) for number, word in enumerate(words, 1)))
        for _ in range(3):
            dialogue(child, ("Press Enter", ""), ("Word 1", MNEMONIC), ("Passphrase", ""))
            child.expect_exact("belong to a different wallet")
        dialogue(child, ("What now (again/show/leave)", "show"))
        child.expect_exact("Written down?")
        assert words_shown(child) == words
        child.sendline("")
        dialogue(child, ("Press Enter", "no check"))
        child.expect_exact("NOT compared with the card")
        assert ended(child) == 0


def test_leaving_the_check_is_told_as_it_is(card: Card) -> None:
    with terminal(card.process, "setup", "--seed", "new", "--words", "12", "--name", "", "--email", "") as child:
        dialogue(child, ("New PIN", OWN_PIN), ("Type it again", OWN_PIN), ("Choose it yourself?", "y"))
        dialogue(child, ("New PUK", OWN_PUK), ("Type it again", OWN_PUK), ("own pairing key?", ""), ("Initialize", "y"))
        child.expect_exact("Written down?")
        words = words_shown(child)
        child.sendline("")
        dialogue(child, *((f"Word {number} of 12", word) for number, word in enumerate(words, 1)))
        for _ in range(3):
            dialogue(child, ("Press Enter", ""), ("Word 1", MNEMONIC), ("Passphrase", ""))
        dialogue(child, ("What now", "leave"))
        child.expect_exact("Put no money on it")
        child.expect_exact(f"holds the wallet with the fingerprint {Derived.of_words(' '.join(words)).fingerprint}")
        assert ended(child) == 5
        assert "bc1q" not in shown(child)


# From a paper with words


def opening(child: pexpect.spawn) -> None:
    dialogue(child, ("New PIN", OWN_PIN), ("Type it again", OWN_PIN), ("Choose it yourself?", "y"))
    dialogue(child, ("New PUK", OWN_PUK), ("Type it again", OWN_PUK), ("own pairing key?", ""), ("Initialize", "y"))


RESTORE = ("setup", "--name", "", "--email", "")


def test_from_words_on_paper(card: Card) -> None:
    """A wrong number of words, a word of no list, two words that changed places, four letters each."""
    words = "legal winner thank year wave sausage worth useful legal winner thank yellow"
    with terminal(card.process, *RESTORE) as child:
        opening(child)
        dialogue(child, ("Your choice", "restore"), ("How many words", "11"))
        child.expect_exact("Count the words on your paper")
        dialogue(child, ("How many words", "12"), ("Word 1: ", "lega winn than yeah"))
        child.expect_exact("Word 4 is not in the list")
        # Three lines in a row: the words before them are kept.
        dialogue(
            child, ("Word 1: ", "lega winn"), *[("Word 3: ", "qwertz")] * 3, ("What now (again/back/leave)", "again")
        )
        dialogue(child, ("Word 3: ", "than " + short(words).split()[3] + "x"))
        dialogue(child, ("Word 3: ", "zoo " * 11))
        child.expect_exact("These are more than 12 words: none of them is used")
        mixed = short(words).split()
        mixed[3], mixed[4] = mixed[4], mixed[3]
        dialogue(child, ("Word 1: ", " ".join(mixed)))
        child.expect_exact("a word is wrong or in the wrong place")
        dialogue(child, ("Which one do you want to type again", "13"))
        child.expect_exact("Type the number of a word")
        dialogue(child, ("Which one do you want to type again", "show"))
        child.expect_exact("Compared?")
        assert words_shown(child)[:5] == ["legal", "winner", "thank", "wave", "year"]
        child.sendline("")
        dialogue(child, ("Which one do you want to type again", "4"), ("Word 4: ", "yea"))
        child.expect_exact("not in the list. The word was not changed")
        dialogue(child, ("Which one do you want to type again", "4"), ("Word 4: ", "year"))
        dialogue(child, ("Which one do you want to type again", "5"), ("Word 5: ", "wave"))
        # What was completed is shown whole, on a screen that is gone afterwards.
        child.expect_exact("Compared?")
        assert words_shown(child) == words.split()
        assert child.before.rpartition("\x1b[?1049h")[2]
        child.sendline("")
        dialogue(child, ("Are these the words on your paper?", "y"), ("Passphrase", "a"), ("Type it again", "b"))
        child.expect_exact("The two do not match.")
        dialogue(child, ("Passphrase", ""))
        child.expect_exact("The card is ready")
        assert ended(child) == 0
        text = re.sub(r"\x1b\[\?1049h.*?\x1b\[\?1049l", "", shown(child), flags=re.S)
        assert not re.search("sausage|winner|sausa|winn", text)
    assert card.seed == bip39.mnemonic_to_seed(words)


def test_going_back_from_the_words(card: Card) -> None:
    """To the choice before; the card keeps its PIN and PUK."""
    with terminal(card.process, *RESTORE, "--seed", "restore") as child:
        opening(child)
        dialogue(child, ("How many words", "12"), ("Word 1: ", "zoo " * 12))
        dialogue(child, ("Which one do you want to type again (1 to 12, or show, all, back, leave)", "back"))
        dialogue(
            child, ("Your choice", "restore"), ("How many words", "12"), ("Word 1: ", MNEMONIC), ("Passphrase", "")
        )
        child.expect_exact("The card is ready")
        assert ended(child) == 0
    assert card.seed == bip39.mnemonic_to_seed(MNEMONIC)


def test_leaving_words_that_are_none(card: Card) -> None:
    with terminal(card.process, *RESTORE, "--seed", "restore") as child:
        opening(child)
        dialogue(child, ("How many words", "12"), ("Word 1: ", "zoo " * 12))
        dialogue(child, ("Which one do you want to type again", "leave"))
        child.expect_exact("is initialized and has no seed: its PIN and PUK are those you chose")
        assert ended(child) == 5
    assert not card.seed


# From papers with shares


def test_from_shares_on_paper(card: Card) -> None:
    """A slip in a word, the same share twice, one of another backup, a passphrase that SLIP39 does not know."""
    one, other = TWO_OF_THREE
    with terminal(card.process, *RESTORE) as child:
        opening(child)
        dialogue(child, ("Your choice", "shares"), ("How many words has each share", "20"))
        slip = one.split()
        slip[6] = "academic"
        dialogue(child, ("Share 1, Word 1: ", " ".join(slip)))
        child.expect_exact("The checksum is wrong")
        dialogue(child, ("Which one do you want to type again", "7"), ("Share 1, Word 7: ", one.split()[6]))
        child.expect_exact("Share 1 was taken. Missing: 1 more share.")
        dialogue(child, ("Share 2, Word 1: ", one))
        child.expect_exact("You typed this share before")
        dialogue(child, ("What now", "next"), ("Share 2, Word 1: ", OTHERS[0]))
        child.expect_exact("belongs to a different backup")
        dialogue(child, ("What now (next/first/back/leave)", "next"), ("Share 2, Word 1: ", short(other)))
        child.expect_exact("Compared?")
        assert words_shown(child) == other.split()
        child.sendline("")
        dialogue(child, ("Are these the words on your paper?", "y"))
        child.expect_exact("Share 2 was taken. That is enough.")
        dialogue(child, ("Passphrase", "TRÉZOR"))
        child.expect_exact("A SLIP39 passphrase can only have unaccented letters, digits, spaces, and ASCII symbols")
        dialogue(child, ("Passphrase", "TREZOR"), ("Type it again", "TREZOR"))
        child.expect_exact("match your shares")
        child.expect_exact("The card is ready")
        assert ended(child) == 0
        text = re.sub(r"\x1b\[\?1049h.*?\x1b\[\?1049l", "", shown(child), flags=re.S)
        assert not any(re.search(rf"\b{word}\b", text) for word in {*one.split(), *other.split()} - {"group"})
    assert card.seed.hex() == SECRET
    # The same shares are the backup that is checked.
    with terminal(card.process, "backup", "check") as child:
        dialogue(child, ("PIN of card", OWN_PIN), ("How many words", "20"), ("Share 1, Word 1: ", other))
        dialogue(child, ("Share 2, Word 1: ", one), ("Passphrase", "TREZOR"), ("Type it again", "TREZOR"))
        child.expect_exact("hold the same wallet")
        assert ended(child) == 0


def test_the_first_share_was_the_wrong_one(card: Card) -> None:
    with terminal(card.process, *RESTORE, "--seed", "shares") as child:
        opening(child)
        dialogue(child, ("How many words has each share", "20"), ("Share 1, Word 1: ", OTHERS[0]))
        dialogue(child, ("Share 2, Word 1: ", TWO_OF_THREE[0]), ("What now", "first"))
        dialogue(child, ("Share 1, Word 1: ", TWO_OF_THREE[0]), ("Share 2, Word 1: ", TWO_OF_THREE[1]))
        dialogue(child, ("Passphrase", "TREZOR"), ("Type it again", "TREZOR"))
        child.expect_exact("The card is ready")
        assert ended(child) == 0
    assert card.seed.hex() == SECRET


def test_shares_that_were_not_made_together(card: Card) -> None:
    """The standard's vector 13: each is right by itself, the digest is not. None is used; nothing is on the card."""
    with terminal(card.process, *RESTORE, "--seed", "shares") as child:
        opening(child)
        dialogue(child, ("How many words has each share", "20"))
        for number, share in enumerate(SHARES[12][1], 1):
            dialogue(child, (f"Share {number}, Word 1: ", share))
        child.expect_exact("These shares were not made together")
        dialogue(child, ("What now", "leave"))
        child.expect_exact("has no seed")
        assert ended(child) == 1
    assert not card.seed
