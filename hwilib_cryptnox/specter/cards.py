"""The cards as Specter sees them. Knows no Specter: lists, one card's PIN, and errors in words for a web page.

Specter asks every driver with a passphrase that was typed for one device, and says nothing of which. Here a PIN reaches
one card: the one it was typed for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import hwilib_cryptnox
from cryptnox_core.errors import CardRemovedError, NoCardError, NoReaderError
from hwilib_cryptnox.errors import (
    CardNotFoundError,
    ExportOffError,
    LastTryError,
    NoPinError,
    RefusedPinError,
    RetoldError,
)

Entry = dict[str, Any]

_INSERT = "insert it and try again"
_GONE_TEXT = f"The card does not answer: {_INSERT}"
_LAST_TRY_TEXT = (
    "One PIN try is left; nothing was sent. If you are sure of the PIN, use cryptnoxctl pin verify in a terminal; "
    "if not, set a new one with the PUK (cryptnoxctl pin change --with-puk)"
)


def listed() -> list[Entry]:
    """The cards, as HWI lists them; no PIN is sent, unless one is set up for this computer.

    Specter has no `--emulators` option: an emulated card is listed where the environment names one.
    """
    entries: list[Entry] = hwilib_cryptnox.enumerate(allow_emulators=bool(os.environ.get("CRYPTNOX_EMULATOR")))
    return entries


def listed_with(passphrase: str, before: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """The cards, and what was typed for one device of the list `before`: it is sent to a card only where that list
    has no other device. Raises what `unlocked` raises: Specter shows no error of an entry."""
    entries = listed()
    if len(entries) != 1 or [entry["path"] for entry in before] != [entries[0]["path"]]:
        return entries
    return [unlocked(entries[0], passphrase)]


def unlocked(entry: Mapping[str, Any], pin: str) -> Entry:
    """A card's entry once its PIN was typed: with the fingerprint, for which an unknown card is given the PIN. A known
    one is given it when it signs. Raises hwilib's errors, in words for a page."""
    fingerprint = entry.get("fingerprint")
    if fingerprint is None:
        client = Client(entry["path"], pin)
        try:
            fingerprint = client.identify()
        finally:
            client.close()
    ready = {name: value for name, value in entry.items() if name not in ("error", "code")}
    return {**ready, "fingerprint": fingerprint, "needs_passphrase_sent": False}


def not_listed() -> CardNotFoundError:
    """The refusal of a path that is in no list."""
    return _GoneError(_GONE_TEXT)


class _GoneError(CardNotFoundError):
    """Its text says already what to do."""


class Client(hwilib_cryptnox.CryptnoxClient):
    """The driver, as a person at a web page is told of it."""

    def identify(self) -> str:
        """The fingerprint of the master key, 8 hexadecimal digits; also of a card that gives no keys out."""
        return super().get_master_fingerprint().hex()

    def get_master_fingerprint(self) -> bytes:
        """The fingerprint of the master key, 4 bytes. Specter asks for it before it reads keys, whose own errors it
        does not show: a card that gives no keys out says so here."""
        fingerprint = super().get_master_fingerprint()
        if not self._open().session().card.info.xpub_export:
            raise ExportOffError
        return fingerprint

    def retold(self, error: BaseException) -> BaseException:
        """The error without a word on options and variables of command lines."""
        return for_page(error)


def for_page(error: BaseException) -> BaseException:
    """An error in words for a person at a web page; the same one where its own will do."""
    text = None
    if isinstance(error, NoPinError):
        text = f"PIN needed: type the card's PIN, 4 to 9 digits{f' ({error.why})' if error.why else ''}"
    elif isinstance(error, LastTryError):
        text = _LAST_TRY_TEXT
    elif isinstance(error, RefusedPinError) and error.reason is not None:
        text = f"{error.reason}; type the right one"
    elif isinstance(error, CardRemovedError | NoCardError | NoReaderError):
        text = _GONE_TEXT
    elif type(error) is CardNotFoundError:
        text = f"{error}; {_INSERT}"
    return error if text is None else RetoldError(error, text)
