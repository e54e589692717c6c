"""One card on its way from the factory to a wallet: what is done to it, and what is known to be true of it at any time.

Both programs set cards up with it. What can fail is tried before INIT and before the seed. After a lost answer the card
is opened anew, and its flags and secrets say what happened. Success is told of what was proved by use. Whatever ends a
set-up, the person is told what holds of the card now. Knows no click.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from cryptnox_core.bip32 import HARDENED, ExtendedPublicKey, Path
from cryptnox_core.card import Card
from cryptnox_core.certificate import Genuineness
from cryptnox_core.commands.setup import InitParameters
from cryptnox_core.errors import (
    CardRemovedError,
    MalformedResponseError,
    NoSeedError,
    NotAllowedError,
    NotAuthenticatedError,
    ProtocolError,
    StatusWordError,
    TransportError,
)
from cryptnox_core.wire import COMMON_PAIRING_KEY
from hwilib_cryptnox.console.terminal import Terminal
from hwilib_cryptnox.console.told import told
from hwilib_cryptnox.errors import EndedError, LeftError, RefusedPinError, SetUpError, SoftLockedError, UnknownPukError
from hwilib_cryptnox.networks import ScriptType
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.signer.cards import Access, OpenCard
from hwilib_cryptnox.signer.faults.irreversible import is_puk
from hwilib_cryptnox.signer.faults.steady import SteadyCard
from hwilib_cryptnox.signer.mnemonic import Expected, make, show, type_back
from hwilib_cryptnox.signer.setup.stages import Secrets, Stage, truth
from hwilib_cryptnox.storage.state import StateError

T = TypeVar("T")

NOT_VOUCHED_TEXT = (
    "Careful: the manufacturer does not vouch for this card. This may be an impostor's card, or something between the "
    "reader and your card that reads what you type. Put no seed on it unless you know why its certificate is not known."
)
NOT_PROVED = "not proved"
"""What is typed to go on with a PUK that the card does not let be proved."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a card shows of its wallet."""

    fingerprint: bytes
    """Of the master key, 4 bytes."""
    path: Path
    key: bytes
    """The compressed key at the path, 33 bytes."""


def first_path(coin_type: int) -> Path:
    """Of the first segwit address, m/84h/COINh/0h/0/0."""
    return Path((*(level | HARDENED for level in (ScriptType.P2WPKH.purpose, coin_type, 0)), 0, 0))


class Provision:
    """One card being set up. Closes it at its end; opens it anew by itself after a fault.

    Steps in their order: `admit`, then `initialise` or `take_over`, then `restore` (of `new_words`, or others),
    `generate` or the two of a dual seed, then `finish`. What they raise goes through `ended` (see `telling`).
    """

    def __init__(self, way: Access, opened: OpenCard, terminal: Terminal, coin_type: int = 0) -> None:
        """`opened`: selected, its certificate readable."""
        self.way = way
        self.line = SteadyCard(way, opened, terminal.say, self._opened_anew)
        self.terminal = terminal
        self.path = first_path(coin_type)
        self.serial = self.line.serial
        self.is_nft = opened.card.info.is_nft
        self.stage = Stage.UNTOUCHED
        self.shown: Shown | None = None
        self.check = f"cryptnoxctl backup check --card {self.serial}"
        """The command that compares the card with its backup; empty where there is none."""
        self._init_sent = False
        self._fresh = False
        """This set-up initialised it."""
        self._puk_proved = self._pin_proved = False
        self._pin = ""
        self._pin_sent = self._pin_accepted = False
        self._puk: str | None = None

    @property
    def opened(self) -> OpenCard:
        """The card as it is open now."""
        return self.line.opened

    @property
    def card(self) -> Card:
        """The card."""
        return self.line.opened.card

    def _opened_anew(self) -> None:
        if self._pin_accepted:
            self._unlock()

    # Before anything secret

    def admit(self) -> None:
        """Refuse a card that must not be given secrets: one with a wallet, an impostor, one that is not genuine where
        that is required. Refuse, too, where this computer could not keep what it has to: StateError."""
        self.way.admit(self.card)
        if self.card.info.seeded:
            raise SetUpError(
                f"There is already a wallet on this card. Nothing was changed on the card {self.serial}",
                hint="to use it: cryptnoxctl adopt; to erase it: cryptnoxctl reset (needs the PUK)",
            )
        if self.card.genuineness is not Genuineness.GENUINE and self.terminal.available:
            self.terminal.explain(f"\n{NOT_VOUCHED_TEXT}")
        self.way.state.hold(self.opened.reader, self.serial)
        self.way.state.pairing_keys(self.serial)
        # Of a wallet that was on it before: another seed is no surprise now.
        self.way.state.update(self.serial, lambda now: replace(now, fingerprint=None))

    # PIN, PUK, pairing key

    def initialise(self, name: str, email: str, pin: str, puk: str, key: bytes, nfc: bool | None = None) -> None:
        """INIT, and the proof of what it gave the card: pairing key and PUK by a channel each, PIN by VERIFY PIN.

        `key`: 32 bytes, the common pairing key or an own one. UsageError for what fits on no card.
        """
        InitParameters(name, email, pin, puk, key).encode()
        state = self.way.state
        keys = tuple(dict.fromkeys((key, *state.pairing_keys(self.serial), COMMON_PAIRING_KEY)))
        state.update(self.serial, lambda now: replace(now, fingerprint=None, full_counter=None, note=None))
        # What is kept is tried in this order; none is dropped before another has opened a channel.
        state.keep_pairing_key(self.serial, *(keys if len(keys) > 1 else ()))
        self._pin, self._puk = pin, puk

        def attempt() -> None:
            if self.card.info.initialized:
                return
            self.stage, self._init_sent = Stage.INIT_SENT, True
            self.card.init(name, email, pin=pin, puk=puk, pairing_key=key, nft_nfc_sign=nfc)

        try:
            self.line.run(attempt)
        except StatusWordError as refusal:
            text = f"The card refuses to be initialized (status word {refusal.sw:04X})"
            raise SetUpError(text) from refusal
        self._fresh = True
        self.line.run(self._open_channel)
        self.stage = Stage.INITIALISED
        self._check_pairing_key(key)
        if not self._prove_puk():
            raise SetUpError(
                f"The card {self.serial} has a different PUK than the one you chose: another program just set one, "
                "or something changed it on the way",
                hint="do not use this card or this reader: without its PUK, the card cannot be reset",
            )
        self.line.run(self._note_full_counter)
        try:
            self.line.run(self._unlock)
        except RefusedPinError as error:
            if not error.spent:
                raise
            raise SetUpError(
                f"The card {self.serial} has a different PIN than the one you chose: something changed it on the way",
                hint=f"do not use this reader; cryptnoxctl reset --card {self.serial} with your PUK, then start over",
            ) from error
        self._pin_proved = True
        both = "your PIN and your PUK" if self._puk_proved else "your PIN"
        self.terminal.say(f"The card {self.serial} is initialized: it took {both}.")

    def take_over(self, puk: Callable[[], str], unlock: Callable[[OpenCard], str], *, attempts: int = 1) -> None:
        """A card that is initialised and has no seed: its PUK is proved, then its PIN verified.

        `puk` gives the PUK, which costs no try; it is asked `attempts` times, and where that is more than once, until
        the person leaves. `unlock` verifies a PIN and returns it.
        """
        self.line.run(self._open_channel)
        self.stage = Stage.INITIALISED
        self._ask_puk(puk, attempts)
        if not self.card.info.pin_auth:
            self.line.run(self.line.reopen)  # one SELECT may be noise
        self._pin = unlock(self.opened)
        self._pin_sent = self._pin_accepted = self._pin_proved = True

    def _ask_puk(self, puk: Callable[[], str], attempts: int) -> None:
        for number in itertools.count(1):
            self._puk = puk()
            if self._prove_puk():
                return
            if attempts == 1:
                break
            self.terminal.say("That is not the PUK of this card. (It cost no try.)")
            try:
                if number % attempts == 0:
                    self.terminal.again()
            except LeftError:
                break
        raise UnknownPukError(
            f"That is not the PUK of the card {self.serial}, and no seed is put on a card whose PUK is not known",
            hint="use another card: without its PUK, a card can never be reset",
        )

    def _open_channel(self) -> None:
        if not self.card.info.initialized:
            raise MalformedResponseError("SELECT: the card was initialized a moment ago, and now says that it is not")
        if not self.card.channel_open:
            self.way.identify(self.opened)

    def _check_pairing_key(self, key: bytes) -> None:
        """The channel was opened with the key that was chosen."""
        if not self.card.opened_by(key):
            raise SetUpError(
                f"The card {self.serial} has a different pairing key than the one chosen: something changed it "
                "on the way",
                hint="do not use this card or this reader",
            )

    def _prove_puk(self) -> bool:
        """Whether the PUK is the card's; where the card lets none be proved the person goes on, or LeftError."""
        given = self._puk or ""
        try:
            self._puk_proved = self.line.run(lambda: is_puk(self.way, self.opened, given))
            return self._puk_proved
        except StatusWordError as error:
            self.line.leave()
            self.line.run(self._open_channel)
            self.terminal.typed(
                f"This card does not let you prove its PUK ({error}). With a wrong PUK, it can never be reset.",
                NOT_PROVED,
            )
            return True

    def _note_full_counter(self) -> None:
        """A new card shows its full counter: with it a lost answer of VERIFY PIN can be told from a refusal."""
        left = self.card.pin_tries_left()
        with contextlib.suppress(StateError):
            self.way.state.update(self.serial, lambda now: replace(now, full_counter=left, note=None))

    def _unlock(self) -> None:
        """VERIFY PIN: the first time as a PIN that may be wrong, later as one whose end is known or can be found."""
        if self._fresh and not self.card.info.pin_auth:
            raise MalformedResponseError("SELECT: the card says that PIN authentication is off, although it is new")
        unlocker = Unlocker(self.way.settings, self.way.state, self._pin)
        try:
            if self._pin_sent:
                unlocker.resume(self.card, self.opened.reader, self._pin)
            else:
                self._pin_sent = True
                unlocker.verify(self.card, self.opened.reader)
        except SoftLockedError as error:
            if not self._fresh:
                raise
            raise CardRemovedError("the card was reset by another program") from error  # no PIN was refused yet
        self._pin_accepted = True

    # The seed

    def new_words(self, count: int) -> Expected:
        """A new mnemonic of 12 or 24 words, partly the card's randomness: shown, and typed back. The card has no seed
        yet; `restore` follows."""
        words = self.line.run(lambda: make(self.card, count))
        show(self.terminal, words)
        type_back(self.terminal, words)
        return replace(Expected.of(words), words=tuple(words))

    def restore(self, expected: Expected) -> None:
        """LOAD KEY. `finish` has to follow: the first block of the seed can be changed on the way (`first_block`)."""
        self._give_seed(lambda: self.card.load_seed(expected.seed, self._pin))

    def generate(self) -> None:
        """GENERATE KEY."""
        self._give_seed(lambda: self.card.generate_key(self._pin))

    def dual_start(self) -> bytes:
        """LOAD KEY, first step of a dual seed: this card's signed public key. Changes nothing that is of use alone."""
        return self.line.run(lambda: self.card.dual_seed_start(self._pin))

    def dual_finish(self, other: bytes) -> None:
        """LOAD KEY, second step, with the other card's signed public key."""
        self._give_seed(lambda: self.card.dual_seed_finish(other, self._pin))

    def _give_seed(self, send: Callable[[], object]) -> None:
        sent = False

        def attempt() -> None:
            nonlocal sent
            again, sent = sent, True
            if again and self.card.info.seeded:
                return
            self.stage = Stage.SEED_SENT
            try:
                send()
            except StatusWordError as refusal:
                # What it says is one thing, what it has another: `finish` says which seed.
                self.line.reopen()
                if not self.card.info.seeded:
                    self.stage = Stage.INITIALISED
                    raise
                if isinstance(refusal, NotAllowedError) and not again:
                    self.stage = Stage.SEEDED
                    raise

        self.line.run(attempt)
        self.stage = Stage.SEEDED

    # What it holds

    def finish(self, expected: Expected | Shown | None) -> Shown:
        """Fingerprint and first key, read from the card, which have to be the expected ones (None: there are none);
        then xpub export is switched on, which the card wants a seed for. SetUpError where something does not fit."""
        self.shown = shown = self._seen(
            lambda: Shown(self.card.master_fingerprint(), self.path, self.card.public_key(self.path))
        )
        wanted = shown
        if isinstance(expected, Expected):
            wanted = Shown(expected.fingerprint, self.path, expected.public_key(self.path))
        elif expected is not None:
            wanted = expected
        if shown != wanted:
            self.stage = Stage.OTHER_SEED
            raise SetUpError(
                f"The card's fingerprint or first address is not what it should be ({shown.fingerprint.hex()}, not "
                f"{wanted.fingerprint.hex()}): something changed its seed on the way",
                hint=f"erase it and use another reader: cryptnoxctl reset --card {self.serial}",
            )
        self.stage = Stage.PROVED
        if not self.opened.simulated:
            with contextlib.suppress(StateError):  # it is read again when it is needed
                self.way.state.update(self.serial, lambda now: replace(now, fingerprint=shown.fingerprint))
        self.line.run(lambda: self._export_on(shown, expected))
        return shown

    def _seen(self, read: Callable[[], T]) -> T:
        """What is read from a card that should have a seed."""
        try:
            return self.line.run(read)
        except (NoSeedError, NotAuthenticatedError):
            self.stage = Stage.SEED_SENT  # its answer, or its flags, said that it has one
            raise

    def _export_on(self, shown: Shown, expected: Expected | Shown | None) -> None:
        """Have the card give its account's extended key, which has to fit the first address, and the words."""
        account = self.path.parent.parent
        key = self._extended_key(account)
        fits = key.child(self.path.steps[-2]).child_public_key(self.path.steps[-1]) == shown.key
        if isinstance(expected, Expected):
            fits = fits and (key.chain_code, key.public_key) == expected.extended_key(account)
        if not fits:
            raise SetUpError(
                f"The card gives an extended key for {account} that does not belong to it",
                hint="do not use this card or this reader",
            )

    def _extended_key(self, account: Path) -> ExtendedPublicKey:
        """The account's extended key; its export is switched on where flags or card say that it is off."""
        for on in (self.card.info.xpub_export, False):
            refused = None if on else self._switch_export()
            try:
                return self.card.extended_public_key(account)
            except (NotAuthenticatedError, NotAllowedError) as error:
                if refused is not None:
                    raise refused from error
                refusal = error
                if not on:
                    break
        text = f"The card gives no extended key, although it accepted the command that turns export on ({refusal})"
        raise SetUpError(text, hint=f"cryptnoxctl xpub on --card {self.serial}") from refusal

    def _switch_export(self) -> StatusWordError | None:
        """Switch it on; the card's refusal, which is true where it gives no extended key."""
        try:
            self.card.set_xpub_export(True, self._puk or "")
        except StatusWordError as refusal:
            return refusal
        self._puk_proved = True
        return None

    def single_key(self) -> bytes:
        """The public key of a card that holds one key, 33 bytes."""
        key = self._seen(lambda: self.card.public_key())
        self.stage = Stage.PROVED
        return key

    # The end

    def find_out(self) -> None:
        """Where the end of INIT or of the seed is not known: ask the card, once, for its flags."""
        if self.stage not in (Stage.INIT_SENT, Stage.SEED_SENT):
            return
        with contextlib.suppress(Exception, KeyboardInterrupt):
            info = self.line.look()
            if self.stage is Stage.SEED_SENT:
                self.stage = Stage.SEEDED if info.seeded else Stage.INITIALISED
            elif info.initialized:
                self.stage, self._fresh = Stage.INITIALISED, True
            else:
                self.stage = Stage.UNTOUCHED

    def ended(self, error: BaseException) -> EndedError:
        """How the set-up ended, with what is true of the card."""
        self.find_out()
        problem = told(error)
        stopped = isinstance(error, LeftError | KeyboardInterrupt)
        lost = isinstance(error, TransportError | ProtocolError)
        if self.stage is Stage.UNTOUCHED and not self._init_sent and not stopped:
            return EndedError(error, problem.message, hint=problem.hint)
        truth, hint = self.truth()
        hint = hint if stopped or lost else problem.hint or hint
        return EndedError(error, f"{said_of(error)}; {truth}", hint=hint)

    def truth(self) -> tuple[str, str]:
        """What is true of the card, and what to do."""
        fingerprint = None if self.shown is None else self.shown.fingerprint
        secrets = Secrets.AS_BEFORE
        if self._fresh or self._init_sent:
            secrets = Secrets.PROVED if self._puk_proved and self._pin_proved else Secrets.CHOSEN
        return truth(self.stage, self.serial, secrets, self.check, fingerprint)


def said_of(error: BaseException) -> str:
    """What ended a set-up, in a sentence to go on from: without a word on what was changed where the person left."""
    return error.said if isinstance(error, LeftError) else told(error).message


@contextlib.contextmanager
def telling(provision: Provision) -> Iterator[Provision]:
    """Around a set-up: however it ends, the person is told what is true of the card, and the card is released."""
    try:
        yield provision
    except EndedError:
        raise
    except (Exception, KeyboardInterrupt) as error:
        raise provision.ended(error) from error
    finally:
        provision.line.close()
