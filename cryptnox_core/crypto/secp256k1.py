"""secp256k1 as a signer's host needs it: verification, recovery, DER, low S. On the library that `points` found.

Nothing here holds a private key.
"""

from __future__ import annotations

from cryptnox_core.crypto import points
from cryptnox_core.crypto.hashes import tagged_hash
from cryptnox_core.crypto.points import Point
from cryptnox_core.errors import UsageError

ORDER = points.ORDER
HALF_ORDER = ORDER // 2

COMPRESSED_LENGTH = 33
UNCOMPRESSED_LENGTH = 65
XONLY_LENGTH = 32
_PREFIXES = {COMPRESSED_LENGTH: (2, 3), UNCOMPRESSED_LENGTH: (4,)}


class InvalidPublicKeyError(UsageError):
    """Not a point of the curve in compressed (33) or uncompressed (65 bytes) form."""


class InvalidSignatureError(UsageError):
    """Not a signature in strict DER (BIP66), or r or s out of range."""


def parse_public_key(key: bytes) -> Point:
    """The curve point of a compressed or uncompressed key.

    Raises: InvalidPublicKeyError, also for the hybrid forms (06, 07).
    """
    if not key or key[0] not in _PREFIXES.get(len(key), ()):
        raise InvalidPublicKeyError("not a compressed or uncompressed public key")
    try:
        return points.backend().parse(key)
    except ValueError as error:
        raise InvalidPublicKeyError("not a point on the curve") from error


def is_public_key(key: bytes) -> bool:
    """Whether `parse_public_key` accepts it."""
    try:
        parse_public_key(key)
    except InvalidPublicKeyError:
        return False
    return True


def compress(key: bytes) -> bytes:
    """The 33-byte form of a public key, checked to be on the curve. Raises InvalidPublicKeyError."""
    return parse_public_key(key).format(compressed=True)


def decompress(key: bytes) -> bytes:
    """The 65-byte form of a public key, checked to be on the curve. Raises InvalidPublicKeyError."""
    return parse_public_key(key).format(compressed=False)


def is_xonly(key: bytes) -> bool:
    """Whether 32 bytes are the x coordinate of a point (BIP340)."""
    return len(key) == XONLY_LENGTH and is_public_key(b"\x02" + key)


def taproot_output_key(internal: bytes, merkle_root: bytes = b"") -> tuple[bytes, int]:
    """The taproot output key (32 bytes, x only) of an internal key, and the parity of its y coordinate (BIP341).

    `internal`: 32 bytes, x only.
    `merkle_root`: 32 bytes, or none.
    Raises: InvalidPublicKeyError.
    """
    if not is_xonly(internal):
        raise InvalidPublicKeyError("the internal key is not the x coordinate of a point")
    output = add_to_public_key(b"\x02" + internal, tagged_hash("TapTweak", internal + merkle_root))
    return output[1:], output[0] & 1


def add_to_public_key(key: bytes, scalar: bytes) -> bytes:
    """`key` + `scalar` * G in compressed form.

    `scalar`: 32 bytes, below the group order.
    Raises: UsageError when it is not, or when the sum is the point at infinity.
    """
    if len(scalar) != 32 or int.from_bytes(scalar, "big") >= ORDER:
        raise UsageError("the scalar is not below the group order")
    try:
        return parse_public_key(key).plus(scalar).format(compressed=True)
    except ValueError as error:
        raise UsageError("the sum is the point at infinity") from error


def _der_integer(data: bytes, at: int) -> tuple[int, int]:
    """One INTEGER of strict DER at `at`: value and the position behind it."""
    if data[at : at + 1] != b"\x02" or at + 2 > len(data):
        raise InvalidSignatureError("DER: an INTEGER is missing")
    length = data[at + 1]
    body = data[at + 2 : at + 2 + length]
    if not 1 <= length <= 33 or len(body) != length:
        raise InvalidSignatureError("DER: bad length of an INTEGER")
    if body[0] & 0x80:
        raise InvalidSignatureError("DER: negative INTEGER")
    if length > 1 and body[0] == 0 and not body[1] & 0x80:
        raise InvalidSignatureError("DER: INTEGER not in its shortest form")
    return int.from_bytes(body, "big"), at + 2 + length


def parse_der(signature: bytes) -> tuple[int, int]:
    """(r, s) of a strict DER ECDSA signature (BIP66, without a sighash byte), each in 1 .. order-1.

    Raises: InvalidSignatureError.
    """
    if len(signature) < 8 or signature[0] != 0x30 or signature[1] != len(signature) - 2:
        raise InvalidSignatureError("DER: not a SEQUENCE of this length")
    r, at = _der_integer(signature, 2)
    s, at = _der_integer(signature, at)
    if at != len(signature):
        raise InvalidSignatureError("DER: extra bytes after the signature")
    if not (0 < r < ORDER and 0 < s < ORDER):
        raise InvalidSignatureError("r or s is out of range")
    return r, s


def encode_der(r: int, s: int) -> bytes:
    """Strict DER of an ECDSA signature."""

    def integer(value: int) -> bytes:
        body = value.to_bytes(value.bit_length() // 8 + 1, "big")
        return bytes((2, len(body))) + body

    body = integer(r) + integer(s)
    return bytes((0x30, len(body))) + body


def normalize(signature: bytes) -> bytes:
    """The same ECDSA signature in strict DER with low S (BIP62, BIP146).

    Raises: InvalidSignatureError for what is no strict DER.
    """
    r, s = parse_der(signature)
    return encode_der(r, ORDER - s) if s > HALF_ORDER else signature


def is_low_s(signature: bytes) -> bool:
    """Whether a strict DER signature has s <= order / 2. Raises InvalidSignatureError for what is no strict DER."""
    return parse_der(signature)[1] <= HALF_ORDER


def to_compact(signature: bytes) -> bytes:
    """The 64 bytes r | s of a DER signature. Raises InvalidSignatureError for what is no strict DER."""
    r, s = parse_der(signature)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def from_compact(signature: bytes) -> bytes:
    """DER of the 64 bytes r | s. Raises InvalidSignatureError for another length, and for r or s out of range."""
    if len(signature) != 64:
        raise InvalidSignatureError("a compact signature has 64 bytes")
    der = encode_der(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    parse_der(der)
    return der


def verify_ecdsa(key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether a DER signature over a digest is valid for a key. High S is accepted: normalize before use.

    `key`: 33 or 65 bytes; `digest`: 32 bytes.
    Raises: InvalidSignatureError for what is no strict DER; InvalidPublicKeyError for what is no key; UsageError for
    another length of the digest.
    """
    if len(digest) != 32:
        raise UsageError("a digest has 32 bytes")
    # libsecp256k1 refuses high S, so it is given the low form of the same signature.
    return parse_public_key(key).verify(normalize(signature), digest)


def verify_schnorr(key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether a Schnorr signature (64 bytes) over a digest (32) is valid for an x-only key (32) (BIP340)."""
    if len(signature) != 64 or len(digest) != 32 or len(key) != XONLY_LENGTH:
        return False
    try:
        return points.backend().verify_schnorr(key, digest, signature)
    except ValueError:
        return False


def recovery_id(key: bytes, digest: bytes, signature: bytes) -> int:
    """The recovery id, 0 to 3, with which a signature over a digest gives a key (SEC 1, 4.1.6).

    `key`: 33 or 65 bytes; `digest`: 32 bytes; `signature`: DER.
    Raises: InvalidSignatureError when none does: the signature is not of that key.
    """
    compact, wanted = to_compact(signature), compress(key)
    for candidate in range(4):
        try:
            found = recover(compact, candidate, digest)
        except UsageError:
            continue
        if found == wanted:
            return candidate
    raise InvalidSignatureError("this key did not make the signature")


def recover(compact: bytes, number: int, digest: bytes) -> bytes:
    """The key (33 bytes) that made a signature with a recovery id over a digest (SEC 1, 4.1.6).

    `compact`: the 64 bytes r | s; `number`: 0 to 3; `digest`: 32 bytes.
    Raises: UsageError when no key can have made it.
    """
    try:
        return points.backend().recover(compact + bytes((number,)), digest).format(compressed=True)
    except ValueError as error:
        raise UsageError("no key can have made this signature") from error
