"""The emulated cards' own certificate authority. Its key is public: it proves nothing but that a card is emulated.

Certificates are the same at each start, so a card keeps its identity without a state file.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cryptnox_core.emulator.curves import ORDER, point_of, private_key
from cryptnox_core.wire import Curve

CA_NAME = "Cryptnox emulator CA"
_CA_LABEL = "cryptnox emulator certificate authority"
_NOT_BEFORE = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
_NOT_AFTER = datetime.datetime(2074, 1, 1, tzinfo=datetime.timezone.utc)


def scalar(label: str) -> int:
    """A P-256 secret that follows from a text: for keys which are public knowledge."""
    return int.from_bytes(hashlib.sha512(label.encode()).digest(), "big") % (ORDER[Curve.R1] - 1) + 1


def _name(common: str, unit: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CH"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Cryptnox test"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


@lru_cache(maxsize=1)
def _ca_key() -> ec.EllipticCurvePrivateKey:
    return private_key(Curve.R1, scalar(_CA_LABEL))


def static_key(serial: int) -> ec.EllipticCurvePrivateKey:
    """The static key of the emulated card with that serial number."""
    return private_key(Curve.R1, scalar(f"cryptnox emulator static key {serial}"))


def group_key() -> ec.EllipticCurvePrivateKey:
    """The key all emulated cards share to recognize each other in dual seed generation."""
    return private_key(Curve.R1, scalar("cryptnox emulator dual generation group"))


def _issue(builder: x509.CertificateBuilder) -> bytes:
    """Sign with the CA. The builder draws random nonces, so its signature is replaced by a deterministic one."""
    draft = builder.sign(_ca_key(), hashes.SHA256())
    body = draft.tbs_certificate_bytes
    signature = _sign_reproducibly(scalar(_CA_LABEL), body)
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    return _tlv(0x30, body + algorithm + _tlv(0x03, b"\0" + signature))


def _sign_reproducibly(secret: int, message: bytes) -> bytes:
    """DER ECDSA-SHA256 whose nonce follows from key and message: for a key that is no secret anyway."""
    order = ORDER[Curve.R1]
    digest = hashlib.sha256(message).digest()
    stretched = hmac.digest(secret.to_bytes(32, "big"), digest, "sha512")
    nonce = int.from_bytes(stretched, "big") % (order - 1) + 1
    r = int.from_bytes(point_of(private_key(Curve.R1, nonce))[1:33], "big") % order
    s = pow(nonce, -1, order) * (int.from_bytes(digest, "big") + r * secret) % order
    return utils.encode_dss_signature(r, s)


def _tlv(tag: int, value: bytes) -> bytes:
    length = len(value)
    if length < 0x80:
        return bytes([tag, length]) + value
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + value


@lru_cache(maxsize=1)
def ca_certificate_pem() -> str:
    """The authority's self-signed certificate: the anchor for clients that want emulated cards to be genuine."""
    name = _name(CA_NAME, "Test")
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(_ca_key().public_key())
        .serial_number(1)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    return x509.load_der_x509_certificate(_issue(builder)).public_bytes(Encoding.PEM).decode("ascii")


def card_certificate(serial: int) -> bytes:
    """The manufacturer certificate of an emulated card: X.509 v3, P-256, no extensions, DER."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name("Cryptnox card", "Emulated"))
        .issuer_name(_name(CA_NAME, "Test"))
        .public_key(static_key(serial).public_key())
        .serial_number(serial)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
    )
    return _issue(builder)
