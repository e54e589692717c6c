"""Signing a PSBT on a card: fetch keys, prove, sign, and go on after a fault with what is left."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptnox_core.bip32 import HARDENED, ExtendedPublicKey, Path
from cryptnox_core.derivation import (
    Derive,
    Position,
    ReadExtended,
    ReadOnTheFly,
    ReadPublicKey,
    Sign,
    Step,
    plan_session,
)
from cryptnox_core.errors import (
    CertificateError,
    MalformedResponseError,
    NotAuthenticatedError,
    ProtocolError,
    TransportError,
    UsageError,
)
from cryptnox_core.hashes import hash256
from cryptnox_core.secp256k1 import verify_ecdsa, verify_schnorr
from cryptnox_core.wire import MAX_DEPTH, XPUB_MIN_DEPTH, SignatureKind
from hwilib_cryptnox.audit import remember
from hwilib_cryptnox.faults import Code, WalletError
from hwilib_cryptnox.psbt import (
    Candidate,
    Chain,
    Change,
    Collected,
    Plan,
    Policy,
    Psbt,
    SignRequest,
    Summary,
    collect,
    describe,
    insert,
    plan,
)
from hwilib_cryptnox.psbt import SignatureKind as Kind
from hwilib_cryptnox.psbt import fields as psbt_fields
from hwilib_cryptnox.psbt.summary import ChangeProver
from hwilib_cryptnox.settings import Settings
from hwilib_cryptnox.state import State, StateError
from hwilib_cryptnox.wallet import deriving

if TYPE_CHECKING:
    from hwilib_cryptnox.wallet import Progress, Session, Wallet

FRUITLESS = 3
"""Times in a row a card is opened anew without a further signature before the signing is given up."""
_RETRY = 0.2
_MOST_CLAIMED = 16
"""Keys that are read from the card for nothing but to prove change; an output may claim anything."""
_ECDSA = {Kind.ECDSA: SignatureKind.ECDSA, Kind.SCHNORR: SignatureKind.SCHNORR}
_ORIGINLESS = 3
"""Levels an origin may have whose fingerprint is an account's (Electrum): chain and address, with room for one more."""


class Runner:
    """Runs the planner's steps on a session. A PIN that a signature ended is verified again where it is wanted."""

    def __init__(
        self,
        session: Session,
        state: State,
        extended: dict[Path, ExtendedPublicKey],
        public: dict[Path, bytes],
    ) -> None:
        self.session = session
        self.extended = extended
        self.public = public
        self._state = state
        self._ends = False
        self._ended = False
        with contextlib.suppress(StateError):  # then it is found out
            self._ends = state.record(session.card.serial).pin_ends

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
                card.derive(suffix, source=source)
                self.session.position = Position(result)
            case ReadPublicKey(path):
                self.public[path] = card.public_key()
            case ReadOnTheFly(path, source, suffix):
                self.public[path] = card.public_key(suffix, source=source)
            case ReadExtended(path):
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
            kind=_ECDSA[request.kind],
        )
        self._ended = True
        return signature

    def _verify_again(self) -> None:
        """With the PIN the card has just accepted in a signature: no new attempt. A refusal ends the session."""
        self.session.card.verify_pin(self.session.pin)
        self._ended = False

    def _learn(self) -> None:
        """Remember that this card ends the PIN with each signature: next time no command is spent on finding out."""
        if not self._ends:
            self._ends = True
            with contextlib.suppress(StateError):  # found out again then
                self._state.update(self.session.card.serial, lambda now: replace(now, pin_ends=True))


class Signing:
    """One PSBT. `approve` is told the plan before the first signature and raises to stop; `prover` proves change that
    more than one key can spend."""

    def __init__(
        self,
        wallet: Wallet,
        psbt: Psbt,
        *,
        test: bool,
        progress: Progress | None,
        approve: Callable[[Plan], None] | None = None,
        prover: ChangeProver | None = None,
    ) -> None:
        self.wallet = wallet
        self.psbt = psbt
        self.settings = wallet.access.settings
        self.state = wallet.access.state
        self._test = test
        self._progress = progress
        self._approve = approve
        self._prover = prover
        self._extended = wallet.keys
        self._public: dict[Path, bytes] = {}
        self._kept: list[tuple[Candidate, bytes]] = []
        self._made: list[tuple[SignRequest, bytes]] = []
        self._requests: dict[tuple[object, ...], SignRequest] = {}
        self._asked: dict[bytes, None] = {}
        self.plan: Plan | None = None

    def run(self) -> Psbt:
        """The PSBT with our signatures. PsbtError, WalletError or CryptnoxError where it cannot be signed; signatures
        made until then are kept for the next attempt."""
        fingerprint = self.wallet.known_fingerprint()
        if fingerprint is not None and nothing_to_do(self.psbt, fingerprint):
            return self.psbt
        purpose = ""
        if self.wallet.unlocker.asks_person:
            purpose = purpose_of(self.psbt, fingerprint, test=self._test)
        session = self.wallet.session(purpose)
        collected = self._collect(session)
        if collected.nothing_to_do:
            return self.psbt
        reason = collected.why_nothing()
        if reason is not None:
            raise WalletError(Code.BAD_ARGUMENT, reason)
        self._load_partial(collected)
        try:
            self._work(session, collected)
        except BaseException:
            self._keep_partial()
            raise
        finally:
            self._audit(session.card.serial)
        if self.plan is None:
            raise UsageError("nothing was planned")
        reason = self.plan.why_nothing()
        if reason is not None:
            raise WalletError(Code.BAD_ARGUMENT, reason)
        done = insert(self.psbt, self._made)
        with contextlib.suppress(StateError):  # it expires
            self.state.drop_partial(self.psbt.unsigned_tx())
        return done

    def _collect(self, session: Session) -> Collected:
        collected = collect(self.psbt, session.fingerprint)
        if any(collected.claims) or not originless(self.psbt) or not session.card.info.xpub_export:
            return collected
        accounts = standard_accounts(test=self._test)
        keys = self.wallet.xpubs(accounts)
        return collect(self.psbt, session.fingerprint, {keys[path].fingerprint: path for path in accounts})

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
                session = self._reopen(error)
            else:
                return

    def _reopen(self, cause: Exception) -> Session:
        """The same card again, waiting for it to come back. The cause is raised where it does not."""
        end = time.monotonic() + self.settings.reinsert_wait
        while True:
            try:
                return self.wallet.reopen()
            except TransportError:
                self.wallet.forget_card()
            except WalletError as error:
                self.wallet.forget_card()
                if error.code is not Code.CONNECTION:
                    raise
            if time.monotonic() >= end:
                raise cause
            time.sleep(_RETRY)

    def _attempt(self, session: Session, collected: Collected) -> None:
        done = {_place(candidate) for candidate, _ in self._kept}
        done |= {_place_of_request(request) for request, _ in self._made}
        left = [candidate for candidate in collected.candidates if _place(candidate) not in done]
        export = session.card.info.xpub_export
        xpubs, singles = wanted_keys(collected, export=export)
        steps = plan_session(
            xpubs=[path for path in xpubs if path not in self._extended],
            public_keys=[path for path in singles if path not in self._public],
            signatures=[candidate.claim.path for candidate in left],
            known=tuple(self._extended),
            at=session.position,
        )
        runner = Runner(session, self.state, self._extended, self._public)
        for step in steps:
            if isinstance(step, Sign):
                self._sign(runner, step, left[step.index], collected)
            else:
                with deriving(session.found):
                    runner.step(step)
        self._prove(collected)

    def _prove(self, collected: Collected) -> None:
        """The engine's plan, made once, when all keys are there: what it refuses is refused before any signature."""
        if self.plan is None:
            keys = derived_keys((*collected.paths, *collected.change_paths), self._extended, self._public)
            policy = policy_of(self.settings)
            made = plan(self.psbt, collected, keys, policy, prover=self._prover)
            if self._approve is not None:
                self._approve(made)
            self.plan = made
            self._requests = {_place_of_request(request): request for request in self.plan.requests}
            for candidate, signature in self._kept:
                request = self._requests.get(_place(candidate))
                if request is not None:
                    self._made.append((request, signature))
            self._kept = []

    def _sign(self, runner: Runner, step: Sign, candidate: Candidate, collected: Collected) -> None:
        self._prove(collected)
        request = self._requests.get(_place(candidate))
        if request is None:
            return
        if self._progress is not None and self.plan is not None:
            self._progress(len(self._made), len(self.plan.requests))
        self._asked[request.digest] = None
        self._made.append((request, runner.sign(step, request)))

    # Signatures of an interrupted signing

    def _load_partial(self, collected: Collected) -> None:
        """Signatures kept earlier, each verified against what it is for; the rest is left aside."""
        try:
            stored = self.state.partial(self.psbt.unsigned_tx())
        except StateError:
            return
        found = {}
        for entry in stored if isinstance(stored, list) else []:
            if isinstance(entry, dict) and all(isinstance(value, str) for value in entry.values()):
                with contextlib.suppress(ValueError, KeyError):  # not hex, or something is missing
                    found[bytes.fromhex(entry["digest"]), bytes.fromhex(entry["key"])] = bytes.fromhex(
                        entry["signature"]
                    )
        for candidate in collected.candidates:
            signature = found.get((candidate.digest, candidate.claim.public_key))
            if signature is not None and _verifies(candidate, signature):
                self._kept.append((candidate, signature))

    def _keep_partial(self) -> None:
        if not self._made:
            return
        content = []
        for request, signature in self._made:
            key = request.public_key if request.kind is Kind.ECDSA else request.public_key[1:]
            content.append({"digest": request.digest.hex(), "key": key.hex(), "signature": signature.hex()})
        with contextlib.suppress(StateError):  # they are made anew then
            self.state.keep_partial(self.psbt.unsigned_tx(), content)

    def _audit(self, serial: int) -> None:
        if self._asked:
            txid = hash256(self.psbt.unsigned_tx())[::-1].hex()
            remember(self.settings, self.state, serial, self._asked, txid)


def _place(candidate: Candidate) -> tuple[object, ...]:
    return candidate.index, candidate.claim.path, candidate.kind, candidate.leaf_hash, candidate.digest


def _place_of_request(request: SignRequest) -> tuple[object, ...]:
    return request.input_index, request.path, request.kind, request.leaf_hash, request.digest


def _verifies(candidate: Candidate, signature: bytes) -> bool:
    try:
        if candidate.kind is Kind.ECDSA:
            return verify_ecdsa(candidate.claim.public_key, candidate.digest, signature)
        return verify_schnorr(candidate.claim.public_key, candidate.digest, signature)
    except UsageError:
        return False


def policy_of(settings: Settings) -> Policy:
    """What the user allows."""
    return Policy(
        allow_sighash=settings.allow_sighash,
        allow_unproved_amounts=settings.allow_unproved_amounts,
        max_fee_rate=settings.max_fee_rate,
        max_fee=settings.max_fee,
    )


def nothing_to_do(psbt: Psbt, fingerprint: bytes) -> bool:
    """Whether nothing is left to sign for a master key, told without card and PIN. False also where only the card can
    tell: an origin may be an account's."""
    collected = collect(psbt, fingerprint)
    return collected.nothing_to_do and (any(collected.claims) or not originless(psbt))


def account_prefix(path: Path) -> Path | None:
    """The key from which a path's key can be derived without the card: the shortest of 3 levels or more below which
    nothing is hardened. None where there is none."""
    hardened = max((depth for depth, step in enumerate(path.steps, 1) if step >= HARDENED), default=0)
    depth = max(hardened, XPUB_MIN_DEPTH)
    return Path(path.steps[:depth]) if depth <= min(path.depth, MAX_DEPTH) else None


def wanted_keys(collected: Collected, *, export: bool) -> tuple[list[Path], list[Path]]:
    """Which extended and which single public keys to read. Keys of inputs all; of outputs those that cost nothing more,
    and a few others: an output may claim anything."""
    xpubs: dict[Path, None] = {}
    singles: dict[Path, None] = {}

    def want(path: Path) -> None:
        prefix = account_prefix(path) if export else None
        if prefix is not None:
            xpubs[prefix] = None
        else:
            singles[path] = None

    for path in collected.paths:
        want(path)
    extra = 0
    for path in collected.change_paths:
        prefix = account_prefix(path) if export else None
        if path.depth <= MAX_DEPTH and prefix not in xpubs and path not in singles and extra < _MOST_CLAIMED:
            extra += 1
            want(path)
    return list(xpubs), [path for path in singles if path.depth <= MAX_DEPTH]


def derived_keys(
    paths: Iterable[Path], extended: Mapping[Path, ExtendedPublicKey], public: Mapping[Path, bytes]
) -> dict[Path, bytes]:
    """The compressed keys at paths, as far as they follow from what was read."""
    keys = dict(public)
    branches: dict[Path, ExtendedPublicKey] = dict(extended)
    for path in paths:
        if path in keys:
            continue
        prefix = account_prefix(path)
        if prefix is None or prefix not in extended:
            continue
        if path == prefix:
            keys[path] = extended[prefix].public_key
            continue
        parent = path.parent
        if parent not in branches:
            branches[parent] = extended[prefix].derive(parent.below(prefix))
        keys[path] = branches[parent].child_public_key(path.steps[-1])
    return keys


def standard_accounts(*, test: bool) -> list[Path]:
    """The first account of each standard type: what an origin-less wallet may have been made from."""
    coin = int(test) | HARDENED
    accounts = [Path((purpose | HARDENED, coin, HARDENED)) for purpose in (44, 49, 84)]
    return accounts + [Path((48 | HARDENED, coin, HARDENED, script | HARDENED)) for script in (1, 2)]


def originless(psbt: Psbt) -> bool:
    """Whether an input has a key whose origin may be an account instead of a master key."""
    return any(_is_short(value) for fields in psbt.inputs for value in _origins(fields.pairs))


def _origins(pairs: Mapping[bytes, bytes]) -> Iterator[bytes]:
    for key, value in pairs.items():
        if key[0] == psbt_fields.IN_BIP32_DERIVATION:
            yield value


def _is_short(value: bytes) -> bool:
    levels = [value[at : at + 4] for at in range(4, len(value), 4)]
    return 0 < len(levels) <= _ORIGINLESS and all(level[3] < 0x80 for level in levels if len(level) == 4)


def purpose_of(psbt: Psbt, fingerprint: bytes | None, *, test: bool) -> str:
    """What a PSBT does, in a few lines for a PIN dialogue: from the PSBT alone, so that change is only claimed."""
    collected = collect(psbt, bytes(4) if fingerprint is None else fingerprint)
    return summary_text(describe(psbt, collected), Chain.TEST if test else Chain.MAIN)


def summary_text(summary: Summary, chain: Chain) -> str:
    """Amount, destinations and fee, one line each."""
    lines = ["Sign a transaction"]
    for output in summary.outputs:
        to = output.address(chain) or f"script {output.script.hex()[:40]}"
        claimed = "" if output.change is Change.NOT_OURS else " (claimed change)"
        lines.append(f"{_bitcoin(output.amount)} to {to}{claimed}")
    if len(lines) > _MOST_LINES:
        more = len(lines) - _MOST_LINES
        lines = [*lines[:_MOST_LINES], f"and {more} more outputs, {_bitcoin(summary.amount_out)} in all"]
    fee = "unknown" if summary.fee is None else _bitcoin(summary.fee)
    return "\n".join([*lines, f"Fee {fee}"])


_MOST_LINES = 9


def _bitcoin(satoshi: int) -> str:
    return f"{satoshi // 10**8}.{satoshi % 10**8:08d} BTC"
