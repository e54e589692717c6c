"""`clear-key`: reading the card's current public key without PIN and channel, and whether the card allows it."""

from __future__ import annotations

import click

from cryptnox_core.bip32 import Path
from cryptnox_core.card import Card
from cryptnox_core.errors import NotAllowedError
from cryptnox_core.wire import MAX_DEPTH, Curve
from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import open_card, puk, unlock
from hwilib_cryptnox.ctl.changes import proof_of, switch, until_answered
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.screen import WARN, Part, Report, said
from hwilib_cryptnox.signer.faults.irreversible import Words

clear_key = CtlGroup("clear-key", help="Reading the current public key without a PIN: turn it on or off, read it.")

_CURVES = {"k1": Curve.K1, "r1": Curve.R1}


@clear_key.command("on")
def clear_key_on(app: App) -> Report:
    """Let the card give its current public key without a PIN. Needs the PUK.

    Anyone near the card can then read that key, and use it to follow one of your addresses.
    """
    return _switch(app, on=True)


@clear_key.command("off")
def clear_key_off(app: App) -> Report:
    """Give the current public key only after the PIN. Needs the PUK."""
    return _switch(app, on=False)


def _switch(app: App, *, on: bool) -> Report:
    word, other = ("on", "off") if on else ("off", "on")
    with open_card(app, seeded=True) as opened:
        serial = str(opened.card.serial)
        data = {"serial": serial, "clear_public_key": on}
        if opened.card.info.clear_public_key is on and not app.options.stdin_puk:
            # SELECT comes in the clear: it is asked once more, and told as what the card says.
            if opened.card.select().clear_public_key is on:
                says = f"The card says that clear key reading is already {word}"
                return said(data, says, proof_of("clear-key", word))
            app.host.access.open_channel(opened.card)
        secret = puk(app, opened)
        words = Words(
            done=f"Clear key reading is {word}",
            kept=f"clear key reading is still {other}",
            either=f"clear key reading may or may not be {word} now",
            keep=until_answered(f"cryptnoxctl clear-key {word}"),
        )

        def send(card: Card) -> None:
            card.set_clear_public_key(on, secret)

        switch(app, opened, words, send, lambda info: info.clear_public_key is on)
    return said(data, *app.achieved)


@clear_key.command("show")
@click.argument("path", required=False)
@click.option("--curve", type=click.Choice(list(_CURVES)), default="k1", show_default=True, help="Whose key.")
def clear_key_show(app: App, path: str | None, curve: str) -> Report:
    """Read the current public key in the clear. With PATH, make the key at PATH the current one first.

    PATH needs the PIN, and the key is compared with the one that the card gives in its secure channel. Without PATH no
    PIN is needed, but nothing proves the key: anyone between card and computer can exchange it.
    """
    wanted = None if path is None else Path.parse(path)
    if wanted is not None and not 1 <= wanted.depth <= MAX_DEPTH:
        raise CtlError(Exit.USAGE, f"{wanted}: give a path of 1 to {MAX_DEPTH} levels")
    chosen = _CURVES[curve]
    with open_card(app, channel=wanted is not None, seeded=True) as opened:
        card, proved = opened.card, None
        if wanted is not None:
            unlock(app, opened)
            card.derive(wanted, curve=chosen)
            proved = card.public_key(curve=chosen)
        try:
            key = card.clear_public_key(curve=chosen)
        except NotAllowedError as error:
            raise CtlError(
                Exit.REFUSED, "The card does not give its key in the clear", "cryptnoxctl clear-key on (needs the PUK)"
            ) from error
        serial = str(card.serial)
    if proved is not None and key != proved:
        raise CtlError(
            Exit.REFUSED,
            "The key that came in the clear is not the card's: someone between card and computer changed it",
            "use another reader, on a computer that you trust",
        )
    data = {
        "serial": serial,
        "path": wanted and str(wanted),
        "curve": curve,
        "public_key": key.hex(),
        "proved": proved is not None,
    }
    parts: list[Part] = ["Public key:", key.hex()]
    if proved is None:
        parts.append(("Nothing proves this key: it came in the clear. Give PATH to have it compared", WARN))
    return said(data, *parts)
