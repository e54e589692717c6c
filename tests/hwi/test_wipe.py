"""`wipe`: what is told is what the card holds, whatever goes wrong; and it erases no other card than the one named."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pexpect
import pytest

from cryptnox_core.wire import Ins, StatusFlag
from hwilib_cryptnox.storage.state import State
from tests.hwi.conftest import Program
from tests.support.emulator import MNEMONIC, PIN, PUK, SEED, EmulatorProcess
from tests.support.middle import Ask, Middle
from tests.support.pcsc import VirtualReaders
from tests.support.terminal import spawn

FPR, OTHER_FPR = "73c5da0a", "3442193e"
"""Of MNEMONIC, and any other."""


class Wipe:
    """`hwi-cryptnox ... wipe` on a terminal; whatever is asked is answered."""

    def __init__(
        self, serial: int, *select: str, out: Path, press: int = 0, card: EmulatorProcess | None = None, **more: str
    ) -> None:
        command = [str(Path(sys.executable).with_name("hwi-cryptnox")), *select, "wipe"]
        env = {**os.environ, "CRYPTNOX_REINSERT_WAIT": "2", **more}
        self.shown: list[str] = []
        child = spawn(command, stdin=Path(os.devnull), stdout=out, timeout=60, encoding="utf-8", env=env)
        child.logfile_read = self
        questions = {r"PIN of card \d+ \(.*?\).*?: ": PIN, r"Type \"\d+\" to continue: ": str(serial), r"PUK: ": PUK}
        patterns = [*questions, pexpect.EOF]
        while True:
            number = child.expect([*patterns, pexpect.TIMEOUT], timeout=0.1 if press else 60)
            if number == len(patterns) - 1:
                break
            if number == len(patterns):
                if card is not None and card.stats()["by_ins"].get("FD"):
                    child.sendintr()
                    press = 0
                continue
            child.sendline(list(questions.values())[number])
        child.close()
        self.code = child.exitstatus
        self.answer: Any = json.loads(out.read_text()) if out.is_file() and out.read_text() else None

    def write(self, text: str) -> None:
        self.shown.append(text)

    def flush(self) -> None:
        """Nothing to do."""

    @property
    def text(self) -> str:
        return " ".join("".join(self.shown).split())


def erased(state: Path) -> bool:
    return not json.loads(state.read_text())["initialized"]


@pytest.mark.parametrize("fault", ["badmac@FD:1", "garbage@FD:1", "remove@FD:1", "sw:6982@FD:1", "reset@FD:1"])
def test_a_lost_answer_is_found_out(fault: str, tmp_path: Path) -> None:
    state, out = tmp_path / "card", tmp_path / "out"
    with EmulatorProcess("--mnemonic", MNEMONIC, "--state", str(state), "--fault", fault) as card:
        wiped = Wipe(card.serial, "-t", "cryptnox", "-d", card.path, out=out)
    said, memory = wiped.answer["error"], json.loads(state.read_text())
    if erased(state):  # which the card can say only where nothing protects it
        assert fault[:6] in ("badmac", "garbag") and "may or may not be erased" in said
        assert "The card says that it is not initialized, but nothing protects that answer" in said
        return
    if memory["key_source"]:
        assert "still has its contents; nothing was erased" in said and "same command again" in said
    else:
        assert "its keys are erased, but its PIN and PUK are not" in said and "same command again" in said
    assert wiped.answer["code"] in (-3, -13)


def test_a_card_that_does_not_come_back(tmp_path: Path) -> None:
    faults = [word for number in range(2, 30) for word in ("--fault", f"remove@A4:{number}")]
    with EmulatorProcess("--mnemonic", MNEMONIC, "--fault", "badmac@FD:1", *faults) as card:
        wiped = Wipe(
            card.serial, "-t", "cryptnox", "-d", card.path, out=tmp_path / "out",
            CRYPTNOX_WAIT="0", CRYPTNOX_REINSERT_WAIT="1",
        )  # fmt: skip
    assert ("may or may not be erased") in wiped.answer["error"] and "Keep PIN, PUK and recovery words" in wiped.answer[
        "error"
    ]


def test_a_full_stdout(tmp_path: Path) -> None:
    """Stderr says what was done, before it says what was not."""
    state = tmp_path / "card"
    with EmulatorProcess("--mnemonic", MNEMONIC, "--state", str(state)) as card:
        wiped = Wipe(card.serial, "-t", "cryptnox", "-d", card.path, out=Path("/dev/full"))
    assert erased(state) and wiped.code == 1
    assert re.search(f"The card {card.serial} was reset to factory state the answer cannot be written", wiped.text), (
        wiped.text
    )


def test_a_state_that_cannot_be_written(tmp_path: Path) -> None:
    state, folder = tmp_path / "card", tmp_path / "state" / "hwi-cryptnox"
    (folder / "cards.json").mkdir(parents=True)
    with EmulatorProcess("--mnemonic", MNEMONIC, "--state", str(state)) as card:
        select = ("-t", "cryptnox", "-d", card.path)
        wiped = Wipe(card.serial, *select, out=tmp_path / "out", XDG_STATE_HOME=str(tmp_path / "state"))
    assert erased(state) and wiped.answer == {"success": True}
    assert f"this computer still remembers the card {card.serial}" in wiped.text


def test_ctrl_c_in_the_middle(tmp_path: Path) -> None:
    """The card did it and keeps silent: it is asked, and its answer is told as what it says."""
    state = tmp_path / "card"
    with EmulatorProcess("--mnemonic", MNEMONIC, "--state", str(state), "--fault", "silence@FD:1") as card:
        wiped = Wipe(card.serial, "-t", "cryptnox", "-d", card.path, out=tmp_path / "out", press=1, card=card)
    assert erased(state) and "The card says that it is not initialized" in wiped.answer["error"]
    assert "may or may not be erased" in wiped.answer["error"]


def test_no_success_rests_on_what_select_says(tmp_path: Path) -> None:
    """RESET never came to the card, and SELECT, which nothing protects, says that it is not initialized."""
    state, flags = tmp_path / "card", int(StatusFlag.INITIALIZED | StatusFlag.SEEDED)
    dropped = False

    def middle(apdu: bytes, ask: Ask) -> bytes | None:
        nonlocal dropped
        if apdu[1] == Ins.RESET:
            dropped = True
            return None
        response = ask(apdu)
        return (
            response[:5] + bytes((response[5] & ~flags,)) + response[6:]
            if dropped and apdu[1] == Ins.SELECT
            else response
        )

    with EmulatorProcess("--mnemonic", MNEMONIC, "--state", str(state)) as card, Middle(card, middle) as between:
        wiped = Wipe(card.serial, "-t", "cryptnox", "-d", between.path, out=tmp_path / "out")
    assert dropped and not erased(state)
    assert "may or may not be erased" in wiped.answer["error"] and "Keep PIN, PUK and" in wiped.answer["error"]


def test_another_card_of_a_known_serial(tmp_path: Path) -> None:
    with EmulatorProcess("--mnemonic", MNEMONIC) as card:
        State().update(card.serial, lambda now: replace(now, static_key=bytes(32)))
        wiped = Wipe(card.serial, "-t", "cryptnox", "-d", card.path, out=tmp_path / "out")
        assert wiped.answer["code"] == -3 and "another card with the serial" in wiped.answer["error"]
        assert "PUK" not in wiped.text and "FD" not in card.stats()["by_ins"]


def test_a_fingerprint_is_read_from_the_card(tmp_path: Path) -> None:
    """What the path says and what the card is must agree; the PIN is asked for where no source has it."""
    state = tmp_path / "card"
    with EmulatorProcess("--mnemonic", MNEMONIC, "--state", str(state)) as card:
        where = ("-t", "cryptnox", "-d", card.path)
        wiped = Wipe(card.serial, "-f", OTHER_FPR, *where, out=tmp_path / "out")
        assert wiped.answer["code"] == -3 and "PUK" not in wiped.text and not erased(state)
        wrong = Wipe(card.serial, "-f", FPR, "-p", "999999", *where, out=tmp_path / "out")
        assert wrong.answer["code"] == -7 and "PUK" not in wrong.text and not erased(state)
        wiped = Wipe(card.serial, "-f", FPR, *where, out=tmp_path / "out")
        assert wiped.answer == {"success": True} and erased(state)
    with EmulatorProcess("--pin", PIN) as empty:
        wiped = Wipe(empty.serial, "-f", FPR, "-t", "cryptnox", "-d", empty.path, out=tmp_path / "out")
        assert wiped.answer["code"] == -3 and "has no seed" in wiped.answer["error"]


# Two cards in two readers


def test_a_pin_that_nothing_accepts_beside_another_card(hwi: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """How the card is named without a PIN is said also where another reader holds a card."""
    monkeypatch.setattr("cryptnox_core.transport.pcsc.list_readers", lambda: ["Another reader"])
    monkeypatch.setattr("cryptnox_core.transport.pcsc.card_present", lambda _: True)
    with EmulatorProcess("--mnemonic", MNEMONIC) as card:
        for pin in ("111111", "222222", "333333", "444444", "555555"):
            hwi.on(card, "getmasterxpub", pin=pin)
        answer = hwi("-f", FPR, "-d", card.path, "-p", PIN, "wipe")
    assert answer["code"] == -12
    assert answer["error"].startswith(f"the fingerprint of the card {card.serial} is read with its PIN: One PIN try is")
    assert answer["error"].endswith("--device-path cryptnox:SERIAL, without --fingerprint")


@pytest.mark.pcsc
class TestTwoCards:
    """Of two seeds, then of one; each way to name one of them."""

    A = ("--mnemonic", MNEMONIC, "--serial", str(2**60 + 1))
    B = ("--seed", SEED, "--serial", str(2**60 + 2))
    TWIN = ("--mnemonic", MNEMONIC, "--serial", str(2**60 + 3))
    SERIALS = (2**60 + 1, 2**60 + 2, 2**60 + 3)

    def cards(self, readers: VirtualReaders, folder: Path, *options: Sequence[str]) -> Any:
        import contextlib

        @contextlib.contextmanager
        def both() -> Any:
            with contextlib.ExitStack() as stack:
                yield [
                    stack.enter_context(readers.card(*more, "--state", str(folder / f"card{slot}"), slot=slot))
                    for slot, more in enumerate(options)
                ]

        return both()

    def left(self, folder: Path) -> list[int]:
        """The slots whose cards are not erased."""
        return [slot for slot in (0, 1) if not erased(folder / f"card{slot}")]

    def test_of_two_seeds(self, virtual_readers: VirtualReaders, tmp_path: Path) -> None:
        first, second, _ = self.SERIALS
        with self.cards(virtual_readers, tmp_path, self.B, self.A) as (b, a):
            assert (a.serial, b.serial) == (first, second)
            out = tmp_path / "out"
            nobody = Wipe(first, "-t", "cryptnox", out=out)
            assert nobody.answer["code"] == -7 and str(first) in nobody.answer["error"]
            assert str(second) in nobody.answer["error"] and "--device-path cryptnox:SERIAL" in nobody.answer["error"]
            # By its fingerprint, which nothing is known of yet: two cards might have it.
            unknown = Wipe(first, "-f", FPR, out=out)
            assert unknown.answer["code"] == -7 and "cards could be meant" in unknown.answer["error"]
            # The path of B and the fingerprint of A: no card has both.
            both = Wipe(second, "-f", FPR, "-t", "cryptnox", "-d", f"cryptnox:{second}", out=out)
            assert both.answer["code"] == -3 and "PUK" not in both.text
            for card in (a, b):
                assert not {"FD"} & {*card.stats()["by_ins"]}
            assert self.left(tmp_path) == [0, 1]
            # B has shown its own since; A may have it, and shows it.
            wiped = Wipe(first, "-f", FPR, out=out)
            assert wiped.answer == {"success": True} and self.left(tmp_path) == [0]
            assert "FD" not in b.stats()["by_ins"]
            # B alone is left with a seed; it was not named all the same.
            assert Wipe(second, "-t", "cryptnox", out=out).answer["code"] == -7
            assert Wipe(second, "-t", "cryptnox", "-d", f"cryptnox:{second}", out=out).answer == {"success": True}
            assert self.left(tmp_path) == []

    def test_a_memory_that_is_wrong(self, virtual_readers: VirtualReaders, tmp_path: Path) -> None:
        """The card was given another seed elsewhere since: it has not the fingerprint any more."""
        with self.cards(virtual_readers, tmp_path, self.B) as (card,):
            State().update(card.serial, lambda now: replace(now, fingerprint=bytes.fromhex(FPR)))
            wiped = Wipe(card.serial, "-f", FPR, out=tmp_path / "out")
            assert wiped.answer["code"] in (-3, -13) and "PUK" not in wiped.text
            assert "FD" not in card.stats()["by_ins"]

    def test_of_one_seed(self, virtual_readers: VirtualReaders, tmp_path: Path) -> None:
        first, _, third = self.SERIALS
        with self.cards(virtual_readers, tmp_path, self.A, self.TWIN):
            for serial in (first, third):
                State().update(serial, lambda now: replace(now, fingerprint=bytes.fromhex(FPR)))
            two = Wipe(first, "-f", FPR, out=tmp_path / "out")
            assert two.answer["code"] == -7 and self.left(tmp_path) == [0, 1]
            assert str(first) in two.answer["error"] and str(third) in two.answer["error"]
            one = Wipe(third, "-f", FPR, "-t", "cryptnox", "-d", f"cryptnox:{third}", out=tmp_path / "out")
            assert one.answer == {"success": True} and self.left(tmp_path) == [0]

    def test_setup_of_two_empty_cards(self, virtual_readers: VirtualReaders, tmp_path: Path, hwi: Program) -> None:
        with self.cards(virtual_readers, tmp_path, ("--serial", str(2**60 + 4)), ("--serial", str(2**60 + 5))):
            for command in ("setup", "restore"):
                answer = hwi("-t", "cryptnox", "-i", command)
                assert answer["code"] == -7 and "2 cards could be meant" in answer["error"]

    def test_a_wrong_pin_by_fingerprint_names_the_card(
        self, virtual_readers: VirtualReaders, tmp_path: Path, hwi: Program
    ) -> None:
        """One try at most, on one of the two; the next command of the same kind takes the other."""
        first, _, third = self.SERIALS
        twin = (*self.TWIN, "--pin", "7777", "--xpub-export")
        with self.cards(virtual_readers, tmp_path, self.A, twin) as (a, b):
            for serial in (first, third):
                State().update(serial, lambda now: replace(now, fingerprint=bytes.fromhex(FPR)))
            search = ("-f", FPR, "-p", "7777", "getmasterxpub")
            answer = hwi(*search)
            assert answer["code"] == -7 and f"on the card {first}" in answer["error"]
            assert "--device-path cryptnox:SERIAL" in answer["error"]
            assert (a.stats()["pin_tries"], b.stats()["pin_tries"]) == (1, 0)
            assert "xpub" in hwi(*search)
            assert (a.stats()["pin_tries"], b.stats()["pin_tries"]) == (1, 0)

    def test_what_the_configuration_does_not_admit(
        self, virtual_readers: VirtualReaders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox"
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text("require_genuine = true\n")
        with self.cards(virtual_readers, tmp_path, self.A) as (card,):
            wiped = Wipe(card.serial, "-t", "cryptnox", out=tmp_path / "out")
            assert wiped.answer["code"] == -3 and "requires a genuine one" in wiped.answer["error"]
            assert "PUK" not in wiped.text and "FD" not in card.stats()["by_ins"]
