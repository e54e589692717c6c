"""`xpub`: extended public keys, and whether the card gives them."""

from __future__ import annotations

from pathlib import Path as FilePath

import click

from cryptnox_core.bip32 import Path
from cryptnox_core.errors import NotAllowedError, NotAuthenticatedError
from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import open_card, puk, wallet
from hwilib_cryptnox.ctl.changes import accepted_again, proof_of, switch, until_answered
from hwilib_cryptnox.ctl.options import chain_of_path, chain_option
from hwilib_cryptnox.ctl.qr import check_qr, qr_options, shown_with_codes, write_qr
from hwilib_cryptnox.ctl.screen import Report, said
from hwilib_cryptnox.export import KeySet, key_line
from hwilib_cryptnox.networks import Network
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.faults.irreversible import Words

_ACCOUNT = Path.parse("m/84h/0h/0h")


class XpubGroup(CtlGroup):
    """`xpub PATH` is short for `xpub show PATH`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A word that is no command is a path."""
        if args and self.get_command(ctx, args[0]) is None and args[0].startswith(("m", "4", "8")):
            args = ["show", *args]
        return super().resolve_command(ctx, args)


xpub = XpubGroup("xpub", help="Extended public keys: show one (xpub PATH), or turn their export on or off.")


@xpub.command("show")
@click.argument("path")
@chain_option
@qr_options
def xpub_show(app: App, path: str, chain: str, qr: bool, qr_file: FilePath | None) -> Report:
    """Show the extended public key at PATH (3 to 8 levels), with its origin."""
    check_qr(app, qr, qr_file)
    parsed = Path.parse(path)
    network = Network.of_chain(chain_of_path(app, parsed, chain))
    with open_card(app) as opened:
        used = wallet(app, opened)
        key, fingerprint = used.xpub(parsed), used.fingerprint()
    text = key.to_string(network.version)
    line = key_line(KeySet(fingerprint, {parsed: key}, network), parsed)
    write_qr(qr_file, [line])
    data = {
        "path": str(parsed),
        "xpub": text,
        "fingerprint": fingerprint.hex(),
        "origin": line,
        "qr_file": qr_file and str(qr_file),
    }
    return said(data, *shown_with_codes([line], qr))


@xpub.command("on")
def xpub_on(app: App) -> Report:
    """Let the card give extended public keys: wallets need them. Needs the PUK."""
    return _switch(app, on=True)


@xpub.command("off")
def xpub_off(app: App) -> Report:
    """Keep extended public keys on the card. Needs the PUK."""
    return _switch(app, on=False)


def _switch(app: App, *, on: bool) -> Report:
    word = "on" if on else "off"
    with open_card(app, seeded=True) as opened:
        serial = str(opened.card.serial)
        if opened.card.info.xpub_export is on and not app.options.stdin_puk:
            # SELECT comes in the clear: it is asked once more, and told as what the card says.
            if opened.card.select().xpub_export is on:
                says = f"The card says that xpub export is already {word}"
                return said({"serial": serial, "xpub_export": on}, says, proof_of("xpub", word))
            app.host.access.open_channel(opened.card)
        switch_export(app, opened, puk(app, opened), on=on)
    return said({"serial": serial, "xpub_export": on}, *app.achieved)


def switch_export(app: App, opened: OpenCard, secret: str, *, on: bool, pin: str | None = None) -> None:
    """SET PUB EXPORT with the PUK; see `switch`. `pin`: one that the card accepted a moment ago; with it the card is
    asked for an extended key where the answer was lost."""
    word, other = ("on", "off") if on else ("off", "on")
    words = Words(
        done=f"xpub export is {word}",
        kept=f"xpub export is still {other}",
        either=f"xpub export may or may not be {word} now",
        keep=until_answered(f"cryptnoxctl xpub {word}"),
    )

    def asked(opened: OpenCard) -> bool:
        accepted_again(app, opened, pin)
        opened.card.derive(_ACCOUNT)
        try:
            opened.card.read_extended_public_key()
        except (NotAuthenticatedError, NotAllowedError):
            return not on
        return on

    switch(
        app,
        opened,
        words,
        lambda card: card.set_xpub_export(on, secret),
        lambda info: info.xpub_export is on,
        None if pin is None else asked,
    )
