"""Runs the whole engine over a PSBT, with private keys in place of a card."""

from __future__ import annotations

from importlib.util import find_spec

from hwilib_cryptnox.psbt import Plan, Policy, Psbt, collect, insert, plan
from hwilib_cryptnox.psbt.finalize import extract
from hwilib_cryptnox.psbt.signers import input_statuses
from tests.psbt.factory import ME, Draft, Wallet
from tests.support.kernel import failing_inputs

WITH_KERNEL = find_spec("pbk") is not None
"""Whether Bitcoin Core's verifier is here: it has no wheel for some Pythons."""


def make_plan(psbt: Psbt, wallet: Wallet = ME, **policy: object) -> Plan:
    collected = collect(psbt, wallet.fingerprint)
    return plan(psbt, collected, wallet.keys(collected.all_paths), Policy(**policy))  # type: ignore[arg-type]


def sign(data: bytes | str, wallet: Wallet = ME, **policy: object) -> Psbt:
    psbt = Psbt.parse(data)
    return insert(psbt, [(request, wallet.sign(request)) for request in make_plan(psbt, wallet, **policy).requests])


def check_on_kernel(signed: Psbt, draft: Draft) -> bytes:
    """Finalises; Bitcoin Core's verifier accepts every input. Returns the transaction."""
    transaction = extract(signed)
    assert failing_inputs(transaction, [(item.amount, item.script) for item in draft.ins]) == []
    return transaction


def check_all_signed(signed: Psbt, draft: Draft) -> None:
    """The same in a process that has no test to leave out: where there is no such verifier, by our own check of each
    signature."""
    if WITH_KERNEL:
        check_on_kernel(signed, draft)
        return
    extract(signed)
    assert all(status.complete for status in input_statuses(signed))
