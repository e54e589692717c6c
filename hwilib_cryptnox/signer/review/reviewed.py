"""What a transaction does, as data: for `--json`, and for programs that show it in windows of their own."""

from __future__ import annotations

from dataclasses import dataclass

from hwilib_cryptnox.psbt import Plan, address_of
from hwilib_cryptnox.signer.review.shown import data_hex, data_text, payments_of


@dataclass(frozen=True, slots=True)
class Signer:
    """The card that is to sign."""

    serial: int
    fingerprint: bytes
    """4 bytes, of the master key."""
    emulated: bool

    def __str__(self) -> str:
        kind = ", emulated" if self.emulated else ""
        return f"{self.serial}, fingerprint {self.fingerprint.hex()}{kind}"


def summary_data(plan: Plan, card: Signer) -> dict[str, object]:
    """The review as data for `--json`; amounts in satoshi, null where they are not settled."""
    summary = plan.summary
    return {
        "chain": summary.chain.name.lower(),
        "card": {"serial": str(card.serial), "fingerprint": card.fingerprint.hex(), "emulated": card.emulated},
        "accounts": [str(path) for path in summary.accounts],
        "wallets": [
            {"name": wallet.name, "policy": wallet.words, "inputs": list(wallet.inputs)} for wallet in summary.wallets
        ],
        "unregistered": [{"policy": group.words, "inputs": list(group.inputs)} for group in summary.unregistered],
        "inputs": summary.inputs,
        "our_inputs": summary.our_inputs,
        "our_amount": summary.our_amount,
        "payments": len(payments_of(summary)[0]),
        "sent": summary.sent,
        "change": summary.change_amount,
        "net": summary.net,
        "fee": summary.fee,
        "fee_rate": summary.fee_rate,
        "fee_percent": summary.fee_percent,
        "valid_from": summary.valid_from,
        "outputs": [
            {
                "index": output.index,
                "amount": output.amount,
                "address": output.address(summary.chain),
                "script": output.script.hex(),
                "kind": output.kind.name.lower(),
                "data": data_hex(output),
                "data_text": data_text(output),
                "change": output.change,
                "path": None if output.path is None else str(output.path),
                "wallet": output.wallet,
            }
            for output in summary.outputs
        ],
        "message": None
        if plan.message is None
        else {
            "text": plan.message.text,
            "address": address_of(plan.message.script, summary.chain),
            "script": plan.message.script.hex(),
            "coins": list(plan.message.coins),
        },
        "warnings": [{"text": notice.text, "grave": notice.grave} for notice in summary.warnings],
        "skipped": [{"input": item.index, "reason": item.reason} for item in plan.skipped],
    }
