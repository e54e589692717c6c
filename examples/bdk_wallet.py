"""A BDK wallet whose signer is the card: `python examples/bdk_wallet.py tcp:HOST:PORT` (or `cryptnox:SERIAL`).

Makes the wallet from the card's descriptors, receives a payment that exists on paper only, spends it, lets the card
sign, and finalises. A real program would ask a server for its coins instead, and broadcast the result. The card has no
screen: a real program also asks its user before it signs what is printed here. The PIN comes from CRYPTNOX_PIN_COMMAND,
CRYPTNOX_PIN_FILE or, in tests, CRYPTNOX_PIN.
"""

import hashlib
import sys

import bdkpython as bdk
from hwilib import commands
from hwilib.common import Chain
from hwilib.psbt import PSBT

import hwilib_cryptnox


def on_paper(script: bytes, amount: int) -> bytes:
    """A transaction out of nowhere that pays a script."""
    body = b"\x01" + hashlib.sha256(b"paper").digest() + bytes(4) + b"\x01\x51" + b"\xff" * 4
    body += b"\x01" + amount.to_bytes(8, "little") + bytes((len(script),)) + script
    return (2).to_bytes(4, "little") + body + bytes(4)


if len(sys.argv) != 2:
    sys.exit(__doc__)
hwilib_cryptnox.register()
client = commands.get_client("cryptnox", sys.argv[1], chain=Chain.REGTEST)
try:
    found = commands.getdescriptors(client)
    texts = [next(text for text in found[kind] if text.startswith("wpkh")) for kind in ("receive", "internal")]
    receive, change = (bdk.Descriptor(text, bdk.NetworkKind.TEST) for text in texts)
    wallet = bdk.Wallet(receive, change, bdk.Network.REGTEST, bdk.Persister.new_in_memory())

    address = wallet.reveal_next_address(bdk.KeychainKind.EXTERNAL).address
    payment = bdk.Transaction(on_paper(address.script_pubkey().to_bytes(), 100_000))
    wallet.apply_unconfirmed_txs([bdk.UnconfirmedTx(tx=payment, last_seen=1)])
    print(address, "received", wallet.balance().total.to_sat())

    builder = bdk.TxBuilder().add_recipient(address.script_pubkey(), bdk.Amount.from_sat(60_000))
    draft = builder.finish(wallet)
    print("to be signed: 60000 to", address, "fee", draft.fee())
    request = PSBT()
    request.deserialize(draft.serialize())
    signed = client.sign_tx(request)
    result = bdk.Psbt(signed.serialize()).finalize()
    if not result.could_finalize:
        sys.exit(f"not complete: {result.errors}")
    print("ready to broadcast", result.psbt.extract_tx().serialize().hex())
finally:
    client.close()
