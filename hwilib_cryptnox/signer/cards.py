"""Finding and opening cards: by serial over all PC/SC readers, or the emulated card at its address; and what holds of
one whose PIN is verified.

Paths as HWI sees them: `cryptnox:SERIAL` (decimal) and `tcp:HOST:PORT`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from cryptnox_core.bip32 import MASTER
from cryptnox_core.card import Card
from cryptnox_core.certificate import CardCertificate, TrustAnchor, TrustAnchors
from cryptnox_core.derivation import Position
from cryptnox_core.discovery import is_other_card
from cryptnox_core.errors import (
    CardRemovedError,
    CertificateError,
    CryptnoxError,
    MalformedResponseError,
    NoReaderError,
    PairingError,
    PinLockedError,
    ProtocolError,
    ReaderBusyError,
    ServiceUnavailableError,
    StatusWordError,
    SupportMissingError,
    TransportError,
    UnknownChannelError,
)
from cryptnox_core.models import AppletInfo
from cryptnox_core.transport import Transport, leave
from cryptnox_core.wire import COMMON_PAIRING_KEY, KeySource
from hwilib_cryptnox.errors import (
    NO_SEED_TEXT,
    NOT_INITIALIZED_TEXT,
    SINGLE_KEY_TEXT,
    BadRequestError,
    CardNotFoundError,
    FailedError,
    NoWalletError,
    UnavailableError,
    WalletError,
)
from hwilib_cryptnox.signer.faults.heard import settle, twice
from hwilib_cryptnox.storage.settings import EMULATOR_PREFIX as EMULATOR_PREFIX
from hwilib_cryptnox.storage.settings import Settings, SettingsError, check_genuine, read_anchors
from hwilib_cryptnox.storage.state import State, StateError
from hwilib_cryptnox.storage.vouching import check_identity, is_known, remember_wallet

CARD_PREFIX = "cryptnox:"
_SERIAL_DIGITS = 49
"""Digits of 20 bytes, the most a certificate's serial number has."""
ANSWER_LIMIT = 60.0
"""Seconds the emulated card may take for one answer."""
EMULATOR_CA = TrustAnchor(
    "Cryptnox emulator CA",
    bytes.fromhex(
        "04"
        "9e7a5b6e85fff156dc76801c7403e5bccc857655df396a0f75a51a44e7cb6900"
        "70230a18509377c9e57944a23468db1eea5d58b3c3a210aee687b661ba5e4acc"
    ),
)
"""The CA of emulated cards. Anybody can sign with it: over TCP it tells an emulated card, in a reader it is nobody's
anchor, and nowhere does it make a card genuine to a person."""

_wanted: set[str] = set()
"""Emulated cards that `--emulators` had this process list, or that it connected to: not only at loopback hosts."""


def serial_of(path: str) -> int | None:
    """The serial number in a path `cryptnox:SERIAL`; None for any other text."""
    digits = path.removeprefix(CARD_PREFIX)
    known = digits.isascii() and digits.isdecimal() and len(digits) <= _SERIAL_DIGITS
    if not path.startswith(CARD_PREFIX) or not known:
        return None
    return int(digits)


class ForeignCardError(CardNotFoundError):
    """What is in the reader is not a card of ours."""

    def __init__(self, reader: str) -> None:
        super().__init__(f"{reader}: no Cryptnox card")


@dataclass(slots=True)
class OpenCard:
    """A selected card, this process's until `close`."""

    card: Card
    reader: str
    """The reader's name, or `tcp:HOST:PORT`."""
    state: State
    _held: bool = False

    @property
    def simulated(self) -> bool:
        """An emulated card over TCP."""
        return self.reader.startswith(EMULATOR_PREFIX)

    @property
    def path(self) -> str:
        """The path HWI is told. The certificate must have been read."""
        return self.reader if self.simulated else f"{CARD_PREFIX}{self.card.serial}"

    def hold(self) -> None:
        """Let pollers know whose reader this is."""
        with contextlib.suppress(StateError):  # a poller then leaves the card out while it is busy
            self.state.hold(self.reader, self.card.serial)
            self._held = True

    def close(self) -> None:
        """Reset and release the card. Harmless when called again."""
        self.card.close()
        if self._held:
            self._held = False
            with contextlib.suppress(StateError):
                self.state.release(self.reader)


@dataclass(frozen=True, slots=True)
class Access:
    """Opens cards for one command. `emulators`: HWI's `--emulators`; `answer_limit`: seconds, for cards over TCP."""

    settings: Settings
    state: State
    emulators: bool = False
    answer_limit: float = ANSWER_LIMIT

    def readers(self) -> list[str]:
        """Names of all PC/SC readers, and the emulated card's address where it is wanted. Empty without a service;
        SupportMissingError where that is this installation's fault and no emulated card is wanted."""
        names: list[str] = []
        try:
            names = [name for name in _pcsc_readers() if name]
        except SupportMissingError:
            if not self.emulators:
                raise
        if self.emulators:
            names.append(self.settings.emulator_path)
            _wanted.add(names[-1])
        return names

    def connect(self, reader: str, wait: float) -> OpenCard:
        """The selected card in a reader. ForeignCardError for another card, or a reader that is not to be touched;
        TransportError, ReaderBusyError, PinLockedError where it wants a power cycle, SettingsError."""
        transport: Transport
        if reader.startswith(EMULATOR_PREFIX):
            from cryptnox_core.transport.tcp import RemoteTransport, parse_address

            address = parse_address(reader.removeprefix(EMULATOR_PREFIX))
            anchors = self.anchors(simulated=True)
            transport = RemoteTransport.connect(*address, self.answer_limit, wait=wait)
            _wanted.add(reader)
        else:
            from cryptnox_core.transport.pcsc import PcscTransport, is_token

            if is_token(reader) or self.settings.leaves(reader):
                raise ForeignCardError(reader)
            anchors = self.anchors(simulated=False)
            transport = PcscTransport.open(reader, wait)
        card = Card(transport, anchors=anchors)
        try:
            try:
                card.select()
            except (StatusWordError, MalformedResponseError):  # in the clear: one of them may be noise
                card.select()
        except CryptnoxError as error:
            if not is_other_card(error):
                card.close()
                raise
            leave(transport)
            raise ForeignCardError(reader) from error
        except BaseException:
            card.close()
            raise
        return OpenCard(card, reader, self.state)

    def scan(self, readers: Iterable[str], wait: float) -> Iterator[tuple[str, OpenCard | Exception]]:
        """Reader by reader the card in it, selected, or what `connect` raised. The caller closes each card, and says
        which one is meant and which error wins; `may_be_ours` tells the errors apart."""
        for reader in readers:
            opened: OpenCard | Exception
            try:
                opened = self.connect(reader, wait)
            except Exception as error:  # noqa: BLE001 - one reader must not hide the others
                opened = error
            yield reader, opened

    def anchors(self, *, simulated: bool) -> TrustAnchors:
        """The emulator's own CA counts only over TCP: its key is public. SettingsError, also where it is configured."""
        anchors = TrustAnchors((EMULATOR_CA,)) if simulated else TrustAnchors.builtin()
        for name in self.settings.anchors:
            more = read_anchors(name)
            if any(anchor.public_key == EMULATOR_CA.public_key for anchor in more.anchors):
                raise SettingsError(f"anchors: {name}: the CA of emulated cards proves nothing; its key is public")
            anchors = anchors + more
        return anchors

    def open(self, path: str) -> OpenCard:
        """The card of a path, identified. WalletError where there is none, and what `identify` raises."""
        if not path.startswith(EMULATOR_PREFIX):
            if (serial := serial_of(path)) is None:
                shown = repr(path) if ":" in path else "this"  # a PIN, PUK, key or words may be there by mistake
                raise BadRequestError(f"{shown} is not the path of a Cryptnox card: cryptnox:SERIAL")
            return self._open_serial(serial)
        from cryptnox_core.transport.tcp import is_loopback, parse_address

        host, _ = parse_address(path.removeprefix(EMULATOR_PREFIX))
        if not (self.emulators or path in _wanted or is_loopback(host)):
            raise BadRequestError(f"{path}: a card at another host is opened only with --emulators")
        opened = self.connect(path, self.settings.wait)
        with _closing_on_error(opened):
            self.identify(opened)
        return opened

    def _open_serial(self, serial: int) -> OpenCard:
        """The reader where it was last comes first. Another card's troubles are none of this one's; what kept a card
        from being asked is raised where none is the one: a busy or locked one before others, the last of them."""
        names, seen = _pcsc_readers(required=True), list[Exception]()
        with contextlib.suppress(StateError):
            last = self.state.record(serial).reader
            names.sort(key=lambda name: name != last)
        for _, opened in self.scan(names, self.settings.wait):
            if not isinstance(opened, OpenCard):
                seen.insert(0 if may_be_ours(opened) else len(seen), opened)
                continue
            with _closing_on_error(opened):
                try:
                    self.identify(opened, serial)
                except (CryptnoxError, WalletError) as error:
                    certificate = opened.card.certificate
                    if certificate is not None and certificate.serial == serial:
                        raise
                    seen.append(error)
                else:
                    if opened.card.serial == serial:
                        return opened
            opened.close()
        for reason in seen:
            if isinstance(reason, ReaderBusyError | PinLockedError | CertificateError | CardRemovedError):
                raise reason
        raise CardNotFoundError(f"the card {serial} is not in any reader")

    def identify(self, opened: OpenCard, serial: int | None = None) -> None:
        """Learn the card's serial, with the secure channel open where the card is initialised (a card met before then
        proves who it is without its certificate being read), and refuse an impostor.

        `serial` is the one expected. What comes in the clear, certificates and the refusal of a pairing key among it,
        is asked for a second time before it is believed. Raises CertificateError, PairingError, UnknownChannelError,
        TransportError, and WalletError, also for a card that the configuration does not admit.
        """
        card = opened.card

        def meet() -> None:
            settle(card)
            if card.info.initialized:
                self.open_channel(card, known=self._remembered_certificates(serial))
            else:
                card.read_certificate()

        twice(card, meet)
        self.admit(card)
        opened.hold()

    def admit(self, card: Card) -> None:
        """Before a secret is asked for or sent: what `check_identity` and `check_genuine` raise. The certificate must
        have been read; that the card holds its key is proved when the channel is opened."""
        check_identity(card, self.state)
        check_genuine(card, self.settings)

    def open_channel(self, card: Card, known: tuple[CardCertificate, ...] = ()) -> None:
        """Open it with the owner's own pairing key where this computer has one for the card, else with the common one.

        Of a change whose end is not known, either key is tried (that costs nothing); the common one is tried in the
        end, since a card may be back on it. The right one is kept.
        """
        own = self._pairing_keys(card)
        keys = tuple(dict.fromkeys((*own, COMMON_PAIRING_KEY)))
        for key in keys[:-1]:
            try:
                card.open_channel(key, known=known)
            except (PairingError, UnknownChannelError):
                card.select()
            else:
                if own != (key,):
                    self._settle_pairing(card, key, own)
                return
        card.open_channel(keys[-1], known=known)
        if own:
            self._settle_pairing(card, keys[-1], own)

    def _pairing_keys(self, card: Card) -> tuple[bytes, ...]:
        """The card's own. The certificate is read first where there are any, for they go by serial."""
        with contextlib.suppress(StateError):  # then the common key is tried, and PairingError says what to do
            if self.state.paired():
                return self.state.pairing_keys(card.read_certificate().serial)
        return ()

    def _settle_pairing(self, card: Card, key: bytes, own: tuple[bytes, ...]) -> None:
        check_identity(card, self.state)  # another card of the same serial must have no key dropped
        with contextlib.suppress(StateError):  # all are tried again the next time
            if {*own} <= {key, COMMON_PAIRING_KEY} or is_known(card, self.state):  # the common key opens any
                self.state.keep_pairing_key(card.serial, None if key == COMMON_PAIRING_KEY else key)

    def _remembered_certificates(self, serial: int | None) -> tuple[CardCertificate, ...]:
        """Certificates that a card may turn out to have; none where the expected card's is not among them, since
        trying them in vain costs two commands."""
        certificates = []
        with contextlib.suppress(StateError):
            for der in self.state.certificates():
                with contextlib.suppress(CertificateError):  # a damaged file: the card's own is read instead
                    certificates.append(CardCertificate.parse(der))
        if serial is not None and all(certificate.serial != serial for certificate in certificates):
            return ()
        return tuple(sorted(certificates, key=lambda certificate: certificate.serial != serial))


def may_be_ours(error: Exception) -> bool:
    """Whether a card of ours may be in a reader where `scan` met an error: one that is busy, or wants a power cycle.

    False where it is empty, gone, or holds another card. Raises the error where it is none of a reader's.
    """
    if not isinstance(error, PinLockedError | TransportError | ForeignCardError):
        raise error
    return isinstance(error, PinLockedError | ReaderBusyError)


def _pcsc_readers(*, required: bool = False) -> list[str]:
    """Reader names; with `required` an error where there is no service or no reader, else an empty list.

    SupportMissingError in any case where PC/SC support cannot be loaded.
    """
    from cryptnox_core.transport.pcsc import list_readers

    names: list[str] = []
    try:
        # One that calls itself an address would be dialed as one.
        names = [name for name in list_readers() if not name.startswith(EMULATOR_PREFIX)]
    except (ServiceUnavailableError, NoReaderError) as error:
        if required or isinstance(error, SupportMissingError):
            raise
    if required and not names:
        raise NoReaderError("there is no card reader")
    return names


@contextlib.contextmanager
def _closing_on_error(opened: OpenCard) -> Iterator[None]:
    try:
        yield
    except BaseException:
        opened.close()
        raise


@dataclass(slots=True)
class Session:
    """An open card whose PIN is verified, or for which a user key answered."""

    opened: OpenCard
    pin: str | None = field(repr=False)
    """None: a user key approves each signature, and is asked for reading once."""
    fingerprint: bytes
    """4 bytes, of the master key."""
    position: Position
    """The current key, as far as this session knows."""

    @property
    def card(self) -> Card:
        """The card."""
        return self.opened.card


def check_usable(info: AppletInfo) -> None:
    """WalletError unless the card holds a wallet, as far as SELECT tells."""
    if info.is_nft:
        raise UnavailableError("an NFT card holds one key, not a wallet")
    if not info.initialized:
        raise NoWalletError(NOT_INITIALIZED_TEXT)
    if not info.seeded:
        raise NoWalletError(NO_SEED_TEXT)


def begin(opened: OpenCard, pin: str | None, *, polling: bool = False) -> Session:
    """The session of a card that has just accepted a PIN, or a user key's answer: its fingerprint is read.

    Raises what the card's commands raise, and WalletError for a card whose seed was replaced: once, for what is
    remembered is mended.
    """
    with deriving(opened):
        fingerprint = opened.card.master_fingerprint()
    if polling:
        refuse_single_key(opened)
    if not opened.simulated:
        _remember(opened, fingerprint)
    return Session(opened, pin, fingerprint, Position(MASTER))


def refuse_single_key(opened: OpenCard) -> None:
    """WalletError for a card with a single key, from which nothing can be derived. It is asked where a fingerprint is
    read for a list, and where a derivation failed: other commands need not spend a command on it. A card that does not
    tell is taken for one with a tree."""
    try:
        source = opened.card.info_page().key_source
    except (StatusWordError, ProtocolError):
        return
    if source != KeySource.SINGLE:
        return
    with contextlib.suppress(StateError):  # then it shows up in lists
        opened.state.update(opened.card.serial, lambda now: replace(now, fingerprint=None))
    raise NoWalletError(SINGLE_KEY_TEXT)


@contextlib.contextmanager
def deriving(opened: OpenCard) -> Iterator[None]:
    """Around derivations: says why they fail on a card with a single key."""
    try:
        yield
    except StatusWordError:
        if opened.card.channel_open:
            refuse_single_key(opened)
        raise


def remembered(opened: OpenCard) -> bytes | None:
    """The fingerprint that is remembered of an identified card; never of an emulated one."""
    if opened.simulated:
        return None
    with contextlib.suppress(StateError):  # then it is asked
        return opened.state.record(opened.card.serial).fingerprint
    return None


def _remember(opened: OpenCard, fingerprint: bytes) -> None:
    serial, before = opened.card.serial, None
    with contextlib.suppress(StateError):  # without state nothing is compared
        before = remember_wallet(opened.card, opened.state, fingerprint)
    if before is not None and before != fingerprint:
        raise FailedError(
            f"the card {serial} has a different seed now: its fingerprint is {fingerprint.hex()}, it was {before.hex()}"
        )
