"""MuSig2 (BIP327) as the host of one signer needs it: keys and nonces aggregated, partial signatures verified and
aggregated; and the extended key of an aggregate (BIP328).

No nonce and no private key is ever here: those are the signers'.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cryptnox_core.crypto import points
from cryptnox_core.crypto.hashes import tagged_hash
from cryptnox_core.crypto.points import ORDER, Point
from cryptnox_core.crypto.secp256k1 import verify_schnorr
from cryptnox_core.errors import UsageError

KEY_LENGTH = 33
NONCE_LENGTH = 66
PARTIAL_LENGTH = 32
CHAIN_CODE = bytes.fromhex("868087ca02a6f974c4598924c36b57762d32cb45717167e300622c7167e38965")
"""Of the extended key of every aggregate (BIP328): SHA-256 of "MuSig2MuSig2MuSig2"."""
NOBODYS_KEY = bytes.fromhex("0250929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0")
"""A point whose private key nobody knows (BIP341)."""

_INFINITY = bytes(KEY_LENGTH)


class InvalidContributionError(UsageError):
    """A signer gave something that is no public key, nonce or partial signature. `signer`: its number from 0; None:
    the aggregate of all nonces, from which it cannot be told whose part is wrong."""

    def __init__(self, signer: int | None, what: str) -> None:
        super().__init__(f"{what} of signer {signer} is not valid" if signer is not None else f"{what} is not valid")
        self.signer = signer
        self.what = what


def _scalar(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _point(data: bytes) -> Point:
    """A compressed point. Raises ValueError."""
    if len(data) != KEY_LENGTH or data[0] not in (2, 3):
        raise ValueError("not a compressed point")
    return points.backend().parse(data)


def _sum(*terms: Point | None) -> Point | None:
    """Of points, None for infinity."""
    total: Point | None = None
    for term in terms:
        if total is None or term is None:
            total = total or term
        elif total.format() == _negated(term).format():
            total = None
        else:
            total = total.add(term)
    return total


def _negated(point: Point) -> Point:
    data = point.format()
    return points.backend().parse(bytes((5 - data[0],)) + data[1:])


def _times(factor: int, point: Point | None) -> Point | None:
    return point.times(_scalar(factor)) if point is not None and factor else None


def _base(factor: int) -> Point | None:
    generator = points.backend().parse(points.GENERATOR)
    return _times(factor, generator)


def _signed(even: bool) -> int:
    return 1 if even else ORDER - 1


def _is_even(data: bytes) -> bool:
    return data[0] == 2


@dataclass(frozen=True)
class KeyAggregate:
    """The aggregate of a list of keys, and the tweaks that were added to it (KeyAgg Context)."""

    keys: tuple[bytes, ...]
    """33 bytes each, in the order of the list."""
    key: bytes
    """33 bytes: the aggregate, tweaked."""
    sign: int = 1
    """1, or the order less 1 (gacc)."""
    tweak: int = 0
    """What was added in all (tacc)."""

    @property
    def xonly(self) -> bytes:
        """32 bytes."""
        return self.key[1:]

    def tweaked(self, tweak: bytes, *, xonly: bool) -> KeyAggregate:
        """With a tweak added (ApplyTweak). `tweak`: 32 bytes. `xonly`: to the key of even y, as taproot does.

        Raises: UsageError where it is not below the group order, or where the sum is the point at infinity.
        """
        value = int.from_bytes(tweak, "big")
        if len(tweak) != 32 or value >= ORDER:
            raise UsageError("the tweak is not below the group order")
        sign = _signed(not xonly or _is_even(self.key))
        found = _sum(_times(sign, _point(self.key)), _base(value))
        if found is None:
            raise UsageError("the sum is the point at infinity")
        return KeyAggregate(self.keys, found.format(), sign * self.sign % ORDER, (value + sign * self.tweak) % ORDER)

    def derived(self, levels: Sequence[int]) -> KeyAggregate:
        """The child key of a wallet's aggregate (BIP328): BIP32's tweaks, added one after the other.

        `levels`: unhardened child numbers. Raises: UsageError for others, and for a child that does not exist.
        """
        found, chain_code = self, CHAIN_CODE
        for level in levels:
            if not 0 <= level < 2**31:
                raise UsageError("a key of several signers only has unhardened children")
            digest = hmac.new(chain_code, found.key + level.to_bytes(4, "big"), hashlib.sha512).digest()
            found, chain_code = found.tweaked(digest[:32], xonly=False), digest[32:]
        return found


def sort_keys(keys: Sequence[bytes]) -> list[bytes]:
    """Keys in the order in which they are aggregated where no order is agreed on (KeySort)."""
    return sorted(keys)


def _coefficient(keys: Sequence[bytes], key: bytes) -> int:
    """KeyAggCoeff: 1 for the second distinct key of the list, and for its copies."""
    second = next((other for other in keys if other != keys[0]), None)
    if key == second:
        return 1
    together = tagged_hash("KeyAgg list", b"".join(keys))
    return int.from_bytes(tagged_hash("KeyAgg coefficient", together + key), "big") % ORDER


def aggregate_keys(keys: Sequence[bytes]) -> KeyAggregate:
    """The aggregate of keys of 33 bytes, in this order (KeyAgg). Raises: InvalidContributionError, UsageError."""
    if not keys:
        raise UsageError("no key was given")
    parsed = []
    for number, key in enumerate(keys):
        try:
            parsed.append(_point(key))
        except ValueError as error:
            raise InvalidContributionError(number, "the public key") from error
    found = _sum(*(_times(_coefficient(keys, key), point) for key, point in zip(keys, parsed, strict=True)))
    if found is None:
        raise UsageError("the aggregate is the point at infinity")
    return KeyAggregate(tuple(keys), found.format())


def aggregate_nonces(nonces: Sequence[bytes]) -> bytes:
    """The aggregate (66 bytes) of the signers' public nonces of 66 bytes (NonceAgg). Raises:
    InvalidContributionError."""
    halves = []
    for at in (0, KEY_LENGTH):
        parsed = []
        for number, nonce in enumerate(nonces):
            try:
                if len(nonce) != NONCE_LENGTH:
                    raise ValueError
                parsed.append(_point(nonce[at : at + KEY_LENGTH]))
            except ValueError as error:
                raise InvalidContributionError(number, "the public nonce") from error
        found = _sum(*parsed)
        halves.append(_INFINITY if found is None else found.format())
    return b"".join(halves)


class _Values(NamedTuple):
    """GetSessionValues."""

    b: int
    nonce: bytes
    """33 bytes: R."""
    e: int


@dataclass(frozen=True)
class Session:
    """One signing: the aggregate of the keys, that of the nonces (66 bytes), and the message."""

    keys: KeyAggregate
    nonces: bytes
    message: bytes

    def _values(self) -> _Values:
        key = self.keys.xonly
        b = int.from_bytes(tagged_hash("MuSig/noncecoef", self.nonces + key + self.message), "big") % ORDER
        try:
            first, second = (
                None if half == _INFINITY else _point(half)
                for half in (self.nonces[:KEY_LENGTH], self.nonces[KEY_LENGTH:])
            )
        except ValueError as error:
            raise InvalidContributionError(None, "the aggregate nonce") from error
        found = _sum(first, _times(b, second))
        nonce = points.GENERATOR if found is None else found.format()
        e = int.from_bytes(tagged_hash("BIP0340/challenge", nonce[1:] + key + self.message), "big") % ORDER
        return _Values(b, nonce, e)

    @property
    def lacks_a_nonce(self) -> bool:
        """Whether half the aggregate nonce is the point at infinity. BIP327 allows it, and a card cannot take it."""
        return _INFINITY in (self.nonces[:KEY_LENGTH], self.nonces[KEY_LENGTH:])

    @property
    def nonce(self) -> bytes:
        """32 bytes: the first half of the signature. Raises: InvalidContributionError."""
        return self._values().nonce[1:]

    def verify(self, partial: bytes, nonce: bytes, key: bytes) -> bool:
        """Whether a partial signature (32 bytes) is that of one signer (PartialSigVerify).

        `nonce`: the signer's public nonce, 66 bytes; `key`: its public key, 33 bytes, one of the list.
        Raises: InvalidContributionError for an aggregate nonce that is none; UsageError for a key that is not there.
        """
        if key not in self.keys.keys:
            raise UsageError("the key is not one of those that sign")
        values = self._values()
        s = int.from_bytes(partial, "big")
        if len(partial) != PARTIAL_LENGTH or s >= ORDER or len(nonce) != NONCE_LENGTH:
            return False
        try:
            first, second = _point(nonce[:KEY_LENGTH]), _point(nonce[KEY_LENGTH:])
        except ValueError:
            return False
        effective = _times(_signed(_is_even(values.nonce)), _sum(first, _times(values.b, second)))
        sign = _signed(_is_even(self.keys.key)) * self.keys.sign % ORDER
        factor = values.e * _coefficient(self.keys.keys, key) * sign % ORDER
        wanted = _sum(effective, _times(factor, _point(key)))
        found = _base(s)
        return (found and found.format()) == (wanted and wanted.format())

    def signature(self, partials: Sequence[bytes]) -> bytes:
        """The signature (64 bytes, BIP340) that the partial ones of all signers make, verified (PartialSigAgg).

        Raises: InvalidContributionError for a part above the order; UsageError where the whole does not verify.
        """
        if len(self.message) != 32:
            raise UsageError("a message to sign has 32 bytes")
        values = self._values()
        total = 0
        for number, partial in enumerate(partials):
            part = int.from_bytes(partial, "big")
            if len(partial) != PARTIAL_LENGTH or part >= ORDER:
                raise InvalidContributionError(number, "the partial signature")
            total += part
        total += values.e * _signed(_is_even(self.keys.key)) * self.keys.tweak
        signature = values.nonce[1:] + _scalar(total % ORDER)
        if not verify_schnorr(self.keys.xonly, self.message, signature):
            raise UsageError("the partial signatures do not make a valid signature")
        return signature
