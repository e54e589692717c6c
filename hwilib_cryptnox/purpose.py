"""What is about to be signed, in a few lines for a PIN dialogue."""

from __future__ import annotations

from dataclasses import replace

from hwilib_cryptnox.psbt import Chain, Change, Psbt, PsbtError, Summary, collect, describe
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.checks import spent_outputs

_MOST_LINES = 9
_NOBODY = bytes(4)
"""A fingerprint for a summary in which no output is anybody's."""


def purpose_of(psbt: Psbt, fingerprint: bytes | None, *, test: bool) -> str:
    """What a PSBT does, in a few lines for a PIN dialogue: from the PSBT alone, so that change is only claimed.

    A card met for the first time has no known fingerprint: change is then what the only signer there is claims.
    Raises PsbtError where a PSBT of the known card contradicts itself.
    """
    if fingerprint is not None:
        summary = describe(psbt, collect(psbt, fingerprint))
    else:
        try:
            summary = describe(psbt, collect(psbt, _only_signer(psbt)))
        except PsbtError:  # perhaps not ours: the card's fingerprint decides who is told
            summary = describe(psbt, collect(psbt, _NOBODY))
    return summary_text(replace(summary, fee=_fee(psbt)), Chain.TEST if test else Chain.MAIN)


def _only_signer(psbt: Psbt) -> bytes:
    """The fingerprint all keys of the inputs come from, where it is one."""
    found = set()
    for fields in psbt.inputs:
        found |= {value[:4] for _, value in fields.keyed(f.IN_BIP32_DERIVATION)}
        found |= {f.split_tap_derivation(value)[1][:4] for _, value in fields.keyed(f.IN_TAP_BIP32_DERIVATION)}
    return found.pop() if len(found) == 1 else _NOBODY


def _fee(psbt: Psbt) -> int | None:
    """Satoshi, whoever signs; None where an amount is missing or the amounts contradict each other."""
    try:
        spends = spent_outputs(psbt)
    except PsbtError:
        return None
    amounts = [spend.output[0] for spend in spends if spend.output is not None]
    return sum(amounts) - sum(amount for amount, _ in psbt.tx.outputs) if len(amounts) == len(spends) else None


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
