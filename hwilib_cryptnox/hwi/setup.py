"""`setup`, `restore` and `wipe` of HWI's command line: dialogues on the terminal, which leave stdin and stdout alone.

Each is for the one card that was named, and no other. Nothing is changed before the person has confirmed it.
`cryptnoxctl setup` offers more.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace

from cryptnox_core.arguments import is_pin
from cryptnox_core.errors import TransportError
from cryptnox_core.wire import COMMON_PAIRING_KEY, NAME_MAX
from hwilib_cryptnox.console.terminal import ATTEMPTS, Terminal
from hwilib_cryptnox.console.weak import weakness_of_pin
from hwilib_cryptnox.errors import (
    NOT_INITIALIZED_TEXT,
    RESET_DISABLED_TEXT,
    AlreadyInitializedError,
    BadRequestError,
    CanceledError,
    CardNotFoundError,
    EndedError,
    LastTryError,
    LeftError,
    NoPinError,
    NoTerminalError,
    NotReadyError,
    NoWalletError,
    RetoldError,
    TerminalError,
    UnavailableError,
    WalletError,
    tries_text,
)
from hwilib_cryptnox.hwi.errors import to_hwi_error
from hwilib_cryptnox.hwi.finding import BY_SERIAL, only_wallet
from hwilib_cryptnox.pin.policy import Unlocker, tries_left
from hwilib_cryptnox.signer.cards import Access, OpenCard
from hwilib_cryptnox.signer.faults.irreversible import AWAY_TEXT, End, erase, erased_words, failure, forget_erased
from hwilib_cryptnox.signer.mnemonic import Expected, entropy_length
from hwilib_cryptnox.signer.provision import Provision, telling
from hwilib_cryptnox.signer.setup.choices import Opening, Question, ask_puk, choose_all, with_a_way_back
from hwilib_cryptnox.signer.setup.recovery import ask_seed, check_backup
from hwilib_cryptnox.signer.setup.slip39 import SHARE_WORDS
from hwilib_cryptnox.signer.wallet import Wallet
from hwilib_cryptnox.storage.state import StateError

_log = logging.getLogger(__name__)


# Which card


def named_card(
    access: Access, unlocker: Unlocker, path: str | None, fingerprint: bytes | None, *, empty: bool = False
) -> Wallet:
    """The card at `path`, or the only one in all readers; with `fingerprint` the one that has it, which is read from
    the card: the PIN is asked for where no source has it. `empty`: cards without a seed go before others.

    Raises BadRequestError where several cards may be meant, CardNotFoundError where none is, or where the one at
    `path` has another fingerprint; and what keeps the PIN from being verified.
    """
    if path:
        wallet = Wallet(path, access, unlocker, expected=fingerprint)
    else:
        wallet = only_wallet(access, unlocker, fingerprint, empty=empty)
    if fingerprint is not None:
        try:
            _prove(wallet, unlocker)
        except BaseException:
            wallet.close()
            raise
    return wallet


def _prove(wallet: Wallet, unlocker: Unlocker) -> None:
    """Read the fingerprint from the card and compare it."""
    opened = wallet.open()
    wallet.access.admit(opened.card)
    if not opened.card.info.seeded:
        raise CardNotFoundError(f"the card {opened.card.serial} has no seed, so it has no fingerprint; {BY_SERIAL}")
    try:
        if not unlocker.has_source:
            wallet.unlocker = replace(unlocker, password=_typed_pin(opened))
        wallet.session()
    except WalletError as error:
        kind = error.cause if isinstance(error, RetoldError) else error
        if not isinstance(kind, NotReadyError | UnavailableError) and not isinstance(error, NoPinError):
            raise
        text = f"the fingerprint of the card {opened.card.serial} is read with its PIN: {error}. Without it {BY_SERIAL}"
        raise RetoldError(error, text) from error


def _typed_pin(opened: OpenCard) -> str:
    left = tries_left(opened.card)
    terminal = Terminal()
    try:
        return terminal.pin(
            f"PIN of card {opened.card.serial} (at most {tries_text(left)} left), to compare its fingerprint"
        )
    except LeftError as error:
        raise CanceledError(str(error)) from error
    except TerminalError as error:
        raise NoPinError(str(error)) from error


# A new card


def _with_hint(text: str, hint: str) -> str:
    """One text of both, as sentences; a command at the beginning stays as it is typed."""
    hint = hint if hint.startswith("cryptnoxctl") else hint[:1].upper() + hint[1:]
    return f"{text}. {hint}" if hint else text


def setup(wallet: Wallet, label: str = "", passphrase: str = "") -> bool:
    """Initialise a card and give it a new seed: recovery words, all typed back, or a seed nobody ever sees.

    `label` is the owner's name on the card, up to 20 bytes. WalletError for a card that has a seed, without a terminal,
    when the person leaves; its text says what is true of the card then.
    """
    if passphrase:
        raise BadRequestError("--backup_passphrase: the card makes no backup that a passphrase could protect")
    with _begun(wallet, label) as work:
        terminal = work.terminal

        def seed(_: bool) -> int:
            """The number of new words; 0 for a seed of the card alone."""
            with terminal.a_way_back(False):
                choice = terminal.choose(
                    "Seed",
                    {
                        "words": (
                            "new recovery words, shown once: with them the wallet survives the loss of the card "
                            "(recommended)"
                        ),
                        "card": "made on the card and never shown: lose the card and you lose the money",
                    },
                )
            if choice == "card":
                terminal.say("A key made on the card has NO backup. Lose or break the card and you lose the money.")
                terminal.typed("No recovery words, no second chance.", "no backup")
                return 0
            return int(terminal.choose("How many words", {"12": "128 bits", "24": "256 bits"}))

        count = with_a_way_back(terminal, seed)
        _prepare(work, wallet, label)
        if not count:
            work.check = ""
            work.generate()
            return _finish(work, None)
        expected = work.new_words(count)
        work.restore(expected)
        return _finish(work, expected)


def restore(wallet: Wallet, label: str = "", word_count: int = 24) -> bool:
    """Initialise a card with the seed of recovery words (12 to 24) or SLIP39 shares (20 or 33 words each), which are
    typed hidden. Arguments and errors as `setup`."""
    if word_count not in SHARE_WORDS:
        entropy_length(word_count)
    with _begun(wallet, label) as work:
        expected = ask_seed(work.terminal, word_count)
        _prepare(work, wallet, label)
        work.restore(expected)
        return _finish(work, expected)


@contextlib.contextmanager
def _begun(wallet: Wallet, label: str) -> Iterator[Provision]:
    """The card, which must have no seed and be one that may be given secrets, and somebody at the terminal."""
    opened, terminal = wallet.open(), Terminal()
    if opened.card.info.seeded:
        raise AlreadyInitializedError("Device is already initialized. Use wipe first and try again")
    if opened.card.info.is_nft:
        raise UnavailableError("an NFT card is set up with cryptnoxctl")
    if not label.isprintable() or len(label.encode("utf-8", "replace")) > NAME_MAX:
        raise BadRequestError(f"--label: at most {NAME_MAX} bytes of printable text")
    if not terminal.available:
        missing = NoTerminalError(f"setting up the card {opened.card.serial}")
        raise UnavailableError(f"{missing}: this command needs a terminal")
    try:
        with telling(Provision(wallet.access, opened, terminal)) as work:
            terminal.say(f"Setting up the Cryptnox card {work.serial}.")
            work.admit()
            yield work
    except EndedError as error:  # HWI's callers have no place for a hint beside the text
        raise RetoldError(error, _with_hint(str(error), error.hint)) from error


def _prepare(work: Provision, wallet: Wallet, label: str) -> None:
    """The card initialised and unlocked, its PIN and PUK proved."""
    terminal, given = work.terminal, wallet.unlocker.explicit
    if not work.card.info.initialized:
        chosen = Opening(label)

        def pin() -> None:
            chosen.pin = _new_pin(terminal, given)

        def puk() -> None:
            chosen.puk = ask_puk(terminal)

        questions = {"pin": Question("the PIN", pin), "puk": Question("the PUK", puk)}
        name = f"name {label}" if label else "no name"
        choose_all(terminal, questions, lambda: f"You chose: PIN, PUK, {name}.", "Initialize the card now?")
        work.initialise(label, "", chosen.pin, chosen.puk, COMMON_PAIRING_KEY)
        return

    def unlock(opened: OpenCard) -> str:
        if tries_left(opened.card) <= 1:
            raise LastTryError(
                "at most one PIN try is left: set a new PIN with the PUK first (cryptnoxctl pin change --with-puk)"
            )
        own = given or terminal.pin()
        return replace(wallet.unlocker, password=own).verify(opened.card, opened.reader)

    # Initialised by another tool, or a reset was torn: its PIN and PUK are there already.
    terminal.say("The card is initialized and has no seed. Enter its own PUK and PIN.")
    work.take_over(terminal.puk, unlock, attempts=ATTEMPTS)
    terminal.confirm("Put the seed on the card now?")


def _new_pin(terminal: Terminal, given: str | None) -> str:
    """A PIN that came with the command was typed once, somewhere: it becomes the card's when it is typed again here."""
    if given is None:
        return terminal.new_pin()
    terminal.say("The PIN given with the command becomes the card's PIN.")
    if not terminal.keeps("PIN", weakness_of_pin(given) if is_pin(given) else None):
        return terminal.new_pin()
    while True:
        for _ in range(ATTEMPTS):
            if terminal.pin("Type the PIN again") == given:
                return given
            terminal.say("That is not the PIN you gave")
        terminal.again()


def _finish(work: Provision, expected: Expected | None) -> bool:
    fingerprint = work.finish(expected).fingerprint.hex()
    proof = " Fingerprint, first address, and account key match the words." if expected is not None else ""
    work.terminal.say(f"Done. Fingerprint of the wallet: {fingerprint}.{proof}")
    if expected is not None and expected.words:
        checked = check_backup(work.terminal, lambda typed: typed == expected, expected.words)
        # Once more, last: nothing after it can hide what was done.
        work.terminal.say(f"The card {work.serial} is set up and holds the wallet {fingerprint}.")
        if not checked:
            work.terminal.say(
                f"The backup was NOT compared with the card. Do this before you put money on it: {work.check}"
            )
    elif work.check:
        work.terminal.say("The words on your paper match this wallet: they were compared with the card.")
    return True


# The factory state


def wipe(wallet: Wallet, done: list[str] | None = None) -> bool:
    """Back to the factory state: the person types the serial number, then the PUK. True: the card is erased.

    `done` gets the sentence that says so as soon as it is true. Raises CanceledError where the person leaves,
    UnavailableError without a terminal, otherwise one with what is true of the card; StatusWordError where it refuses
    the PUK.
    """
    opened = wallet.open()
    serial = opened.card.serial
    if not opened.card.info.initialized:
        raise NoWalletError(f"{NOT_INITIALIZED_TEXT}: there is nothing to wipe")
    if opened.card.info.reset_disabled:
        raise UnavailableError(RESET_DISABLED_TEXT)
    wallet.access.admit(opened.card)
    terminal = Terminal()
    puk = _asked(opened, terminal)
    wait = wallet.access.settings.reinsert_wait
    ending = erase(wallet.access, opened, puk, lambda: terminal.say(AWAY_TEXT.format(wait)))
    words = erased_words(serial)
    if done is not None and ending.end is End.TAKEN:
        done.append(words.done)  # before anything else can be interrupted
    lost = forget_erased(wallet.access.state, serial, ending.end)
    if ending.end is not End.TAKEN:
        cause = ending.lost or TransportError("the answer was lost")
        message, hint = failure(words, ending, to_hwi_error(cause).message)
        raise RetoldError(cause, f"{message}. {hint[:1].upper()}{hint[1:]}")
    if lost is not None:
        _log.warning("this computer still remembers the card %d: %s", serial, lost)
    return True


def _asked(opened: OpenCard, terminal: Terminal) -> str:
    """The PUK, after the person has named the card."""
    serial = opened.card.serial
    known = b""
    with contextlib.suppress(StateError):  # then it is not said
        known = opened.state.record(serial).fingerprint or b""
    wallet = f", whose wallet has the fingerprint {known.hex()}" if known and not opened.simulated else ""
    try:
        terminal.say(f"This erases the card {serial} in {opened.reader}{wallet}.")
        terminal.say("Without its recovery words, the money on it is lost.")
        terminal.typed("", str(serial))
        return terminal.puk()
    except LeftError as error:
        raise CanceledError(str(error)) from error
    except TerminalError as error:
        raise UnavailableError(f"{error}: this command needs a terminal") from error
