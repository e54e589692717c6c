"""Commands that cannot be taken back, and faults in the middle of them: what is told is compared with what the emulated
card holds."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from cryptnox_core.wire import COMMON_PAIRING_KEY
from tests.ctl.program import COMMAND, PIN, PUK, SEED, answer, environment, run, shown, terminal
from tests.support.emulator import EmulatorProcess
from tests.support.middle import FirstBlock, Middle

NEW_PIN, NEW_PUK = "135790", "own-puk-1234"
OWN_KEY = bytes(range(32))
NEW_KEY = bytes(range(32, 64))
DATA = b"new data" * 8
Memory = dict[str, Any]


def pin_field(pin: str) -> str:
    return pin.encode().ljust(9, b"\0").hex()


PRIVATE = ec.derive_private_key(5, ec.SECP256R1())
PUBLIC = PRIVATE.public_key()
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
    selects: int = 1
    """SELECT commands before it."""


CASES = {
    "pin change": Case(
        ("pin", "change"),
        "21",
        lambda memory: memory["pin"] == pin_field(NEW_PIN),
        "was changed",
        "the card still has its old PIN",
        "may already have the new PIN",
    ),
    "pin change --with-puk": Case(
        ("pin", "change", "--with-puk"),
        "21",
        lambda memory: memory["pin"] == pin_field(NEW_PIN),
        "was changed",
        "the card still has its old PIN",
        "may already have the new PIN",
    ),
    "pin unblock": Case(
        ("pin", "unblock"),
        "22",
        lambda memory: memory["pin"] == pin_field(NEW_PIN) and memory["pin_tries"] > 0,
        "has a new PIN",
        "did not take the new PIN",
        "may already have the new PIN",
        (("pin_tries", 0),),
    ),
    "puk change": Case(
        ("puk", "change"),
        "21",
        lambda memory: bytes.fromhex(memory["puk"]).decode() == NEW_PUK,
        "was changed",
        "the card still has its old PUK",
        "may already have the new PUK",
        selects=3,
    ),
    "pairing change": Case(
        ("pairing", "change", "--file", "KEY"),
        "DA",
        lambda memory: memory["pairing_key"] == NEW_KEY.hex(),
        "has its own pairing key now",
        "the card still has its old pairing key",
        "may have the new pairing key, or still its old one",
    ),
    "pairing recover": Case(
        ("pairing", "recover"),
        "DA",
        lambda memory: memory["pairing_key"] != OWN_KEY.hex(),
        "has the default pairing key again",
        "the card still has its old pairing key",
        "may have the new pairing key, or still its old one",
        (("pairing_key", OWN_KEY.hex()),),
        selects=3,
    ),
    "reset": Case(
        ("reset",),
        "FD",
        lambda memory: not memory["initialized"],
        "was reset to factory state",
        "nothing was erased",
        "may or may not be erased",
    ),
    "xpub on": Case(
        ("xpub", "on"),
        "C5",
        lambda memory: memory["xpub_export"],
        "xpub export is on",
        "xpub export is still off",
        "may or may not be on now",
    ),
    "xpub off": Case(
        ("xpub", "off"),
        "C5",
        lambda memory: not memory["xpub_export"],
        "xpub export is off",
        "xpub export is still on",
        "may or may not be off now",
        (("xpub_export", True),),
    ),
    "pinless set": Case(
        ("pinless", "set", "m/43h/60h/1581h/0"),
        "C1",
        lambda memory: bool(memory["pinless_path"]),
        "now signs without a PIN",
        "no key signs without a PIN",
        "may sign without a PIN now",
    ),
    "pinless clear": Case(
        ("pinless", "clear"),
        "C1",
        lambda memory: not memory["pinless_path"],
        "No key signs without a PIN any more",
        "a key still signs without a PIN",
        "a key may still sign",
        (("pinless_path", [43 | 1 << 31, 60 | 1 << 31, 1581 | 1 << 31, 0]),),
    ),
    "pin-auth off": Case(
        ("pin-auth", "off", "--yes", "--private-key", "PRIVATE"),
        "C3",
        lambda memory: not memory["pin_auth"],
        "PIN authentication is off",
        "PIN authentication is not off",
        "may or may not be off now",
        (("user_keys", {"1": USER_KEY}),),
    ),
    "user-key add": Case(
        ("user-key", "add", "ec", "PEM", "--text", "door"),
        "D5",
        lambda memory: "1" in memory["user_keys"],
        "The ec user key was added to the card",
        "is not on the card",
        "may or may not be on the card now",
    ),
    "user-key delete": Case(
        ("user-key", "delete", "ec"),
        "D7",
        lambda memory: "1" not in memory["user_keys"],
        "was deleted from the card",
        "is still on the card",
        "may or may not be on",
        (("user_keys", {"1": USER_KEY}),),
    ),
    "data write": Case(
        ("data", "write", "DATA", "--yes"),
        "FC",
        lambda memory: DATA.hex() in json.dumps(memory),
        "Written: 64 bytes",
        "nothing was written",
        "may hold the new bytes",
    ),
    "data write --custom": Case(
        ("data", "write", "--custom", "SIXTEEN", "--yes"),
        "FC",
        lambda memory: b"sixteen bytes ok".hex() in json.dumps(memory),
        "Written: 16 bytes",
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
            "PRIVATE": PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "DATA": DATA,
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
        files = ("KEY", "PEM", "PRIVATE", "DATA", "SIXTEEN")
        return [str(self.folder / word) if word in files else word for word in self.case.words]

    def run(self, card: EmulatorProcess | Middle, *, stdout: Path | None = None, **settings: str) -> tuple[str, int]:
        """What was shown and the exit code; whatever is asked is answered."""
        environment = {"CRYPTNOX_REINSERT_WAIT": "3", **settings}
        with terminal(card, *self.words, stdout=stdout, **environment) as child:  # type: ignore[arg-type]
            code = answered(child, card)
            return " ".join(shown(child).split()), code


def answered(child: pexpect.spawn, card: EmulatorProcess | Middle, *, silent: str = "", times: int = 1) -> int:
    """Answer all questions until the program ends; the exit code. With `silent` press Ctrl-C when the card keeps silent
    at this instruction, and `times` - 1 times at later SELECTs."""
    questions = {
        r"PIN of card \d+ \(.*?\): ": PIN,
        r"PUK: ": PUK,
        r"New PIN \(.*?\): ": NEW_PIN,
        r"New PUK \(.*?\): ": NEW_PUK,
        r"Type \"\d+\" to continue: ": str(card.serial),
        r"\[y/N\] ": "y",
    }
    patterns = [*questions, r"Type it again: ", pexpect.EOF]
    last, pressed = "", 0
    while True:
        number = child.expect([*patterns, pexpect.TIMEOUT], timeout=0.1 if silent else 90)
        if number == len(patterns) - 1:
            break
        if number == len(patterns):
            assert silent and isinstance(card, EmulatorProcess), shown(child)
            by_ins = card.stats()["by_ins"]
            if times and by_ins.get(silent) and pressed < by_ins["A4"]:
                pressed, times = by_ins["A4"], times - 1
                child.sendintr()
            continue
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
        assert "its keys are erased, but its PIN and PUK are not" in text
    else:
        assert said == ("done" if case.taken(world.memory()) else "kept"), text
    assert stats["pin_tries"] <= 1 and stats["puk_tries"] == 0
    if case.taken(world.memory()):
        assert fault in ("badmac", "garbage") and (code == 0)
    elif case.ins == "21" and "PIN" in case.kept and "--with-puk" not in name:
        assert world.memory()["pin_tries"] == 6, "the old PIN brought the count back"


def test_data_that_are_half_written(tmp_path: Path) -> None:
    """The card leaves between two pages: it is told that the old bytes are gone, too."""
    world = World(tmp_path, CASES["data write"])
    (tmp_path / "DATA").write_bytes(b"new" * 600)
    world.state.write_text(json.dumps(world.memory() | {"user_data": (b"old" * 600).hex()}))
    with world.card("remove@FC:2") as card:
        text, code = world.run(card)
        assert code == 3 and "part of the new bytes, and has lost some of the old ones" in text, text
        assert "run the same command again" in text and card.stats()["pin_tries"] == 0
    with world.card() as card:
        assert world.run(card)[1] == 0
    assert (b"new" * 600).hex() in json.dumps(world.memory())


@pytest.mark.parametrize("fault", ["remove", "badmac"])
@pytest.mark.parametrize("name", CASES)
def test_a_card_that_does_not_come_back(name: str, fault: str, tmp_path: Path) -> None:
    """Then both possibilities are told, and what to keep."""
    case = CASES[name]
    world = World(tmp_path, case)
    faults = [f"{fault}@{case.ins}:1", *(f"remove@A4:{number}" for number in range(case.selects + 1, 40))]
    with world.card(*faults) as card:
        text, code = world.run(card, CRYPTNOX_REINSERT_WAIT="0.4", CRYPTNOX_WAIT="0")
    assert "nothing was changed" not in text and "run the same command" not in text, text
    assert case.either in text and case.kept not in text and case.done not in text, text
    assert code in (1, 3) and "What to do" in text


# What fails afterwards


AFTERWARDS = ["pin change", "pin unblock", "puk change", "pairing change", "reset", "xpub on", "data write"]


@pytest.mark.parametrize("name", AFTERWARDS)
def test_a_full_stdout_hides_no_change(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    world = World(tmp_path, case)
    with world.card() as card:
        text, code = world.run(card, stdout=Path("/dev/full"))
    assert case.taken(world.memory()) and code == 1
    assert re.search(f"Error: .*{case.done}.*No space left", text), text


def test_a_reader_that_leaves_hides_no_change(tmp_path: Path) -> None:
    """Nobody reads stdout any more; the change is told on stderr."""
    world = World(tmp_path, CASES["xpub on"])
    with world.card() as card:
        script = 'exec 3>&1; "$@" 2>&3 | (exec <&-)'
        shell = ["/bin/sh", "-c", script, "sh", *COMMAND, "xpub", "on", "--stdinpuk"]
        done = subprocess.run(shell, input=f"{PUK}\n", capture_output=True, text=True, env=environment(card))
    assert CASES["xpub on"].taken(world.memory()) and done.stdout.strip() == "xpub export is on", done


@pytest.mark.parametrize("name", AFTERWARDS)
def test_a_state_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    """Nothing of it can be read or written: the commands work, or say so before anything is sent."""
    case = CASES[name]
    world = World(tmp_path, case)
    folder = tmp_path / "state" / "hwi-cryptnox"
    for file in ("cards.json", "pairing.json"):
        (folder / file).mkdir(parents=True)
    folder.chmod(0o700)
    with world.card() as card:
        text, code = world.run(card, XDG_STATE_HOME=str(tmp_path / "state"))
        sent = case.ins in card.stats()["by_ins"]
    judge(case, text, code, world.memory())
    if name == "pairing change":
        assert not sent and code == 1 and "pairing.json" in text, text
    else:
        assert code == 0 and case.done in text, text
    if name == "reset":
        assert "This computer still remembers the card" in text


@pytest.mark.parametrize("name", AFTERWARDS)
def test_ctrl_c_in_the_middle(name: str, tmp_path: Path) -> None:
    """The card has done it and does not answer; the person leaves: what is true is told first."""
    case = CASES[name]
    world = World(tmp_path, case)
    with world.card(f"silence@{case.ins}:1") as card, terminal(card, *world.words) as child:
        code = answered(child, card, silent=case.ins)
        text = " ".join(shown(child).split())
    assert case.taken(world.memory()) and code == 1
    assert re.search(rf"Error: .*{case.done}\. Interrupted", text), text


@pytest.mark.parametrize("name", ["pin change", "reset"])
def test_ctrl_c_twice(name: str, tmp_path: Path) -> None:
    """The card is not asked any more: both possibilities are told."""
    case = CASES[name]
    world = World(tmp_path, case)
    with world.card(f"silence@{case.ins}:1", "silence@A4:2") as card, terminal(card, *world.words) as child:
        code = answered(child, card, silent=case.ins, times=2)
        text = " ".join(shown(child).split())
    assert code == 1 and re.search(f"Interrupted; .*{case.either}", text), text
    assert case.done not in text and case.kept not in text


# Somebody in between


@pytest.mark.parametrize("name", ["pairing change", "pairing recover", "data write", "data write --custom"])
def test_what_is_changed_on_the_way_is_noticed(name: str, tmp_path: Path) -> None:
    """Whoever sits between this computer and the card can change 16 bytes of a command without a key."""
    case = CASES[name]
    world = World(tmp_path, case)
    with world.card() as card, Middle(card, FirstBlock(int(case.ins, 16), times=9)) as middle:
        text, code = world.run(middle)
    assert "took something other than what was sent" in text and code == 1, text
    assert case.done not in text and case.kept not in text
    if case.ins == "DA":
        memory = world.memory()["pairing_key"]
        assert memory[32:] == (NEW_KEY if name == "pairing change" else COMMON_PAIRING_KEY).hex()[32:]
        assert memory not in (NEW_KEY.hex(), COMMON_PAIRING_KEY.hex(), OWN_KEY.hex())
        # In another reader the PUK gets the card back, as it was told.
        with world.card() as card:
            assert run(card, "pin", "tries").returncode == 1
            assert run(card, "pairing", "recover", "--stdinpuk", stdin=PUK).returncode == 0
            assert run(card, "pin", "tries").returncode == 0
            assert not answer(card, "info")["own_pairing_key"]


@pytest.mark.parametrize(
    "name", ["pin change", "pin change --with-puk", "puk change", "pin unblock", "reset", "xpub on", "user-key add"]
)
def test_what_a_changed_first_block_breaks_is_refused_by_the_card(name: str, tmp_path: Path) -> None:
    """The PIN's padding and the PUK are in it."""
    case = CASES[name]
    world = World(tmp_path, case)
    with world.card() as card, Middle(card, FirstBlock(int(case.ins, 16), times=9)) as middle:
        text, code = world.run(middle)
    assert not case.taken(world.memory()) and code != 0 and case.done not in text, text


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
