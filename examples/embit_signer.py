"""Signs a PSBT that was built with embit: `python examples/embit_signer.py DEVICE FILE`.

DEVICE is `cryptnox:SERIAL`, or `tcp:HOST:PORT` of an emulated card; FILE holds the PSBT, base64. Prints the transaction
where the card's signatures were the last ones missing, else the PSBT. The card has no screen: what is signed is shown
here, and a person says yes. The PIN comes from CRYPTNOX_PIN_COMMAND, CRYPTNOX_PIN_FILE or, in tests, CRYPTNOX_PIN.
"""

from __future__ import annotations

import sys
from pathlib import Path

from embit.psbt import PSBT
from embit.transaction import Transaction

from hwilib_cryptnox.psbt import Plan, Psbt
from hwilib_cryptnox.psbt.finalize import NotFinal, extract
from hwilib_cryptnox.signer.host import Host
from hwilib_cryptnox.signer.signing import Signing


def ask(plan: Plan) -> None:
    """Show what would be signed. Whoever does not say yes ends the program, and nothing is signed."""
    for output in plan.summary.outputs:
        what = "change" if output.change else "payment"
        print(f"{output.amount} sat to {output.address(plan.summary.chain)}, {what}", file=sys.stderr)
    print(f"fee: {plan.summary.fee} sat", *plan.warnings, sep="\n", file=sys.stderr)
    print("Type yes to sign:", file=sys.stderr)
    if plan.requests and sys.stdin.readline().strip() != "yes":
        sys.exit("nothing was signed")


def sign(device: str, psbt: str) -> PSBT | Transaction:
    """Its transaction, or the PSBT with the card's signatures; CryptnoxError, WalletError or PsbtError else. `psbt` is
    the text: embit 0.8 may read it as another, since it takes a sequence number of 0 for ffffffff."""
    wallet = Host().wallet(device)
    try:
        signed = Signing(wallet, Psbt.parse(psbt), approve=ask).run()
    finally:
        wallet.close()  # resets the card: no verified PIN stays behind
    try:
        return Transaction.parse(extract(signed))  # each signature is verified again
    except NotFinal:
        return PSBT.from_string(signed.to_base64())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    result = sign(sys.argv[1], Path(sys.argv[2]).read_text().strip())
    print(result.serialize().hex() if isinstance(result, Transaction) else result.to_string())
