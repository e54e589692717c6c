"""`Card`: one card over a transport and its secure channel, and everything that can be done with it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Protocol, TypeVar

from cryptnox_core import wire
from cryptnox_core.apdu import CommandApdu, ResponseApdu, drive
from cryptnox_core.arguments import member, number, octets, switch
from cryptnox_core.bip32 import MASTER, ExtendedPublicKey, Path, fingerprint
from cryptnox_core.certificate import CardCertificate, Genuineness, TrustAnchors
from cryptnox_core.commands import auth, data, keys, musig2, seeds, setup, signing, user_keys
from cryptnox_core.commands.base import Command
from cryptnox_core.crypto import p256, secp256k1
from cryptnox_core.crypto.hashes import sha256, tagged_hash
from cryptnox_core.crypto.musig2 import NOBODYS_KEY, KeyAggregate, Session, aggregate_nonces
from cryptnox_core.errors import (
    BadSignatureError,
    CertificateError,
    ChannelAbortedError,
    MalformedResponseError,
    NotAuthenticatedError,
    NotFoundError,
    UsageError,
)
from cryptnox_core.first_block import in_steps
from cryptnox_core.models import (
    AppletInfo,
    CardInfo,
    HistoryEntry,
    KeyPathSignature,
    Musig2Part,
    SignatureCheck,
    UserKeyInfo,
)
from cryptnox_core.secure_channel import ChannelState, SecureChannel
from cryptnox_core.transport import Transport
from cryptnox_core.wire import Curve, ExportKind, SignatureKind, Source, StatusFlag, Sw, UserKeyFlag, UserKeySlot

T = TypeVar("T")

USER_DATA_MAX = wire.USER_DATA_PAGE * wire.USER_DATA_PAGES
"""Bytes of user data that a card holds."""

_log = logging.getLogger(__name__)


class PairingKeys(Protocol):
    """Where the pairing keys of cards are kept, by serial number: an interface; the file is the program's.

    They are secrets: without its own pairing key only the PUK opens a card again.
    """

    def pairing_key(self, serial: int) -> bytes | None:
        """The card's own pairing key (32 bytes), or None where it has the common one."""
        ...

    def keep_pairing_key(self, serial: int, key: bytes | None) -> None:
        """Keep a card's own pairing key, or drop it with None."""
        ...


class Card:
    """One card. Nothing is sent before the first method is called. Nothing is sent twice but a reading that the card
    refused: see `send`, and `sign` without a public key.

    A path may be given as text wherever one is wanted: `card.public_key("m/84h/0h/0h/0/0")`. `derive` and `public_key`
    go one of more than three levels in steps, one command each (`first_block`); `sign` sends it whole. Secrets that
    could be taken for one another are given by name. A PIN is text of 4 to 9 digits, a PUK of 12 ASCII characters;
    `pin` is None only where a user key has authenticated.

    Unless a method says otherwise:
    Requires: the channel open; for keys, signatures and all that is stored the PIN verified; for keys and signatures a
    seed on the card.
    Raises: UsageError before anything is sent.
    TransportError and ProtocolError when the conversation broke: the channel has failed then, and only a new SELECT and
    a new channel help.
    StatusWordError when the card refused. NotAuthenticatedError where the PIN is wanted; NoSeedError, or
    NotAllowedError for another seed where there is one; WrongPinError; PinLockedError; WrongPukError for a wrong PUK,
    of which a power cycle allows 12 tries, without a limit in all. See the command's class in `commands`.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        anchors: TrustAnchors | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
        pairing_keys: PairingKeys | None = None,
        length_by_value: bool | None = None,
    ) -> None:
        """A card that is not asked anything yet.

        `anchors`: the CAs that make a card genuine; None: the vendor's.
        `random`: gives that many random bytes.
        `pairing_keys`: asked for the card's own pairing key, and told when it changes.
        `length_by_value`: which form of the MAC of an extended frame with little data is used (`SecureChannel`); None:
        found out.
        """
        if not callable(getattr(transport, "transmit", None)):
            raise UsageError("a card needs a transport; open_card finds one")
        if pairing_keys is not None and not callable(getattr(pairing_keys, "pairing_key", None)):
            raise UsageError("pairing_keys must have the methods of PairingKeys")
        self._transport = transport
        self._pairing_keys = pairing_keys
        self._anchors = TrustAnchors.builtin() if anchors is None else anchors
        if not isinstance(self._anchors, TrustAnchors):
            raise UsageError("anchors must be TrustAnchors; TrustAnchors.from_pem reads them")
        self._random = random
        self._info: AppletInfo | None = None
        self._certificate: CardCertificate | None = None
        self._channel: SecureChannel | None = None
        self._certificate_readable = False
        self._opened_with: tuple[bytes | None, int] = (None, wire.PAIRING_INDEX)
        self._only_read = False
        """Nothing but plain reads went through this channel: a new one is as good."""
        self._length_known = length_by_value is not None
        self._length_by_value = length_by_value is not None and switch(length_by_value, "the length by value")
        """The form that frames have now. `_length_known`: an answer has shown that the card wants it, or the caller."""
        self._authorized: list[bytes] = []
        """Digests that a user key has unlocked in this channel, and that are not signed yet. A SIGN without PIN that
        the card does not expect costs a PIN try."""

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
        """What the latest SELECT said, kept true by what was changed since. UsageError before the first SELECT."""
        if self._info is None:
            raise UsageError("select the card first")
        return self._info

    @property
    def certificate(self) -> CardCertificate | None:
        """The manufacturer certificate, once read or recognized."""
        return self._certificate

    @property
    def serial(self) -> int:
        """The card's serial number. UsageError before the certificate is known."""
        return self._known_certificate().serial

    @property
    def genuineness(self) -> Genuineness:
        """What the trust anchors say about the certificate. UsageError before it is known."""
        return self._anchors.judge(self._known_certificate())

    @property
    def channel_open(self) -> bool:
        """Whether commands can go through the secure channel now."""
        return self._channel is not None and self._channel.state is ChannelState.OPEN

    def opened_by(self, pairing_key: bytes) -> bool:
        """Whether the latest channel was opened with this pairing key."""
        return self._opened_with[0] == pairing_key

    def _known_certificate(self) -> CardCertificate:
        if self._certificate is None:
            raise UsageError("read the card's certificate first")
        return self._certificate

    # Keep `info` true after a command that the card accepted and that the next SELECT would show.

    def _note(self, flag: StatusFlag, on: bool) -> None:
        self._info = replace(self.info, flags=self.info.flags | flag if on else self.info.flags & ~flag)

    def _note_user_key(self, slot: UserKeySlot, there: bool) -> None:
        flag, held = UserKeyFlag[slot.name], self.info.user_keys
        self._info = replace(self.info, user_keys=held | flag if there else held & ~flag)

    # Select and recognize

    def select(self) -> AppletInfo:
        """Select the applet. Ends the channel and all authentication.

        Requires: nothing.
        Raises: NotFoundError, NotSupportedError or MalformedResponseError for another card; PinLockedError (power cycle
        wanted).
        """
        self._end_channel()
        self._certificate_readable = False
        command = setup.Select()
        self._info = command.result(self._transmit(command.encode()))
        self._certificate_readable = True
        return self._info

    def read_certificate(self) -> CardCertificate:
        """The manufacturer certificate, read once.

        Requires: nothing; selects the card where needed.
        Raises: CertificateError.
        """
        if self._certificate is None:
            if not self._certificate_readable:
                self.select()
            self._certificate = drive(setup.read_certificate(self._info), self._transmit)
        return self._certificate

    def _ensure_selected(self) -> None:
        if self._info is None:
            self.select()

    def card_public_key(self) -> bytes:
        """GET CARD PUBKEY: the card's static P-256 key, 65 bytes. It proves nothing by itself.

        Requires: nothing; selects the card where needed.
        """
        self._ensure_selected()
        return self.send(setup.GetCardPublicKey())

    def session_key(self, known: Sequence[CardCertificate] = ()) -> bytes:
        """The session's P-256 key (65 bytes), its signature checked: GET CARD CERTIFICATE.

        Selects the card and reads the manufacturer certificate where needed; the latter not when the signature verifies
        under one of the `known` ones.

        Requires: nothing.
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
        nonce = self._random(wire.CERTIFICATE_NONCE_LENGTH)
        session = self.send(setup.GetCardCertificate(nonce))
        session.check_nonce(nonce)
        for candidate in candidates:
            if session.signed_by(candidate):
                self._certificate = candidate
                return session.session_key
        return None

    # Channel

    def open_channel(
        self,
        pairing_key: bytes | None = None,
        *,
        index: int = wire.PAIRING_INDEX,
        known: Sequence[CardCertificate] = (),
    ) -> None:
        """Open the secure channel: certificates, OPEN, MUTUALLY AUTHENTICATE. An open channel is given up.

        `pairing_key`: 32 bytes; None: the card's own where `pairing_keys` has one, else the common one.
        `index`: 0, or 255 with `pairing_key_from_puk`.
        `known`: certificates the host remembers; reading it is saved when the card's is one of them.
        Requires: nothing; selects the card where needed.
        Raises: CertificateError before any secret is used; PairingError for another pairing key; UnknownChannelError
        instead, from applet 2.0 on; NotInitializedError; PinLockedError (power cycle wanted).
        """
        if pairing_key is not None:
            pairing_key = octets(pairing_key, "a pairing key", wire.PAIRING_KEY_LENGTH)
        if number(index, "the pairing key index") not in (wire.PAIRING_INDEX, wire.PAIRING_INDEX_PUK):
            raise UsageError("the pairing key index is 0 or 255")
        if not isinstance(known, Sequence) or not all(isinstance(each, CardCertificate) for each in known):
            raise UsageError("known certificates must be a list of CardCertificate")
        session_key = self.session_key(known)
        if pairing_key is None:
            kept = None if self._pairing_keys is None else self._pairing_keys.pairing_key(self.serial)
            kept = wire.COMMON_PAIRING_KEY if kept is None else kept
            pairing_key = octets(kept, "the pairing key that was kept", wire.PAIRING_KEY_LENGTH)
        self._authorized = []
        self._channel = SecureChannel(random=self._random, length_by_value=self._length_by_value)
        drive(self._channel.handshake(session_key, pairing_key, index=index, info=self._info), self._transmit)
        self._opened_with, self._only_read = (pairing_key, index), True

    def _end_channel(self) -> None:
        if self._channel is not None:
            self._channel.fail()
            self._channel = None

    def send(self, command: Command[T]) -> T:
        """Send one command, through the channel where it needs that, and return its decoded answer.

        Sources disagree about the MAC of an extended frame with little data. A card that answers such a frame with 6982
        may want the other form, which the next channel of this object takes. Where only plain reads went through this
        one, and this is another, that channel is opened here and the command sent once more; after a PIN or anything
        else it is the caller's to open.
        Requires: what the command's class says.
        Raises: what the command's class says; ChannelAbortedError, BadMacError.
        """
        if not command.secure:
            return command.result(self._transmit(command.encode()), self._info)
        if not command.plain_read and not isinstance(command, signing.Sign | auth.PinTriesLeft):
            self._authorized = []  # who authenticates otherwise ends it, and that can be almost any command
        result = self._send_in_channel(command)
        if isinstance(command, user_keys.AuthorizeHashes) and result is True:
            self._authorized = list(command.digests)
        elif isinstance(command, signing.Sign):
            if command.pin is not None:
                self._authorized = []
            elif command.digest in self._authorized:
                self._authorized.remove(command.digest)
        return result

    def _send_in_channel(self, command: Command[T]) -> T:
        self._only_read = self._only_read and command.plain_read
        try:
            return self._exchange(command)
        except ChannelAbortedError as error:
            if not self._other_length(error):
                raise
            if not self._only_read:
                text = "the card closed the secure channel, which the next one may avoid: open it again and retry"
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
            return drive(channel.exchange(command, self._info), self._transmit)
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

    # PIN, PUK and pairing key

    def pin_tries_left(self) -> int:
        """How many PIN tries are left, at most. Spends none."""
        return self.send(auth.PinTriesLeft())

    def verify_pin(self, pin: str) -> None:
        """Verify the PIN, which opens most commands until the channel ends. On some cards a signature ends it, too.

        Raises: WrongPinError with the tries left; PinLockedError.
        """
        self.send(auth.VerifyPin(pin))

    def change_pin(self, new_pin: str, *, puk: str | None = None) -> None:
        """Set another PIN. Requires the PIN verified, or the PUK given."""
        self.send(auth.ChangePin(new_pin, puk))

    def change_puk(self, *, new: str, current: str) -> None:
        """Set another PUK."""
        self.send(auth.ChangePuk(new, current))

    def unblock_pin(self, *, puk: str, new_pin: str) -> None:
        """Set another PIN where it is blocked for good, not merely locked until power-up: then NotAllowedError."""
        self.send(auth.UnblockPin(puk, new_pin))

    def set_pin_auth(self, enabled: bool, puk: str) -> None:
        """Switch PIN authentication. NotAllowedError where no user key exists."""
        self.send(auth.SetPinAuth(enabled, puk))
        self._note(StatusFlag.PIN_AUTH, enabled)

    def change_pairing_key(self, pairing_key: bytes, *, puk: str) -> None:
        """Give the card another pairing key, 32 bytes, from the next channel on.

        Who loses it needs the PUK: `open_channel(pairing_key_from_puk(puk), index=255)`.
        """
        self.send(setup.ChangePairingKey(pairing_key, puk))
        self._keep_pairing_key(pairing_key)

    def _keep_pairing_key(self, key: bytes) -> None:
        if self._pairing_keys is not None:
            self._pairing_keys.keep_pairing_key(self.serial, None if key == wire.COMMON_PAIRING_KEY else key)

    # Keys

    def derive(self, path: Path | str, *, source: Source = Source.MASTER, curve: Curve = Curve.K1) -> None:
        """Move the current key of a curve. Where the card refuses a later step, what the earlier ones made is current.

        `path`: 0 to 8 levels, relative to `source`; an empty one makes the master current.
        Raises: NotFoundError where the current key has no parent on the card.
        """
        path, source, curve = _checked(path), member(Source, source, "source"), _curve(curve)
        for step in in_steps(path):
            self.send(keys.DeriveKey(step, source, curve))
            source = Source.CURRENT

    def current_path(self, curve: Curve = Curve.K1) -> Path:
        """The path of the current key of a curve."""
        return self.send(keys.GetCurrentPath(_curve(curve)))

    def public_key(
        self,
        path: Path | str | None = None,
        *,
        source: Source = Source.MASTER,
        curve: Curve = Curve.K1,
        compressed: bool = True,
    ) -> bytes:
        """The current key, or the key at a path: 33 bytes, or 65 where not `compressed`.

        `path`: 1 to 8 levels from `source`. Up to 3 are derived on the fly, and the current key stays; with more, a key
        above the one asked for becomes current. The master key has no such path: `derive("m")` makes it current.
        Raises: NotFoundError where the current key has no parent on the card.
        """
        source, curve = member(Source, source, "source"), _curve(curve)
        at = None if path is None else _checked(path)
        if at is not None and at.depth:
            *above, at = in_steps(at)
            for step in above:
                self.send(keys.DeriveKey(step, source, curve))
                source = Source.CURRENT
        return _formed(self.send(keys.GetPublicKey(at, source, curve)), curve, compressed)

    def clear_public_key(self, *, curve: Curve = Curve.K1, compressed: bool = True) -> bytes:
        """The current key, read without channel and PIN: 33 bytes, or 65 where not `compressed`.

        Requires: clear reading switched on, or the current key under the pin-less path.
        Raises: NotAllowedError where neither holds; MalformedResponseError for a card that answers with the x
        coordinate alone, which leaves two keys open.
        """
        curve = _curve(curve)
        self._ensure_selected()
        return _formed(self.send(keys.GetClearPublicKey(curve)), curve, compressed)

    def read_extended_public_key(self) -> ExtendedPublicKey:
        """The extended key of the current k1 key. NotAllowedError where export is off or the depth is below 3."""
        return self.send(keys.GetExtendedPublicKey())

    def extended_public_key(self, path: Path | str) -> ExtendedPublicKey:
        """Derive from the master, 3 to 8 levels, then read the extended key. The current key moves.

        Raises: NotAllowedError where export is off; MalformedResponseError when the answer is not for this path.
        """
        at = Path.of(path)
        if not wire.XPUB_MIN_DEPTH <= at.depth <= wire.MAX_DEPTH:
            raise UsageError(
                f"the card gives extended keys of depth {wire.XPUB_MIN_DEPTH} to {wire.MAX_DEPTH}; {at} is not one"
            )
        self.derive(at)
        key = self.read_extended_public_key()
        if key.depth != at.depth or key.child_number != at.steps[-1]:
            raise MalformedResponseError(f"GET PUBKEY: the extended key is not that of {at}")
        return key

    def master_fingerprint(self) -> bytes:
        """The 4-byte fingerprint of the k1 master key. Leaves the master current."""
        self.derive(MASTER)
        return fingerprint(self.public_key())

    # Signing

    def sign(
        self,
        digest: bytes,
        pin: str | None,
        *,
        public_key: bytes | None = None,
        path: Path | str | None = None,
        source: Source = Source.MASTER,
        curve: Curve = Curve.K1,
        kind: SignatureKind = SignatureKind.ECDSA,
    ) -> bytes:
        """Sign 32 bytes with the current key, or with the key at `path` without moving the current one.

        On some cards the PIN is no longer verified afterwards.

        `pin`: the right PIN; or None for a digest that `authorize_digest` or `authorize_digests` has just unlocked: for
        any other the card would take the end of the path for a PIN, and count a try.
        `public_key`: 33 or 65 bytes. None: read from the card before it signs, one command more; where the card refuses
        that without the PIN, `pin` is verified, and the key read again. Without PIN the key has to be given.
        `path`: 1 to 8 levels from `source`, sent whole; None: the current key. Whoever changes the first block of SIGN
        or of that reading gets a signature that does not verify (`first_block`).
        Returns: strict DER with low S, or 64 bytes for Schnorr, verified against the public key.
        Requires: the channel open, a seed on the card.
        Raises: BadSignatureError when the signature does not verify.
        """
        digest, curve = octets(digest, "a digest", wire.DIGEST_LENGTH), _curve(curve)
        kind, source = member(SignatureKind, kind, "kind"), member(Source, source, "source")
        command = signing.Sign(digest, pin, None if path is None else Path.of(path), source, curve, kind)
        command.encode()  # a mistake is found before anything is sent
        if pin is None and digest not in self._authorized:
            raise UsageError(
                "signing needs the PIN, or a user key that authorized exactly this digest; nothing was sent"
            )
        if public_key is None:
            if pin is None:
                raise UsageError("while a user key's digest is pending, the card gives no key: name the public key")
            public_key = self._own_key(command, pin)
        else:
            public_key = _known_key(public_key, curve)
        return signing.verified_signature(self.send(command), digest, public_key, curve=curve, kind=kind)

    def _own_key(self, command: signing.Sign, pin: str) -> bytes:
        reading = keys.GetPublicKey(command.path, command.source, command.curve)
        try:
            return self.send(reading)
        except NotAuthenticatedError:
            self.send(auth.VerifyPin(pin))
            return self.send(reading)

    def sign_pinless(self, digest: bytes, *, public_key: bytes) -> bytes:
        """Sign 32 bytes with the key of the pin-less path, without channel and PIN.

        `public_key`: 33 or 65 bytes; the signature is verified against it.
        Returns: strict DER with low S.
        Requires: a pin-less path on the card; selects the card where needed.
        Raises: NotFoundError where no pin-less path is set; BadSignatureError.
        """
        digest, public_key = octets(digest, "a digest", wire.DIGEST_LENGTH), _known_key(public_key, Curve.K1)
        self._ensure_selected()
        return signing.verified_signature(self.send(signing.SignPinless(digest)), digest, public_key)

    def musig2_sign(
        self, keys: KeyAggregate, nonces: Sequence[bytes], message: bytes, *, public_key: bytes
    ) -> Musig2Part:
        """The card's part of a MuSig2 signature (BIP327) with its current k1 key, in one conversation.

        The nonces are new each time and sign once: any fault ends it, nothing is sent again, and another call starts
        with others. They die with the card's power, so the other signers' nonces have to be there.

        `keys`: the aggregate of all keys, tweaked; 32 keys at most.
        `nonces`: the public nonces of all other signers, 66 bytes each.
        `message`: 32 bytes.
        `public_key`: the card's current key, 33 bytes, one of those in `keys`.
        Returns: its public nonce, and its partial signature, verified.
        Raises: NotSupportedError where the applet has no MuSig2; BadSignatureError when the part does not verify, and
        it is not handed out; UsageError, also for nonces that cancel each other out.
        """
        message = octets(message, "a message", wire.DIGEST_LENGTH)
        public_key = octets(public_key, "a public key", secp256k1.COMPRESSED_LENGTH)
        if not isinstance(keys, KeyAggregate):
            raise UsageError(f"the keys must be a KeyAggregate, not {type(keys).__name__}")
        if not isinstance(nonces, Sequence) or isinstance(nonces, bytes | bytearray | memoryview | str):
            raise UsageError("the nonces must be a list")
        nonces = [octets(nonce, "a nonce") for nonce in nonces]
        if public_key not in keys.keys:
            raise UsageError("the card's key is not one of those that sign")
        if len(keys.keys) > wire.MUSIG2_MAX_KEYS:
            raise UsageError(f"the card takes at most {wire.MUSIG2_MAX_KEYS} keys")
        aggregate_nonces(nonces)  # a mistake is found before anything is sent
        own = self.send(musig2.GenerateNonce())
        session = Session(keys, aggregate_nonces([*nonces, own]), message)
        if session.lacks_a_nonce:
            raise UsageError("the nonces of all signers cancel each other out: start again with new ones")
        for key in keys.keys:
            self.send(musig2.LoadCosignerKey(key))
        # What the card cannot know of the tweaks stands in the first byte of the key.
        even = (keys.key[0] == 2) == (keys.sign == 1)
        command = musig2.SignPartially(session.nonces, bytes((2 if even else 3,)) + keys.xonly, message)
        partial = self.send(command)
        if not session.verify(partial, own, public_key):
            raise BadSignatureError("the card's part of the MuSig2 signature does not verify")
        return Musig2Part(own, partial)

    def sign_key_path(self, digest: bytes, *, public_key: bytes, merkle_root: bytes = b"") -> KeyPathSignature:
        """The signature of a taproot key path with the current k1 key as the internal key (BIP341; BIP86 without a
        merkle root), on applets whose MuSig2 is exactly BIP327.

        The list of keys is one that is nobody's, and the card's, whose coefficient as the second key is 1: its part for
        Q = lift_x(P) + tG, with e * t added, is a BIP340 signature of Q. No other signer has a part in it.

        `digest`: 32 bytes. `public_key`: the card's current key, 33 or 65 bytes. `merkle_root`: 32 bytes, or none.
        Returns: 64 bytes, verified for the output key, and the card's public nonce.
        Raises: as `musig2_sign`; BadSignatureError also from an applet that differs from BIP327.
        """
        digest, root = octets(digest, "a digest", wire.DIGEST_LENGTH), octets(merkle_root, "a merkle root", 0, 32)
        public_key = _formed(_known_key(public_key, Curve.K1), Curve.K1, compressed=True)
        alone = KeyAggregate((NOBODYS_KEY, public_key), public_key)
        tweaked = alone.tweaked(tagged_hash("TapTweak", public_key[1:] + root), xonly=True)
        part = self.musig2_sign(tweaked, (), digest, public_key=public_key)
        return KeyPathSignature(part.nonce, Session(tweaked, part.nonce, digest).signature([part.partial]))

    # Other uses of keys

    def sign_public(self, curve: Curve = Curve.K1) -> bytes:
        """The card's certificate of its current public key: a DER signature by its static key.

        It is over the key's 65 bytes, with SHA-256: `certificate.verify(card.public_key(compressed=False), signature)`.
        """
        return self.send(signing.SignPublic(member(Curve, curve, "curve")))

    def decryption_key(self, point: bytes, pin: str | None) -> bytes:
        """IV (16 bytes) and AES-128 key (16) shared with the owner of `point` (P-256, 65 bytes)."""
        return self.send(signing.Decrypt(point, pin))

    def decrypt(self, point: bytes, ciphertext: bytes, pin: str | None) -> bytes:
        """The plaintext of whole AES blocks (16 bytes each) encrypted under `decryption_key`."""
        return self.send(signing.Decrypt(point, pin, octets(ciphertext, "a ciphertext")))

    def signature_check(self, public_key: bytes | None = None, nonce: bytes | None = None) -> SignatureCheck:
        """NFT: have the card sign a nonce of 16 bytes, to show that it holds its key. Not counted as a signature.

        `public_key`: 33 or 65 bytes; with it the signature over SHA-256 of the message is verified.
        `nonce`: 16 bytes; None: fresh ones.
        Requires: the channel open.
        Raises: BadSignatureError.
        """
        key = None if public_key is None else _known_key(public_key, Curve.K1)
        check = self.send(signing.CheckSignature(self._random(wire.SIGNATURE_CHECK_NONCE) if nonce is None else nonce))
        if key is not None:
            signing.verified_signature(check.signature, sha256(check.message), key)
        return check

    # Administration: set up, look, erase

    def init(
        self,
        name: str,
        email: str,
        *,
        pin: str,
        puk: str,
        pairing_key: bytes = wire.COMMON_PAIRING_KEY,
        nft_nfc_sign: bool | None = None,
    ) -> AppletInfo:
        """Set up a card as it comes from the factory: INIT, then SELECT.

        The card's session signature is checked before anything secret is sent.

        `name`: up to 20 bytes of UTF-8; `email`: up to 60.
        `pairing_key`: 32 bytes.
        `nft_nfc_sign`: for NFT cards alone, there None means False.
        Requires: no channel; selects the card where needed.
        Raises: NotAllowedError where the card is initialized already; CertificateError.
        """
        parameters = setup.InitParameters(name, email, pin, puk, pairing_key, nft_nfc_sign)
        parameters.encode()
        session_key = self.session_key()
        if self.info.is_nft:
            parameters = setup.InitParameters(name, email, pin, puk, pairing_key, bool(nft_nfc_sign))
        elif nft_nfc_sign is not None:
            raise UsageError("signing over NFC can only be set for NFT cards")
        self.send(setup.Init.seal(parameters, session_key, self._random))
        self._keep_pairing_key(pairing_key)
        return self.select()

    def reset(self, puk: str) -> AppletInfo:
        """Erase everything: RESET, then SELECT. The channel has ended.

        Raises: NotAllowedError where reset is disabled (`info.reset_disabled` says so from applet 2.0 on).
        """
        self.send(setup.Reset(puk))
        self._keep_pairing_key(wire.COMMON_PAIRING_KEY)
        return self.select()

    def info_page(self) -> CardInfo:
        """Key source, name, e-mail, signature counter."""
        return self.send(data.ReadCardInfo())

    # Administration: seeds

    def load_seed(self, seed: bytes, pin: str | None) -> None:
        """Load a binary seed of 16 to 64 bytes (BIP39: the 64 bytes made from the words)."""
        self._load(seeds.LoadKey.seed(seed, pin))

    def load_key(
        self, private_key: bytes, pin: str | None, *, chain_code: bytes = b"", public_key: bytes = b""
    ) -> None:
        """Load a single key, or an extended one with its chain code (32 bytes each).

        `public_key`: 65 bytes, or none.
        """
        self._load(seeds.LoadKey.key_pair(private_key, pin, public_key=public_key, chain_code=chain_code))

    def generate_key(self, pin: str | None) -> bytes:
        """Make a seed on the card. Nobody can back this seed up.

        Returns: the 32-byte id of the master key, or nothing where the card does not tell it.
        """
        key_id = self.send(seeds.GenerateKey(pin))
        self._has_new_key()
        return key_id

    def dual_seed_start(self, pin: str | None) -> bytes:
        """First step of making one seed on two cards: this card's signed public key, for the other card."""
        return self.send(seeds.LoadKey(wire.LoadKeyType.DUAL_STEP_1, b"", pin))

    def dual_seed_finish(self, other: bytes, pin: str | None) -> None:
        """Second step, with what `dual_seed_start` returned on the other card. Do it on both."""
        self._load(seeds.LoadKey(wire.LoadKeyType.DUAL_STEP_2, other, pin))

    def generate_seed_wrap_key(self, bits: int = 2048) -> bytes:
        """Make an RSA key of `bits` to wrap a seed with, and return its public part as the card sends it.

        Raises: NotSupportedError where the applet has none.
        """
        return self.send(seeds.GenerateSeedWrapKey(bits))

    def load_wrapped_seed(self, wrapped: bytes, pin: str | None) -> None:
        """Load a seed encrypted to the key of `generate_seed_wrap_key`."""
        self._load(seeds.LoadKey(wire.LoadKeyType.WRAPPED_SEED, wrapped, pin))

    def _load(self, command: seeds.LoadKey) -> None:
        self.send(command)
        self._has_new_key()

    def _has_new_key(self) -> None:
        self._note(StatusFlag.SEEDED, True)
        self._note(StatusFlag.PINLESS_PATH, False)

    def random_bytes(self, size: int) -> bytes:
        """Random bytes of the card: 16 to 64, a multiple of 4."""
        return self.send(seeds.GenerateRandom(size))

    # Administration: switches

    def set_xpub_export(self, on: bool, puk: str) -> None:
        """Allow or forbid reading extended public keys. Requires a seed on the card."""
        self.send(keys.SetPubExport(ExportKind.XPUB, on, puk))
        self._note(StatusFlag.XPUB_EXPORT, on)

    def set_clear_public_key(self, on: bool, puk: str) -> None:
        """Allow or forbid reading the current public key without channel and PIN. Requires a seed on the card."""
        self.send(keys.SetPubExport(ExportKind.CLEAR_PUBLIC_KEY, on, puk))
        self._note(StatusFlag.CLEAR_PUBKEY, on)

    def set_pinless_path(self, path: Path | str | None, puk: str) -> None:
        """Set the path under m/43h/60h/1581h whose key signs without PIN, or clear it with None. Requires a seed."""
        self.send(keys.SetPinlessPath(None if path is None else Path.of(path), puk))
        self._note(StatusFlag.PINLESS_PATH, path is not None)

    # Administration: user data and history

    def read_user_data(self, slot: int = 0) -> bytes:
        """The user data, up to 3600 bytes, of all pages in use.

        `slot`: 0 to 3 on NFT cards; others have slot 0 alone.
        """
        nft_slot = self._data_slot(slot)
        content = b""
        for page in range(wire.USER_DATA_PAGES):
            piece = self._read_page(page, nft_slot)
            content += piece
            if len(piece) < wire.USER_DATA_PAGE:
                break
        return content

    def write_user_data(self, content: bytes, slot: int = 0) -> None:
        """Replace the user data of a slot by 1 to 3600 bytes. Only a reset makes it empty again."""
        nft_slot, content = self._data_slot(slot), octets(content, "user data")
        if not 1 <= len(content) <= USER_DATA_MAX:
            raise UsageError(f"the card takes 1 to {USER_DATA_MAX} bytes of user data, not {len(content)}")
        if nft_slot == 0 and len(content) == wire.CUSTOM_BYTES:
            raise UsageError(f"an NFT card may take {wire.CUSTOM_BYTES} bytes in slot 0 for its custom bytes: add one")
        size = wire.USER_DATA_PAGE
        used = -(-len(content) // size)
        for page in range(used):
            self.send(data.WriteUserData(page, content[page * size : (page + 1) * size], nft_slot))
        # What was longer before would be read as a continuation of a full page, and of none other.
        if len(content) == used * size and used < wire.USER_DATA_PAGES and self._read_page(used, nft_slot):
            self.send(data.WriteUserData(used, b"", nft_slot))

    def _data_slot(self, slot: int) -> int | None:
        """The slot on an NFT card; None on others."""
        number(slot, "a slot")
        if self.info.is_nft:
            if not 0 <= slot < wire.NFT_DATA_SLOTS:
                raise UsageError(f"an NFT card has {wire.NFT_DATA_SLOTS} slots of user data, from 0")
            return slot
        if slot:
            raise UsageError("only NFT cards have more than slot 0 of user data")
        return None

    def _read_page(self, page: int, nft_slot: int | None) -> bytes:
        try:
            return self.send(data.ReadUserData(page, nft_slot))
        except NotFoundError:
            return b""

    def write_custom_bytes(self, content: bytes) -> None:
        """Write the 16 public bytes that every SELECT shows.

        Raises: UsageError on NFT cards, whose user data is written with the same command.
        """
        if self.info.is_nft:
            raise UsageError("an NFT card stores what is written to the custom bytes as user data; nothing was sent")
        self.send(data.WriteCustomBytes(content))
        self._info = replace(self.info, custom=bytes(content))

    def history(self, limit: int = wire.HISTORY_LENGTH) -> list[HistoryEntry]:
        """The latest signatures, newest first. One APDU an entry.

        `limit`: how many at most; the card keeps 149.
        """
        if number(limit, "the number of entries") < 1:
            raise UsageError("history takes how many of the latest signatures you want; history(1) is the newest one")
        entries = []
        for slot in range(min(limit, wire.HISTORY_LENGTH)):
            try:
                entry = self.send(data.GetHistory(slot))
            except NotFoundError:
                break
            if entry is None:
                break
            entries.append(entry)
        return entries

    # Administration: user keys

    def add_user_key(
        self, slot: UserKeySlot, text: str, public_key: bytes, puk: str, *, credential_id: bytes = b""
    ) -> None:
        """Store a user key under a text of its owner's.

        `text`: up to 64 bytes of UTF-8.
        `public_key`: P-256 point, 65 bytes; slot RSA: modulus, 256 bytes.
        `credential_id`: 1 to 64 bytes, for FIDO.
        Requires: the PIN verified first: some cards want it.
        Raises: NotAllowedError where the slot is taken.
        """
        slot = self._key_slot(slot)
        self.send(user_keys.AddUserKey(slot, text, public_key, puk, credential_id))
        self._note_user_key(slot, True)

    def delete_user_key(self, slot: UserKeySlot, puk: str) -> None:
        """Remove a user key. NotFoundError where the slot is empty."""
        slot = self._key_slot(slot)
        self.send(user_keys.DeleteUserKey(slot, puk))
        self._note_user_key(slot, False)

    def user_key(self, slot: UserKeySlot) -> UserKeyInfo:
        """Text and key of a slot. NotFoundError where it is empty."""
        return self.send(user_keys.ReadUserKey(self._key_slot(slot)))

    def user_key_challenge(self) -> bytes:
        """32 random bytes for a user key to sign (see `message_to_sign`)."""
        return self.send(user_keys.UserKeyChallenge())

    def user_key_respond(self, slot: UserKeySlot, signature: bytes) -> bool:
        """Hand in the signature over the challenge. True: authenticated as by the PIN, but for SIGN.

        `signature`: see `message_to_sign`; a FIDO key's with the assertion's counter (4 bytes) in front.
        Requires: `user_key_challenge` before, once for each answer.
        """
        return self.send(user_keys.UserKeyResponse(self._key_slot(slot), signature))

    def authorize_digest(self, slot: UserKeySlot, digest: bytes, signature: bytes) -> bool:
        """Unlock SIGN (with `pin` None) for 32 bytes by a user key's signature over them. False: refused.

        `signature`: as in `user_key_respond`.
        """
        return self.send(user_keys.AuthorizeHashes(self._key_slot(slot), (digest,), signature))

    def authorize_digests(self, slot: UserKeySlot, digests: Sequence[bytes], signature: bytes) -> bool:
        """The same for up to 4 digests (FIDO 3) under one signature over all of them, to be signed in this order."""
        if not isinstance(digests, Sequence) or isinstance(digests, bytes | bytearray | memoryview | str):
            raise UsageError("several digests must be a list")
        return self.send(user_keys.AuthorizeHashes(self._key_slot(slot), tuple(digests), signature, as_list=True))

    def fido_credential_id(self) -> bytes:
        """The credential id of the FIDO slot. NotFoundError where it is empty."""
        return self.send(user_keys.FidoCredentialId())

    def _key_slot(self, slot: UserKeySlot) -> UserKeySlot:
        slot = member(UserKeySlot, slot, "slot")
        if slot not in self.info.user_key_slots:
            raise UsageError(f"there is no user-key slot {slot.value} before applet 2.0")
        return slot


def _checked(path: Path | str) -> Path:
    path = Path.of(path)
    if path.depth > wire.MAX_DEPTH:
        raise UsageError(f"the card derives at most {wire.MAX_DEPTH} levels; {path} has {path.depth}")
    return path


def _curve(curve: Curve) -> Curve:
    return member(Curve, curve, "curve")


def _known_key(public_key: bytes, curve: Curve) -> bytes:
    """A key that a caller gave, 33 or 65 bytes."""
    key = octets(public_key, "a public key", secp256k1.COMPRESSED_LENGTH, secp256k1.UNCOMPRESSED_LENGTH)
    if not (secp256k1.is_public_key(key) if curve is Curve.K1 else p256.is_point(key)):
        raise UsageError("to verify a signature, its public key is needed, 33 or 65 bytes")
    return key


def _formed(key: bytes, curve: Curve, compressed: bool) -> bytes:
    if curve is Curve.K1:
        return secp256k1.compress(key) if compressed else secp256k1.decompress(key)
    return p256.compress(key) if compressed else p256.decompress(key)
