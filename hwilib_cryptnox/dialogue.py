"""`setup`, `restore` and `wipe` of HWI's command line: dialogues on the terminal, which leave stdin and stdout alone.

Nothing is changed before the person has confirmed it. `cryptnoxctl setup` offers more.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import ParamSpec, TypeVar

from cryptnox_core.errors import UsageError
from cryptnox_core.session import Card
from cryptnox_core.wire import NAME_MAX, PUK_LENGTH, RANDOM_MAX
from hwilib_cryptnox import mnemonic
from hwilib_cryptnox.access import OpenCard
from hwilib_cryptnox.ctl.errors import CanceledError, CtlError
from hwilib_cryptnox.ctl.prompts import ATTEMPTS, Terminal
from hwilib_cryptnox.faults import RESET_DISABLED_TEXT, Code, WalletError
from hwilib_cryptnox.state import StateError
from hwilib_cryptnox.unlock import tries_left
from hwilib_cryptnox.wallet import Wallet

P = ParamSpec("P")
T = TypeVar("T")

_PUK_DIGITS = "0123456789"


def _answered(function: Callable[P, T]) -> Callable[P, T]:
    """What goes wrong on the terminal, as HWI's errors: left is CANCELED, no terminal is UNAVAILABLE."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except CanceledError as error:
            raise WalletError(Code.CANCELED, str(error)) from error
        except CtlError as error:
            raise WalletError(Code.UNAVAILABLE, f"{error}: this command needs a terminal") from error

    return wrapper


@_answered
def setup(wallet: Wallet, label: str = "", passphrase: str = "") -> bool:
    """Initialise a card and give it a new seed: recovery words shown once, or a seed nobody ever sees.

    `label` is the owner's name on the card, up to 20 bytes. WalletError for a card that has a seed, without a terminal,
    when the person leaves.
    """
    if passphrase:
        raise WalletError(Code.BAD_ARGUMENT, "--backup_passphrase: the card has no backup a passphrase could be for")
    found, terminal = _begin(wallet, label)
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
    count = 0
    if choice == "words":
        count = int(terminal.choose("How many words", {"12": "128 bits", "24": "256 bits"}))
    pin, puk = _prepare(found, wallet, label, terminal)
    if choice == "words":
        words = _new_words(found.card, count)
        _show_words(terminal, words)
        found.card.load_seed(mnemonic.seed(words), pin)
    else:
        found.card.generate_key(pin)
    return _finish(found, terminal, puk)


@_answered
def restore(wallet: Wallet, label: str = "", word_count: int = 24) -> bool:
    """Initialise a card with the seed of recovery words, which are typed hidden. Arguments and errors as `setup`."""
    mnemonic.entropy_length(word_count)
    found, terminal = _begin(wallet, label)
    words = _typed_words(terminal, word_count)
    passphrase = terminal.hidden("Passphrase (empty for none)")
    if passphrase and terminal.hidden("The same again") != passphrase:
        raise WalletError(Code.BAD_ARGUMENT, "the two passphrases differ; nothing was changed")
    pin, puk = _prepare(found, wallet, label, terminal)
    found.card.load_seed(mnemonic.seed(words, passphrase), pin)
    return _finish(found, terminal, puk)


@_answered
def wipe(wallet: Wallet) -> bool:
    """Back to the factory state. The person types the serial number, then the PUK."""
    found, terminal = wallet.open(), Terminal()
    serial = found.card.serial
    if not found.card.info.initialized:
        raise WalletError(Code.NOT_INITIALIZED, "Not initialized: there is nothing to wipe")
    if found.card.info.reset_disabled:
        raise WalletError(Code.UNAVAILABLE, RESET_DISABLED_TEXT)
    terminal.say(f"This erases the card {serial}. Without its recovery words the money on it is lost.")
    terminal.typed("", str(serial))
    found.card.reset(terminal.puk())
    wallet.access.state.forget(serial)
    wallet.access.state.keep_pairing_key(serial, None)
    return True


def _begin(wallet: Wallet, label: str) -> tuple[OpenCard, Terminal]:
    """The card, which must have no seed, and somebody at the terminal."""
    found, terminal = wallet.open(), Terminal()
    if found.card.info.seeded:
        raise WalletError(Code.ALREADY_INITIALIZED, "Device is already initialized. Use wipe first and try again")
    if found.card.info.is_nft:
        raise WalletError(Code.UNAVAILABLE, "an NFT card is set up with cryptnoxctl")
    if len(label.encode("utf-8")) > NAME_MAX:
        raise WalletError(Code.BAD_ARGUMENT, f"--label: at most {NAME_MAX} bytes")
    terminal.say(f"Setting up the Cryptnox card {found.card.serial}.")
    return found, terminal


def _prepare(found: OpenCard, wallet: Wallet, label: str, terminal: Terminal) -> tuple[str, str]:
    """PIN and PUK; the card initialised and unlocked."""
    card, pin = found.card, wallet.unlocker.explicit
    if card.info.initialized:
        # Initialised by another tool, or a reset was torn: its PIN and PUK are there already.
        terminal.say("The card is initialised and has no seed: its own PIN and PUK are wanted.")
        if tries_left(card) <= 1:
            raise WalletError(Code.NOT_READY, "at most one PIN try is left: unblock with the PUK first")
        pin, puk = pin or terminal.pin(), terminal.puk()
        terminal.confirm("Put the seed on the card now?")
        replace(wallet.unlocker, password=pin).unlock(card, found.reader)
        return pin, puk
    if pin is None:
        pin = terminal.new_pin()
    puk = _new_puk(terminal)
    terminal.confirm("Initialise the card now?")
    with contextlib.suppress(StateError):  # the card gets the common key; one of before it was erased is of no use
        wallet.access.state.keep_pairing_key(card.serial, None)
    card.init(label, "", pin=pin, puk=puk)
    wallet.access.identify(found)
    replace(wallet.unlocker, password=pin).unlock(card, found.reader)
    return pin, puk


def _new_puk(terminal: Terminal) -> str:
    if terminal.choose("PUK", {"new": "made now and shown once", "own": f"your own {PUK_LENGTH} characters"}) == "own":
        return terminal.new_puk()
    puk = "".join(secrets.choice(_PUK_DIGITS) for _ in range(PUK_LENGTH))
    terminal.show_secret(["The PUK unblocks a blocked PIN and resets the card.", "", f"    {puk}"])
    return puk


def _new_words(card: Card, count: int) -> str:
    """From the card's randomness and this computer's: as good as the better of the two."""
    length = mnemonic.entropy_length(count)
    return mnemonic.from_entropy(
        mnemonic.mixed_entropy(length, card.random_bytes(RANDOM_MAX), secrets.token_bytes(RANDOM_MAX))
    )


def _show_words(terminal: Terminal, words: str) -> None:
    """Once, and then three of them typed back."""
    numbered = words.split()
    lines = [f"{number:>4}  {word}" for number, word in enumerate(numbered, 1)]
    terminal.show_secret(["Write these words down, in this order, on paper. They are shown once.", "", *lines])
    for number in sorted(secrets.SystemRandom().sample(range(len(numbered)), 3)):
        for _ in range(ATTEMPTS):
            if terminal.hidden(f"Word {number + 1}").strip().lower() == numbered[number]:
                break
            terminal.say("That is another word. Look at what you wrote down.")
        else:
            raise CanceledError("Canceled: the words were not written down. The card has a PIN and no seed")


def _typed_words(terminal: Terminal, count: int) -> str:
    for _ in range(ATTEMPTS):
        try:
            return mnemonic.checked(terminal.hidden(f"The {count} recovery words, in one line"), count)
        except UsageError as error:
            terminal.say(f"{error}; nothing was changed")
    raise CanceledError


def _finish(found: OpenCard, terminal: Terminal, puk: str) -> bool:
    """Extended keys readable (the card wants the seed first), the fingerprint shown."""
    card = found.card
    card.set_xpub_export(True, puk)
    fingerprint = card.master_fingerprint()
    if not found.simulated:
        with contextlib.suppress(StateError):  # it is read again when it is needed
            found.state.update(card.serial, lambda now: replace(now, fingerprint=fingerprint))
    terminal.say(f"Done. Fingerprint of the wallet: {fingerprint.hex()}")
    return True
