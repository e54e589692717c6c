"""What dialogues say: how much can leave, where the PIN is asked; and, once all is proved, what is about to be signed.

Their text is short (`assuan.fits`): the largest payments are listed and the rest summed, and what may cost money, the
grave warnings, is last and always there.
"""

from __future__ import annotations

from hwilib_cryptnox.console.wording import counted, cut
from hwilib_cryptnox.psbt import (
    Chain,
    NoticeKind,
    OutputSummary,
    Plan,
    Psbt,
    PsbtError,
    Summary,
    collect,
    most_leaving,
)
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.signer.review.message_prompts import both, most_that_fits
from hwilib_cryptnox.signer.review.shown import (
    bitcoin,
    chain_text,
    coins_shown,
    destination,
    destroys,
    fee_text,
    grouped_notices,
    largest,
    payments_of,
    place,
    quoted_name,
    signing_address,
    total,
    wallets_of,
)

_MOST_SIGNERS = 5
"""Master keys that a PSBT may name for the card to be one of them."""
_MOST_PAYMENTS = 12
_DATA = 24
"""Bytes of a data output or a script."""
_WARNING = 200
"""Characters of a warning."""
_WARNINGS = 360
"""Characters of all grave warnings; the rest is counted."""
_NAMED = frozenset({NoticeKind.NO_WALLET, NoticeKind.TO_WALLET})
"""Notices that lines of their own stand for."""


def prompt_text(psbt: Psbt, fingerprint: bytes | None, *, taproot: bool = False) -> str:
    """How much can leave at most, for the dialogue that asks for the PIN: nothing is proved yet. Raises PsbtError where
    a PSBT of the card contradicts itself.

    A card met for the first time has no known fingerprint: it may be any of the signers. `taproot`: the card may be one
    that signs BIP86 key paths.
    """
    if bytes((f.GLOBAL_MESSAGE,)) in psbt.globals:
        return "Sign a message. You see it before you sign it."
    if fingerprint is None:
        most = _most_of_anybody(psbt, taproot)
    else:
        collected = collect(psbt, fingerprint, taproot=taproot)
        most = most_leaving(collected) if collected.candidates else None  # whose keys have no origins, the card tells
    if most is None:
        return "Sign a transaction. You see it before you sign it."
    return f"Sign a transaction: at most {bitcoin(most)} BTC can leave the wallet. You see it before you sign it."


def _most_of_anybody(psbt: Psbt, taproot: bool) -> int | None:
    found = set()
    for fields in psbt.inputs:
        found |= {value[:4] for _, value in fields.keyed(f.IN_BIP32_DERIVATION)}
        found |= {f.split_tap_derivation(value)[1][:4] for _, value in fields.keyed(f.IN_TAP_BIP32_DERIVATION)}
    if len(found) > _MOST_SIGNERS:
        return None
    most = []
    for mark in found:
        try:
            most.append(most_leaving(collect(psbt, mark, taproot=taproot)))
        except PsbtError:  # perhaps not ours: the card's fingerprint decides who is told
            return None
    return None if None in most else max((amount for amount in most if amount is not None), default=None)


def review_text(plan: Plan, serial: int, fingerprint: bytes, touches: int = 0) -> tuple[str, str]:
    """What a plan does, and the same in ASCII. `touches`: of the key that approves its signatures."""
    if plan.message is None:
        return (
            transaction_text(plan, serial, fingerprint, touches),
            transaction_text(plan, serial, fingerprint, touches, ascii_only=True),
        )
    coins = coins_shown(plan)
    notes, warnings = _warnings(plan)
    about = [
        f"Address: {signing_address(plan, plan.message)}",
        *wallets_of(plan.summary, ascii_only=True)[:1],
        *([f"It shows {coins}"] if coins else []),
        *notes[:1],
    ]
    return both(plan.message.text.encode("utf-8"), about, serial, fingerprint, warnings)


def transaction_text(plan: Plan, serial: int, fingerprint: bytes, touches: int = 0, *, ascii_only: bool = False) -> str:
    """What a transaction does, every word of it proved: wallets, payments, change, fee, what leaves the wallet,
    warnings. `ascii_only`: names are spelled out."""
    summary = plan.summary
    by = f" by {touches:,} {'touch' if touches == 1 else 'touches'}" if touches else ""
    head = [f"Sign with the Cryptnox card {serial} ({fingerprint.hex()}){by}?"]
    if summary.chain is not Chain.MAIN:
        head.append(f"Network: {chain_text(summary.chain)}")
    wallets = wallets_of(summary, ascii_only=ascii_only)
    payments, data = payments_of(summary)
    tail = [*_data(data, summary.chain), *_change(summary), f"Fee: {fee_text(summary)}"]
    tail.append(f"Leaves the wallet: {'unknown' if summary.net is None else f'{bitcoin(summary.net)} BTC'}")
    if summary.valid_from is not None:
        tail.append(f"Valid from: {summary.valid_from}")
    if plan.skipped:
        tail.append(f"{counted(len({item.index for item in plan.skipped}), 'input')} not signed")
    notes, warnings = _warnings(plan)

    def text(paid: int, noted: int) -> str:
        left = [f"{counted(len(notes) - noted, 'more note')}"] if noted < len(notes) else []
        lines = [*head, *wallets, *_payments(payments, paid, summary.chain, ascii_only), *tail]
        return "\n".join([*lines, *notes[:noted], *left, *warnings])

    paid = most_that_fits(lambda number: text(number, 0), min(len(payments), _MOST_PAYMENTS))
    return text(paid, most_that_fits(lambda number: text(paid, number), len(notes)))


def _payments(payments: list[OutputSummary], number: int, chain: Chain, ascii_only: bool) -> list[str]:
    """The `number` largest, and the sum of the others."""
    if not payments:
        return ["No payment"]
    shown, rest = largest(payments, number)
    lines = []
    if len(payments) > 1:
        lines.append(f"{counted(len(payments), 'payment')}, {total(payments)} BTC in all:")
    lines += [f"{bitcoin(output.amount)} BTC {_to(output, chain, ascii_only)}" for output in shown]
    if rest:
        lines.append(f"{counted(len(rest), 'other payment' if shown else 'payment')}: {total(rest)} BTC together")
    return lines


def _to(output: OutputSummary, chain: Chain, ascii_only: bool) -> str:
    if output.address(chain) is not None:
        wallet = "" if output.wallet is None else f", wallet {quoted_name(output.wallet, ascii_only=ascii_only)}"
        return f"to {place(output, chain)}{wallet}"
    return f"{'DESTROYED' if destroys(output) else 'to'} ({destination(output, chain, _DATA)})"


def _data(outputs: list[OutputSummary], chain: Chain) -> list[str]:
    """Outputs that carry data and no money."""
    if len(outputs) == 1:
        return [f"Attached: {destination(outputs[0], chain, _DATA)}"]
    return [f"Attached: {counted(len(outputs), 'data output')}"] if outputs else []


def _change(summary: Summary) -> list[str]:
    change = [output for output in summary.outputs if output.change]
    if not change:
        return []
    where = str(change[0].path) if len(change) == 1 else f"{len(change):,} outputs"
    return [f"Change back to the wallet: {bitcoin(summary.change_amount)} BTC, {where}"]


def _warnings(plan: Plan) -> tuple[list[str], list[str]]:
    """Notes, and grave warnings; of the latter what does not fit is counted."""
    lines = grouped_notices(plan, 1, _NAMED)
    notes = [f"Note: {cut(text, _WARNING)}" for text, grave in lines if not grave]
    found = [f"WARNING: {cut(text, _WARNING)}" for text, grave in lines if grave]
    warnings: list[str] = []
    while found and sum(map(len, warnings)) + len(found[0]) <= _WARNINGS:
        warnings.append(found.pop(0))
    if found:
        warnings.append(f"WARNING: {counted(len(found), 'more grave warning')}; cryptnoxctl sign shows all")
    return notes, warnings
