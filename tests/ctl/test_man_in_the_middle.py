"""`cryptnoxctl` over a man in the middle who shifts the IV before each command of each flow: the right answer or an
error, never a wrong one told as right."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import pytest

from cryptnox_core.card import Card
from cryptnox_core.commands.setup import pairing_key_from_puk
from cryptnox_core.errors import CryptnoxError
from cryptnox_core.transport.tcp import RemoteTransport
from cryptnox_core.wire import PAIRING_INDEX_PUK, Ins
from hwilib_cryptnox.ctl.main import main
from hwilib_cryptnox.pin import policy as unlock
from hwilib_cryptnox.storage.state import State
from tests.ctl.program import PIN, PUK, SEED, dialogue, ended, shown, terminal
from tests.psbt.factory import draft, spend
from tests.signer.test_signing import check
from tests.support.emulator import EmulatorProcess
from tests.support.middle import Middle
from tests.support.shifter import Between, Shifter, Watcher

DEEP = "m/84h/0h/0h/0/5"
LONGEST = "m/1h/2h/3h/4h/5/6/7/8"
NEW_PIN, NEW_PUK = "73519", "another-puk!"


@pytest.fixture(scope="module")
def on() -> Iterator[EmulatorProcess]:
    """A card with a wallet, xpub export on, shared: none of the commands changes it."""
    with EmulatorProcess("--seed", SEED, "--xpub-export") as process:
        yield process


@pytest.fixture(scope="module")
def off() -> Iterator[EmulatorProcess]:
    """The same, xpub export off."""
    with EmulatorProcess("--seed", SEED) as process:
        yield process


class Ctl:
    """`cryptnoxctl --json` as a function."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, server: Middle, *words: str) -> tuple[int, Any]:
        unlock._refused.clear()
        unlock._noted.clear()
        self._capsys.readouterr()
        stdin = io.TextIOWrapper(io.BytesIO(f"{PIN}\n".encode()), "utf-8")
        before = signal.getsignal(signal.SIGTERM)
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", stdin)
            patch.setenv("CRYPTNOX_EMULATOR", server.path[4:])
            try:
                code = main([*words, "--json", "--stdinpass"])
            finally:
                signal.signal(signal.SIGTERM, before)
        out, error = self._capsys.readouterr()
        assert out, error
        return code, json.loads(out)


@pytest.fixture
def ctl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ctl:
    return Ctl(monkeypatch, capsys)


PAYMENT = draft(spend("p2wpkh"), spend("p2wsh", 1))
VOLATILE = {"psbt", "signature", "reader", "seconds", "apdus"}
"""What differs from run to run."""

FLOWS: dict[str, list[str]] = {
    "address": ["address", "0-2"],
    "address, path": ["address", "--path", DEEP],
    "address, longest path": ["address", "--path", LONGEST],
    "address, short path": ["address", "--path", "m/5h"],
    "xpub": ["xpub", "show", DEEP],
    "descriptors": ["descriptors"],
    "export": ["export", "coldcard"],
    "message": ["message", "sign", "hello", "--path", DEEP],
    "message, bip322": ["message", "sign", "hello", "--bip322", "--path", LONGEST],
    "sign": ["sign", "PSBT", "--yes"],
}
WITHOUT_EXPORT = [name for name in FLOWS if name.startswith(("address", "message", "sign"))]
CASES = [*((name, True) for name in FLOWS), *((name, False) for name in WITHOUT_EXPORT)]


def kept(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in VOLATILE}


@pytest.mark.parametrize(("name", "export"), CASES, ids=[f"{name}{'' if on else ', export off'}" for name, on in CASES])
def test_reading_and_signing(
    name: str, export: bool, on: EmulatorProcess, off: EmulatorProcess, ctl: Ctl, tmp_path: File
) -> None:
    file = tmp_path / "payment.psbt"
    file.write_bytes(PAYMENT.encode())
    words = [str(file) if word == "PSBT" else word for word in FLOWS[name]]
    card = on if export else off
    between = Between(watcher := Watcher())
    with Middle(card, between) as server:
        code, expected = ctl(server, *words)
        assert code == 0, expected
        for before in range(watcher.commands + 1):
            between.him = him = Shifter(before=before)
            for left in tmp_path.glob("*signed*"):
                left.unlink()
            code, answer = ctl(server, *words)
            assert him.shifts
            assert kept(answer) == kept(expected) if code == 0 else "error" in answer, answer
            if code == 0 and words[0] == "message":
                assert ctl(server, "message", "verify", expected["address"], answer["signature"], "hello")[1]["valid"]
            if code == 0 and words[0] == "sign":
                check({"psbt": answer["psbt"], "signed": True}, PAYMENT)
    assert card.stats()["pin_tries"] == 0


# What changes the card: what it was told is true


def opens(card: EmulatorProcess, pairing_key: bytes | None, pin: str | None, puk: str | None, index: int = 0) -> bool:
    """Whether a card takes a pairing key, a PIN and a PUK (None: what it had before)."""
    try:
        with Card(RemoteTransport.connect(card.host, card.port, wait=5)) as found:
            found.open_channel(pairing_key, index=index)
            found.verify_pin(pin or PIN)
            found.set_xpub_export(True, puk or PUK)
    except CryptnoxError:
        return False
    return True


CHANGES: dict[str, tuple[list[str], list[tuple[str, str]], dict[str, str]]] = {
    "pin": (
        ["pin", "change"],
        [("PIN of card", PIN), ("New PIN", NEW_PIN), (("Type it again"), NEW_PIN)],
        {"pin": NEW_PIN},
    ),
    "pin, with PUK": (
        ["pin", "change", "--with-puk"],
        [("PUK", PUK), ("New PIN", NEW_PIN), ("Type it again", NEW_PIN)],
        {"pin": NEW_PIN},
    ),
    "puk": (["puk", "change"], [("PUK", PUK), ("New PUK", NEW_PUK), ("Type it again", NEW_PUK)], {"puk": NEW_PUK}),
}
PAIRING: dict[str, tuple[list[str], list[tuple[str, str]], dict[str, str]]] = {
    "pairing": (["pairing", "change"], [("PUK", PUK)], {}),
}


def check_change(change: tuple[list[str], list[tuple[str, str]], dict[str, str]], him: Watcher) -> bool:
    """After success the card takes what was set; after an error it takes that or what it had. Whether he had a part."""
    words, typed, new = change
    with EmulatorProcess("--seed", SEED) as card, Middle(card, him) as server:
        with terminal(server, *words) as child:
            try:
                dialogue(child, *typed)
            except Exception:  # noqa: BLE001 - it ended before all was asked
                assert "Error:" in "".join(child.seen)
            code = ended(child)
        keys = State().pairing_keys(card.serial) or (None,)
        changed = any(opens(card, key, new.get("pin"), new.get("puk")) for key in (keys[:1] if code == 0 else keys))
        there = code and any(opens(card, key, None, None) for key in (*keys, None))
        if not changed and not there:
            # The first half of a pairing key is another: the PUK gets the card back, and that is said.
            assert code and "pairing recover" in shown(child)
            assert opens(card, pairing_key_from_puk(PUK), None, None, PAIRING_INDEX_PUK)
        assert code == 0 or not isinstance(him, Shifter) or him.shifts
        State().keep_pairing_key(card.serial, None)
    return isinstance(him, Shifter) and him.shifts > 0


@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_pin_and_puk(name: str) -> None:
    assert check_change(CHANGES[name], Shifter(only=Ins.CHANGE_SECRET))
    assert not check_change(CHANGES[name], Watcher())


@pytest.mark.heavy
@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_pin_and_puk_at_every_command(name: str) -> None:
    check_everywhere(CHANGES[name])


def check_everywhere(change: tuple[list[str], list[tuple[str, str]], dict[str, str]]) -> None:
    before = 1
    while check_change(change, Shifter(before=before)):
        before += 1
    assert before > 1


def test_change_of_the_pairing_key() -> None:
    assert check_change(PAIRING["pairing"], Shifter(only=Ins.CHANGE_PAIRING_KEY))


@pytest.mark.heavy
def test_change_of_the_pairing_key_at_every_command() -> None:
    check_everywhere(PAIRING["pairing"])
