"""What a transaction does, for a person to judge before the card signs it: the card itself shows nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cryptnox_core.bip32 import Path
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.screen import BAD, FAINT, GOOD, STRONG, WARN, Screen, printable
from hwilib_cryptnox.psbt import Chain, Change, NoticeKind, OutputSummary, Plan, Summary
from hwilib_cryptnox.psbt.origins import Claim
from hwilib_cryptnox.psbt.script import Kind, operations

SATOSHI = 10**8
_CHANGE = {
    Change.NOT_OURS: ("payment", STRONG),
    Change.CLAIMED: ("change? unproved", WARN),
    Change.PROVED: ("change, proved", GOOD),
}
_CLAIMED = ("change, claimed", WARN)
"""Before the PIN: nothing could prove it yet."""
_GRAVE = frozenset(
    {
        NoticeKind.HIGH_FEE,
        NoticeKind.UNKNOWN_AMOUNTS,
        NoticeKind.UNPROVED_AMOUNTS,
        NoticeKind.SIGHASH,
        NoticeKind.SIGNED_BEFORE,
    }
)
_BRANCHES = re.compile("<([^<>]*)>")


def bitcoin(satoshi: int) -> str:
    """An amount with all eight places."""
    sign = "-" if satoshi < 0 else ""
    return f"{sign}{abs(satoshi) // SATOSHI}.{abs(satoshi) % SATOSHI:08d}"


def destination(output: OutputSummary, chain: Chain) -> str:
    """The address, the data of an OP_RETURN output, or the script."""
    address = output.address(chain)
    if address is not None:
        return address
    if output.kind is Kind.OP_RETURN:
        try:
            pushed = b"".join(data or b"" for _, data, _ in operations(output.script[1:]))
        except ValueError:
            pushed = output.script[1:]
        text = pushed.decode("utf-8", "replace")
        return f"data: {printable(text) if text.isprintable() else pushed.hex()}"
    return f"{output.kind.value}: {output.script.hex()}"


def review(screen: Screen, plan: Plan, chain: Chain, *, before_pin: bool = False) -> None:
    """The whole review. `before_pin`: the card's keys, which prove change, are not known yet."""
    summary = plan.summary
    screen.table(
        ("#", "BTC", "", "To"),
        [
            (str(output.index), bitcoin(output.amount), _owner(output, before_pin), _to(output, chain, screen.fancy))
            for output in summary.outputs
        ],
        title="Outputs",
        right=(0, 1),
    )
    screen.fields(_totals(plan))
    claimed = any(output.change is Change.CLAIMED for output in summary.outputs)
    if claimed and before_pin:
        screen.line("change, claimed: said to come back to you; the card proves it after the PIN", WARN)
    elif claimed:
        screen.line("change? unproved: only said to be yours, nothing proves it (multisig: --wallet DESCRIPTOR)", WARN)
    for notice in summary.warnings:
        screen.line(f"Warning: {printable(notice.text)}", BAD if notice.kind in _GRAVE else WARN)
    for skipped in plan.skipped:
        screen.line(f"Not signed: {printable(str(skipped))}", WARN)


def _owner(output: OutputSummary, before_pin: bool) -> tuple[str, str]:
    claimed = before_pin and output.change is Change.CLAIMED
    text, style = _CLAIMED if claimed else _CHANGE[output.change]
    if output.kind is Kind.OP_RETURN:
        return "no money" if not output.amount else "DESTROYED", FAINT if not output.amount else BAD
    return text, style


def _to(output: OutputSummary, chain: Chain, fancy: bool) -> str:
    text = destination(output, chain)
    return text if output.path is None else f"{text}{chr(10) if fancy else ' '}{output.path}"


def _totals(plan: Plan) -> list[tuple[str, str] | tuple[str, str, str]]:
    summary = plan.summary
    inputs = f"{summary.inputs}, {summary.our_inputs} of them the card's ({bitcoin(summary.our_amount)} BTC)"
    return [
        ("Inputs", inputs),
        ("Signatures to make", str(len(plan.requests))),
        ("Sent", f"{bitcoin(summary.sent)} BTC", STRONG),
        ("Fee", _fee(summary), _fee_style(summary)),
    ]


def _fee(summary: Summary) -> str:
    if summary.fee is None or summary.fee_rate is None:
        return "UNKNOWN: amounts are missing"
    proved = "" if summary.fee_proved else "; not proved"
    return f"{bitcoin(summary.fee)} BTC ({summary.fee_rate:.1f} sat/vB{proved})"


def _fee_style(summary: Summary) -> str:
    return BAD if any(notice.kind in _GRAVE for notice in summary.warnings) else STRONG


def summary_data(plan: Plan, chain: Chain) -> dict[str, object]:
    """The review as data for `--json`; amounts in satoshi."""
    summary = plan.summary
    return {
        "inputs": summary.inputs,
        "our_inputs": summary.our_inputs,
        "our_amount": summary.our_amount,
        "sent": summary.sent,
        "fee": summary.fee,
        "fee_rate": summary.fee_rate,
        "fee_proved": summary.fee_proved,
        "outputs": [
            {
                "index": output.index,
                "amount": output.amount,
                "address": output.address(chain),
                "script": output.script.hex(),
                "change": output.change.name.lower(),
                "path": None if output.path is None else str(output.path),
            }
            for output in summary.outputs
        ],
        "warnings": [notice.text for notice in summary.warnings],
        "skipped": [{"input": item.index, "reason": item.reason} for item in plan.skipped],
    }


class WalletProver:
    """Proves change by a wallet's output descriptor, for wallets with several keys."""

    def __init__(self, text: str) -> None:
        """CtlError INPUT for what is no ranged descriptor, or one with a wrong checksum."""
        from embit.base import EmbitError
        from embit.descriptor import Descriptor

        from hwilib_cryptnox.export import check_descriptor

        body = text.strip()
        try:
            if "#" in body:
                body = check_descriptor(body)
            # embit before 0.8 knows BIP389's branches in its own spelling only, {0,1}; later ones know both.
            self._descriptor = Descriptor.from_string(
                _BRANCHES.sub(lambda found: f"{{{found[1].replace(';', ',')}}}", body)
            )
        except (EmbitError, UsageError, ValueError, KeyError, IndexError, TypeError) as error:
            raise CtlError(Exit.INPUT, f"--wallet: no output descriptor: {error}") from error

    def __call__(self, index: int, script: bytes, claims: Sequence[Claim]) -> bool:  # noqa: ARG002
        """Whether the output's script is the wallet's at the place where our key in it says to be."""
        return any(self._is_at(claim.path, script) for claim in claims)

    def _is_at(self, path: Path, script: bytes) -> bool:
        if not path.steps:
            return False
        for branch in range(self._descriptor.num_branches):
            derived = self._descriptor.derive(path.steps[-1], branch_index=branch)
            if bytes(derived.script_pubkey().data) == script:
                return True
        return False
