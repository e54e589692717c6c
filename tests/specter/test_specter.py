"""Specter Desktop, headless in an environment of its own, with the extension: JSON-RPC against the emulated card."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from embit import bip32, bip39
from embit.script import p2wpkh

from hwilib_cryptnox.export import Network, ScriptType, account_path
from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.psbt.finalize import extract
from tests.specter.server import SPECTER, Specter
from tests.support.emulator import EmulatorProcess
from tests.support.version2 import as_version_2, maps
from tests.system.interop.paper import PaperWallet, message_key, verify
from tests.system.interop.programs import FINGERPRINT, MNEMONIC, PIN, environment

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("specter"), pytest.mark.timeout(1200)]

WRONG_PIN = "111111"


@pytest.fixture(scope="module")
def python() -> Path:
    return environment("specter", SPECTER)


@pytest.fixture(scope="module", params=["normal", "hwibridge"])
def specter(
    request: pytest.FixtureRequest, python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Specter]:
    folder = tmp_path_factory.mktemp(request.param)
    options = ["--hwibridge"] if request.param == "hwibridge" else []
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as card:
        environ = {
            "CRYPTNOX_EMULATOR": card.path.removeprefix("tcp:"),
            "PCSCLITE_CSOCK_NAME": str(folder / "no-pcscd"),
        }
        server = Specter(python, folder, card, *options, environ=environ)
        try:
            server.wait()
            server.result("enumerate")
            yield server
        finally:
            server.stop()


def cards(specter: Specter, **parameters: object) -> list[dict[str, Any]]:
    return [entry for entry in specter.result("enumerate", **parameters) if entry["type"] == "cryptnox"]


def test_enumerate_asks_for_the_pin(specter: Specter) -> None:
    (entry,) = cards(specter)
    assert entry["path"] == specter.path
    assert entry["model"] == "cryptnox_basic_simulator"
    assert entry["needs_passphrase_sent"] is True
    assert entry["code"] == -12
    assert specter.card.stats()["pin_tries"] == 0


def test_enumerate_with_the_pin(specter: Specter) -> None:
    (entry,) = cards(specter, passphrase=PIN)
    assert entry["fingerprint"] == FINGERPRINT
    assert entry["needs_passphrase_sent"] is False
    assert "error" not in entry


def test_unlock_one_card(specter: Specter) -> None:
    """What the page asks after a PIN was typed: of one card, and with a reason where it refuses."""
    (listed,) = cards(specter)
    before = specter.card.stats()["pin_tries"]
    refused = specter.call("cryptnox_unlock", passphrase=WRONG_PIN)["error"]["message"]
    assert "Wrong PIN, " in refused and "left" in refused
    assert specter.card.stats()["pin_tries"] == before + 1
    for none in ("", "correct horse battery", None, 5, [PIN]):
        message = specter.call("cryptnox_unlock", passphrase=none)["error"]["message"]
        assert message.startswith("Internal error: PIN needed: type the card's PIN, 4 to 9 digits")
        assert "--" not in message and "CRYPTNOX" not in message
    for path in ("tcp:127.0.0.1:1", "cryptnox:1", "", None, ["x"]):
        sent = specter.card.stats()["by_ins"]["20"]
        message = specter.call("cryptnox_unlock", path=path, passphrase=PIN)["error"]["message"]
        assert message == "Internal error: The card does not answer: insert it and try again."
        assert specter.card.stats()["by_ins"]["20"] == sent
    entry = specter.result("cryptnox_unlock", passphrase=PIN)
    ready = {name: value for name, value in listed.items() if name not in ("error", "code")}
    assert entry == {**ready, "fingerprint": FINGERPRINT, "needs_passphrase_sent": False}
    assert specter.card.stats()["pin_tries"] == before + 1


def test_a_wrong_pin_of_the_only_card_is_said_by_enumerate(specter: Specter) -> None:
    """As a page without the extension's script asks; else Specter speaks of a signing key that does not match."""
    cards(specter)
    message = specter.call("enumerate", passphrase="222222")["error"]["message"]
    assert message.startswith("Internal error: Wrong PIN, ")
    (entry,) = cards(specter, passphrase=PIN)
    assert entry["fingerprint"] == FINGERPRINT


def test_extract_xpubs(specter: Specter) -> None:
    """The 8 keys that "Get via USB" reads, in SLIP-132's forms."""
    lines = specter.result("extract_xpubs", passphrase=PIN).split()
    root = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(MNEMONIC))
    wanted = []
    for network in Network:
        for script in (ScriptType.P2SH_P2WPKH, ScriptType.P2WPKH, ScriptType.P2SH_P2WSH, ScriptType.P2WSH):
            path = str(account_path(script, network)).replace("h", "'")
            key = root.derive(path).to_public().to_base58(version=script.slip132(network))
            wanted.append(f"[{FINGERPRINT}{path[1:]}]{key}")
    assert lines == wanted


def test_extract_xpub(specter: Specter) -> None:
    line = specter.result("extract_xpub", derivation="m/84h/1h/3h", passphrase=PIN)
    root = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(MNEMONIC))
    key = root.derive("m/84h/1h/3h").to_public().to_base58(version=ScriptType.P2WPKH.slip132(Network.TEST))
    assert line == f"[{FINGERPRINT}/84h/1h/3h]{key}\n"


@pytest.mark.parametrize("script", ["wpkh({})", "sh(wpkh({}))"])
def test_sign_tx(specter: Specter, script: str) -> None:
    purpose = 84 if script.startswith("wpkh") else 49
    root = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(MNEMONIC))
    account = root.derive(f"m/{purpose}h/1h/0h").to_public().to_base58(version=bytes.fromhex("043587cf"))
    wallet = PaperWallet(script.format(f"[{FINGERPRINT}/{purpose}h/1h/0h]{account}/<0;1>/*"))
    wallet.receive(40_000)
    wallet.receive(50_000)
    psbt = wallet.pay(p2wpkh(root.derive("m/84h/1h/9h/0/0").key).data, 70_000)
    wallet.finish(specter.result("sign_tx", psbt=psbt, passphrase=PIN))


def test_sign_message(specter: Specter) -> None:
    path, message = "m/84h/1h/0h/0/7", "Signed through Specter"
    signature = specter.result("sign_message", message=message, derivation_path=path, passphrase=PIN)
    root = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(MNEMONIC))
    assert message_key(signature, message) == root.derive(path).to_public().key.sec()


@pytest.mark.parametrize("path", [{"derivation_path": ""}, {"derivation_path": "m"}, {}])
def test_no_message_is_signed_with_the_master_key(specter: Specter, path: dict[str, str]) -> None:
    before = specter.card.stats()
    answer = specter.call("sign_message", message="Who?", passphrase=PIN, **path)
    assert answer["error"]["message"].startswith("Internal error: Say which key signs: a derivation path like m/84h")
    after = specter.card.stats()
    assert (after["signatures"], after["by_ins"]["20"]) == (before["signatures"], before["by_ins"]["20"])


def test_no_screen(specter: Specter) -> None:
    root = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(MNEMONIC))
    key = root.derive("m/84h/1h/0h/0/0").to_public().key.sec().hex()
    answer = specter.call("display_address", descriptor=f"wpkh([{FINGERPRINT}/84h/1h/0h/0/0]{key})", passphrase=PIN)
    assert "screen" in answer["error"]["message"].lower()


def test_wrong_pin_costs_one_try_and_says_so(specter: Specter) -> None:
    before = specter.card.stats()["pin_tries"]
    for _ in range(3):
        answer = specter.call("extract_xpubs", passphrase=WRONG_PIN)
        assert answer["error"]["message"].startswith("Internal error: ")
        assert "PIN" in answer["error"]["message"]
        assert WRONG_PIN not in answer["error"]["message"]
    assert specter.card.stats()["pin_tries"] == before + 1
    # The server lives on: the right PIN is taken, and nothing of the refusal stays behind.
    (entry,) = cards(specter, passphrase=PIN)
    assert entry["fingerprint"] == FINGERPRINT
    assert len(specter.result("extract_xpubs", passphrase=PIN).split()) == 8


def test_no_pin(specter: Specter) -> None:
    message = specter.call("extract_xpubs", passphrase="")["error"]["message"]
    assert message == "Internal error: PIN needed: type the card's PIN, 4 to 9 digits."
    # Another device's passphrase is no PIN and never reaches the card.
    before = specter.card.stats()["pin_tries"]
    assert "PIN" in specter.call("extract_xpubs", passphrase="correct horse battery")["error"]["message"]
    assert specter.card.stats()["pin_tries"] == before


def test_the_card_is_free_between_calls(specter: Specter) -> None:
    specter.result("extract_xpub", derivation="m/84h/1h/0h", passphrase=PIN)
    with socket.create_connection((specter.card.host, specter.card.port), timeout=5) as other:
        other.settimeout(0.5)
        # A connection that finds the card taken is closed at once.
        with pytest.raises(TimeoutError):
            other.recv(1)


def test_pages(specter: Specter) -> None:
    if "hwibridge" in str(specter.log):
        assert "hwi" in specter.page("")[0]
    else:
        assert "/svc/cryptnox/static/img/cryptnox.svg" in specter.page("devices/new_device_type/")[1]
        assert specter.page("svc/cryptnox/")[0].endswith("/devices/new_device_keys/cryptnox/")
        assert "Cryptnox smart card" in specter.page("services/choose")[1]
        # Pages with Specter's dialogs for devices have the script behind everything else.
        for page in ("devices/new_device_keys/cryptnox/", "settings/hwi"):
            text = specter.page(page)[1]
            assert re.search(r'<script src="/svc/cryptnox/static/js/cryptnox\.js\?v=[^"]+"></script>\s*</body>', text)
            assert text.count("cryptnox.js") == 1
        assert "cryptnox.js" not in specter.page("devices/new_device_type/")[1]
    assert "<svg" in specter.page("svc/cryptnox/static/img/cryptnox.svg")[1]
    assert "cryptnox_unlock" in specter.page("svc/cryptnox/static/js/cryptnox.js")[1]


def test_nothing_secret_is_logged(specter: Specter) -> None:
    cards(specter)
    assert specter.call("cryptnox_unlock", passphrase="983217")["error"]
    log = specter.log.read_text()
    assert "cryptnox" in log.lower() and "Wrong PIN" in log
    assert not any(pin in log for pin in ("983217", WRONG_PIN, f'"{PIN}"', f"'{PIN}'"))
    specter.result("cryptnox_unlock", passphrase=PIN)


def test_sign_tx_of_version_2(specter: Specter) -> None:
    """Specter pins hwilib 3.1.0, which changes such a PSBT while reading it; with the extension it does not."""
    root = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(MNEMONIC))
    account = root.derive("m/84h/1h/0h").to_public().to_base58(version=bytes.fromhex("043587cf"))
    wallet = PaperWallet(f"wpkh([{FINGERPRINT}/84h/1h/0h]{account}/<0;1>/*)")
    wallet.receive(40_000)
    psbt = as_version_2(wallet.pay(p2wpkh(root.derive("m/84h/1h/9h/0/0").key).data, 30_000, lock_time=700))
    signed = specter.result("sign_tx", psbt=psbt, passphrase=PIN)
    for before, after in zip(maps(psbt), maps(signed), strict=True):
        assert before.items() <= after.items()
    verify(extract(Psbt.parse(signed)), wallet.known)
