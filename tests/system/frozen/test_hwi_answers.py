"""What `hwi-cryptnox` answers where a command cannot be done: provoked with real inputs on the emulated card.

`hwi.jsonl` has a line for each command line: the card (one of `running.CARDS`, or the options of one of its own),
words, environment, configuration, stdin and files, then exit status, code and text. A text that is null is worded by
Python's argparse. <path>, <address> and <serial> are the card's, <tmp> is the test's folder,
<config> the configuration's, <xpub> an account key.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import hwilib_cryptnox
from tests.support.emulator import MNEMONIC, PIN, EmulatorProcess
from tests.support.optional import hwilib
from tests.system.frozen import names, running, tables

pytestmark = pytest.mark.xdist_group("frozen answers")  # they share their cards

CASES = tables.read(Path(__file__).with_name("hwi.jsonl"))
XPUB = "xpub6CatWdiZiodmUeTDp8LT5or8nmbKNcuyvz7WyksVFkKB4RHwCD3XyuvPEbvqAQY3rAPshWcMLoP2fMFMKHPJ4ZeZXYVUhLv1VMrjPC7PW6V"
WRONG = "111111"
PINENTRY = """#!/bin/sh
echo OK
while read word rest; do
    case "$word" in
        GETPIN|CONFIRM) echo "%s" ;;
        *) echo OK ;;
    esac
done
"""
DIALOGUES = {"CANCEL": "ERR 83886179 Operation cancelled", "SMALL": "ERR 83886381 Screen or window too small"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_answer(
    case: dict[str, Any],
    cards: running.Cards,
    psbts: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        card = cards.of(case.get("card"), stack)

        def fill(text: str) -> str:
            return running.filled(text.replace("<xpub>", XPUB), card, tmp_path)

        for name, value in case.get("env", {}).items():
            monkeypatch.setenv(name, fill(value))
        for name, content in case.get("files", {}).items():
            file = tmp_path / name
            file.write_text(PINENTRY % DIALOGUES[content] if content in DIALOGUES else content)
            file.chmod(0o755 if content in DIALOGUES else 0o644)
        if "config" in case:
            running.configure(*map(fill, case["config"]))
        words = [psbts.get(word, fill(word)) for word in case["words"]]
        status, answer = running.hwi(monkeypatch, *words, stdin=case.get("stdin", ""))
    assert (status, answer["code"]) == (case.get("status", 0), case["code"])
    assert case["text"] is None or answer == {"error": fill(case["text"]), "code": case["code"]}


def test_no_case_stands_twice() -> None:
    assert len(CASES) > 100
    assert len({case["name"] for case in CASES}) == len(CASES)


class Wallet:
    """Commands on one card of a test's own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, card: EmulatorProcess) -> None:
        self._monkeypatch = monkeypatch
        self._card = card

    def __call__(self, *words: str, pin: str | None = None, **env: str) -> tuple[int, str]:
        """Code and text of what refuses; 0 and nothing where nothing does."""
        with self._monkeypatch.context() as patch:
            for name, value in env.items():
                patch.setenv(name, value)
            password = () if pin is None else ("-p", pin)
            device = ("-t", "cryptnox", "-d", self._card.path)
            _, answer = running.hwi(patch, *device, *password, *(words or ("getmasterxpub",)))
        return answer.get("code", 0), answer.get("error", "")


@pytest.fixture
def own() -> Iterator[EmulatorProcess]:
    """A card whose tries this test spends."""
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as card:
        yield card


def test_every_wrong_pin(own: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    wallet = Wallet(monkeypatch, own)
    once = "give the right one once: --stdinpass, or cryptnoxctl pin verify"
    assert wallet(CRYPTNOX_PIN=PIN) == (0, ""), "six tries: a first contact may be automatic"
    assert wallet(pin=WRONG) == (-7, "Wrong PIN, 5 tries left at most")
    assert wallet(CRYPTNOX_PIN=PIN) == (-7, f"a PIN was refused before, at most 5 tries left; {once}")
    for left in ("4 tries", "3 tries", "2 tries", "1 try"):
        assert wallet(pin=WRONG) == (-7, f"Wrong PIN, {left} left at most")
    last = (
        "One PIN try is left; nothing was sent. CRYPTNOX_LAST_TRY=1 allows it; if the PIN is wrong, only the PUK "
        "unblocks the card"
    )
    assert wallet(pin=PIN) == (-12, last)
    blocked = "PIN blocked: unblock with the PUK (cryptnoxctl pin unblock)"
    assert wallet(pin=WRONG, CRYPTNOX_LAST_TRY="1") == (-12, blocked)
    assert wallet(pin=PIN) == (-12, blocked)


def test_automatic_pins_that_are_not_sent(
    own: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wallet = Wallet(monkeypatch, own)
    once = "give the right one once: --stdinpass, or cryptnoxctl pin verify"
    assert wallet(pin=WRONG)[0] == -7
    monkeypatch.setenv("XDG_STATE_HOME", os.environ["XDG_STATE_HOME"] + "-elsewhere")
    assert wallet(CRYPTNOX_PIN=PIN) == (-7, f"a PIN was refused elsewhere, at most 5 tries left; {once}")
    no_folder = tmp_path / "file"
    no_folder.touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(no_folder))
    folder = no_folder / "hwi-cryptnox"
    needed = "PIN needed: use --password/--stdinpass or CRYPTNOX_PIN_COMMAND"
    assert wallet(CRYPTNOX_PIN=PIN) == (-6, f"{folder} cannot be used, so no PIN is sent automatically; {needed}")
    assert wallet(pin=PIN) == (0, "")


def test_somebody_elses_card(monkeypatch: pytest.MonkeyPatch, own: EmulatorProcess) -> None:
    wallet = Wallet(monkeypatch, own)
    assert wallet(pin=PIN) == (0, "")
    options = ("--mnemonic", MNEMONIC, "--xpub-export", "--serial", str(own.serial))
    with EmulatorProcess(*options, maker="another ") as other:
        unknown = "the card was not used before and is not known to be genuine (not genuine)"
        met = Wallet(monkeypatch, other)
        refused = (
            f"another card with the serial {own.serial} was used before, so this one is refused (cryptnoxctl forget "
            f"{own.serial} if it is yours)"
        )
        assert met(pin=PIN) == (-3, refused)
        monkeypatch.setenv("XDG_STATE_HOME", os.environ["XDG_STATE_HOME"] + "-elsewhere")
        code, text = met(CRYPTNOX_PIN=PIN)
        assert (code, text) == (-6, f"{unknown}; PIN needed: use --password/--stdinpass or CRYPTNOX_PIN_COMMAND")


def test_a_busy_card(cards: running.Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    card = cards["wallet"]
    with socket.create_connection((card.host, card.port)):
        assert Wallet(monkeypatch, card)(pin=PIN, CRYPTNOX_WAIT="0.1") == (-15, "Card is in use by another program")


def test_enumerate_names_the_same_errors(cards: running.Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries of cards that want something first: text, code and what is wanted."""
    needed = "Could not open client or get fingerprint information: PIN needed: use --password/--stdinpass or "
    expected = {
        "wallet": (-12, f"{needed}CRYPTNOX_PIN_COMMAND", True),
        "factory": (-18, "Not initialized", False),
        "no seed": (-18, "Not initialized: the card has no seed", False),
    }
    for name, (code, text, wanted) in expected.items():
        card = cards[name]
        monkeypatch.setenv("CRYPTNOX_EMULATOR", f"{card.host}:{card.port}")
        status, (entry,) = running.hwi(monkeypatch, "--emulators", "enumerate")
        assert (status, entry["code"], entry["error"], entry["needs_passphrase_sent"]) == (0, code, text, wanted)


# The driver inside hwilib


UNAVAILABLE = {
    "display_singlesig_address": (("m/84h/0h/0h/0/0", None), "The Cryptnox card has no screen"),
    "display_multisig_address": ((None, None), "The Cryptnox card has no screen"),
    "backup_device": ((), "The card gives no backup out: keep the recovery words"),
    "prompt_pin": ((), "The PIN goes with the command: --password, --stdinpass or CRYPTNOX_PIN_COMMAND"),
    "send_pin": (("1234",), "The PIN goes with the command: --password, --stdinpass or CRYPTNOX_PIN_COMMAND"),
    "toggle_passphrase": ((), "The card has no switch for a passphrase: it is part of the seed that was loaded"),
}


@pytest.mark.parametrize("method", UNAVAILABLE)
def test_what_hwilib_is_told_of_what_the_card_has_not(method: str) -> None:
    errors = hwilib("hwilib.errors")

    arguments, text = UNAVAILABLE[method]
    with pytest.raises(errors.UnavailableActionError) as caught:
        getattr(hwilib_cryptnox.CryptnoxClient("cryptnox:1"), method)(*arguments)
    assert (caught.value.get_code(), caught.value.get_msg()) == (-9, text)


def test_what_hwilib_is_told_of_a_card(cards: running.Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = hwilib("hwilib.errors")

    def told(card: str, password: str | None, method: str, *arguments: object) -> tuple[type[Exception], int, str]:
        names.forget_this_process()
        client = hwilib_cryptnox.CryptnoxClient(cards[card].path, password)
        try:
            with pytest.raises(errors.HWWError) as caught:
                getattr(client, method)(*arguments)
        finally:
            client.close()
        return type(caught.value), caught.value.get_code(), caught.value.get_msg()

    needed = "PIN needed: use --password/--stdinpass or CRYPTNOX_PIN_COMMAND"
    off = "xpub export is off: cryptnoxctl xpub on (needs the PUK)"
    no_seed = "Not initialized: the card has no seed"
    fingerprint, key = "get_master_fingerprint", "get_pubkey_at_path"
    assert told("wallet", None, fingerprint) == (errors.NoPasswordError, -6, needed)
    assert told("factory", PIN, fingerprint) == (errors.HWWError, -18, "Not initialized")
    assert told("no seed", PIN, fingerprint) == (errors.HWWError, -18, no_seed)
    assert told("NFT", PIN, fingerprint)[:2] == (errors.UnavailableActionError, -9)
    assert told("export off", PIN, key, "m/84h/0h/0h") == (errors.DeviceNotReadyError, -12, off)
    assert told("wallet", PIN, key, "here")[:2] == (errors.BadArgumentError, -7)
    assert told("wallet", PIN, "display_bip388_policy_address", "here", 0)[:2] == (errors.BadArgumentError, -7)
    assert told("wallet", PIN, "register_descriptor", "Family", "here")[1] in (-7, -9), "-9 with hwilib to 3.2.0"
    assert told("wallet", PIN, "setup_device")[:2] == (errors.DeviceAlreadyInitError, -10)
    assert told("factory", PIN, "wipe_device")[:2] == (errors.HWWError, -18)
    monkeypatch.setenv("CRYPTNOX_WAIT", "0.1")
    with socket.create_connection((cards["wallet"].host, cards["wallet"].port)):
        assert told("wallet", PIN, fingerprint)[:2] == (errors.DeviceBusyError, -15)
