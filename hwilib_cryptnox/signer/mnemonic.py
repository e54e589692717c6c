"""Recovery words (BIP39, English). Nothing here remembers or shows them; errors never repeat a word."""

from __future__ import annotations

import hashlib
import unicodedata

from cryptnox_core.errors import UsageError

WORD_COUNTS = (12, 15, 18, 21, 24)
_ROUNDS = 2048


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
