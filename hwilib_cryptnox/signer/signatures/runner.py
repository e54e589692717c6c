"""Runs what the planner says on a card: keys are read and made current, signatures made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from cryptnox_core.bip32 import ExtendedPublicKey, Path
from cryptnox_core.card import Card
from cryptnox_core.commands.keys import DeriveKey
from cryptnox_core.commands.musig2 import GenerateNonce
from cryptnox_core.derivation import Derive, Position, ReadExtended, ReadOnTheFly, ReadPublicKey, Sign, Step
from cryptnox_core.errors import MalformedResponseError, NotAuthenticatedError, NotSupportedError, UsageError
from cryptnox_core.models import KeyPathSignature
from cryptnox_core.wire import SignatureKind
from hwilib_cryptnox.pin.approval import Approval
from hwilib_cryptnox.storage.state import CardRecord, State, StateError

if TYPE_CHECKING:
    from hwilib_cryptnox.psbt import SignRequest
    from hwilib_cryptnox.psbt.musig import MusigPart

T = TypeVar("T")

KINDS = {"ECDSA": SignatureKind.ECDSA, "Schnorr": SignatureKind.SCHNORR}
"""By the engine's name of the kind."""


class _Opened(Protocol):
    @property
    def simulated(self) -> bool: ...


class OnCard(Protocol):
    """A card whose PIN is verified, or for which a user key answered (`cards.Session`)."""

    pin: str | None
    position: Position

    @property
    def card(self) -> Card:
        """The card itself."""

    @property
    def opened(self) -> _Opened:
        """As it was opened."""


class Runner:
    """Runs the planner's steps on a session. A PIN that a signature ended is verified again where it is wanted; where a
    user key approves, it answers once more (`approval`)."""

    def __init__(
        self,
        session: OnCard,
        state: State,
        extended: dict[Path, ExtendedPublicKey],
        public: dict[Path, bytes],
        approval: Approval | None = None,
    ) -> None:
        self.session = session
        self._approval = approval
        self.extended = extended
        self.public = public
        self._state = state
        self._ends = False
        self._ended = False
        # Emulated cards tell nothing of cards with the same applet.
        self._version = None if session.opened.simulated else ".".join(map(str, session.card.info.version))
        with contextlib.suppress(StateError):  # then it is found out
            records = state.records()
            alike = [record for record in records.values() if record.version and record.version == self._version]
            self._ends = any(
                record.pin_expires_on_sign for record in (records.get(session.card.serial, CardRecord()), *alike)
            )

    def run(self, steps: Iterable[Step]) -> None:
        """Run steps that do not sign."""
        for step in steps:
            self.step(step)

    def step(self, step: Step) -> None:
        """One step that does not sign."""
        if self._ended and self._ends:
            self._verify_again()
        try:
            self._do(step)
        except NotAuthenticatedError:
            if self.session.pin is None and self._approval is not None:
                self._approval.open(self.session.card)
                self._do(step)
                return
            if not self._ended:
                raise
            self._verify_again()
            self._do(step)
            self._learn()

    def _do(self, step: Step) -> None:
        card = self.session.card
        match step:
            case Derive(suffix, source, result):
                self.session.position = Position()
                card.send(DeriveKey(suffix, source))
                self.session.position = Position(result)
            case ReadPublicKey(path):
                self.public[path] = card.public_key()
            case ReadOnTheFly(path, source, suffix):
                self.public[path] = card.public_key(suffix, source=source)
            case ReadExtended(path):
                # Also what proves a Derive of four levels: see `first_block`.
                key = card.read_extended_public_key()
                if key.depth != path.depth or key.child_number != path.steps[-1]:
                    raise MalformedResponseError(f"GET PUBKEY: the extended key is not that of {path}")
                self.extended[path] = key
            case Sign():
                raise UsageError("a signature is not a reading step")

    def sign(self, step: Sign, request: SignRequest) -> bytes:
        """One signature, verified."""
        signature = self.session.card.sign(
            request.digest,
            self.session.pin,
            public_key=request.public_key,
            path=step.suffix if step.suffix.depth else None,
            source=step.source,
            kind=KINDS[request.kind.value],
        )
        self._ended = True
        return signature

    def sign_key_path(self, digest: bytes, public_key: bytes, merkle_root: bytes = b"") -> KeyPathSignature:
        """The signature of a taproot key path with the current key, verified. See `Card.sign_key_path`.

        Where the card wants the PIN first, it says so before it has a nonce, and the whole conversation begins again.
        """
        card = self.session.card
        return self._made_at_key(lambda: card.sign_key_path(digest, public_key=public_key, merkle_root=merkle_root))

    def sign_part(self, part: MusigPart, digest: bytes) -> bytes:
        """The card's part of a MuSig2 signature with the current key, verified: its public nonce and its partial
        signature, 98 bytes. See `Card.musig2_sign`, and `sign_key_path` for the PIN."""
        card = self.session.card
        made = self._made_at_key(lambda: card.musig2_sign(part.key.keys, part.nonces, digest, public_key=part.own))
        return made.nonce + made.partial

    def certify(self) -> bytes:
        """The card's certificate of its current key. See `Card.sign_public`."""
        return self._made_at_key(self.session.card.sign_public)

    def has_musig2(self) -> bool:
        """Whether the applet has MuSig2: it is asked for a nonce, which nothing is signed with."""
        try:
            self._made_at_key(lambda: self.session.card.send(GenerateNonce()))
        except NotSupportedError:
            return False
        return True

    def _made_at_key(self, make: Callable[[], T]) -> T:
        if self._ended and self._ends:
            self._verify_again()
        try:
            made = make()
        except NotAuthenticatedError:
            if not self._ended:
                raise
            self._verify_again()
            made = make()
            self._learn()
        self._ended = True
        return made

    def _verify_again(self) -> None:
        """With the PIN the card has just accepted in a signature: no new attempt. A refusal ends the session."""
        if self.session.pin is not None:
            self.session.card.verify_pin(self.session.pin)
        self._ended = False

    def _learn(self) -> None:
        """Remember that this card ends the PIN with each signature: next time no command is spent on finding out, nor
        with another card of the same applet version."""
        if not self._ends:
            self._ends = True
            with contextlib.suppress(StateError):  # found out again then
                self._state.update(
                    self.session.card.serial, lambda now: replace(now, pin_expires_on_sign=True, version=self._version)
                )
