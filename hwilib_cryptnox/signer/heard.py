"""What a card says in the clear is heard twice before it is believed: anybody on the way can have said it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cryptnox_core.card import Card
from cryptnox_core.errors import MalformedResponseError, ProtocolError, StatusWordError, UnknownChannelError
from cryptnox_core.models import AppletInfo
from cryptnox_core.wire import CARD_TYPE_BASIC

T = TypeVar("T")

_READINGS = 3
"""How often SELECT is sent again at most, until two answers agree."""


def twice(card: Card, action: Callable[[], T]) -> T:
    """Run it; where what the card said in the clear made no sense select the card and run it once more, since one
    disturbed answer proves nothing against a card. Raises what it raises then."""
    try:
        return action()
    except UnknownChannelError:
        raise
    except ProtocolError:
        card.select()
        settle(card)
        return action()


def settle(card: Card) -> None:
    """SELECT comes in the clear: an answer that says anything but a wallet in its usual state (not initialised, no
    seed, PIN authentication off, another type of card) is believed when two of them agree.

    Requires: the card selected; it still is, without a channel where it had to be asked again. Raises what `agreed`
    does.
    """
    if not _is_usual(card.info):
        agreed(card)


def agreed(card: Card) -> AppletInfo:
    """What SELECT says twice in a row, the last one sent being the first of them; the channel ends.

    Raises what SELECT does, MalformedResponseError where it says something else each time.
    """
    info = card.info
    for left in reversed(range(_READINGS)):
        try:
            again = card.select()
        except (StatusWordError, MalformedResponseError):
            if not left:
                raise
            continue
        if again == info:
            return info
        info = again
    raise MalformedResponseError("SELECT: the card says something else each time it is asked")


def _is_usual(info: AppletInfo) -> bool:
    return info.card_type == CARD_TYPE_BASIC and info.initialized and info.seeded and info.pin_auth
