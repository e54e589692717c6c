"""P-256 against published values: a key agreement (RFC 5903) and signatures (RFC 6979)."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import utils

from cryptnox_core.crypto import p256
from cryptnox_core.crypto.p256 import EphemeralKey
from cryptnox_core.errors import MalformedResponseError

# RFC 5903, section 8.1: the private keys i and r, the initiator's point, and the shared x coordinate.
I_SCALAR = 0xC88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433
R_SCALAR = 0xC6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53
I_POINT = bytes.fromhex(
    "04"
    "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180"
    "5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3"
)
SHARED = bytes.fromhex("d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de")

# RFC 6979, A.2.5: key, and the signature over "sample" with SHA-256.
POINT = bytes.fromhex(
    "04"
    "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
)
R = 0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
S = 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8
SIGNATURE = utils.encode_dss_signature(R, S)
MESSAGE = b"sample"
DIGEST = hashlib.sha256(MESSAGE).digest()

NO_POINTS = [b"", b"\x04", I_POINT[:-1], I_POINT + b"\0", bytes(65), b"\x02" + b"\xff" * 32, I_POINT[:64] + b"\xb4"]


def test_key_agreement() -> None:
    initiator, responder = EphemeralKey.from_scalar(I_SCALAR), EphemeralKey.from_scalar(R_SCALAR)
    assert initiator.public_key == I_POINT
    assert responder.exchange(I_POINT) == initiator.exchange(responder.public_key) == SHARED


@pytest.mark.parametrize("point", NO_POINTS, ids=bytes.hex)
def test_what_is_no_point(point: bytes) -> None:
    assert not p256.is_point(point) and not p256.verify_digest(point, DIGEST, SIGNATURE)
    assert not p256.verify_message(point, MESSAGE, SIGNATURE)
    for form in (p256.compress, p256.decompress):
        with pytest.raises(ValueError):
            form(point)
    with pytest.raises(MalformedResponseError):
        EphemeralKey.from_scalar(R_SCALAR).exchange(point)


def test_forms() -> None:
    short = p256.compress(I_POINT)
    assert short == b"\x03" + I_POINT[1:33]
    assert p256.decompress(short) == p256.decompress(I_POINT) == I_POINT
    assert p256.is_point(short) and p256.is_point(I_POINT) and p256.compress(short) == short


def test_signatures() -> None:
    assert p256.verify_message(POINT, MESSAGE, SIGNATURE) and p256.verify_digest(POINT, DIGEST, SIGNATURE)
    assert not p256.verify_message(POINT, b"sampler", SIGNATURE)
    assert not p256.verify_digest(POINT, hashlib.sha256(b"test").digest(), SIGNATURE)
    assert not p256.verify_digest(I_POINT, DIGEST, SIGNATURE)
    for wrong in (b"", b"\x30", SIGNATURE[:-1], bytes(64), utils.encode_dss_signature(R, S - 1)):
        assert not p256.verify_message(POINT, MESSAGE, wrong) and not p256.verify_digest(POINT, DIGEST, wrong)


def test_low_s() -> None:
    """The same signature, with the smaller of s and order - s."""
    assert S > p256.ORDER // 2
    low = p256.normalize(SIGNATURE)
    assert utils.decode_dss_signature(low) == (R, p256.ORDER - S)
    assert p256.verify_digest(POINT, DIGEST, low) and p256.normalize(low) == low
    for none in (b"", b"\x30\x00", SIGNATURE + b"\0"):
        with pytest.raises(ValueError):
            p256.normalize(none)


def test_a_fresh_key_is_made_of_all_the_randomness() -> None:
    """48 bytes, reduced into 1 .. order - 1."""
    asked: list[int] = []

    def random(size: int) -> bytes:
        asked.append(size)
        return b"\xff" * size

    key = EphemeralKey.generate(random)
    assert asked == [48]
    assert key.public_key == EphemeralKey.from_scalar(1 + ((1 << 384) - 1) % (p256.ORDER - 1)).public_key
    assert EphemeralKey.generate(bytes).public_key == EphemeralKey.from_scalar(1).public_key
    assert "private" not in repr(key) and "0x" not in repr(key)
