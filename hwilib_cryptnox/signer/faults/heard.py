"""A line that is disturbed: what a card says in the clear is heard twice before it is believed, for anybody on the way
can have said it; and a card that has left is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from cryptnox_core.card import Card
from cryptnox_core.errors import (
    MalformedResponseError,
    ProtocolError,
    StatusWordError,
    TransportError,
    UnknownChannelError,
)
from cryptnox_core.models import AppletInfo
from cryptnox_core.wire import CARD_TYPE_BASIC
from hwilib_cryptnox.errors import CardNotFoundError

T = TypeVar("T")

_RETRY = 0.2
"""Seconds between two looks for a card that has left."""
_READINGS = 3
"""How often SELECT is sent again at most, until two answers agree."""


def twice(card: Card, action: Callable[[], T]) -> T:
    """Run it; where what the card said in the clear made no sense, or was a refusal, select the card and run it once
    more, since one disturbed answer proves nothing against a card. Raises what it raises then.

    Requires: an action that sends no PIN and no PUK, and changes nothing.
    """
    try:
        return action()
    except UnknownChannelError:
        raise
    except (ProtocolError, StatusWordError):
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
    raise MalformedResponseError("SELECT: the card gives a different answer each time")


def _is_usual(info: AppletInfo) -> bool:
    return info.card_type == CARD_TYPE_BASIC and info.initialized and info.seeded and info.pin_auth


def until_back(seconds: float, look: Callable[[], T], away: Callable[[], None] | None = None) -> T:
    """What `look` gives, which opens a card that has left: called until the card is back, for so many seconds.

    `away` is called once, where it is not there at the first look. Raises what `look` raises: TransportError and
    CardNotFoundError when the time is over, anything else at once.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return look()
        except (TransportError, CardNotFoundError):
            if time.monotonic() >= end:
                raise
        if away is not None:
            away()
            away = None
        time.sleep(_RETRY)
