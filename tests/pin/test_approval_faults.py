"""Faults of the card at every command, and of the token at every use of its key, in all that a touched key is used for:
no more uses than needed, no signature lost or made twice, no PIN sent, and the next run works."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cryptnox_core.errors import CryptnoxError
from hwilib_cryptnox.ctl import tokens
from hwilib_cryptnox.ctl.main import main
from hwilib_cryptnox.errors import (
    ApproverCanceledError,
    ApproverPinError,
    ApproverRefusedError,
    ApproverTimeoutError,
    NoApproverError,
)
from hwilib_cryptnox.pin.token_uri import TokenUri
from hwilib_cryptnox.storage.state import State
from tests.hwi.conftest import Program
from tests.pin.test_approval import ADDRESS, Cut, digests_of
from tests.psbt.factory import Draft
from tests.signer.test_signing import account, check
from tests.support.consent import consenting
from tests.support.emulator import PIN, PUK, EmulatorProcess
from tests.support.middle import Ask, Middle
from tests.support.token import URI, Token, plug

LOST = pytest.mark.parametrize("answer", [False, True], ids=["command lost", "answer lost"])


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> Token:
    made = Token()
    plug(monkeypatch, made)
    monkeypatch.setenv("CRYPTNOX_REINSERT_WAIT", "0.3")
    return made


@pytest.fixture
def card(token: Token, tmp_path: Path) -> Iterator[EmulatorProcess]:
    with consenting(token, tmp_path) as made:
        yield made


@dataclass(frozen=True)
class Use:
    """A command of HWI's, and what its answer holds when all is well."""

    words: tuple[str, ...]
    good: Callable[[Any], bool]
    given: Draft | None = None
    """What it signs."""

    @property
    def digests(self) -> list[bytes]:
        return [] if self.given is None else digests_of(self.given)

    @property
    def signatures(self) -> int:
        return len(self.digests) or int(self.words[0] == "signmessage")

    @property
    def touches(self) -> int:
        return int(self.words[0] != "enumerate") + self.signatures

    def run(self, hwi: Program, path: str, **env: str) -> Any:
        """Its answer: a fault ends in an error of HWI's, never in anything else."""
        if self.words[0] == "enumerate":
            return hwi("--emulators", "enumerate", env={"CRYPTNOX_EMULATOR": path.removeprefix("tcp:"), **env})
        return hwi("-t", "cryptnox", "-d", path, *self.words, env=env)


def signing(inputs: int) -> Use:
    given = account(inputs)
    return Use(("signtx", given.base64()), lambda said: bool(check(said, given)), given)


USES = {
    "enumerate": Use(("enumerate",), lambda said: said[0]["error"].startswith("a touch of the approving key")),
    "xpub": Use(("getmasterxpub",), lambda said: said["xpub"].startswith("xpub")),
    "descriptors": Use(("getdescriptors",), lambda said: len(said["receive"]) == 3),
    "signmessage": Use(("signmessage", "text", ADDRESS), lambda said: len(said["signature"]) == 88),
    "signtx 1": signing(1),
    "signtx 10": signing(10),
    "signtx 60": signing(60),
}
SOME = {"signtx 10": 5, "signtx 60": 13}
"""Of how many places one is tried: each command and each use is in the middle of others that are like it."""
QUICK = ("enumerate", "signmessage", "signtx 1")
EACH = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.heavy) for name in USES]
)


def failed(said: Any) -> bool:
    return isinstance(said, dict) and "error" in said


def approved(token: Token, use: Use) -> Counter[bytes]:
    """How often the token was asked for each digest."""
    return Counter(message for message in token.messages if message in use.digests)


def challenges(token: Token, use: Use) -> int:
    return len(token.messages) - approved(token, use).total()


def judge_the_end(use: Use, card: EmulatorProcess, hwi: Program) -> None:
    """The next run works, nothing is left over, and no PIN was sent nor asked about."""
    said = use.run(hwi, card.path)
    assert use.good(said), said
    assert card.stats()["by_ins"].get("20", 0) == 0 and card.stats()["pin_tries"] == 0
    assert not list((State().folder / "partial").glob("*"))


@LOST
@EACH
@pytest.mark.timeout(900)
def test_the_card_comes_back(name: str, answer: bool, card: EmulatorProcess, token: Token, hwi: Program) -> None:
    """One command of each place is lost, or its answer; the connection ends, and the next one works."""
    use, number = USES[name], 0
    while True:
        number += SOME.get(name, 1)
        cut, made = Cut(number, answer=answer), card.stats()["signatures"]
        token.messages.clear()
        with Middle(card, cut) as middle:
            said = use.run(hwi, middle.path)
            missed = failed(said) or (name == "enumerate" and not (said and use.good(said)))
            if missed:  # before anything was approved; a transaction goes on where it was once the card is open
                assert len(token.messages) <= int(use.given is None) and card.stats()["signatures"] == made, said
                token.messages.clear()
                said = use.run(hwi, middle.path)
            assert use.good(said), (number, said)
        assert all(times == 1 for times in approved(token, use).values())
        if use.given is None:
            assert use.touches <= len(token.messages) <= use.touches + 1
        else:
            assert approved(token, use).total() == use.signatures and challenges(token, use) in (1, 2)
        assert use.signatures <= card.stats()["signatures"] - made <= use.signatures + answer
        if cut.seen < number:
            break
    token.messages.clear()
    judge_the_end(use, card, hwi)
    assert len(token.messages) == use.touches


class Gone:
    """The card leaves for good at the APDU with a number, from 1: with the command, or with its answer."""

    def __init__(self, number: int, *, answer: bool) -> None:
        self._number, self._answer = number, answer
        self.seen = 0
        self.middle: Middle | None = None

    def __call__(self, apdu: bytes, ask: Ask) -> bytes | None:
        self.seen += 1
        if self.seen != self._number:
            return ask(apdu)
        assert self.middle is not None
        self.middle.gone = True
        if self._answer:
            ask(apdu)
        return None


@LOST
@EACH
@pytest.mark.timeout(1800)
def test_the_card_stays_away(name: str, answer: bool, card: EmulatorProcess, token: Token, hwi: Program) -> None:
    """The next run makes what is missing: at most one digest was approved in vain, one signature lost on its way."""
    use, number = USES[name], 0
    while True:
        number += SOME.get(name, 1)
        gone, made = Gone(number, answer=answer), card.stats()["signatures"]
        token.messages.clear()
        with Middle(card, gone) as gone.middle:
            said = use.run(hwi, gone.middle.path, CRYPTNOX_WAIT="0.1")
        ended = gone.seen < number
        if ended:
            assert use.good(said), said
            break
        for one in said if name == "enumerate" else [said]:  # who is not let in holds the card for busy
            assert failed(one) and one["code"] in (-3, -12, -13, -15), said
        assert challenges(token, use) <= 1 + int(use.words[0] == "signmessage")
        judge_the_end(use, card, hwi)
        twice = [times for times in approved(token, use).values() if times != 1]
        assert twice in ([], [2])
        assert use.signatures <= card.stats()["signatures"] - made <= use.signatures + answer


FAULTS = {
    "timeout": (ApproverTimeoutError("nobody touched it"), -12),
    "refused": (ApproverRefusedError("it refused"), -12),
    "wrong signature": (ApproverRefusedError("what it signed is not a signature of its key; it was not used"), -12),
    "canceled": (ApproverCanceledError("canceled"), -14),
    "pin": (ApproverPinError("wrong token PIN", 2, spent=True), -12),
    "pulled out": (NoApproverError("it is not there"), -12),
}


@pytest.mark.parametrize("fault", FAULTS)
@EACH
@pytest.mark.timeout(900)
def test_the_token_fails(name: str, fault: str, card: EmulatorProcess, token: Token, hwi: Program) -> None:
    """At each use of its key. What was signed until then is kept; nothing is approved twice."""
    use, (error, code) = USES[name], FAULTS[fault]
    if not use.touches:
        token.there, token.pin_error = False, ApproverPinError("wrong token PIN", 2, spent=True)
        assert use.good(use.run(hwi, card.path)) and token.opened == 0
        return
    for at in range(0, use.touches, SOME.get(name, 1)):
        made = card.stats()["signatures"]
        token.messages.clear()
        token.next_uses = [*[None] * at, *[error] * (4 if fault == "pulled out" else 1)]
        said = use.run(hwi, card.path)
        assert failed(said) and said["code"] == code, said
        token.next_uses, before = [], len(token.given)
        assert card.stats()["signatures"] - made == max(0, at - 1)
        judge_the_end(use, card, hwi)
        given = len(token.given) - before
        assert given == use.touches - (max(0, at - 1) if use.given is not None else 0)
        assert card.stats()["signatures"] - made == use.signatures


@pytest.mark.parametrize("fault", ["not there", "wrong pin"])
@EACH
def test_the_token_is_not_ready(name: str, fault: str, card: EmulatorProcess, token: Token, hwi: Program) -> None:
    """Said at once: no touch, no challenge of the card, no signature; its PIN is given once."""
    use = USES[name]
    if fault == "not there":
        token.there = False
    else:
        token.pin_error = ApproverPinError("wrong token PIN", 2, spent=True)
    said = use.run(hwi, card.path)
    assert use.good(said) if not use.touches else said["code"] == -12
    assert token.messages == [] and token.opened <= 1
    assert card.stats()["by_ins"].get("D6", 0) == 0 and card.stats()["signatures"] == 0
    token.there, token.pin_error = True, None
    judge_the_end(use, card, hwi)


# Setting it up


class Made(Token):
    """As `cryptnoxctl` finds it: with a name that can be written down."""

    @property
    def uri(self) -> TokenUri:
        return TokenUri.parse(URI)


@dataclass(frozen=True)
class Step:
    """A command that sets it up."""

    words: tuple[str, ...]
    uses: int
    pin_auth: bool
    """What the card has afterwards."""


STEPS = {
    "add": Step(("user-key", "add", "--pkcs11", "test", "--stdinpuk"), 0, True),
    "test": Step(("user-key", "test", "--pkcs11", "test"), 1, True),
    "off": Step(("pin-auth", "off", "--yes", "--pkcs11", "test", "--stdinpuk"), 1, False),
}


@pytest.fixture
def ctl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(card: EmulatorProcess, token: Made, step: Step) -> tuple[int, str]:
        with monkeypatch.context() as patch:
            patch.setattr(tokens, "TokenApprover", lambda *_, **__: token)
            patch.setenv("CRYPTNOX_EMULATOR", f"{card.host}:{card.port}")
            patch.setenv("CRYPTNOX_PIN", PIN)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{PUK}\n".encode())))
            capsys.readouterr()
            try:
                code = main([*step.words])
            except SystemExit as end:
                code = int(end.code or 0)
        out, error = capsys.readouterr()
        return code, f"{out} {error}"

    return run


@pytest.mark.parametrize("fault", [*FAULTS, "not there", "wrong pin"])
@pytest.mark.parametrize("name", STEPS)
def test_the_token_fails_while_it_is_set_up(
    name: str, fault: str, tmp_path: Path, ctl: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is switched without an answer of the key; the PUK is not sent, no try of anything is spent, and the same
    command works afterwards."""
    token, step = Made(), STEPS[name]
    with consenting(token, tmp_path, pin_auth=True, **({"user_keys": {}} if name == "add" else {})) as card:
        if fault == "not there":
            token.there = False
        elif fault == "wrong pin":
            token.pin_error = FAULTS["pin"][0]  # type: ignore[assignment]
        else:
            token.next_uses = [FAULTS[fault][0]] * (4 if fault == "pulled out" else 1)
        monkeypatch.setenv("CRYPTNOX_REINSERT_WAIT", "0.3")
        code, said = ctl(card, token, step)
        memory = json.loads((tmp_path / "card.json").read_text())
        touched = step.uses and fault not in ("not there", "wrong pin")
        if name == "add" and fault not in ("not there",):  # it uses the key not at all, nor needs the token's PIN
            assert code == 0 and memory["user_keys"], said
        else:
            assert code in (1, 4), said
            assert "Traceback" not in said and memory["pin_auth"]
            assert "C3" not in card.stats()["by_ins"] and "D5" not in card.stats()["by_ins"]
            token.there, token.pin_error, token.next_uses = True, None, []
            code, said = ctl(card, token, step)
            assert code == 0, said
        assert len(token.given) == step.uses and len(token.messages) >= step.uses + bool(touched)
        stats = card.stats()
        assert (stats["pin_tries"], stats["puk_tries"], stats["signatures"]) == (0, 0, 0)
        memory = json.loads((tmp_path / "card.json").read_text())
        assert memory["pin_auth"] is step.pin_auth and len(memory["user_keys"]) == 1


@LOST
@pytest.mark.parametrize("name", STEPS)
@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_the_card_fails_while_it_is_set_up(
    name: str, answer: bool, tmp_path: Path, ctl: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every command. What is told is what the card holds, no try is spent, and the same command brings it about."""
    step, number = STEPS[name], 0
    monkeypatch.setenv("CRYPTNOX_REINSERT_WAIT", "3")
    while True:
        number += 1
        folder, token = tmp_path / str(number), Made()
        folder.mkdir()
        with consenting(token, folder, pin_auth=True, **({"user_keys": {}} if name == "add" else {})) as card:
            cut = Cut(number, answer=answer)
            with Middle(card, cut) as middle:
                code, said = ctl(middle, token, step)  # type: ignore[arg-type]
            assert "Traceback" not in said
            assert len(token.messages) <= step.uses
            if code == 0 or _there(folder, step):
                assert _there(folder, step), said
            if code:
                code, said = ctl(card, token, step)
                assert code == 0 or (name == "add" and "already" in said), said
            assert _there(folder, step)
            assert len(token.messages) <= 2 * step.uses
            assert (card.stats()["pin_tries"], card.stats()["puk_tries"], card.stats()["signatures"]) == (0, 0, 0)
        if cut.seen < number:
            return


def _there(folder: Path, step: Step) -> bool:
    """Whether the card holds what the command is for."""
    memory = json.loads((folder / "card.json").read_text())
    return memory["pin_auth"] is step.pin_auth and len(memory["user_keys"]) == 1


def test_faults_end_in_errors_of_ours() -> None:
    """None of these is a card's."""
    assert not any(isinstance(error, CryptnoxError) for error, _ in FAULTS.values())
