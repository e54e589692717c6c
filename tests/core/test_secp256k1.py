"""Signatures and keys against BIP340's vectors, against libsecp256k1's own signer, and at their edges."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptnox_core.crypto import secp256k1
from cryptnox_core.crypto.secp256k1 import HALF_ORDER, ORDER, InvalidPublicKeyError, InvalidSignatureError
from cryptnox_core.errors import UsageError
from tests.support.curve import PrivateKey

OWN = Path(__file__).parent / "vectors" / "bip340.csv"
DIGEST = hashlib.sha256(b"digest").digest()
SECRET = PrivateKey(b"\x07" * 32)
KEY = SECRET.public_key.format(compressed=True)
SIGNATURE = SECRET.sign(DIGEST, hasher=None)
R, S = secp256k1.parse_der(SIGNATURE)

digests = st.binary(min_size=32, max_size=32)
scalars = st.integers(1, ORDER - 1)


def check_bip340(file: Path) -> int:
    checked = 0
    for row in csv.DictReader(file.read_text().splitlines()):
        message = bytes.fromhex(row["message"])
        if len(message) == 32:
            key, signature = bytes.fromhex(row["public key"]), bytes.fromhex(row["signature"])
            expected = row["verification result"] == "TRUE"
            assert secp256k1.verify_schnorr(key, message, signature) is expected, row["comment"]
            checked += 1
    return checked


def test_own_bip340_vectors() -> None:
    assert check_bip340(OWN) == 11


def test_all_bip340_vectors(vectors: Path) -> None:
    assert check_bip340(vectors / "bip340.csv") == 15


@pytest.mark.parametrize("lengths", [(31, 32, 64), (32, 31, 64), (32, 32, 63), (33, 32, 64)])
def test_schnorr_lengths(lengths: tuple[int, int, int]) -> None:
    assert not secp256k1.verify_schnorr(bytes(lengths[0]), bytes(lengths[1]), bytes(lengths[2]))


@given(scalars, digests)
def test_ecdsa_of_an_independent_signer(scalar: int, digest: bytes) -> None:
    secret = PrivateKey(scalar.to_bytes(32, "big"))
    signature = secret.sign(digest, hasher=None)
    for key in (secret.public_key.format(compressed=True), secret.public_key.format(compressed=False)):
        assert secp256k1.verify_ecdsa(key, digest, signature)
    wrong = bytes((digest[0] ^ 1,)) + digest[1:]
    assert not secp256k1.verify_ecdsa(secret.public_key.format(), wrong, signature)


@given(scalars, digests)
def test_recovery_id(scalar: int, digest: bytes) -> None:
    secret = PrivateKey(scalar.to_bytes(32, "big"))
    recoverable = secret.sign_recoverable(digest, hasher=None)
    signature = secp256k1.from_compact(recoverable[:64])
    assert secp256k1.recovery_id(secret.public_key.format(), digest, signature) == recoverable[64]


def test_recovery_id_of_a_foreign_signature() -> None:
    other = PrivateKey(b"\x08" * 32).sign(DIGEST, hasher=None)
    with pytest.raises(InvalidSignatureError):
        secp256k1.recovery_id(KEY, DIGEST, other)


@given(scalars, scalars)
def test_der_round_trip_and_low_s(r: int, s: int) -> None:
    der = secp256k1.encode_der(r, s)
    assert secp256k1.parse_der(der) == (r, s)
    assert secp256k1.from_compact(secp256k1.to_compact(der)) == der
    low = secp256k1.normalize(der)
    assert secp256k1.is_low_s(low)
    assert secp256k1.parse_der(low) == (r, min(s, ORDER - s))
    assert secp256k1.is_low_s(der) is (s <= HALF_ORDER)


def test_high_s_is_normalised_and_verifies() -> None:
    high = secp256k1.encode_der(R, ORDER - S)
    assert secp256k1.normalize(high) == SIGNATURE
    assert secp256k1.verify_ecdsa(KEY, DIGEST, high)


def test_short_signature() -> None:
    """Both numbers of one byte: eight bytes in all."""
    assert secp256k1.parse_der(bytes.fromhex("3006020101020101")) == (1, 1)


@pytest.mark.parametrize(
    "bad",
    {
        "empty": b"",
        "no sequence": b"\x31" + SIGNATURE[1:],
        "length too long": SIGNATURE + b"\0",
        "length too short": SIGNATURE[:-1],
        "byte inside the sequence": bytes((0x30, SIGNATURE[1] + 1)) + SIGNATURE[2:] + b"\0",
        "no integer": bytes.fromhex("3006030101020101"),
        "second no integer": bytes.fromhex("3006020101030101"),
        "negative": bytes.fromhex("3006020181020101"),
        "padded": bytes.fromhex("300702020001020101"),
        "zero r": bytes.fromhex("3006020100020101"),
        "zero s": bytes.fromhex("3006020101020100"),
        "integer past the end": bytes.fromhex("3006020101020501"),
        "empty integer": bytes.fromhex("3006020002020101"),
        "r of the order": secp256k1.encode_der(ORDER, 1),
        "s of the order": secp256k1.encode_der(1, ORDER),
        "34 bytes": secp256k1.encode_der(1 << 264, 1),
    }.items(),
    ids=lambda case: case[0],
)
def test_strict_der(bad: tuple[str, bytes]) -> None:
    with pytest.raises(InvalidSignatureError):
        secp256k1.parse_der(bad[1])


@pytest.mark.parametrize("compact", [bytes(64), b"\xff" * 64, b"\x01" * 63, b"\x01" * 65])
def test_bad_compact(compact: bytes) -> None:
    with pytest.raises(InvalidSignatureError):
        secp256k1.from_compact(compact)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        KEY[:-1],
        KEY + b"\0",
        b"\x04" + KEY[1:],
        b"\x02" + b"\xff" * 32,
        b"\x06" + SECRET.public_key.format(compressed=False)[1:],
        b"\x04" + bytes(64),
        b"\x00" * 33,
    ],
)
def test_bad_keys(key: bytes) -> None:
    assert not secp256k1.is_public_key(key)
    with pytest.raises(InvalidPublicKeyError):
        secp256k1.compress(key)


def test_compression() -> None:
    full = SECRET.public_key.format(compressed=False)
    assert secp256k1.compress(full) == KEY == secp256k1.compress(KEY)
    assert secp256k1.decompress(KEY) == full == secp256k1.decompress(full)


def test_digest_length() -> None:
    with pytest.raises(UsageError):
        secp256k1.verify_ecdsa(KEY, DIGEST[:31], SIGNATURE)


def test_adding_a_scalar() -> None:
    generator = PrivateKey((1).to_bytes(32, "big")).public_key.format()
    assert (
        secp256k1.add_to_public_key(KEY, (5).to_bytes(32, "big"))
        == SECRET.add((5).to_bytes(32, "big")).public_key.format()
    )
    for scalar in (bytes(31), ORDER.to_bytes(32, "big"), (ORDER - 1).to_bytes(32, "big")):
        with pytest.raises(UsageError):
            secp256k1.add_to_public_key(generator, scalar)
