"""`enumerate`: never an exception, never a question, at most one PIN a card.

Pollers call it all the time, mostly without a card: what a card needs is loaded only when there is one.
"""

from __future__ import annotations

Entry = dict[str, object]

ANSWER_LIMIT = 10.0
"""Seconds a card over TCP may take for one answer here: what polls has no patience."""


def list_entries(password: str | None = None, *, emulators: bool = False) -> list[Entry]:
    """All cards with a tree of keys, or meant for one. `password` as the caller of HWI gave it, for whatever device."""
    try:
        return _entries(password, emulators) if emulators or _card_in_a_reader() else []
    except Exception as error:  # noqa: BLE001 - HWI's contract: one that escapes ends the command for all devices
        import logging

        logging.getLogger(__name__).debug("enumerate: %s", error)
        return []


def _card_in_a_reader() -> bool:
    from cryptnox_core.errors import TransportError
    from cryptnox_core.pcsc import card_present, list_readers

    for reader in list_readers():
        try:
            if card_present(reader):
                return True
        except TransportError:  # it was unplugged a moment ago
            continue
    return False


def _entries(password: str | None, emulators: bool) -> list[Entry]:
    from hwilib_cryptnox.access import Access
    from hwilib_cryptnox.entries import Lister
    from hwilib_cryptnox.settings import Settings
    from hwilib_cryptnox.state import State
    from hwilib_cryptnox.unlock import Unlocker

    settings, state = Settings.load(), State()
    return Lister(Access(settings, state, emulators, ANSWER_LIMIT), Unlocker.load(settings, state, password)).entries()
