"""PINs typed in a window: kept in memory for that window, and never sent again after the card refused them."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from .errors import CanceledError, LastTryError, LockedPinError, WrongPinError, tries

T = TypeVar("T")

LAST_TRY_QUESTION = (
    "One PIN try is left. If this PIN is wrong, the card blocks its PIN, and only the PUK unblocks it.\n\n"
    "Use the last try?"
)
_REFUSED_TEXT = (
    "The card refused this PIN before. It was not sent again. If the card has this PIN only now, click Forget the PIN "
    "behind the card at the bottom of the window, or restart Electrum."
)
_SHORTEST, _LONGEST = 4, 9


def is_pin(text: str) -> bool:
    """Whether a text can be a card's PIN."""
    return _SHORTEST <= len(text) <= _LONGEST and text.isascii() and text.isdigit()


class PinMemory:
    """The PINs of one window, one a card. `card` is the card's path."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._pins: dict[str, str] = {}
        self._clock = clock
        self._used = clock()

    def __repr__(self) -> str:
        return f"PinMemory({len(self._pins)} kept)"

    def get(self, card: str) -> str | None:
        """The PIN that the card accepted, if any."""
        return self._pins.get(card)

    def keep(self, card: str, pin: str) -> None:
        """Keep a PIN that the card has just accepted."""
        self._pins[card] = pin
        self._used = self._clock()

    def forget(self, card: str | None = None) -> None:
        """Forget the PIN of a card, or all."""
        if card is None:
            self._pins.clear()
        else:
            self._pins.pop(card, None)

    def forget_unused(self, since: float) -> None:
        """Forget all where none was used since that time."""
        if self._used < since:
            self._pins.clear()


class RefusedPins:
    """The PINs that cards refused while this process runs: none of them is sent to its card again."""

    def __init__(self) -> None:
        self._pins: dict[str, set[str]] = {}

    def __repr__(self) -> str:
        return f"RefusedPins({len(self._pins)} cards)"

    def add(self, card: str, pin: str) -> None:
        """The card refused it."""
        self._pins.setdefault(card, set()).add(pin)

    def has(self, card: str, pin: str) -> bool:
        """Whether the card refused it."""
        return pin in self._pins.get(card, ())

    def clear(self, card: str) -> None:
        """The person says that the card's PIN may have been changed since."""
        self._pins.pop(card, None)


def with_pin(
    card: str,
    command: Callable[[str, bool], T],
    *,
    memory: PinMemory,
    refused: RefusedPins,
    ask: Callable[[str], str | None],
    confirm: Callable[[str], bool],
) -> T:
    """Run `command(pin, last_try)` with the PIN of the window, or one that is asked for until the card accepts it.

    `ask` gets a sentence on what was wrong before, or nothing, and answers None where the person leaves. `confirm` asks
    a question. Raises CanceledError, LockedPinError, and whatever else `command` raises. One PIN costs one try at most.
    """
    why = ""
    while True:
        pin = memory.get(card)
        if pin is None:
            pin = ask(why)
            if pin is None:
                raise CanceledError("Canceled.")
            if not is_pin(pin):
                why = f"A PIN has {_SHORTEST} to {_LONGEST} digits. Nothing was sent."
                continue
            if refused.has(card, pin):
                why = _REFUSED_TEXT
                continue
        try:
            result = _once(pin, command, confirm, partial(refused.add, card, pin))
        except WrongPinError as error:
            memory.forget(card)
            refused.add(card, pin)
            why = f"Wrong PIN. {tries(error.left)}".strip()
        except (LockedPinError, CanceledError) as error:
            if isinstance(error, LockedPinError):
                memory.forget(card)
            raise
        else:
            # Not every command needs the PIN: that this one worked does not make a refused PIN a right one.
            memory.keep(card, pin)
            return result


def _once(
    pin: str, command: Callable[[str, bool], T], confirm: Callable[[str], bool], was_refused: Callable[[], None]
) -> T:
    """With one PIN; the last try only where the person says so. A wrong last one is refused by blocking."""
    try:
        return command(pin, False)
    except LastTryError:
        if not confirm(LAST_TRY_QUESTION):
            raise CanceledError("Canceled. The PIN was not sent.") from None
    try:
        return command(pin, True)
    except LockedPinError:
        was_refused()
        raise
