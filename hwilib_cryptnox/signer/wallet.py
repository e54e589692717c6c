"""What wallets ask of a card: fingerprint, extended keys, single keys, signed messages. A PSBT is signed in `signing`.
Knows no hwilib."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence

from cryptnox_core.bip32 import ExtendedPublicKey, Path
from cryptnox_core.card import Card
from cryptnox_core.derivation import (
    Position,
    Sign,
    plan_session,
)
from cryptnox_core.wire import MAX_DEPTH, XPUB_MIN_DEPTH
from hwilib_cryptnox.errors import (
    NOT_FOUND_TEXT,
    BadRequestError,
    CanceledError,
    CardNotFoundError,
    ExportOffError,
    RetoldError,
    WalletError,
    another_card,
)
from hwilib_cryptnox.pin.approval import Approval
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.signer.cards import (
    CARD_PREFIX,
    EMULATOR_PREFIX,
    Access,
    OpenCard,
    Session,
    begin,
    check_usable,
    deriving,
    serial_of,
)
from hwilib_cryptnox.signer.faults.approved import approved_signature
from hwilib_cryptnox.signer.signatures.keys import account_prefix, derived_keys
from hwilib_cryptnox.signer.signatures.runner import KINDS, Runner
from hwilib_cryptnox.signer.signatures.taproot import Taproot, any_asked, known
from hwilib_cryptnox.storage.state import StateError, static_key_hash

NO_KEY_TEXT = "Say which key signs: a derivation path like m/84h/0h/0h/0/0"


def authenticate(opened: OpenCard, unlocker: Unlocker, *, polling: bool = False, prompt: str = "") -> Session:
    """Verify the PIN and read the fingerprint, which is remembered and compared with what was.

    The secure channel must be open. Raises what `Unlocker.unlock` raises, and what `begin` does.
    """
    check_usable(opened.card.info)
    pin = unlocker.unlock(opened.card, opened.reader, polling=polling, prompt=prompt)
    return begin(opened, pin, polling=polling)


class Wallet:
    """One card, opened when it is first needed. `close` when done; it can be used again afterwards.

    `path` is HWI's. `opened`, `session`: the card where it is open already. `expected`: the fingerprint asked for.
    """

    def __init__(
        self,
        path: str,
        access: Access,
        unlocker: Unlocker,
        *,
        opened: OpenCard | None = None,
        session: Session | None = None,
        expected: bytes | None = None,
    ) -> None:
        self.path = path
        self.access = access
        self.unlocker = unlocker
        self._opened = opened if session is None else session.opened
        self._expected = expected
        self._session = session
        self._accepted = None if session is None else (*_identity(session.card), session.pin)
        self._unlocked = session is not None
        self._fingerprint = None if session is None else session.fingerprint
        self.keys: dict[Path, ExtendedPublicKey] = {}

    def close(self) -> None:
        """Reset and release the card, and leave the token that approves."""
        if self._opened is not None:
            self._opened.close()
        self._opened = self._session = self._accepted = None
        self._unlocked = False
        if self.unlocker.approval is not None:
            self.unlocker.approval.close()

    def open(self) -> OpenCard:
        """The card, identified. One that is opened anew has no PIN verified."""
        if self._opened is None:
            self._session = self._accepted = None
            self._unlocked = False
            self._opened = self.access.open(self.path)
        return self._opened

    def session(self, prompt: str = "") -> Session:
        """The card with its PIN verified. `prompt` is shown where a person is asked for the PIN."""
        opened = self.open()
        if self._session is None:
            if not self._unlocked:
                check_usable(opened.card.info)
                if not opened.card.info.pin_auth:  # a fault on the way costs no try of anything
                    self._accepted = *_identity(opened.card), None
                try:
                    pin = self.unlocker.unlock(opened.card, opened.reader, prompt=prompt)
                except WalletError as error:
                    if self._expected is None or isinstance(error, CanceledError) or not _others(self.access, opened):
                        raise
                    raise of_card(error, opened.card.serial) from error
                self._accepted = *_identity(opened.card), pin
                self._unlocked = True
            session = begin(opened, None if self._accepted is None else self._accepted[-1])
            if self._expected not in (None, session.fingerprint):
                self.close()
                raise CardNotFoundError(NOT_FOUND_TEXT)
            if session.fingerprint != self._fingerprint:
                self.keys.clear()
                self._fingerprint = session.fingerprint
            self._session = session
        return self._session

    @property
    def pin_accepted(self) -> bool:
        """Whether the card has accepted a PIN since it was opened first, or takes none: then `reopen` may follow a
        fault."""
        return self._accepted is not None

    def forget_card(self) -> None:
        """Close the card and keep what is known of it, for `reopen`."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def reopen(self) -> None:
        """Open the same card anew after a fault, and verify the PIN it had accepted. `session` goes on from there. A
        user key is asked again only where something is left to be read."""
        if self._accepted is None:
            raise CardNotFoundError("the card was not open")
        serial, key, pin = self._accepted
        self.forget_card()
        opened = self.access.open(self.path)
        try:
            # The state tells too where it knows the card; it may not be usable.
            if _identity(opened.card) != (serial, key):
                raise another_card(serial)
            check_usable(opened.card.info)
            if pin is not None:
                self.unlocker.resume(opened.card, opened.reader, pin)
        except BaseException:
            opened.close()
            raise
        self._opened, self._unlocked = opened, pin is not None
        if self._session is not None:
            self._session = Session(opened, pin, self._session.fingerprint, Position())

    def approval(self) -> Approval | None:
        """The key that approves what this card is asked for; None where its PIN does, or nothing is named. Opens the
        card, asks nothing of the key. Raises what `open` raises, UnknownCardError."""
        opened = self.open()
        if opened.card.info.pin_auth or self.unlocker.approval is None:
            return None
        return self.unlocker.approving(opened.card)

    def known_fingerprint(self) -> bytes | None:
        """The fingerprint as far as it is known without asking the card."""
        if self._session is not None:
            return self._session.fingerprint
        if self._expected is not None:
            return self._expected
        serial = serial_of(self.path)
        if serial is not None:
            with contextlib.suppress(StateError):  # then the card is asked
                return self.access.state.record(serial).fingerprint
        return None

    def taproot(self) -> Taproot:
        """Whether the card signs taproot key paths, as this computer remembers it. No PIN is sent, and no card is
        opened where none was asked here."""
        if self._opened is None and not any_asked(self.access.state):
            return Taproot.UNKNOWN
        return known(self.access.state, self.open().card)

    def fingerprint(self) -> bytes:
        """The 4-byte fingerprint of the master key, read from the card."""
        return self.session().fingerprint

    def xpub(self, path: Path) -> ExtendedPublicKey:
        """The extended public key at a path of 3 to 8 levels."""
        return self.xpubs([path])[path]

    def xpubs(self, paths: Sequence[Path]) -> dict[Path, ExtendedPublicKey]:
        """Several, with as few derivations as can be. Each is read once in the wallet's life; what lies below another
        without a hardened level is derived on the host.

        A wrong depth, and export switched off, are said after the fingerprint was read: some programs ask for `m/44h`
        only to learn it.
        """
        missing = [path for path in dict.fromkeys(paths) if path not in self.keys]
        if missing:
            session = self.session()
            above = {path: account_prefix(path) for path in missing}
            for path, base in above.items():
                if base is None or path.depth > MAX_DEPTH:
                    shown = "this path" if path.depth == 1 and path.is_unhardened else path  # it may be a PIN
                    raise BadRequestError(
                        f"{shown}: the card only gives extended public keys of {XPUB_MIN_DEPTH} to {MAX_DEPTH} levels"
                    )
            if not session.card.info.xpub_export:
                raise ExportOffError
            self._read(session, above.values(), (), {})
            for path, base in above.items():
                if base is not None and path not in self.keys:
                    self.keys[path] = self.keys[base].derive(path.below(base))
        return {path: self.keys[path] for path in paths}

    def public_keys(self, paths: Iterable[Path]) -> dict[Path, bytes]:
        """The compressed public keys at paths of up to 8 levels: derived on the host where the card gives an extended
        key above them, else read from the card one by one."""
        wanted = list(dict.fromkeys(paths))
        _check_depths(wanted)
        session = self.session()
        bases, singles = self._split(session, wanted)
        public: dict[Path, bytes] = {}
        self._read(session, bases, singles, public)
        found = derived_keys(wanted, self.keys, public)
        return {path: found[path] for path in wanted}

    def _read(
        self,
        session: Session,
        xpubs: Iterable[Path | None],
        singles: Sequence[Path],
        public: dict[Path, bytes],
        *,
        sign: Sequence[Path] = (),
    ) -> list[Sign]:
        """Read what is not known yet: extended keys into `self.keys`, single ones into `public`. What is to sign."""
        missing = [path for path in dict.fromkeys(xpubs) if path is not None and path not in self.keys]
        known = tuple(self.keys)
        steps = plan_session(xpubs=missing, public_keys=singles, signatures=sign, known=known, at=session.position)
        with deriving(session.opened):
            runner = Runner(session, self.access.state, self.keys, public, self.approval())
            runner.run(s for s in steps if not isinstance(s, Sign))
        return [step for step in steps if isinstance(step, Sign)]

    @staticmethod
    def _split(session: Session, paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
        """Extended keys to read for keys at paths, and the paths that have to be read singly."""
        above = {path: account_prefix(path) if session.card.info.xpub_export else None for path in paths}
        bases = [base for base in dict.fromkeys(above.values()) if base is not None]
        return bases, [path for path, base in above.items() if base is None]

    def sign_message(self, message: str | bytes, path: Path) -> str:
        """A message signature in Bitcoin Core's legacy format, base64, by the key at a path of up to 8 levels."""
        from hwilib_cryptnox.signer.messages import encode_signature, message_digest

        data = message.encode("utf-8") if isinstance(message, str) else message
        digest = message_digest(data)
        public_key, signature = self.sign_digest(data, path, lambda _: digest)
        return encode_signature(public_key, digest, signature)

    def sign_digest(
        self,
        message: bytes,
        path: Path,
        digest_of: Callable[[bytes], bytes],
        *,
        schnorr: bool = False,
    ) -> tuple[bytes, bytes]:
        """The compressed key at a path of up to 8 levels and its signature (DER, or 64 bytes for Schnorr), verified, of
        the 32 bytes that `digest_of` makes of the key: those of a message, to which the person agreed where somebody is
        to be asked.

        The master key signs none: no address is its own, and some programs mean it where nobody named a key."""
        _check_depths([path])
        if not path.depth:
            raise BadRequestError(NO_KEY_TEXT)
        approval = self.approval()
        if approval is not None:
            approval.ready()
            approval.say(approval.plan(int(self._session is None), 1))
        self._confirmed(message, path)
        return self.sign_unasked(path, digest_of, schnorr=schnorr)

    def sign_unasked(
        self, path: Path, digest_of: Callable[[bytes], bytes], *, schnorr: bool = False
    ) -> tuple[bytes, bytes]:
        """The same of what somebody else has shown already: nobody is asked here."""
        from hwilib_cryptnox.psbt import SignatureKind as Kind
        from hwilib_cryptnox.signer.signatures.memory import SignatureMemory

        kind = Kind.SCHNORR if schnorr else Kind.ECDSA
        session = self.session()
        bases, singles = self._split(session, [path])
        public: dict[Path, bytes] = {}
        approval = self.approval()
        steps = self._read(session, bases, singles, public, sign=[path] if approval is None else [])
        public_key = derived_keys([path], self.keys, public)[path]
        digest = digest_of(public_key)

        def make() -> bytes:
            if approval is not None:
                wait, opened = (
                    self.access.settings.reinsert_wait,
                    lambda: (self.session().card, self.session().position),
                )
                return approved_signature(
                    approval, digest, public_key, path, KINDS[kind.value], opened=opened, reopen=self.reopen, wait=wait
                )
            suffix, source = steps[0].suffix, steps[0].source
            on_the_fly = suffix if suffix.depth else None
            return session.card.sign(
                digest,
                session.pin,
                public_key=public_key,
                path=on_the_fly,
                source=source,
                kind=KINDS[kind.value],
            )

        memory = SignatureMemory(self.access.settings, self.access.state)
        return public_key, memory.signed(session.card.serial, digest, public_key, make, kind)

    def _confirmed(self, message: bytes, path: Path) -> None:
        """Verify the PIN, and have the person agree to sign a message where somebody is to be asked."""
        from hwilib_cryptnox.signer.review.message_prompts import message_prompt_text, message_text

        session = self.session(message_prompt_text(path))
        if self.unlocker.confirms:
            self.unlocker.confirm(*message_text(message, path, session.card.serial, session.fingerprint))


def _identity(card: Card) -> tuple[int, bytes]:
    return card.serial, static_key_hash(card)


def _check_depths(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.depth > MAX_DEPTH:
            raise BadRequestError(f"{path}: the card derives at most {MAX_DEPTH} levels")


def _others(access: Access, opened: OpenCard) -> bool:
    """Whether there is a card in another reader, which may be the one that is meant."""
    from cryptnox_core.transport.pcsc import any_card

    others = (reader for reader in access.readers() if reader != opened.reader)
    return any_card(reader for reader in others if not reader.startswith(EMULATOR_PREFIX))


def of_card(error: WalletError, serial: int) -> RetoldError:
    """The same, told which of several cards refused."""
    again = ", or try again" if error.spent else ""
    text = f"{error} on the card {serial}; name yours with --device-path {CARD_PREFIX}SERIAL{again}"
    return RetoldError(error, text)
