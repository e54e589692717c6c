"""`list`: the readers and what is in them."""

from __future__ import annotations

import click

from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import Seen, candidates, judged, see, version_text, wanted_serial
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.screen import Report, said
from hwilib_cryptnox.signer.cards import EMULATOR_PREFIX

_HEADS = ("Reader", "Card", "Type", "Version", "State", "Genuine")


@command("list")
@click.option("--serials", is_flag=True, help="Print only the serial numbers, one per line, for scripts.")
def list_cards(app: App, serials: bool) -> Report:
    """Show the readers and the cards in them, one per line. Sends no PIN."""
    if app.options.card is None and app.options.reader is None:
        seen = see(app, app.host.access.readers())
    else:
        seen = _named(app)
    if serials:
        numbers = [str(entry.serial) for entry in seen if entry.serial is not None]
        for entry in seen:
            if entry.unread:  # or a script would take it for a reader without a card
                app.note(f"{entry.reader}: {entry.state}")
        return said({"serials": numbers}, *numbers)
    data = {"readers": [entry.data() for entry in seen]}
    if not seen:
        return said(data, "No card reader was found. cryptnoxctl doctor shows what is missing.")
    return said(data, lambda screen: screen.table(_HEADS, [_row(entry) for entry in seen]))


def _row(entry: Seen) -> tuple[str | tuple[str, str], ...]:
    return (
        entry.reader,
        "-" if entry.serial is None else str(entry.serial),
        "-" if entry.info is None else entry.info.type_name,
        "-" if entry.info is None else version_text(entry.info),
        entry.state,
        "-" if entry.genuine is None else judged(entry.genuine, entry.reader),
    )


def _named(app: App) -> list[Seen]:
    """What --card and --reader name; CtlError NO_CARD where it is not there. A reader may be empty."""
    serial = wanted_serial(app)
    seen = see(app, candidates(app))
    hint = "cryptnoxctl list, without --card and --reader, shows which cards are here"
    if serial is not None:
        mine = [entry for entry in seen if entry.serial == serial]
        if not mine:
            unread = [f"{entry.reader}: {entry.state}" for entry in seen if entry.unread]
            raise CtlError(Exit.NO_CARD, "; ".join([f"The card {serial} is not in any reader", *unread]), hint)
        return mine
    for entry in seen:
        if entry.reader.startswith(EMULATOR_PREFIX) and entry.info is None:
            text = f"{entry.reader}: {entry.state}" if entry.unread else f"There is no Cryptnox card at {entry.reader}"
            raise CtlError(Exit.NO_CARD, text, hint)
    return seen
