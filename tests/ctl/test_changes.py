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

from cryptnox_core.wire import COMMON_PAIRING_KEY, Ins, StatusFlag
from hwilib_cryptnox.storage.state import State
from tests.ctl.program import (
    COMMAND,
    PIN,
    PUK,
    SEED,
    answer,
    dialogue,
    ended,
    environment,
    run,
    shown,
    terminal,
)
from tests.support.emulator import EmulatorProcess
from tests.support.middle import Ask, FirstBlock, Middle

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


SHOWN = ("xpub on", "xpub off", "pinless set", "pinless clear", "user-key delete", "data write --custom")
"""What they change is shown by SELECT alone, which nothing protects."""


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
    """Whether the card has carried the command out or not, one of the two is told, and it is the right one; where only
    SELECT tells, as what the card says. No success rests on that, nor does a wiped card's word."""
    case = CASES[name]
    world = World(tmp_path, case)
    torn = name == "reset" and fault == "remove"
    with world.card(f"{fault}@{case.ins}:1") as card:
        text, code = world.run(card)
        stats = card.stats()
    said = judge(case, text, code, world.memory())
    taken = case.taken(world.memory())
    unproved = name in SHOWN or (name == "reset" and taken)
    if torn:
        assert "its keys are erased, but its PIN and PUK are not" in text
    elif unproved:
        says = "it is not initialized" if name == "reset" else f"it {'made' if taken else 'did not make'} the change"
        assert said == "either" and f"The card says that {says}, but nothing protects that answer" in text, text
    else:
        assert said == ("done" if taken else "kept"), text
    assert stats["pin_tries"] <= 1 and stats["puk_tries"] == 0
    if taken:
        assert fault in ("badmac", "garbage") and (code == 0) is not unproved
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
    if name in ("reset", "xpub on"):  # the card's word for it comes in the clear
        assert re.search(rf"Error: Interrupted; .*{case.either}.*nothing protects that answer", text), text
    else:
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


CLEARED = {
    **{name: CASES[name] for name in (*SHOWN, "reset", "pin-auth off")},
    "pin-auth on": Case(
        ("pin-auth", "on"),
        "C3",
        lambda memory: memory["pin_auth"],
        "PIN authentication is on",
        "PIN authentication is not on",
        "may or may not be on now",
        (("pin_auth", False), ("user_keys", {"1": USER_KEY})),
    ),
    "clear-key off": Case(
        ("clear-key", "off"),
        "C5",
        lambda memory: not memory["clear_pubkey"],
        "Clear key reading is off",
        "clear key reading is still on",
        "may or may not be off now",
        (("clear_pubkey", True),),
    ),
}
"""What SELECT shows of each: the bits of the flags that are cleared and set where it was carried out."""
FLAGS = {
    "xpub on": (0, StatusFlag.XPUB_EXPORT),
    "xpub off": (StatusFlag.XPUB_EXPORT, 0),
    "clear-key off": (StatusFlag.CLEAR_PUBKEY, 0),
    "pinless set": (0, StatusFlag.PINLESS_PATH),
    "pinless clear": (StatusFlag.PINLESS_PATH, 0),
    "pin-auth on": (0, StatusFlag.PIN_AUTH),
    "pin-auth off": (StatusFlag.PIN_AUTH, 0),
    "reset": (StatusFlag.INITIALIZED | StatusFlag.SEEDED, 0),
}


class Liar:
    """Somebody without any key. At the first command of an instruction, he `drop`s it, or has the card refuse it by
    another first block (`break`), or the card's answer to it is lost (`lose`). From then on (or, without an
    instruction, from the beginning) he changes what SELECT says: `flags` to clear and to set, `keys`: no user key, or
    the custom bytes."""

    def __init__(
        self, ins: int, how: str, flags: tuple[int, int] = (0, 0), *, keys: bool = False, custom: bytes = b""
    ) -> None:
        self.ins, self.how, self.flags, self.keys, self.custom = ins, how, flags, keys, custom
        self.lies = not ins
        self.handshake = b""

    def __call__(self, apdu: bytes, ask: Ask) -> bytes | None:
        if apdu[1] == Ins.MUTUALLY_AUTHENTICATE:
            self.handshake = apdu
        if apdu[:2] == bytes((0x80, self.ins)) and not self.lies:
            self.lies = True
            if self.how == "drop":
                return None
            if self.how == "break":
                ask(self.handshake)
            else:
                ask(apdu)
                return None
        response = ask(apdu)
        if apdu[1] != Ins.SELECT or not self.lies:
            return response
        clear, put = self.flags
        flags = int.from_bytes(response[4:6], "big") & ~clear | put
        keys = b"\0\0" if self.keys else response[6:8]
        return response[:4] + flags.to_bytes(2, "big") + keys + (self.custom or response[8:-2]) + response[-2:]


def liar(name: str, how: str) -> Liar:
    """One that has SELECT say the opposite of what is."""
    clear, put = FLAGS.get(name, (0, 0))
    lost = how == "lose"
    custom = b"" if "custom" not in name else bytes(16) if lost else b"sixteen bytes ok"
    flags = (int(put), int(clear)) if lost else (int(clear), int(put))
    return Liar(int(CLEARED[name].ins, 16), how, flags, keys=name == "user-key delete" and not lost, custom=custom)


@pytest.mark.parametrize(
    ("name", "how"),
    # Other custom bytes are taken, not refused.
    [(name, how) for name in CLEARED for how in ("drop", "break") if (name, how) != ("data write --custom", "break")],
)
def test_no_success_rests_on_what_select_says(name: str, how: str, tmp_path: Path) -> None:
    """The card never got the command, or refused it; SELECT, which nothing protects, says that it was carried out."""
    case = CLEARED[name]
    world = World(tmp_path, case)
    with world.card() as card:
        if name == "reset":
            assert run(card, "pin", "verify", "--stdinpass", stdin=PIN).returncode == 0
        with Middle(card, liar(name, how)) as middle:
            text, code = world.run(middle)
        assert name != "reset" or State().record(card.serial).static_key is not None, "it was forgotten"
    assert not case.taken(world.memory())
    assert code != 0 and case.done not in text and "a check shows" not in text, text
    assert case.either in text and "What to do" in text, text


@pytest.mark.parametrize("name", [name for name in CLEARED if name != "user-key delete"])
def test_no_denial_rests_on_what_select_says(name: str, tmp_path: Path) -> None:
    """The card carried it out, its answer is lost, and SELECT says that nothing happened."""
    case = CLEARED[name]
    world = World(tmp_path, case)
    with world.card() as card, Middle(card, liar(name, "lose")) as middle:
        text, code = world.run(middle)
    assert case.taken(world.memory()) and code != 0
    assert case.kept not in text and "nothing was" not in text and case.either in text, text


def adopted(card: EmulatorProcess | Middle) -> tuple[str, int]:
    with terminal(card, "adopt", CRYPTNOX_REINSERT_WAIT="3") as child:  # type: ignore[arg-type]
        asked = (("PIN of card", PIN), ('type "no check"', "no check"), ("Turn it on now?", "y"), ("PUK: ", PUK))
        dialogue(child, *asked)
        code = ended(child)
        return " ".join(shown(child).split()), code


def test_an_extended_key_proves_that_export_is_on(tmp_path: Path) -> None:
    """`adopt` has a PIN that the card accepted: with it the card is asked in its channel."""
    world = World(tmp_path, CASES["xpub on"])
    lying = liar("xpub on", "drop")
    with world.card() as card, Middle(card, lying) as middle:
        text, code = adopted(middle)
    assert lying.lies and not world.memory()["xpub_export"] and code != 0
    assert "xpub export may or may not be on now" in text and "export is on" not in text, text
    with world.card("badmac@C5:1") as card:
        text, code = adopted(card)
        assert card.stats()["pin_tries"] == 0
    assert world.memory()["xpub_export"] and code == 0 and "a check shows that it made the change" in text, text


def test_a_reset_that_never_came_did_not_erase_the_keys(tmp_path: Path) -> None:
    """SELECT says that it was cut short; in its channel the card says that its keys are there."""
    case = CASES["reset"]
    world = World(tmp_path, case)
    middle = Liar(int(case.ins, 16), "drop", (int(StatusFlag.SEEDED), 0))
    with world.card() as card, Middle(card, middle) as between:
        text, code = world.run(between)
    assert world.memory()["key_source"] and code != 0
    assert case.kept in text and "keys are erased" not in text, text


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("xpub off", "The card says that xpub export is already off"),
        ("clear-key off", "The card says that clear key reading is already off"),
    ],
)
def test_what_select_says_from_the_beginning(name: str, says: str, tmp_path: Path) -> None:
    """Without a PUK it is told as what the card says, with what has the card prove it. With one the card is told."""
    case = CLEARED[name]
    world = World(tmp_path, case)
    group = case.words[0]
    with world.card() as card, Middle(card, Liar(0, "", (int(FLAGS[name][0]), 0))) as middle:
        text, code = world.run(middle)
        assert code == 0 and f"{says} To have the card prove it: cryptnoxctl {group} on, then" in text, text
        assert not case.taken(world.memory()) and case.ins not in card.stats()["by_ins"]
        done = run(middle, *case.words, "--stdinpuk", stdin=PUK)
    assert done.returncode == 0 and done.stdout.strip() == case.done and case.taken(world.memory())


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
