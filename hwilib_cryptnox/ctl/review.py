"""What a transaction does, for a person to judge before the card signs it: the card itself shows nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cryptnox_core.bip32 import HARDENED, Path
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.screen import BAD, FAINT, GOOD, STRONG, WARN, Screen, printable
from hwilib_cryptnox.psbt import Chain, OutputSummary, Plan, Summary
from hwilib_cryptnox.psbt.origins import Claim
from hwilib_cryptnox.psbt.script import Kind, operations

SATOSHI = 10**8
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


def review(screen: Screen, plan: Plan) -> None:
    """The whole review: every word in it is proved."""
    summary = plan.summary
    chain = summary.chain
    screen.table(
        ("#", "BTC", "", "To"),
        [
            (str(output.index), bitcoin(output.amount), _owner(output), _to(output, chain, screen.fancy))
            for output in summary.outputs
        ],
        title="Outputs",
        right=(0, 1),
    )
    screen.fields(_totals(plan))
    for skipped in plan.skipped:
        screen.line(f"Not signed: {printable(str(skipped))}", WARN)
    for notice in summary.warnings:
        screen.line(f"Warning: {printable(notice.text)}", BAD if notice.grave else WARN)


def _owner(output: OutputSummary) -> tuple[str, str]:
    if output.kind is Kind.OP_RETURN:
        return "no money" if not output.amount else "DESTROYED", FAINT if not output.amount else BAD
    return ("change", GOOD) if output.change else ("payment", STRONG)


def _to(output: OutputSummary, chain: Chain, fancy: bool) -> str:
    text = destination(output, chain)
    return text if output.path is None else f"{text}{chr(10) if fancy else ' '}{output.path}"


def _totals(plan: Plan) -> list[tuple[str, str] | tuple[str, str, str]]:
    summary = plan.summary
    amount = "unknown amount" if summary.our_amount is None else f"{bitcoin(summary.our_amount)} BTC"
    inputs = f"{summary.inputs}, {summary.our_inputs} of them the card's ({amount})"
    return [
        ("Inputs", inputs),
        ("Signatures to make", str(len(plan.requests))),
        ("Sent", f"{bitcoin(summary.sent)} BTC", STRONG),
        ("Fee", _fee(summary), _fee_style(summary)),
    ]


def _fee(summary: Summary) -> str:
    if summary.fee is None or summary.fee_rate is None:
        return "unknown"
    return f"{bitcoin(summary.fee)} BTC ({summary.fee_rate:.1f} sat/vB)"


def _fee_style(summary: Summary) -> str:
    return BAD if any(notice.grave for notice in summary.warnings) else STRONG


def summary_data(plan: Plan) -> dict[str, object]:
    """The review as data for `--json`; amounts in satoshi, null where they are not settled."""
    summary = plan.summary
    return {
        "inputs": summary.inputs,
        "our_inputs": summary.our_inputs,
        "our_amount": summary.our_amount,
        "sent": summary.sent,
        "change": summary.change_amount,
        "net": summary.net,
        "fee": summary.fee,
        "fee_rate": summary.fee_rate,
        "fee_percent": summary.fee_percent,
        "accounts": [str(path) for path in summary.accounts],
        "outputs": [
            {
                "index": output.index,
                "amount": output.amount,
                "address": output.address(summary.chain),
                "script": output.script.hex(),
                "change": output.change,
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

    def __call__(self, script: bytes, claims: Sequence[Claim]) -> bool:
        """Whether a script is the wallet's at the place where our key in it says to be."""
        return any(self._is_at(claim.path, script) for claim in claims)

    def _is_at(self, path: Path, script: bytes) -> bool:
        if not path.steps or path.steps[-1] >= HARDENED:
            return False
        for branch in range(self._descriptor.num_branches):
            derived = self._descriptor.derive(path.steps[-1], branch_index=branch)
            if bytes(derived.script_pubkey().data) == script:
                return True
        return False
