"""`owner`: the name and the e-mail address on the card. On its own because each command has a file of its name."""

from __future__ import annotations

from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import open_card
from hwilib_cryptnox.ctl.screen import Report, listed


@command("owner")
def owner(app: App) -> Report:
    """Show the owner's name and e-mail address, as they were written when the card was set up.

    To change them, reset the card and set it up again.
    """
    with open_card(app, initialised=True) as opened:
        page, serial = opened.card.info_page(), str(opened.card.serial)
    data = {"serial": serial, "name": page.name, "email": page.email}
    return listed(data, [("Name", page.name or "-"), ("E-mail", page.email or "-")])
