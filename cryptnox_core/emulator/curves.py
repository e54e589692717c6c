"""Elliptic curves of the emulated card: P-256 and secp256k1 through OpenSSL, BIP340 by its own arithmetic.

The client uses libsecp256k1; sharing no code with it keeps a mistake from hiding on both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cryptnox_core.wire import Curve

Random = Callable[[int], bytes]
"""A source of that many random bytes."""

ORDER = {
    Curve.K1: 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    Curve.R1: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
}
_OPENSSL: dict[Curve, ec.EllipticCurve] = {Curve.K1: ec.SECP256K1(), Curve.R1: ec.SECP256R1()}
_PREHASHED = ec.ECDSA(utils.Prehashed(hashes.SHA256()))


def private_key(curve: Curve, secret: int) -> ec.EllipticCurvePrivateKey:
    """The key object of a scalar 1 <= `secret` < order."""
    return ec.derive_private_key(secret, _OPENSSL[curve])


def point_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public key, 65 bytes uncompressed."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def compress(point: bytes) -> bytes:
    """33 bytes of a 65-byte point."""
    return bytes([2 + (point[64] & 1)]) + point[1:33]


def random_scalar(curve: Curve, random: Random) -> int:
    """A scalar from 1 to order - 1, uniform."""
    while True:
        secret = int.from_bytes(random(32), "big")
        if 0 < secret < ORDER[curve]:
            return secret


def parse_p256(point: bytes) -> ec.EllipticCurvePublicKey | None:
    """A P-256 public key from 65 uncompressed bytes; `None` when they are no point of the curve."""
    if len(point) != 65 or point[0] != 4:
        return None
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        return None


def ecdsa(curve: Curve, key: ec.EllipticCurvePrivateKey, digest: bytes, *, eosio: bool = False) -> bytes:
    """DER signature of a 32-byte digest, low S, random nonce; `eosio` repeats until both halves are canonical."""
    order = ORDER[curve]
    while True:
        r, s = utils.decode_dss_signature(key.sign(digest, _PREHASHED))
        s = min(s, order - s)
        if not eosio or (_is_full(r) and _is_full(s)):
            return utils.encode_dss_signature(r, s)


def _is_full(number: int) -> bool:
    """EOSIO's canonical form: no sign bit, and a first byte that needs to be there."""
    return number.bit_length() in range(248, 256)


def verify_digest(key: ec.EllipticCurvePublicKey, digest: bytes, signature: bytes) -> bool:
    """Whether the DER ECDSA signature over a 32-byte digest is right."""
    try:
        key.verify(signature, digest, _PREHASHED)
    except InvalidSignature:
        return False
    return True


def _tagged(tag: str, data: bytes) -> bytes:
    prefix = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(prefix + prefix + data).digest()


def schnorr(secret: int, digest: bytes, random: Random) -> bytes:
    """BIP340 signature, 64 bytes, with fresh auxiliary randomness."""
    point = point_of(private_key(Curve.K1, secret))
    d = ORDER[Curve.K1] - secret if point[64] & 1 else secret
    masked = d ^ int.from_bytes(_tagged("BIP0340/aux", random(32)), "big")
    nonce = int.from_bytes(_tagged("BIP0340/nonce", masked.to_bytes(32, "big") + point[1:33] + digest), "big")
    nonce %= ORDER[Curve.K1]
    if nonce == 0:  # as good as impossible, and BIP340 wants a failure: draw again
        return schnorr(secret, digest, random)
    return schnorr_with(secret, digest, nonce)


def schnorr_with(secret: int, digest: bytes, nonce: int) -> bytes:
    """BIP340 signature with a given nonce, or its negative."""
    order = ORDER[Curve.K1]
    point, r_point = point_of(private_key(Curve.K1, secret)), point_of(private_key(Curve.K1, nonce))
    d = order - secret if point[64] & 1 else secret
    k = order - nonce if r_point[64] & 1 else nonce
    return r_point[1:33] + ((k + _challenge(r_point[1:33], point, digest) * d) % order).to_bytes(32, "big")


def _challenge(r: bytes, point: bytes, digest: bytes) -> int:
    return int.from_bytes(_tagged("BIP0340/challenge", r + point[1:33] + digest), "big") % ORDER[Curve.K1]


def ecdsa_with(secret: int, digest: bytes, nonce: int) -> bytes:
    """DER signature of a 32-byte digest on secp256k1, low S, with a given nonce."""
    order = ORDER[Curve.K1]
    r = int.from_bytes(point_of(private_key(Curve.K1, nonce))[1:33], "big") % order
    s = pow(nonce, -1, order) * (int.from_bytes(digest, "big") + r * secret) % order
    return utils.encode_dss_signature(r, min(s, order - s))


def nonce_of(secret: int, digest: bytes, signature: bytes, *, schnorr: bool) -> int:
    """The nonce of a secp256k1 signature (DER, or 64 bytes after BIP340) that `secret` made, or its negative."""
    order = ORDER[Curve.K1]
    if schnorr:
        point = point_of(private_key(Curve.K1, secret))
        d = order - secret if point[64] & 1 else secret
        return (int.from_bytes(signature[32:], "big") - _challenge(signature[:32], point, digest) * d) % order
    r, s = utils.decode_dss_signature(signature)
    return pow(s, -1, order) * (int.from_bytes(digest, "big") + r * secret) % order


# secp256k1 in plain numbers, as MuSig2 needs it: OpenSSL does not add points.

_FIELD = 2**256 - 2**32 - 977
Affine = tuple[int, int]


def parse_k1(point: bytes) -> Affine | None:
    """Coordinates of 65 uncompressed bytes; None when they are no point of secp256k1."""
    if len(point) != 65 or point[0] != 4:
        return None
    x, y = int.from_bytes(point[1:33], "big"), int.from_bytes(point[33:], "big")
    inside = x < _FIELD and y < _FIELD and (y * y - x**3 - 7) % _FIELD == 0
    return (x, y) if inside else None


def add_k1(a: Affine | None, b: Affine | None) -> Affine | None:
    """The sum; None is infinity."""
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % _FIELD == 0:
        return None
    if a == b:
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, _FIELD)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, _FIELD)
    x = (slope * slope - a[0] - b[0]) % _FIELD
    return x, (slope * (a[0] - x) - a[1]) % _FIELD


def multiply_k1(factor: int, point: Affine | None) -> Affine | None:
    """A multiple, by doubling and adding."""
    total: Affine | None = None
    while factor:
        if factor & 1:
            total = add_k1(total, point)
        point, factor = add_k1(point, point), factor >> 1
    return total
