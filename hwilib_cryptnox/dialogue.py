"""`setup`, `restore` and `wipe` of HWI's command line: dialogues on the terminal, which leave stdin and stdout alone.

Nothing is changed before the person has confirmed it. `cryptnoxctl setup` offers more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import ParamSpec, TypeVar

from cryptnox_core.wire import COMMON_PAIRING_KEY, NAME_MAX, PUK_LENGTH
from hwilib_cryptnox.access import OpenCard
from hwilib_cryptnox.ctl import mnemonic
from hwilib_cryptnox.ctl.errors import CanceledError, CtlError, Exit
from hwilib_cryptnox.ctl.prompts import ATTEMPTS, NoTerminalError, Terminal
from hwilib_cryptnox.ctl.provision import Provision, telling
from hwilib_cryptnox.faults import Code, WalletError
from hwilib_cryptnox.mnemonic import entropy_length
from hwilib_cryptnox.unlock import tries_left
from hwilib_cryptnox.wallet import Wallet

P = ParamSpec("P")
T = TypeVar("T")

_CODES = {
    Exit.NO_CARD: Code.CONNECTION,
    Exit.SECRET: Code.BAD_ARGUMENT,
    Exit.INPUT: Code.BAD_ARGUMENT,
    Exit.USAGE: Code.BAD_ARGUMENT,
}
"""HWI's codes for the ends of a dialogue; the others are FAILURE."""


def _answered(function: Callable[P, T]) -> Callable[P, T]:
    """What goes wrong on the terminal, as HWI's errors: left is CANCELED, no terminal is UNAVAILABLE."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except NoTerminalError as error:
            raise WalletError(Code.UNAVAILABLE, f"{error}: this command needs a terminal") from error
        except CtlError as error:
            raise WalletError(_code(error), _with_hint(error)) from error

    return wrapper


def _with_hint(error: CtlError) -> str:
    """One text of both, as sentences; a command at the beginning stays as it is typed."""
    hint = error.hint if error.hint.startswith("cryptnoxctl") else error.hint[:1].upper() + error.hint[1:]
    return f"{error}. {hint}" if hint else str(error)


def _code(error: CtlError) -> Code:
    """What ended a set-up is the cause of the error that tells of it."""
    cause = error.__cause__ or error
    if isinstance(cause, CanceledError | KeyboardInterrupt):
        return Code.CANCELED
    if isinstance(cause, WalletError):
        return cause.code
    return _CODES.get(error.exit_code, Code.FAILURE)


@_answered
def setup(wallet: Wallet, label: str = "", passphrase: str = "") -> bool:
    """Initialise a card and give it a new seed: recovery words, all typed back, or a seed nobody ever sees.

    `label` is the owner's name on the card, up to 20 bytes. WalletError for a card that has a seed, without a terminal,
    when the person leaves; its text says what is true of the card then.
    """
    if passphrase:
        raise WalletError(Code.BAD_ARGUMENT, "--backup_passphrase: the card has no backup a passphrase could be for")
    with _begun(wallet, label) as work:
        terminal = work.terminal
        choice = terminal.choose(
            "Seed",
            {
                "words": "new recovery words, shown once: with them the wallet survives the card (recommended)",
                "card": "made on the card and never shown: lost card, lost money",
            },
        )
        if choice == "card":
            terminal.say("There is NO backup of such a seed. A lost or broken card is lost money.")
            terminal.typed("No recovery words, no second chance.", "no backup")
            work.check = ""
            _prepare(work, wallet, label)
            work.generate()
            return _finish(work, None)
        count = int(terminal.choose("How many words", {"12": "128 bits", "24": "256 bits"}))
        _prepare(work, wallet, label)
        words = work.new_words(count)
        mnemonic.show(terminal, words)
        mnemonic.type_back(terminal, words)
        return _load(work, mnemonic.Expected.of(words))


@_answered
def restore(wallet: Wallet, label: str = "", word_count: int = 24) -> bool:
    """Initialise a card with the seed of recovery words, which are typed hidden. Arguments and errors as `setup`."""
    entropy_length(word_count)
    with _begun(wallet, label) as work:
        words = mnemonic.ask(work.terminal, word_count)
        expected = mnemonic.Expected.of(words, mnemonic.ask_passphrase(work.terminal))
        _prepare(work, wallet, label)
        return _load(work, expected)


@contextmanager
def _begun(wallet: Wallet, label: str) -> Iterator[Provision]:
    """The card, which must have no seed and be one that may be given secrets, and somebody at the terminal."""
    found, terminal = wallet.open(), Terminal()
    if found.card.info.seeded:
        raise WalletError(Code.ALREADY_INITIALIZED, "Device is already initialized. Use wipe first and try again")
    if found.card.info.is_nft:
        raise WalletError(Code.UNAVAILABLE, "an NFT card is set up with cryptnoxctl")
    if not label.isprintable() or len(label.encode("utf-8", "replace")) > NAME_MAX:
        raise WalletError(Code.BAD_ARGUMENT, f"--label: at most {NAME_MAX} bytes of text that can be shown")
    if not terminal.available:
        raise NoTerminalError(f"setting up the card {found.card.serial}")
    with telling(Provision(wallet.access, found, terminal)) as work:
        terminal.say(f"Setting up the Cryptnox card {work.serial}.")
        work.admit()
        yield work


def _prepare(work: Provision, wallet: Wallet, label: str) -> None:
    """The card initialised and unlocked, its PIN and PUK proved."""
    terminal, given = work.terminal, wallet.unlocker.explicit
    if not work.card.info.initialized:
        pin = _new_pin(terminal, given)
        puk = _new_puk(terminal)
        terminal.confirm("Initialise the card now?")
        work.initialise(label, "", pin, puk, COMMON_PAIRING_KEY)
        return

    def unlock(found: OpenCard) -> str:
        if tries_left(found.card) <= 1:
            raise WalletError(Code.NOT_READY, "at most one PIN try is left: unblock with the PUK first")
        own = given or terminal.pin()
        return replace(wallet.unlocker, password=own).unlock(found.card, found.reader)

    # Initialised by another tool, or a reset was torn: its PIN and PUK are there already.
    terminal.say("The card is initialised and has no seed: its own PUK and PIN are wanted.")
    work.take_over(terminal.puk, unlock, attempts=ATTEMPTS)
    terminal.confirm("Put the seed on the card now?")


def _new_pin(terminal: Terminal, given: str | None) -> str:
    """A PIN that came with the command was typed once, somewhere: it becomes the card's when it is typed again here."""
    if given is None:
        return terminal.new_pin()
    terminal.say("The PIN that was given with the command becomes the card's.")
    for _ in range(ATTEMPTS):
        if terminal.pin("The same PIN again") == given:
            return given
        terminal.say("That is another PIN than the one given")
    raise CanceledError


def _new_puk(terminal: Terminal) -> str:
    if terminal.choose("PUK", {"new": "made now and shown once", "own": f"your own {PUK_LENGTH} characters"}) == "own":
        return terminal.new_puk()
    return terminal.drawn_puk()


def _load(work: Provision, expected: mnemonic.Expected) -> bool:
    work.load_seed(expected.seed)
    return _finish(work, expected)


def _finish(work: Provision, expected: mnemonic.Expected | None) -> bool:
    """Compared with the words, extended keys readable (the card wants the seed first), the fingerprint shown."""
    fingerprint = work.compare(expected).fingerprint.hex()
    work.export_on(expected)
    proof = " Fingerprint, first address and account key are those of the words." if expected is not None else ""
    work.terminal.say(f"Done. Fingerprint of the wallet: {fingerprint}.{proof}")
    if work.check:
        work.terminal.say(f"Before money arrives, compare the words on your paper with the card: {work.check}")
    return True
