"""Bitcoin on paper: transactions that fund scripts, BDK wallets, and Bitcoin Core's verifier as the judge."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Sequence

from embit.script import Script
from embit.transaction import Transaction, TransactionInput, TransactionOutput

from tests.support.curve import PublicKey
from tests.support.kernel import failing_inputs
from tests.support.optional import bdk

FEE_RATE = 3
_numbers = itertools.count()


def funding_transaction(outputs: Sequence[tuple[bytes, int]]) -> bytes:
    """A transaction out of nowhere that pays (script, satoshis) each; no two are the same."""
    origin = hashlib.sha256(f"paper {next(_numbers)}".encode()).digest()
    tx = Transaction(
        2,
        # A signature script, so that wallets take the transaction for a signed one.
        [TransactionInput(origin, 0, Script(b"\x51"), 0xFFFFFFFD)],
        [TransactionOutput(amount, Script(script)) for script, amount in outputs],
        0,
    )
    return tx.serialize()


def verify(raw: bytes, funding: Sequence[bytes]) -> None:
    """Let Bitcoin Core's code judge every input of a transaction; `funding` are the transactions it spends from."""
    spendable = {}
    for previous in funding:
        parsed = Transaction.parse(previous)
        for index, output in enumerate(parsed.vout):
            spendable[parsed.txid(), index] = output
    ours = Transaction.parse(raw)
    spent = [spendable[vin.txid, vin.vout] for vin in ours.vin]
    assert failing_inputs(raw, [(out.value, out.script_pubkey.data) for out in spent]) == []


def message_key(signature: str, message: str) -> bytes:
    """The compressed key that made a signature in the format of Bitcoin's signed messages (base64, 65 bytes)."""
    raw, text = base64.b64decode(signature), message.encode()
    assert len(text) < 0xFD
    signed = b"\x18Bitcoin Signed Message:\n" + bytes((len(text),)) + text
    digest = hashlib.sha256(hashlib.sha256(signed).digest()).digest()
    recovery = bytes(((raw[0] - 27) & 3,))
    return PublicKey.from_signature_and_message(raw[1:] + recovery, digest, hasher=None).format()


class PaperWallet:
    """A BDK wallet made from descriptors, on regtest, whose chain is what the test tells it."""

    def __init__(self, descriptor: str, change: str | None = None) -> None:
        persister = bdk.Persister.new_in_memory()
        receive = bdk.Descriptor(descriptor, bdk.NetworkKind.TEST)
        if change is None:
            self.wallet = bdk.Wallet.create_from_two_path_descriptor(receive, bdk.Network.REGTEST, persister)
        else:
            internal = bdk.Descriptor(change, bdk.NetworkKind.TEST)
            self.wallet = bdk.Wallet(receive, internal, bdk.Network.REGTEST, persister)
        self.known: list[bytes] = []

    def address(self) -> bdk.Address:
        """A fresh receiving address."""
        return self.wallet.reveal_next_address(bdk.KeychainKind.EXTERNAL).address

    def receive(self, amount: int) -> None:
        """Get coins at a fresh address."""
        self.learn(funding_transaction([(self.address().script_pubkey().to_bytes(), amount)]))

    def learn(self, raw: bytes) -> None:
        """See a transaction in the mempool."""
        self.known.append(raw)
        self.wallet.apply_unconfirmed_txs([bdk.UnconfirmedTx(tx=bdk.Transaction(raw), last_seen=len(self.known))])

    @property
    def balance(self) -> int:
        """Satoshis, unconfirmed ones included."""
        return self.wallet.balance().total.to_sat()

    def pay(self, script: bytes, amount: int, *, lock_time: int = 0) -> str:
        """An unsigned PSBT (base64) paying `amount` with change back."""
        builder = bdk.TxBuilder().add_recipient(bdk.Script(script), bdk.Amount.from_sat(amount))
        if lock_time:
            builder = builder.nlocktime(bdk.LockTime.BLOCKS(lock_time))
        psbt = builder.fee_rate(bdk.FeeRate.from_sat_per_vb(FEE_RATE)).finish(self.wallet)
        return psbt.serialize()

    def finish(self, signed: str) -> bytes:
        """Finalise a signed PSBT, let Bitcoin Core's verifier judge it; returns the transaction, now in the mempool."""
        result = bdk.Psbt(signed).finalize()
        assert result.could_finalize, result.errors
        raw = result.psbt.extract_tx().serialize()
        verify(raw, self.known)
        self.learn(raw)
        return raw
