"""Bitcoin Core's script verifier (libbitcoinkernel) as the judge of finished transactions."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.optional import pbk


def failing_inputs(transaction: bytes, spent: Sequence[tuple[int, bytes]]) -> list[int]:
    """The inputs of a network transaction that do not satisfy what they spend (amount, scriptPubKey), under all
    flags."""
    tx = pbk.Transaction(transaction)
    outputs = [pbk.TransactionOutput(pbk.ScriptPubkey(script), amount) for amount, script in spent]
    data = pbk.script.PrecomputedTransactionData(tx, outputs)
    flags = pbk.ScriptVerificationFlags.ALL
    failing = []
    for index, (amount, script) in enumerate(spent):
        if not pbk.ScriptPubkey(script).verify(amount, tx, data, index, flags):
            failing.append(index)
    return failing
