"""Points of secp256k1 by the first library that can be loaded: coincurve; embit's own libsecp256k1; embit's arithmetic
in Python, which takes a hundred times as long and needs no library.

Every one gives the same answers (tests/core/test_points.py). None is given a private key, so none has to hide how long
it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, Protocol

FIELD = 2**256 - 2**32 - 977
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
GENERATOR = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")


class Point(Protocol):
    """A point of the curve, not the one at infinity."""

    def format(self, compressed: bool = True) -> bytes:
        """33 bytes, or 65."""

    def plus(self, scalar: bytes) -> Point:
        """This point + `scalar` * G. `scalar`: 32 bytes, below the order. Raises: ValueError at infinity."""

    def times(self, scalar: bytes) -> Point:
        """`scalar` * this point. `scalar`: 32 bytes, from 1 to below the order; ValueError else."""

    def add(self, other: Point) -> Point:
        """The sum of two points of one library. Raises: ValueError at infinity."""

    def verify(self, signature: bytes, digest: bytes) -> bool:
        """Whether an ECDSA signature over 32 bytes is this key's. Requires: strict DER, r and s in range, s low."""


class Backend(NamedTuple):
    """One library's functions; those that make points raise ValueError where there is none."""

    name: str
    parse: Callable[[bytes], Point]
    """From 33 bytes (02, 03) or 65 (04)."""
    recover: Callable[[bytes, bytes], Point]
    """From r | s | recovery id, and the digest."""
    verify_schnorr: Callable[[bytes, bytes, bytes], bool]
    """x-only key (32), digest (32), signature (64) of BIP340; False or ValueError where the key is none."""


def _coincurve() -> Backend:
    from coincurve import PublicKey, PublicKeyXOnly

    class Wrapped:
        __slots__ = ("key",)

        def __init__(self, key: PublicKey) -> None:
            self.key = key

        def format(self, compressed: bool = True) -> bytes:
            return bytes(self.key.format(compressed))

        def plus(self, scalar: bytes) -> Point:
            # What `add` does, quicker: multiples of the generator come from a table. None for zero.
            if not any(scalar):
                return self
            return Wrapped(PublicKey.combine_keys([self.key, PublicKey.from_valid_secret(scalar)]))

        def times(self, scalar: bytes) -> Point:
            return Wrapped(self.key.multiply(scalar))

        def add(self, other: Point) -> Point:
            return Wrapped(PublicKey.combine_keys([self.key, other.key]))  # type: ignore[attr-defined]

        def verify(self, signature: bytes, digest: bytes) -> bool:
            return bool(self.key.verify(signature, digest, hasher=None))

    def recover(signature: bytes, digest: bytes) -> Point:
        try:
            return Wrapped(PublicKey.from_signature_and_message(signature, digest, hasher=None))
        except Exception as error:  # coincurve raises just that where there is no point
            raise ValueError(str(error)) from error

    return Backend(
        "coincurve",
        lambda key: Wrapped(PublicKey(key)),
        recover,
        lambda key, digest, signature: PublicKeyXOnly(key).verify(signature, digest),
    )


def _embit() -> Backend:
    import embit.util.ctypes_secp256k1 as library

    class Parsed:
        __slots__ = ("key",)

        def __init__(self, key: bytes) -> None:
            self.key = key

        def format(self, compressed: bool = True) -> bytes:
            form = library.EC_COMPRESSED if compressed else library.EC_UNCOMPRESSED
            return bytes(library.ec_pubkey_serialize(self.key, form))

        def plus(self, scalar: bytes) -> Point:
            if not any(scalar):
                return self
            return Parsed(library.ec_pubkey_combine(self.key, library.ec_pubkey_create(scalar)))

        def times(self, scalar: bytes) -> Point:
            made = bytes(bytearray(self.key))  # which the library writes to
            library.ec_pubkey_tweak_mul(made, scalar)
            return Parsed(made)

        def add(self, other: Point) -> Point:
            return Parsed(library.ec_pubkey_combine(self.key, other.key))  # type: ignore[attr-defined]

        def verify(self, signature: bytes, digest: bytes) -> bool:
            return bool(library.ecdsa_verify(library.ecdsa_signature_parse_der(signature), digest, self.key))

    def recover(signature: bytes, digest: bytes) -> Point:
        parsed = library.ecdsa_recoverable_signature_parse_compact(signature[:64], signature[64])
        return Parsed(library.ecdsa_recover(parsed, digest))

    def verify_schnorr(key: bytes, digest: bytes, signature: bytes) -> bool:
        point, _ = library.xonly_pubkey_from_pubkey(library.ec_pubkey_parse(b"\x02" + key))
        return bool(library.schnorrsig_verify(signature, digest, point))

    return Backend("embit", lambda key: Parsed(library.ec_pubkey_parse(key)), recover, verify_schnorr)


def _python() -> Backend:
    from embit.util.key import SECP256K1, SECP256K1_G, verify_schnorr

    class Affine:
        __slots__ = ("x", "y")

        def __init__(self, x: int, y: int) -> None:
            self.x, self.y = x, y

        def format(self, compressed: bool = True) -> bytes:
            x = self.x.to_bytes(32, "big")
            return bytes((2 + (self.y & 1),)) + x if compressed else b"\x04" + x + self.y.to_bytes(32, "big")

        def plus(self, scalar: bytes) -> Point:
            return total(int.from_bytes(scalar, "big"), self, 1)

        def times(self, scalar: bytes) -> Point:
            factor = int.from_bytes(scalar, "big")
            if factor >= ORDER:
                raise ValueError("the scalar is not below the group order")
            return total(0, self, factor)

        def add(self, other: Point) -> Point:
            points = ((point.x, point.y, 1) for point in (self, other))  # type: ignore[attr-defined]
            return sum_of([(point, 1) for point in points])

        def verify(self, signature: bytes, digest: bytes) -> bool:
            end = 4 + signature[3]
            r, s = int.from_bytes(signature[4:end], "big"), int.from_bytes(signature[end + 2 :], "big")
            inverse = pow(s, -1, ORDER)
            try:
                point = total(int.from_bytes(digest, "big") * inverse % ORDER, self, r * inverse % ORDER)
            except ValueError:
                return False
            return point.x % ORDER == r

    def total(scalar: int, point: Affine, factor: int) -> Affine:
        """`scalar` * G + `factor` * `point`."""
        return sum_of([(SECP256K1_G, scalar), ((point.x, point.y, 1), factor)])

    def sum_of(terms: list[tuple[tuple[int, int, int], int]]) -> Affine:
        found = SECP256K1.affine(SECP256K1.mul(terms))
        if found is None:
            raise ValueError("the point at infinity")
        return Affine(found[0], found[1])

    def lift(x: int, odd: int) -> Affine:
        y = pow(x**3 + 7, (FIELD + 1) // 4, FIELD)
        if x >= FIELD or (y * y - x**3 - 7) % FIELD:
            raise ValueError("not the x coordinate of a point")
        return Affine(x, y if y & 1 == odd else FIELD - y)

    def parse(key: bytes) -> Point:
        point = lift(int.from_bytes(key[1:33], "big"), (key[0] if len(key) == 33 else key[64]) & 1)
        if len(key) == 65 and point.format(compressed=False) != key:
            raise ValueError("not a point on the curve")
        return point

    def recover(signature: bytes, digest: bytes) -> Point:
        r, s, number = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]
        if not (0 < r < ORDER and 0 < s < ORDER):
            raise ValueError("r or s is out of range")
        inverse = pow(r, -1, ORDER)
        scalar = -int.from_bytes(digest, "big") * inverse % ORDER
        return total(scalar, lift(r + ORDER * (number >> 1), number & 1), s * inverse % ORDER)

    return Backend(
        "python", parse, recover, lambda key, digest, signature: bool(verify_schnorr(key, signature, digest))
    )


@cache
def backend() -> Backend:
    """The first that can be loaded. Loading takes time that commands without a key should not spend."""
    for load in (_coincurve, _embit):
        try:
            return load()
        except (
            ImportError,
            OSError,
            RuntimeError,
            AttributeError,
        ):  # embit: no library for this machine, or an old one
            continue
    return _python()
