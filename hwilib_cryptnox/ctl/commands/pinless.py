"""`pinless`: the path whose key signs without PIN."""

from __future__ import annotations

import click

from cryptnox_core.bip32 import Path
from cryptnox_core.wire import PINLESS_PREFIX
from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import open_card, puk
from hwilib_cryptnox.ctl.changes import change, switch, until_answered
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.screen import Report, said
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.faults.heard import agreed
from hwilib_cryptnox.signer.faults.irreversible import End, Words

pinless = CtlGroup("pinless", help="The path whose key signs without a PIN. Not for money.")


@pinless.command("set")
@click.argument("path")
def pinless_set(app: App, path: str) -> Report:
    """Let the key at PATH (under m/43h/60h/1581h) sign without a PIN. Needs the PUK.

    Anyone who holds the card, or comes near it, can then sign with that key.
    """
    parsed = Path.parse(path)
    if not parsed.starts_with(Path(PINLESS_PREFIX)):
        raise CtlError(Exit.USAGE, "A PIN-less path must be under m/43h/60h/1581h")
    with open_card(app, seeded=True) as opened:
        secret, had_one = puk(app, opened), opened.card.info.pinless_path

        def look(opened: OpenCard) -> End:
            if not agreed(opened.card).pinless_path:
                return End.DENIED
            return End.UNKNOWN if had_one else End.SAID  # which one it is no card tells

        words = Words(
            done=f"The key at {parsed} now signs without a PIN",
            kept="no key signs without a PIN; nothing was changed",
            either=f"the key at {parsed}, or the previous one, may sign without a PIN now",
            keep="set it again, or remove it: cryptnoxctl pinless clear",
        )
        change(app, opened, words, lambda card: card.set_pinless_path(parsed, secret), look)
        return said({"serial": str(opened.card.serial), "pinless_path": str(parsed)}, *app.achieved)


@pinless.command("clear")
def pinless_clear(app: App) -> Report:
    """Let no key sign without a PIN. Needs the PUK."""
    with open_card(app, seeded=True) as opened:
        secret = puk(app, opened)
        words = Words(
            done="No key signs without a PIN any more",
            kept="a key still signs without a PIN",
            either="a key may still sign without a PIN",
            keep=until_answered("cryptnoxctl pinless clear"),
        )
        switch(app, opened, words, lambda card: card.set_pinless_path(None, secret), lambda info: not info.pinless_path)
        return said({"serial": str(opened.card.serial), "pinless_path": None}, *app.achieved)
