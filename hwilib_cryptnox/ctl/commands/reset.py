"""`reset`: a card as from the factory."""

from __future__ import annotations

import click

from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import admit, open_card, puk
from hwilib_cryptnox.ctl.changes import away, tell
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.screen import Report, said
from hwilib_cryptnox.errors import RESET_DISABLED_TEXT
from hwilib_cryptnox.signer.faults.irreversible import erase, erased_words, forget_erased


@command("reset")
@click.option("--serial", "typed", metavar="SERIAL", help="The card's serial number, instead of typing it when asked.")
def reset(app: App, typed: str | None) -> Report:
    """Erase the card: keys, PIN, PUK, data, history. Needs the PUK, and the serial number that you type.

    Without a backup of the seed, all money on it is lost.
    """
    with open_card(app, initialised=True) as opened:
        admit(app, opened)
        serial = opened.card.serial
        if opened.card.info.reset_disabled:
            raise CtlError(Exit.REFUSED, RESET_DISABLED_TEXT)
        if typed is None:
            app.terminal.say("This erases everything on the card. Without a backup of its seed, its money is lost.")
            app.terminal.typed("", str(serial))
        elif typed != str(serial):
            raise CtlError(Exit.REFUSED, f"The card in the reader is {serial}, not {typed}. Nothing was erased")
        ending = erase(app.host.access, opened, puk(app, opened), lambda: away(app))
        try:
            tell(app, erased_words(serial), ending)
        finally:  # what was done is known by now, whatever interrupts the rest
            lost = forget_erased(app.state, serial, ending.end)
        if lost is not None:
            app.note(f"This computer still remembers the card: {lost}. cryptnoxctl forget {serial}")
    return said({"serial": str(serial), "reset": True}, *app.achieved, "To use it again: cryptnoxctl setup")
