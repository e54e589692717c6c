"""What is told of a set-up is what the card holds: against words, against a man in the middle, after lost answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pexpect
import pytest

from cryptnox_core.wire import Ins
from hwilib_cryptnox.signer.mnemonic import seed
from hwilib_cryptnox.storage.state import State
from tests.ctl.program import PIN, PUK, answer, dialogue, ended, run, shown, terminal
from tests.support.derived import Derived
from tests.support.emulator import MNEMONIC, EmulatorProcess
from tests.support.middle import Ask, FirstBlock, LostAnswer, Middle

NEW_PIN, NEW_PUK = "135790", "own-puk-1234"
OPENING = (
    ("New PIN", NEW_PIN),
    ("Type it again", NEW_PIN),
    ("Choose it yourself?", "y"),
    ("New PUK", NEW_PUK),
    ("Type it again", NEW_PUK),
    ("own pairing key?", "n"),
)
BEGUN = (*OPENING, ("Initialize the card now?", "y"))
RESTORED = (("How many words", "12"), ("Word 1", MNEMONIC), ("Passphrase: ", ""))
SETUP = ("setup", "--name", "", "--email", "")
RESTORE = (*SETUP, "--seed", "restore")


class Card:
    """An emulated card whose memory the test looks into."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._state = folder / "card"
        self.process = EmulatorProcess("--state", str(self._state), *options)

    def __enter__(self) -> Card:
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def memory(self) -> dict[str, Any]:
        memory: dict[str, Any] = json.loads(self._state.read_text())
        return memory

    @property
    def seed(self) -> bytes:
        return bytes.fromhex(self.memory()["seed"])


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    with Card(tmp_path) as made:
        yield made


def words_shown(child: pexpect.spawn) -> list[str]:
    """The words on the screen that was just shown, in their order."""
    found = re.findall(r"(\d+)\. ([a-z]+)", child.before)
    return [word for _, word in sorted((int(number), word) for number, word in found)]


def new_words(child: pexpect.spawn, until: str) -> list[str]:
    """Answers all questions about new words up to this one, which stays open."""
    for question, reply in (("Your choice", "new"), ("How many words", "12")):
        child.expect_exact(question)
        if question == until:
            return []
        child.sendline(reply)
    child.expect_exact("Written down?")
    words = words_shown(child)
    if until == "Written down?":
        return words
    child.sendline("")
    for number, word in enumerate(words, 1):
        child.expect_exact(f"Word {number} of 12")
        if until == f"Word {number} of 12":
            return words
        child.sendline(word[:4])
    child.expect_exact(until)
    return words


# Somebody in the middle


def test_a_seed_changed_on_the_way_is_found_out(card: Card) -> None:
    """The card says 9000, and holds another seed than the words'. Success is not told."""
    with Middle(card.process, FirstBlock(Ins.LOAD_KEY)) as middle, terminal(middle, *RESTORE) as child:
        dialogue(child, *BEGUN, *RESTORED)
        child.expect_exact("something changed its seed on the way")
        child.expect_exact("put no money on it")
        child.expect_exact(f"cryptnoxctl reset --card {card.process.serial}")
        assert ended(child) == 1
        assert "The card is ready" not in shown(child) and "bc1q" not in shown(child)
    assert card.seed not in (b"", seed(MNEMONIC))


class InitIv:
    """XORs plain bytes of INIT's first block by its IV: with an empty name they are PIN and PUK."""

    def __init__(self, at: int, mask: int) -> None:
        self._at, self._mask = at, mask

    def __call__(self, apdu: bytes, ask: Ask) -> bytes:
        if apdu[1] != Ins.INIT:
            return ask(apdu)
        changed = bytearray(apdu)
        changed[5 + 66 + self._at] ^= self._mask
        return ask(bytes(changed))


@pytest.mark.parametrize(
    ("at", "what", "remedy"),
    [(2, "a different PIN than the one you chose", "reset"), (11, "a different PUK than", "do not use")],
)
def test_a_pin_or_puk_changed_on_the_way_is_found_out(card: Card, at: int, what: str, remedy: str) -> None:
    with Middle(card.process, InitIv(at, 1)) as middle, terminal(middle, *RESTORE) as child:
        dialogue(child, *BEGUN)
        child.expect_exact(what)
        child.expect_exact("keep the PIN and the PUK you chose, which were not tested yet")
        child.expect_exact(remedy)
        assert ended(child) == 1
        assert "How many words" not in shown(child), "no words are given to it"
    assert card.seed == b""
    assert card.process.stats()["pin_tries"] == (at == 2)


def test_export_that_was_not_switched_on_is_found_out(card: Card) -> None:
    """The first byte of SET PUB EXPORT is the switch."""
    with Middle(card.process, FirstBlock(Ins.SET_PUB_EXPORT, 9)) as middle, terminal(middle, *RESTORE) as child:
        dialogue(child, *BEGUN, *RESTORED)
        child.expect_exact("holds the wallet with the fingerprint 73c5da0a, which was compared")
        assert ended(child) != 0
    assert not card.memory()["xpub_export"]


@pytest.mark.parametrize("ins", [Ins.DERIVE_KEY, Ins.GET_PUBLIC_KEY])
@pytest.mark.parametrize("words", [("adopt",), ("sheet",)], ids=" ".join)
def test_an_address_of_another_path_is_not_given_out(tmp_path: Path, words: tuple[str, ...], ins: Ins) -> None:
    """Every command that may hold more than a block of a path is changed: what is said is right, or nothing is."""
    with Card(tmp_path, "--mnemonic", MNEMONIC, "--xpub-export") as card:
        with Middle(card.process, FirstBlock(ins, 99, longer=32)) as middle:
            done = run(middle, *words)
        assert set(re.findall("bc1q[a-z0-9]+", done.stdout)) <= set(Derived.of_words(MNEMONIC).addresses("p2wpkh", 5))


# Lost answers, and a card that does not come back


@pytest.mark.parametrize("how", ["restore", "card"])
@pytest.mark.parametrize("ins", [Ins.INIT, Ins.LOAD_KEY])
def test_what_is_not_known_is_told_so_and_setup_or_adopt_goes_on(card: Card, how: str, ins: Ins) -> None:
    serial = card.process.serial
    lost = LostAnswer(Ins.GENERATE_KEY if how == "card" and ins is Ins.LOAD_KEY else ins)
    words = (*SETUP, "--seed", how)
    rest = RESTORED if how == "restore" else (('Type "no backup"', "no backup"),)
    with Middle(card.process, lost) as middle:
        lost.middle = middle
        with terminal(middle, *words, CRYPTNOX_REINSERT_WAIT="1", CRYPTNOX_WAIT="0.3") as child:
            dialogue(child, *BEGUN, *(rest if ins is Ins.LOAD_KEY else ()))
            child.expect_exact("The card does not answer. Put it back")
            child.expect_exact(
                f"whether the card {serial} is initialized now is not known"
                if ins is Ins.INIT
                else f"the card {serial} is initialized; whether it has its seed now is not known"
            )
            assert ended(child) == 3
            said = shown(child)
            assert not re.search("Canceled|nothing was changed|repeat|Interrupted", said)
            assert ("keep the PIN and the PUK you chose" in said) == (ins is Ins.INIT)
            assert ("keep the words" in said) == (ins is Ins.LOAD_KEY)
        middle.gone = False
        if ins is Ins.INIT:
            with terminal(card.process, *words) as child:
                dialogue(child, ("PUK: ", NEW_PUK), ("PIN of card", NEW_PIN), *rest)
                child.expect_exact("The card is ready")
                assert ended(child) == 0
        else:
            with terminal(card.process, "setup") as child:
                child.expect_exact("There is already a wallet on this card")
                assert ended(child) == 1
            data = answer(card.process, "adopt", pin=NEW_PIN)
            assert (data["fingerprint"] == "73c5da0a") == (how == "restore")


@pytest.mark.parametrize("ins", [Ins.INIT, Ins.LOAD_KEY])
def test_a_command_that_never_reached_the_card_is_told_so(card: Card, ins: Ins) -> None:
    """The relay drops the command, and is reached again: SELECT shows that nothing happened. It goes on by itself."""
    dropped: list[int] = []

    def drop(apdu: bytes, ask: Ask) -> bytes | None:
        if apdu[1] == ins and not dropped:
            dropped.append(apdu[1])
            return None
        return ask(apdu)

    with Middle(card.process, drop) as middle, terminal(middle, *RESTORE) as child:
        dialogue(child, *BEGUN, *RESTORED)
        child.expect_exact("The card is ready")
        assert ended(child) == 0
    assert dropped and card.process.stats()["by_ins"][f"{ins:02X}"] == 1


def test_a_card_that_leaves_before_init_is_untouched(card: Card) -> None:
    patience = {"CRYPTNOX_REINSERT_WAIT": "0", "CRYPTNOX_WAIT": "0.3"}
    with (
        Middle(card.process, lambda apdu, ask: None if apdu[1] == Ins.INIT else ask(apdu)) as middle,
        terminal(middle, *RESTORE, **patience) as child,
    ):
        dialogue(child, *BEGUN)
        child.expect_exact("; nothing was changed")
        assert ended(child) == 3
    assert not card.memory()["initialized"]


@pytest.mark.parametrize("at", ["Your choice", "How many words", "Written down?", "Word 3 of 12", "Press Enter"])
def test_ctrl_c_at_every_question_is_told_as_it_is(card: Card, at: str) -> None:
    with terminal(card.process, *SETUP) as child:
        dialogue(child, *BEGUN)
        new_words(child, at)
        child.sendintr()
        child.expect_exact("Interrupted; ")
        assert ended(child) == 1
        seeded = at == "Press Enter"
        assert ("is initialized and has no seed: its PIN and PUK are those you chose" in shown(child)) != seeded
        assert ("holds the wallet with the fingerprint" in shown(child)) == seeded
        assert "nothing was changed" not in shown(child) and "Canceled" not in shown(child)
    assert bool(card.seed) == seeded
    assert run(card.process, "pin", "verify", "--stdinpass", stdin=f"{NEW_PIN}\n").returncode == 0


@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
@pytest.mark.parametrize("ins", [Ins.INIT, Ins.LOAD_KEY, Ins.SET_PUB_EXPORT])
def test_ctrl_c_while_the_card_works_is_told_as_it_is(card: Card, ins: Ins, done: bool) -> None:
    """Ctrl-C meets the command itself: the card has done it, or it never got it."""
    children: list[pexpect.spawn] = []

    def interrupt(apdu: bytes, ask: Ask) -> bytes | None:
        if apdu[1] != ins or not children:
            return ask(apdu)
        answered = ask(apdu) if done else None
        children.pop().kill(signal.SIGINT)
        time.sleep(0.3)
        return answered

    with Middle(card.process, interrupt) as middle, terminal(middle, *RESTORE) as child:
        children.append(child)
        dialogue(child, *BEGUN, *(() if ins is Ins.INIT else RESTORED))
        child.expect_exact("Interrupted; ")
        assert ended(child) == 1
        said = shown(child)
    memory = card.memory()
    assert memory["initialized"] == (done or ins is not Ins.INIT)
    assert bool(memory["seed"]) == (ins is Ins.SET_PUB_EXPORT or (ins is Ins.LOAD_KEY and done))
    assert ("nothing was changed" in said) == (not memory["initialized"])
    assert ("has no seed" in said) == (memory["initialized"] and not memory["seed"])
    assert ("put no money on it" in said) == (ins is Ins.LOAD_KEY and done)
    assert ("holds the wallet with the fingerprint 73c5da0a" in said) == (ins is Ins.SET_PUB_EXPORT)
    assert "not known" not in said and "Canceled" not in said


def test_ctrl_c_before_init_changes_nothing(card: Card) -> None:
    for number in range(len(OPENING) + 1):
        with terminal(card.process, *SETUP) as child:
            dialogue(child, *OPENING[:number])
            child.expect_exact([*BEGUN][number][0])
            child.sendintr()
            child.expect_exact("Interrupted; nothing was changed")
            assert ended(child) == 1
    assert card.process.stats()["by_ins"].get("FE", 0) == 0


# What can fail is tried before


class Forger:
    """The last byte of the certificate's signature is another one."""

    def __call__(self, apdu: bytes, ask: Ask) -> bytes:
        response = bytearray(ask(apdu))
        if apdu[1] == Ins.GET_MANUFACTURER_CERTIFICATE and apdu[3] == 1:
            response[-3] ^= 1
        return bytes(response)


def test_nothing_is_done_where_the_state_cannot_be_written(card: Card, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("a file in the way")
    for source in ("restore", "card"):
        with terminal(card.process, *SETUP, "--seed", source, XDG_STATE_HOME=str(state)) as child:
            child.expect_exact("Not a directory")
            assert ended(child) == 1
            assert "New PIN" not in shown(child)
    assert card.process.stats()["by_ins"].get("FE", 0) == 0


def test_a_card_that_is_not_admitted_gets_no_secret(card: Card, tmp_path: Path) -> None:
    """A forged certificate, where a genuine one is required; nothing is even asked for."""
    config = tmp_path / "config" / "hwi-cryptnox"
    config.mkdir(parents=True)
    (config / "config.toml").write_text("require_genuine = true\n")
    with (
        Middle(card.process, Forger()) as middle,
        terminal(middle, *RESTORE, XDG_CONFIG_HOME=str(config.parent)) as child,
    ):
        child.expect_exact("not genuine, but the configuration requires a genuine one")
        assert ended(child) == 3
        assert "New PIN" not in shown(child)
    assert card.process.stats()["by_ins"].get("FE", 0) == 0


def test_a_card_that_nobody_vouches_for_is_told_before_any_secret() -> None:
    with EmulatorProcess("--serial", str(1 << 60), maker="Mallory ") as fake, terminal(fake, *SETUP) as child:
        child.expect_exact("genuine: NOT genuine")
        child.expect_exact("This may be an impostor's card")
        child.expect_exact("New PIN")


def test_another_card_of_a_known_serial_gets_no_secret(card: Card) -> None:
    state = State()
    state.update(card.process.serial, lambda now: replace(now, static_key=bytes(32), fingerprint=b"1234"))
    with terminal(card.process, *RESTORE) as child:
        child.expect_exact("Another card with the serial")
        assert ended(child) == 3
        assert "New PIN" not in shown(child)
    assert card.process.stats()["by_ins"].get("FE", 0) == 0
    assert state.record(card.process.serial).fingerprint == b"1234", "nothing is forgotten by it"


def test_no_seed_goes_on_a_card_whose_puk_is_not_known(tmp_path: Path) -> None:
    with Card(tmp_path, "--pin", PIN, "--puk", "another-puk!") as card:
        with terminal(card.process, *RESTORE) as child:
            dialogue(child, *[("PUK: ", PUK)] * 3, ("What now", "leave"))
            child.expect_exact("no seed is put on a card whose PUK is not known")
            assert ended(child) == 4
            assert "PIN of card" not in shown(child) and "How many words" not in shown(child)
        assert card.seed == b""
        assert (card.process.stats()["pin_tries"], card.process.stats()["puk_tries"]) == (0, 0)
        with terminal(card.process, *RESTORE) as child:
            dialogue(child, ("PUK: ", "another-puk!"), ("PIN of card", PIN), *RESTORED)
            child.expect_exact("The card is ready")
            assert ended(child) == 0


def test_a_card_that_lets_no_puk_be_proved_wants_words(tmp_path: Path) -> None:
    def no_index(apdu: bytes, ask: Ask) -> bytes:
        return b"\x6a\x86" if apdu[1] == Ins.OPEN_SECURE_CHANNEL and apdu[2] == 0xFF else ask(apdu)

    with Card(tmp_path, "--pin", PIN) as card, Middle(card.process, no_index) as middle:
        with terminal(middle, *RESTORE) as child:
            dialogue(child, ("PUK: ", PUK), ('Type "not proved"', "yes"), ('Type "not proved"', ""))
            child.expect_exact("Canceled; the card")
            assert ended(child) == 1
        with terminal(middle, *RESTORE) as child:
            dialogue(child, ("PUK: ", PUK), ('Type "not proved"', "not proved"), ("PIN of card", PIN), *RESTORED)
            child.expect_exact("The card is ready")
            assert ended(child) == 0


def test_a_torn_reset_and_a_set_up_with_other_words(tmp_path: Path) -> None:
    """The seed of before is remembered; that it is another one now is no surprise."""
    with Card(tmp_path, "--seed", bytes(range(64)).hex()) as card:
        serial = card.process.serial
        assert answer(card.process, "adopt")["fingerprint"] != "73c5da0a"
        state = State()
        state.update(serial, lambda now: replace(now, fingerprint=b"1234"))
        card.process.stop()
        path = tmp_path / "card"
        memory = json.loads(path.read_text())
        path.write_text(json.dumps({**memory, "seed": "", "key_source": 0}))
    with EmulatorProcess("--state", str(path)) as again:
        with terminal(again, *RESTORE) as child:
            dialogue(child, ("PUK: ", PUK), ("PIN of card", PIN), *RESTORED)
            child.expect_exact("The card is ready")
            assert ended(child) == 0
        assert state.record(serial).fingerprint != b"1234"
        assert answer(again, "adopt")["fingerprint"] == "73c5da0a"


@pytest.mark.parametrize("number", [1, 2])
def test_an_own_pairing_key_is_kept_when_the_card_is_not_answered(card: Card, number: int) -> None:
    """The SELECT behind INIT fails, once or for good: the key that INIT gave the card still opens it."""
    seen: list[int] = []

    def lose(apdu: bytes, ask: Ask) -> bytes | None:
        if apdu[1] == Ins.INIT:
            seen.append(1)
        elif apdu[1] == Ins.SELECT and seen and (len(seen) == 1 or number == 2):
            seen.append(2)
            return b"\x6f\x00"
        return ask(apdu)

    steps = tuple((question, "y" if "pairing" in question else reply) for question, reply in BEGUN)
    with (
        Middle(card.process, lose) as middle,
        terminal(middle, *SETUP, "--seed", "card", CRYPTNOX_REINSERT_WAIT="0", CRYPTNOX_WAIT="0.3") as child,
    ):
        dialogue(child, *steps)
        if number == 1:
            dialogue(child, ('Type "no backup"', "no backup"))
            child.expect_exact("The card is ready")
        else:
            child.expect_exact("initialized now is not known: keep the PIN and the PUK you chose")
        assert (ended(child) == 0) == (number == 1)
    kept = json.loads((Path(os.environ["XDG_STATE_HOME"]) / "hwi-cryptnox/pairing.json").read_text())
    keys = kept[str(card.process.serial)]
    assert card.memory()["pairing_key"] in ([keys] if isinstance(keys, str) else keys)
    assert run(card.process, "pin", "tries").returncode == 0


# After the card's success


def test_a_state_that_breaks_after_init_hides_no_success(card: Card) -> None:
    """What this computer cannot remember any more is not the card's trouble."""
    folder = Path(os.environ["XDG_STATE_HOME"]) / "hwi-cryptnox"

    def spoil(apdu: bytes, ask: Ask) -> bytes:
        if apdu[1] == Ins.INIT:
            shutil.rmtree(folder)
            folder.write_text("a file in the way")
        return ask(apdu)

    with Middle(card.process, spoil) as middle, terminal(middle, *RESTORE) as child:
        dialogue(child, *BEGUN, *RESTORED)
        child.expect_exact("holds the wallet 73c5da0a")
        child.expect_exact("The card is ready")
        assert ended(child) == 0


def test_a_full_stdout_hides_no_success(card: Card) -> None:
    """It is told on the terminal, before the report."""
    with terminal(card.process, *RESTORE, "--json", stdout=Path("/dev/full")) as child:
        dialogue(child, *BEGUN, *RESTORED)
        child.expect_exact(f"The card {card.process.serial} holds the wallet 73c5da0a")
        child.expect_exact("No space left")
        assert ended(child) == 1
    assert card.memory()["xpub_export"]


def test_a_killed_set_up_is_gone_on_from(card: Card) -> None:
    """After INIT by `setup`, after the seed by `adopt`, which asks for the words before it shows an address."""
    with terminal(card.process, *SETUP) as child:
        dialogue(child, *BEGUN)
        child.expect_exact("Your choice")
        child.kill(signal.SIGKILL)
    with terminal(card.process, *RESTORE) as child:
        dialogue(child, ("PUK: ", NEW_PUK), ("PIN of card", NEW_PIN))
        dialogue(child, ("How many words", "12"), ("Word 1", MNEMONIC), ("Passphrase: ", ""))
        child.expect_exact("The card is ready")
        assert ended(child) == 0
    with terminal(card.process, "adopt") as child:
        dialogue(child, ("PIN of card", NEW_PIN), ("Press Enter", ""))
        assert "bc1q" not in shown(child)
        dialogue(child, *RESTORED)
        child.expect_exact("Next, connect a wallet")
        assert ended(child) == 0


def test_adopt_tells_what_it_changed_before_it_was_stopped(tmp_path: Path) -> None:
    """The pairing key was put back to the common one: that is not "nothing"."""
    with Card(tmp_path, "--mnemonic", MNEMONIC) as card:
        assert run(card.process, "pairing", "change", "--stdinpuk", stdin=PUK).returncode == 0
        with terminal(card.process, "adopt", XDG_STATE_HOME=str(tmp_path / "other")) as child:
            dialogue(child, ("Set the default pairing key again now?", "y"), ("PUK: ", PUK))
            child.expect_exact("PIN of card")
            child.sendintr()
            child.expect_exact("has the default pairing key again")
            child.expect_exact("Interrupted")
            assert ended(child) == 1
            assert "nothing was changed" not in shown(child)
