"""An emulated Cryptnox card signs a Bitcoin transaction with inputs of four script types, step by step.

Run by `sh scripts/demo`. Everything a wallet would do goes through the program `hwi-cryptnox` as it would.
The addresses, the transaction and the checks are made with other people's software: embit builds the transaction, BDK
finalises it, libbitcoinkernel (Bitcoin Core's own verifier) judges every input. Where a Python has no BDK or no
libbitcoinkernel, embit finalises it and verifies the signatures, `cryptnoxctl verify` does so too, and the demo says
what was left out. Exit status 0 only if all of it held.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from embit import ec, finalizer
from embit.bip32 import HDKey
from embit.descriptor import Descriptor
from embit.networks import NETWORKS
from embit.psbt import PSBT, DerivationPath
from embit.script import Script
from embit.transaction import Transaction, TransactionInput, TransactionOutput
from embit.util import secp256k1

try:
    import bdkpython as bdk
except ImportError:
    bdk = None
try:
    import pbk
except ImportError:
    pbk = None

BIN = Path(sys.executable).parent
MNEMONIC = " ".join(["abandon"] * 11 + ["about"])
FINGERPRINT = "73c5da0a"
PIN = "000000"
"""The emulated card's PIN when none is chosen."""
MESSAGE = "A smart card signed this."
RECIPIENT = Script(bytes.fromhex("0014" + "51" * 20))
INPUT_AMOUNT = 100_000
PAYMENT = 250_000
FEE = 5_000


class DemoError(Exception):
    """Something did not hold; the text says what."""


@dataclass(frozen=True)
class Coin:
    """One output the card can spend, with the transaction that made it."""

    kind: str
    output: Descriptor
    funding: Transaction


def step(number: int, title: str) -> None:
    print(f"\n{number}. {title}")


def tell(text: str) -> None:
    print(f"   {text}")


def check(held: bool, what: str) -> None:
    if not held:
        raise DemoError(f"this should hold, but does not: {what}")
    tell(f"ok: {what}")


@contextlib.contextmanager
def emulated_card(folder: Path) -> Iterator[str]:
    """Start `cryptnoxctl emulator` on a free port; its HOST:PORT."""
    command = [str(BIN / "cryptnoxctl"), "emulator", "--listen", "127.0.0.1:0", "--mnemonic", MNEMONIC, "--xpub-export"]
    with (folder / "emulator.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True)
    try:
        ready = process.stdout.readline() if process.stdout else ""
        fields = dict(word.split("=", 1) for word in ready.split()[1:])
        if not ready.startswith("ready ") or "listen" not in fields:
            raise DemoError(f"the emulated card did not start: {(folder / 'emulator.log').read_text().strip()}")
        tell(f"an emulated card with serial number {fields['serial']} listens on {fields['listen']}")
        yield fields["listen"]
    finally:
        process.terminate()
        process.wait(timeout=10)


class Signer:
    """The program `hwi-cryptnox`, run as a wallet runs it. The PIN is in its environment, not on the command line."""

    def __init__(self, address: str, folder: Path) -> None:
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("CRYPTNOX_")},
            "CRYPTNOX_EMULATOR": address,
            "CRYPTNOX_PIN": PIN,
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            # The demo's PIN is the emulated card's: a real card in a reader must never be asked with it.
            "PCSCLITE_CSOCK_NAME": str(folder / "no-pcscd"),
        }

    def run(self, *arguments: str, shown: Sequence[str] = ()) -> object:
        """The JSON answer of one command. `shown` replaces the arguments in what is printed."""
        tell("$ hwi-cryptnox " + " ".join(shown or arguments))
        command = [str(BIN / "hwi-cryptnox"), *arguments]
        run = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=120, check=False)
        try:
            answer = json.loads(run.stdout.splitlines()[0])
        except (IndexError, json.JSONDecodeError):
            raise DemoError(f"no JSON answer (exit status {run.returncode}): {run.stdout} {run.stderr}") from None
        if run.returncode or (isinstance(answer, dict) and "error" in answer):
            raise DemoError(f"the command was refused: {answer}")
        return answer

    def ask(self, *arguments: str, shown: Sequence[str] = ()) -> dict[str, str]:
        """A command on the card with the demo's fingerprint, on the regression test network."""
        common = ("--emulators", "--fingerprint", FINGERPRINT, "--chain", "regtest")
        answer = self.run(*common, *arguments, shown=(*common, *shown) if shown else ())
        if not isinstance(answer, dict):
            raise DemoError(f"an object was expected: {answer}")
        return answer


def wallet_descriptors(signer: Signer) -> dict[str, tuple[str, str]]:
    """Receive and change descriptor by kind of script, as a wallet learns them from the card."""
    answer = signer.ask("getdescriptors", "--account", "0")
    kinds = {"pkh": "P2PKH", "sh": "P2SH-P2WPKH", "wpkh": "P2WPKH"}
    found = {}
    for receive, change in zip(answer["receive"], answer["internal"], strict=True):
        kind = kinds.get(receive.split("(")[0])
        if kind:
            found[kind] = (receive, change)
            tell(f"{kind}: {receive}")
    check(set(found) == set(kinds.values()), "the card's program gives descriptors for three kinds of addresses")
    for receive, _ in found.values():
        ours = Descriptor.from_string(receive.split("#")[0]).derive(0).address(NETWORKS["regtest"])
        if bdk is None:
            tell(f"embit reads this first address from it: {ours}")
            continue
        wallet = bdk.Wallet.create_single(
            bdk.Descriptor(receive, bdk.NetworkKind.TEST), bdk.Network.REGTEST, bdk.Persister.new_in_memory()
        )
        theirs = str(wallet.peek_address(bdk.KeychainKind.EXTERNAL, 0).address)
        check(ours == theirs, f"BDK and embit read the same first address from it: {theirs}")
    return found


def check_message(signer: Signer, descriptor: str) -> None:
    """Sign a text and find the signing key from the signature alone, as `bitcoin-cli verifymessage` does."""
    answer = signer.ask(
        "signmessage", MESSAGE, "m/44h/1h/0h/0/0", shown=("signmessage", repr(MESSAGE), "m/44h/1h/0h/0/0")
    )
    tell(f"signature: {answer['signature']}")
    signature = base64.b64decode(answer["signature"])
    text = MESSAGE.encode()
    digest = hashlib.sha256(b"\x18Bitcoin Signed Message:\n" + bytes([len(text)]) + text).digest()
    parsed = secp256k1.ecdsa_recoverable_signature_parse_compact(signature[1:], (signature[0] - 27) & 3)
    key = secp256k1.ec_pubkey_serialize(secp256k1.ecdsa_recover(parsed, hashlib.sha256(digest).digest()))
    expected = Descriptor.from_string(descriptor.split("#")[0]).derive(0).keys[0].get_public_key().serialize()
    check(key == expected, "the signature was made by the key of the first P2PKH address")


def somebody_else() -> str:
    """The account key of another signer."""
    root = HDKey.from_seed(hashlib.sha256(b"somebody else").digest(), version=NETWORKS["regtest"]["xprv"])
    return str(root.derive("m/48h/1h/0h/2h").to_public())


def fund(kind: str, descriptor: str, number: int) -> Coin:
    """A made-up transaction that pays to the descriptor's first address."""
    output = Descriptor.from_string(descriptor.split("#")[0]).derive(0)
    source = TransactionInput(hashlib.sha256(f"demo {number}".encode()).digest(), 0)
    return Coin(kind, output, Transaction(vin=[source], vout=[TransactionOutput(INPUT_AMOUNT, output.script_pubkey())]))


def key_origins(output: Descriptor) -> dict[object, DerivationPath]:
    return {
        key.get_public_key(): DerivationPath(key.origin.fingerprint, [*key.origin.derivation])
        for key in output.keys
        if key.origin is not None
    }


def build(coins: Sequence[Coin], change: Descriptor) -> PSBT:
    """The unsigned transaction: all coins to a recipient, the rest back to the wallet."""
    rest = INPUT_AMOUNT * len(coins) - PAYMENT - FEE
    inputs = [TransactionInput(coin.funding.txid(), 0, sequence=0xFFFFFFFD) for coin in coins]
    outputs = [TransactionOutput(PAYMENT, RECIPIENT), TransactionOutput(rest, change.script_pubkey())]
    psbt = PSBT(Transaction(vin=inputs, vout=outputs))
    for part, coin in zip(psbt.inputs, coins, strict=True):
        part.non_witness_utxo = coin.funding
        part.bip32_derivations.update(key_origins(coin.output))
        if coin.kind != "P2PKH":
            part.witness_utxo = coin.funding.vout[0]
        if coin.kind == "P2SH-P2WPKH":
            part.redeem_script = coin.output.redeem_script()
        if coin.kind == "P2WSH multisig":
            part.witness_script = coin.output.witness_script()
    psbt.outputs[1].bip32_derivations.update(key_origins(change))
    return psbt


def finished(signed: str) -> bytes:
    """The transaction that goes to the network."""
    if bdk is not None:
        result = bdk.Psbt(signed).finalize()
        check(result.could_finalize, "BDK finds every signature it needs and completes the transaction")
        return bytes(result.psbt.extract_tx().serialize())
    transaction = finalizer.finalize_psbt(PSBT.from_string(signed))
    check(transaction is not None, "embit finds every signature it needs and completes the transaction")
    return bytes(transaction.serialize())


def verify_signatures(signed: str, coins: Sequence[Coin], folder: Path) -> None:
    """Where Bitcoin Core's verifier is not to be had: by embit, and by our own checks."""
    psbt = PSBT.from_string(signed)
    for index, coin in enumerate(coins):
        digest, signatures = psbt.sighash(index), psbt.inputs[index].partial_sigs
        valid = [key.verify(ec.Signature.parse(der[:-1]), digest) for key, der in signatures.items()]
        check(bool(valid) and all(valid), f"input {index} ({coin.kind}): embit verifies its signature")
    (folder / "signed.psbt").write_text(signed)
    command = [str(BIN / "cryptnoxctl"), "verify", str(folder / "signed.psbt"), "--chain", "regtest", "--json"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    check(run.returncode == 0 and json.loads(run.stdout)["complete"], "cryptnoxctl verify finds nothing missing")


def verify(signed: str, coins: Sequence[Coin], folder: Path) -> None:
    """Finalise and have Bitcoin Core's script verifier judge every input."""
    raw = finished(signed)
    if pbk is None:
        tell("LEFT OUT: Bitcoin Core's script verifier (py-bitcoinkernel has no wheel for this Python)")
        verify_signatures(signed, coins, folder)
        return
    transaction = pbk.Transaction(raw)
    spent = []
    for coin in coins:
        spent.append(pbk.TransactionOutput(pbk.ScriptPubkey(coin.funding.vout[0].script_pubkey.data), INPUT_AMOUNT))
    data = pbk.script.PrecomputedTransactionData(transaction, spent)
    for index, coin in enumerate(coins):
        script = pbk.ScriptPubkey(coin.funding.vout[0].script_pubkey.data)
        valid = script.verify(INPUT_AMOUNT, transaction, data, index, pbk.ScriptVerificationFlags.ALL)
        check(valid, f"input {index} ({coin.kind}) is valid for Bitcoin Core's script verifier")


def main() -> None:
    global BIN
    parser = argparse.ArgumentParser(description="An emulated card signs a Bitcoin transaction, step by step.")
    parser.add_argument(
        "--programs",
        type=Path,
        default=BIN,
        help="folder of the two programs (default: %(default)s)",
    )
    BIN = parser.parse_args().programs.resolve()
    with tempfile.TemporaryDirectory(prefix="cryptnox-demo-") as name:
        folder = Path(name)
        print("A Cryptnox card signs a Bitcoin transaction. No card and no network is needed: the card is emulated,")
        print("the coins are made up, and the rules are Bitcoin Core's.")
        if bdk is None:
            print("LEFT OUT: what BDK would check (bdkpython has no wheel for this Python). embit does its part.")

        step(1, "Put an (emulated) card on the table")
        with emulated_card(folder) as address:
            signer = Signer(address, folder)

            step(2, "The wallet looks for signing devices")
            devices = signer.run("--emulators", "enumerate")
            check(
                isinstance(devices, list) and len(devices) == 1 and devices[0].get("fingerprint") == FINGERPRINT,
                f"one card is there, its master fingerprint is {FINGERPRINT}",
            )

            step(3, "The wallet asks for what it needs to watch the card's addresses")
            descriptors = wallet_descriptors(signer)
            account = "m/48h/1h/0h/2h"
            xpub = signer.ask("getxpub", account)["xpub"]
            shared = f"wsh(sortedmulti(1,[{FINGERPRINT}/48h/1h/0h/2h]{xpub}/0/*,{somebody_else()}/0/*))"
            tell("and for a wallet shared with somebody else (either of two keys may spend):")
            tell(shared)

            step(4, "The card signs a message")
            check_message(signer, descriptors["P2PKH"][0])

            step(5, "The card signs a transaction")
            coins = [fund(kind, receive, number) for number, (kind, (receive, _)) in enumerate(descriptors.items())]
            coins.append(fund("P2WSH multisig", shared, len(coins)))
            change = Descriptor.from_string(descriptors["P2WPKH"][1].split("#")[0]).derive(0)
            unsigned = build(coins, change).to_string()
            tell(f"{len(coins)} coins of {INPUT_AMOUNT} sat each; {PAYMENT} sat go to somebody, {FEE} sat are the fee,")
            tell("the rest comes back")
            answer = signer.ask("signtx", unsigned, shown=("signtx", f"{unsigned[:24]}..."))
            check(answer.get("signed") is True, "the program answers that it signed")

            step(6, "Everybody else checks it")
            verify(answer["psbt"], coins, folder)
    print("\nAll of it held.")


if __name__ == "__main__":
    try:
        main()
    except (DemoError, OSError, subprocess.TimeoutExpired) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        sys.exit(1)
