"""`puk`: change or verify it."""

from __future__ import annotations

import contextlib

from cryptnox_core.commands.setup import pairing_key_from_puk
from cryptnox_core.errors import StatusWordError
from cryptnox_core.wire import PAIRING_INDEX_PUK
from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import open_card
from hwilib_cryptnox.ctl.cards import puk as ask_puk
from hwilib_cryptnox.ctl.changes import change
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.screen import Report, said
from hwilib_cryptnox.errors import NOTHING_CHANGED
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.faults.irreversible import End, Words, is_puk, opens

puk = CtlGroup("puk", help="Change or verify the PUK.")


def _fits(opened: OpenCard, secret: str) -> bool:
    return opens(opened, pairing_key_from_puk(secret), PAIRING_INDEX_PUK)


@puk.command("verify")
def puk_verify(app: App) -> Report:
    """Check the PUK. Changes nothing."""
    with open_card(app, channel=False, initialised=True) as opened:
        if not _fits(opened, ask_puk(app, opened)):
            raise _another_puk(opened)
        serial = str(opened.card.serial)
    return said({"serial": serial, "verified": True}, f"The PUK of the card {serial} is correct")


@puk.command("change")
def puk_change(app: App) -> Report:
    """Change the PUK: the current one first, then the new one twice."""
    with open_card(app, initialised=True) as opened:
        serial = opened.card.serial
        current = ask_puk(app, opened)
        _check(app, opened, current)
        new = app.terminal.new_puk()
        if new == current:
            raise CtlError(Exit.USAGE, "That is already the PUK", unchanged=NOTHING_CHANGED)

        def look(opened: OpenCard) -> End:
            if _fits(opened, new):
                return End.TAKEN
            return End.NOT_TAKEN if _fits(opened, current) else End.OTHER

        words = Words(
            done=f"The PUK of the card {serial} was changed",
            kept="the card still has its old PUK",
            either="the card may already have the new PUK",
            keep="keep both PUKs; `cryptnoxctl puk verify` shows which one it is",
            other="Neither the old nor the new PUK opens the card",
            remedy="try both in another reader: cryptnoxctl puk verify. If neither works there, nobody knows the PUK. "
            "The card still signs: move the coins to another card while the PIN works",
        )
        change(app, opened, words, lambda card: card.change_puk(new=new, current=current), look, prove=True)
    return said(
        {"serial": str(serial), "changed": True},
        *app.achieved,
        "Write down the new one and keep it apart from the card",
    )


_PUK_HINT = (
    "look for the PUK that you wrote down when the card was set up: 12 characters, and capital letters count. "
    "This cost no try"
)


def _another_puk(opened: OpenCard) -> CtlError:
    return CtlError(
        Exit.SECRET, f"That is not the PUK of the card {opened.card.serial}", _PUK_HINT, unchanged=NOTHING_CHANGED
    )


def _check(app: App, opened: OpenCard, secret: str) -> None:
    """CtlError for another PUK than the card's, before anything depends on it. Costs no try. The PIN is not verified
    afterwards; where the card does not know this proof, it is as it was."""
    with contextlib.suppress(StatusWordError):
        if is_puk(app.host.access, opened, secret):
            return
        raise _another_puk(opened)
    opened.card.select()
    app.host.access.open_channel(opened.card)
