"""setup, restore and wipe, typed on a pseudo-terminal; stdin and stdout stay free."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from embit import bip32, bip39

from cryptnox_core.errors import UsageError
from cryptnox_core.wire import Ins
from hwilib_cryptnox.signer import mnemonic
from hwilib_cryptnox.signer.mnemonic import WORD_COUNTS, checked, entropy_length, from_entropy, mixed_entropy, seed
from tests.hwi.conftest import Program, run_process
from tests.support.derived import Derived
from tests.support.emulator import MNEMONIC, PIN, PUK, EmulatorProcess
from tests.support.middle import FirstBlock, LostAnswer, Middle
from tests.support.terminal import spawn

NOTHING = Path(os.devnull)
SLIP39 = Path(__file__).parents[1] / "signer/vectors/slip39.json"
OWN_PIN, OWN_PUK = "31337", "123456789ABC"


class Typist:
    """The program on a terminal of its own, its answer in a file."""

    def __init__(
        self, folder: Path, card: EmulatorProcess | Middle | None, *arguments: str, stdin: Path | None = NOTHING
    ) -> None:
        self._out = folder / "stdout"
        select = () if card is None else ("-t", "cryptnox", "-d", card.path)
        command = [str(Path(sys.executable).with_name("hwi-cryptnox")), *select, *arguments]
        self.shown = io.StringIO()
        self.child = spawn(command, stdin=stdin, stdout=self._out, timeout=40, encoding="utf-8")
        self.child.logfile_read = self.shown

    def types(self, *pairs: tuple[str, str]) -> None:
        for prompt, answer in pairs:
            self.child.expect(prompt)
            self.child.sendline(answer)

    def words(self) -> list[str]:
        """The words on the screen that was just shown, in their order."""
        found = re.findall(r"(\d+)\. ([a-z]+)", self.child.before or "")
        return [word for _, word in sorted((int(number), word) for number, word in found)]

    def answer(self) -> Any:
        self.child.expect(pexpect.EOF)
        self.child.close()
        lines = self._out.read_text().splitlines()
        assert len(lines) == 1
        return json.loads(lines[0])


@pytest.fixture
def blank() -> Iterator[EmulatorProcess]:
    """A card as from the factory."""
    with EmulatorProcess() as card:
        yield card


def test_setup_with_new_words(blank: EmulatorProcess, tmp_path: Path, hwi: Program) -> None:
    """The words on the screen are the wallet on the card; PIN and PUK work; extended keys can be read."""
    typist = Typist(tmp_path, blank, "-i", "setup", "--label", "Anna")
    typist.types((r"Seed \(words/card\)", "words"), (r"How many words", "12"))
    typist.types(("New PIN", OWN_PIN), ("Type it again", OWN_PIN), ("Choose it yourself", "y"))
    typist.types(("New PUK", OWN_PUK), ("Type it again", OWN_PUK), ("Initialize the card now\\?", "y"))
    typist.child.expect("Written down")
    words = typist.words()
    assert len(words) == 12
    typist.types(("", ""), ("Word 1 of 12", "wrong"))
    typist.child.expect("That is not word 1")
    typist.types(*((rf"Word {number} of 12", word[:4]) for number, word in enumerate(words, 1)))
    typist.child.expect("Fingerprint of the wallet: ([0-9a-f]{8})")
    assert typist.child.match
    fingerprint = typist.child.match[1]
    typist.types(("Press Enter to check the backup now", ""), ("Word 1", " ".join(words)), ("Passphrase", ""))
    typist.child.expect("the words on your paper match this wallet")
    assert typist.answer() == {"success": True}
    root = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(" ".join(words)))
    assert root.my_fingerprint.hex() == fingerprint
    answer = hwi.on(blank, "getmasterxpub", pin=OWN_PIN)
    assert answer == {"xpub": root.derive("m/84h/0h/0h").to_public().to_string()}
    assert hwi.on(blank, "-i", "setup")["code"] == -10 == hwi.on(blank, "-i", "restore")["code"]


def test_setup_on_the_card(blank: EmulatorProcess, tmp_path: Path, hwi: Program) -> None:
    """Never silently: it says that there is no backup, and asks again. The PUK is made and shown once."""
    typist = Typist(tmp_path, blank, "-i", "-p", OWN_PIN, "setup")
    typist.types((r"Seed \(words/card\)", "card"), ("NO backup", ""))
    typist.types(*[(r"Seed \(words/card\)", "?")] * 3, ("What now", "leave"))
    assert typist.answer()["code"] == -14
    assert hwi.on(blank, "getmasterxpub")["code"] == -18
    typist = Typist(tmp_path, blank, "-i", "-p", OWN_PIN, "setup")
    typist.types((r"Seed \(words/card\)", "card"), ('Type "no backup"', "no backup"), ("Type the PIN again", "1234"))
    typist.types(("Type the PIN again", OWN_PIN), ("Choose it yourself", "n"))
    typist.child.expect(r"    (\d{12})")
    assert typist.child.match
    puk = typist.child.match[1]
    typist.types(("Written down", ""), ("Type it back", "000000000000"), ("Show it again", "y"))
    typist.types(("Written down", ""), ("Type it back", puk), ("Initialize the card now\\?", "y"))
    assert typist.answer() == {"success": True}
    assert "xpub" in hwi.on(blank, "getmasterxpub", pin=OWN_PIN)
    typist = Typist(tmp_path, blank, "wipe")
    typist.types((f'Type "{blank.serial}"', str(blank.serial)), ("PUK: ", puk))
    assert typist.answer() == {"success": True}
    assert hwi.on(blank, "getmasterxpub")["code"] == -18


def test_leaving_changes_nothing(blank: EmulatorProcess, tmp_path: Path, hwi: Program) -> None:
    typist = Typist(tmp_path, blank, "-i", "setup")
    typist.types(
        (r"Seed \(words/card\)", "words"), (r"How many words", "24"), ("New PIN", OWN_PIN), ("Type it again", OWN_PIN)
    )
    typist.types(("Choose it yourself", "y"), ("New PUK", OWN_PUK), ("Type it again", OWN_PUK))
    typist.types(("Initialize the card now\\?", "n"), (r"Change \(", "leave"))
    assert typist.answer()["code"] == -14
    assert hwi.on(blank, "getmasterxpub")["error"] == "Not initialized"


def test_restore(blank: EmulatorProcess, tmp_path: Path, hwi: Program) -> None:
    """With a passphrase; a line that is no recovery words is asked for again. Nothing typed is echoed."""
    typist = Typist(tmp_path, blank, "-i", "restore", "--word_count", "12")
    wrong = MNEMONIC.replace("about", "abandon")
    typist.types(("Type your 12 recovery words", ""), ("Word 1: ", wrong))
    typist.child.expect("not valid recovery words")
    typist.types(("Which one do you want to type again", "all"), ("Word 1: ", MNEMONIC.upper()))
    typist.types(
        (r"Passphrase: ", "zürich"), ("Type it again", "zürich"), ("New PIN", OWN_PIN), (("Type it again"), OWN_PIN)
    )
    typist.types(("Choose it yourself", "y"), ("New PUK", OWN_PUK), ("Type it again", OWN_PUK))
    typist.types(("Initialize the card now\\?", "y"))
    assert typist.answer() == {"success": True}
    assert not any(secret in typist.shown.getvalue() for secret in ("ABANDON", "abandon", "rich", OWN_PIN, OWN_PUK))
    root = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(MNEMONIC, "zu\u0308rich"))  # BIP39: NFKD
    assert hwi.on(blank, "getmasterxpub", pin=OWN_PIN) == {"xpub": root.derive("m/84h/0h/0h").to_public().to_string()}


def test_restore_from_shares(blank: EmulatorProcess, tmp_path: Path, hwi: Program) -> None:
    """SLIP39: the secret is the seed itself. Nothing typed is echoed."""
    _, shares, secret, _ = json.loads(SLIP39.read_text())[3]
    typist = Typist(tmp_path, blank, "-i", "restore", "-w", "20")
    typist.types(("Share 1, Word 1: ", shares[1]), ("Share 2, Word 1: ", shares[1]))
    typist.child.expect("You typed this share before")
    typist.types(("What now", "next"), ("Share 2, Word 1: ", shares[0]))
    typist.types(
        (r"Passphrase: ", "TREZOR"), ("Type it again", "TREZOR"), ("New PIN", OWN_PIN), (("Type it again"), OWN_PIN)
    )
    typist.types(
        ("Choose it yourself", "y"), ("New PUK", OWN_PUK), ("Type it again", OWN_PUK), (r"Initialize .* now\?", "y")
    )
    assert typist.answer() == {"success": True}
    assert not any(word in typist.shown.getvalue() for word in (*shares[0].split()[4:], "TREZOR"))
    root = bip32.HDKey.from_seed(bytes.fromhex(secret))
    assert hwi.on(blank, "getmasterxpub", pin=OWN_PIN) == {"xpub": root.derive("m/84h/0h/0h").to_public().to_string()}


def test_restore_on_an_initialised_card(tmp_path: Path, hwi: Program) -> None:
    """A torn reset leaves a card with PIN and PUK and without seed."""
    with EmulatorProcess("--pin", PIN) as card:
        typist = Typist(tmp_path, card, "-i", "restore", "-w", "12")
        typist.types(
            ("Word 1", MNEMONIC), (r"Passphrase: ", ""), ("PUK: ", "111111111111"), ("PUK: ", PUK), ("PIN: ", PIN)
        )
        typist.types((r"Put the seed on the card now\?", "y"))
        assert typist.answer() == {"success": True}
        assert hwi.on(card, "getmasterxpub")["xpub"].startswith("xpub6Cat")
        assert (card.stats()["pin_tries"], card.stats()["puk_tries"]) == (0, 0)


def test_without_a_terminal(blank: EmulatorProcess) -> None:
    """setsid: no controlling terminal. Nothing is asked on stdin, nothing is changed."""
    with EmulatorProcess("--mnemonic", MNEMONIC) as card:
        for arguments, target in ((["-i", "setup"], blank), (["-i", "restore"], blank), (["wipe"], card)):
            run = run_process("-t", "cryptnox", "-d", target.path, *arguments, stdin="y\n" * 20)
            answer = json.loads(run.stdout)
            assert answer["code"] == -9 and "terminal" in answer["error"], answer
        assert card.stats()["by_ins"].get("FD", 0) == 0 == blank.stats()["by_ins"].get("FE", 0)


def test_wipe_refusals(tmp_path: Path, hwi: Program, blank: EmulatorProcess) -> None:
    assert hwi.on(blank, "wipe")["code"] == -18
    with EmulatorProcess("--mnemonic", MNEMONIC) as card:
        typist = Typist(tmp_path, card, "wipe")
        typist.types((f'Type "{card.serial}"', "yes"), (f'Type "{card.serial}"', ""))
        assert typist.answer()["code"] == -14
        typist = Typist(tmp_path, card, "wipe")
        typist.types((f'Type "{card.serial}"', str(card.serial)), ("PUK: ", "999999999999"))
        assert typist.answer()["code"] == -7
        assert "signature" in hwi.on(card, "signmessage", "text", "m/0h")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["-i", "restore", "-w", "13"], -7), (["-i", "setup", "-b", "secret"], -7), (["setup"], -9)],
)
def test_arguments(blank: EmulatorProcess, hwi: Program, arguments: list[str], code: int) -> None:
    assert hwi.on(blank, *arguments)["code"] == code


OPENING = (
    ("New PIN", OWN_PIN),
    ("Type it again", OWN_PIN),
    ("Choose it yourself", "y"),
    ("New PUK", OWN_PUK),
    ("Type it again", OWN_PUK),
    ("Initialize the card now\\?", "y"),
)
WORDS = (("Word 1: ", MNEMONIC), ("Passphrase: ", ""))


def test_a_pin_typed_once_does_not_become_the_cards(blank: EmulatorProcess, tmp_path: Path) -> None:
    """--stdinpass on a terminal asks once, hidden; the dialogue wants it again."""
    typist = Typist(tmp_path, blank, "--stdinpass", "-i", "setup", stdin=None)
    typist.types(
        ("Enter your device password", OWN_PIN), (r"Seed \(words/card\)", "card"), ('Type "no backup"', "no backup")
    )
    typist.types(*[("Type the PIN again", "31338")] * 3, ("What now", "leave"))
    assert typist.answer()["code"] == -14
    assert blank.stats()["by_ins"].get("FE", 0) == 0


def test_24_words_fit_a_usual_terminal(blank: EmulatorProcess, tmp_path: Path) -> None:
    """All are on the screen together, and all are typed back."""
    typist = Typist(tmp_path, blank, "-i", "setup")
    typist.child.setwinsize(24, 80)
    typist.types((r"Seed \(words/card\)", "words"), (r"How many words", "24"), *OPENING)
    typist.child.expect("Written down")
    words = typist.words()
    page = (typist.child.before or "").rpartition("\x1b[H")[2]
    assert len(words) == 24 and page.count("\n") < 24
    typist.types(("", ""), *((rf"Word {number} of 24", word[:4]) for number, word in enumerate(words, 1)))
    typist.child.expect(f"Fingerprint of the wallet: {Derived.of_words(' '.join(words)).fingerprint}")
    typist.types(("Press Enter to check the backup now", "no check"))
    typist.child.expect("NOT compared")
    assert typist.answer() == {"success": True}


@pytest.mark.parametrize("command", ["setup", "restore -w 12"])
def test_a_seed_changed_on_the_way_is_no_success(blank: EmulatorProcess, tmp_path: Path, command: str) -> None:
    with Middle(blank, FirstBlock(Ins.LOAD_KEY)) as middle:
        typist = Typist(tmp_path, middle, "-i", *command.split())
        if command == "setup":
            typist.types((r"Seed \(words/card\)", "words"), (r"How many words", "12"), *OPENING)
            typist.child.expect("Written down")
            words = typist.words()
            typist.types(("", ""), *((rf"Word {number} of 12", word) for number, word in enumerate(words, 1)))
        else:
            typist.types(*WORDS, *OPENING)
        answer = typist.answer()
    assert answer["code"] == -13 and "something changed its seed on the way" in answer["error"]
    assert "put no money on it" in answer["error"] and "success" not in answer


def test_after_init_it_is_not_told_that_nothing_was_changed(blank: EmulatorProcess, tmp_path: Path) -> None:
    typist = Typist(tmp_path, blank, "-i", "setup")
    typist.types((r"Seed \(words/card\)", "words"), (r"How many words", "12"), *OPENING, ("Written down", ""))
    typist.child.expect("Word 1 of 12")
    typist.child.sendintr()
    answer = typist.answer()
    assert answer["code"] == -14 and f"the card {blank.serial} is initialized and has no seed" in answer["error"]
    assert "nothing was changed" not in answer["error"]


@pytest.mark.parametrize(("ins", "said"), [(Ins.INIT, "keep the PIN and the PUK"), (Ins.LOAD_KEY, "keep the words")])
def test_a_lost_answer_is_told_as_it_is(
    blank: EmulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ins: Ins, said: str
) -> None:
    monkeypatch.setenv("CRYPTNOX_REINSERT_WAIT", "0")
    monkeypatch.setenv("CRYPTNOX_WAIT", "0.3")
    lost = LostAnswer(ins)
    with Middle(blank, lost) as middle:
        lost.middle = middle
        typist = Typist(tmp_path, middle, "-i", "restore", "-w", "12")
        typist.types(*WORDS, *OPENING)
        answer = typist.answer()
    assert answer["code"] in (-3, -15) and "is not known" in answer["error"] and said in answer["error"]


def test_a_fingerprint_names_no_card_without_a_seed(blank: EmulatorProcess, hwi: Program) -> None:
    for command in ("setup", "restore"):
        answer = hwi.on(blank, "--fingerprint", "73c5da0a", "-i", command)
        assert answer["code"] == -7 and "has no fingerprint" in answer["error"]
    assert blank.stats()["by_ins"].get("FE", 0) == 0


@pytest.mark.parametrize("label", ["x" * 21, "a\x1b[2J", os.fsdecode(b"\xff")])
def test_a_label_that_does_not_fit(blank: EmulatorProcess, hwi: Program, label: str) -> None:
    assert hwi.on(blank, "-i", "setup", "--label", label)["code"] == -7


# Recovery words


@pytest.mark.parametrize("count", WORD_COUNTS)
def test_words(count: int) -> None:
    entropy = mixed_entropy(entropy_length(count), b"card", b"host")
    words = from_entropy(entropy)
    assert len(words.split()) == count and bip39.mnemonic_to_bytes(words) == entropy
    assert checked(f"  {words.upper()}\n", count) == words
    assert seed(words, "pass") == bip39.mnemonic_to_seed(words, "pass")


def test_words_that_are_none() -> None:
    """The error repeats no word."""
    for text in (
        "",
        "abandon " * 11,
        MNEMONIC.replace("about", "abandon"),
        MNEMONIC.replace("about", "bitcoinz"),
        "zoo " * 25,
    ):
        with pytest.raises(UsageError) as caught:
            checked(text)
        assert not set(str(caught.value).split()) & (set(text.split()) - {"words"})
    with pytest.raises(UsageError, match="24 recovery words"):
        checked(MNEMONIC, 24)
    with pytest.raises(UsageError):
        entropy_length(13)


def test_passphrases_are_normalised() -> None:
    assert seed(MNEMONIC, "zu\u0308rich") == seed(MNEMONIC, "zürich")


def test_each_source_of_entropy_counts() -> None:
    assert len({mixed_entropy(32, a, b) for a in (b"1", b"2") for b in (b"1", b"2", b"")}) == 6
    assert mnemonic.mixed_entropy(16, b"a") == mnemonic.mixed_entropy(32, b"a")[:16]
