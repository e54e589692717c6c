"""Pays from a Bitcoin Core wallet whose keys are on the card, over Core's RPC.

    python examples/core_signer.py DEVICE --chain CHAIN --wallet WALLET --pay ADDRESS=BTC [--pay ...] [--send]

DEVICE is cryptnox:SERIAL, or tcp:HOST:PORT of an emulated card. Core makes the transaction, the card signs it, Core
completes and tries it. With --send it is sent, after you said yes; without, it is printed. You see what the card proved
before it signs. With --program PATH the program hwi-cryptnox signs; it asks as you set it up (confirm = "pinentry").
The PIN comes from CRYPTNOX_PIN_COMMAND, CRYPTNOX_PIN_FILE or, in tests, CRYPTNOX_PIN.
"""

import argparse
import base64
import json
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any

from cryptnox_core import CryptnoxError
from hwilib_cryptnox.errors import WalletError
from hwilib_cryptnox.networks import CHAINS
from hwilib_cryptnox.psbt import Plan, Psbt, PsbtError
from hwilib_cryptnox.signer.host import Host
from hwilib_cryptnox.signer.signing import Signing

PORTS = {"main": 8332, "test": 18332, "testnet4": 48332, "signet": 38332, "regtest": 18443}
FOLDERS = {"main": "", "test": "testnet3", "testnet4": "testnet4", "signet": "signet", "regtest": "regtest"}
TIME_LIMIT = 900
LOCAL = ("127.0.0.1", "localhost", "::1")


class Core:
    """Calls to a node on this computer."""

    def __init__(self, url: str, cookie: Path, wallet: str) -> None:
        if urllib.parse.urlsplit(url).hostname not in LOCAL:
            sys.exit(f"{url} is another computer, and RPC is not encrypted. Use a tunnel: ssh -L 8332:127.0.0.1:8332")
        self._wallet = f"{url.rstrip('/')}/wallet/{urllib.parse.quote(wallet, safe='')}"
        self._cookie = cookie
        # A proxy of the environment would see the cookie.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __call__(self, method: str, *parameters: object) -> Any:
        """The result of a call. Core's own error ends the program."""
        try:
            secret = base64.b64encode(self._cookie.read_bytes().strip()).decode()
        except OSError as error:
            sys.exit(f"{self._cookie}: {error.strerror}. Is Bitcoin Core running? --cookie names its file.")
        body = json.dumps({"jsonrpc": "1.0", "id": 1, "method": method, "params": parameters}).encode()
        headers = {"Authorization": f"Basic {secret}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._wallet, body, headers)
        try:
            with self._opener.open(request, timeout=TIME_LIMIT) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:  # Core says what is wrong in the body
            text = error.read()
            if not text:
                sys.exit(f"Bitcoin Core refuses the cookie ({error.code})")
        except OSError as error:
            sys.exit(f"Bitcoin Core does not answer at {request.host}: {getattr(error, 'reason', error)}")
        try:
            found = json.loads(text, parse_float=Decimal)
            refused, result = found["error"], found["result"]
            message = refused["message"] if refused else ""
        except (ValueError, TypeError, KeyError):
            sys.exit(f"{request.host} is not Bitcoin Core")
        if refused:
            sys.exit(f"{method}: {message}")
        return result


def approve(plan: Plan) -> None:
    """The card has no screen: this is where you see where the money goes."""
    if not plan.requests:
        return
    summary = plan.summary
    for output in summary.outputs:
        what = f"change, {output.path}" if output.change else "payment"
        print(output.amount, "sat", output.address(summary.chain), what)
    print("fee", summary.fee, "sat")
    for warning in plan.warnings:
        print("warning:", warning)
    for skipped in plan.skipped:
        print("not signed:", skipped)
    if not yes(f"Sign with {len(plan.requests)} signatures?"):
        sys.exit("nothing was signed")


def yes(question: str) -> bool:
    try:
        return input(f"{question} (yes/no) ").strip() == "yes"
    except EOFError:
        return False


def signed_by_card(device: str, chain: str, psbt: str) -> str:
    """Signed in this program. The errors' texts are for people."""
    wallet = Host().wallet(device)
    try:
        return Signing(wallet, Psbt.parse(psbt), chain=CHAINS[chain], approve=approve).run().to_base64()
    finally:
        wallet.close()


def signed_by_program(program: str, device: str, chain: str, psbt: str) -> str:
    """Signed by `hwi-cryptnox`, which gets the PSBT on its standard input."""
    command = [program, "--signer-mode", "-t", "cryptnox", "-d", device, "--chain", chain, "--stdin"]
    done = subprocess.run(command, input=f"signtx {psbt}\n", stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)  # it said why
    return str(json.loads(done.stdout)["psbt"])


def payment(text: str) -> dict[str, str]:
    address, separator, amount = text.partition("=")
    if not separator or not address or not amount.replace(".", "", 1).isdigit():
        raise argparse.ArgumentTypeError(f"{text}: ADDRESS=BTC is wanted, like ADDRESS=0.01")
    return {address: amount}


def main() -> None:
    if len(sys.argv) == 1:
        sys.exit(__doc__)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", metavar="DEVICE")
    parser.add_argument("--chain", required=True, choices=PORTS)
    parser.add_argument("--wallet", required=True)
    parser.add_argument("--pay", required=True, action="append", type=payment, metavar="ADDRESS=BTC")
    parser.add_argument("--fee-rate", metavar="SAT/VB", help="Core's estimate unless given")
    parser.add_argument("--rpc", metavar="URL", help="http://127.0.0.1 and the chain's port unless given")
    parser.add_argument("--cookie", type=Path, metavar="FILE", help="in ~/.bitcoin unless given")
    parser.add_argument("--program", metavar="PATH", help="the hwi-cryptnox that signs")
    parser.add_argument("--send", action="store_true", help="send it, when you said yes")
    given = parser.parse_args()

    url = given.rpc or f"http://127.0.0.1:{PORTS[given.chain]}"
    cookie = given.cookie or Path.home() / ".bitcoin" / FOLDERS[given.chain] / ".cookie"
    core = Core(url, cookie, given.wallet)
    options = {"fee_rate": given.fee_rate} if given.fee_rate else {}
    made = core("walletcreatefundedpsbt", [], given.pay, 0, options, True)
    if given.program:
        print("Bitcoin Core asks for a fee of", made["fee"], "BTC", flush=True)
        signed = signed_by_program(given.program, given.device, given.chain, made["psbt"])
    else:
        signed = signed_by_card(given.device, given.chain, made["psbt"])
    final = core("finalizepsbt", signed)
    if not final["complete"]:
        print(signed)
        sys.exit("Other signatures are missing. The PSBT above has the card's: give it to the next signer.")
    (tried,) = core("testmempoolaccept", [final["hex"]])
    if not tried["allowed"]:
        sys.exit(f"The network would not take it: {tried.get('reject-reason', 'no reason given')}. Nothing was sent.")
    print("transaction", tried["txid"], "is valid")
    if not given.send:
        print(final["hex"])
    elif yes("Send it?"):
        print("sent", core("sendrawtransaction", final["hex"]))
    else:
        sys.exit("Nothing was sent.")


if __name__ == "__main__":
    try:
        main()
    except (CryptnoxError, WalletError, PsbtError) as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit("Stopped. If you were asked whether to send, look at Core before you try again.")
