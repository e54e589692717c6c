"""Which cards there are, and one of them opened: in PC/SC readers, or emulated and relayed ones at `tcp:HOST:PORT`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from cryptnox_core.arguments import number, octets, seconds
from cryptnox_core.card import Card, PairingKeys
from cryptnox_core.certificate import CardCertificate, TrustAnchors
from cryptnox_core.errors import (
    CryptnoxError,
    MalformedResponseError,
    NoCardError,
    NoReaderError,
    PinLockedError,
    StatusWordError,
    TransportError,
    UsageError,
)
from cryptnox_core.models import AppletInfo
from cryptnox_core.transport import Transport, leave
from cryptnox_core.wire import PAIRING_KEY_LENGTH

TCP = "tcp:"


@dataclass(frozen=True, slots=True)
class FoundCard:
    """One reader with a card of ours in it, or one that could not be asked."""

    reader: str
    """Its name, or `tcp:HOST:PORT`. Where the one asked for could not be opened: what was asked for, so a part of its
    name, or its number as text."""
    serial: int | None = None
    info: AppletInfo | None = None
    certificate: CardCertificate | None = None
    error: CryptnoxError | None = None
    """Why something is missing: ReaderBusyError, PinLockedError (power cycle wanted), CertificateError ..."""


def is_other_card(error: CryptnoxError) -> bool:
    """Whether a refused SELECT means that the card is none of ours."""
    if isinstance(error, MalformedResponseError):
        return True
    return isinstance(error, StatusWordError) and not isinstance(error, PinLockedError)


def list_cards(wait: float = 1.0, *, reader: str | int | None = None) -> list[FoundCard]:
    """Every Cryptnox card in a PC/SC reader, or in the one named.

    One SELECT decides; readers that are empty or hold another card are passed over, and those that are tokens
    themselves (a YubiKey) unless one is named. No PIN is sent.

    `wait`: seconds that a busy reader is waited for.
    `reader`: name, part of it, or number; or `tcp:HOST:PORT`.
    Raises: ServiceUnavailableError where no reader is named. What keeps a named one from being opened is in its entry:
    ServiceUnavailableError, NoReaderError ...
    """
    seconds(wait, "the time to wait")
    found = []
    for name in _places(reader):
        try:
            transport = _connect(name, wait)
        except NoCardError:
            continue
        except TransportError as error:
            found.append(FoundCard(str(name), error=error))
            continue
        with Card(transport) as card:
            entry = _look(card)
        if entry is not None:
            found.append(entry)
    return found


def _look(card: Card) -> FoundCard | None:
    reader = card.transport.name
    try:
        info = card.select()
    except CryptnoxError as error:
        if not is_other_card(error):
            return FoundCard(reader, error=error)
        leave(card.transport)
        return None
    try:
        certificate = card.read_certificate()
    except CryptnoxError as error:
        return FoundCard(reader, info=info, error=error)
    return FoundCard(reader, certificate.serial, info, certificate)


def open_card(
    card: int | str | None = None,
    *,
    reader: str | int | None = None,
    channel: bool = True,
    pairing_key: bytes | None = None,
    pairing_keys: PairingKeys | None = None,
    anchors: TrustAnchors | None = None,
    wait: float = 5.0,
) -> Card:
    """A card, ready for its PIN: selected, its certificate read and checked, the secure channel open.

    A card that is not initialized has no channel: it comes back selected, for `init`. Close it:
    `with open_card() as card:`.

    `card`: its serial number, or `tcp:HOST:PORT`; None: the first found.
    `reader`: only in this one: name, part of it, or number.
    `channel`: False: selected only.
    `pairing_key`: 32 bytes, see `Card.open_channel`.
    `pairing_keys`, `anchors`: see `Card`.
    `wait`: seconds that a busy reader is waited for.
    Raises: NoCardError when there is none. ServiceUnavailableError; NoReaderError.
    Where a card could not be asked whether it is the one, the reason: ReaderBusyError, PinLockedError (power cycle
    wanted), CertificateError ...
    What `Card.open_channel` raises.
    """
    if isinstance(card, str):
        if not card.startswith(TCP):
            raise UsageError(f"a card is named by its serial number or as tcp:HOST:PORT, not {card!r}")
        if reader is not None:
            raise UsageError("a card at tcp:HOST:PORT is not in a reader")
        card, reader = None, card
    elif card is not None:
        number(card, "a serial number")
    if pairing_key is not None:
        octets(pairing_key, "a pairing key", PAIRING_KEY_LENGTH)
    seconds(wait, "the time to wait")
    unread: CryptnoxError | None = None
    places = _places(reader)
    if not places:
        raise NoReaderError("there is no card reader")
    for name in places:
        try:
            opened = Card(_connect(name, wait), anchors=anchors, pairing_keys=pairing_keys)
        except TransportError as error:
            if reader is not None:
                raise
            if not isinstance(error, NoCardError):
                unread = unread or error
            continue
        with ExitStack() as unless_taken:
            unless_taken.callback(opened.close)
            try:
                if not _is_wanted(opened, card):
                    continue
            except CryptnoxError as error:  # it may be the wanted one, or stand beside it
                unread = unread or error
                continue
            if channel and opened.info.initialized:
                opened.open_channel(pairing_key)
            unless_taken.pop_all()
            return opened
    if unread is not None:
        raise unread
    raise NoCardError("no Cryptnox card found" if card is None else f"the card {card} is not in any reader")


def _is_wanted(card: Card, serial: int | None) -> bool:
    """Whether this is a card of ours, and the one of that serial number. Raises what keeps that from being known."""
    try:
        card.select()
    except CryptnoxError as error:
        if is_other_card(error):
            leave(card.transport)
            return False
        raise
    return serial in (None, card.read_certificate().serial)


def _places(reader: str | int | None) -> Sequence[str | int]:
    if reader is not None:
        if not isinstance(reader, str):
            number(reader, "a reader without a name")
        return [reader]
    from cryptnox_core.transport.pcsc import is_token, list_readers

    # A reader that calls itself an address would be dialed as one.
    return [name for name in list_readers() if not (is_token(name) or name.startswith(TCP))]


def _connect(reader: str | int, wait: float) -> Transport:
    if isinstance(reader, str) and reader.startswith(TCP):
        from cryptnox_core.transport.tcp import RemoteTransport, parse_address

        return RemoteTransport.connect(*parse_address(reader.removeprefix(TCP)), wait=wait)
    from cryptnox_core.transport.pcsc import PcscTransport

    return PcscTransport.open(reader, wait)
