"""`hwi-cryptnox` over a man in the middle who shifts the IV before each command of each flow: the right answer or an
error, never a wrong one told as right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path as File
from typing import Any

import pytest

from cryptnox_core.card import Card
from cryptnox_core.transport.tcp import RemoteTransport
from cryptnox_core.wire import Ins
from tests.hwi.conftest import SEED, Program
from tests.hwi.test_setup import OPENING, OWN_PIN, WORDS, Typist
from tests.psbt.factory import ME, OTHER, In, Out, deriv, draft, out_deriv, p2wpkh
from tests.signer.test_signing import check
from tests.support.emulator import PIN, EmulatorProcess
from tests.support.middle import Middle
from tests.support.shifter import Between, Shifter, Watcher
from tests.support.signed_message import verify_message

DEEP = "m/84h/0h/0h/0/5"
LONGEST = "m/1h/2h/3h/4h/5/6/7/8"


@pytest.fixture(scope="module")
def off() -> Iterator[EmulatorProcess]:
    """The same card, which gives no extended keys."""
    with EmulatorProcess("--seed", SEED) as emulator:
        yield emulator


def payment() -> Any:
    """Two inputs of one account, one of a multisig path, change."""
    ours = [
        In(p2wpkh(ME.key(path)), 50_000, [deriv(path)], salt=salt)
        for salt, path in enumerate(("m/84h/0h/0h/0/0", "m/84h/0h/0h/1/7", "m/48h/0h/0h/2h/0/3"))
    ]
    change = "m/84h/0h/0h/1/8"
    outs = [Out(p2wpkh(OTHER.key("m/0")), 60_000), Out(p2wpkh(ME.key(change)), 80_000, [out_deriv(change)])]
    return draft(*ours, outs=outs)


Judge = Callable[[Any, Any], bool]


def same(answer: Any, right: Any) -> bool:
    return bool(answer == right)


def signed_message(path: str) -> Judge:
    return lambda answer, _: verify_message(ME.key(path), "hello", answer["signature"])


def signed_payment(answer: Any, _: Any) -> bool:
    check(answer, payment())
    return True


READING: dict[str, tuple[list[str], Judge]] = {
    "fingerprint": (["enumerate"], same),
    "getmasterxpub": (["getmasterxpub"], same),
    "getxpub, account": (["getxpub", "m/84h/0h/0h"], same),
    "getxpub, address": (["--expert", "getxpub", DEEP], same),
    "getxpub, multisig": (["getxpub", "m/48h/0h/0h/2h"], same),
    "getxpub, hardened": (["--expert", "getxpub", "m/48h/0h/0h/2h/3/4h"], same),
    "getxpub, longest": (["--expert", "getxpub", LONGEST], same),
    "getdescriptors": (["getdescriptors"], same),
    "getkeypool": (["getkeypool", "0", "10"], same),
    "getkeypool, path": (["getkeypool", "--path", "m/48h/0h/0h/2h/0/*", "0", "10"], same),
    "signmessage": (["signmessage", "hello", DEEP], signed_message(DEEP)),
    "signmessage, longest": (["signmessage", "hello", LONGEST], signed_message(LONGEST)),
    "signtx": (["signtx", payment().base64()], signed_payment),
}
WITHOUT_EXPORT = [name for name in READING if name.startswith(("fingerprint", "sign"))]
CASES = [*((name, True) for name in READING), *((name, False) for name in WITHOUT_EXPORT)]


def ask(hwi: Program, server: Middle, words: list[str]) -> Any:
    """The answer of one command; that of `enumerate` is its one entry."""
    if words == ["enumerate"]:
        entries = hwi("--emulators", "-p", PIN, "enumerate", env={"CRYPTNOX_EMULATOR": server.path[4:]})
        assert len(entries) <= 1
        entry = entries[0] if entries else {"error": "it is not listed", "code": -3}
        return {name: value for name, value in entry.items() if name != "path"}
    return hwi("-t", "cryptnox", "-d", server.path, "-p", PIN, *words)


@pytest.mark.parametrize(("name", "export"), CASES, ids=[f"{name}{'' if on else ', export off'}" for name, on in CASES])
def test_reading_and_signing(
    name: str, export: bool, signer: EmulatorProcess, off: EmulatorProcess, hwi: Program
) -> None:
    words, right = READING[name]
    card = signer if export else off
    between = Between(watcher := Watcher())
    with Middle(card, between) as server:
        expected = ask(hwi, server, words)
        assert "error" not in expected and right(expected, expected), expected
        for before in range(watcher.commands + 1):
            between.him = him = Shifter(before=before)
            answer = ask(hwi, server, words)
            assert him.shifts
            assert right(answer, expected) if "error" not in answer else isinstance(answer["code"], int), answer
    assert card.stats()["pin_tries"] == 0


# Setting a card up


def check_restore(folder: File, him: Shifter) -> bool:
    """Success is told only of a card that holds the seed of the words. Whether he had a part in it."""
    with EmulatorProcess() as blank, Middle(blank, him) as server:
        typist = Typist(folder, server, "-i", "restore", "-w", "12")
        typist.types(*WORDS, *OPENING)
        answer = typist.answer()
        if "error" in answer:
            assert isinstance(answer["code"], int) and him.shifts
            return True
        with Card(RemoteTransport.connect(server.host, server.port)) as card:
            him.before = -1
            card.open_channel()
            card.verify_pin(OWN_PIN)
            assert answer == {"success": True} and card.master_fingerprint().hex() == "73c5da0a"
    return him.shifts > 0


def test_restore(tmp_path: File) -> None:
    assert check_restore(tmp_path, Shifter(only=Ins.LOAD_KEY))


@pytest.mark.heavy
def test_restore_at_every_command(tmp_path: File) -> None:
    for before in count(1):
        folder = tmp_path / str(before)
        folder.mkdir()
        if not check_restore(folder, Shifter(before=before)):
            break
    assert before > 5
