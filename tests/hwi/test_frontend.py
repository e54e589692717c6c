"""`--frontend`: what programs with windows are told besides HWI's answer, and the dialogue of `signtx`."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cryptnox_core import errors
from hwilib_cryptnox import errors as kinds
from hwilib_cryptnox.hwi import program
from hwilib_cryptnox.hwi.frontend import details_of
from hwilib_cryptnox.pin import policy
from tests.hwi.conftest import SEED, Program
from tests.psbt.factory import ME, OTHER, In, Out, deriv, draft, out_deriv, p2wpkh
from tests.psbt.test_message import TEXT, challenge, request
from tests.support.consent import consenting
from tests.support.emulator import PIN, EmulatorProcess
from tests.support.token import NAME, Token, plug

ACCOUNT = "m/84h/1h/0h"


@pytest.fixture
def card() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--seed", SEED, "--xpub-export") as emulator:
        yield emulator


def payment(inputs: int = 2, *, amount: int = 100_000, paid: int = 60_000, change: int | None = None) -> str:
    paths = [f"{ACCOUNT}/0/{number}" for number in range(inputs)]
    back = f"{ACCOUNT}/1/0"
    rest = inputs * amount - paid - 1_000 if change is None else change
    outs = [Out(p2wpkh(OTHER.key("m/0")), paid), Out(p2wpkh(ME.key(back)), rest, [out_deriv(back)])]
    coins = [In(p2wpkh(ME.key(path)), amount, fields=[deriv(path)]) for path in paths]
    return draft(*coins, outs=outs).base64()


def run(
    card: EmulatorProcess,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *words: str,
    answers: str = "",
    pin: str = PIN,
) -> list[Any]:
    """All lines of a run; `answers` come by stdin after the PIN."""
    policy._refused.clear()
    policy._noted.clear()
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{pin}\n{answers}"))
    head = ("--frontend", "--stdinpass", "-t", "cryptnox", "-d", card.path, "--chain", "regtest")
    assert program.run([*head, *words]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_shown_agreed_counted_and_signed(
    card: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    review, first, second, answer = run(card, monkeypatch, capsys, "signtx", payment(), answers="sign\n")
    shown = review["review"]
    assert (shown["signatures"], shown["fee"], shown["high_fee"], shown["chain"]) == (2, 1_000, None, "regtest")
    assert shown["card"] == {"serial": str(card.serial), "fingerprint": ME.fingerprint.hex(), "emulated": True}
    assert [output["change"] for output in shown["outputs"]] == [False, True]
    assert (first, second) == ({"signing": 1, "of": 2}, {"signing": 2, "of": 2})
    assert answer["signed"] is True and card.stats()["signatures"] == 2


@pytest.mark.parametrize("answers", ["", "\n", "no\n", "SIGN\n", "signature\n", "sign 1000\n", "\nsign\n"])
def test_anything_else_signs_nothing(
    card: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answers: str
) -> None:
    review, answer = run(card, monkeypatch, capsys, "signtx", payment(), answers=answers)
    assert "review" in review and (answer["code"], answer["kind"]) == (-14, "canceled")
    assert card.stats()["signatures"] == 0


def test_a_message_is_signed_once_it_was_seen(
    card: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for answers, made in (("no\n", 0), ("sign\n", 1)):
        review, *_, answer = run(
            card, monkeypatch, capsys, "--chain", "main", "signtx", request(challenge()).base64(), answers=answers
        )
        assert review["review"]["message"]["text"] == TEXT and card.stats()["signatures"] == made
    assert answer["signed"] is True


def test_a_high_fee_is_signed_only_with_its_number(
    card: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = payment(amount=30_000_000, change=1_000_000)
    fee = 60_000_000 - 60_000 - 1_000_000
    for answers in ("sign\n", f"sign {fee + 1}\n", f"{fee}\n"):
        review, answer = run(card, monkeypatch, capsys, "signtx", given, answers=answers)
        assert review["review"]["high_fee"] and answer["kind"] == "canceled"
    assert card.stats()["signatures"] == 0
    *_, answer = run(card, monkeypatch, capsys, "signtx", given, answers=f"sign {fee}\n")
    assert answer["signed"] is True


def test_without_it_nothing_is_different(hwi: Program, card: EmulatorProcess) -> None:
    """One line, no kind, no question; a high fee is refused."""
    assert hwi.on(card, "--chain", "regtest", "signtx", payment())["signed"] is True
    assert set(hwi.on(card, "getxpub", "m/84h/0h/0h")) == {"xpub"}
    assert set(hwi.on(card, "getxpub", "m/84h/0h/0h", pin="111111")) == {"error", "code"}
    refused = hwi.on(card, "--chain", "regtest", "signtx", payment(amount=30_000_000, change=1_000_000))
    assert refused["code"] == -7 and "kind" not in refused


def test_a_key_says_whose_it_is(
    card: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (answer,) = run(card, monkeypatch, capsys, "getxpub", "m/84h/1h/0h")
    assert answer["fingerprint"] == ME.fingerprint.hex() and answer["xpub"].startswith("tpub")


def test_a_wrong_pin_tells_how_many_are_left(
    card: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (first,) = run(card, monkeypatch, capsys, "getxpub", "m/84h/1h/0h", pin="111111")
    (second,) = run(card, monkeypatch, capsys, "signtx", payment(), answers="sign\n", pin="222222")
    assert first["kind"] == second["kind"] == "wrong_pin" and second["tries_left"] == first["tries_left"] - 1
    assert card.stats()["signatures"] == 0


@pytest.mark.parametrize(
    ("error", "details"),
    [
        (kinds.RefusedPinError("x", 2, spent=True), {"kind": "wrong_pin", "tries_left": 2}),
        (kinds.RefusedPinError("x", 2), {"tries_left": 2}),  # refused before: this one was not sent
        (kinds.RefusedPinError("x", spent=True), {"kind": "wrong_pin"}),
        (kinds.LastTryError("x"), {"kind": "last_try", "tries_left": 1}),
        (kinds.LockedPinError("x"), {"kind": "pin_locked"}),
        (kinds.SoftLockedError(), {"kind": "pin_locked"}),
        (kinds.NoPinError("x"), {"kind": "no_pin"}),
        (kinds.CanceledError("x"), {"kind": "canceled"}),
        (KeyboardInterrupt(), {"kind": "canceled"}),
        (kinds.ExportOffError(), {"kind": "export_off"}),
        (kinds.NoWalletError("x"), {"kind": "no_wallet"}),
        (errors.ReaderBusyError("x"), {"kind": "busy"}),
        (errors.CardRemovedError("x"), {"kind": "no_card"}),
        (kinds.CardNotFoundError("x"), {"kind": "no_card"}),
        (kinds.RetoldError(kinds.RefusedPinError("x", 3, spent=True), "y"), {"kind": "wrong_pin", "tries_left": 3}),
        (kinds.BadRequestError("x"), {}),
        (ValueError("x"), {}),
    ],
)
def test_kinds(error: BaseException, details: dict[str, object]) -> None:
    assert details_of(error) == details


def test_nobody_listens_any_more(card: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """The window was closed while the card was asked: nothing is signed."""

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def fileno(self) -> int:
            return -1

        def flush(self) -> None:
            """It has nothing."""

    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PIN}\nsign\n"))
    monkeypatch.setattr(sys, "stdout", Closed())
    words = ("--frontend", "--stdinpass", "-t", "cryptnox", "-d", card.path, "--chain", "regtest", "signtx", payment())
    program.run(list(words))
    assert card.stats()["signatures"] == 0


def test_touches_of_an_approving_key_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Before the review what reading takes, after it one line for each signature; the list says which cards want it."""
    token = Token()
    plug(monkeypatch, token)
    with consenting(token, tmp_path) as card:
        lines = run(card, monkeypatch, capsys, "signtx", payment(), answers="sign\n")
        assert [next(iter(line)) for line in lines] == [
            *("touch", "touch", "review"),
            *("signing", "touch", "signing", "touch"),
            "psbt",
        ]
        assert [line["touch"] for line in lines if "touch" in line] == [
            f"1 touch of {NAME} to read keys, then one for each signature",
            f"Touch {NAME} to read keys",
            f"Touch {NAME} to sign: 2 touches left",
            f"Touch {NAME} to sign: 1 touch left",
        ]
        used = len(token.messages)
        assert run(card, monkeypatch, capsys, "signtx", payment(), answers="no\n")[-1]["kind"] == "canceled"
        assert len(token.messages) == used + 1
        monkeypatch.setenv("CRYPTNOX_EMULATOR", f"{card.host}:{card.port}")
        used = len(token.messages)
        capsys.readouterr()
        assert program.run(["--frontend", "--emulators", "enumerate"]) == 0
        (entry,) = json.loads(capsys.readouterr().out)
        assert entry["approved"] is True and "error" not in entry
        assert len(token.messages) == used
