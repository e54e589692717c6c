"""`forget`: clear what this computer remembers."""

from __future__ import annotations

import click

from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.screen import Report, said


@command("forget")
@click.argument("which", metavar="SERIAL|all")
@click.option(
    "--pairing-key",
    is_flag=True,
    help=("Also delete the card's own pairing key. After that only the PUK opens the card."),
)
@click.option("--yes", is_flag=True, help="Delete a pairing key without asking.")
def forget(app: App, which: str, pairing_key: bool, yes: bool) -> Report:
    """Clear what this computer remembers of a card, or of all cards: fingerprint, certificate, notes of refused PINs.

    The card's own pairing key is kept, unless you give --pairing-key. Registered wallets are kept. The card does not
    change.
    """
    serial = None if which == "all" else _number(which)
    keys = [number for number in app.state.paired() if serial in (None, number)]
    if pairing_key and keys and not yes:
        app.terminal.say("Without its pairing key, a card only opens with the exported key or with its PUK.")
        app.terminal.confirm(f"Delete the pairing {_keys(keys)}?")
    gone = [number for number in sorted(app.state.records()) if serial in (None, number)]
    app.state.forget(serial)
    lines = [f"This computer forgot {'the card' if len(gone) == 1 else 'the cards'} {_listed(gone)}"] if gone else []
    if pairing_key:
        for number in keys:
            app.state.keep_pairing_key(number, None)
            app.happened(f"The pairing key of the card {number} was deleted")
        lines += app.achieved
    elif keys:
        lines.append(f"Kept: the pairing {_keys(keys)}. Use --pairing-key to delete it as well")
    if not lines:
        lines.append("Nothing was remembered")
    deleted = keys if pairing_key else []
    return said({"forgotten": list(map(str, gone)), "pairing_keys_deleted": list(map(str, deleted))}, *lines)


def _keys(serials: list[int]) -> str:
    return f"key of the card {serials[0]}" if len(serials) == 1 else f"keys of the cards {_listed(serials)}"


def _listed(serials: list[int]) -> str:
    return ", ".join(map(str, serials))


def _number(text: str) -> int:
    number = text.removeprefix("cryptnox:")
    if not (number.isascii() and number.isdecimal()):
        raise CtlError(Exit.USAGE, f"{text!r} is neither a serial number nor `all`")
    return int(number)
