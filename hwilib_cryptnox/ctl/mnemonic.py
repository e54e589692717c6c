"""Mnemonics (BIP39, English): made, shown, typed back, turned into a seed. Nothing of them is stored."""

from __future__ import annotations

import secrets
import unicodedata
from dataclasses import dataclass, field

from cryptnox_core.bip32 import Path
from cryptnox_core.session import Card
from hwilib_cryptnox.ctl.errors import CanceledError, CtlError, Exit
from hwilib_cryptnox.ctl.prompts import ATTEMPTS, Terminal
from hwilib_cryptnox.mnemonic import WORD_COUNTS, entropy_length, from_entropy, mixed_entropy, seed

_RANDOM = 32


def make(card: Card, count: int) -> list[str]:
    """A new mnemonic of 12 or 24 words, from 32 bytes of the card's randomness and 32 of this computer's: good when
    either is. Requires: the channel open."""
    length = entropy_length(count)
    return from_entropy(mixed_entropy(length, secrets.token_bytes(_RANDOM), card.random_bytes(_RANDOM))).split()


def seed_of(words: list[str], passphrase: str) -> bytes:
    """The 64 bytes of BIP39."""
    return seed(" ".join(words), passphrase)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a card with this seed has to show."""

    seed: bytes = field(repr=False)
    """64 bytes."""

    @property
    def fingerprint(self) -> bytes:
        """Of the master key, 4 bytes."""
        from embit.bip32 import HDKey

        return bytes(HDKey.from_seed(self.seed).my_fingerprint)

    def public_key(self, path: Path) -> bytes:
        """The compressed key at a path."""
        from embit.bip32 import HDKey

        return bytes(HDKey.from_seed(self.seed).derive(list(path.steps)).key.get_public_key().sec())


def show(terminal: Terminal, words: list[str]) -> None:
    """The words, numbered; gone from the window when Enter is pressed."""
    lines = [f"{number:2}. {word}" for number, word in enumerate(words, 1)]
    half = (len(lines) + 1) // 2
    rows = [f"  {lines[row]:<18}{lines[row + half] if row + half < len(lines) else ''}" for row in range(half)]
    terminal.show_secret(
        [
            "Write these words down on paper, in this order. Whoever has them has the money;",
            "without them it is lost with the card. They are shown only now.",
            "",
            *rows,
        ]
    )


def type_back(terminal: Terminal, words: list[str]) -> None:
    """The person types every word, hidden. CanceledError where it does not come right."""
    terminal.say("Type the words back, from your paper. What you type is not shown.")
    number = 0
    while number < len(words):
        for _ in range(ATTEMPTS):
            if terminal.hidden(f"Word {number + 1} of {len(words)}").strip().lower() == words[number]:
                break
            terminal.say(f"That is not word {number + 1}")
        else:
            if not terminal.agrees("Show the words again?"):
                raise CanceledError("Canceled: the words were not typed back, so no seed was loaded")
            show(terminal, words)
            number = -1
        number += 1


def ask(terminal: Terminal) -> list[str]:
    """An existing mnemonic, typed hidden, word by word or in one line; checked by the list and its checksum."""
    from embit import bip39
    from embit.wordlists.bip39 import WORDLIST

    known = frozenset(WORDLIST)
    for _ in range(ATTEMPTS):
        terminal.say(
            "Type the words of your mnemonic, one a line or all in one; Enter after the last. They are not shown."
        )
        words = _typed(terminal, known)
        if len(words) in WORD_COUNTS and bip39.mnemonic_is_valid(" ".join(words)):
            return words
        terminal.say("These words are no mnemonic: a word is wrong, missing or in the wrong place. Begin anew.")
    raise CtlError(Exit.INPUT, "These words are no mnemonic: the checksum is wrong", "compare them with your paper")


def _typed(terminal: Terminal, known: frozenset[str]) -> list[str]:
    """Words of the list, as many as a mnemonic may have, or more where they came in one line."""
    words: list[str] = []
    while len(words) < WORD_COUNTS[-1]:
        typed = unicodedata.normalize("NFKD", terminal.hidden(f"Word {len(words) + 1}")).lower().split()
        if not typed and len(words) in WORD_COUNTS:
            break
        if not typed:
            terminal.say(f"A mnemonic has {', '.join(map(str, WORD_COUNTS[:-1]))} or {WORD_COUNTS[-1]} words")
        elif any(word not in known for word in typed):
            terminal.say("That is no word of the list; type it again")
        else:
            words += typed
            if len(typed) in WORD_COUNTS:
                break
    return words


def ask_passphrase(terminal: Terminal) -> str:
    """The optional passphrase, typed twice; empty for none."""
    terminal.say(
        "A passphrase (25th word) makes another wallet of the same words. Most wallets have none: press Enter."
    )
    for _ in range(ATTEMPTS):
        text = terminal.hidden("Passphrase")
        if not text or terminal.hidden("The same again") == text:
            return text
        terminal.say("the two differ")
    raise CanceledError
