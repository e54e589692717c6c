"""Front-ends and the card through pcscd: Bitcoin Core's command lines, the stock `hwi` program, Specter Desktop."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hwilib_cryptnox.export import Network, ScriptType, descriptor
from tests.export.conftest import make_keys
from tests.specter.server import SPECTER, Specter
from tests.support import pcsc
from tests.support.emulator import EmulatorProcess
from tests.system.interop.paper import PaperWallet
from tests.system.interop.programs import (
    FINGERPRINT,
    MNEMONIC,
    OTHER_MNEMONIC,
    PIN,
    SIGNER,
    TIME_LIMIT,
    borrowed_environment,
    environment,
    run_hwi,
)
from tests.system.interop.test_stock_hwi import Stock

pytestmark = pytest.mark.pcsc

WRONG = "111111"
RECIPIENT = bytes.fromhex("0014" + "51" * 20)


@pytest.fixture(scope="module")
def card(virtual_readers: pcsc.VirtualReaders) -> Iterator[EmulatorProcess]:
    with virtual_readers.card("--mnemonic", MNEMONIC, "--xpub-export") as process:
        yield process


def funded() -> PaperWallet:
    wallet = PaperWallet(descriptor(make_keys(Network.TEST), ScriptType.P2WPKH))
    wallet.receive(50_000)
    wallet.receive(60_000)
    return wallet


def core(*arguments: str, stdin: str = "") -> Any:
    """A command as Bitcoin Core runs it: the first line on stdout is all that counts."""
    environ = {**os.environ, "CRYPTNOX_PIN_COMMAND": f"echo {PIN}"}
    run = subprocess.run(
        [*SIGNER, "--signer-mode", *arguments],
        input=stdin,
        env=environ,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        start_new_session=True,
    )
    assert run.returncode == 0 and run.stderr == "", run.stderr
    return json.loads(run.stdout.partition("\n")[0])


def pins_sent(card: EmulatorProcess) -> int:
    """VERIFY PIN commands so far, questions for the counter included."""
    return card.stats()["by_ins"].get("20", 0)


def test_bitcoin_core(card: EmulatorProcess) -> None:
    run_hwi(["--stdinpass", "--device-type", "cryptnox", "getmasterxpub"], stdin=f"{PIN}\n")
    before = pins_sent(card)
    assert core("enumerate") == [
        {
            "type": "cryptnox",
            "model": "cryptnox_basic",
            "label": None,
            "path": f"cryptnox:{card.serial}",
            "fingerprint": FINGERPRINT,
            "needs_pin_sent": False,
            "needs_passphrase_sent": False,
        }
    ]
    assert pins_sent(card) == before
    answer = core("--fingerprint", FINGERPRINT, "--chain", "regtest", "getdescriptors", "--account", "0")
    receive, change = (
        next(text for text in answer[name] if text.startswith("wpkh(")) for name in ("receive", "internal")
    )
    wallet = PaperWallet(receive, change)
    wallet.receive(70_000)
    psbt = wallet.pay(RECIPIENT, 30_000)
    signed = core("--stdin", "--fingerprint", FINGERPRINT, "--chain", "regtest", stdin=f"signtx {psbt}")
    wallet.finish(signed["psbt"])
    # Core asks again for what is signed already: no card, no PIN.
    before = card.stats()["apdus"]
    again = core("--stdin", "--fingerprint", FINGERPRINT, "--chain", "regtest", stdin=f"signtx {signed['psbt']}")
    assert again == {"psbt": signed["psbt"], "signed": False}
    assert card.stats()["apdus"] == before


def test_btcpay_vault(card: EmulatorProcess) -> None:
    """A card new to the computer is asked for its PIN; the fingerprint is learnt from a key the card refuses."""
    assert run_version().startswith("hwi ")
    (entry,) = run_hwi(["enumerate"])
    assert entry["code"] == -12 and entry["needs_passphrase_sent"] is True and "fingerprint" not in entry
    device = ["-t", entry["model"], "-d", entry["path"], "--password", PIN]
    assert run_hwi([*device, "getxpub", "m/44h"])["code"] == -7
    (entry,) = run_hwi(["enumerate"])
    assert entry["fingerprint"] == FINGERPRINT
    (entry,) = run_hwi(["--password", PIN, "enumerate"])
    assert entry["fingerprint"] == FINGERPRINT and "error" not in entry
    device = ["-f", FINGERPRINT, "--password", PIN, "--chain", "regtest"]
    keys = make_keys(Network.TEST)
    xpub = keys.account(ScriptType.P2WPKH).key.to_string(Network.TEST.version)
    assert run_hwi([*device, "getxpub", "m/84h/1h/0h"]) == {"xpub": xpub}
    wallet = funded()
    answer = run_hwi([*device, "--stdin"], stdin=f"signtx\n{wallet.pay(RECIPIENT, 90_000)}\n\n")
    wallet.finish(answer["psbt"])


def run_version() -> str:
    run = subprocess.run([*SIGNER, "--version"], capture_output=True, text=True, timeout=TIME_LIMIT, check=True)
    return run.stdout


def test_nunchuk(card: EmulatorProcess) -> None:
    """It never sends a PIN and puts the path unquoted into one command line."""
    run_hwi(["--stdinpass", "-t", "cryptnox", "getmasterxpub"], stdin=f"{PIN}\n")
    (entry,) = run_hwi(["enumerate"])
    assert {"type", "path", "model", "needs_pin_sent", "needs_passphrase_sent", "fingerprint"} <= set(entry)
    line = f"-t {entry['type']} -d {entry['path']} --chain test "
    environ = {"CRYPTNOX_PIN_COMMAND": f"echo {PIN}"}
    refused = run_hwi((line + "getxpub m/48h").split(), environ=environ)
    assert refused["code"] == -7 and "levels" in refused["error"]
    xpub = make_keys(Network.TEST).account(ScriptType.P2WSH).key.to_string(Network.TEST.version)
    assert run_hwi((line + "getxpub m/48h/1h/0h/2h").split(), environ=environ) == {"xpub": xpub}
    wallet = funded()
    signed = run_hwi((line + "signtx " + wallet.pay(RECIPIENT, 90_000)).split(), environ=environ)
    wallet.finish(signed["psbt"])


def test_stock_hwi(card: EmulatorProcess, tmp_path: Path) -> None:
    stock = Stock(borrowed_environment(tmp_path / "venv"), card)
    assert stock.cards() == []
    stock.autoload("enable")
    assert [entry["path"] for entry in stock.cards()] == [f"cryptnox:{card.serial}"]
    # The fingerprint is known now: no PIN is needed to list the card.
    assert [entry["fingerprint"] for entry in stock.cards(pin=False)] == [FINGERPRINT]
    wallet = funded()
    answer = stock("--fingerprint", FINGERPRINT, "signtx", wallet.pay(RECIPIENT, 90_000))
    wallet.finish(answer["psbt"])


@pytest.mark.heavy
def test_specter(card: EmulatorProcess, tmp_path: Path) -> None:
    server = Specter(environment("specter", SPECTER), tmp_path, card, environ={})
    try:
        server.wait()
        (entry,) = (found for found in server.result("enumerate", passphrase=PIN) if found["type"] == "cryptnox")
        assert entry["path"] == f"cryptnox:{card.serial}"
        assert len(server.result("extract_xpubs", passphrase=PIN).split()) == 8
        wallet = funded()
        wallet.finish(server.result("sign_tx", psbt=wallet.pay(RECIPIENT, 90_000), passphrase=PIN))
        # The server lives on, the card is free.
        assert core("enumerate")[0]["path"] == f"cryptnox:{card.serial}"
    finally:
        server.stop()


@pytest.mark.heavy
def test_specter_with_two_cards(card: EmulatorProcess, virtual_readers: pcsc.VirtualReaders, tmp_path: Path) -> None:
    """The PIN typed for one reaches that one only, also where this computer knows neither."""
    with virtual_readers.card("--mnemonic", OTHER_MNEMONIC, slot=1) as other:
        server = Specter(environment("specter", SPECTER), tmp_path, card, environ={})
        try:
            server.wait()
            paths = {f"cryptnox:{card.serial}", f"cryptnox:{other.serial}"}

            def listed(**parameters: str) -> dict[str, str | None]:
                found = [entry for entry in server.result("enumerate", **parameters) if entry["type"] == "cryptnox"]
                return {entry["path"]: entry.get("fingerprint") for entry in found}

            unknown = dict.fromkeys(paths)
            assert listed() == unknown
            sent = pins_sent(card), pins_sent(other)
            tries = card.stats()["pin_tries"]
            # Specter says nothing of the card it is for: none of them gets it.
            assert listed(passphrase=PIN) == unknown and listed(passphrase=WRONG) == unknown
            assert (pins_sent(card), pins_sent(other)) == sent
            message = server.call("cryptnox_unlock", passphrase=WRONG)["error"]["message"]
            assert message.startswith("Internal error: Wrong PIN, ")
            assert (card.stats()["pin_tries"], other.stats()["pin_tries"]) == (tries + 1, 0)
            assert server.result("cryptnox_unlock", passphrase=PIN)["fingerprint"] == FINGERPRINT
            # The first is known from now on: by its fingerprint, and its PIN goes to it when it signs.
            assert listed() == {**unknown, server.path: FINGERPRINT}
            wallet = funded()
            wallet.finish(server.result("sign_tx", psbt=wallet.pay(RECIPIENT, 90_000), passphrase=PIN))
            assert pins_sent(other) == sent[1]
            path = f"cryptnox:{other.serial}"
            assert server.result("cryptnox_unlock", path=path, passphrase=PIN)["fingerprint"] not in (FINGERPRINT, None)
            assert (card.stats()["pin_tries"], other.stats()["pin_tries"]) == (tries + 1, 0)
        finally:
            server.stop()
