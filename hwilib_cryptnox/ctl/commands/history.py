"""`history`: what the card signed."""

from __future__ import annotations

import time

import click

from cryptnox_core.wire import HISTORY_LENGTH
from hwilib_cryptnox.console.wording import counted
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import open_card, unlock
from hwilib_cryptnox.ctl.screen import Report, Screen, said
from hwilib_cryptnox.storage.audit import ASKED, WITHHELD, Comparison, compare, noted_digests

_MARKS: dict[str | None, str] = {ASKED: " (no answer)", WITHHELD: " (discarded)"}


def compared(app: App, limit: int) -> tuple[int, Comparison]:
    """The serial number of the card, and its newest signatures beside what this computer remembers of them."""
    with open_card(app, seeded=True) as opened:
        unlock(app, opened)
        serial = opened.card.serial
        counter = opened.card.info_page().signature_counter
        history = opened.card.history(limit)
    lines = app.state.audited({entry.digest.hex() for entry in history})
    return serial, compare(counter, history, noted_digests(lines, serial))


def _table(screen: Screen, comparison: Comparison) -> None:
    heads, rows = ("Number", "Signed hash", "When", "Transaction", "Coin"), []
    for entry, noted in comparison.seen:
        told = ["-", "not made here", "-"]
        if noted is not None:
            text = "a message" if noted.txid is None else noted.txid
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(noted.time))
            told = [when, text + _MARKS.get(noted.event, ""), "-" if noted.outpoint is None else noted.outpoint]
        rows.append([str(entry.counter), entry.digest.hex(), *told])
    screen.table(heads, rows, right=(0,))


@command("history")
@click.option(
    "--limit", type=click.IntRange(1, HISTORY_LENGTH), default=HISTORY_LENGTH, help=("Show only the newest entries.")
)
def history(app: App, limit: int) -> Report:
    """Show the signatures the card remembers, newest first (149 at most), with their transactions and coins.

    "no answer": it was requested here, but the card or this program stopped before the signature arrived.
    "discarded": the card had repeated a nonce.
    """
    serial, comparison = compared(app, limit)
    entries = [
        {
            "counter": entry.counter,
            "digest": entry.digest.hex(),
            "made_here": noted is not None,
            "time": noted and noted.time,
            "txid": noted and noted.txid,
            "outpoint": noted and noted.outpoint,
            "event": noted and noted.event,
        }
        for entry, noted in comparison.seen
    ]
    data = {"serial": str(serial), "signature_counter": comparison.counter, "entries": entries}
    table = [lambda screen: _table(screen, comparison)] if comparison.seen else []
    return said(data, *table, f"The card has made {counted(comparison.counter, 'signature')} in all")
