"""Signs what a BDK wallet built: `python examples/bdk_signer.py DEVICE FILE`.

DEVICE is `cryptnox:SERIAL`, or `tcp:HOST:PORT` of an emulated card; FILE holds the PSBT, base64. The result is printed.
The card has no screen: what is signed is shown here, and a person says yes. The PIN comes from CRYPTNOX_PIN_COMMAND,
CRYPTNOX_PIN_FILE or, in tests, CRYPTNOX_PIN.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import bdkpython as bdk

from hwilib_cryptnox.networks import Chain
from hwilib_cryptnox.psbt import Plan, Psbt
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


class CardSigner:
    """Signs PSBTs of BDK with one card. `pin`: one that your program asked for, None for the PIN source's. `chain`: the
    network you mean; keys of another are refused."""

    def __init__(
        self,
        device: str,
        pin: str | None = None,
        approve: Callable[[Plan], None] = ask,
        chain: Chain | None = None,
    ) -> None:
        self.wallet = Host().wallet(device, pin)
        self.approve = approve
        self.chain = chain

    def sign(self, psbt: bdk.Psbt) -> bdk.Psbt:
        """The same with the card's signatures; CryptnoxError, WalletError or PsbtError, and none was made."""
        try:
            given = Psbt.parse(psbt.serialize())
            signed = Signing(self.wallet, given, approve=self.approve, chain=self.chain).run()
        finally:
            self.wallet.close()  # resets the card: no verified PIN stays behind
        return bdk.Psbt(signed.to_base64())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(CardSigner(sys.argv[1]).sign(bdk.Psbt(Path(sys.argv[2]).read_text().strip())).serialize())
