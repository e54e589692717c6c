"""The entries of `enumerate`, one a card. One without `error`: the next command can succeed without more input."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace

from cryptnox_core.card import Card
from cryptnox_core.errors import (
    CertificateError,
    CryptnoxError,
    PinLockedError,
    ProtocolError,
    ReaderBusyError,
    StatusWordError,
)
from hwilib_cryptnox import DEVICE_TYPE
from hwilib_cryptnox.errors import (
    BUSY_TEXT,
    NO_SEED_TEXT,
    NOT_INITIALIZED_TEXT,
    SOFT_LOCKED_TEXT,
    CardNotFoundError,
    NoPinError,
    RefusedPinError,
    TouchNeededError,
    UnreadableCardsError,
    WalletError,
)
from hwilib_cryptnox.hwi.errors import Code, to_hwi_error
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.signer.cards import CARD_PREFIX, EMULATOR_PREFIX, Access, OpenCard, may_be_ours
from hwilib_cryptnox.signer.faults.heard import settle, twice
from hwilib_cryptnox.signer.wallet import authenticate
from hwilib_cryptnox.storage.state import CardRecord, StateError

MODEL = "cryptnox_basic"
SIMULATOR_MODEL = f"{MODEL}_simulator"
PREFIX = "Could not open client or get fingerprint information:"
"""What HWI's drivers put before the errors of this command."""

Entry = dict[str, object]

OTHER_REFUSED_TEXT = "another card refused the PIN just now, so it was not sent to this one: try again"

_log = logging.getLogger(__name__)


def base_entry(path: str) -> Entry:
    """What every entry has."""
    return {
        "type": DEVICE_TYPE,
        "model": SIMULATOR_MODEL if path.startswith(EMULATOR_PREFIX) else MODEL,
        "label": None,
        "path": path,
        "needs_pin_sent": False,
        "needs_passphrase_sent": False,
    }


def _failed(entry: Entry, code: Code, text: str, *, passphrase: bool = False) -> Entry:
    return {**entry, "needs_passphrase_sent": passphrase, "error": text, "code": int(code)}


class Lister:
    """One run over the readers."""

    def __init__(
        self, access: Access, unlocker: Unlocker, *, unusable: WalletError | None = None, frontend: bool = False
    ) -> None:
        """`unusable`: why no card can be used; it becomes the error of each, and no PIN is sent. `frontend`: entries
        say which cards a key approves for."""
        self._access = access
        self._unlocker = unlocker
        self._unusable = unusable
        self._frontend = frontend
        self._state = access.state
        self._spent = False
        """A card refused the PIN in this run: it is not tried on further ones."""

    def entries(self) -> list[Entry]:
        """Known fingerprints first: on its way HWI's search opens the other cards with a PIN that is not theirs."""
        entries = []
        for reader, opened in self._access.scan(self._access.readers(), self._access.settings.enumerate_wait):
            try:
                entries.append(self._reader(reader, opened))
            except CryptnoxError as error:
                _log.debug("%s: %s", reader, error)
            except Exception as error:  # noqa: BLE001 - one card must not hide the others
                _log.warning("enumerate: %s: %s", reader, str(error) or type(error).__name__)
        return sorted((entry for entry in entries if entry is not None), key=lambda entry: "fingerprint" not in entry)

    def _reader(self, reader: str, opened: OpenCard | Exception) -> Entry | None:
        """The entry of a reader; None where it is empty or holds nothing of ours. One whose card cannot be asked is
        that of the card which is remembered there."""
        if isinstance(opened, ReaderBusyError):
            return self._remembered(reader, Code.BUSY, BUSY_TEXT)
        if isinstance(opened, OpenCard):
            try:
                return self._card(opened)
            except PinLockedError:
                pass
            finally:
                opened.close()
        elif not may_be_ours(opened):
            return None
        return self._remembered(reader, Code.NOT_READY, SOFT_LOCKED_TEXT)

    def _remembered(self, reader: str, code: Code, text: str) -> Entry | None:
        """The entry of a card that cannot be asked for its serial; None where nobody knows it."""
        if reader.startswith(EMULATOR_PREFIX):
            return _failed(base_entry(reader), code, text)
        try:
            serial = self._state.holder(reader)
            record = CardRecord() if serial is None else self._state.record(serial)
        except StateError:
            return None
        if serial is None:
            return None
        return _failed(_with_fingerprint(base_entry(f"{CARD_PREFIX}{serial}"), record.fingerprint), code, text)

    def _card(self, opened: OpenCard) -> Entry | None:
        card = opened.card
        settle(card)
        if card.info.is_nft:
            return None
        twice(card, card.read_certificate)
        try:
            self._access.admit(card)
        except UnreadableCardsError as error:  # it may be the very card that is meant: the list says what to do
            return _failed(base_entry(opened.path), *to_hwi_error(error))
        unlocker = self._unlocker.at(opened.reader)
        entry = base_entry(opened.path)
        if self._unusable is not None:
            return _failed(entry, *to_hwi_error(self._unusable))
        if not (card.info.initialized and card.info.seeded):
            self._forget_fingerprint(card)
            text = NO_SEED_TEXT if card.info.initialized else NOT_INITIALIZED_TEXT
            return _failed(entry, Code.NOT_INITIALIZED, text)
        try:
            record: CardRecord | None = self._state.record(card.serial)
        except StateError:
            record = None
        known = None if record is None or opened.simulated else record.fingerprint
        entry = _with_fingerprint(entry, known)
        if not card.info.pin_auth:
            return self._approved(opened, entry, unlocker)
        if not unlocker.has_source or (known is None and not unlocker.has_silent_source):
            return self._no_pin(entry, unlocker.no_pin())
        # A card with a known fingerprint is asked where its PIN may not be sent as it is.
        doubtful = record is not None and record.note is not None
        if self._unlocker.explicit is not None:
            doubtful = self._unlocker.was_refused(card.serial)
        return entry if known is not None and not doubtful else self._ask(opened, entry, known)

    def _approved(self, opened: OpenCard, entry: Entry, unlocker: Unlocker) -> Entry:
        """The entry of a card that a user key approves for. The key is never asked here; a front end has somebody who
        can touch it when a command needs it."""
        if self._frontend:
            entry = {**entry, "approved": True}
        try:
            unlocker.approving(opened.card)
            if "fingerprint" not in entry and not self._frontend:
                raise TouchNeededError
        except WalletError as error:
            return _failed(entry, *to_hwi_error(error))
        return entry

    def _ask(self, opened: OpenCard, entry: Entry, known: bytes | None) -> Entry:
        """Open the channel; verify a PIN where the fingerprint is not known, or see why none can be sent."""
        if known is None and self._spent:
            return self._no_pin(entry, NoPinError(OTHER_REFUSED_TEXT))
        try:
            twice(opened.card, lambda: self._access.open_channel(opened.card))
            opened.hold()
            if known is None:
                session = authenticate(opened, self._unlocker, polling=True)
                return _with_fingerprint(entry, session.fingerprint)
            self._unlocker.check(opened.card)
        except NoPinError as error:
            return self._no_pin(entry, error)
        except RefusedPinError as error:
            self._spent = self._spent or error.spent
            return _failed(entry, *to_hwi_error(error), passphrase=True)
        except (CardNotFoundError, CertificateError, PinLockedError):
            raise
        except WalletError as error:
            self._spent = self._spent or error.spent
            return _failed(entry, *to_hwi_error(error))
        except (StatusWordError, ProtocolError) as error:  # the card is there, and what it says has no place here
            return _failed(entry, *to_hwi_error(error))
        return entry

    @staticmethod
    def _no_pin(entry: Entry, error: NoPinError) -> Entry:
        return _failed(entry, Code.NOT_READY, f"{PREFIX} {error}", passphrase=True)

    def _forget_fingerprint(self, card: Card) -> None:
        """Of a card without seed, which it has said twice, where it has shown that it is the card of this serial:
        SELECT alone is anybody's word."""
        with contextlib.suppress(StateError, ProtocolError, StatusWordError):  # compared when the card has a seed again
            if self._state.record(card.serial).fingerprint is not None:
                twice(card, card.session_key)
                self._state.update(card.serial, lambda now: replace(now, fingerprint=None))


def _with_fingerprint(entry: Entry, fingerprint: bytes | None) -> Entry:
    return entry if fingerprint is None else {**entry, "fingerprint": fingerprint.hex()}
