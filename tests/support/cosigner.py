"""Another signer of MuSig2, by BIP327's text in plain integers: it shares nothing with the product, nor with the
emulated card."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
Affine = tuple[int, int] | None
G: Affine = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def added(a: Affine, b: Affine) -> Affine:
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % P == 0:
        return None
    slope = 3 * a[0] ** 2 * pow(2 * a[1], -1, P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def multiplied(factor: int, point: Affine) -> Affine:
    """Doublings and additions in Jacobian coordinates (x / z^2, y / z^3): one inversion in all."""
    factor %= N
    if point is None or not factor:
        return None
    px, py = point
    x, y, z = 0, 1, 0
    for bit in bin(factor)[2:]:
        s, m = 4 * x * y * y, 3 * x * x
        nx = (m * m - 2 * s) % P
        x, y, z = nx, (m * (s - nx) - 8 * y**4) % P, 2 * y * z % P
        if bit == "0":
            continue
        if not z:
            x, y, z = px, py, 1
            continue
        zz = z * z % P
        h, r = (px * zz - x) % P, (py * zz * z - y) % P
        if not h:  # the factor is one less or more than the order: by the slow rule
            both = added((x * pow(zz, -1, P) % P, y * pow(zz * z, -1, P) % P), point)
            x, y, z = (*both, 1) if both else (0, 1, 0)
            continue
        hh = h * h % P
        v, hhh = x * hh, h * hh
        nx = (r * r - hhh - 2 * v) % P
        x, y, z = nx, (r * (v - nx) - y * hhh) % P, h * z % P
    if not z:
        return None
    inverse = pow(z, -1, P)
    return x * inverse**2 % P, y * inverse**3 % P


def written(point: Affine) -> bytes:
    assert point is not None
    return bytes((2 + point[1] % 2,)) + point[0].to_bytes(32, "big")


def read(data: bytes) -> Affine:
    x = int.from_bytes(data[1:], "big")
    y = pow(x**3 + 7, (P + 1) // 4, P)
    assert len(data) == 33 and data[0] in (2, 3) and x < P and y * y % P == (x**3 + 7) % P
    return x, y if y % 2 == data[0] - 2 else P - y


def tagged(tag: str, data: bytes) -> int:
    mark = hashlib.sha256(tag.encode()).digest()
    return int.from_bytes(hashlib.sha256(mark + mark + data).digest(), "big")


class Aggregate:
    """KeyAgg, with tweaks (value, whether to the key of even y)."""

    def __init__(self, keys: Sequence[bytes], tweaks: Sequence[tuple[int, bool]] = ()) -> None:
        self.keys = list(keys)
        total: Affine = None
        for key in keys:
            total = added(total, multiplied(self.coefficient(key), read(key)))
        self.sign, self.tweak, self.point = 1, 0, total
        for value, xonly in tweaks:
            assert self.point is not None
            factor = -1 if xonly and self.point[1] % 2 else 1
            self.point = added(multiplied(factor, self.point), multiplied(value, G))
            self.sign, self.tweak = factor * self.sign % N, (value + factor * self.tweak) % N

    def coefficient(self, key: bytes) -> int:
        distinct = list(dict.fromkeys(self.keys))
        if len(distinct) > 1 and key == distinct[1]:
            return 1
        mark = hashlib.sha256(b"KeyAgg list").digest()
        together = hashlib.sha256(mark + mark + b"".join(self.keys)).digest()
        return tagged("KeyAgg coefficient", together + key) % N

    @property
    def xonly(self) -> bytes:
        return written(self.point)[1:]


class Cosigner:
    """One signer; a nonce signs once."""

    def __init__(self, secret: int) -> None:
        self.secret = secret
        self.key = written(multiplied(secret, G))
        self._nonce: tuple[int, int] | None = None

    def nonce(self, numbers: tuple[int, int] | None = None) -> bytes:
        """A new one, drawn or given: 66 bytes."""
        drawn = numbers or (secrets.randbelow(N - 1) + 1, secrets.randbelow(N - 1) + 1)
        self._nonce = drawn
        return b"".join(written(multiplied(number, G)) for number in drawn)

    def sign(self, aggregate: Aggregate, nonces: bytes, message: bytes) -> bytes:
        """`nonces`: the aggregate of all, 66 bytes."""
        assert self._nonce is not None and self.key in aggregate.keys and aggregate.point is not None
        (k1, k2), self._nonce = self._nonce, None
        b = tagged("MuSig/noncecoef", nonces + aggregate.xonly + message) % N
        first, second = (None if half == bytes(33) else read(half) for half in (nonces[:33], nonces[33:]))
        total = added(first, multiplied(b, second)) or G
        assert total is not None
        e = tagged("BIP0340/challenge", written(total)[1:] + aggregate.xonly + message) % N
        if total[1] % 2:
            k1, k2 = -k1, -k2
        d = aggregate.sign * self.secret * (-1 if aggregate.point[1] % 2 else 1)
        return ((k1 + b * k2 + e * aggregate.coefficient(self.key) * d) % N).to_bytes(32, "big")
