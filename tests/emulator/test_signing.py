"""SIGN, SIGN PUBLIC, DECRYPT and pinless signing of the emulated card, checked with other libraries."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from embit import bip32

from cryptnox_core.emulator.keys import master
from cryptnox_core.wire import DECRYPT_PATH, Curve
from tests.emulator.client import (
    OK,
    PUK,
    SEED,
    H,
    Host,
    cbc,
    host,
    path,
    pin,
    public_point,
    ready_memory,
    seeded_memory,
    verifies,
)
from tests.support.curve import PublicKey, PublicKeyXOnly

DIGEST = hashlib.sha256(b"message").digest()
LEAF = (H + 84, H, H, 0, 7)
PINLESS = (H + 43, H + 60, H + 1581, 5)


def k1(levels: tuple[int, ...]) -> bytes:
    return PublicKey(bip32.HDKey.from_seed(SEED).derive(list(levels)).get_public_key().sec()).format(False)


def good(levels: tuple[int, ...], signature: bytes) -> bool:
    return verifies(k1(levels), DIGEST, signature, ec.SECP256K1())


def test_current_and_derived() -> None:
    card = host(seeded_memory())
    assert good((), card.get(0xC0, 0, 0, DIGEST + pin()))
    assert good(LEAF, card.get(0xC0, 1, 0, DIGEST + path(*LEAF) + pin()))
    card.get(0xD1, 0, 0, path(*LEAF[:4]))
    assert good(LEAF, card.get(0xC0, 0x81, 0, DIGEST + path(7) + pin()))
    assert good((*LEAF[:3], 1, 2), card.get(0xC0, 0x41, 0, DIGEST + path(1, 2) + pin()))
    assert good(LEAF[:4], card.get(0xC0, 0, 0, DIGEST + pin()))
    assert card.get(0xC2, 0, 0) == path(*LEAF[:4])
    assert (card.card.counters.signatures, card.card.counters.derivations) == (5, 5 + 4 + 1 + 2)


def test_signatures_differ_and_have_low_s() -> None:
    card = host(seeded_memory())
    signatures = {card.get(0xC0, 0, 0, DIGEST + pin()) for _ in range(20)}
    assert len(signatures) == 20
    assert all(good((), signature) for signature in signatures)


def test_r1() -> None:
    card = host(seeded_memory())
    node = master(Curve.R1, SEED).descend(LEAF)
    assert verifies(node.point, DIGEST, card.get(0xC0, 0x11, 0, DIGEST + path(*LEAF) + pin()), ec.SECP256R1())
    card.get(0xD1, 0x10, 0, path(*LEAF))
    assert verifies(node.point, DIGEST, card.get(0xC0, 0x10, 0, DIGEST + pin()), ec.SECP256R1())


def test_schnorr() -> None:
    card = host(seeded_memory())
    for index in range(8):  # both parities of the public key and of the nonce's point
        signature = card.get(0xC0, 1, 2, DIGEST + path(index) + pin())
        key = PublicKeyXOnly(k1((index,))[1:33])
        assert key.verify(signature, DIGEST)


def test_eosio() -> None:
    card = host(seeded_memory())
    for _ in range(5):
        signature = card.get(0xC0, 0, 1, DIGEST + pin())
        assert good((), signature) and len(signature) == 70


@pytest.mark.parametrize(
    ("p1", "p2"), [(0, 3), (0x10, 2), (0x11, 2), (2, 0), (0x13, 0), (0x40, 0), (0x80, 0), (0xC1, 0), (8, 0), (0x20, 0)]
)
def test_bad_combinations(p1: int, p2: int) -> None:
    card = host(seeded_memory())
    assert card.status(0xC0, p1, p2, DIGEST + path(1) + pin()) == 0x6B00
    assert card.card.counters.pin_tries == 0


def test_lengths() -> None:
    card = host(seeded_memory())
    for data, status in ((DIGEST[:31], 0x6A80), (DIGEST, 0x6700), (DIGEST + b"000000", 0x6700), (b"", 0x6A80)):
        assert card.status(0xC0, 0, 0, data) == status
    assert card.status(0xC0, 0, 0, DIGEST + path(1) + pin()) == 0x6700
    for data, status in (
        (DIGEST + pin(), 0x6A80),
        (DIGEST + b"abc" + pin(), 0x6A80),
        (DIGEST + path(*range(9)) + pin(), 0x6A80),
        (DIGEST + path(1), 0x6700),
        (DIGEST + path(1, 2), 0x6700),
    ):
        assert card.status(0xC0, 1, 0, data) == status
    assert card.card.counters.pin_tries == 0
    assert card.status(0xC0, 0x41, 0, DIGEST + path(1) + pin()) == 0x6B00


def test_a_path_without_a_pin_burns_a_try() -> None:
    card = host(seeded_memory())
    card.verify()
    assert card.status(0xC0, 1, 0, DIGEST + path(*LEAF[:3])) == 0x63C5
    assert card.status(0xD1) == 0x6985


def test_wrong_pin() -> None:
    card = host(seeded_memory())
    assert card.status(0xC0, 0, 0, DIGEST + pin("1111")) == 0x63C5
    assert card.card.counters.signatures == 0 and card.card.memory.counter == 0


def test_no_key() -> None:
    card = host(ready_memory())
    assert card.status(0xC0, 0, 0, DIGEST + pin("1111")) == 0x6985
    assert card.card.counters.pin_tries == 0


def test_a_signature_with_its_pin_leaves_it_verified() -> None:
    card = host(seeded_memory())
    card.get(0xC0, 0, 0, DIGEST + pin())
    assert card.status(0xD1) == OK


def test_an_earlier_pin_does_not_do() -> None:
    card = host(seeded_memory())
    card.verify()
    assert card.status(0xC0, 0, 0, DIGEST) == 0x6700


def test_counter_and_history() -> None:
    card = host(seeded_memory())
    digests = [hashlib.sha256(bytes([i])).digest() for i in range(3)]
    for digest in digests:
        card.get(0xC0, 0, 0, digest + pin())
    assert card.get(0xFA)[-4:] == (3).to_bytes(4, "big")
    for slot, counter in enumerate((3, 2, 1)):
        assert card.get(0xFB, slot) == counter.to_bytes(4, "big") + digests[counter - 1]
    assert card.get(0xFB, 3) == bytes(36)
    assert card.get(0xFB, 148) == bytes(36)
    assert card.status(0xFB, 149) == 0x6A86


def test_149_are_kept() -> None:
    memory = seeded_memory()
    for number in range(200):
        memory.record(number.to_bytes(32, "big"))
    card = host(memory)
    assert card.status(0xFB, 0) == 0x6985
    card.verify()
    assert card.get(0xFB, 0)[:4] == (200).to_bytes(4, "big")
    assert card.get(0xFB, 148)[:4] == (52).to_bytes(4, "big")
    assert len(memory.history) == 149


def pinless_card() -> Host:
    card = host(seeded_memory())
    card.get(0xC1, 0, 0, PUK + path(*PINLESS))
    return card


def test_pinless() -> None:
    card = pinless_card()
    assert good(PINLESS, card.get(0xC0, 3, 0, DIGEST))
    card.select()
    status, signature = card.clear(0xC0, 3, 0, DIGEST)
    assert status == OK and good(PINLESS, signature)
    status, signature = card.clear(0xC0, 3, 2, DIGEST)
    assert PublicKeyXOnly(k1(PINLESS)[1:33]).verify(signature, DIGEST)
    assert card.clear(0xC0, 3, 0, DIGEST[1:])[0] == 0x6A80
    assert card.clear(0xC0, 3, 3, DIGEST)[0] == 0x6B00
    card.connect()
    assert card.status(0xC0, 3, 0, DIGEST + pin()) == 0x6700
    assert card.card.memory.counter == 3
    card.verify()
    card.get(0xC0, 3, 0, DIGEST)
    assert card.status(0xD1) == 0x6985  # a signature resets the PIN


def test_pinless_path() -> None:
    card = host(ready_memory())
    assert card.status(0xC1, 0, 0, PUK + path(*PINLESS)) == 0x6985
    assert card.clear(0xC0, 3, 0, DIGEST)[0] == 0x6985
    card = host(seeded_memory())
    assert card.clear(0xC0, 3, 0, DIGEST)[0] == 0x6A88
    for levels, status in (
        (path(*PINLESS[:2]), 0x6A80),
        (path(*PINLESS) + b"x", 0x6A80),
        (path(*PINLESS, *range(5)), 0x6A80),
        (path(H + 44, H + 60, H + 1581), 0x6983),
        (path(*PINLESS[:3]), OK),
        (path(*PINLESS, *range(4)), OK),
    ):
        assert card.status(0xC1, 0, 0, PUK + levels) == status
    assert card.status(0xC1, 0, 0, b"x" * 12) == 0x63CB
    assert card.status(0xC1, 0, 0, PUK[:-1]) == 0x6A80
    card.select()
    assert card.select()[5] & 8
    card.connect()
    assert card.status(0xC1, 0, 0, PUK) == OK
    assert not card.select()[5] & 8


def test_sign_public() -> None:
    card = host(seeded_memory())
    assert card.status(0xC6) == 0x6985
    card.verify()
    static = card.certificate().public_key()
    assert isinstance(static, ec.EllipticCurvePublicKey)
    for p1, point in ((0, k1(())), (0x10, master(Curve.R1, SEED).point)):
        static.verify(card.get(0xC6, p1, 0, extended=True), point, ec.ECDSA(hashes.SHA256()))
    assert card.status(0xC6, 1) == 0x6A86
    assert card.status(0xC6, 0, 1) == 0x6A86


def test_decrypt() -> None:
    card = host(seeded_memory())
    own = ec.generate_private_key(ec.SECP256R1())
    card.verify()
    peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), card.get(0xC2, 0x11, 1, path(*DECRYPT_PATH)))
    secret = hashlib.sha256(own.exchange(ec.ECDH(), peer)).digest()
    point = public_point(own)
    assert card.get(0xC4, 0, 0, pin() + point) == secret
    plain = bytes(range(64))
    ciphertext = cbc(secret[16:], secret[:16], plain)
    assert card.get(0xC4, 1, 0, pin() + point + ciphertext) == plain
    long = bytes(800)
    assert card.get(0xC4, 1, 0, pin() + point + cbc(secret[16:], secret[:16], long)) == long
    for mode, data, status in (
        (2, pin() + point, 0x6A86),
        (0, pin() + point + bytes(16), 0x6A80),
        (0, point, 0x6A80),
        (1, pin() + point, 0x6A80),
        (1, pin() + point + bytes(15), 0x6A80),
        (0, pin() + b"\4" + bytes(64), 0x6A80),
        (0, pin("1111") + point, 0x63C5),
    ):
        assert card.status(0xC4, mode, 0, data) == status
    assert card.status(0xD1) == 0x6985
    card.get(0xC4, 0, 0, pin() + point)
    assert card.status(0xD1) == OK
    assert host(ready_memory()).status(0xC4, 0, 0, pin() + point) == 0x6985
