"""What is about to be signed, in a few lines for a PIN dialogue."""

from __future__ import annotations

from hwilib_cryptnox.psbt import Chain, Change, Psbt, Summary, collect, describe

_MOST_LINES = 9


def purpose_of(psbt: Psbt, fingerprint: bytes | None, *, test: bool) -> str:
    """What a PSBT does, in a few lines for a PIN dialogue: from the PSBT alone, so that change is only claimed."""
    collected = collect(psbt, bytes(4) if fingerprint is None else fingerprint)
    return summary_text(describe(psbt, collected), Chain.TEST if test else Chain.MAIN)


def summary_text(summary: Summary, chain: Chain) -> str:
    """Amount, destinations and fee, one line each."""
    lines = ["Sign a transaction"]
    for output in summary.outputs:
        to = output.address(chain) or f"script {output.script.hex()[:40]}"
        claimed = "" if output.change is Change.NOT_OURS else " (claimed change)"
        lines.append(f"{_bitcoin(output.amount)} to {to}{claimed}")
    if len(lines) > _MOST_LINES:
        more = len(lines) - _MOST_LINES
        lines = [*lines[:_MOST_LINES], f"and {more} more outputs, {_bitcoin(summary.amount_out)} in all"]
    fee = "unknown" if summary.fee is None else _bitcoin(summary.fee)
    return "\n".join([*lines, f"Fee {fee}"])


def _bitcoin(satoshi: int) -> str:
    return f"{satoshi // 10**8}.{satoshi % 10**8:08d} BTC"
