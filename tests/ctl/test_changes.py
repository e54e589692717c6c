"""Commands that cannot be taken back, and faults in the middle of them: what is told is compared with what the emulated
card holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.ctl.program import PIN, PUK, SEED, shown, terminal
from tests.support.emulator import EmulatorProcess

NEW_PIN, NEW_PUK = "135790", "own-puk-1234"
OWN_KEY = bytes(range(32))
NEW_KEY = bytes(range(32, 64))
Memory = dict[str, Any]


def pin_field(pin: str) -> str:
    return pin.encode().ljust(9, b"\0").hex()


PUBLIC = ec.derive_private_key(5, ec.SECP256R1()).public_key()
USER_KEY = [
    b"door".ljust(64, b"\0").hex(),
    PUBLIC.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint).hex(),
    "",
]


@dataclass(frozen=True)
class Case:
    """One command: what it is typed with, what it changes, what is said of it."""

    words: tuple[str, ...]
    ins: str
    taken: Callable[[Memory], bool]
    done: str
    kept: str
    either: str
    before: tuple[tuple[str, object], ...] = ()
    """What the card has at first, beside the seed."""
    elsewhere: bool = False
    """On a computer that has not the card's pairing key."""


CASES = {
    "pin change": Case(
        ("pin", "change"),
        "21",
        lambda memory: memory["pin"] == pin_field(NEW_PIN),
        "is changed",
        "the card has its old PIN",
        "may already have the new PIN",
    ),
    "pin change --with-puk": Case(
        ("pin", "change", "--with-puk"),
        "21",
        lambda memory: memory["pin"] == pin_field(NEW_PIN),
        "is changed",
        "the card has its old PIN",
        "may already have the new PIN",
    ),
    "pin unblock": Case(
        ("pin", "unblock"),
        "22",
        lambda memory: memory["pin"] == pin_field(NEW_PIN) and memory["pin_tries"] > 0,
        "has a new PIN",
        "has not taken the new PIN",
        "may already have the new PIN",
        (("pin_tries", 0),),
    ),
    "puk change": Case(
        ("puk", "change"),
        "21",
        lambda memory: bytes.fromhex(memory["puk"]).decode() == NEW_PUK,
        "is changed",
        "the card has its old PUK",
        "may already have the new PUK",
    ),
    "pairing change": Case(
        ("pairing", "change", "--file", "KEY"),
        "DA",
        lambda memory: memory["pairing_key"] == NEW_KEY.hex(),
        "has its own pairing key now",
        "the card has its old pairing key",
        "may have the new pairing key or its old one",
    ),
    "pairing recover": Case(
        ("pairing", "recover"),
        "DA",
        lambda memory: memory["pairing_key"] != OWN_KEY.hex(),
        "has the common pairing key again",
        "the card has its old pairing key",
        "may have the new pairing key or its old one",
        (("pairing_key", OWN_KEY.hex()),),
        elsewhere=True,
    ),
    "reset": Case(
        ("reset",),
        "FD",
        lambda memory: not memory["initialized"],
        "is as from the factory",
        "nothing was erased",
        "may be erased, or not",
    ),
    "xpub on": Case(
        ("xpub", "on"),
        "C5",
        lambda memory: memory["xpub_export"],
        "xpub export is on",
        "xpub export is not on",
        "may be on already",
    ),
    "xpub off": Case(
        ("xpub", "off"),
        "C5",
        lambda memory: not memory["xpub_export"],
        "xpub export is off",
        "xpub export is not off",
        "may be off already",
        (("xpub_export", True),),
    ),
    "pinless set": Case(
        ("pinless", "set", "m/43h/60h/1581h/0"),
        "C1",
        lambda memory: bool(memory["pinless_path"]),
        "signs without PIN now",
        "no key signs without PIN",
        "may sign without PIN already",
    ),
    "pinless clear": Case(
        ("pinless", "clear"),
        "C1",
        lambda memory: not memory["pinless_path"],
        "No key signs without PIN any more",
        "a key still signs without PIN",
        "a key may still sign",
        (("pinless_path", [43 | 1 << 31, 60 | 1 << 31, 1581 | 1 << 31, 0]),),
    ),
    "pin-auth off": Case(
        ("pin-auth", "off", "--yes", "--cannot-sign-here"),
        "C3",
        lambda memory: not memory["pin_auth"],
        "PIN authentication is off",
        "PIN authentication is not off",
        "may be off already",
        (("user_keys", {"1": USER_KEY}),),
    ),
    "user-key add": Case(
        ("user-key", "add", "ec", "PEM", "--text", "door"),
        "D5",
        lambda memory: "1" in memory["user_keys"],
        "The ec user key is on the card",
        "is not on the card",
        "may be on the card already",
    ),
    "user-key delete": Case(
        ("user-key", "delete", "ec"),
        "D7",
        lambda memory: "1" not in memory["user_keys"],
        "is gone from the card",
        "is still on the card",
        "may be gone",
        (("user_keys", {"1": USER_KEY}),),
    ),
    "data write": Case(
        ("data", "write", "DATA", "--yes"),
        "FC",
        lambda memory: b"new data".hex() in json.dumps(memory),
        "bytes are written",
        "nothing was written",
        "may hold the new bytes",
    ),
    "data write --custom": Case(
        ("data", "write", "--custom", "SIXTEEN", "--yes"),
        "FC",
        lambda memory: b"sixteen bytes ok".hex() in json.dumps(memory),
        "bytes are written",
        "nothing was written",
        "may hold the new bytes",
    ),
}


class World:
    """A card whose memory can be looked into, and the files that commands name."""

    def __init__(self, folder: Path, case: Case) -> None:
        self.case = case
        self.state = folder / "card"
        self.folder = folder
        with EmulatorProcess("--seed", SEED, "--state", str(self.state)):
            pass
        self.state.write_text(json.dumps(self.memory() | dict(case.before)))
        for name, content in {
            "KEY": NEW_KEY.hex().encode(),
            "PEM": PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "DATA": b"new data",
            "SIXTEEN": b"sixteen bytes ok",
        }.items():
            (folder / name).write_bytes(content)

    def memory(self) -> Memory:
        return json.loads(self.state.read_text())  # type: ignore[no-any-return]

    def card(self, *faults: str, readings: tuple[str, ...] = ()) -> EmulatorProcess:
        options = [word for fault in faults for word in ("--fault", fault)]
        return EmulatorProcess(
            "--state", str(self.state), *options, *(word for name in readings for word in ("--reading", name))
        )

    @property
    def words(self) -> list[str]:
        files = ("KEY", "PEM", "DATA", "SIXTEEN")
        return [str(self.folder / word) if word in files else word for word in self.case.words]

    def run(self, card: EmulatorProcess, **settings: str) -> tuple[str, int]:
        """What was shown and the exit code; whatever is asked is answered."""
        with terminal(card, *self.words, **{"CRYPTNOX_REINSERT_WAIT": "3", **settings}) as child:
            code = answered(child, card)
            return " ".join(shown(child).split()), code


def answered(child: pexpect.spawn, card: EmulatorProcess) -> int:
    """Answer all questions until the program ends; the exit code."""
    questions = {
        r"PIN of card \d+ \(.*?\): ": PIN,
        r"PUK: ": PUK,
        r"New PIN \(.*?\): ": NEW_PIN,
        r"New PUK \(.*?\): ": NEW_PUK,
        r"Type \d+ to go on: ": str(card.serial),
        r"\[y/N\] ": "y",
    }
    patterns = [*questions, r"The same again: ", pexpect.EOF]
    last = ""
    while (number := child.expect(patterns)) < len(patterns) - 1:
        last = last if number == len(questions) else list(questions.values())[number]
        child.sendline(last)
    child.wait()
    return int(child.exitstatus)


def judge(case: Case, text: str, code: int, memory: Memory) -> str:
    """Nothing that was said is false. Which of the possible things it was."""
    assert "Traceback" not in text, text
    taken = case.taken(memory)
    if taken:
        assert code == 0 or case.done in text or case.either in text, text
        assert "nothing was" not in text and "Canceled" not in text and case.kept not in text, text
    else:
        assert code != 0 and case.done not in text, text
    return "done" if case.done in text else "kept" if case.kept in text else "either" if case.either in text else ""


@pytest.mark.parametrize("fault", ["remove", "badmac", "sw:6982", "reset", "garbage"])
@pytest.mark.parametrize("name", CASES)
def test_a_lost_answer_is_found_out(name: str, fault: str, tmp_path: Path) -> None:
    """Whether the card has carried the command out or not, one of the two is told, and it is the right one."""
    case = CASES[name]
    world = World(tmp_path, case)
    torn = name == "reset" and fault == "remove"
    with world.card(f"{fault}@{case.ins}:1") as card:
        text, code = world.run(card)
        stats = card.stats()
    said = judge(case, text, code, world.memory())
    if torn:
        assert "its keys are erased, its PIN and PUK are not" in text
    else:
        assert said == ("done" if case.taken(world.memory()) else "kept"), text
    assert stats["pin_tries"] <= 1 and stats["puk_tries"] == 0
    if case.taken(world.memory()):
        assert fault in ("badmac", "garbage") and (code == 0)
    elif case.ins == "21" and "PIN" in case.kept and "--with-puk" not in name:
        assert world.memory()["pin_tries"] == 6, "the old PIN brought the count back"


@pytest.mark.parametrize("fault", ["remove", "badmac"])
@pytest.mark.parametrize("name", CASES)
def test_a_card_that_does_not_come_back(name: str, fault: str, tmp_path: Path) -> None:
    """Then both possibilities are told, and what to keep."""
    case = CASES[name]
    world = World(tmp_path, case)
    faults = [f"{fault}@{case.ins}:1", *(f"remove@A4:{number}" for number in range(2, 40))]
    with world.card(*faults) as card:
        text, code = world.run(card, CRYPTNOX_REINSERT_WAIT="1", CRYPTNOX_WAIT="0")
    assert "nothing was changed" not in text and "run the same command" not in text, text
    assert case.either in text and case.kept not in text and case.done not in text, text
    assert code in (1, 3) and "What to do" in text


def test_the_cases_are_all_commands_that_change_a_card() -> None:
    """A new command of these groups needs a case here."""
    import click

    from hwilib_cryptnox.ctl.main import cli

    names = set()
    for group in ("pin", "puk", "pairing", "pinless", "pin-auth", "user-key", "data", "xpub", "reset"):
        command = cli.get_command(click.Context(cli), group)
        names |= {f"{group} {leaf}" for leaf in command.commands} if isinstance(command, click.Group) else {group}
    looking = {"pin tries", "pin verify", "puk verify", "pairing export", "user-key list", "user-key test", "data read"}
    others = {"xpub show", "pin-auth on"}  # as pin-auth off
    assert {re.sub(" --.*", "", name) for name in CASES} == names - looking - others
