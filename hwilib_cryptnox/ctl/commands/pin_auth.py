"""`pin-auth`: whether the card takes a PIN at all."""

from __future__ import annotations

import click

from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import open_card, puk
from hwilib_cryptnox.ctl.changes import switch
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.screen import Report, said
from hwilib_cryptnox.signer.irreversible import Words

pin_auth = CtlGroup("pin-auth", help="Turn PIN authentication on or off.")


@pin_auth.command("on")
def pin_auth_on(app: App) -> Report:
    """Accept the PIN again. Needs the PUK."""
    return _pin_auth(app, on=True)


@pin_auth.command("off")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@click.option(
    "--cannot-sign-here",
    is_flag=True,
    help=("Continue even though no program of this package can sign with the card then."),
)
def pin_auth_off(app: App, yes: bool, cannot_sign_here: bool) -> Report:
    """Accept only user keys, and no PIN. Needs the PUK, and a user key on the card.

    Neither cryptnoxctl nor hwi-cryptnox signs with user keys: this is for cards that other software signs with.
    """
    if not cannot_sign_here:
        raise CtlError(
            Exit.REFUSED,
            "Without the PIN, no wallet could sign with this card: neither cryptnoxctl nor hwi-cryptnox signs with "
            "user keys. Nothing was changed",
            "if other software signs with them: --cannot-sign-here",
        )
    return _pin_auth(app, on=False, ask=not yes)


def _pin_auth(app: App, *, on: bool, ask: bool = False) -> Report:
    word = "on" if on else "off"
    with open_card(app, initialised=True) as opened:
        card = opened.card
        if not on and card.info.tells_user_keys and not card.info.user_keys:
            raise CtlError(
                Exit.REFUSED, "The card has no user key, so nothing could authenticate", "cryptnoxctl user-key add"
            )
        if ask:
            app.terminal.confirm(f"Wallets that give a PIN will no longer work with the card {card.serial}. Continue?")
        secret = puk(app, opened)
        words = Words(
            done=f"PIN authentication is {word}",
            kept=f"PIN authentication is not {word}; nothing was changed",
            either=f"PIN authentication may or may not be {word} now",
            keep="cryptnoxctl info shows which",
        )
        switch(app, opened, words, lambda card: card.set_pin_auth(on, secret), lambda info: info.pin_auth is on)
        return said({"serial": str(opened.card.serial), "pin_auth": on}, *app.achieved)
