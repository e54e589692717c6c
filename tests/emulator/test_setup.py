"""The emulated card before its channel: frames, SELECT, certificates, INIT, opening."""

from __future__ import annotations

import hashlib
import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cryptnox_core.emulator import ca
from cryptnox_core.emulator.card import Card
from cryptnox_core.emulator.memory import Memory
from cryptnox_core.wire import Ins
from tests.emulator.client import (
    AID,
    COMMON,
    OK,
    PIN,
    PUK,
    SERIAL,
    Host,
    cbc,
    host,
    padded,
    pin,
    public_point,
    ready_memory,
    seeded_memory,
)

IN_CHANNEL = [
    ins
    for ins in Ins
    if ins
    not in (
        Ins.SELECT,
        Ins.GET_CARD_PUBLIC_KEY,
        Ins.GET_MANUFACTURER_CERTIFICATE,
        Ins.GET_CARD_CERTIFICATE,
        Ins.INIT,
        Ins.OPEN_SECURE_CHANNEL,
    )
]


def fresh(card_type: str = "B") -> Host:
    return Host(Card(Memory(serial=SERIAL, card_type=ord(card_type))))


def init_data(secret: Host, parameters: bytes, *, iv: bytes = bytes(range(16))) -> bytes:
    own = ec.generate_private_key(ec.SECP256R1())
    return b"\x41" + public_point(own) + iv + cbc(secret.shared(own), iv, parameters)


def parameters(
    name: bytes = b"Al", email: bytes = b"a@b.c", digits: bytes = pin(), tail: bytes = PUK + COMMON
) -> bytes:
    return bytes([len(name)]) + name + bytes([len(email)]) + email + digits + tail


@pytest.mark.parametrize(
    "frame", ["", "80", "80F700", "80F7000002AA", "80F70000000002AA", "80F700000000", "80D10000000001AABB"]
)
def test_a_frame_whose_lengths_disagree_is_6700(frame: str) -> None:
    card = fresh()
    card.select()
    assert card.raw(bytes.fromhex(frame))[0] == 0x6700


@pytest.mark.parametrize("le", ["", "00", "000000"])
def test_le_may_be_there_or_not(le: str) -> None:
    card = fresh()
    card.select()
    assert card.raw(bytes.fromhex("80F40000" + le))[0] == OK


def test_nothing_but_select_is_answered_before_select() -> None:
    card = fresh()
    for ins in Ins:
        if ins != Ins.SELECT:
            assert card.clear(ins) == (0x6985, b""), ins


def test_classes_and_instructions() -> None:
    card = fresh()
    card.select()
    assert card.clear(0xF4, cla=0)[0] == 0x6E00
    assert card.clear(0xA4, 4, 0, AID, cla=0x80)[0] == 0x6E00
    assert card.clear(0xE0)[0] == 0x6D00


def test_select_tells_the_state() -> None:
    assert fresh().select() == b"B\x01\x06\x00" + bytes(20)
    assert fresh("N").select()[:1] == b"N"
    memory = seeded_memory(xpub_export=True, clear_pubkey=True, pinless_path=(1,), custom=b"c" * 16)
    assert Host(Card(memory)).select() == b"B\x01\x06\x00\x00\x7e\x00\x00" + b"c" * 16
    assert Host(Card(ready_memory(pin_auth=False))).select()[4:6] == b"\x00\x40"


def test_another_applet_ends_this_one() -> None:
    card = host(seeded_memory())
    assert card.clear(0xA4, 4, 0, AID[:-1] + b"\x13", cla=0)[0] == 0x6A82
    assert card.clear(0xF4)[0] == 0x6985
    assert card.clear(0xA4, 0, 0, AID, cla=0)[0] == 0x6A86


def test_certificates() -> None:
    card = fresh()
    card.select()
    certificate = card.certificate()
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert certificate.serial_number == SERIAL
    assert certificate.version is x509.Version.v3 and not list(certificate.extensions)
    assert 390 <= len(der) <= 430
    point = card.clear(0xF4)[1]
    static = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    assert certificate.public_key() == static
    anchor = x509.load_pem_x509_certificate(ca.ca_certificate_pem().encode())
    certificate.verify_directly_issued_by(anchor)
    assert anchor.subject.rfc4514_string().startswith("CN=Cryptnox emulator CA")
    nonce = os.urandom(8)
    answer = card.clear(0xF8, 0, 0, nonce)[1]
    assert answer[:9] == b"\x43" + nonce
    static.verify(answer[74:], answer[:74], ec.ECDSA(hashes.SHA256()))
    assert card.clear(0xF8, 0, 0, nonce)[1][9:74] != answer[9:74]


def test_the_certificate_is_the_same_at_every_start() -> None:
    assert ca.card_certificate(SERIAL) == ca.card_certificate(SERIAL)
    assert ca.card_certificate(SERIAL) != ca.card_certificate(SERIAL + 1)


def test_certificate_pages() -> None:
    card = fresh()
    card.select()
    first, second = card.clear(0xF7, 0, 0)[1], card.clear(0xF7, 0, 1)[1]
    assert len(first) == 255
    assert int.from_bytes(first[:2], "big") == 253 + len(second)
    assert card.clear(0xF7, 0, 2) == (OK, b"")
    assert card.clear(0xF7, 1, 0)[0] == 0x6A86
    assert card.clear(0xF7, 0, 0, b"x")[0] == 0x6700


def test_the_nonce_has_8_bytes() -> None:
    card = fresh()
    card.select()
    for nonce in (b"", bytes(7), bytes(9)):
        assert card.clear(0xF8, 0, 0, nonce)[0] == 0x6984


def test_init_then_only_select() -> None:
    card = fresh()
    card.select()
    card.session()
    assert card.clear(0xFE, 0, 0, init_data(card, padded(parameters())))[0] == OK
    assert card.clear(0xF4)[0] == 0x6985
    assert card.select()[4:6] == b"\x00\x50"
    card.session()
    assert card.clear(0xFE, 0, 0, init_data(card, padded(parameters())))[0] == 0x6D00
    card.connect()
    assert card.get(0xFA) == b"\0\x02Al\x05a@b.c" + bytes(4)
    assert card.verify() == OK


@pytest.mark.parametrize(
    ("plain", "status"),
    [
        (parameters(name=b"n" * 20, email=b"e" * 60), OK),
        (parameters(name=b"", email=b"", digits=b"123456789"), OK),
        (parameters(name=b"n" * 21), 0x6A80),
        (parameters(email=b"e" * 61), 0x6A80),
        (parameters(digits=pin("123")), 0x6A80),
        (parameters(digits=b"1234\x005678"), 0x6A80),
        (parameters(digits=b"12a4\0\0\0\0\0"), 0x6A80),
        (parameters()[:-1], 0x6A80),
        (parameters() + b"x", 0x6A80),
        (parameters(tail=PUK + b"\x5a\x5a" + COMMON), 0x6A80),
        (b"", 0x6A80),
    ],
)
def test_init_checks_its_content(plain: bytes, status: int) -> None:
    card = fresh()
    card.select()
    card.session()
    assert card.clear(0xFE, 0, 0, init_data(card, padded(plain)))[0] == status


def test_init_of_an_nft_card_has_a_marker() -> None:
    for marker, status in ((b"\x5a\x5a", OK), (b"\xa5\xa5", OK), (b"\0\0", 0x6A80), (b"", 0x6A80)):
        card = fresh("N")
        card.select()
        card.session()
        plain = padded(parameters(tail=PUK + marker + COMMON))
        assert card.clear(0xFE, 0, 0, init_data(card, plain))[0] == status


def test_init_faults() -> None:
    card = fresh()
    card.select()
    card.session()
    good = init_data(card, padded(parameters()))
    assert card.clear(0xFE, 0, 0, good[:-16])[0] == 0x6984
    assert card.clear(0xFE, 0, 0, good[:-1])[0] == 0x6984
    assert card.clear(0xFE, 0, 0, init_data(card, bytes(96)))[0] == 0x6984
    assert card.clear(0xFE, 0, 0, b"\x40" + good[1:])[0] == 0x6A80
    assert card.clear(0xFE, 0, 0, good[:1] + b"\4" + bytes(64) + good[66:])[0] == 0x6A80
    card.select()
    assert card.clear(0xFE, 0, 0, good)[0] == 0x6985
    assert not card.card.memory.initialized


def test_opening() -> None:
    card = Host(Card(seeded_memory()))
    card.select()
    point = public_point(ec.generate_private_key(ec.SECP256R1()))
    assert card.clear(0x10, 0, 0, point)[0] == 0x6985
    card.session()
    assert card.clear(0x10, 1, 0, point)[0] == 0x6A86
    assert card.clear(0x10, 0, 1, point)[0] == 0x6A86
    for bad in (point[:-1], point + b"\0", b"\2" + point[1:33], b"\4" + bytes(64), b""):
        assert card.clear(0x10, 0, 0, bad)[0] == 0x6A80
    assert card.open() == OK


def test_opening_needs_init() -> None:
    card = fresh()
    card.select()
    card.session()
    assert card.open() == 0x6985


def test_the_puk_opens_when_the_pairing_key_is_lost() -> None:
    card = Host(Card(seeded_memory(pairing_key=os.urandom(32))))
    card.select()
    card.session()
    assert card.open() == 0x6982
    key = PUK
    for _ in range(32):
        key = hashlib.sha256(key).digest()
    card.pairing = key
    assert card.open() == 0x6982
    assert card.open(0xFF) == OK


def test_mutual_authentication_comes_at_once_and_with_32_bytes() -> None:
    card = Host(Card(seeded_memory())).connect()
    assert card.status(0x11, data=os.urandom(32)) in (0x6982, 0x6985)
    for length in (0, 31, 33):
        card.connect()
        own = ec.generate_private_key(ec.SECP256R1())
        salt = card.clear(0x10, 0, 0, public_point(own))[1]
        keys = hashlib.sha512(card.shared(own) + COMMON + salt).digest()
        card.key, card.mac_key, card.iv = keys[:32], keys[32:], b"\1" * 16
        assert card.send(0x11, data=os.urandom(length)) == (0x6982, b"")
        assert card.send(0xFA) == (0x6985, b"")
    own = ec.generate_private_key(ec.SECP256R1())
    salt = card.clear(0x10, 0, 0, public_point(own))[1]
    keys = hashlib.sha512(card.shared(own) + COMMON + salt).digest()
    card.key, card.mac_key, card.iv = keys[:32], keys[32:], b"\1" * 16
    assert card.clear(0xF4)[0] == OK
    assert card.send(0x11, data=os.urandom(32)) == (0x6985, b"")


@pytest.mark.parametrize("ins", IN_CHANNEL)
def test_in_the_clear_6985(ins: Ins) -> None:
    card = Host(Card(seeded_memory()))
    card.select()
    assert card.clear(ins) == (0x6985, b"")
    assert card.clear(ins, data=bytes(48)) == (0x6985, b"")
    card.connect()
    assert card.clear(ins) == (0x6985, b"")
    assert card.status(0xFA) == OK  # nothing happened to the channel


@pytest.mark.parametrize("position", [4, 5, 20, 21, 36, -1])
def test_a_changed_frame_is_6982_and_ends_the_channel(position: int) -> None:
    card = host(seeded_memory())
    frame, _ = card.wrap(0xFA, 0, 0, bytes(1))
    changed = bytearray(frame)
    changed[position] ^= 0x01
    if position == 4:
        del changed[4]
        changed.insert(4, frame[4] - 1)
        del changed[-1]
    assert card.raw(bytes(changed)) == (0x6982, b"")
    assert card.raw(frame) == (0x6985, b"")


@pytest.mark.parametrize("position", range(1, 4))
def test_the_header_is_under_the_mac(position: int) -> None:
    card = host(seeded_memory())
    frame, _ = card.wrap(0xFA, 0, 0, b"")
    changed = bytearray(frame)
    changed[position] ^= 0x01
    assert card.raw(bytes(changed)) == (0x6982, b"")


def test_a_frame_cannot_be_played_again() -> None:
    card = host(seeded_memory())
    frame, mac = card.wrap(0x20, 0, 0, pin())
    status, answer = card.raw(frame)
    assert status == OK and card.unwrap(mac, answer)[0] == OK
    assert card.raw(frame) == (0x6982, b"")


def test_too_long_a_command_breaks_the_channel() -> None:
    card = host(seeded_memory())
    assert card.send(0xFC, data=bytes(1300)) == (0x6982, b"")
    assert card.send(0xFA) == (0x6985, b"")


def test_unknown_instruction_in_the_channel() -> None:
    card = host(seeded_memory())
    assert card.status(0xE0) == 0x6D00
    assert card.outer == OK
    assert card.status(0xF8, 1, 0, bytes(16)) == 0x6D00
    assert card.clear(0xE0)[0] == 0x6D00


def test_a_short_frame_cannot_carry_a_long_answer() -> None:
    card = host(seeded_memory(user_data=bytes(1200)))
    card.verify()
    assert card.status(0xFA, 0, 1) == 0x6700
    assert len(card.get(0xFA, 0, 1, extended=True)) == 1200


def test_select_ends_channel_and_authentication() -> None:
    card = host(seeded_memory())
    assert card.verify(PIN) == OK
    frame, _ = card.wrap(0xD1, 0, 0, b"")
    card.select()
    assert card.raw(frame)[0] == 0x6985
    card.connect()
    assert card.status(0xD1) == 0x6985


def test_opening_again_ends_authentication() -> None:
    card = host(seeded_memory())
    assert card.verify(PIN) == OK
    assert card.open() == OK
    assert card.status(0xD1) == 0x6985
