"""`enumerate`: never an exception, never a question, at most one PIN a card.

What keeps all cards out of the list is a warning of the log: on stderr, unless the caller set up logging otherwise.
Pollers call it all the time, mostly without a card: what a card needs is loaded only when there is one.
"""

from __future__ import annotations

from cryptnox_core.errors import ServiceUnavailableError, SupportMissingError

Entry = dict[str, object]

ANSWER_LIMIT = 10.0
"""Seconds a card over TCP may take for one answer here: what polls has no patience."""


def list_entries(password: str | None = None, *, emulators: bool = False, frontend: bool = False) -> list[Entry]:
    """All cards with a tree of keys, or meant for one. `password` as the caller of HWI gave it, for whatever device.
    `frontend`: with what HWI's entries have no word for."""
    try:
        return _entries(password, emulators, frontend) if _card_in_a_reader() or emulators else []
    except Exception as error:  # noqa: BLE001 - HWI's contract: one that escapes ends the command for all devices
        _tell(error)
        return []


def _tell(error: Exception) -> None:
    import logging

    logging.getLogger(__name__).warning("enumerate: %s", str(error) or type(error).__name__)


def _card_in_a_reader() -> bool:
    """False also where there is no PC/SC service: a computer without one has no card."""
    from cryptnox_core.transport.pcsc import any_card, is_token, list_readers

    try:
        return any_card(reader for reader in list_readers() if not is_token(reader))
    except SupportMissingError as error:
        _tell(error)
        return False
    except ServiceUnavailableError:
        return False


def _entries(password: str | None, emulators: bool, frontend: bool) -> list[Entry]:
    from hwilib_cryptnox.hwi.entries import Lister
    from hwilib_cryptnox.signer.host import Host
    from hwilib_cryptnox.storage.settings import Settings, SettingsError

    host = Host(emulators=emulators, answer_limit=ANSWER_LIMIT)
    try:
        host.access.anchors(simulated=False)
    except SettingsError as error:
        # Every other command ends with this error; so do the entries of the cards that can be named without settings.
        _tell(error)
        bare = Host(Settings())
        return Lister(bare.access, bare.unlocker(), unusable=error).entries()
    return Lister(host.access, host.unlocker(password), frontend=frontend).entries()
