"""Cards in PC/SC readers, by pyscard or pcsc-lite's own library. The only module that knows pyscard."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from cryptnox_core.arguments import number, seconds
from cryptnox_core.errors import (
    CardRemovedError,
    NoCardError,
    NoReaderError,
    ReaderBusyError,
    ServiceUnavailableError,
    SupportMissingError,
    TransportError,
)

T = TypeVar("T")

LIBRARIES = ("pyscard", "pcsclite")
_RETRY_INTERVAL = 0.1
_TRANSMIT_LIMIT = 60.0
"""Seconds for one command. The slowest, RSA key generation, takes some tens."""
_CLOSE_LIMIT = 2.0
_TOKENS = ("yubikey", "nitrokey", "gnuk", "fsij usb token", "solokeys")
"""Parts of the names of readers that are tokens themselves: no card goes in there."""


def _scard() -> Any:
    """The PC/SC functions: pyscard's where it is installed, else pcsc-lite's own, or those that CRYPTNOX_PCSC names.

    Loading them takes time that commands without a card should not spend.
    """
    named = os.environ.get("CRYPTNOX_PCSC", "")
    if named not in ("", *LIBRARIES):
        raise SupportMissingError(f"CRYPTNOX_PCSC names the PC/SC library: pyscard or pcsclite, not {named!r}")
    if named != "pcsclite":
        try:
            from smartcard import scard
        except ImportError as error:
            if named or sys.platform in ("darwin", "win32"):
                raise SupportMissingError(
                    "PC/SC support (pyscard) is not installed, or its library is missing"
                ) from error
        else:
            return scard
    from cryptnox_core.transport import pcsclite

    try:
        pcsclite.load()
    except (OSError, AttributeError) as error:
        raise SupportMissingError(
            f"PC/SC support ({pcsclite.LIBRARY}) is not installed: it comes with the service pcscd"
        ) from error
    return pcsclite


def library() -> str:
    """Which of `LIBRARIES` is in use. Raises: SupportMissingError."""
    from cryptnox_core.transport import pcsclite

    return "pcsclite" if _scard() is pcsclite else "pyscard"


def _within(limit: float, call: Callable[[], T], undo: Callable[[T], object], late: TransportError) -> T:
    """Make a call in a helper thread, with a time limit.

    pcsc-lite blocks inside the C call while another program holds a transaction, and nothing can interrupt it. When the
    call comes back after all, `undo` gets its result, so that an abandoned attempt never keeps the card.

    `limit`: seconds.
    Raises: `late` when they are over; what the call raises.
    """
    lock = threading.Lock()
    done = threading.Event()
    state: dict[str, Any] = {}

    def work() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            state["error"] = error
            done.set()
            return
        with lock:
            if not state.get("abandoned"):
                state["result"] = result
                done.set()
                return
        undo(result)

    threading.Thread(target=work, name="pcsc", daemon=True).start()
    try:
        ended = _wait(done, limit)
    except BaseException:  # Ctrl-C
        with lock:
            state["abandoned"] = True
        if "result" in state:
            undo(state["result"])
        raise
    if not ended:
        with lock:
            if not done.is_set():
                state["abandoned"] = True
                raise late
    if "error" in state:
        raise state["error"]
    result: T = state["result"]
    return result


def _wait(done: threading.Event, limit: float) -> bool:
    """Wait for so many seconds. On Windows a Ctrl-C is seen between two waits only."""
    end = time.monotonic() + limit
    while sys.platform == "win32" and not done.is_set() and time.monotonic() + _RETRY_INTERVAL < end:
        done.wait(_RETRY_INTERVAL)
    return done.wait(max(0.0, end - time.monotonic()))


def _nothing(_: object) -> None:
    """For calls that leave nothing to undo."""


def _failure(scard: Any, code: int, reader: str) -> TransportError:
    """The exception for a PC/SC return code other than success."""
    if code in (scard.SCARD_E_NO_SERVICE, scard.SCARD_E_SERVICE_STOPPED, scard.SCARD_E_COMM_DATA_LOST):
        return ServiceUnavailableError("the PC/SC service (pcscd) is not running")
    if code in (scard.SCARD_E_UNKNOWN_READER, scard.SCARD_E_READER_UNAVAILABLE, scard.SCARD_E_NO_READERS_AVAILABLE):
        return NoReaderError(f"there is no reader {reader}")
    if code in (scard.SCARD_E_NO_SMARTCARD, scard.SCARD_W_UNRESPONSIVE_CARD, scard.SCARD_W_UNSUPPORTED_CARD):
        return NoCardError(f"there is no card in {reader}, or it does not answer")
    if code == scard.SCARD_E_PROTO_MISMATCH:
        return NoCardError(f"the card in {reader} does not speak T=1: it is not a Cryptnox card")
    if code == scard.SCARD_E_SHARING_VIOLATION:
        return ReaderBusyError(f"another program is using the card in {reader}")
    if code in (scard.SCARD_W_REMOVED_CARD, scard.SCARD_W_RESET_CARD, scard.SCARD_W_UNPOWERED_CARD):
        return CardRemovedError(f"the card in {reader} was removed, or reset by another program")
    if code in (scard.SCARD_E_NOT_TRANSACTED, scard.SCARD_F_COMM_ERROR, scard.SCARD_E_INVALID_HANDLE):
        return CardRemovedError(f"the card in {reader} stopped answering")
    message = scard.SCardGetErrorMessage(code)
    return TransportError(f"{reader}: {message} (PC/SC error {code & 0xFFFFFFFF:08X})")


class _Context:
    """A PC/SC resource-manager context."""

    def __init__(self) -> None:
        self.scard = _scard()
        code, self.handle = self.scard.SCardEstablishContext(self.scard.SCARD_SCOPE_USER)
        if code != self.scard.SCARD_S_SUCCESS:
            raise ServiceUnavailableError("the PC/SC service (pcscd) is not running, or not open to this user")

    def release(self) -> None:
        self.scard.SCardReleaseContext(self.handle)

    def readers(self) -> list[str]:
        code, names = self.scard.SCardListReaders(self.handle, [])
        if code == self.scard.SCARD_E_NO_READERS_AVAILABLE:
            return []
        if code != self.scard.SCARD_S_SUCCESS:
            raise _failure(self.scard, code, "PC/SC")
        return list(names)


def list_readers() -> list[str]:
    """Names of the readers, in the service's order; empty where there are none. Raises ServiceUnavailableError."""
    context = _Context()
    try:
        return context.readers()
    finally:
        context.release()


def is_token(reader: str) -> bool:
    """Whether a reader is a token with its own chip (a YubiKey, for instance), as its name tells. It never holds a card
    of ours, and what another program has open there is not to be disturbed."""
    return any(part in reader.lower() for part in _TOKENS)


def find_reader(reader: str | int) -> str:
    """The full name of a reader.

    `reader`: its name, an unambiguous part of it, or its number from 0.
    Raises: NoReaderError; ServiceUnavailableError.
    """
    if not isinstance(reader, str):
        number(reader, "a reader without a name")
    readers = list_readers()
    if not isinstance(reader, str):
        if 0 <= reader < len(readers):
            return readers[reader]
        raise NoReaderError(f"there is no reader number {reader}; there are {len(readers)}")
    if reader in readers:
        return reader
    matching = [name for name in readers if reader.lower() in name.lower()]
    if len(matching) == 1:
        return matching[0]
    what = "several readers match" if matching else "there is no reader"
    raise NoReaderError(f"{what} {reader!r}; there are: {', '.join(readers) or 'none'}")


def card_present(reader: str) -> bool:
    """Whether a card is in the reader, without touching it.

    `reader`: its full name.
    Raises: NoReaderError; ServiceUnavailableError.
    """
    context = _Context()
    try:
        scard = context.scard
        code, states = scard.SCardGetStatusChange(context.handle, 0, [(reader, scard.SCARD_STATE_UNAWARE)])
        if code != scard.SCARD_S_SUCCESS:
            raise _failure(scard, code, reader)
        return bool(states[0][1] & scard.SCARD_STATE_PRESENT)
    finally:
        context.release()


def any_card(readers: Iterable[str]) -> bool:
    """Whether a card is in any of these readers. One that was unplugged a moment ago has none.

    `readers`: their full names.
    """
    for reader in readers:
        with contextlib.suppress(TransportError):
            if card_present(reader):
                return True
    return False


class _Connection:
    """One connection of one context to one card: exclusive, or shared inside one transaction."""

    def __init__(self, context: _Context, card: Any, *, transaction: bool) -> None:
        self.context = context
        self.card = card
        self.transaction = transaction

    def end(self) -> None:
        """Give everything back; the card is reset, so that no verified PIN stays behind."""
        scard = self.context.scard
        if self.transaction:
            scard.SCardEndTransaction(self.card, scard.SCARD_RESET_CARD)
            scard.SCardDisconnect(self.card, scard.SCARD_LEAVE_CARD)
        else:
            scard.SCardDisconnect(self.card, scard.SCARD_RESET_CARD)
        self.context.release()

    def abandon(self) -> None:
        """Give everything back unused: nothing was sent, or refused by a card that is none of ours, so the other
        programs' card is left as it is."""
        scard = self.context.scard
        if self.transaction:
            scard.SCardEndTransaction(self.card, scard.SCARD_LEAVE_CARD)
        scard.SCardDisconnect(self.card, scard.SCARD_LEAVE_CARD)
        self.context.release()


def _attempt(reader: str) -> _Connection:
    """One attempt to get the card: exclusive; where others share it, shared with a transaction. May block."""
    context = _Context()
    scard = context.scard
    try:
        mode, transaction = scard.SCARD_SHARE_EXCLUSIVE, False
        code, card, _ = scard.SCardConnect(context.handle, reader, mode, scard.SCARD_PROTOCOL_T1)
        if code == scard.SCARD_E_SHARING_VIOLATION:
            mode, transaction = scard.SCARD_SHARE_SHARED, True
            code, card, _ = scard.SCardConnect(context.handle, reader, mode, scard.SCARD_PROTOCOL_T1)
        if code != scard.SCARD_S_SUCCESS:
            raise _failure(scard, code, reader)
        if transaction:
            code = scard.SCardBeginTransaction(card)
            if code != scard.SCARD_S_SUCCESS:
                scard.SCardDisconnect(card, scard.SCARD_LEAVE_CARD)
                raise _failure(scard, code, reader)
    except BaseException:
        context.release()
        raise
    return _Connection(context, card, transaction=transaction)


class PcscTransport:
    """A card in a PC/SC reader, held alone from `open` to `close`."""

    def __init__(self, reader: str, connection: _Connection) -> None:
        self._reader = reader
        self._connection: _Connection | None = connection

    @classmethod
    def open(cls, reader: str | int, wait: float = 5.0) -> PcscTransport:
        """Take the card in a reader, waiting for other programs.

        `reader`: name, part of it, or number from 0.
        `wait`: seconds.
        Raises: ServiceUnavailableError; NoReaderError; NoCardError; ReaderBusyError.
        """
        seconds(wait, "the time to wait")
        name = find_reader(reader)
        busy = ReaderBusyError(f"another program is using the card in {name}")
        deadline = time.monotonic() + wait
        while True:
            # A moment is granted even without waiting: a free card answers the connect within it.
            limit = max(deadline - time.monotonic(), 0.5)
            try:
                return cls(name, _within(limit, lambda: _attempt(name), _Connection.abandon, busy))
            except (ReaderBusyError, CardRemovedError) as error:
                # CardRemovedError: the other program's reset came between connect and transaction.
                if error is busy or time.monotonic() + _RETRY_INTERVAL >= deadline:
                    raise busy from error
            time.sleep(_RETRY_INTERVAL)

    @property
    def name(self) -> str:
        """The reader's name."""
        return self._reader

    def transmit(self, apdu: bytes) -> bytes:
        """See `Transport.transmit`."""
        connection = self._connection
        if connection is None:
            raise CardRemovedError(f"the connection to the card in {self._reader} is closed")
        scard = connection.context.scard
        late = CardRemovedError(f"the card in {self._reader} does not answer")

        def call() -> tuple[int, list[int]]:
            code, data = scard.SCardTransmit(connection.card, scard.SCARD_PCI_T1, list(apdu))
            return code, data

        try:
            code, data = _within(_TRANSMIT_LIMIT, call, _nothing, late)
            if code != scard.SCARD_S_SUCCESS:
                raise _failure(scard, code, self._reader)
        except (NoCardError, NoReaderError) as error:
            self.close()
            raise CardRemovedError(str(error)) from error
        except BaseException:
            self.close()
            raise
        return bytes(byte & 0xFF for byte in data)

    def close(self) -> None:
        """See `Transport.close`."""
        self._give_back(_Connection.end)

    def leave(self) -> None:
        """See `cryptnox_core.transport.leave`."""
        self._give_back(_Connection.abandon)

    def _give_back(self, way: Callable[[_Connection], None]) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        late = TransportError("the card is released in the background")
        try:
            _within(_CLOSE_LIMIT, lambda: way(connection), _nothing, late)
        except TransportError as error:
            if error is not late:
                raise
