"""P-256 as the card's host needs it: points, ECDH with a fresh key, signatures. On `cryptography`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptnox_core.crypto.hashes import sha256
from cryptnox_core.errors import MalformedResponseError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def _load(point: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a point in compressed or uncompressed form. Raises ValueError for anything else."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def _encoded(key: ec.EllipticCurvePublicKey, *, compressed: bool = False) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    form = PublicFormat.CompressedPoint if compressed else PublicFormat.UncompressedPoint
    return key.public_bytes(Encoding.X962, form)


def is_point(point: bytes) -> bool:
    """Whether this is a point of the curve, compressed (33) or uncompressed (65 bytes)."""
    try:
        _load(point)
    except ValueError:
        return False
    return True


def compress(point: bytes) -> bytes:
    """The 33-byte form of a point. Raises ValueError for what is none."""
    return _encoded(_load(point), compressed=True)


def decompress(point: bytes) -> bytes:
    """The 65-byte form of a point. Raises ValueError for what is none."""
    return _encoded(_load(point))


def verify_message(point: bytes, message: bytes, signature: bytes) -> bool:
    """ECDSA with SHA-256 over a message, DER. False for anything malformed."""
    return verify_digest(point, sha256(message), signature)


def verify_digest(point: bytes, digest: bytes, signature: bytes) -> bool:
    """ECDSA over a digest of 32 bytes, DER. False for anything malformed."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    try:
        _load(point).verify(signature, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True


def normalize(signature: bytes) -> bytes:
    """The same ECDSA signature in DER with s <= order / 2. Raises ValueError for what is no DER signature."""
    from cryptography.hazmat.primitives.asymmetric import utils

    r, s = utils.decode_dss_signature(signature)
    return utils.encode_dss_signature(r, min(s, ORDER - s) if 0 < s < ORDER else s)


@dataclass(frozen=True, slots=True)
class EphemeralKey:
    """A key pair for one ECDH."""

    _private: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def from_scalar(cls, scalar: int) -> EphemeralKey:
        """From a private scalar, 1 to order - 1."""
        from cryptography.hazmat.primitives.asymmetric import ec

        return cls(ec.derive_private_key(scalar, ec.SECP256R1()))

    @classmethod
    def generate(cls, random: Callable[[int], bytes]) -> EphemeralKey:
        """From 48 bytes of `random`, reduced (the bias is below 2^-128)."""
        return cls.from_scalar(1 + int.from_bytes(random(48), "big") % (ORDER - 1))

    @property
    def public_key(self) -> bytes:
        """65 bytes, uncompressed."""
        return _encoded(self._private.public_key())

    def exchange(self, point: bytes) -> bytes:
        """The x coordinate (32 bytes) of the shared point. Raises MalformedResponseError where `point` is none."""
        from cryptography.hazmat.primitives.asymmetric import ec

        try:
            return self._private.exchange(ec.ECDH(), _load(point))
        except ValueError as error:
            raise MalformedResponseError("the card's session key is not a P-256 point") from error
