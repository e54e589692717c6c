"""What the card is about to sign, in the words of the program's own review: every word of it is proved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import ProgramError

AGREED = "sign"
_MOST_SHOWN = 12
_SATOSHI = 100_000_000


@dataclass(frozen=True)
class Review:
    """One transaction, before it is signed."""

    lines: tuple[str, ...]
    """What it does."""
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    """What may cost money."""
    high_fee: str | None
    """Why the fee has to be typed, where it has to."""
    fee: int | None
    """In satoshi; None where the amounts are not proved."""
    signatures: int

    @classmethod
    def of(cls, data: object) -> Review:
        """From the program's JSON. ProgramError where it has another form: what is not understood is not signed."""
        try:
            return _read(data)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
            raise ProgramError("What the card would sign cannot be shown, so nothing was signed.") from None

    @property
    def text(self) -> str:
        """All of it; what may cost money last, next to the buttons."""
        parts = [
            *self.lines,
            *(f"Note: {note}" for note in self.notes),
            *(f"WARNING: {text}" for text in self.warnings),
        ]
        return "\n".join(parts)

    def answer(self, typed: str = "") -> str | None:
        """What to answer the program when the person agrees; None where the fee was to be typed and is another."""
        if self.high_fee is None:
            return AGREED
        number = typed.replace(",", "").replace(" ", "").strip()
        return f"{AGREED} {self.fee}" if self.fee is not None and number == str(self.fee) else None


def bitcoin(satoshi: int) -> str:
    """An amount with all its places."""
    return f"{satoshi // _SATOSHI}.{satoshi % _SATOSHI:08d}"


def _read(data: Mapping[str, Any]) -> Review:
    outputs: Sequence[Mapping[str, Any]] = data["outputs"]
    change = [output for output in outputs if output["change"] is True]
    others = [output for output in outputs if output["change"] is not True]
    fee, message = data["fee"], data["message"]
    lines = [f"Card {data['card']['serial']}, network {data['chain']}"]
    lines += [f'Wallet "{wallet["name"]}": {wallet["policy"]}' for wallet in data["wallets"][:_MOST_SHOWN]]
    if message is not None:
        lines += ["", f"Signs a message for {message['address'] or message['script']}:", str(message["text"])]
    else:
        lines += ["", *_payments(others)]
        if change:
            total = bitcoin(sum(int(output["amount"]) for output in change))
            lines.append(f"Change back to this wallet, proved with the card's keys: {total} BTC")
        lines.append("Fee: unknown" if fee is None else f"Fee: {_fee(data)}")
    lines += [f"Not signed: {reason}" for reason in data["unsigned"]]
    notices = data["notices"]
    high = data["high_fee"]
    warnings = [str(notice["text"]) for notice in notices if notice["grave"]]
    return Review(
        lines=tuple(lines),
        notes=tuple(str(notice["text"]) for notice in notices if not notice["grave"]),
        warnings=(*warnings, *([] if high is None else [str(high)])),
        high_fee=None if high is None else str(high),
        fee=None if fee is None else int(fee),
        signatures=int(data["signatures"]),
    )


def _payments(outputs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The largest, and the sum of the rest."""
    paid = sorted(outputs, key=lambda output: -int(output["amount"]))
    lines = []
    for output in paid[:_MOST_SHOWN]:
        where = output["address"] or f"script {str(output['script'])[:80]}"
        whose = f' (wallet "{output["wallet"]}")' if output.get("wallet") else ""
        lines += [f"{bitcoin(int(output['amount']))} BTC to{whose}", f"    {where}"]
    rest = paid[_MOST_SHOWN:]
    if rest:
        total = bitcoin(sum(int(output["amount"]) for output in rest))
        lines.append(f"{total} BTC in {len(rest):,} more {'output' if len(rest) == 1 else 'outputs'}")
    return lines or ["No payment: everything goes back to this wallet or into the fee"]


def _fee(data: Mapping[str, Any]) -> str:
    rate = "" if data["fee_rate"] is None else f", {float(data['fee_rate']):,.1f} sat/vB"
    return f"{bitcoin(int(data['fee']))} BTC ({int(data['fee']):,} satoshi{rate})"
