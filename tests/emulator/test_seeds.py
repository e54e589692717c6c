"""Ways a key comes into the emulated card."""

from __future__ import annotations

import hashlib
import os

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from embit import bip32

from cryptnox_core.emulator.card import Card
from cryptnox_core.emulator.curves import compress
from tests.emulator.client import OK, PUK, SEED, H, Host, host, path, pin, public_point, ready_memory, seeded_memory

PRIVATE = bytes.fromhex("e8f32e723decf4051aefac8e2c93c9c5b214313817cdb01a1494b917c8436b35")
CHAIN = bytes.fromhex("873dff81c02f525623fd1fe5167eac3a55a049de3d314bb42ee227ffed37d508")


def tlv(tag: int, value: bytes, *, long: bool = False) -> bytes:
    return bytes([tag]) + (b"\x81" if long or len(value) > 127 else b"") + bytes([len(value)]) + value


def k1_point(private: bytes) -> bytes:
    return public_point(ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256K1()))


def source(card: Host) -> bytes:
    return card.get(0xFA)[:1]


@pytest.mark.parametrize("length", [16, 32, 64])
def test_seed(length: int) -> None:
    card = host(ready_memory(pinless_path=(1,)))
    seed = os.urandom(length)
    assert card.status(0xD0, 3, 0, seed + pin()) == OK
    assert source(card) == b"L"
    root = bip32.HDKey.from_seed(seed)
    assert compress(card.get(0xC2, 0, 1)) == root.get_public_key().sec()  # the PIN is verified by it
    assert card.status(0xD0, 3, 0, seed + pin()) == 0x6986
    assert card.select()[4:6] == b"\x00\x70"


def test_seed_refused() -> None:
    card = host(ready_memory())
    for body, status in ((bytes(15), 0x6A80), (bytes(65), 0x6A80), (b"", 0x6A80)):
        assert card.status(0xD0, 3, 0, body + pin()) == status
    assert card.status(0xD0, 3, 0, bytes(8)) == 0x6A80
    assert card.status(0xD0, 3, 0, bytes(32) + pin("1111")) == 0x63C5
    card.verify()
    assert card.status(0xD0, 3, 0, bytes(32)) == 0x63C5  # the last nine bytes are taken for the PIN
    for kind in (0, 7, 8):
        assert card.status(0xD0, kind, 0, bytes(32) + pin()) == 0x6A86
    assert card.status(0xD0, 3, 1, bytes(32) + pin()) == 0x6A86


def test_generate() -> None:
    card = host(ready_memory())
    assert card.status(0xD4, data=pin("1111")) == 0x63C5
    assert card.status(0xD4) == 0x6A80
    assert card.status(0xD4, data=b"x" + pin()) == 0x6A80
    identity = card.get(0xD4, data=pin())
    assert source(card) == b"S"
    assert identity == hashlib.sha256(compress(card.get(0xC2, 0, 1))).digest()
    assert card.status(0xD4, data=pin()) == 0x6986
    other = host(ready_memory())
    assert other.get(0xD4, data=pin()) != identity


@pytest.mark.parametrize("with_public", [False, True])
@pytest.mark.parametrize("long", [False, True])
def test_key_pair(with_public: bool, long: bool) -> None:
    card = host(ready_memory())
    inner = (tlv(0x80, k1_point(PRIVATE)) if with_public else b"") + tlv(0x81, PRIVATE, long=long)
    assert card.status(0xD0, 1, 0, tlv(0xA1, inner, long=long) + pin()) == OK
    assert source(card) == b"K"
    assert card.get(0xC2, 0, 1) == k1_point(PRIVATE)


def test_extended_key() -> None:
    card = host(ready_memory())
    inner = tlv(0x80, k1_point(PRIVATE)) + tlv(0x81, PRIVATE) + tlv(0x82, CHAIN)
    assert card.status(0xD0, 2, 0, tlv(0xA1, inner) + pin()) == OK
    assert source(card) == b"X"
    root = bip32.HDKey.from_seed(SEED)
    assert compress(card.get(0xC2, 1, 1, path(H, 5))) == root.derive([H, 5]).get_public_key().sec()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (1, b""),
        (1, tlv(0xA2, tlv(0x81, PRIVATE))),
        (1, tlv(0xA1, tlv(0x81, PRIVATE)) + b"\0"),
        (1, tlv(0xA1, tlv(0x81, PRIVATE))[:-1]),
        (1, tlv(0xA1, tlv(0x81, PRIVATE[1:]))),
        (1, tlv(0xA1, tlv(0x81, bytes(32)))),
        (1, tlv(0xA1, tlv(0x81, b"\xff" * 32))),
        (1, tlv(0xA1, tlv(0x80, k1_point(CHAIN)) + tlv(0x81, PRIVATE))),
        (1, tlv(0xA1, tlv(0x81, PRIVATE) + tlv(0x82, CHAIN))),
        (1, tlv(0xA1, tlv(0x81, PRIVATE) + tlv(0x81, PRIVATE))),
        (2, tlv(0xA1, tlv(0x81, PRIVATE))),
        (2, tlv(0xA1, tlv(0x81, PRIVATE) + tlv(0x82, CHAIN[1:]))),
        (2, tlv(0xA1, tlv(0x81, PRIVATE) + tlv(0x83, CHAIN))),
        (1, b"\xa1\x82\x00\x22" + tlv(0x81, PRIVATE)),
        (2, b"\xa1\x87" + tlv(0x80, k1_point(PRIVATE)) + tlv(0x81, PRIVATE) + tlv(0x82, CHAIN)),
        (1, b"\xa1\x23" + tlv(0x81, PRIVATE)),
        (1, b"\xa1\x81"),
    ],
)
def test_malformed_keys(kind: int, body: bytes) -> None:
    card = host(ready_memory())
    assert card.status(0xD0, kind, 0, body + pin()) == 0x6A80
    assert source(card) == b"\0"


@pytest.mark.parametrize("swapped", [False, True])
def test_dual_generation(swapped: bool) -> None:
    """``swapped``: the cards share one reader, so that each loses power between its steps."""
    cards = [host(ready_memory(serial=2**60 + i)) for i in range(2)]
    halves = [card.get(0xD0, 4, 0, pin()) for card in cards]
    assert source(cards[0]) == b"\0"
    if swapped:
        for card in cards:
            card.power_cycle()
    assert cards[0].status(0xD0, 5, 0, halves[0] + pin()) == 0x6A80
    for card, half in zip(cards, reversed(halves), strict=True):
        assert card.status(0xD0, 5, 0, half + pin()) == OK
        assert source(card) == b"D"
    keys = {card.get(0xC2, 1, 1, path(H + 1)) for card in cards}
    assert len(keys) == 1


def test_dual_generation_refuses_foreign_halves() -> None:
    card, other = host(ready_memory()), host(ready_memory())
    half = other.get(0xD0, 4, 0, pin())
    assert card.status(0xD0, 5, 0, half + pin()) == 0x6985
    card.get(0xD0, 4, 0, pin())
    point = public_point(ec.generate_private_key(ec.SECP256R1()))
    for bad in (point + half[65:], half[:-1], half[:65], b"\4" + bytes(64) + half[65:], b""):
        assert card.status(0xD0, 5, 0, bad + pin()) == 0x6A80
    assert card.status(0xD0, 4, 0, b"x" + pin()) == 0x6A80


def test_wrapped_seed() -> None:
    card = host(ready_memory())
    static = card.certificate().public_key()
    assert isinstance(static, ec.EllipticCurvePublicKey)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    assert card.status(0xD0, 6, 0, bytes(256) + pin()) == 0x6985
    answer = card.get(0xF9, 0, 0, (2048).to_bytes(2, "big"), extended=True)
    static.verify(answer[260:], answer[:260], ec.ECDSA(hashes.SHA256()))
    assert answer[:4] == b"CRSA"
    key = rsa.RSAPublicNumbers(65537, int.from_bytes(answer[4:260], "big")).public_key()
    assert card.status(0xD0, 6, 0, bytes(256) + pin()) == 0x6A80
    assert card.status(0xD0, 6, 0, key.encrypt(bytes(15), oaep) + pin()) == 0x6A80
    assert card.status(0xD0, 6, 0, key.encrypt(SEED, oaep) + pin()) == OK
    assert source(card) == b"R"
    assert compress(card.get(0xC2, 0, 1)) == bip32.HDKey.from_seed(SEED).get_public_key().sec()


def test_wrap_key_refusals() -> None:
    card = host(ready_memory())
    assert card.status(0xF9, 0, 0, b"\x08", extended=True) == 0x6700
    assert card.status(0xF9, 0, 0, (2000).to_bytes(2, "big"), extended=True) == 0x6A80
    assert host(seeded_memory()).status(0xF9, 0, 0, b"\x08\x00", extended=True) == 0x6986


def test_nothing_secret_is_shown() -> None:
    memory = seeded_memory(seed=b"\x5a" * 16)
    assert "ZZZZ" not in repr(memory) and "5a5a" not in repr(memory) and str(PUK) not in repr(memory)
    assert "seed" not in repr(Card(memory))
