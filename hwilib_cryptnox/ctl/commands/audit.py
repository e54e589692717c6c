"""`history` and `audit`: what the card signed, and what of it nobody asked for here."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from cryptnox_core.models import HistoryEntry
from cryptnox_core.wire import HISTORY_LENGTH
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import open_card, unlock
from hwilib_cryptnox.ctl.commands.data import require_seed
from hwilib_cryptnox.ctl.errors import Exit
from hwilib_cryptnox.ctl.screen import BAD, GOOD, WARN, Report, Screen
from hwilib_cryptnox.storage.audit import ASKED, WITHHELD, Comparison, Noted, compare, noted_digests


def _look(app: App, limit: int) -> tuple[int, Comparison]:
    with open_card(app) as opened:
        require_seed(opened.card.info.seeded)
        unlock(app, opened)
        serial = opened.card.serial
        counter = opened.card.info_page().signature_counter
        history = opened.card.history(limit)
    lines = app.state.audited({entry.digest.hex() for entry in history})
    return serial, compare(counter, history, noted_digests(lines, serial))


def _what(screen: Screen, noted: Noted | None) -> str:
    if noted is None:
        return "not made here"
    text = "a message" if noted.txid is None else _short(screen, noted.txid)
    return text + _MARKS.get(noted.event, "")


_MARKS: dict[str | None, str] = {ASKED: " (no answer)", WITHHELD: " (thrown away)"}


def _when(noted: Noted | None) -> str:
    return "-" if noted is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(noted.time))


def _entries(comparison: Comparison) -> list[dict[str, object]]:
    return [
        {
            "counter": entry.counter,
            "digest": entry.digest.hex(),
            "made_here": noted is not None,
            "time": None if noted is None else noted.time,
            "txid": None if noted is None else noted.txid,
            "outpoint": None if noted is None else noted.outpoint,
            "event": None if noted is None else noted.event,
        }
        for entry, noted in comparison.seen
    ]


def _short(screen: Screen, text: str) -> str:
    """Hashes are whole in pipes and in --json; on a terminal their beginnings stand side by side."""
    return text if len(text) < 64 or not screen.fancy else f"{text[:20]}..."


def _table(screen: Screen, comparison: Comparison) -> None:
    """In a pipe with the coins; a terminal has no room for them."""
    columns, rows = ["Number", "Signed hash", "When", "Transaction"], []
    for entry, noted in comparison.seen:
        rows.append([str(entry.counter), _short(screen, entry.digest.hex()), _when(noted), _what(screen, noted)])
        if not screen.fancy:
            rows[-1].append("-" if noted is None or noted.outpoint is None else noted.outpoint)
    screen.table(columns if screen.fancy else [*columns, "Coin"], rows, right=(0,))


@command("history")
@click.option("--limit", type=click.IntRange(1, HISTORY_LENGTH), default=HISTORY_LENGTH, help="Newest entries only.")
def history(app: App, limit: int) -> Report:
    """Show the signatures the card remembers, newest first (149 at most), with their transactions and coins.

    "no answer": asked for here, but the card or this program was stopped before the signature arrived.
    "thrown away": the card had repeated a nonce.
    """
    serial, comparison = _look(app, limit)
    data = {"serial": str(serial), "signature_counter": comparison.counter, "entries": _entries(comparison)}

    def show(screen: Screen) -> None:
        if comparison.seen:
            _table(screen, comparison)
        screen.line(f"{comparison.counter} signatures were made in all")

    return Report(data, show)


@command("audit")
def audit(app: App) -> Report:
    """Compare the card's history with what was signed through this computer, and name what was signed elsewhere.

    The exit code is 1 where the card signed something that nobody asked for here: with another computer, another
    program, or by somebody else; and where it repeated a nonce, which gives keys away.
    """
    serial, comparison = _look(app, HISTORY_LENGTH)
    strange, withheld, unanswered = comparison.elsewhere, comparison.withheld, comparison.unanswered
    data = {
        "serial": str(serial),
        "signature_counter": comparison.counter,
        "compared": len(comparison.seen),
        "out_of_sight": comparison.out_of_sight,
        "elsewhere": _named(strange),
        "unanswered": _named(unanswered),
        "repeated_nonce": _named(withheld),
        "audit_kept": app.settings.audit,
    }

    def show(screen: Screen) -> None:
        if strange:
            screen.table(
                ("Number", "Signed hash"), [(str(entry.counter), entry.digest.hex()) for entry in strange], right=(0,)
            )
            screen.line(f"{len(strange)} of the last {len(comparison.seen)} signatures were not made here", BAD)
            screen.line("If you did not make them with another computer or program, somebody knows your PIN: move the")
            screen.line("money to another card, and change the PIN.")
        else:
            screen.line(f"All of the last {len(comparison.seen)} signatures were made through this computer", GOOD)
        if withheld:
            screen.line(f"{len(withheld)} of them used the secret number (nonce) of another signature again", BAD)
            screen.line("They were thrown away. Stop using this card: restore your recovery words on another card or")
            screen.line("wallet, and move the money from there to a new seed.")
        if unanswered:
            screen.line(f"{len(unanswered)} of them never arrived here: the card or this program was stopped meanwhile")
        if comparison.out_of_sight:
            screen.line(f"{comparison.out_of_sight} older ones are out of the card's memory", WARN)
        if not app.settings.audit:
            screen.line("Signatures are not remembered: `audit = false` stands in the configuration", WARN)

    return Report(data, show, Exit.REFUSED if strange or withheld else Exit.DONE)


def _named(entries: Sequence[HistoryEntry]) -> list[dict[str, object]]:
    return [{"counter": entry.counter, "digest": entry.digest.hex()} for entry in entries]
