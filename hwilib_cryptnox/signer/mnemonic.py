"""Recovery words (BIP39, English): made, checked, and at the terminal shown, typed back, asked for, compared with a
card. Nothing of them is stored; errors never repeat a word."""

from __future__ import annotations

import hashlib
import secrets
import textwrap
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cryptnox_core.bip32 import Path
from cryptnox_core.card import Card
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.console.terminal import ATTEMPTS, Terminal
from hwilib_cryptnox.errors import BadWordsError, LeftError

WORD_COUNTS = (12, 15, 18, 21, 24)
_ROUNDS = 2048
UNIQUE = 4
"""Letters that tell a word of the list from all others (BIP39)."""
NO_CHECK = "no check"
"""What is typed to go on without comparing the backup with the card."""
_RANDOM = 32
_CELL = 14
"""Columns of a word with its number: `24. abstract`, and two blanks."""
_LEAST = 5
"""Rows that are left for words at least, and the question, where there is room for the introduction."""
_INTRODUCTION = (
    "Write these words down on paper, in this order. Whoever has them has the money; without them it is lost with the "
    "card. They are shown only now."
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
        raise UsageError("these are no recovery words: one is not in the list, or the checksum does not fit")
    return plain


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
    """64 bytes."""

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


def pages(words: list[str], columns: int, rows: int) -> Iterator[list[str]]:
    """Screens that show all words, numbered, with what they are for; each fits into so many columns and rows, the
    question below it included. As few screens as can be; on each the words run down its columns."""
    head = [*textwrap.wrap(_INTRODUCTION, columns), ""]
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
    """The person types every word, hidden; four letters are enough. LeftError where it does not come right."""
    terminal.say("Type all words back, from your paper; the first four letters of each are enough. They are not shown.")
    number = 0
    while number < len(words):
        for _ in range(ATTEMPTS):
            typed = terminal.hidden(f"Word {number + 1} of {len(words)}").strip().lower()
            if typed in (words[number], words[number][:UNIQUE]):
                break
            terminal.say(f"That is not word {number + 1}")
        else:
            if not terminal.agrees("Show the words again?"):
                raise LeftError("Canceled: the words were not typed back, so no seed was loaded")
            show(terminal, words)
            number = -1
        number += 1


def ask_count(terminal: Terminal) -> int:
    """How many words a person's mnemonic has."""
    for _ in range(ATTEMPTS):
        answer = terminal.ask(f"How many words ({'/'.join(map(str, WORD_COUNTS))})")
        if answer in map(str, WORD_COUNTS):
            return int(answer)
    raise LeftError


def ask_seed(terminal: Terminal, count: int | None = None) -> Expected:
    """That of an existing mnemonic of `count` words (None: it is asked) and its passphrase, typed hidden, in one line
    or in several; checked by the list and its checksum. Nothing that was typed is left out: more words are refused.

    BadWordsError after three attempts that were none; its text repeats no word.
    """
    number = ask_count(terminal) if count is None else count
    for _ in range(ATTEMPTS):
        terminal.say(f"Type the {number} words of your mnemonic, one a line or several. They are not shown.")
        words = _typed(terminal, number)
        if not words:
            continue
        try:
            checked(" ".join(words), number)
        except UsageError:
            terminal.say("These words are no mnemonic: a word is wrong or in the wrong place. Begin anew.")
        else:
            return Expected.of(words, ask_passphrase(terminal))
    raise BadWordsError("These words are no mnemonic: the checksum is wrong", hint="compare them with your paper")


def _typed(terminal: Terminal, count: int) -> list[str]:
    """So many words of the list; none where more were typed, which has been said then."""
    from embit.wordlists.bip39 import WORDLIST

    known, words = frozenset(WORDLIST), list[str]()
    with terminal.hiding("the words of a mnemonic") as hidden:
        while len(words) < count:
            line = unicodedata.normalize("NFKD", hidden.line(f"Word {len(words) + 1}")).lower().split()
            strange = [place for place, word in enumerate(line, len(words) + 1) if word not in known]
            if strange:
                # What was pasted behind this line must not take its place.
                rest = "; what followed it was not used" if hidden.more() else ""
                terminal.say(f"Word {strange[0]} is no word of the list; type this line again{rest}")
                continue
            words += line
        more = len(words) > count or hidden.more()
    if more:
        terminal.say(f"These are more than {count} words: none of them is used. Begin anew.")
        return []
    return words


def ask_passphrase(terminal: Terminal) -> str:
    """The optional passphrase, typed twice; empty for none."""
    terminal.say(
        "A passphrase (25th word) makes another wallet of the same words. Most wallets have none: press Enter."
    )
    for _ in range(ATTEMPTS):
        text = terminal.hidden("Passphrase")
        if text != text.strip():
            terminal.say("It begins or ends with a blank, which counts")
        if not text or terminal.hidden("The same again") == text:
            return text
        terminal.say("the two differ")
    raise LeftError


def check_backup(terminal: Terminal, same: Callable[[Expected], bool]) -> bool:
    """Offer to compare the words on paper with the card, before money arrives. Whether that was done; declined in words
    otherwise.

    `same`: whether the card holds the wallet of these words. BadWordsError where it does not, three times.
    """
    terminal.say("\nBefore money arrives: are the words on your paper this wallet? Type them once more, in full.")
    for _ in range(ATTEMPTS):
        answer = terminal.ask(f"Press Enter to check the backup now, or type {NO_CHECK} to go on without").lower()
        if answer == NO_CHECK:
            return False
        if answer:
            continue
        if same(ask_seed(terminal)):
            terminal.say("Good: the words on your paper are this wallet.")
            return True
        terminal.say("These words (with this passphrase) are another wallet, not the card's.")
    raise BadWordsError(
        "The backup was not shown to be this card's wallet: put no money on it",
        hint="find the right words, then: cryptnoxctl backup check; or begin anew: cryptnoxctl reset, then setup",
    )
