"""A BDK wallet whose signer is the card: `python examples/bdk_wallet.py tcp:HOST:PORT` (or `cryptnox:SERIAL`).

Makes the wallet from the card's descriptors, receives a payment that exists on paper only, spends it, lets the card
sign, and finalizes. A real program would ask a server for its coins instead, and broadcast the result. The card has no
screen: a real program also asks its user before it signs what is printed here (bdk_signer.py does). The PIN comes from
CRYPTNOX_PIN_COMMAND, CRYPTNOX_PIN_FILE or, in tests, CRYPTNOX_PIN.
"""

from __future__ import annotations

import hashlib
import sys

import bdkpython as bdk
from bdk_signer import CardSigner

from hwilib_cryptnox.export import CHANGE, RECEIVE, KeySet, Network, ScriptType, account_path, descriptor
from hwilib_cryptnox.networks import Chain
from hwilib_cryptnox.psbt import Plan


def on_paper(script: bytes, amount: int) -> bytes:
    """A transaction out of nowhere that pays a script."""
    body = b"\x01" + hashlib.sha256(b"paper").digest() + bytes(4) + b"\x01\x51" + b"\xff" * 4
    body += b"\x01" + amount.to_bytes(8, "little") + bytes((len(script),)) + script
    return (2).to_bytes(4, "little") + body + bytes(4)


def show(plan: Plan) -> None:
    """What the card is about to sign."""
    for output in plan.summary.outputs:
        what = "change" if output.change else "payment"
        print(f"to be signed: {output.amount} to {output.address(plan.summary.chain)}, {what}")
    print("fee", plan.summary.fee)


if len(sys.argv) != 2:
    sys.exit(__doc__)
signer = CardSigner(sys.argv[1], approve=show, chain=Chain.REGTEST)
account = account_path(ScriptType.P2WPKH, Network.TEST)
keys = KeySet(signer.wallet.fingerprint(), signer.wallet.xpubs([account]), Network.TEST)
receive, change = (
    bdk.Descriptor(descriptor(keys, ScriptType.P2WPKH, branch=branch), bdk.NetworkKind.TEST)
    for branch in (RECEIVE, CHANGE)
)
wallet = bdk.Wallet(receive, change, bdk.Network.REGTEST, bdk.Persister.new_in_memory())

address = wallet.reveal_next_address(bdk.KeychainKind.EXTERNAL).address
payment = bdk.Transaction(on_paper(address.script_pubkey().to_bytes(), 100_000))
wallet.apply_unconfirmed_txs([bdk.UnconfirmedTx(tx=payment, last_seen=1)])
print(address, "received", wallet.balance().total.to_sat())

builder = bdk.TxBuilder().add_recipient(address.script_pubkey(), bdk.Amount.from_sat(60_000))
result = signer.sign(builder.finish(wallet)).finalize()
if not result.could_finalize:
    sys.exit(f"not complete: {result.errors}")
print("ready to broadcast", result.psbt.extract_tx().serialize().hex())
