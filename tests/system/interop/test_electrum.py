"""Electrum (Debian's package, offline): the exported wallet makes an unsigned PSBT, we sign, Electrum reads it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from embit import bip32, bip39
from embit.psbt import PSBT
from embit.script import address_to_scriptpubkey

from cryptnox_core.bip32 import ExtendedPublicKey
from hwilib_cryptnox.export import (
    KeySet,
    Network,
    ScriptType,
    account_paths,
    electrum_multisig_wallet,
    electrum_wallet,
)
from tests.support.emulator import EmulatorProcess
from tests.system.interop.paper import funding_transaction, verify
from tests.system.interop.programs import FINGERPRINT, MNEMONIC, OTHER_MNEMONIC, TIME_LIMIT, sign

pytestmark = [
    pytest.mark.xdist_group("electrum"),
    pytest.mark.heavy,
    pytest.mark.skipif(not shutil.which("electrum"), reason="Debian's package electrum is not installed"),
]

RECIPIENT = "bcrt1q29g4z52329g4z52329g4z52329g4z5237w8wct"
AMOUNT = 100_000
LOAD = """
import json, sys
from electrum import constants
from electrum.simple_config import SimpleConfig
from electrum.storage import WalletStorage
from electrum.transaction import tx_from_any
from electrum.wallet import Wallet
from electrum.wallet_db import WalletDB
constants.set_regtest()
path, folder, unsigned, signed = sys.stdin.read().split()
storage = WalletStorage(path)
config = SimpleConfig({"electrum_path": folder})
wallet = Wallet(WalletDB(storage.read(), manual_upgrades=False), storage, config=config)
tx = tx_from_any(unsigned)
tx.add_info_from_wallet(wallet)
tx.combine_with_other_psbt(tx_from_any(signed))
complete = tx.is_complete()
print(json.dumps({"complete": complete, "raw": tx.serialize_to_network() if complete else None}))
"""
"""What Electrum's window does when a signed PSBT is loaded into the transaction it was made from."""


def accounts(mnemonic: str) -> KeySet:
    root = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(mnemonic))
    keys = {
        path: ExtendedPublicKey.from_string(root.derive(str(path)).to_public().to_base58())
        for path in account_paths(Network.TEST)
    }
    return KeySet(root.my_fingerprint, keys, Network.TEST)


class Electrum:
    """Electrum's command line on one wallet file."""

    def __init__(self, folder: Path, contents: str = "") -> None:
        self._folder = folder
        self._wallet = folder / "wallet"
        if contents:
            self._wallet.write_text(contents)
        self.known: list[bytes] = []

    def run(self, *command: str) -> str:
        options = ["--regtest", "--offline", "-D", str(self._folder / "data"), "-w", str(self._wallet)]
        run = subprocess.run(
            ["electrum", *options, *command], capture_output=True, text=True, timeout=TIME_LIMIT, cwd=self._folder
        )
        assert run.returncode == 0, run.stderr
        return run.stdout.strip()

    def receive(self, address: str) -> None:
        raw = funding_transaction([(address_to_scriptpubkey(address).data, AMOUNT)])
        self.known.append(raw)
        self.run("addtransaction", raw.hex())

    def pay(self, satoshis: int) -> str:
        return self.run("payto", RECIPIENT, f"{satoshis / 1e8:.8f}", "--fee", "0.00001", "--unsigned")

    def load(self, unsigned: str, signed: str) -> dict[str, object]:
        """Whether Electrum finds the transaction complete, and the finished transaction (hex) then."""
        program = Path(shutil.which("electrum") or "")
        interpreter = program.read_text().partition("\n")[0].removeprefix("#!").split()[0]
        words = (str(self._wallet), str(self._folder / "data"), unsigned, signed)
        run = subprocess.run(
            [interpreter, "-c", LOAD], input="\n".join(words), capture_output=True, text=True, timeout=TIME_LIMIT
        )
        assert run.returncode == 0, run.stderr
        parsed: dict[str, object] = json.loads(run.stdout)
        return parsed


@pytest.mark.parametrize("script", [script for script in ScriptType if not script.is_multisig])
def test_single_sig(card: EmulatorProcess, tmp_path: Path, script: ScriptType) -> None:
    wallet = Electrum(tmp_path, electrum_wallet(accounts(MNEMONIC), script))
    addresses = json.loads(wallet.run("listaddresses"))
    wallet.receive(addresses[0])
    wallet.receive(addresses[3])
    unsigned = wallet.pay(150_000)
    for given in PSBT.from_string(unsigned).inputs:
        assert [origin.fingerprint.hex() for origin in given.bip32_derivations.values()] == [FINGERPRINT]
    loaded = wallet.load(unsigned, sign(card.path, unsigned))
    assert loaded["complete"] is True
    verify(bytes.fromhex(str(loaded["raw"])), wallet.known)
    # And Electrum's own wallet takes the finished transaction.
    wallet.run("addtransaction", str(loaded["raw"]))
    assert json.loads(wallet.run("getbalance"))["unconfirmed"] == "0.00049"


@pytest.mark.parametrize("script", [script for script in ScriptType if script.is_multisig])
def test_two_cards_cosign(
    card: EmulatorProcess, other_card: EmulatorProcess, tmp_path: Path, script: ScriptType
) -> None:
    cosigners = [accounts(mnemonic).account(script) for mnemonic in (MNEMONIC, OTHER_MNEMONIC)]
    wallet = Electrum(tmp_path, electrum_multisig_wallet(script, 2, cosigners, Network.TEST))
    wallet.receive(json.loads(wallet.run("listaddresses"))[1])
    unsigned = wallet.pay(60_000)
    once = sign(card.path, unsigned)
    assert wallet.load(unsigned, once)["complete"] is False
    loaded = wallet.load(unsigned, sign(other_card.path, once))
    assert loaded["complete"] is True
    verify(bytes.fromhex(str(loaded["raw"])), wallet.known)


@pytest.mark.parametrize("script", [script for script in ScriptType if not script.is_multisig])
def test_wallet_restored_from_the_account_key(card: EmulatorProcess, tmp_path: Path, script: ScriptType) -> None:
    """Such a wallet does not know its key's origin: its PSBTs name the account's fingerprint, and the card is found."""
    key = accounts(MNEMONIC).account(script).key
    wallet = Electrum(tmp_path)
    wallet.run("restore", key.to_string(script.slip132(Network.TEST)))
    wallet.receive(json.loads(wallet.run("listaddresses"))[2])
    unsigned = wallet.pay(60_000)
    (given,) = PSBT.from_string(unsigned).inputs
    assert [origin.fingerprint for origin in given.bip32_derivations.values()] == [key.fingerprint]
    loaded = wallet.load(unsigned, sign(card.path, unsigned))
    assert loaded["complete"] is True
    verify(bytes.fromhex(str(loaded["raw"])), wallet.known)
