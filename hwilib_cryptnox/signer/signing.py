"""Signing a PSBT on a card: fetch keys, prove, sign, and go on after a fault with what is left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from cryptnox_core.bip32 import Path
from cryptnox_core.crypto.musig2 import NONCE_LENGTH
from cryptnox_core.derivation import Sign, plan_session
from cryptnox_core.errors import (
    BadSignatureError,
    CertificateError,
    NotSupportedError,
    ProtocolError,
    StatusWordError,
    TransportError,
    UsageError,
)
from cryptnox_core.wire import MAX_HASHES
from hwilib_cryptnox.errors import UNSEEN_TEXT, BadRequestError, CardNotFoundError, FailedError, UnavailableError
from hwilib_cryptnox.networks import Network, account_paths
from hwilib_cryptnox.pin.approval import Approval
from hwilib_cryptnox.psbt import (
    Candidate,
    Chain,
    Collected,
    Notice,
    NoticeKind,
    Plan,
    Psbt,
    RegisteredWallet,
    SignRequest,
    WalletScripts,
    collect,
    insert,
    plan,
)
from hwilib_cryptnox.psbt.checks import is_single
from hwilib_cryptnox.psbt.musig import MusigPart
from hwilib_cryptnox.psbt.origins import originless
from hwilib_cryptnox.signer.cards import Session, deriving
from hwilib_cryptnox.signer.faults.approved import signing_step
from hwilib_cryptnox.signer.faults.heard import until_back
from hwilib_cryptnox.signer.registered.card_wallets import registered_wallets
from hwilib_cryptnox.signer.review.prompts import prompt_text, review_text
from hwilib_cryptnox.signer.signatures.kept import kept_entry, kept_signatures, place_of
from hwilib_cryptnox.signer.signatures.key_paths import plan_at_keys
from hwilib_cryptnox.signer.signatures.keys import derived_keys, wanted_keys
from hwilib_cryptnox.signer.signatures.memory import (
    Remembered,
    RepeatedNonceError,
    SignatureMemory,
    remembered_of,
    warnings_before,
)
from hwilib_cryptnox.signer.signatures.possible import (
    NO_MUSIG2_REASON,
    policy_of,
    stays_unchanged,
    without,
    without_musig2,
)
from hwilib_cryptnox.signer.signatures.runner import Runner
from hwilib_cryptnox.signer.signatures.taproot import Taproot, any_signs, known
from hwilib_cryptnox.signer.wallet import Wallet
from hwilib_cryptnox.storage.state import StateError

Progress = Callable[[int, int], None]
"""Told how many signatures are made, of how many."""

NO_KEY_PATH_TEXT = (
    "The card made no valid signature for a taproot key path, although it did when it was asked. Nothing was handed "
    "out. The card no longer counts as one that signs them; cryptnoxctl taproot check asks it again"
)

NO_PART_TEXT = (
    "The card's part of the MuSig2 signature does not verify, and nothing of it was handed out. Either the line was "
    "disturbed, or the card's applet does not sign as BIP327 says. Try again. If it fails each time, this card cannot "
    "sign for a MuSig2 wallet"
)
FRUITLESS = 3
"""Times in a row a card is opened anew without a further signature before the signing is given up."""


class Signing:
    """One PSBT; `run` returns it signed, the very same where nothing is left to sign.

    `network`: for accounts of wallets that do not tell where their keys come from. `chain`: what the user named, where
    keys of another are refused. `lost` is told that the card has to come back. `approve` is told the plan before the
    first signature and raises to stop; without it the dialogue that gave the PIN asks, and without both no message is
    signed. `ask_fee`: `approve` also decides about a fee above the default limits. `descriptor`: the wallet with
    several keys that all inputs and change are of. `wallets`: the registered ones, or what gives them once the PIN is
    verified, and perhaps asks the card; None for those that this computer remembers of the card.
    """

    def __init__(
        self,
        wallet: Wallet,
        psbt: Psbt,
        *,
        network: Network = Network.MAIN,
        chain: Chain | None = None,
        progress: Progress | None = None,
        lost: Callable[[], None] | None = None,
        approve: Callable[[Plan], None] | None = None,
        ask_fee: bool = False,
        descriptor: WalletScripts | None = None,
        wallets: Sequence[RegisteredWallet] | Callable[[], Sequence[RegisteredWallet]] | None = None,
    ) -> None:
        self.wallet = wallet
        self.psbt = psbt
        self.settings = wallet.access.settings
        self.state = wallet.access.state
        self._network = network
        self._progress = progress
        self._lost = lost
        self._approve = approve
        self._policy = policy_of(self.settings, chain=chain, ask_fee=ask_fee)
        self._descriptor = descriptor
        self._wallets = wallets
        self._extended = wallet.keys
        self._public: dict[Path, bytes] = {}
        self._kept: list[tuple[Candidate, bytes]] = []
        self._made: list[tuple[SignRequest, bytes]] = []
        self._requests: dict[tuple[object, ...], SignRequest] = {}
        self._memory = SignatureMemory(self.settings, self.state)
        self._remembered: Remembered | None = None
        self._has_musig2: bool | None = None
        self.plan: Plan | None = None

    def run(self) -> Psbt:
        """The PSBT with our signatures. PsbtError, WalletError or CryptnoxError where it cannot be signed; signatures
        made until then are kept for the next attempt."""
        fingerprint = self.wallet.known_fingerprint()
        taproot = any_signs(self.state)
        if stays_unchanged(self.psbt, fingerprint, taproot=taproot):
            return self.psbt
        prompt = ""
        if self.wallet.unlocker.asks_person:
            prompt = prompt_text(self.psbt, fingerprint, taproot=taproot)
        self._announce(fingerprint)
        session = self._start(prompt)
        collected = self._collect(session)
        if collected.stays_unchanged:
            return self.psbt
        reason = collected.why_nothing()
        if reason is not None:
            raise BadRequestError(reason)
        self._memory.begin(session.card.serial, self.psbt)
        self._kept = self._partial(collected)
        self._work(session, collected)
        if self.plan is None:
            raise UsageError("nothing was planned")
        reason = self.plan.why_nothing()
        if reason is not None:
            raise BadRequestError(reason)
        self._memory.settle()
        done = insert(self.psbt, self._made)
        with contextlib.suppress(StateError):  # it expires
            self.state.drop_partial(self.psbt.unsigned_tx())
        return done

    def _announce(self, fingerprint: bytes | None) -> None:
        """Where a user key approves: its token is there, and how often it is to be touched is shown before."""
        approval = self.wallet.approval()
        if approval is None:
            return
        approval.ready()
        signing = None
        if fingerprint is not None:
            taproot = self.wallet.taproot() is Taproot.SIGNS
            collected = without_musig2(collect(self.psbt, fingerprint, taproot=taproot))
            kept = {place_of(candidate) for candidate, _ in self._partial(collected)}
            signing = approval.needed([one.digest for one in collected.candidates if place_of(one) not in kept])
        approval.say(approval.plan(1, signing))

    def _start(self, prompt: str) -> Session:
        """The card with its PIN verified. A fault after the card accepted the PIN is gone on from; one before, or while
        the PIN is on its way, is not: whether it cost a try is not known then."""
        for _ in range(FRUITLESS):
            try:
                return self.wallet.session(prompt)
            except (TransportError, ProtocolError) as error:
                if isinstance(error, CertificateError) or not self.wallet.pin_accepted:
                    raise
                self._reopen(error)
        return self.wallet.session(prompt)

    def _collect(self, session: Session) -> Collected:
        taproot = known(self.state, session.card) is Taproot.SIGNS
        collected = collect(self.psbt, session.fingerprint, taproot=taproot)
        if any(collected.claims) or not originless(self.psbt) or not session.card.info.xpub_export:
            return collected
        accounts = account_paths(self._network)
        keys = self.wallet.xpubs(accounts)
        known_accounts = {keys[path].fingerprint: path for path in accounts}
        return collect(self.psbt, session.fingerprint, known_accounts, taproot=taproot)

    # Keys, then signatures, as often as the card comes back

    def _work(self, session: Session, collected: Collected) -> None:
        fruitless = 0
        while True:
            made = len(self._made)
            try:
                self._attempt(session, collected)
            except (TransportError, ProtocolError) as error:
                if isinstance(error, CertificateError):
                    raise
                fruitless = 0 if len(self._made) > made else fruitless + 1
                if fruitless > FRUITLESS:
                    raise
                self._reopen(error)
                session = self.wallet.session()
            else:
                return

    def _reopen(self, cause: Exception) -> None:
        """The same card again, waiting for it to come back. The cause is raised where it does not."""
        if self._lost is not None:
            self._lost()
        with contextlib.suppress(TransportError, CardNotFoundError):
            until_back(self.settings.reinsert_wait, self.wallet.reopen)
            return
        raise cause

    def _attempt(self, session: Session, collected: Collected) -> None:
        if callable(self._wallets):
            self._wallets = self._wallets()
        approval = self.wallet.approval()
        runner = Runner(session, self.state, self._extended, self._public, approval)
        collected = self._possible(runner, collected)
        done = {place_of(candidate) for candidate, _ in self._kept}
        done |= {place_of(request) for request, _ in self._made}
        left = [candidate for candidate in collected.candidates if place_of(candidate) not in done]
        at_key = [candidate for candidate in left if candidate.at_key]
        left = [candidate for candidate in left if not candidate.at_key]
        export = session.card.info.xpub_export
        xpubs, singles = wanted_keys(collected, export=export)
        steps = plan_session(
            xpubs=[path for path in xpubs if path not in self._extended],
            public_keys=[path for path in singles if path not in self._public],
            signatures=[candidate.claim.path for candidate in left] if approval is None else [],
            known=tuple(self._extended),
            at=session.position,
        )
        for step in steps:
            if isinstance(step, Sign):
                self._sign(runner, step, left[step.index], collected)
            else:
                with deriving(session.opened):
                    runner.step(step)
        self._prove(collected)
        for step in plan_at_keys([candidate.claim.path for candidate in at_key], session.position):
            if isinstance(step, Sign):
                self._sign(runner, step, at_key[step.index], collected)
            else:
                with deriving(session.opened):
                    runner.step(step)
        if approval is not None:
            self._sign_approved(runner, approval, left)

    def _possible(self, runner: Runner, collected: Collected) -> Collected:
        """Without what the card does not sign: parts of MuSig2 signatures where it makes none, which it is asked once,
        and all that is made with MuSig2 where a user key approves. BadRequestError where nothing is left."""
        if runner.session.pin is None:
            return without_musig2(collected)
        parts = [candidate for candidate in collected.candidates if candidate.musig is not None]
        if parts and self._has_musig2 is None:
            self._has_musig2 = runner.has_musig2()
        if not parts or self._has_musig2:
            return collected
        return without(collected, parts, NO_MUSIG2_REASON)

    def _sign_approved(self, runner: Runner, approval: Approval, left: Sequence[Candidate]) -> None:
        """All that is to be signed, after all that was to be read: the card is open for one of the two. Each use of the
        key is for one digest, or for a list of them; each digest is of the plan that was agreed to."""
        there = {place_of(request) for request, _ in self._made}
        wanted = [
            place for candidate in left if (place := place_of(candidate)) in self._requests and place not in there
        ]
        requests = [self._requests[place] for place in wanted]
        while requests:
            size = MAX_HASHES if approval.lists else 1
            now, requests = requests[:size], requests[size:]
            approval.plan(0, approval.needed([request.digest for request in (*now, *requests)]))
            self._tell()
            try:
                approval.authorize(runner.session.card, [request.digest for request in now])
            except StatusWordError:
                if len(now) == 1:
                    raise
                approval.takes_no_lists()
                requests = now + requests
                continue
            for request in now:
                if request is not now[0]:
                    self._tell()
                self._make(runner, signing_step(runner.session.position, request.path), request)

    def _prove(self, collected: Collected) -> None:
        """The engine's plan, made once, when all keys are there: what it refuses is refused before any signature."""
        if self.plan is None:
            keys = derived_keys(collected.all_paths, self._extended, self._public)
            wallets = self._registered(collected)
            made = plan(self.psbt, collected, keys, self._policy, wallet=self._descriptor, wallets=wallets)
            self._remembered = remembered_of(self.psbt, collected, made)
            made = self._with_warnings(made, self._remembered)
            if self._approve is not None:
                self._approve(made)
            elif made.requests:
                if made.message is not None and not self.wallet.unlocker.confirms:
                    raise UnavailableError(UNSEEN_TEXT)  # to a program that knows no such field it moves 0 BTC
                confirm(self.wallet, made)
            self.plan = made
            approval = self.wallet.approval()
            if approval is not None:  # from here on, and for nothing else
                approval.review(request.digest for request in made.requests)
            self._requests = {place_of(request): request for request in self.plan.requests}
            for candidate, signature in self._kept:
                request = self._requests.get(place_of(candidate))
                if request is not None:
                    self._admit(request, signature)
            self._kept = []
            # All in one line, before the first signature: one wait for the disk, however many inputs there are.
            there = {place_of(request) for request, _ in self._made}
            asked = [request.digest for request in made.requests if place_of(request) not in there]
            self._memory.ask(asked, self._remembered.txid)

    def _registered(self, collected: Collected) -> Sequence[RegisteredWallet]:
        """The wallets that are known by name. StateError where they cannot be read, and coins of several keys are to be
        signed for: then it is not known whose the change is."""
        if self._wallets is not None and not callable(self._wallets):
            return self._wallets
        try:
            return registered_wallets(self.state, collected.fingerprint)
        except StateError:
            spendings = [collected.spendings[candidate.index] for candidate in collected.candidates]
            if any(spending is not None and not is_single(spending) for spending in spendings):
                raise
            return ()

    def _with_warnings(self, made: Plan, remembered: Remembered) -> Plan:
        """The plan, with what this computer remembers of its coins among the warnings."""
        told = warnings_before(self.state, remembered, [request.input_index for request in made.requests])
        notices = [Notice(NoticeKind.SIGNED_BEFORE, text) for text in told]
        if not notices:
            return made
        return replace(made, summary=replace(made.summary, warnings=(*made.summary.warnings, *notices)))

    def _sign(self, runner: Runner, step: Sign, candidate: Candidate, collected: Collected) -> None:
        self._prove(collected)
        request = self._requests.get(place_of(candidate))
        if request is not None:
            self._tell()
            self._make(runner, step, request)

    def _tell(self) -> None:
        """How far it is, before the next signature."""
        if self._progress is not None and self.plan is not None:
            self._progress(len(self._made), len(self.plan.requests))

    def _make(self, runner: Runner, step: Sign, request: SignRequest) -> None:
        """One signature: made, judged, kept."""
        if request.musig is not None:
            signature = self._part(runner, request, request.musig)
        elif request.output_key is not None:
            signature = self._key_path(runner, request)
        else:
            signature = runner.sign(step, request)
        self._admit(request, signature)
        with contextlib.suppress(StateError):  # it is made anew then
            self.state.add_partial(self.psbt.unsigned_tx(), kept_entry(request, signature))

    def _key_path(self, runner: Runner, request: SignRequest) -> bytes:
        """The signature of a tweaked key. A card that does not make it is no longer held for one that does."""
        session = runner.session
        try:
            made = runner.sign_key_path(request.digest, request.public_key)
        except (BadSignatureError, NotSupportedError) as error:
            with contextlib.suppress(StateError):  # it fails again then
                self.state.update(session.card.serial, lambda now: replace(now, taproot=None))
            raise FailedError(NO_KEY_PATH_TEXT) from error
        self._admit_nonce(request, made.nonce)
        return made.signature

    def _part(self, runner: Runner, request: SignRequest, part: MusigPart) -> bytes:
        """The card's part of a MuSig2 signature."""
        try:
            made = runner.sign_part(part, request.digest)
        except BadSignatureError as error:
            raise FailedError(NO_PART_TEXT) from error
        self._admit_nonce(request, made[:NONCE_LENGTH])
        return made

    def _admit_nonce(self, request: SignRequest, nonce: bytes) -> None:
        self._memory.admit_nonce(request.digest, nonce, None if self._remembered is None else self._remembered.txid)

    # What this computer remembers

    def _admit(self, request: SignRequest, signature: bytes) -> None:
        """Take a signature, unless its nonce was used before: then it is kept nowhere."""
        shown = signature if request.musig is None else request.musig.as_signature(request.digest, signature)
        try:
            self._memory.admit(
                request.digest, request.public_key, shown, request.kind, self._remembered, request.input_index
            )
        except RepeatedNonceError:
            self._keep_only_made()
            raise
        self._made.append((request, signature))

    def _keep_only_made(self) -> None:
        """A signature that was kept by an earlier version of this program may be the one to be thrown away."""
        if self._made:
            self.keep()
        else:
            with contextlib.suppress(StateError):
                self.state.drop_partial(self.psbt.unsigned_tx())

    # Signatures of an interrupted signing

    def _partial(self, collected: Collected) -> list[tuple[Candidate, bytes]]:
        """Signatures kept earlier, each verified against what it is for; the rest is left aside."""
        try:
            stored = self.state.partial(self.psbt.unsigned_tx())
        except StateError:
            return []
        return kept_signatures(stored, collected.candidates)

    def keep(self) -> None:
        """Keep the signatures made for the next attempt: also after `run`, until its result is safe somewhere."""
        if not self._made:
            return
        entries = [kept_entry(request, signature) for request, signature in self._made]
        with contextlib.suppress(StateError):  # they are made anew then
            self.state.keep_partial(self.psbt.unsigned_tx(), entries)


def confirm(wallet: Wallet, made: Plan) -> None:
    """Show a plan in the dialogue that gave the PIN, or that the configuration names; WalletError where the person does
    not agree. Does nothing where there is neither."""
    if wallet.unlocker.confirms:
        session, approval = wallet.session(), wallet.approval()
        touches = 0 if approval is None else approval.needed([request.digest for request in made.requests])
        wallet.unlocker.confirm(*review_text(made, session.card.serial, session.fingerprint, touches))
