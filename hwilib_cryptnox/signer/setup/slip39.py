"""Shares of a secret (SLIP-0039): read, checked against one another, combined. Pure; nothing is kept, and no error
repeats a word.

The secret they give is the BIP32 seed itself, as the standard has it. Words and numbers are SLIP-0039's; both kinds of
backup are read, the first one and the extendable one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

SHARE_WORDS = (20, 23, 27, 30, 33)
"""Words of a share, for secrets of 16, 20, 24, 28 and 32 bytes. Wallets make the first and the last kind."""
_RADIX = 10
"""Bits of a word."""
_METADATA = 7
"""Words of a share that are not its value: four of parameters, three of checksum."""
_MAX_PADDING = 8
"""Bits."""
_CUSTOMIZATION = (b"shamir", b"shamir_extendable")
"""In checksum and salt, by the extendable flag."""
_GENERATOR = (
    0xE0E040,
    0x1C1C080,
    0x3838100,
    0x7070200,
    0xE0E0009,
    0x1C0C2412,
    0x38086C24,
    0x3090FC48,
    0x21B1F890,
    0x3F3F120,
)
"""Of the checksum RS1024."""
_SECRET_AT, _DIGEST_AT = 255, 254
"""Where the shared secret and its digest stand on the polynomials."""
_DIGEST = 4
"""Bytes."""
_ROUNDS, _ITERATIONS = 4, 2500
"""Of the cipher; iterations of PBKDF2 in each round, before the exponent."""


class ShareError(ValueError):
    """A share that cannot be used, in a sentence for the person who typed it."""


@dataclass(frozen=True, slots=True)
class Share:
    """One share. Numbers count from 0, thresholds and counts from 1."""

    identifier: int
    extendable: bool
    exponent: int
    group: int
    group_threshold: int
    group_count: int
    member: int
    member_threshold: int
    value: bytes = field(repr=False)
    """As long as the secret: 16 to 32 bytes, an even number."""

    @classmethod
    def parse(cls, words: Sequence[str]) -> Share:
        """A share of whole words, in lower case. ShareError where it is none."""
        from embit.wordlists.slip39 import SLIP39_WORDS

        places = {word: number for number, word in enumerate(SLIP39_WORDS)}
        if len(words) not in SHARE_WORDS:
            raise ShareError(f"a share has 20 or 33 words, not {len(words)}")
        numbers = [places.get(word, -1) for word in words]
        if -1 in numbers:
            raise ShareError(f"word {numbers.index(-1) + 1} is not in the list of SLIP39")
        head = _number(numbers[:4])
        extendable = bool(head >> 24 & 1)
        if _checksum((*_CUSTOMIZATION[extendable], *numbers)) != 1:
            raise ShareError("the checksum is wrong: a word is wrong, or in the wrong place")
        value, bits = _number(numbers[4:-3]), _RADIX * (len(numbers) - _METADATA)
        padding = bits % 16
        if padding > _MAX_PADDING or value >> (bits - padding):
            raise ShareError("this share does not follow SLIP39: its padding is wrong")
        group, group_threshold, group_count, member, member_threshold = (head >> at & 15 for at in (16, 12, 8, 4, 0))
        if group_threshold > group_count:
            raise ShareError("this share does not follow SLIP39: it needs more groups than there are")
        return cls(
            head >> 25,
            extendable,
            head >> 20 & 15,
            group,
            group_threshold + 1,
            group_count + 1,
            member,
            member_threshold + 1,
            value.to_bytes((bits - padding) // 8, "big"),
        )

    @property
    def backup(self) -> tuple[object, ...]:
        """What all shares of one backup have in common."""
        return (
            self.identifier,
            self.extendable,
            self.exponent,
            self.group_threshold,
            self.group_count,
            len(self.value),
        )


@dataclass(slots=True)
class ShareSet:
    """The shares of one backup, as they come in."""

    _groups: dict[int, dict[int, Share]] = field(default_factory=dict, repr=False)

    @property
    def count(self) -> int:
        """How many are there."""
        return sum(map(len, self._groups.values()))

    @property
    def _any(self) -> Share | None:
        return next((share for group in self._groups.values() for share in group.values()), None)

    @property
    def complete(self) -> bool:
        """Whether the secret can be had."""
        one = self._any
        return one is not None and len(self._full()) == one.group_threshold

    def _full(self) -> list[int]:
        return [number for number, group in self._groups.items() if len(group) == _threshold(group)]

    def add(self, share: Share) -> None:
        """Take one more. ShareError where it does not belong to those that are there, or is not needed; nothing
        changes then."""
        one = self._any
        if one is not None and share.backup != one.backup:
            raise ShareError("this share belongs to a different backup than the ones before it")
        group = self._groups.get(share.group, {})
        if group and share.member_threshold != _threshold(group):
            raise ShareError("this share contradicts the others of its group: one of them was not made with them")
        if share.member in group:
            same = group[share.member].value == share.value
            raise ShareError(
                "you typed this share before; take another one"
                if same
                else (
                    "this share has the same number as another one but is different: one of the two was not made "
                    "with the rest"
                )
            )
        if one is not None and (self.complete or share.group in self._full()):
            raise ShareError("this share is not needed: its group has enough")
        self._groups.setdefault(share.group, {})[share.member] = share

    def wanted(self) -> str:
        """What is missing, in words; empty where nothing is."""
        one = self._any
        if one is None:
            return "the first share"
        if self.complete:
            return ""
        missing = [(number, _threshold(group) - len(group)) for number, group in sorted(self._groups.items())]
        if one.group_count == 1:
            return _shares(missing[0][1])
        texts = [f"{_shares(count)} of group {number + 1}" for number, count in missing if count]
        others = one.group_threshold - len(self._groups)
        if others > 0:
            texts.append("shares of another group" if others == 1 else f"shares of {others} other groups")
        return ", ".join(texts)

    @property
    def exponent(self) -> int:
        """How much work the backup asks for: each step doubles it."""
        one = self._any
        return 0 if one is None else one.exponent

    def check(self) -> None:
        """ShareError where the shares were not made together. Requires: `complete`."""
        self._encrypted()

    def secret(self, passphrase: str = "") -> bytes:
        """The secret, 16 to 32 bytes. Every passphrase gives one, and none is called wrong (SLIP-0039).

        Requires: `complete`. ShareError where the shares were not made together, or for a passphrase that has other
        characters than ASCII's printable ones.
        """
        key = checked_passphrase(passphrase)
        return _decrypted(self._encrypted(), key, self._first)

    @property
    def _first(self) -> Share:
        one = self._any
        if one is None or not self.complete:
            raise ShareError(f"shares are missing: {self.wanted()}")
        return one

    def _encrypted(self) -> bytes:
        threshold = self._first.group_threshold
        points = [
            (number, _combined(_threshold(group), [(share.member, share.value) for share in group.values()]))
            for number, group in self._groups.items()
            if number in self._full()
        ]
        return _combined(threshold, points)


def checked_passphrase(text: str) -> bytes:
    """A passphrase as bytes; ShareError for characters that SLIP-0039 does not allow."""
    if not all(" " <= char <= "~" for char in text):
        raise ShareError("a SLIP39 passphrase can only have unaccented letters, digits, spaces, and ASCII symbols")
    return text.encode("ascii")


def _threshold(group: dict[int, Share]) -> int:
    return next(iter(group.values())).member_threshold


def _shares(count: int) -> str:
    return f"{count} more share{'' if count == 1 else 's'}"


def _number(words: Iterable[int]) -> int:
    value = 0
    for word in words:
        value = value << _RADIX | word
    return value


def _checksum(values: Iterable[int]) -> int:
    """RS1024, a Reed-Solomon code over GF(1024): 1 where the last three words are right."""
    check = 1
    for value in values:
        top = check >> 20
        check = (check & 0xFFFFF) << 10 ^ value
        for bit, factor in enumerate(_GENERATOR):
            if top >> bit & 1:
                check ^= factor
    return check


# Shamir's scheme over GF(256), with Rijndael's polynomial


def _times(one: int, other: int) -> int:
    product = 0
    while other:
        product ^= one * (other & 1)
        one = one << 1 ^ (0x11B if one & 0x80 else 0)
        other >>= 1
    return product


def _inverse(value: int) -> int:
    """`value` to the 254th."""
    result = 1
    for _ in range(254):
        result = _times(result, value)
    return result


def _value_at(place: int, points: Sequence[tuple[int, bytes]]) -> bytes:
    """Where the polynomial through some points is at another place, byte by byte (Lagrange)."""
    result = bytes(len(points[0][1]))
    for number, value in points:
        factor = 1
        for other, _ in points:
            if other != number:
                factor = _times(factor, _times(place ^ other, _inverse(number ^ other)))
        result = bytes(sum_ ^ _times(byte, factor) for sum_, byte in zip(result, value, strict=True))
    return result


def _combined(threshold: int, points: Sequence[tuple[int, bytes]]) -> bytes:
    if threshold == 1:
        return points[0][1]
    secret, digest = _value_at(_SECRET_AT, points), _value_at(_DIGEST_AT, points)
    expected = hmac.new(digest[_DIGEST:], secret, hashlib.sha256).digest()[:_DIGEST]
    if not hmac.compare_digest(digest[:_DIGEST], expected):
        raise ShareError("these shares were not made together: one of them belongs to a different backup")
    return secret


def _decrypted(data: bytes, passphrase: bytes, share: Share) -> bytes:
    """Undo the four rounds of SLIP-0039's Feistel cipher."""
    half = len(data) // 2
    left, right = data[:half], data[half:]
    salt = b"" if share.extendable else _CUSTOMIZATION[False] + share.identifier.to_bytes(2, "big")
    for number in reversed(range(_ROUNDS)):
        key = bytes((number,)) + passphrase
        mask = hashlib.pbkdf2_hmac("sha256", key, salt + right, _ITERATIONS << share.exponent, half)
        left, right = right, bytes(one ^ other for one, other in zip(left, mask, strict=True))
    return right + left
