"""`Card`: one card over a transport. Owns the transport and the channel, and drives the pure flows."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TypeVar

from cryptnox_core.admin import CardAdmin
from cryptnox_core.apdu import CommandApdu, ResponseApdu
from cryptnox_core.arguments import number, octets
from cryptnox_core.card_keys import CardKeys, without_first
from cryptnox_core.certificate import CardCertificate, Genuineness, TrustAnchors
from cryptnox_core.commands.auth import PinTriesLeft, VerifyPin
from cryptnox_core.commands.base import Command
from cryptnox_core.commands.setup import GetCardCertificate, GetCardPublicKey, Select, read_certificate
from cryptnox_core.commands.signing import Sign
from cryptnox_core.commands.user_keys import AuthorizeHashes
from cryptnox_core.errors import CertificateError, ChannelAbortedError, UsageError
from cryptnox_core.flow import Flow, drive
from cryptnox_core.models import AppletInfo
from cryptnox_core.pairing import PairingKeys
from cryptnox_core.secure_channel import ChannelState, SecureChannel
from cryptnox_core.transport import Transport
from cryptnox_core.wire import (
    CERTIFICATE_NONCE_LENGTH,
    COMMON_PAIRING_KEY,
    PAIRING_INDEX,
    PAIRING_INDEX_PUK,
    PAIRING_KEY_LENGTH,
    Sw,
)

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Card(CardKeys, CardAdmin):
    """One card. Nothing is sent before the first method is called.

    Errors: UsageError before anything is sent; TransportError and ProtocolError when the conversation broke (the
    channel has failed then, and only a new SELECT and a new channel help); StatusWordError when the card refused.
    Nothing is ever sent twice, PINs least of all; but for the READ DATA that shows which form of the MAC the card wants
    (see `run`). Keys and signatures: see `CardKeys`. Set-up, seeds, PIN and PUK, data
    and user keys: see `CardAdmin`.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        anchors: TrustAnchors | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
        pairing_keys: PairingKeys | None = None,
    ) -> None:
        """`pairing_keys` is asked for the card's own pairing key, and told when it changes."""
        if not callable(getattr(transport, "transmit", None)):
            raise UsageError("a card is reached by a transport; open_card finds one")
        if pairing_keys is not None and not callable(getattr(pairing_keys, "pairing_key", None)):
            raise UsageError("pairing_keys is an object with the methods of PairingKeys")
        self._transport = transport
        self._pairing_keys = pairing_keys
        self._anchors = TrustAnchors.builtin() if anchors is None else anchors
        if not isinstance(self._anchors, TrustAnchors):
            raise UsageError("anchors are TrustAnchors: TrustAnchors.from_pem reads them")
        self._random = random
        self._info: AppletInfo | None = None
        self._certificate: CardCertificate | None = None
        self._channel: SecureChannel | None = None
        self._certificate_readable = False
        self._opened_with: tuple[bytes | None, int] = (None, PAIRING_INDEX)
        self._only_read = False
        """Nothing but plain reads went through this channel: a new one is as good."""
        self._length_by_value = False
        self._length_known = False
        """An answer has shown that `_length_by_value` is what the card wants."""

    def __enter__(self) -> Card:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Reset and release the card, so that no verified PIN stays behind. Harmless when called again."""
        self._end_channel()
        self._transport.close()

    # What is known without asking

    @property
    def transport(self) -> Transport:
        """The connection this card is reached by."""
        return self._transport

    @property
    def info(self) -> AppletInfo:
        """What the latest SELECT said; UsageError before the first."""
        if self._info is None:
            raise UsageError("select the card first")
        return self._info

    @property
    def certificate(self) -> CardCertificate | None:
        """The manufacturer certificate, once read or recognised."""
        return self._certificate

    @property
    def serial(self) -> int:
        """The card's serial number; UsageError before the certificate is known."""
        return self._known_certificate().serial

    @property
    def genuineness(self) -> Genuineness:
        """What the trust anchors say about the certificate; UsageError before it is known."""
        return self._anchors.judge(self._known_certificate())

    @property
    def channel_open(self) -> bool:
        """Whether commands can go through the secure channel now."""
        return self._channel is not None and self._channel.state is ChannelState.OPEN

    def _known_certificate(self) -> CardCertificate:
        if self._certificate is None:
            raise UsageError("read the card's certificate first")
        return self._certificate

    # Conversation

    def _transmit(self, command: CommandApdu) -> ResponseApdu:
        """One APDU there and back. Logged with header, lengths and status word, never with content."""
        try:
            response = ResponseApdu.parse(self._transport.transmit(command.encode()))
        except BaseException:
            self._certificate_readable = False
            if self._channel is not None:
                self._channel.fail()
            raise
        _log.debug(
            "%s: %s + %d bytes -> %d bytes, %04X",
            self._transport.name,
            command.header.hex(),
            len(command.data),
            len(response.data),
            response.sw,
        )
        return response

    def _drive(self, flow: Flow[T]) -> T:
        return drive(flow, self._transmit)

    def _end_channel(self) -> None:
        if self._channel is not None:
            self._channel.fail()
            self._channel = None

    def _keep_pairing_key(self, key: bytes) -> None:
        """Tell the store that this is the card's pairing key now."""
        if self._pairing_keys is not None:
            self._pairing_keys.keep_pairing_key(self.serial, None if key == COMMON_PAIRING_KEY else key)

    def run(self, command: Command[T]) -> T:
        """Send one command, through the channel where it needs that, and return its decoded answer.

        Sources disagree about the MAC of an extended frame with little data. A card that answers such a frame with 6982
        may want the other form, which the next channel of this object takes. Where only plain reads went through this
        one, and this is another, that channel is opened here and the command sent once more; after a PIN or anything
        else it is the caller's to open.
        Raises: what the command's class says; ChannelAbortedError, BadMacError.
        """
        if not command.secure:
            return command.result(self._transmit(command.encode()), self._info)
        if not command.plain_read and not isinstance(command, Sign | PinTriesLeft):
            self._authorised = ()  # who authenticates otherwise ends it, and that can be almost any command
        result = self._run_in_channel(command)
        if isinstance(command, AuthorizeHashes) and result is True:
            self._authorised = command.digests
        elif isinstance(command, Sign):
            self._authorised = without_first(self._authorised, command.digest) if command.pin is None else ()
        return result

    def _run_in_channel(self, command: Command[T]) -> T:
        self._only_read = self._only_read and command.plain_read
        try:
            return self._exchange(command)
        except ChannelAbortedError as error:
            if not self._other_length(error):
                raise
            if not self._only_read:
                text = "the card broke off the secure channel, which the next one may avoid: open it anew and try again"
                raise ChannelAbortedError(text, error.sw) from error
        pairing_key, index = self._opened_with
        self.open_channel(pairing_key, index=index)
        try:
            return self._exchange(command)
        except ChannelAbortedError as error:
            self._other_length(error)  # neither: the first is tried again next time
            raise

    def _exchange(self, command: Command[T]) -> T:
        channel = self._channel
        if channel is None:
            raise UsageError("open the secure channel first")
        try:
            return self._drive(channel.exchange(command, self._info))
        finally:
            if channel.length_disputed and channel.state is ChannelState.OPEN:
                self._length_known = True

    def _other_length(self, error: ChannelAbortedError) -> bool:
        """Whether the card may have wanted the other form of the length; the next channel takes it then."""
        disputed = self._channel is not None and self._channel.length_disputed
        if self._length_known or not disputed or error.sw != Sw.SECURITY_STATUS:
            return False
        self._length_by_value = not self._length_by_value
        return True

    def select(self) -> AppletInfo:
        """Select the applet. Ends the channel and all authentication.

        Raises: NotFoundError, NotSupportedError or MalformedResponseError for another card; PinLockedError (power cycle
        wanted).
        """
        self._end_channel()
        self._certificate_readable = False
        command = Select()
        self._info = command.result(self._transmit(command.encode()))
        self._certificate_readable = True
        return self._info

    def read_certificate(self) -> CardCertificate:
        """The manufacturer certificate, read once. Selects the card where needed.

        Raises: CertificateError.
        """
        if self._certificate is None:
            if not self._certificate_readable:
                self.select()
            self._certificate = self._drive(read_certificate(self._info))
        return self._certificate

    def _ensure_selected(self) -> None:
        if self._info is None:
            self.select()

    def card_public_key(self) -> bytes:
        """GET CARD PUBKEY: the card's static P-256 key, 65 bytes. It proves nothing by itself."""
        self._ensure_selected()
        return self.run(GetCardPublicKey())

    def session_key(self, known: Sequence[CardCertificate] = ()) -> bytes:
        """The session's P-256 key (65 bytes), its signature checked: GET CARD CERTIFICATE.

        Selects the card and reads the manufacturer certificate where needed; the latter not when the signature verifies
        under one of the `known` ones.
        Raises: CertificateError.
        """
        if not self._certificate_readable:
            self.select()
        if self._certificate is None and not known:
            self.read_certificate()
        key = self._session_key_under(known if self._certificate is None else (self._certificate,))
        if key is None and self._certificate is None:
            # None of the remembered cards. Some cards give no certificate page after this command, so reading it
            # starts with a new SELECT.
            key = self._session_key_under((self.read_certificate(),))
        if key is None:
            self._certificate = None  # one that was disturbed on the way is no card's: it is read again
            raise CertificateError("the session key is not signed by the key of the card's certificate")
        return key

    def _session_key_under(self, candidates: Sequence[CardCertificate]) -> bytes | None:
        self._certificate_readable = False
        nonce = self._random(CERTIFICATE_NONCE_LENGTH)
        session = self.run(GetCardCertificate(nonce))
        session.check_nonce(nonce)
        for candidate in candidates:
            if session.signed_by(candidate):
                self._certificate = candidate
                return session.session_key
        return None

    def open_channel(
        self,
        pairing_key: bytes | None = None,
        *,
        index: int = PAIRING_INDEX,
        known: Sequence[CardCertificate] = (),
    ) -> None:
        """Open the secure channel: certificates, OPEN, MUTUALLY AUTHENTICATE. An open channel is given up.

        `pairing_key`: 32 bytes; None: the card's own where `pairing_keys` has one, else the common one. `index`: 0, or
        255 with `pairing_key_from_puk`. `known`: certificates the host remembers; reading it is saved when the card's
        is one of them. Selects the card where needed.
        Raises: CertificateError before any secret is used; PairingError for another pairing key; UnknownChannelError
        instead, from applet 2.0 on; NotInitializedError; PinLockedError (power cycle wanted).
        """
        if pairing_key is not None:
            pairing_key = octets(pairing_key, "a pairing key", PAIRING_KEY_LENGTH)
        if number(index, "the pairing key index") not in (PAIRING_INDEX, PAIRING_INDEX_PUK):
            raise UsageError("the pairing key index is 0 or 255")
        if not isinstance(known, Sequence) or not all(isinstance(each, CardCertificate) for each in known):
            raise UsageError("known certificates are a list of CardCertificate")
        session_key = self.session_key(known)
        if pairing_key is None:
            kept = None if self._pairing_keys is None else self._pairing_keys.pairing_key(self.serial)
            kept = COMMON_PAIRING_KEY if kept is None else kept
            pairing_key = octets(kept, "the pairing key that was kept", PAIRING_KEY_LENGTH)
        self._authorised = ()
        self._channel = SecureChannel(random=self._random, length_by_value=self._length_by_value)
        self._drive(self._channel.handshake(session_key, pairing_key, index=index, info=self._info))
        self._opened_with, self._only_read = (pairing_key, index), True

    # PIN

    def pin_tries_left(self) -> int:
        """How many PIN tries are left, at most. Spends none."""
        return self.run(PinTriesLeft())

    def verify_pin(self, pin: str) -> None:
        """Verify the PIN, which opens most commands until the channel ends. On some cards a signature ends it, too.

        Raises: WrongPinError with the tries left; PinLockedError; UsageError unless it is text of 4 to 9 digits.
        """
        self.run(VerifyPin(pin))
