"""How amounts, addresses and other people's text are shown: the same in the review, in dialogues and in lists. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from hwilib_cryptnox.console.wording import counted, cut, escaped
from hwilib_cryptnox.psbt import Chain, Notice, NoticeKind, OutputSummary, Plan, Skipped, Summary, address_of
from hwilib_cryptnox.psbt.fields import LOCK_TIME_THRESHOLD
from hwilib_cryptnox.psbt.message import Message
from hwilib_cryptnox.psbt.script import Kind, operations

SATOSHI = 10**8
MOST_DATA = 80
"""Bytes of a data output or a script that are shown."""
_MOST_NUMBERS = 8
"""Inputs that are named one by one."""
_MOST_NAME = 48
"""Bytes of a wallet's name in a dialogue, as its protocol carries them."""
_LOCK_DISABLED, _LOCK_TIME, _LOCK_VALUE = 1 << 31, 1 << 22, 0xFFFF
"""BIP68, of a sequence."""
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


def time_lock_text(lock_time: int, sequence: int) -> str:
    """From when on a signed message counts, by the lock time and the sequence of its transaction; empty for at once."""
    parts = []
    if lock_time:
        parts.append(
            f"from block {lock_time} on" if lock_time < LOCK_TIME_THRESHOLD else f"from time {lock_time} (Unix) on"
        )
    if sequence and not sequence & _LOCK_DISABLED:
        value = sequence & _LOCK_VALUE
        age = counted(value * 512, "second") if sequence & _LOCK_TIME else counted(value, "block")
        parts.append(f"for a coin that is {age} old")
    return ", ".join(parts)


def coins_shown(plan: Plan) -> str | None:
    """What a message proves beside itself: coins. None where it shows none."""
    if plan.message is None or not plan.message.coins:
        return None
    amount, number = plan.summary.amount_in, len(plan.message.coins)
    worth = "of an unknown amount" if amount is None else f"of {bitcoin(amount)} BTC{' together' if number > 1 else ''}"
    return f"{counted(number, 'coin')} {worth} (proof of funds)"


def destination(output: OutputSummary, chain: Chain, most: int = MOST_DATA) -> str:
    """The address, the data of an OP_RETURN output, or the script; of these `most` bytes, with their length told."""
    address = output.address(chain)
    if address is not None:
        return f"{output.kind.value}, {address}" if output.kind is Kind.P2A else address
    if output.kind is not Kind.OP_RETURN:
        return f"{output.kind.value}, {_hex(output.script, most)}"
    pushed = _data(output.script)
    if pushed is None:
        return f"data script {_hex(output.script, most)}"
    if _is_text(pushed):
        head = escaped(pushed[:most])
        return f'data "{head}"' if len(pushed) <= most else f'data "{head}"... ({len(pushed):,} bytes)'
    return f"data {_hex(pushed, most)}" if pushed else "no data"


def _data(script: bytes) -> bytes | None:
    """What an OP_RETURN script pushes; None where it does something else, too, and so means more than its data."""
    try:
        parts = [data for _, data, _ in operations(script[1:])]
    except ValueError:
        return None
    return None if None in parts else b"".join(filter(None, parts))


def _is_text(data: bytes) -> bool:
    """Whether it is printable ASCII, which draws nothing but itself."""
    return bool(data) and all(0x20 <= byte < 0x7F for byte in data)


def data_hex(output: OutputSummary) -> str | None:
    """The data of an OP_RETURN output in hexadecimal, for `--json`; None for others, and where it is no plain data."""
    data = _data(output.script) if output.kind is Kind.OP_RETURN else None
    return None if data is None else data.hex()


def data_text(output: OutputSummary) -> str | None:
    """The same as text where it is printable ASCII."""
    data = _data(output.script) if output.kind is Kind.OP_RETURN else None
    return data.decode("ascii") if data is not None and _is_text(data) else None


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
    address = output.address(chain)
    if address is None:
        return destination(output, chain)
    return f"{output.kind.value}, {grouped(address)}" if output.kind is Kind.P2A else grouped(address)


def fee_text(summary: Summary) -> str:
    """The fee in satoshi, satoshi a virtual byte and percent; or that it is unknown."""
    if summary.fee is None or summary.fee_rate is None:
        return "unknown"
    parts = [f"{summary.fee:,} satoshi", f"{summary.fee_rate:,.1f} sat/vB"]
    if summary.fee_percent is not None:
        whole = "the card's inputs" if summary.own_is_all else "what the card's key alone holds"
        parts.append(f"{percent(summary.fee_percent)} of {whole}")
    return ", ".join(parts)


def percent(value: float) -> str:
    """A share that is never rounded to nothing, nor to all."""
    if 0 < value < 0.1:
        return "less than 0.1 %"
    return f"{min(value, 99.9) if value < 100 else value:.1f} %"


def quoted_name(name: str, *, ascii_only: bool = False) -> str:
    """A wallet's name in quotation marks; what is too long for a dialogue is cut."""
    for size in range(len(name), 0, -1):
        text = escaped(name[:size], ascii_only=ascii_only)
        if len(text.encode("utf-8")) + 2 * sum(map(text.count, "%+")) <= _MOST_NAME:
            return f'"{text}"' if size == len(name) else f'"{text}..."'
    return '"..."'


def wallets_of(summary: Summary, *, ascii_only: bool = False) -> list[str]:
    """The registered wallet that our inputs come from, by name (of several the first), and how many are of none."""
    lines = []
    if summary.wallets:
        first = summary.wallets[0]
        lines.append(f"Wallet {quoted_name(first.name, ascii_only=ascii_only)}: {first.words}")
    if summary.wallets[1:]:
        others = sum(len(wallet.inputs) for wallet in summary.wallets[1:])
        lines.append(f"{counted(others, 'input')} of {counted(len(summary.wallets) - 1, 'other wallet')}")
    if summary.unregistered:
        number = sum(len(group.inputs) for group in summary.unregistered)
        words = summary.unregistered[0].words
        more = " or others" if summary.unregistered[1:] else ""
        lines.append(f"{counted(number, 'input')} from no registered wallet: {words}{more}")
    return lines


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


def grouped_notices(plan: Plan, most: int, but: Collection[NoticeKind] = frozenset()) -> list[tuple[str, bool]]:
    """Warnings, and whether each is grave: at most so many of a kind, with the number of the others like them. Of a
    message those that concern money are left out. `but`: kinds that are told elsewhere."""
    kinds: dict[object, list[Notice]] = {}
    for notice in plan.warnings:
        if notice.kind in but or (plan.message is not None and notice.kind in _OF_MONEY):
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
