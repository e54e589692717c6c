"""Certificates of the card: the manufacturer's, the session's, and whether a trust anchor vouches for the card."""

from __future__ import annotations

import contextlib
import hmac
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from cryptnox_core.apdu import ByteReader
from cryptnox_core.arguments import octets
from cryptnox_core.crypto.p256 import verify_message
from cryptnox_core.errors import CertificateError, MalformedResponseError, UsageError
from cryptnox_core.wire import (
    CARD_CERTIFICATE_SIGNED_LENGTH,
    CARD_CERTIFICATE_TAG,
    CERTIFICATE_NONCE_LENGTH,
    P256_POINT_LENGTH,
)

if TYPE_CHECKING:
    from cryptography import x509

MAX_CERTIFICATE = 4096
"""Bound on the manufacturer certificate, bytes. Those seen have about 411."""

MAX_SERIAL_BITS = 160
"""Bits of 20 bytes, the most a serial number has (RFC 5280, 4.1.2.2)."""

_BUILT_IN = (
    (
        "CRYPTNOX DLT CARDS CA",
        "04"
        "647a112c2acf5a49b52b321cbdcf5a9ea307fc4ccd33aa78b9b8055dd84d03ae"
        "dab02cc720a780cb1ff280af50774a6cdc157efa235ea25311a42b4cf57d8861",
    ),
)
"""Issuer name and P-256 key of the CA that signs wallet cards, as the vendor's C++ SDK publishes it."""


class Genuineness(str, Enum):
    """What the certificate chain says about the card."""

    GENUINE = "genuine"
    """A trust anchor signed the card's certificate."""
    NOT_GENUINE = "not genuine"
    """The certificate names a trust anchor as its issuer, and that anchor did not sign it."""
    UNKNOWN = "cannot tell"
    """The certificate was issued by somebody who is no trust anchor."""


@dataclass(frozen=True, slots=True)
class CardCertificate:
    """The manufacturer certificate of a card (X.509, DER)."""

    der: bytes = field(repr=False)
    serial: int
    """The certificate's serial number is the card's."""
    public_key: bytes = field(repr=False)
    """The card's static P-256 key, 65 bytes uncompressed."""
    issuer: str
    """Common name of the issuer, or its whole name where it has none."""

    @classmethod
    def parse(cls, der: bytes) -> CardCertificate:
        """Read a certificate in DER.

        Raises: CertificateError for what is no X.509 certificate with a P-256 key and a serial number of 20 bytes at
        most, or longer than 4 KiB.
        """
        der = octets(der, "a certificate")
        if len(der) > MAX_CERTIFICATE:
            raise CertificateError(f"the card's certificate has {len(der)} bytes; at most {MAX_CERTIFICATE} are read")
        from cryptography.exceptions import UnsupportedAlgorithm

        certificate = _load(der)
        try:
            with _quietly():
                serial = certificate.serial_number
            key = certificate.public_key()
            issuer = _common_name(certificate.issuer)
        except (ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:  # KeyError: cryptography 42
            raise CertificateError("the card's certificate cannot be read") from error
        if serial <= 0:
            raise CertificateError("the card's certificate has no positive serial number")
        if serial.bit_length() > MAX_SERIAL_BITS:
            raise CertificateError("the card's certificate has a serial number of more than 20 bytes")
        point = _point(key)
        if len(point) != P256_POINT_LENGTH:
            raise CertificateError("the certificate has no P-256 key")
        return cls(der, serial, point, issuer)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether the card's static key made this signature (ECDSA with SHA-256, DER)."""
        return verify_message(self.public_key, octets(message, "a message"), octets(signature, "a signature"))


@dataclass(frozen=True, slots=True)
class SessionCertificate:
    """Response of GET CARD CERTIFICATE: the session key, signed by the card's static key."""

    nonce: bytes
    """8 bytes."""
    session_key: bytes
    """P-256, 65 bytes uncompressed."""
    signed: bytes
    """The 74 bytes under the signature."""
    signature: bytes
    """ECDSA with SHA-256, DER."""

    @classmethod
    def parse(cls, data: bytes) -> SessionCertificate:
        """Read the data of the response. Raises MalformedResponseError for a wrong length or tag."""
        reader = ByteReader(data, "GET CARD CERTIFICATE")
        if reader.number(1) != CARD_CERTIFICATE_TAG:
            raise MalformedResponseError("GET CARD CERTIFICATE: wrong tag")
        nonce, key = reader.take(CERTIFICATE_NONCE_LENGTH), reader.take(P256_POINT_LENGTH)
        return cls(nonce, key, bytes(data[:CARD_CERTIFICATE_SIGNED_LENGTH]), reader.signature())

    def check_nonce(self, nonce: bytes) -> None:
        """See that the card answered to this nonce. Raises CertificateError where it did not."""
        if not hmac.compare_digest(self.nonce, nonce):
            raise CertificateError("the card's session certificate answers a different nonce")

    def signed_by(self, certificate: CardCertificate) -> bool:
        """Whether the static key of `certificate` signed the session key."""
        return certificate.verify(self.signed, self.signature)


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """A CA whose signature makes a card genuine."""

    name: str
    """Common name, compared with the issuer of the card's certificate."""
    public_key: bytes
    """Uncompressed, and by its length on P-256 (65 bytes), P-384 (97) or P-521 (133)."""
    key_identifier: bytes | None = None
    """Subject key identifier, where the CA's certificate has one."""

    def issued(self, der: bytes) -> bool:
        """Whether this CA's key signed a certificate (X.509, DER): ECDSA with SHA-256, SHA-384 or SHA-512.

        Raises: CertificateError for what is no certificate.
        """
        certificate = _load(der)
        return _has_whole_signature(der, certificate) and _is_signed_by(certificate, self.public_key)


@dataclass(frozen=True, slots=True)
class TrustAnchors:
    """A set of CAs. Add to it with `+`."""

    anchors: tuple[TrustAnchor, ...] = ()

    @classmethod
    def builtin(cls) -> TrustAnchors:
        """The CA of the vendor's wallet cards."""
        return cls(tuple(TrustAnchor(name, bytes.fromhex(key)) for name, key in _BUILT_IN))

    @classmethod
    def from_pem(cls, data: bytes) -> TrustAnchors:
        """Read one or more PEM certificates of CAs with keys on P-256, P-384 or P-521.

        Raises: UsageError for anything else.
        """
        from cryptography import x509
        from cryptography.exceptions import UnsupportedAlgorithm

        try:
            with _quietly():
                return cls(tuple(_anchor(certificate) for certificate in x509.load_pem_x509_certificates(data)))
        except CertificateError as error:
            raise UsageError(f"trust anchors: {error}") from error
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
            raise UsageError("trust anchors: not PEM certificates") from error

    def __add__(self, other: TrustAnchors) -> TrustAnchors:
        return TrustAnchors((*self.anchors, *(anchor for anchor in other.anchors if anchor not in self.anchors)))

    def judge(self, certificate: CardCertificate) -> Genuineness:
        """What these anchors say about a card's certificate. Chains are not followed: an anchor signed it, or none."""
        from cryptography import x509

        if not isinstance(certificate, CardCertificate):
            raise UsageError(f"only a CardCertificate can be judged, not {type(certificate).__name__}")
        parsed = _load(certificate.der)
        if not _has_whole_signature(certificate.der, parsed):
            return Genuineness.UNKNOWN
        identifier = _key_identifier(parsed, x509.AuthorityKeyIdentifier)
        named = False
        for anchor in self.anchors:
            if _is_signed_by(parsed, anchor.public_key):
                return Genuineness.GENUINE
            named = named or anchor.name == certificate.issuer
            named = named or (identifier is not None and identifier == anchor.key_identifier)
        return Genuineness.NOT_GENUINE if named else Genuineness.UNKNOWN


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """cryptography warns on stderr of what its later versions will refuse, like a serial number that is not positive.
    What is accepted here is judged here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _load(der: bytes) -> x509.Certificate:
    from cryptography import x509

    try:
        with _quietly():
            return x509.load_der_x509_certificate(der)
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise CertificateError("the card's certificate is not an X.509 certificate") from error


def _has_whole_signature(der: bytes, certificate: x509.Certificate) -> bool:
    """Whether the signature is a BIT STRING without unused bits: no other is an ECDSA signature."""
    return der.endswith(b"\0" + certificate.signature)


def _anchor(certificate: x509.Certificate) -> TrustAnchor:
    from cryptography import x509

    key = _point(certificate.public_key())
    if not key:
        raise CertificateError("a certificate has no key on P-256, P-384 or P-521")
    return TrustAnchor(_common_name(certificate.subject), key, _key_identifier(certificate, x509.SubjectKeyIdentifier))


def _point(key: object) -> bytes:
    """An uncompressed point of P-256, P-384 or P-521, whose length tells the curve; empty for any other key."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    known = ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, known):
        return b""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _common_name(name: x509.Name) -> str:
    from cryptography.x509.oid import NameOID

    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string()


def _key_identifier(
    certificate: x509.Certificate, extension: type[x509.SubjectKeyIdentifier | x509.AuthorityKeyIdentifier]
) -> bytes | None:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(extension).value.key_identifier
    except (x509.ExtensionNotFound, ValueError):
        return None


def _is_signed_by(certificate: x509.Certificate, anchor: bytes) -> bool:
    """Whether the certificate says ECDSA with SHA-256, -384 or -512, and the anchor's key made its signature.

    The hash is the certificate's choice: the CAs in the field take SHA-384 and SHA-512 with each other's curves.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import SignatureAlgorithmOID

    algorithms: dict[x509.ObjectIdentifier, hashes.HashAlgorithm] = {
        SignatureAlgorithmOID.ECDSA_WITH_SHA256: hashes.SHA256(),
        SignatureAlgorithmOID.ECDSA_WITH_SHA384: hashes.SHA384(),
        SignatureAlgorithmOID.ECDSA_WITH_SHA512: hashes.SHA512(),
    }
    curves: dict[int, ec.EllipticCurve] = {65: ec.SECP256R1(), 97: ec.SECP384R1(), 133: ec.SECP521R1()}
    algorithm, curve = algorithms.get(certificate.signature_algorithm_oid), curves.get(len(anchor))
    if algorithm is None or curve is None:
        return False
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(curve, anchor)
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(algorithm))
    except (InvalidSignature, ValueError):
        return False
    return True
