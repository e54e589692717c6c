"""Every command that changes or erases a card or takes a secret, with two cards in two readers: it works on the one
that was named, by each way to name it, and on none where none was."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.ctl.program import PIN, PUK, answer, ended, terminal
from tests.ctl.test_changes import CASES, Case, World, answered
from tests.support.emulator import MNEMONIC, EmulatorProcess
from tests.support.pcsc import ABSENCE, SLOTS, VirtualReaders

pytestmark = pytest.mark.pcsc

OTHER = ("--mnemonic", MNEMONIC, "--serial", str(2**60 + 9))
SECRETS = {"20", "21", "22", "D0", "DA", "FD", "C1", "C3", "C5", "D5", "D7", "FC", "FE"}
"""Instructions that take a secret or change a card."""


def touched(card: EmulatorProcess) -> set[str]:
    """What a card was sent of that."""
    return SECRETS & set(card.stats()["by_ins"])


@contextlib.contextmanager
def two(readers: VirtualReaders, folder: Path, case: Case) -> Iterator[tuple[World, EmulatorProcess, EmulatorProcess]]:
    """The card of the case in the second reader, another one in the first."""
    world = World(folder, case)
    with readers.card(*OTHER, slot=0) as other, readers.card("--state", str(world.state), slot=1) as card:
        yield world, other, card


def some(names: Sequence[str]) -> list[object]:
    """Every third by default, and those that need the PUK and no PIN; `tests/system/life/test_cards.py` has the same
    rules with all commands."""
    chosen = {*names[::3], "reset", "pairing recover", "puk verify"}
    return [pytest.param(name, marks=() if name in chosen else pytest.mark.heavy) for name in names]


@pytest.mark.parametrize("name", some([*CASES]))
def test_the_card_that_was_named(name: str, virtual_readers: VirtualReaders, tmp_path: Path) -> None:
    case = CASES[name]
    with two(virtual_readers, tmp_path, case) as (world, other, card):

        def asked(*select: str) -> tuple[str, int]:
            with terminal(None, *world.words, *select, CRYPTNOX_REINSERT_WAIT="3") as child:
                code = answered(child, card)
                return " ".join("".join(child.seen).split()), code

        for select, code in (
            ((), 2),
            (("--reader", "Virtual PCD"), 3),
            (("--card", "5"), 3),
            (("--card", str(card.serial), "--reader", SLOTS[0]), 3),
            (("--reader", SLOTS[1], "--card", str(other.serial)), 3),
            (("--card", str(card.serial), "--reader", "no such reader"), 3),
        ):
            text, ended = asked(*select)
            assert ended == code and "PUK:" not in text and "PIN of card" not in text, (select, text)
            if not select:
                assert str(card.serial) in text and str(other.serial) in text
        assert not touched(other) and not touched(card)
        assert not case.taken(world.memory())
        ways = {"reset": ("--card", f"cryptnox:{card.serial}"), "puk change": ("--reader", "00 01")}
        text, ended = asked(*ways.get(name, ("--card", str(card.serial))))
        assert ended == 0 and case.done in text, text
        assert case.taken(world.memory()) and not touched(other)


def test_secrets_that_are_only_verified(virtual_readers: VirtualReaders, tmp_path: Path) -> None:
    with two(virtual_readers, tmp_path, CASES["reset"]) as (_, other, card):
        for words, secret in ((("pin", "verify", "--stdinpass"), PIN), (("puk", "verify", "--stdinpuk"), PUK)):
            before = card.stats()["by_ins"]
            answer(None, *words, stdin=secret, pin=None, code=2)
            answer(None, *words, "--card", str(card.serial), "--reader", "0", stdin=secret, pin=None, code=3)
            after = card.stats()["by_ins"]
            assert all(before.get(ins) == after.get(ins) for ins in ("10", "20")), "no channel, no PIN"
            done = answer(None, *words, "--reader", "1", stdin=secret, pin=None, schema=" ".join(words[:2]))
            assert done["serial"] == str(card.serial)
        assert not touched(other) and "10" not in other.stats()["by_ins"]


def test_the_typed_serial_is_of_the_card_in_hand(virtual_readers: VirtualReaders, tmp_path: Path) -> None:
    with two(virtual_readers, tmp_path, CASES["reset"]) as (world, other, card):
        words = ("reset", "--serial", str(other.serial), "--card", str(card.serial), "--stdinpuk")
        assert "Nothing was erased" in answer(None, *words, stdin=PUK, code=1)["error"]
        assert not touched(other) | touched(card) and world.memory()["initialized"]


@pytest.mark.parametrize("name", some([*CASES, "pin verify", "puk verify", "user-key test"]))
def test_what_the_configuration_does_not_admit(name: str, virtual_readers: VirtualReaders, tmp_path: Path) -> None:
    """An emulated card in a reader is not genuine: nothing is asked for, nothing secret is sent."""
    folder = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("require_genuine = true\n")
    case = CASES.get(name)
    world = World(tmp_path, case or CASES["reset"])
    words = world.words if case else name.split()
    if name == "user-key test":
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        key = ec.derive_private_key(5, ec.SECP256R1())
        (tmp_path / "private").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        words = [*words, "ec", str(tmp_path / "private")]
    with virtual_readers.card("--state", str(world.state)) as card:
        with terminal(None, *words) as child:
            code = answered(child, card)
            text = "".join(child.seen)
        assert code == 3 and "requires a genuine one" in " ".join(text.split()), text
        assert "PUK:" not in text and "PIN of card" not in text
        assert not touched(card) - {"20"} and card.stats()["pin_tries"] == 0
        assert "D6" not in card.stats()["by_ins"]


def test_a_card_that_was_taken_out_and_another_put_in(virtual_readers: VirtualReaders, tmp_path: Path) -> None:
    """The answer is lost, and another card is in its place: it is not asked, and nothing is told of it."""
    case = CASES["xpub on"]
    world = World(tmp_path, case)
    with virtual_readers.card("--state", str(world.state), "--fault", "silence@C5:1", slot=1) as card:
        words = ("xpub", "on", "--reader", SLOTS[1])
        with terminal(None, *words, CRYPTNOX_REINSERT_WAIT="30") as child:
            child.expect_exact("PUK: ")
            child.sendline(PUK)
            while "C5" not in card.stats()["by_ins"]:
                time.sleep(0.1)
            card.stop()
            child.expect_exact("Put it back")
            time.sleep(ABSENCE)
            with virtual_readers.card(*OTHER, slot=1) as other:
                child.expect_exact(case.either)
                assert ended(child) in (1, 3)
                assert not touched(other)
