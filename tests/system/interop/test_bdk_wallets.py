"""BDK wallets made from what the card exports receive coins on paper and spend them; Bitcoin Core's verifier judges."""

from __future__ import annotations

import json
from pathlib import Path as Folder
from typing import Any

import pytest

from cryptnox_core.bip32 import ExtendedPublicKey, KeyOrigin, Path
from hwilib_cryptnox.export import (
    Cosigner,
    KeySet,
    Network,
    ScriptType,
    account_paths,
    add_checksum,
    coldcard_json,
    core_import,
    core_import_multisig,
    descriptor,
    electrum_wallet,
    key_line,
    multisig_descriptor,
    parse_key_line,
)
from tests.support.emulator import EmulatorProcess
from tests.system.interop.paper import PaperWallet
from tests.system.interop.programs import FINGERPRINT, PIN, run_hwi, sign

pytestmark = pytest.mark.xdist_group("bdk wallets")  # one pair of cards for all of them

RECIPIENT = bytes.fromhex("0014" + "51" * 20)
SINGLE_SIG = [script for script in ScriptType if not script.is_multisig]


def hwi(card: EmulatorProcess, *command: str, home: Folder) -> Any:
    options = ["--device-type", "cryptnox", "--device-path", card.path, "--chain", "regtest", "--stdinpass"]
    answer = run_hwi([*options, *command], stdin=f"{PIN}\n", environ={"XDG_STATE_HOME": str(home)})
    assert isinstance(answer, dict) and "error" not in answer, answer
    return answer


def read_keys(card: EmulatorProcess, fingerprint: str, home: Folder) -> KeySet:
    """All accounts, as a wallet program would read them: by HWI's getxpub."""
    keys = {
        path: ExtendedPublicKey.from_string(hwi(card, "getxpub", str(path), home=home)["xpub"])
        for path in account_paths(Network.TEST)
    }
    return KeySet(bytes.fromhex(fingerprint), keys, Network.TEST)


@pytest.fixture(scope="module")
def keys(card: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> KeySet:
    return read_keys(card, FINGERPRINT, tmp_path_factory.mktemp("state"))


def live_through(wallet: PaperWallet, *cards: EmulatorProcess) -> None:
    """Receive twice, spend both coins with change, then spend the change."""
    wallet.receive(60_000)
    wallet.receive(50_000)
    assert wallet.balance == 110_000
    for amount in (80_000, 10_000):
        before = wallet.balance
        psbt = wallet.pay(RECIPIENT, amount)
        for signer in cards:
            psbt = sign(signer.path, psbt)
        wallet.finish(psbt)
        assert 0 < before - amount - wallet.balance < 3_000


@pytest.mark.parametrize("index", range(3), ids=["first", "second", "third"])
def test_getdescriptors(card: EmulatorProcess, index: int, tmp_path: Folder) -> None:
    answer = hwi(card, "getdescriptors", home=tmp_path)
    assert len(answer["receive"]) == len(answer["internal"]) == 3
    live_through(PaperWallet(answer["receive"][index], answer["internal"][index]), card)


@pytest.mark.parametrize("script", SINGLE_SIG)
def test_descriptor_of_both_chains(card: EmulatorProcess, keys: KeySet, script: ScriptType) -> None:
    live_through(PaperWallet(descriptor(keys, script)), card)


def test_core_import(card: EmulatorProcess, keys: KeySet) -> None:
    receive, change = json.loads(core_import(keys, [ScriptType.P2WPKH]))
    live_through(PaperWallet(receive["desc"], change["desc"]), card)


def test_key_line(card: EmulatorProcess, keys: KeySet) -> None:
    line = key_line(keys, Path.parse("m/84h/1h/0h"))
    live_through(PaperWallet(add_checksum(f"wpkh({line}/<0;1>/*)")), card)


@pytest.mark.parametrize(("entry", "form"), [("bip44", "pkh({})"), ("bip49", "sh(wpkh({}))"), ("bip84", "wpkh({})")])
def test_coldcard_json(card: EmulatorProcess, keys: KeySet, entry: str, form: str) -> None:
    data = json.loads(coldcard_json(keys))
    origin = data["xfp"].lower() + data[entry]["deriv"].removeprefix("m")
    expression = f"[{origin}]{data[entry]['xpub']}/<0;1>/*"
    live_through(PaperWallet(form.format(expression)), card)


def test_electrum_wallet_file(card: EmulatorProcess, keys: KeySet) -> None:
    store = json.loads(electrum_wallet(keys, ScriptType.P2WPKH))["keystore"]
    origin = KeyOrigin(bytes.fromhex(store["root_fingerprint"]), Path.parse(store["derivation"]))
    cosigner = Cosigner(origin, ExtendedPublicKey.from_string(store["xpub"]))
    live_through(PaperWallet(f"wpkh({cosigner.expression(Network.TEST)}/<0;1>/*)"), card)


@pytest.mark.parametrize("script", [ScriptType.P2WSH, ScriptType.P2SH_P2WSH])
def test_two_cards_cosign(
    card: EmulatorProcess, other_card: EmulatorProcess, keys: KeySet, script: ScriptType, tmp_path: Folder
) -> None:
    """Each card signs its part; the second finds the first's signature in place."""
    (other,) = (entry for entry in run_enumerate(other_card) if entry["path"] == other_card.path)
    theirs = read_keys(other_card, other["fingerprint"], tmp_path)
    path = Path.parse(f"m/48h/1h/0h/{2 if script is ScriptType.P2WSH else 1}h")
    line, network = parse_key_line(key_line(theirs, path))
    assert network is Network.TEST
    cosigners = [keys.cosigner(path), line]
    live_through(PaperWallet(multisig_descriptor(script, 2, cosigners, Network.TEST)), card, other_card)
    receive, change = json.loads(core_import_multisig(script, 2, cosigners, Network.TEST))
    live_through(PaperWallet(receive["desc"], change["desc"]), other_card, card)


def run_enumerate(card: EmulatorProcess) -> Any:
    return run_hwi(
        ["--emulators", "--stdinpass", "enumerate"],
        stdin=f"{PIN}\n",
        environ={"CRYPTNOX_EMULATOR": card.path.removeprefix("tcp:")},
    )
