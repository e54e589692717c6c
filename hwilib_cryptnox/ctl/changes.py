"""Irreversible commands as a person is told of them: what is true of the card afterwards, whatever went wrong."""

from __future__ import annotations

from collections.abc import Callable

from cryptnox_core.card import Card
from cryptnox_core.errors import StatusWordError
from cryptnox_core.models import AppletInfo
from hwilib_cryptnox.ctl.app import App
from hwilib_cryptnox.ctl.cards import unlocker
from hwilib_cryptnox.ctl.errors import CtlError, Problem, explain
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.faults.heard import agreed
from hwilib_cryptnox.signer.faults.irreversible import AWAY_TEXT, End, Ending, Words, carry_out, failure


def change(
    app: App,
    opened: OpenCard,
    words: Words,
    send: Callable[[Card], object],
    look: Callable[[OpenCard], End],
    *,
    prove: bool = False,
    doubted: bool = True,
) -> None:
    """Send an irreversible command, see what became of it, and say so; see `carry_out`.

    Returns where it was carried out, proved by `look` with `prove`, and `app.achieved` says it. Raises StatusWordError
    where the card refused, CtlError where it was not carried out or nobody knows, KeyboardInterrupt where it was and
    the person wants to leave.
    """

    access = app.host.access
    ending = carry_out(access, opened, send, look, prove=prove, doubted=doubted, away=lambda: away(app))
    tell(app, words, ending)


def away(app: App) -> None:
    """Ask for a card that has left in the middle of a command."""
    app.note(AWAY_TEXT.format(app.settings.reinsert_wait))


def tell(app: App, words: Words, ending: Ending) -> None:
    """Say how a command ended; see `change`."""
    lost = ending.lost
    if ending.end is End.TAKEN:
        app.happened(words.done)
        if isinstance(lost, KeyboardInterrupt):
            raise lost
        if isinstance(lost, StatusWordError) and type(lost) is not StatusWordError:
            app.note(f"The card answered with an error ({lost}), but a check shows that it made the change")
        elif not ending.answered:
            app.note("The card's answer was lost, but a check shows that it made the change")
        return
    problem = Problem("It could not be tested") if lost is None else explain(lost)
    message, hint = failure(words, ending, problem.message)
    raise CtlError(problem.exit_code, message, hint)


def switch(
    app: App, opened: OpenCard, words: Words, send: Callable[[Card], object], wanted: Callable[[AppletInfo], bool]
) -> None:
    """As `change`, of a setting that SELECT shows; `wanted`: whether it shows what is wanted."""

    def look(opened: OpenCard) -> End:
        return End.TAKEN if wanted(agreed(opened.card)) else End.NOT_TAKEN

    change(app, opened, words, send, look, doubted=not wanted(opened.card.info))


def accepted_again(app: App, opened: OpenCard, pin: str | None) -> None:
    """Of a card that was opened anew: its channel, and the PIN it accepted a moment ago (None: a user key's answer)."""
    if not opened.card.channel_open:
        app.host.access.open_channel(opened.card)
        unlocker(app).resume(opened.card, opened.reader, pin)
