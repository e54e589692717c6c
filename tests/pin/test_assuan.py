"""Debian's pinentry-curses and pinentry-tty on a terminal of 24 lines: what people see, and what they type."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from cryptnox_core.bip32 import Path as KeyPath
from hwilib_cryptnox.networks import Chain
from hwilib_cryptnox.pin.assuan import DESCRIPTION_COLUMNS, DESCRIPTION_LIMIT, DESCRIPTION_LINES
from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.signer.review.message_prompts import message_text
from hwilib_cryptnox.signer.review.prompts import transaction_text
from tests.hwi.conftest import SEED
from tests.psbt.factory import ME, OTHER, Draft, Out, draft, out_deriv, p2wpkh, spend
from tests.psbt.signing import make_plan
from tests.support.dialogues import KEY, NO_LIMITS, configure, gpg_agent, lines_of, payment
from tests.support.emulator import PIN, EmulatorProcess

REAL = ("pinentry-curses", "pinentry-tty")


@pytest.fixture
def signer() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--seed", SEED, "--xpub-export") as emulator:
        yield emulator


@pytest.fixture(params=REAL)
def real(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install {name}): its dialogue was not tried")
    return name


class Person:
    """The program with its dialogue on a terminal; stdin and stdout are pipes, as a wallet would have them."""

    def __init__(self, folder: Path, card: EmulatorProcess, *words: str, rows: int = 24, lang: str = "C.UTF-8") -> None:
        self._out = folder / "answer"
        program = str(Path(sys.executable).with_name("hwi-cryptnox"))
        quoted = " ".join(f"'{word}'" for word in words)
        command = (
            f"GPG_TTY=$(tty); export GPG_TTY; exec '{program}' -t cryptnox -d {card.path} {quoted} "
            f">'{self._out}' </dev/null"
        )
        env = {**os.environ, "TERM": "vt100", "LC_ALL": lang}
        env.pop("DISPLAY", None)
        self.child = pexpect.spawn(
            "/bin/sh",
            ["-c", command],
            env=env,
            encoding="utf-8",
            timeout=60,
            dimensions=(rows, 80),  # type: ignore[arg-type]
        )
        self.child.delaybeforesend = None
        self.seen: list[str] = []
        self.child.logfile_read = self

    def write(self, text: str) -> None:
        self.seen.append(text)

    def flush(self) -> None:
        """As a file has it."""

    @property
    def screen(self) -> str:
        """The words that were shown."""
        text = re.sub(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][0-9A-Za-z]|[=>78MHDE])|[\x0e\x0f\x07]", " ", "".join(self.seen))
        return " ".join(word for word in text.split() if not re.fullmatch(r"[xqlkmj│─┌┐└┘]+", word))

    def answer(self) -> Any:
        self.child.expect(pexpect.EOF)
        self.child.close()
        return json.loads(self._out.read_text())


AGREE = {"pinentry-curses": "\r", "pinentry-tty": "s"}
LEAVE = {"pinentry-curses": "\t\r", "pinentry-tty": "c"}


def is_asked(person: Person, name: str, agree: str = "Sign") -> None:
    """Wait for the question."""
    person.child.expect_exact(f"<{agree}>" if name == "pinentry-curses" else "]?")


@pytest.mark.parametrize("agrees", [True, False])
def test_a_transaction_at_a_terminal(real: str, signer: EmulatorProcess, tmp_path: Path, agrees: bool) -> None:
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{real}"')
    person = Person(tmp_path, signer, "signtx", payment().base64())
    person.child.expect_exact("PIN:")
    person.child.send(f"{PIN}\r")
    is_asked(person, real)
    assert signer.stats()["signatures"] == 0
    for line in lines_of(signer):
        assert " ".join(line.split()) in person.screen, person.screen
    assert "at most 0.00200000 BTC can leave the wallet" in person.screen and PIN not in person.screen.split()
    person.child.send((AGREE if agrees else LEAVE)[real])
    answer = person.answer()
    assert answer.get("signed") is (True if agrees else None)
    assert answer.get("code") == (None if agrees else -14) and signer.stats()["signatures"] == 2 * agrees


def test_a_second_enter_agrees_to_nothing(real: str, signer: EmulatorProcess, tmp_path: Path) -> None:
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{real}"')
    person = Person(tmp_path, signer, "signtx", payment().base64())
    person.child.expect_exact("PIN:")
    person.child.send(f"{PIN}\r{AGREE[real]}{AGREE[real]}")
    is_asked(person, real)
    with pytest.raises(pexpect.TIMEOUT):
        person.child.expect(pexpect.EOF, timeout=1.5)
    assert signer.stats()["signatures"] == 0
    person.child.send(LEAVE[real])
    assert person.answer()["code"] == -14 and signer.stats()["signatures"] == 0


def full() -> Draft:
    """As much as there is to tell."""
    far = [f"m/84h/0h/{number}h/1/{5_000_000 + number}" for number in range(9)]
    outs = [Out(b"\x51\x20" + OTHER.key(f"m/{number}")[1:], 1_000_000_000 + number) for number in range(40)]
    outs += [Out(p2wpkh(ME.key(path)), 7_000, [out_deriv(path)]) for path in far]
    outs += [Out(b"\x6a\x28" + b"x" * 40, 0), Out(b"\x51" * 300, 5), Out(b"\x6a\x28" + b"x" * 40, 500)]
    ins = [spend("p2wpkh", number, 14_000_000_000, sequence=144) for number in range(3)]
    return draft(*ins, outs=outs, lock_time=800_000)


def test_the_longest_text_is_seen_whole(real: str, signer: EmulatorProcess, tmp_path: Path) -> None:
    """On 24 lines of 80 columns; and for real as long as the limit says."""
    plan = make_plan(Psbt.parse(full().encode()), chain=Chain.MAIN, now=time.time(), **NO_LIMITS)
    text = transaction_text(plan, signer.serial, ME.fingerprint)
    assert len(text) > 0.8 * DESCRIPTION_LIMIT or len(text.splitlines()) > 0.8 * DESCRIPTION_LINES
    limits = [f'max_fee{name} = "off"' for name in ("", "_rate", "_percent")]
    configure(signer, 'confirm = "pinentry"', f'pinentry = "{real}"', *limits)
    person = Person(tmp_path, signer, "-p", PIN, "signtx", full().base64())
    is_asked(person, real)
    assert " ".join(text.split()) in person.screen, (text, person.screen)
    person.child.send(AGREE[real])
    assert person.answer()["signed"] is True


@pytest.mark.parametrize("lines", [DESCRIPTION_LINES, 1])
def test_the_limits_are_those_of_the_programs(real: str, signer: EmulatorProcess, tmp_path: Path, lines: int) -> None:
    """A message that fills the lines, or the bytes."""
    message = "word " * 300 if lines == 1 else "\\" * (DESCRIPTION_COLUMNS * 5)
    configure(signer, 'confirm = "pinentry"', f'pinentry = "{real}"')
    shown, _ = message_text(message.encode(), KeyPath.parse(KEY), signer.serial, ME.fingerprint)
    person = Person(tmp_path, signer, "-p", PIN, "signmessage", message, KEY)
    is_asked(person, real)
    if lines == 1:
        assert " ".join(shown.split()) in person.screen, person.screen
    assert "WARNING: only the first" in shown or "\\" * 50 in person.screen
    person.child.send(AGREE[real])
    assert "signature" in person.answer()


def test_letters_that_the_terminal_lacks(real: str, signer: EmulatorProcess, tmp_path: Path) -> None:
    configure(signer, 'confirm = "pinentry"', f'pinentry = "{real}"')
    for lang, wanted in (("C.UTF-8", "Grüße"), ("C", "Gr\\u00fc\\u00dfe" if real == "pinentry-curses" else "Gr")):
        person = Person(tmp_path, signer, "-p", PIN, "signmessage", "Grüße", KEY, lang=lang)
        is_asked(person, real)
        assert f'"{wanted}' in person.screen
        person.child.send(AGREE[real])
        assert "signature" in person.answer()


def test_a_window_that_is_too_small(signer: EmulatorProcess, tmp_path: Path) -> None:
    if shutil.which("pinentry-curses") is None:
        pytest.skip("pinentry-curses is not installed (Debian: apt-get install pinentry-curses)")
    configure(signer, 'confirm = "pinentry"', 'pinentry = "pinentry-curses"')
    answer = Person(tmp_path, signer, "-p", PIN, "signtx", payment().base64(), rows=7).answer()
    assert answer["code"] == -12 and "80 columns by 24 lines" in answer["error"]
    assert signer.stats()["signatures"] == 0


def test_gpg_agent_at_a_terminal(
    real: str, signer: EmulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The PIN is asked for once; each transaction is confirmed, the last one not."""
    configure(signer, 'pin_source = "gpg-agent"')
    agree = {"pinentry-curses": "\r", "pinentry-tty": "o"}[real]
    with gpg_agent(str(shutil.which(real)), monkeypatch):
        for number, keys in enumerate((agree, agree, LEAVE[real])):
            person = Person(tmp_path, signer, "signtx", payment().base64())
            if not number:
                person.child.expect_exact("<Cancel>" if real == "pinentry-curses" else "PIN:")
                person.child.send(f"{PIN}\r")
            is_asked(person, real, "OK")
            assert " ".join(" ".join(lines_of(signer)).split()) in person.screen, person.screen
            assert bool(number) != ("PIN:" in person.screen)
            person.child.send(keys)
            answer = person.answer()
            assert answer["signed"] is True if number < 2 else answer["code"] == -14
    assert signer.stats()["signatures"] == 4
