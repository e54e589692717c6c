"""The certificate's parser, the session signature, and the verdict, with certificates made here by several CAs."""

from __future__ import annotations

import base64
import datetime
import warnings

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from cryptnox_core.apdu import CommandApdu, ResponseApdu, drive
from cryptnox_core.certificate import (
    MAX_CERTIFICATE,
    CardCertificate,
    Genuineness,
    SessionCertificate,
    TrustAnchor,
    TrustAnchors,
)
from cryptnox_core.commands.setup import read_certificate
from cryptnox_core.errors import CertificateError, CryptnoxError, MalformedResponseError, UsageError

CA = ec.generate_private_key(ec.SECP256R1())
OTHER_CA = ec.generate_private_key(ec.SECP256R1())
CARD = ec.generate_private_key(ec.SECP256R1())
SERIAL = (1 << 63) + 12345
VENDOR = "CRYPTNOX DLT CARDS CA"
START, END = datetime.datetime(2020, 1, 1), datetime.datetime(2040, 1, 1)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def name(common: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test")]
    return x509.Name(attributes + ([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else []))


def issue(
    *,
    issuer: str | None = "Test CA",
    signer: PrivateKey = CA,
    subject: str = "card",
    key: object = None,
    serial: int = SERIAL,
    extensions: tuple[x509.ExtensionType, ...] = (),
    algorithm: hashes.HashAlgorithm | None = None,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .issuer_name(name(issuer))
        .subject_name(name(subject))
        .public_key(key or CARD.public_key())
        .serial_number(serial)
        .not_valid_before(START)
        .not_valid_after(END)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer, algorithm or hashes.SHA256())


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def anchors(*certificates: x509.Certificate) -> TrustAnchors:
    return TrustAnchors.from_pem(b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates))


ROOT = issue(subject="Test CA", key=CA.public_key(), serial=1)
TRUSTED = anchors(ROOT)


def tlv(tag: int, value: bytes) -> bytes:
    """DER, of a length below 64 KiB."""
    size = len(value)
    long = b"\x81" + size.to_bytes(1, "big") if 0x80 <= size < 0x100 else b"\x82" + size.to_bytes(2, "big")
    return bytes((tag,)) + (bytes((size,)) if size < 0x80 else long) + value


def relabeled(certificate: bytes, field: bytes, number: bytes) -> bytes:
    """A certificate with another serial number, which no library issues. Its signature is none any more."""
    parsed = x509.load_der_x509_certificate(certificate)
    signed = parsed.tbs_certificate_bytes
    _, _, rest = certificate.partition(signed)
    body = signed[4:] if signed[1] == 0x82 else signed[3:]
    return tlv(0x30, tlv(0x30, body.replace(field, tlv(2, number))) + rest)


class TestParser:
    def test_fields(self) -> None:
        certificate = CardCertificate.parse(der(issue()))
        point = CARD.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        assert (certificate.serial, certificate.public_key, certificate.issuer) == (SERIAL, point, "Test CA")

    def test_serial_numbers_of_more_than_20_bytes(self) -> None:
        """RFC 5280 has none, and Python prints no number of thousands of digits."""
        good = der(issue(serial=(1 << 159) - 1))
        field = b"\x02\x14\x7f" + b"\xff" * 19
        assert good.count(field) == 1
        for size in (21, 30, 1800, 3500):
            number = b"\x7f" * size
            altered = relabeled(good, field, number)
            assert number in altered
            with pytest.raises(CertificateError, match="serial number of more than 20 bytes"):
                CardCertificate.parse(altered)
        assert CardCertificate.parse(relabeled(good, field, b"\x00" + b"\xff" * 20)).serial == (1 << 160) - 1

    def test_no_assumption_on_shape(self) -> None:
        """Short and long serial numbers, extensions, names without common name."""
        for serial in (1, 0x7F, 1 << 64, (1 << 158) - 1):
            assert CardCertificate.parse(der(issue(serial=serial))).serial == serial
        extended = issue(extensions=(x509.BasicConstraints(ca=False, path_length=None),))
        assert CardCertificate.parse(der(extended)).serial == SERIAL
        assert CardCertificate.parse(der(issue(issuer=None))).issuer == "O=Test"

    @pytest.mark.parametrize(
        "bad",
        [
            b"",
            b"\x30\x00",
            b"no certificate",
            der(issue())[:-1],
            der(issue())[1:],
            der(issue()) + b"\0",
            der(issue(key=ec.generate_private_key(ec.SECP384R1()).public_key())),
            der(issue(key=ec.generate_private_key(ec.SECP256K1()).public_key())),
            der(issue(key=rsa.generate_private_key(65537, 2048).public_key())),
            der(issue(key=ed25519.Ed25519PrivateKey.generate().public_key())),
            der(
                issue(extensions=(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), bytes(MAX_CERTIFICATE)),))
            ),
            der(issue()).replace(bytes.fromhex("02090080"), bytes.fromhex("02098080"), 1),
            der(issue(serial=5)).replace(bytes.fromhex("a003020102020105"), bytes.fromhex("a003020102020100"), 1),
        ],
    )
    def test_refused(self, bad: bytes) -> None:
        with pytest.raises(CertificateError):
            CardCertificate.parse(bad)

    @pytest.mark.parametrize("serial", ["00", "85", "ff"])
    def test_a_serial_that_is_not_positive(self, serial: str) -> None:
        """Refused, by our own word: cryptography only warns, on stderr."""
        bad = der(issue(serial=5)).replace(bytes.fromhex("a003020102020105"), bytes.fromhex(f"a0030201020201{serial}"))
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            with pytest.raises(CertificateError, match="no positive serial number"):
                CardCertificate.parse(bad)
        assert heard == []

    def test_every_single_changed_byte(self) -> None:
        """Wherever a byte changes: our error, or a certificate that no anchor vouches for."""
        good = der(issue())
        for at in range(len(good)):
            changed = good[:at] + bytes((good[at] ^ 0x01,)) + good[at + 1 :]
            try:
                certificate = CardCertificate.parse(changed)
            except CertificateError:
                continue
            assert TRUSTED.judge(certificate) is not Genuineness.GENUINE, at


class TestVerdict:
    def judge(self, certificate: x509.Certificate, trusted: TrustAnchors = TRUSTED) -> Genuineness:
        return trusted.judge(CardCertificate.parse(der(certificate)))

    def test_genuine(self) -> None:
        assert self.judge(issue()) is Genuineness.GENUINE

    def test_signed_by_the_key_under_another_name(self) -> None:
        assert self.judge(issue(issuer="Renamed CA")) is Genuineness.GENUINE

    def test_forged(self) -> None:
        assert self.judge(issue(signer=OTHER_CA)) is Genuineness.NOT_GENUINE

    def test_forged_under_the_anchors_key_identifier(self) -> None:
        identifier = x509.SubjectKeyIdentifier.from_public_key(CA.public_key())
        root = issue(subject="Test CA", key=CA.public_key(), extensions=(identifier,))
        claim = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        forged = issue(issuer="Renamed CA", signer=OTHER_CA, extensions=(claim,))
        assert self.judge(forged, anchors(root)) is Genuineness.NOT_GENUINE
        assert self.judge(forged, TRUSTED) is Genuineness.UNKNOWN

    def test_unknown_issuer(self) -> None:
        assert self.judge(issue(issuer="Another CA", signer=OTHER_CA)) is Genuineness.UNKNOWN
        assert self.judge(issue(), TrustAnchors()) is Genuineness.UNKNOWN

    def test_issuer_with_an_rsa_key(self) -> None:
        signer = rsa.generate_private_key(65537, 2048)
        assert self.judge(issue(issuer="RSA CA", signer=signer)) is Genuineness.UNKNOWN
        assert self.judge(issue(signer=signer)) is Genuineness.NOT_GENUINE

    @pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
    @pytest.mark.parametrize("algorithm", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()], ids=lambda h: h.name)
    def test_curves_and_hashes(self, curve: ec.EllipticCurve, algorithm: hashes.HashAlgorithm) -> None:
        """Any of these curves with any of these hashes, as the CAs in the field mix them."""
        signer, other = ec.generate_private_key(curve), ec.generate_private_key(curve)
        trusted = anchors(issue(subject="Test CA", key=signer.public_key(), signer=signer))
        assert len(trusted.anchors[0].public_key) == 1 + 2 * -(-curve.key_size // 8)
        assert self.judge(issue(signer=signer, algorithm=algorithm), trusted) is Genuineness.GENUINE
        assert self.judge(issue(signer=other, algorithm=algorithm), trusted) is Genuineness.NOT_GENUINE
        assert self.judge(issue(issuer="Another CA", signer=other, algorithm=algorithm), trusted) is Genuineness.UNKNOWN

    def test_another_hash(self) -> None:
        assert self.judge(issue(algorithm=hashes.SHA224())) is Genuineness.NOT_GENUINE
        assert self.judge(issue(issuer="Renamed CA", algorithm=hashes.SHA224())) is Genuineness.UNKNOWN

    def test_two_anchors_of_one_name(self) -> None:
        both = TRUSTED + anchors(issue(subject="Test CA", key=OTHER_CA.public_key()))
        assert self.judge(issue(signer=CA), both) is Genuineness.GENUINE
        assert self.judge(issue(signer=OTHER_CA), both) is Genuineness.GENUINE

    def test_builtin(self) -> None:
        builtin = TrustAnchors.builtin()
        assert [anchor.name for anchor in builtin.anchors] == [VENDOR]
        x = "647a112c2acf5a49b52b321cbdcf5a9ea307fc4ccd33aa78b9b8055dd84d03ae"
        y = "dab02cc720a780cb1ff280af50774a6cdc157efa235ea25311a42b4cf57d8861"
        assert builtin.anchors[0].public_key.hex() == "04" + x + y
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), builtin.anchors[0].public_key)
        assert self.judge(issue(issuer=VENDOR), builtin) is Genuineness.NOT_GENUINE
        assert self.judge(issue(), builtin) is Genuineness.UNKNOWN


class TestPem:
    def test_several_in_one_file(self) -> None:
        loaded = anchors(ROOT, issue(subject="Second", key=OTHER_CA.public_key()))
        assert [anchor.name for anchor in loaded.anchors] == ["Test CA", "Second"]

    def test_an_anchor_may_have_the_serial_zero(self) -> None:
        """Old root certificates do: nothing is said about it, and what they signed is genuine."""
        old = der(issue(subject="Test CA", key=CA.public_key(), serial=5))
        old = old.replace(bytes.fromhex("a003020102020105"), bytes.fromhex("a003020102020100"))
        pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(old) + b"-----END CERTIFICATE-----\n"
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            trusted = TrustAnchors.from_pem(pem)
        assert heard == [] and trusted.judge(CardCertificate.parse(der(issue()))) is Genuineness.GENUINE

    def test_union_has_no_doubles(self) -> None:
        assert (TRUSTED + TRUSTED).anchors == TRUSTED.anchors

    @pytest.mark.parametrize(
        "bad",
        [
            b"",
            b"text",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            issue(key=rsa.generate_private_key(65537, 2048).public_key()).public_bytes(Encoding.PEM),
            issue(key=ed25519.Ed25519PrivateKey.generate().public_key()).public_bytes(Encoding.PEM),
            issue(key=ec.generate_private_key(ec.SECP256K1()).public_key()).public_bytes(Encoding.PEM),
            issue(key=ec.generate_private_key(ec.BrainpoolP384R1()).public_key()).public_bytes(Encoding.PEM),
            ROOT.public_bytes(Encoding.PEM)
            + issue(key=ec.generate_private_key(ec.SECP256K1()).public_key()).public_bytes(Encoding.PEM),
        ],
    )
    def test_refused(self, bad: bytes) -> None:
        with pytest.raises(UsageError):
            TrustAnchors.from_pem(bad)

    def test_anchor_is_a_value(self) -> None:
        assert TrustAnchor("a", b"k") == TrustAnchor("a", b"k")

    def test_what_an_anchor_issued(self) -> None:
        anchor = TRUSTED.anchors[0]
        assert anchor.issued(der(ROOT)) and anchor.issued(der(issue()))
        assert not anchor.issued(der(issue(signer=OTHER_CA)))
        assert not TrustAnchor("Test CA", b"no key").issued(der(issue()))
        assert not TrustAnchor("Test CA", b"\x04" + bytes(64)).issued(der(issue()))
        with pytest.raises(CertificateError):
            anchor.issued(b"no certificate")


class TestSession:
    NONCE = bytes(range(8))

    def answer(self, *, tag: bytes = b"\x43", signer: ec.EllipticCurvePrivateKey = CARD) -> bytes:
        body = tag + self.NONCE + OTHER_CA.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return body + signer.sign(body, ec.ECDSA(hashes.SHA256()))

    CERTIFICATE = CardCertificate.parse(der(issue()))

    def test_good(self) -> None:
        session = SessionCertificate.parse(self.answer())
        session.check_nonce(self.NONCE)
        assert session.signed_by(self.CERTIFICATE)
        assert session.session_key[:1] == b"\x04" and len(session.session_key) == 65

    def test_other_nonce(self) -> None:
        with pytest.raises(CertificateError):
            SessionCertificate.parse(self.answer()).check_nonce(bytes(8))

    def test_other_tag(self) -> None:
        with pytest.raises(MalformedResponseError):
            SessionCertificate.parse(self.answer(tag=b"\x44"))

    def test_other_signer(self) -> None:
        assert not SessionCertificate.parse(self.answer(signer=OTHER_CA)).signed_by(self.CERTIFICATE)

    def test_every_changed_byte(self) -> None:
        good = self.answer()
        for at in range(1, len(good)):
            changed = good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :]
            assert not SessionCertificate.parse(changed).signed_by(self.CERTIFICATE), at

    @pytest.mark.parametrize("size", [0, 1, 9, 73])
    def test_too_short(self, size: int) -> None:
        with pytest.raises(MalformedResponseError):
            SessionCertificate.parse(self.answer()[:size])


class TestReading:
    def read(self, pages: list[bytes]) -> tuple[CardCertificate, int]:
        asked = 0

        def transmit(command: CommandApdu) -> ResponseApdu:
            nonlocal asked
            assert command.encode() == bytes((0x80, 0xF7, 0, asked, 0))
            asked += 1
            return ResponseApdu(pages[asked - 1] if asked <= len(pages) else b"", 0x9000)

        return drive(read_certificate(), transmit), asked

    def paged(self, content: bytes) -> list[bytes]:
        whole = len(content).to_bytes(2, "big") + content
        return [whole[at : at + 255] for at in range(0, len(whole), 255)]

    def test_as_many_pages_as_the_length_says(self) -> None:
        content = der(issue())
        certificate, asked = self.read(self.paged(content))
        assert certificate.der == content and asked == 2

    def test_a_long_one(self) -> None:
        notice = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(3000))
        content = der(issue(extensions=(notice,)))
        certificate, asked = self.read(self.paged(content))
        assert certificate.der == content and asked == -(-(len(content) + 2) // 255)

    @pytest.mark.parametrize("notice", [0, 400])
    @pytest.mark.parametrize(
        ("size", "behind"),
        [(size, behind) for size in (8, 100, 254, 255, 1000, 5000) for behind in (0, 1, 16)] + [(256, 0), (300, 0)],
    )
    def test_pages_of_any_size(self, size: int, notice: int, behind: int) -> None:
        """253 and 255 bytes are documented; over NFC all in one has been seen. Bytes behind the last page are none of
        it, also where the card says nothing more, or that there is no such page. (Of both a size between these two and
        bytes behind it no host could know where the certificate goes on.)"""
        extensions = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(notice)),) if notice else ()
        content = der(issue(extensions=extensions))
        whole = len(content).to_bytes(2, "big") + content
        pages = [whole[at : at + size] for at in range(0, len(whole), size)]
        pages[-1] += bytes(behind)
        certificate, _ = self.read(pages)
        assert certificate.der == content

        def refusing(command: CommandApdu) -> ResponseApdu:
            return ResponseApdu(pages[command.p2], 0x9000) if command.p2 < len(pages) else ResponseApdu(b"", 0x6B00)

        assert drive(read_certificate(), refusing).der == content

    @pytest.mark.parametrize("behind", range(1, 17))
    @pytest.mark.parametrize("notice", [0, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 400])
    def test_bytes_behind_every_page(self, behind: int, notice: int) -> None:
        extensions = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(notice)),) if notice else ()
        content = der(issue(extensions=extensions))
        for filler in (b"\x00", b"\x30", b"\xff"):
            certificate, _ = self.read([page + filler * behind for page in self.paged(content)])
            assert certificate.der == content

    @pytest.mark.parametrize(
        "pages",
        [
            [b""],
            [b"\x01"],
            [b"\x00\x00"],
            [b"\xff\xff" + bytes(253)],
            [b"\x10\x01" + bytes(253)],
            [b"\x01\x9b" + bytes(253)],
            [b"\x01\x9b" + bytes(253), b""],
            [b"\x00\x05" + bytes(20)],
            [b"\x01\x9b" + bytes(600)],
            [b"\x10\x00"] + [b"\x00"] * 1000,
        ],
    )
    def test_refused(self, pages: list[bytes]) -> None:
        with pytest.raises((CertificateError, MalformedResponseError)):
            self.read(pages)

    @pytest.mark.parametrize(("first", "most"), [(b"\xff\xff" + bytes(253), 1), (b"\x01\x9b" + bytes(253), 2)])
    def test_pages_are_not_asked_for_without_end(self, first: bytes, most: int) -> None:
        asked: list[CommandApdu] = []

        def transmit(command: CommandApdu) -> ResponseApdu:
            asked.append(command)
            return ResponseApdu(first if len(asked) == 1 else b"", 0x9000)

        with pytest.raises(CertificateError):
            drive(read_certificate(), transmit)
        assert len(asked) == most

    def test_status_word(self) -> None:
        with pytest.raises(CryptnoxError):
            drive(read_certificate(), lambda command: ResponseApdu(b"", 0x6D00))
