"""Bytes that vendor code sends to real cards or ships, beside ours and on the emulated card.

`vectors/vendor-bytes.json` names the source of each; there is no recorded answer of a card but the one of a test.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path as File

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cryptnox_core.bip32 import Path
from cryptnox_core.certificate import CardCertificate, Genuineness, TrustAnchors
from cryptnox_core.commands import auth, keys, seeds, setup, signing
from cryptnox_core.commands.base import Command
from cryptnox_core.emulator import user_keys
from cryptnox_core.errors import CertificateError
from cryptnox_core.models import AppletInfo
from cryptnox_core.wire import COMMON_PAIRING_KEY, FIDO_RP
from tests.emulator.client import OK, host, ready_memory

VENDOR = json.loads((File(__file__).parent / "vectors" / "vendor-bytes.json").read_text())
COMMANDS = VENDOR["commands"]
PIN, PUK = "0" * 9, "0" * 12
SEED = bytes.fromhex(COMMANDS["LoadSeed"]["plain"])[:32]
PATH = Path.parse("m/44h/60h/0h/0/0")
CERTIFICATES = {name: bytes.fromhex(entry["der"]) for name, entry in VENDOR["pki"]["certificates"].items()}
ROOT, INTERMEDIATES = "cryptnox-root-ca", ("cryptnox-intermediate-ca", "cryptnox-intermediate-ca-2")
DLT, ATTESTATION, GENUINENESS = "cryptnox-dlt-cards-ca", "cryptnox-attestation-ca", "cryptnox-genuineness-ca"
ISSUED = {
    ROOT: (ROOT, *INTERMEDIATES),
    "cryptnox-intermediate-ca": (),
    "cryptnox-intermediate-ca-2": (DLT, ATTESTATION, GENUINENESS),
    DLT: (),
    ATTESTATION: (),
    GENUINENESS: (),
}
"""Which CA signed which certificate."""

OURS: dict[str, Command[object]] = {
    "LoadSeed": seeds.LoadKey.seed(SEED, PIN),
    "VerifyPin": auth.VerifyPin(PIN),
    "derive": keys.DeriveKey(PATH),
    "signWithPin": signing.Sign(SEED, PIN),  # the sketch signs the bytes of its seed
    "changePairingKey": setup.ChangePairingKey(COMMON_PAIRING_KEY, puk=PUK),
    "resetCard": setup.Reset(PUK),
}


def anchors(*names: str) -> TrustAnchors:
    pem = b"".join(x509.load_der_x509_certificate(CERTIFICATES[name]).public_bytes(Encoding.PEM) for name in names)
    return TrustAnchors.from_pem(pem)


def test_the_copy_is_what_was_published(vectors: File) -> None:
    """Our copy against the full file, where that is at hand."""
    published = json.loads((vectors / "vendor-bytes.json").read_text())
    for part in ("commands", "select_response_v2_by_vendor_test", "fido_client_data"):
        assert VENDOR[part] == published[part]
    for name, entry in published["pki"]["certificates"].items():
        assert VENDOR["pki"]["certificates"][name].items() <= entry.items()
    assert len(CERTIFICATES) == len(published["pki"]["certificates"])


class TestCommands:
    def test_all_are_compared(self) -> None:
        assert set(COMMANDS) - {"source", "select", "get_card_certificate", "init_plain_layout"} == set(OURS)

    @pytest.mark.parametrize("name", OURS)
    def test_in_the_channel(self, name: str) -> None:
        """Header and plain data, byte by byte."""
        apdu = OURS[name].encode()
        assert (apdu.header.hex(), apdu.data.hex()) == (COMMANDS[name]["header"], COMMANDS[name]["plain"])
        assert not apdu.extended

    def test_in_the_clear(self) -> None:
        assert setup.Select().encode().encode().hex() == COMMANDS["select"]
        sent = bytes.fromhex(COMMANDS["get_card_certificate"])
        assert setup.GetCardCertificate(sent[5:]).encode().encode() == sent

    def test_the_layout_of_init(self) -> None:
        """The vendor's bytes hold a person's address and are not copied; their layout is."""
        plain = setup.InitParameters("n" * 14, "e" * 25, PIN, PUK, COMMON_PAIRING_KEY).encode()
        assert "len name(14) len email(25) PIN(9) PUK(12) pairing key(32) = 94" in COMMANDS["init_plain_layout"]
        assert plain == b"\x0e" + b"n" * 14 + b"\x19" + b"e" * 25 + PIN.encode() + PUK.encode() + COMMON_PAIRING_KEY
        assert len(plain) == 94

    def test_on_the_emulated_card(self) -> None:
        """In the sketch's order; what it sends is taken, and means what it means there."""
        memory = ready_memory()
        memory.pin, memory.puk = PIN.encode(), PUK.encode()
        card = host(memory)
        for name in ("VerifyPin", "LoadSeed", "derive", "signWithPin", "changePairingKey", "resetCard"):
            header, plain = bytes.fromhex(COMMANDS[name]["header"]), bytes.fromhex(COMMANDS[name]["plain"])
            assert card.status(*header[1:], plain) == OK, name
            if name == "LoadSeed":
                assert card.card.memory.seed == SEED
            if name == "derive":
                assert card.get(0xC2, 0, 0) == PATH.to_bytes()
        assert card.raw(bytes.fromhex(COMMANDS["select"]))[0] == OK
        sent = bytes.fromhex(COMMANDS["get_card_certificate"])
        status, answer = card.raw(sent)
        assert status == OK and answer[:9] == b"\x43" + sent[5:]


class TestSelect:
    def test_of_version_2(self) -> None:
        data = bytes.fromhex(VENDOR["select_response_v2_by_vendor_test"]["data"])
        info = AppletInfo.parse(data)
        assert len(data) == 36 and info.version == (2, 0, 0) and info.is_version_2
        assert info.initialized and info.seeded and not info.reset_disabled
        assert (info.type_name, int(info.user_keys), info.custom) == ("Basic", 0, bytes(16))


class TestCertificates:
    def test_all_are_whole(self) -> None:
        for name, entry in VENDOR["pki"]["certificates"].items():
            assert hashlib.sha256(CERTIFICATES[name]).hexdigest() == entry["sha256"]

    def test_curves(self) -> None:
        """P-521, P-384, P-256 from the root down."""
        lengths = {name: len(anchors(name).anchors[0].public_key) for name in CERTIFICATES}
        assert lengths[ROOT] == 133
        assert [lengths[name] for name in INTERMEDIATES] == [97, 97]
        assert [lengths[name] for name in (DLT, ATTESTATION, GENUINENESS)] == [65, 65, 65]

    @pytest.mark.parametrize("issuer", CERTIFICATES)
    def test_who_signed_whom(self, issuer: str) -> None:
        """Every pair: the signatures that are there verify, and no other does."""
        (anchor,) = anchors(issuer).anchors
        assert {name for name, der in CERTIFICATES.items() if anchor.issued(der)} == set(ISSUED[issuer])

    @pytest.mark.parametrize("issuer", [ROOT, "cryptnox-intermediate-ca-2"])
    def test_every_changed_byte_of_a_signature(self, issuer: str) -> None:
        (anchor,) = anchors(issuer).anchors
        good = CERTIFICATES[ISSUED[issuer][-1]]
        for at in range(len(good) - 60, len(good)):
            assert not anchor.issued(good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :]), at

    @pytest.mark.parametrize("name", [DLT, ATTESTATION, GENUINENESS])
    def test_verdicts(self, name: str) -> None:
        """Certificates with P-256 keys, judged as a card's would be."""
        certificate = CardCertificate.parse(CERTIFICATES[name])
        assert certificate.issuer == "CRYPTNOX INTERMEDIATE CA #2" and certificate.serial > 0
        assert anchors("cryptnox-intermediate-ca-2").judge(certificate) is Genuineness.GENUINE
        assert anchors(*CERTIFICATES).judge(certificate) is Genuineness.GENUINE
        assert anchors("cryptnox-intermediate-ca", ROOT, DLT).judge(certificate) is Genuineness.UNKNOWN
        assert TrustAnchors.builtin().judge(certificate) is Genuineness.UNKNOWN
        forged = CERTIFICATES[name][:-1] + bytes((CERTIFICATES[name][-1] ^ 1,))
        assert anchors("cryptnox-intermediate-ca-2").judge(CardCertificate.parse(forged)) is Genuineness.NOT_GENUINE

    @pytest.mark.parametrize("name", [ROOT, *INTERMEDIATES])
    def test_a_card_has_a_p256_key(self, name: str) -> None:
        with pytest.raises(CertificateError):
            CardCertificate.parse(CERTIFICATES[name])

    def test_the_built_in_anchor_is_the_real_one(self) -> None:
        (real,), (ours,) = anchors(DLT).anchors, TrustAnchors.builtin().anchors
        assert (real.name, real.public_key) == (ours.name, ours.public_key)


def test_fido_client_data() -> None:
    fido = VENDOR["fido_client_data"]
    assert fido["template"] == user_keys._CLIENT_DATA % "<base64url, no padding>"
    assert FIDO_RP.decode() == fido["rp_id"]
