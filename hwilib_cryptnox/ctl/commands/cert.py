"""`cert`: the certificate that the manufacturer gave the card."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from cryptnox_core.certificate import CardCertificate
from cryptnox_core.errors import CertificateError
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import judged, open_card, verdict_text
from hwilib_cryptnox.ctl.files import check_free, force_option, output_option, write_new
from hwilib_cryptnox.ctl.screen import STRONG, Report, Row, Screen

if TYPE_CHECKING:
    from cryptography import x509

_LINE = 64


@command("cert")
@output_option
@force_option
def cert(app: App, output: Path | None, force: bool) -> Report:
    """Show the manufacturer's certificate of the card, or write it as PEM. Sends no PIN.

    The card proves in every session that it holds the certificate's key. `cryptnoxctl info` says whether the
    manufacturer signed it.
    """
    if output is not None:
        check_free(output, force)
    with open_card(app, channel=False) as opened:
        certificate = opened.card.read_certificate()
        verdict = opened.card.genuineness
        reader = opened.reader
    pem, parsed = _pem(certificate.der), _parsed(certificate)
    subject, start, end = parsed.subject.rfc4514_string(), parsed.not_valid_before_utc, parsed.not_valid_after_utc
    algorithm = parsed.signature_hash_algorithm
    data: dict[str, object] = {
        "serial": str(certificate.serial),
        "genuine": verdict_text(verdict, reader),
        "subject": subject,
        "issuer": parsed.issuer.rfc4514_string(),
        "valid_from": start.isoformat(),
        "valid_until": end.isoformat(),
        "public_key": certificate.public_key.hex(),
        "signature_hash": None if algorithm is None else algorithm.name,
        "pem": pem,
        "file": output and str(output),
    }
    rows: list[Row] = [
        ("Serial number", str(certificate.serial), STRONG),
        ("Genuine", *judged(verdict, reader)),
        ("Issued to", subject),
        ("Issued by", parsed.issuer.rfc4514_string()),
        ("Valid", f"{start:%Y-%m-%d} to {end:%Y-%m-%d}"),
    ]
    if output is not None:
        write_new(output, pem.encode("ascii"), force=force)

    def show(screen: Screen) -> None:
        screen.fields(rows)
        screen.line("Public key (P-256):")
        screen.line(certificate.public_key.hex())
        if output is None:
            screen.line(pem.rstrip("\n"))
        else:
            screen.line("Written:")
            screen.line(str(output))

    return Report(data, show)


def _pem(der: bytes) -> str:
    text = base64.b64encode(der).decode("ascii")
    lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def _parsed(certificate: CardCertificate) -> x509.Certificate:
    """The same with its names and dates. CertificateError where these cannot be read."""
    from cryptography import x509

    try:
        parsed = x509.load_der_x509_certificate(certificate.der)
        _ = parsed.subject, parsed.issuer, parsed.not_valid_before_utc, parsed.not_valid_after_utc
    except (ValueError, TypeError) as error:
        raise CertificateError("the card's certificate cannot be read") from error
    return parsed
