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
    app: App,
    opened: OpenCard,
    words: Words,
    send: Callable[[Card], object],
    wanted: Callable[[AppletInfo], bool],
    asked: Callable[[OpenCard], bool] | None = None,
) -> None:
    """As `change`, of a setting that SELECT shows; `wanted`: whether it shows what is wanted. `asked`: whether the card
    says so in its channel, which is not open; None where that tells nothing."""

    def look(opened: OpenCard) -> End:
        shown = wanted(agreed(opened.card))
        if asked is None:
            return End.SAID if shown else End.DENIED
        if asked(opened) is not shown:
            return End.UNKNOWN
        return End.TAKEN if shown else End.NOT_TAKEN

    change(app, opened, words, send, look, doubted=not wanted(opened.card.info))


def until_answered(command: str) -> str:
    """What to do where a command whose answer was lost may be run once more."""
    return f"run {command} again until the card's answer arrives"


def proof_of(group: str, word: str) -> str:
    """What to do where SELECT alone says that a switch is `word` already, "on" or "off"."""
    other = "off" if word == "on" else "on"
    return f"To have the card prove it: cryptnoxctl {group} {other}, then cryptnoxctl {group} {word} (needs the PUK)"


def accepted_again(app: App, opened: OpenCard, pin: str | None) -> None:
    """Of a card that was opened anew: its channel, and the PIN it accepted a moment ago (None: a user key's answer)."""
    if not opened.card.channel_open:
        app.host.access.open_channel(opened.card)
        unlocker(app).resume(opened.card, opened.reader, pin)
