"""Recovery words (BIP39, English): made, checked, and at the terminal shown and typed back. Nothing of them is stored;
errors never repeat a word."""

from __future__ import annotations

import hashlib
import secrets
import textwrap
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cryptnox_core.bip32 import Path
from cryptnox_core.card import Card
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.console.terminal import ATTEMPTS, BACK, LEAVE, Terminal
from hwilib_cryptnox.errors import BackError, LeftError

WORD_COUNTS = (12, 15, 18, 21, 24)
_ROUNDS = 2048
UNIQUE = 4
"""Letters that tell a word of the list from all others (BIP39)."""
_RANDOM = 32
_CELL = 14
"""Columns of a word with its number: `24. abstract`, and two blanks."""
_LEAST = 5
"""Rows that are left for words at least, and the question, where there is room for the introduction."""
_INTRODUCTION = (
    "Write these words down on paper, in this order. Anyone who has them has the money. Without them, the money is "
    "lost with the card. They are shown only now."
)


def entropy_length(words: int) -> int:
    """Bytes of entropy behind a number of words; UsageError unless 12, 15, 18, 21 or 24."""
    if words not in WORD_COUNTS:
        raise UsageError("recovery words are 12, 15, 18, 21 or 24")
    return words // 3 * 4


def mixed_entropy(length: int, *sources: bytes) -> bytes:
    """`length` bytes (at most 32) as hard to guess as the best of the sources: SHA-256 over all of them, cut."""
    mixed = hashlib.sha256(b"".join(hashlib.sha256(source).digest() for source in sources)).digest()
    return mixed[:length]


def from_entropy(entropy: bytes) -> str:
    """The words of 16, 20, 24, 28 or 32 bytes."""
    from embit import bip39

    words: str = bip39.mnemonic_from_bytes(entropy)
    return words


def checked(text: str, words: int | None = None) -> str:
    """The words in their plain form: lower case, single blanks. UsageError for a wrong number, an unknown word or a
    checksum that does not fit; it does not say which word."""
    from embit import bip39

    plain = " ".join(unicodedata.normalize("NFKD", text).lower().split())
    count = len(plain.split())
    if count not in WORD_COUNTS:
        raise UsageError(f"recovery words are 12, 15, 18, 21 or 24, not {count}")
    if words is not None and count != words:
        raise UsageError(f"{words} recovery words were expected, not {count}")
    if not bip39.mnemonic_is_valid(plain):
        raise UsageError("these are not recovery words: one is not in the list, or the checksum does not fit")
    return plain


def completed(text: str, known: Sequence[str]) -> str | None:
    """The word of a sorted list that is typed, in full or by its first four letters or more; None for anything else."""
    at = bisect_left(known, text)
    if at == len(known) or not known[at].startswith(text):
        return None
    return known[at] if len(text) >= UNIQUE or text == known[at] else None


def seed(words: str, passphrase: str = "") -> bytes:
    """The 64-byte seed of checked words."""
    salt = "mnemonic" + unicodedata.normalize("NFKD", passphrase)
    return hashlib.pbkdf2_hmac("sha512", words.encode("utf-8"), salt.encode("utf-8"), _ROUNDS)


def make(card: Card, count: int) -> list[str]:
    """A new mnemonic of 12 or 24 words, from 32 bytes of the card's randomness and 32 of this computer's: good when
    either is. Requires: the channel open."""
    length = entropy_length(count)
    return from_entropy(mixed_entropy(length, secrets.token_bytes(_RANDOM), card.random_bytes(_RANDOM))).split()


@dataclass(frozen=True, slots=True)
class Expected:
    """What a card with this seed has to show, derived on this computer."""

    seed: bytes = field(repr=False)
    """16 to 64 bytes; of a mnemonic 64."""
    words: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """Where they were made just now."""

    @classmethod
    def of(cls, words: list[str], passphrase: str = "") -> Expected:
        """Of checked words."""
        return cls(seed(" ".join(words), passphrase))

    @property
    def fingerprint(self) -> bytes:
        """Of the master key, 4 bytes."""
        from embit.bip32 import HDKey

        return bytes(HDKey.from_seed(self.seed).my_fingerprint)

    def public_key(self, path: Path) -> bytes:
        """The compressed key at a path, 33 bytes."""
        return self.extended_key(path)[1]

    def extended_key(self, path: Path) -> tuple[bytes, bytes]:
        """Chain code (32 bytes) and compressed key (33 bytes) at a path."""
        from embit.bip32 import HDKey

        key = HDKey.from_seed(self.seed).derive(list(path.steps))
        return bytes(key.chain_code), bytes(key.key.get_public_key().sec())


def pages(words: list[str], columns: int, rows: int, introduction: str = _INTRODUCTION) -> Iterator[list[str]]:
    """Screens that show all words, numbered, with what they are for; each fits into so many columns and rows, the
    question below it included. As few screens as can be; on each the words run down its columns."""
    head = [*textwrap.wrap(introduction, columns), ""]
    if len(head) + _LEAST > rows:
        head = []
    height, across = max(1, rows - len(head) - 2), max(1, columns // _CELL)
    numbered = [f"{number:2}. {word}".ljust(_CELL) for number, word in enumerate(words, 1)]
    for start in range(0, len(words), height * across):
        part = numbered[start : start + height * across]
        used = max(min(2, across), -(-len(part) // height))
        depth = -(-len(part) // used)
        yield [*head, *("".join(part[row::depth]).rstrip() for row in range(depth))]


def show(terminal: Terminal, words: list[str]) -> None:
    """All words, on as many screens as they need; each is gone from the window when Enter is pressed."""
    for page in pages(words, *terminal.size):
        terminal.show_secret(page)


def type_back(terminal: Terminal, words: list[str]) -> None:
    """The person types every word, hidden; four letters are enough. After three that are wrong all can be seen again;
    BackError or LeftError where the person does not go on."""
    terminal.explain(
        "Type all words back from your paper. The first four letters of each are enough. They are not shown."
    )
    number = 0
    while number < len(words):
        for _ in range(ATTEMPTS):
            typed = terminal.hidden(f"Word {number + 1} of {len(words)}").strip().lower()
            if typed in (words[number], words[number][:UNIQUE]):
                number += 1
                break
            terminal.say(f"That is not word {number + 1}")
        else:
            ways = {"again": "type this word again", "show": "see all words again"}
            ways |= {BACK: "back to the question before, and other words"} if terminal.can_go_back else {}
            way = terminal.choose("What now", {**ways, LEAVE: "stop here; no seed is loaded"})
            if way == BACK:
                raise BackError
            if way == LEAVE:
                raise LeftError("Canceled: the words were not typed back, so no seed was loaded")
            if way == "show":
                show(terminal, words)
