"""`reset` and `forget`: back to the beginning."""

from __future__ import annotations

import click

from hwilib_cryptnox.ctl.cards import open_card, puk
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.frame import App, command
from hwilib_cryptnox.ctl.screen import Report, said
from hwilib_cryptnox.ctl.secrets import require_initialised
from hwilib_cryptnox.faults import RESET_DISABLED_TEXT


@command("reset")
@click.option("--serial", "typed", metavar="SERIAL", help="The card's serial number, instead of typing it when asked.")
def reset(app: App, typed: str | None) -> Report:
    """Erase the card: keys, PIN, PUK, data, history. Needs the PUK and the typed serial number.

    Without a backup of the seed all money on it is lost.
    """
    with open_card(app) as found:
        require_initialised(found)
        serial = found.card.serial
        if found.card.info.reset_disabled:
            raise CtlError(Exit.REFUSED, RESET_DISABLED_TEXT)
        if typed is None:
            app.terminal.say("This erases everything on the card. Without a backup of its seed, its money is lost.")
            app.terminal.typed("", str(serial))
        elif typed != str(serial):
            raise CtlError(Exit.REFUSED, f"The card in the reader is {serial}, not {typed}; nothing was erased")
        found.card.reset(puk(app))
        app.state.forget(serial)
        app.state.keep_pairing_key(serial, None)
    return said(
        {"serial": str(serial), "reset": True},
        f"The card {serial} is as from the factory: cryptnoxctl setup",
    )


@command("forget")
@click.argument("which", metavar="SERIAL|all")
@click.option("--pairing-key", is_flag=True, help="Its own pairing key as well; then only the PUK opens the card.")
def forget(app: App, which: str, pairing_key: bool) -> Report:
    """Clear what this computer remembers of a card, or of all: fingerprint, certificate, notes of refused PINs.

    Its own pairing key stays, unless --pairing-key. The card is not touched.
    """
    serial = None if which == "all" else _number(which)
    known = app.state.records()
    gone = sorted(known) if serial is None else [serial] * (serial in known)
    app.state.forget(serial)
    if pairing_key:
        for number in {*gone, *([] if serial is None else [serial])}:
            app.state.keep_pairing_key(number, None)
    names = [str(number) for number in gone]
    return said({"forgotten": names}, f"Forgotten: {', '.join(names)}" if names else "Nothing was remembered")


def _number(text: str) -> int:
    number = text.removeprefix("cryptnox:")
    if not (number.isascii() and number.isdecimal()):
        raise CtlError(Exit.USAGE, f"{text!r} is neither a serial number nor `all`")
    return int(number)
