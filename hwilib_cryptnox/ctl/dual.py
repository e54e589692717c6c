"""One secret made by two cards together, in one reader or in two."""

from __future__ import annotations

from hwilib_cryptnox.access import OpenCard
from hwilib_cryptnox.ctl.cards import PersonUnlocker, candidates, find_card
from hwilib_cryptnox.ctl.errors import CanceledError, CtlError, Exit, explain
from hwilib_cryptnox.ctl.frame import App
from hwilib_cryptnox.ctl.screen import Report
from hwilib_cryptnox.ctl.steps import Opened, begin, finish
from hwilib_cryptnox.faults import WalletError

SWAPS = 10
"""How often a person is asked to swap the cards before it is given up."""


def dual(app: App, first: Opened, owner: tuple[str | None, str | None], second: str | None, chain: str) -> Report:
    """The keys cross over: each card takes the other's signed key. Both cards show the same fingerprint at the end.

    `second` is the reader of the second card; None: it takes the first one's place. Interrupted, it is begun anew: a
    card without its other half holds no seed.
    """
    serial, place = first.card.serial, [first.found.reader]
    own = first.card.dual_seed_start(first.pin)
    first.found.close()
    other = begin(app, other_card(app, second, serial), owner)
    try:
        theirs = other.card.dual_seed_start(other.pin)
        other.card.dual_seed_finish(own, other.pin)
        report = finish(app, other, "", chain)
    finally:
        other.found.close()
    try:
        again = _again(app, serial, place, swap=second is None)
        try:
            opened = Opened(again, first.pin, first.puk)
            PersonUnlocker(app.settings, app.state, first.pin).unlock(opened.card, again.reader)
            opened.card.dual_seed_finish(theirs, first.pin)
            backup = f"The cards {serial} and {report.data['serial']} hold the same secret. Keep them apart."
            result = finish(app, opened, backup, chain, check="cryptnoxctl backup check --second-card")
        finally:
            again.close()
    except (Exception, KeyboardInterrupt) as error:
        raise _half(error, serial, str(report.data["serial"])) from error
    if result.data["fingerprint"] != report.data["fingerprint"]:
        raise CtlError(
            Exit.REFUSED, "The two cards did not make the same secret", "cryptnoxctl reset both, then setup once more"
        )
    return result


def _half(error: BaseException, serial: int, other: str) -> CtlError:
    """What to say when only the second card is known to hold the secret: the first one's part cannot be made again."""
    problem = explain(error)
    return CtlError(
        problem.exit_code,
        f"{problem.message}. The card {other} holds the secret; whether the card {serial} does is not known: "
        "put no money on either",
        f"cryptnoxctl backup check --second-card compares them; if they differ: cryptnoxctl reset --card {other}, "
        "then setup once more",
    )


def other_card(app: App, second: str | None, serial: int, *, channel: bool = False) -> OpenCard:
    """The second card: in its own reader, or in the place of the first."""
    if second is not None:
        found = find_card(app, None, candidates(app, second), channel=channel)
        if found.card.serial == serial:
            found.close()
            raise CtlError(Exit.USAGE, "--second: that is the first card again")
        return found
    for _ in range(SWAPS):
        app.terminal.pause(f"\nTake the card {serial} out and put the second card in.")
        try:
            found = find_card(app, None, candidates(app), channel=channel)
        except (CtlError, WalletError) as error:
            app.terminal.say(str(error))
            continue
        if found.card.serial != serial:
            return found
        found.close()
        app.terminal.say("That is still the first card")
    raise CanceledError


def _again(app: App, serial: int, place: list[str], *, swap: bool) -> OpenCard:
    """The first card once more."""
    if not swap:
        return find_card(app, serial, place, channel=True)
    for _ in range(SWAPS):
        app.terminal.pause(f"\nTake the second card out and put the card {serial} in again.")
        try:
            return find_card(app, serial, place, channel=True)
        except (CtlError, WalletError) as error:
            app.terminal.say(str(error))
    raise CanceledError
