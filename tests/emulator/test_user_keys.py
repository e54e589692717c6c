"""User keys of the emulated card: slots, challenge and response, authorised hashes."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from tests.emulator.client import OK, PUK, H, Host, host, path, pin, public_point, seeded_memory

TEXT = b"a key".ljust(64, b"\0")
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
MODULUS = RSA_KEY.public_key().public_numbers().n.to_bytes(256, "big")
CREDENTIAL = os.urandom(40)
DIGESTS = [hashlib.sha256(bytes([i])).digest() for i in range(5)]


def ec_sign(message: bytes) -> bytes:
    """As PIV, KMS and Windows Hello do: ECDSA with SHA-256 over the message."""
    return EC_KEY.sign(message, ec.ECDSA(hashes.SHA256()))


def rsa_sign(message: bytes) -> bytes:
    """RSASSA-PKCS1-v1_5 with SHA-256 over the message."""
    return RSA_KEY.sign(message, padding.PKCS1v15(), hashes.SHA256())


def fido_sign(signed: bytes, flags: bytes = b"\5", origin: str = "https://cryptnox.ch") -> bytes:
    """Counter and assertion with ``signed`` as its challenge."""
    counter = (77).to_bytes(4, "big")
    challenge = base64.urlsafe_b64encode(signed).decode().rstrip("=")
    client = f'{{"type": "webauthn.get", "origin": "{origin}", "challenge": "{challenge}", "clientExtensions": {{}}}}'
    message = hashlib.sha256(b"cryptnox.ch").digest() + flags + counter + hashlib.sha256(client.encode()).digest()
    return counter + EC_KEY.sign(message, ec.ECDSA(hashes.SHA256()))


SLOTS: list[tuple[int, bytes, Callable[[bytes], bytes]]] = [
    (1, public_point(EC_KEY), ec_sign),
    (2, MODULUS, rsa_sign),
    (3, public_point(EC_KEY), fido_sign),
]


def registration(slot: int, key: bytes) -> bytes:
    credential = bytes([len(CREDENTIAL)]) + CREDENTIAL if slot == 3 else b""
    return bytes([slot]) + TEXT + credential + key + PUK


def card_with_keys() -> Host:
    card = host(seeded_memory())
    for slot, key, _ in SLOTS:
        card.get(0xD5, data=registration(slot, key))
    return card


def opened_by_key() -> Host:
    card = card_with_keys()
    challenge = card.get(0xD6, 1)
    assert card.get(0xD6, 2, 0, b"\1" + ec_sign(challenge)) == b"\1"
    return card


@pytest.mark.parametrize(("slot", "key"), [(slot, key) for slot, key, _ in SLOTS], ids=["ec", "rsa", "fido"])
def test_slots(slot: int, key: bytes) -> None:
    card = host(seeded_memory())
    data = registration(slot, key)
    assert card.status(0xD5, data=data[:-12] + b"x" * 12) == 0x63CB
    assert card.status(0xD5, data=data) == OK
    assert card.status(0xD5, data=data) == 0x6986
    assert card.select()[6:8] == bytes([0, 1 << (slot - 1)])
    card.connect()
    card.verify()
    assert card.get(0xFA, slot, 0, extended=True) == TEXT + key
    assert card.status(0xD7, data=bytes([slot]) + b"x" * 12) == 0x63CB
    assert card.status(0xD7, data=bytes([slot]) + PUK + b"x") == 0x6700
    assert card.status(0xD7, data=bytes([slot]) + PUK) == OK
    assert card.status(0xD7, data=bytes([slot]) + PUK) == 0x6986
    assert card.select()[6:8] == b"\0\0"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 0x6A80),
        (registration(4, SLOTS[0][1]), 0x6A80),
        (registration(0, SLOTS[0][1]), 0x6A80),
        (registration(1, SLOTS[0][1])[:-1], 0x6700),
        (registration(2, SLOTS[0][1]), 0x6700),
        (registration(1, b"\4" + bytes(64)), 0x6984),
        (registration(2, bytes(256)), 0x6984),
        (b"\3" + TEXT + b"\0" + SLOTS[0][1] + PUK, 0x6700),
        (b"\3" + TEXT + b"\x41" + bytes(65) + SLOTS[0][1] + PUK, 0x6700),
    ],
)
def test_bad_registrations(data: bytes, status: int) -> None:
    card = host(seeded_memory())
    assert card.status(0xD5, data=data) == status
    assert card.card.counters.puk_tries == 0


@pytest.mark.parametrize(("slot", "sign"), [(slot, sign) for slot, _, sign in SLOTS], ids=["ec", "rsa", "fido"])
def test_challenge_and_response(slot: int, sign: Callable[[bytes], bytes]) -> None:
    card = card_with_keys()
    assert card.status(0xD6, 2, 0, bytes([slot]) + sign(bytes(32))) == 0x6985
    challenge = card.get(0xD6, 1)
    assert len(challenge) == 32
    assert card.get(0xD6, 2, 0, bytes([slot]) + sign(bytes(32))) == b"\0"
    assert card.status(0xD6, 2, 0, bytes([slot]) + sign(challenge)) == 0x6985  # a challenge serves once
    assert card.status(0xD1) == 0x6985
    challenge = card.get(0xD6, 1)
    assert card.get(0xD6, 2, 0, bytes([slot]) + sign(challenge)) == b"\1"
    assert card.status(0xD1) == OK
    assert card.status(0xC0, 0, 0, DIGESTS[0]) == 0x6700  # not for SIGN


def test_a_message_is_hashed_once() -> None:
    """Neither the message itself as the digest, nor its hash hashed again, for challenges, digests and lists."""
    card = card_with_keys()
    for slot in (1, 2):
        for mode, message in ((2, None), (0, DIGESTS[0]), (0x10, b"\2" + DIGESTS[0] + DIGESTS[1])):
            for wrong in (prehashed, hashed_twice):
                signed = card.get(0xD6, 1) if message is None else message
                sent = b"" if message is None else message
                assert card.get(0xD6, mode, 0, bytes([slot]) + sent + wrong(slot, signed)) == b"\0"


def prehashed(slot: int, message: bytes) -> bytes:
    """The message taken for a digest, where it is as long as one."""
    digest = message if len(message) == 32 else hashlib.sha1(message).digest() + bytes(12)
    if slot == 1:
        return EC_KEY.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    return RSA_KEY.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))


def hashed_twice(slot: int, message: bytes) -> bytes:
    return (ec_sign if slot == 1 else rsa_sign)(hashlib.sha256(message).digest())


@pytest.mark.parametrize(("slot", "sign"), [(slot, sign) for slot, _, sign in SLOTS], ids=["ec", "rsa", "fido"])
def test_one_hash(slot: int, sign: Callable[[bytes], bytes]) -> None:
    card = card_with_keys()
    card.verify()
    assert card.get(0xD6, 0, 0, bytes([slot]) + DIGESTS[0] + sign(DIGESTS[1])) == b"\0"
    assert card.status(0xD1) == OK
    assert card.get(0xD6, 0, 0, bytes([slot]) + DIGESTS[0] + sign(DIGESTS[0])) == b"\1"
    assert card.status(0xD1) == 0x6985  # PIN commands are closed by it
    assert card.status(0xC0, 0, 0, DIGESTS[1]) == 0x6985
    assert card.status(0xC0, 0, 0, DIGESTS[0] + pin()) == 0x6A80
    assert card.status(0xC0, 1, 0, DIGESTS[0] + path(H) + pin()) == 0x6A80
    assert card.status(0xC0, 1, 0, DIGESTS[0] + path(H, 1, 2)) == OK
    assert card.status(0xC0, 0, 0, DIGESTS[0]) == 0x6700  # once
    assert card.status(0xD1) == OK  # the user key's authentication is left open
    assert card.card.counters.pin_tries == 0


@pytest.mark.parametrize(("slot", "sign"), [(slot, sign) for slot, _, sign in SLOTS], ids=["ec", "rsa", "fido"])
def test_lists(slot: int, sign: Callable[[bytes], bytes]) -> None:
    card = card_with_keys()
    most = 3 if slot == 3 else 4
    for count in (1, most):
        listed = bytes([count]) + b"".join(DIGESTS[:count])
        assert card.get(0xD6, 0x10, 0, bytes([slot]) + listed + sign(listed)) == b"\1"
        if count > 1:
            assert card.status(0xC0, 0, 0, DIGESTS[1]) == 0x6985  # the order counts
        for digest in DIGESTS[:count]:
            assert card.status(0xC0, 0, 0, digest) == OK
        assert card.status(0xC0, 0, 0, DIGESTS[0]) == 0x6700
    for count in (0, most + 1):
        listed = bytes([count]) + b"".join(DIGESTS[:count])
        assert card.status(0xD6, 0x10, 0, bytes([slot]) + listed + b"sig") == 0x6A80


def test_verifying_the_pin_ends_an_authorisation() -> None:
    card = card_with_keys()
    card.get(0xD6, 0, 0, b"\1" + DIGESTS[0] + ec_sign(DIGESTS[0]))
    card.verify()
    assert card.status(0xC0, 0, 0, DIGESTS[0]) == 0x6700


def test_fido_details() -> None:
    card = card_with_keys()
    for wrong in (fido_sign(DIGESTS[0], flags=b"\1"), fido_sign(DIGESTS[0], origin="https://cryptnox.com")):
        assert card.get(0xD6, 0, 0, b"\3" + DIGESTS[0] + wrong) == b"\0"
    assert card.get(0xD6, 3, 1) == bytes([len(CREDENTIAL)]) + CREDENTIAL
    assert host(seeded_memory()).status(0xD6, 3, 1) == 0x6985


def test_check_refusals() -> None:
    card = host(seeded_memory())
    assert card.get(0xD6, 0, 0, b"\1" + DIGESTS[0] + ec_sign(DIGESTS[0])) == b"\0"  # nothing in the slot
    for p1, p2, data, status in (
        (4, 0, b"", 0x6A86),
        (3, 0, b"", 0x6A86),
        (1, 1, b"", 0x6A86),
        (1, 0, b"x", 0x6A80),
        (0, 0, b"\4" + bytes(40), 0x6A80),
        (0, 0, b"\1" + bytes(32), 0x6A80),
        (2, 0, b"", 0x6A80),
    ):
        assert card.status(0xD6, p1, p2, data) == status


def test_no_pin_where_a_user_key_opened() -> None:
    card = opened_by_key()
    own = ec.generate_private_key(ec.SECP256R1())
    assert len(card.get(0xC4, 0, 0, public_point(own))) == 32
    assert card.status(0xC4, 0, 0, pin() + public_point(own)) == 0x6A80
    assert card.status(0x21, data=pin("1234")) == OK
    card = opened_by_key()
    card.card.memory.erase_keys()
    assert card.status(0xD0, 3, 0, bytes(range(16)) + pin()) == OK  # 25 bytes of seed, then
    assert len(card.card.memory.seed) == 25
    card = opened_by_key()
    card.card.memory.erase_keys()
    assert card.status(0xD4) == OK


def test_the_challenge_dies_with_the_selection() -> None:
    card = card_with_keys()
    challenge = card.get(0xD6, 1)
    card.connect()
    assert card.status(0xD6, 2, 0, b"\1" + ec_sign(challenge)) == 0x6985


def test_change_pin_with_pin_auth_off_wants_the_puk() -> None:
    card = opened_by_key()
    assert card.status(0xC3, data=b"\1" + PUK) == OK
    assert card.status(0xD1) == OK
    assert card.status(0x21, data=pin("1234")) == 0x6985
    assert card.status(0x21, data=pin("1234") + PUK) == OK
