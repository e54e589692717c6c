"""How amounts, addresses and other people's text are shown: the same in the review, in dialogues and in lists. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hwilib_cryptnox.console.wording import counted, cut, escaped
from hwilib_cryptnox.psbt import Chain, Notice, NoticeKind, OutputSummary, Plan, Skipped, Summary, address_of
from hwilib_cryptnox.psbt.message import Message
from hwilib_cryptnox.psbt.script import Kind, operations

SATOSHI = 10**8
MOST_DATA = 80
"""Bytes of a data output or a script that are shown."""
_MOST_NUMBERS = 8
"""Inputs that are named one by one."""
_OF_MONEY = frozenset({NoticeKind.HIGH_FEE, NoticeKind.UNKNOWN_FEE, NoticeKind.REUSED_KEY, NoticeKind.UNKNOWN_SCRIPT})
_CHAINS = {Chain.MAIN: "Bitcoin", Chain.TEST: "a test network", Chain.REGTEST: "regtest"}


def bitcoin(satoshi: int) -> str:
    """An amount with all eight places."""
    sign = "-" if satoshi < 0 else ""
    return f"{sign}{abs(satoshi) // SATOSHI}.{abs(satoshi) % SATOSHI:08d}"


def grouped(address: str) -> str:
    """An address in groups of four, as people compare them."""
    return " ".join(address[at : at + 4] for at in range(0, len(address), 4))


def chain_text(chain: Chain) -> str:
    """The network, in a word or two."""
    return _CHAINS[chain]


def signing_address(plan: Plan, message: Message) -> str:
    """The address, in groups, or the script by which a message is signed; said where this run does not sign by it."""
    address = address_of(message.script, plan.summary.chain)
    text = f"script {_hex(message.script, MOST_DATA)}" if address is None else grouped(address)
    return text if any(not request.input_index for request in plan.requests) else f"{text} (not signed by this card)"


def coins_shown(plan: Plan) -> str | None:
    """What a message proves beside itself: coins. None where it shows none."""
    if plan.message is None or not plan.message.coins:
        return None
    amount = plan.summary.amount_in
    worth = "of an unknown amount" if amount is None else f"of {bitcoin(amount)} BTC together"
    return f"{counted(len(plan.message.coins), 'coin')} {worth} (proof of funds)"


def destination(output: OutputSummary, chain: Chain, most: int = MOST_DATA) -> str:
    """The address, the data of an OP_RETURN output, or the script; of these `most` bytes, with their length told."""
    address = output.address(chain)
    if address is not None:
        return address
    if output.kind is not Kind.OP_RETURN:
        return f"{output.kind.value}, {_hex(output.script, most)}"
    try:
        pushed = b"".join(data or b"" for _, data, _ in operations(output.script[1:]))
    except ValueError:
        pushed = output.script[1:]
    if pushed and pushed.isascii() and pushed.decode("ascii").isprintable():
        head = escaped(pushed[:most])
        return f'data "{head}"' if len(pushed) <= most else f'data "{head}"... ({len(pushed):,} bytes)'
    return f"data {_hex(pushed, most)}" if pushed else "no data"


def _hex(data: bytes, most: int) -> str:
    head = data[:most].hex()
    return head if len(data) <= most else f"{head}... ({len(data):,} bytes)"


def destroys(output: OutputSummary) -> bool:
    """Whether the amount is gone for everybody."""
    return output.kind is Kind.OP_RETURN and output.amount > 0


def payments_of(summary: Summary) -> tuple[list[OutputSummary], list[OutputSummary]]:
    """Everything that is not change: payments, and outputs that carry data and no money."""
    others = [output for output in summary.outputs if not output.change]
    data = [output for output in others if output.kind is Kind.OP_RETURN and not output.amount]
    empty = {output.index for output in data}
    return [output for output in others if output.index not in empty], data


def largest(outputs: Sequence[OutputSummary], most: int) -> tuple[list[OutputSummary], list[OutputSummary]]:
    """The largest, at most `most`, and the others; by amount, equal ones by their place."""
    by_amount = sorted(outputs, key=lambda output: (-output.amount, output.index))
    return by_amount[:most], by_amount[most:]


def listed(outputs: Sequence[OutputSummary], most: int) -> tuple[list[OutputSummary], list[OutputSummary]]:
    """What a list shows, and what it sums: all in their order; of more than `most` the largest first."""
    return (list(outputs), []) if len(outputs) <= most else largest(outputs, most)


def total(outputs: Sequence[OutputSummary]) -> str:
    """Their amount together."""
    return bitcoin(sum(output.amount for output in outputs))


def place(output: OutputSummary, chain: Chain) -> str:
    """The destination for people: an address in groups."""
    where = destination(output, chain)
    return where if output.address(chain) is None else grouped(where)


def fee_text(summary: Summary) -> str:
    """The fee in satoshi, satoshi a virtual byte and percent; or that it is unknown."""
    if summary.fee is None or summary.fee_rate is None:
        return "unknown"
    parts = [f"{summary.fee:,} satoshi", f"{summary.fee_rate:,.1f} sat/vB"]
    if summary.fee_percent is not None:
        parts.append(f"{percent(summary.fee_percent)} of the card's inputs")
    return ", ".join(parts)


def percent(value: float) -> str:
    """A share that is never rounded to nothing, nor to all."""
    if 0 < value < 0.1:
        return "less than 0.1 %"
    return f"{min(value, 99.9) if value < 100 else value:.1f} %"


def grouped_skipped(skipped: Iterable[Skipped], most: int) -> list[str]:
    """What is not signed: one line for each reason with its inputs, at most so many lines and one for the rest."""
    reasons: dict[str, list[int]] = {}
    for item in skipped:
        reasons.setdefault(item.reason, []).append(item.index)
    lines = [f"{_inputs(indexes)}: {cut(reason)}" for reason, indexes in list(reasons.items())[:most]]
    rest = [index for indexes in list(reasons.values())[most:] for index in indexes]
    if rest:
        lines.append(f"{counted(len(rest), 'more key')} of {counted(len(set(rest)), 'input')}, for other reasons")
    return lines


def _inputs(indexes: Sequence[int]) -> str:
    inputs = sorted(set(indexes))
    named = ", ".join(str(index) for index in inputs[:_MOST_NUMBERS])
    more = f" and {len(inputs) - _MOST_NUMBERS:,} more" if len(inputs) > _MOST_NUMBERS else ""
    keys = f" ({len(indexes):,} keys)" if len(indexes) > len(inputs) else ""
    return f"{'input' if len(inputs) == 1 else 'inputs'} {named}{more}{keys}"


def grouped_notices(plan: Plan, most: int) -> list[tuple[str, bool]]:
    """Warnings, and whether each is grave: at most so many of a kind, with the number of the others like them. Of a
    message those that concern money are left out."""
    kinds: dict[object, list[Notice]] = {}
    for notice in plan.warnings:
        if plan.message is not None and notice.kind in _OF_MONEY:
            continue
        kinds.setdefault((notice.kind, notice.grave), []).append(notice)
    lines = []
    for group in kinds.values():
        number = len(group) if len(group) == most + 1 else most  # a line that says "one more" is as long
        lines += [(cut(notice.text), notice.grave) for notice in group[:number]]
        if len(group) > number:
            rest = counted(len(group) - number, "more warning")
            lines.append((f"{rest} about: {group[0].kind.value}", group[0].grave))
    return sorted(lines, key=lambda line: line[1])
