"""What a transaction does, for a person to judge before the card signs it: the card itself shows nothing.

Every word and number is proved. Whatever a PSBT holds, the review stays short: the largest payments are listed and the
rest summed, equal reasons and warnings are counted, long data cut. What may cost money comes last, above the question.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptnox_core.bip32 import Path
from hwilib_cryptnox.console.wording import counted, escaped
from hwilib_cryptnox.ctl.screen import BAD, FAINT, GOOD, STRONG, WARN, Row, Screen
from hwilib_cryptnox.ctl.wallets import quoted
from hwilib_cryptnox.psbt import Chain, OutputSummary, Plan, Summary
from hwilib_cryptnox.psbt.message import Message
from hwilib_cryptnox.signer.review.reviewed import Signer
from hwilib_cryptnox.signer.review.shown import (
    bitcoin,
    chain_text,
    coins_shown,
    destination,
    destroys,
    fee_text,
    grouped_notices,
    grouped_skipped,
    listed,
    payments_of,
    place,
    signing_address,
    total,
)

MOST_SHOWN = 20
"""Payments that are listed."""
_MOST_CHANGE, _MOST_DATA = 10, 5
_MOST_MESSAGE = 4_000
"""Characters of a message."""
_MOST_ACCOUNTS = 5
_MOST_REASONS = 5
_MOST_ALIKE = 3
"""Warnings of a kind."""
_MOST_WALLETS = 5
_MOST_NUMBERS = 8
"""Inputs that are named one by one."""


def review(screen: Screen, plan: Plan, card: Signer) -> None:
    """The whole review."""
    summary = plan.summary
    head = [
        ("Network", chain_text(summary.chain)),
        ("Account" if len(summary.accounts) == 1 else "Accounts", _accounts(summary.accounts)),
        ("Card", str(card)),
    ]
    if plan.message is not None:
        screen.fields(head)
        _show_message(screen, plan, plan.message)
    else:
        screen.fields([*head, *_wallets(summary), ("Spends", _inputs(plan))])
        _show_payments(screen, plan)
    for text in grouped_skipped(plan.skipped, _MOST_REASONS):
        screen.paragraph(f"Not signed: {text}", WARN)
    for text, is_grave in grouped_notices(plan, _MOST_ALIKE):
        screen.paragraph(f"{'WARNING' if is_grave else 'Note'}: {text}", BAD if is_grave else WARN)
    if plan.high_fee is not None:
        screen.paragraph(f"WARNING: {plan.high_fee}", BAD)


def _show_message(screen: Screen, plan: Plan, message: Message) -> None:
    screen.line()
    coins = coins_shown(plan)
    screen.fields(
        [
            ("Signs", "a message (BIP322); no money moves", STRONG),
            ("Address", signing_address(plan, message)),
            *([("Shows", coins)] if coins else []),
            ("Length", counted(message.length, "byte")),
        ]
    )
    shown = escaped(message.text[:_MOST_MESSAGE])
    screen.paragraph(f'"{shown}"{"" if len(message.text) <= _MOST_MESSAGE else "..."}', indent=1)
    screen.line()
    if len(message.text) > _MOST_MESSAGE:
        screen.paragraph(f"WARNING: only the first {counted(_MOST_MESSAGE, 'character')} are shown", BAD)


def _show_payments(screen: Screen, plan: Plan) -> None:
    summary = plan.summary
    change = [output for output in summary.outputs if output.change]
    payments, data = payments_of(summary)
    paid = f"{counted(len(payments), 'payment')}, {bitcoin(summary.sent)} BTC"
    named = {output.wallet for output in change}
    whose = f" {quoted(name)}" if len(named) == 1 and (name := next(iter(named))) is not None else ""
    back = f"Change back to the wallet{whose}, proved: {bitcoin(summary.change_amount)} BTC"
    groups = (
        (payments, MOST_SHOWN, "payment", paid, STRONG),
        (data, _MOST_DATA, "data output", f"{counted(len(data), 'data output')}, no money", FAINT),
        (change, _MOST_CHANGE, "change output", back, GOOD),
    )
    if screen.fancy:
        for outputs, most, noun, title, style in groups:
            if outputs or outputs is payments:
                screen.line()
                screen.paragraph(title, style)
                _list(screen, outputs, most, summary.chain, noun)
        screen.line()
    else:
        rows = [row for outputs, most, noun, *_ in groups for row in _rows(outputs, most, summary.chain, noun)]
        screen.table(("#", "BTC", "What", "To", "Path"), rows)
    net = "unknown" if summary.net is None else f"{bitcoin(summary.net)} BTC"
    grave = plan.high_fee is not None or any(notice.grave for notice in summary.warnings)
    screen.fields(
        [
            ("Sent", f"{bitcoin(summary.sent)} BTC in {counted(len(payments), 'payment')}", STRONG),
            ("Fee", fee_text(summary), BAD if grave else STRONG),
            ("Leaves the wallet", net, STRONG),
            *([] if summary.valid_from is None else [("Valid from", summary.valid_from)]),
        ]
    )


def _accounts(accounts: Sequence[Path]) -> str:
    named = ", ".join(str(path) for path in accounts[:_MOST_ACCOUNTS])
    return named if len(accounts) <= _MOST_ACCOUNTS else f"{named} and {len(accounts) - _MOST_ACCOUNTS:,} more"


def _wallets(summary: Summary) -> list[Row]:
    """The registered wallets that inputs come from, and what several keys hold that is no registered wallet's."""
    single = len(summary.wallets) == 1 and len(summary.wallets[0].inputs) == summary.our_inputs
    rows: list[Row] = []
    for wallet in summary.wallets[:_MOST_WALLETS]:
        which = "" if single else f" ({_numbers(wallet.inputs)})"
        rows.append(("Wallet", f"{quoted(wallet.name)}{which}: {wallet.words}", STRONG))
    for group in summary.unregistered[:_MOST_WALLETS]:
        rows.append(("Wallet", f"no registered wallet ({_numbers(group.inputs)}): {group.words}", WARN))
    more = sum([max(len(groups) - _MOST_WALLETS, 0) for groups in (summary.wallets, summary.unregistered)])
    return [*rows, ("Wallet", f"and {more:,} more")] if more else rows


def _numbers(inputs: Sequence[int]) -> str:
    named = ", ".join(map(str, inputs[:_MOST_NUMBERS]))
    more = len(inputs) - _MOST_NUMBERS
    return f"{'input' if len(inputs) == 1 else 'inputs'} {named}{f' and {more:,} more' if more > 0 else ''}"


def _inputs(plan: Plan) -> str:
    summary = plan.summary
    amount = "unknown" if summary.our_amount is None else f"{bitcoin(summary.our_amount)} BTC"
    mine = "" if summary.our_inputs == summary.inputs else f"{summary.our_inputs:,} of them "
    return f"{counted(summary.inputs, 'input')}, {mine}signed by this card: {amount}"


def _list(screen: Screen, outputs: Sequence[OutputSummary], most: int, chain: Chain, noun: str) -> None:
    shown, rest = listed(outputs, most)
    for output in shown:
        path = "" if output.path is None else f", {output.path}"
        lost = "DESTROYED  " if destroys(output) else ""
        amount = f"{bitcoin(output.amount)} BTC  {lost}" if output.amount else ""
        whose = "" if output.wallet is None else f", wallet {quoted(output.wallet)}"
        screen.paragraph(f"{amount}(output {output.index}{path}{whose})", BAD if lost else "", indent=1)
        screen.paragraph(place(output, chain), indent=3)
    if rest:
        screen.paragraph(f"{counted(len(rest), f'other {noun}')}, {total(rest)} BTC together", indent=1)


def _rows(outputs: Sequence[OutputSummary], most: int, chain: Chain, noun: str) -> list[tuple[str, ...]]:
    shown, rest = listed(outputs, most)
    rows: list[tuple[str, ...]] = [
        (
            str(output.index),
            bitcoin(output.amount),
            "DESTROYED" if destroys(output) else noun if output.wallet is None else f"{noun}, {quoted(output.wallet)}",
            destination(output, chain),
            "-" if output.path is None else str(output.path),
        )
        for output in shown
    ]
    if rest:
        rows.append(("-", total(rest), counted(len(rest), f"other {noun}"), "-", "-"))
    return rows
