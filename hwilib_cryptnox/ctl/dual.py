"""One secret made by two cards together, in one reader or in two; and how the second card is waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cryptnox_core.card import Card
from cryptnox_core.errors import CryptnoxError
from hwilib_cryptnox.ctl.app import App
from hwilib_cryptnox.ctl.cards import candidates, find_card
from hwilib_cryptnox.ctl.errors import CtlError, Exit, explain
from hwilib_cryptnox.ctl.screen import Report
from hwilib_cryptnox.ctl.steps import Owner, begin, provision, report
from hwilib_cryptnox.errors import EndedError, LeftError, WalletError
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.provision import Provision, said_of, telling
from hwilib_cryptnox.signer.stages import Stage

T = TypeVar("T")

SWAPS = 10
"""How often a person is asked to swap the cards before it is given up."""


def dual(app: App, first: Provision, owner: Owner, second: str | None, chain: str) -> Report:
    """The keys cross over: each card takes the other's signed key. Both cards show the same wallet at the end.

    `second` is the reader of the second card; None: it takes the first one's place. A card whose part is done waits for
    the other's: it is asked for again until the person gives up, and then it is said which card has to be reset.
    """
    first.check = f"cryptnoxctl backup check --second-card --card {first.serial}"
    place = first.opened.reader
    own = first.dual_start()
    first.line.leave()
    with telling(provision(app, other_card(app, second, first.serial, place), chain)) as other:
        other.check = f"cryptnoxctl backup check --second-card --card {other.serial}"
        try:
            _check_second(other.card, first.serial)
            begin(app, other, owner, second=True)
            theirs = other.dual_start()
        except (Exception, KeyboardInterrupt) as error:
            ended = other.ended(error)
            raise EndedError(error, f"{ended}; {first.truth()[0]}", hint=ended.hint) from error
        try:
            other.dual_finish(own)
            shown = other.finish(None)
            other.line.leave()
            if second is None:
                text = f"Take the second card out and put the card {first.serial} in again."
                _asked_for(app, text, first.line.reopen)
            first.dual_finish(theirs)
            first.finish(shown)
        except (Exception, KeyboardInterrupt) as error:
            raise _half(error, first, other) from error
    backup = f"The cards {first.serial} and {other.serial} hold the same secret. Keep them apart."
    app.terminal.say(f"\n{backup}")
    app.happened(f"The card {other.serial} is set up")
    return report(app, first, backup, chain, checked=True)


def _check_second(card: Card, first: int) -> None:
    """CtlError for a card that cannot make a secret together with the first one."""
    if card.info.is_nft:
        raise CtlError(Exit.USAGE, "That is an NFT card, which makes its one key itself")
    if card.info.seeded:
        serial = card.serial
        raise CtlError(
            Exit.REFUSED,
            f"There is a wallet on the card {serial} already",
            f"where the cards {first} and {serial} were interrupted while they made one together, no backup of it can "
            f"ever be made: cryptnoxctl reset --card {serial}, then cryptnoxctl setup --seed dual --card {first}. To "
            f"use it as it is: cryptnoxctl adopt --card {serial}",
        )


def look_ahead(app: App, second: str, serial: int) -> None:
    """Before anything is done to the first card: CtlError where the second one, in a reader of its own, cannot be used.
    It is let go again."""
    opened = other_card(app, second, serial)
    try:
        _check_second(opened.card, serial)
    finally:
        opened.close()


def _half(error: BaseException, first: Provision, other: Provision) -> EndedError:
    """What to say where one card may have its part of the secret, and the other has not."""
    first.find_out()
    other.find_out()
    said = said_of(error)
    one, two = first.serial, other.serial
    with_seed = (Stage.SEEDED, Stage.PROVED, Stage.OTHER_SEED)
    if other.stage is Stage.INITIALISED:
        return EndedError(
            error,
            f"{said}; the cards {one} and {two} are initialised, and both have no seed",
            hint=f"begin the two anew: cryptnoxctl setup --seed dual --card {one}",
        )
    holds = "holds the secret" if other.stage in with_seed else "may hold the secret"
    compare = f"cryptnoxctl backup check --second-card --card {two} compares them"
    if first.stage is Stage.INITIALISED:
        return EndedError(
            error,
            f"{said}. The card {two} {holds} and the card {one} does not, nor can it get it any more: put no money on "
            "either. No backup of it can ever be made",
            hint=f"cryptnoxctl reset --card {two}, then cryptnoxctl setup --seed dual once more",
        )
    if first.stage is Stage.OTHER_SEED:
        return EndedError(
            error,
            f"The cards {one} and {two} did not make the same secret: put no money on either",
            hint=f"cryptnoxctl reset --card {one}, the same with --card {two}, then setup once more",
        )
    if first.stage is Stage.PROVED:
        return EndedError(
            error,
            f"{said}. The cards {one} and {two} hold the same secret, and that was compared",
            hint=f"cryptnoxctl adopt does what is left, for each of them (--card {one}, --card {two})",
        )
    return EndedError(
        error,
        f"{said}. The card {two} {holds}; whether the card {one} does is not known: put no money on either",
        hint=f"{compare}; if they differ, or one has no seed: cryptnoxctl reset the card that has one, then setup once "
        "more",
    )


def other_card(
    app: App, second: str | None, serial: int, place: str | None = None, *, channel: bool = False
) -> OpenCard:
    """The second card: in its own reader, or in the place of the first (the reader `place`, or any)."""
    if second is not None:
        opened = find_card(app, None, candidates(app, second), channel=channel)
        if opened.card.serial == serial:
            opened.close()
            raise CtlError(Exit.USAGE, "--second: that is the first card again")
        return opened

    def look() -> OpenCard:
        opened = find_card(app, None, candidates(app) if place is None else [place], channel=channel)
        if opened.card.serial == serial:
            opened.close()
            raise CtlError(Exit.NO_CARD, "That is still the first card")
        return opened

    return _asked_for(app, f"Take the card {serial} out and put the second card in.", look)


def _asked_for(app: App, text: str, look: Callable[[], T]) -> T:
    """What `look` finds when the person has put a card in. An Enter too early costs nothing; LeftError after
    ten of them."""
    for _ in range(SWAPS):
        app.terminal.pause(f"\n{text}")
        try:
            return look()
        except LeftError:
            raise
        except (WalletError, CryptnoxError) as error:
            problem = explain(error)
            app.terminal.say(f"{problem.message}. {problem.hint}".rstrip(". ") + ".")
    raise LeftError("Canceled: the card was not put in")
