"""How amounts, addresses and other people's text are shown: the same in the review, in dialogues and in lists.

Dialogues say how much can leave, where the PIN is asked; and, once all is proved, what is about to be signed. Their
text is short (`assuan.fits`): the largest payments are listed and the rest summed, and what may cost money, the grave
warnings, is last and always there.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence

from cryptnox_core.bip32 import Path
from hwilib_cryptnox.pin.assuan import DESCRIPTION_LIMIT, fits
from hwilib_cryptnox.psbt import (
    Chain,
    Notice,
    NoticeKind,
    OutputSummary,
    Plan,
    Psbt,
    PsbtError,
    Skipped,
    Summary,
    address_of,
    collect,
    most_leaving,
)
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.message import Message
from hwilib_cryptnox.psbt.script import Kind, operations

SATOSHI = 10**8
MOST_DATA = 80
"""Bytes of a data output or a script that are shown."""
_MOST_TEXT = 300
"""Characters of a warning or a reason."""
_MOST_NUMBERS = 8
"""Inputs that are named one by one."""
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and signs that are drawn as nothing."""
_MARKS = 2
"""Combining marks on one letter; more would be drawn over the lines above and below."""
_OF_MONEY = frozenset({NoticeKind.HIGH_FEE, NoticeKind.UNKNOWN_FEE, NoticeKind.REUSED_KEY, NoticeKind.UNKNOWN_SCRIPT})
_CHAINS = {Chain.MAIN: "Bitcoin", Chain.TEST: "a test network", Chain.REGTEST: "regtest"}
_MOST_SIGNERS = 5
"""Master keys that a PSBT may name for the card to be one of them."""
_MOST_PAYMENTS = 12
_PROMPT_DATA = 24
"""Bytes of a data output or a script, in a dialogue."""
_WARNING = 200
"""Characters of a warning, in a dialogue."""
_WARNINGS = 360
"""Characters of all grave warnings; the rest is counted."""


def bitcoin(satoshi: int) -> str:
    """An amount with all eight places."""
    sign = "-" if satoshi < 0 else ""
    return f"{sign}{abs(satoshi) // SATOSHI}.{abs(satoshi) % SATOSHI:08d}"


def grouped(address: str) -> str:
    """An address in groups of four, as people compare them."""
    return " ".join(address[at : at + 4] for at in range(0, len(address), 4))


def counted(number: int, noun: str) -> str:
    """A number and its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def cut(text: str, most: int = _MOST_TEXT) -> str:
    """The beginning of a text that is too long, with its length told."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def escaped(data: bytes | str, *, ascii_only: bool = False) -> str:
    """A stranger's text for quotation marks, on one line in which nothing is hidden and nothing draws: control, format
    and bidirectional characters, line breaks, blanks in a row, what is drawn as nothing and what is no UTF-8 are
    spelled out, and a backslash stands before quotation marks and backslashes.

    `ascii_only`: for terminals that show nothing else.
    """
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    parts: list[str] = []
    before, marks = "", 0
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category[0] == "M" else 0
        if char in '\\"':
            parts.append(f"\\{char}")
        elif char in "\n\r\t":
            parts.append({"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char])
        elif "\udc80" <= char <= "\udcff":
            parts.append(f"\\x{ord(char) - 0xDC00:02x}")
        elif char == " " and before in ("", " "):
            parts.append("\\x20")
        elif (
            category[0] == "C"
            or (category[0] == "Z" and char != " ")
            or char in _BLANKS
            or marks > _MARKS
            or (ascii_only and not char.isascii())
        ):
            parts.append(f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}")
        else:
            parts.append(char)
        before = char
    return "".join(parts)


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
    """What a list shows, and what it sums: all in their order, or the largest first where there are more than
    `most`."""
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


# Dialogues


def prompt_text(psbt: Psbt, fingerprint: bytes | None) -> str:
    """How much can leave at most, for the dialogue that asks for the PIN: nothing is proved yet. Raises PsbtError where
    a PSBT of the card contradicts itself.

    A card met for the first time has no known fingerprint: it may be any of the signers.
    """
    if bytes((f.GLOBAL_MESSAGE,)) in psbt.globals:
        return "Sign a message. It is shown before it is signed."
    most = most_leaving(collect(psbt, fingerprint)) if fingerprint is not None else _most_of_anybody(psbt)
    if most is None:
        return "Sign a transaction. It is shown before it is signed."
    return f"Sign a transaction: at most {bitcoin(most)} BTC can leave the wallet. It is shown before it is signed."


def _most_of_anybody(psbt: Psbt) -> int | None:
    found = set()
    for fields in psbt.inputs:
        found |= {value[:4] for _, value in fields.keyed(f.IN_BIP32_DERIVATION)}
        found |= {f.split_tap_derivation(value)[1][:4] for _, value in fields.keyed(f.IN_TAP_BIP32_DERIVATION)}
    if len(found) > _MOST_SIGNERS:
        return None
    most = []
    for mark in found:
        try:
            most.append(most_leaving(collect(psbt, mark)))
        except PsbtError:  # perhaps not ours: the card's fingerprint decides who is told
            return None
    return None if None in most else max((amount for amount in most if amount is not None), default=None)


def message_prompt_text(path: Path) -> str:
    """The same for a message."""
    return f"Sign a message with the key {path}. It is shown before it is signed."


def review_text(plan: Plan, serial: int, fingerprint: bytes) -> tuple[str, str]:
    """What a plan does, and the same in ASCII."""
    if plan.message is None:
        text = transaction_text(plan, serial, fingerprint)
        return text, text
    coins = coins_shown(plan)
    notes, warnings = _warnings(plan)
    about = [f"Address: {signing_address(plan, plan.message)}", *([f"It shows {coins}"] if coins else []), *notes[:1]]
    return _both(plan.message.text.encode("utf-8"), about, serial, fingerprint, warnings)


def transaction_text(plan: Plan, serial: int, fingerprint: bytes) -> str:
    """What a transaction does, every word of it proved: payments, change, fee, what leaves the wallet, warnings."""
    summary = plan.summary
    head = [f"Sign with the Cryptnox card {serial} ({fingerprint.hex()})?"]
    if summary.chain is not Chain.MAIN:
        head.append(f"Network: {chain_text(summary.chain)}")
    payments, data = payments_of(summary)
    tail = [*_data(data, summary.chain), *_change(summary), f"Fee: {fee_text(summary)}"]
    tail.append(f"Leaves the wallet: {'unknown' if summary.net is None else f'{bitcoin(summary.net)} BTC'}")
    if plan.skipped:
        tail.append(f"{counted(len({item.index for item in plan.skipped}), 'input')} not signed")
    notes, warnings = _warnings(plan)

    def text(paid: int, noted: int) -> str:
        left = [f"{counted(len(notes) - noted, 'more note')}"] if noted < len(notes) else []
        lines = [*head, *_payments(payments, paid, summary.chain), *tail, *notes[:noted], *left, *warnings]
        return "\n".join(lines)

    paid = _most(lambda number: text(number, 0), min(len(payments), _MOST_PAYMENTS))
    return text(paid, _most(lambda number: text(paid, number), len(notes)))


def _payments(payments: list[OutputSummary], number: int, chain: Chain) -> list[str]:
    """The `number` largest, and the sum of the others."""
    if not payments:
        return ["No payment"]
    shown, rest = largest(payments, number)
    lines = []
    if len(payments) > 1:
        lines.append(f"{counted(len(payments), 'payment')}, {total(payments)} BTC in all:")
    lines += [f"{bitcoin(output.amount)} BTC {_to(output, chain)}" for output in shown]
    if rest:
        lines.append(f"{counted(len(rest), 'other payment' if shown else 'payment')}: {total(rest)} BTC together")
    return lines


def _to(output: OutputSummary, chain: Chain) -> str:
    if output.address(chain) is not None:
        return f"to {place(output, chain)}"
    return f"{'DESTROYED' if destroys(output) else 'to'} ({destination(output, chain, _PROMPT_DATA)})"


def _data(outputs: list[OutputSummary], chain: Chain) -> list[str]:
    """Outputs that carry data and no money."""
    if len(outputs) == 1:
        return [f"Attached: {destination(outputs[0], chain, _PROMPT_DATA)}"]
    return [f"Attached: {counted(len(outputs), 'data output')}"] if outputs else []


def _change(summary: Summary) -> list[str]:
    change = [output for output in summary.outputs if output.change]
    if not change:
        return []
    where = str(change[0].path) if len(change) == 1 else f"{len(change):,} outputs"
    return [f"Change back to the wallet: {bitcoin(summary.change_amount)} BTC, {where}"]


def _warnings(plan: Plan) -> tuple[list[str], list[str]]:
    """Notes, and grave warnings; of the latter what does not fit is counted."""
    lines = grouped_notices(plan, 1)
    notes = [f"Note: {cut(text, _WARNING)}" for text, grave in lines if not grave]
    found = [f"WARNING: {cut(text, _WARNING)}" for text, grave in lines if grave]
    warnings: list[str] = []
    while found and sum(map(len, warnings)) + len(found[0]) <= _WARNINGS:
        warnings.append(found.pop(0))
    if found:
        warnings.append(f"WARNING: {counted(len(found), 'more grave warning')}; cryptnoxctl sign shows all")
    return notes, warnings


def message_text(message: bytes, path: Path, serial: int, fingerprint: bytes) -> tuple[str, str]:
    """A message in quotation marks, with its length, and cut where it is too long; and the same in ASCII."""
    return _both(message, [f"Key: {path}"], serial, fingerprint)


def _both(
    message: bytes, about: list[str], serial: int, fingerprint: bytes, warnings: Sequence[str] = ()
) -> tuple[str, str]:
    head = [f"Sign a message with the Cryptnox card {serial} ({fingerprint.hex()})?", *about]
    head.append(f"Message, {counted(len(message), 'byte')}:")
    return _message(head, message, warnings, ascii_only=False), _message(head, message, warnings, ascii_only=True)


def _message(head: list[str], message: bytes, warnings: Sequence[str], *, ascii_only: bool) -> str:
    text = message.decode("utf-8", "surrogateescape")

    def beginning(size: int) -> str:
        quoted = f'"{escaped(text[:size], ascii_only=ascii_only)}"'
        if size == len(text):
            return "\n".join([*head, quoted, *warnings])
        few = f"WARNING: only the first {counted(size, 'character')} are shown"
        return "\n".join([*head, f"{quoted}...", few, *warnings])

    if len(text) <= DESCRIPTION_LIMIT and fits(beginning(len(text))):
        return beginning(len(text))
    return beginning(_most(beginning, min(len(text) - 1, DESCRIPTION_LIMIT)))


def _most(make: Callable[[int], str], most: int) -> int:
    """The greatest number whose text fits a dialogue; greater numbers make longer texts."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if fits(make(middle)):
            low = middle
        else:
            high = middle - 1
    return low
