"""The libraries for secp256k1: each gives the same answers, at the edges too."""

from __future__ import annotations

import base64
import hashlib
import sys
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptnox_core.bip32 import ExtendedPublicKey
from cryptnox_core.crypto import points, secp256k1
from cryptnox_core.crypto.points import FIELD, Backend
from cryptnox_core.crypto.secp256k1 import HALF_ORDER, ORDER, InvalidPublicKeyError, InvalidSignatureError
from cryptnox_core.emulator import curves
from cryptnox_core.errors import UsageError
from cryptnox_core.wire import Curve
from hwilib_cryptnox.signer import messages

G = bytes.fromhex("0279BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798")
DIGEST = hashlib.sha256(b"digest").digest()
XPUB = "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8"
"""BIP32, test vector 1, the master key."""


@pytest.fixture(params=["coincurve", "embit", "python"], autouse=True)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """The library that everything in the test goes through."""
    if request.param == "coincurve":
        pytest.importorskip("coincurve", reason="coincurve is not installed (it has no wheel for this Python)")
    loaded = getattr(points, f"_{request.param}")()
    assert loaded.name == request.param
    monkeypatch.setattr(points, "backend", lambda: loaded)
    return loaded


def number(value: int) -> bytes:
    return value.to_bytes(32, "big")


def public_key(secret: int) -> bytes:
    """By OpenSSL."""
    key = curves.private_key(Curve.K1, secret).public_key()
    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def made(secret: int, digest: bytes) -> bytes:
    return curves.ecdsa(Curve.K1, curves.private_key(Curve.K1, secret), digest)


SCALARS = [1, 2, 3, ORDER // 2, ORDER // 2 + 1, ORDER - 2, ORDER - 1, 0x1234567890ABCDEF << 128]


@pytest.mark.parametrize("secret", SCALARS)
def test_against_openssl(secret: int) -> None:
    """Keys, signatures and recovery of a library that is none of them."""
    key = public_key(secret)
    full = curves.point_of(curves.private_key(Curve.K1, secret))
    assert secp256k1.decompress(key) == full and secp256k1.compress(full) == key
    signature = made(secret, DIGEST)
    assert secp256k1.verify_ecdsa(key, DIGEST, signature) and secp256k1.verify_ecdsa(full, DIGEST, signature)
    assert not secp256k1.verify_ecdsa(key, DIGEST[::-1], signature)
    compact = secp256k1.to_compact(signature)
    found = secp256k1.recovery_id(full, DIGEST, signature)
    assert secp256k1.recover(compact, found, DIGEST) == key
    schnorr = curves.schnorr(secret, DIGEST, lambda length: bytes(length))
    assert secp256k1.verify_schnorr(key[1:], DIGEST, schnorr)
    assert not secp256k1.verify_schnorr(key[1:], DIGEST[::-1], schnorr)
    assert not secp256k1.verify_schnorr(key[1:], DIGEST, schnorr[:32] + number(ORDER))
    assert not secp256k1.verify_schnorr(key[1:], DIGEST, number(FIELD) + schnorr[32:])


@settings(deadline=None)  # the first use loads the library
@given(st.integers(1, ORDER - 1), st.integers(0, ORDER - 1))
def test_sums(secret: int, scalar: int) -> None:
    if (secret + scalar) % ORDER:
        found = points.backend().parse(public_key(secret)).plus(number(scalar)).format()
        assert found == public_key((secret + scalar) % ORDER)


def test_the_point_at_infinity() -> None:
    with pytest.raises(UsageError):
        secp256k1.add_to_public_key(G, number(ORDER - 1))
    # Nor as a recovered key: R = kG and s = z / k give it.
    secret = 5
    r = int.from_bytes(public_key(secret)[1:], "big")
    s = int.from_bytes(DIGEST, "big") * pow(secret, -1, ORDER) % ORDER
    odd = public_key(secret)[0] & 1
    with pytest.raises(UsageError):
        secp256k1.recover(number(r) + number(s), odd, DIGEST)
    assert secp256k1.recover(number(r) + number(s), odd ^ 1, DIGEST)


def test_nothing_and_the_same_point_are_added() -> None:
    assert secp256k1.add_to_public_key(G, bytes(32)) == G
    assert secp256k1.add_to_public_key(G, number(1)) == public_key(2)
    for scalar in (number(ORDER), b"\xff" * 32, bytes(31), bytes(33)):
        with pytest.raises(UsageError):
            secp256k1.add_to_public_key(G, scalar)


NO_X = next(x for x in range(1, 20) if pow(x**3 + 7, (FIELD - 1) // 2, FIELD) != 1)
"""The x coordinate of no point."""
X = next(x for x in range(1, 20) if pow(x**3 + 7, (FIELD - 1) // 2, FIELD) == 1)
"""That of a point, which could be written as `FIELD` + x too."""
Y = pow(X**3 + 7, (FIELD + 1) // 4, FIELD)


@pytest.mark.parametrize(
    "key",
    {
        "not liftable": b"\x02" + number(NO_X),
        "zero": b"\x02" + bytes(32),
        "the field's size": b"\x03" + number(FIELD),
        "x above the field": b"\x02" + number(FIELD + X),
        "not on the curve": b"\x04" + number(X) + number(Y + 1),
        "zeros": b"\x04" + bytes(64),
        "x above the field, uncompressed": b"\x04" + number(FIELD + X) + number(Y),
        "y zero": b"\x04" + number(X) + bytes(32),
        "hybrid": bytes((6 + (Y & 1),)) + number(X) + number(Y),
        "infinity": b"\x00",
        "infinity in 33 bytes": bytes(33),
        "x only": number(X),
        "another form": b"\x05" + number(X),
    }.items(),
    ids=lambda case: case[0],
)
def test_no_keys(key: tuple[str, bytes]) -> None:
    assert not secp256k1.is_public_key(key[1])
    with pytest.raises(InvalidPublicKeyError):
        secp256k1.compress(key[1])


def test_x_only() -> None:
    assert secp256k1.is_xonly(number(X)) and secp256k1.is_xonly(G[1:])
    for key in (number(NO_X), bytes(32), number(FIELD), number(FIELD + X), b"\xff" * 32):
        assert not secp256k1.is_xonly(key)
        assert not secp256k1.verify_schnorr(key, DIGEST, bytes(64))
        with pytest.raises(InvalidPublicKeyError):
            secp256k1.taproot_output_key(key)


def test_bip341s_output_key() -> None:
    """BIP341, wallet test vectors, the first two."""
    for internal, root, output in (
        (
            "d6889cb081036e0faefa3a35157ad71086b123b2b144b649798b494c300a961d",
            "",
            "53a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343",
        ),
        (
            "187791b6f712a8ea41c8ecdd0ee77fab3e85263b37e1ec18a3651926b3a6cf27",
            "5b75adecf53548f3ec6ad7d78383bf84cc57b55a3127c72b9a2481752dd88b21",
            "147c9c57132f6e7ecddba9800bb0c4449251c92a1e60371ee77557b6620f3ea3",
        ),
    ):
        assert secp256k1.taproot_output_key(bytes.fromhex(internal), bytes.fromhex(root))[0].hex() == output


@pytest.mark.parametrize(
    ("r", "s"), [(0, 1), (1, 0), (0, 0), (ORDER, 1), (1, ORDER), (ORDER + 1, 1), (2**256 - 1, 2**256 - 1)]
)
def test_halves_out_of_range(r: int, s: int) -> None:
    with pytest.raises(InvalidSignatureError):
        secp256k1.verify_ecdsa(G, DIGEST, secp256k1.encode_der(r, s))
    for which in range(4):
        with pytest.raises(UsageError):
            secp256k1.recover(number(r) + number(s), which, DIGEST)


def signature_with(secret: int, r_secret: int, s: int) -> tuple[bytes, bytes]:
    """A digest, and the signature of `secret` over it whose s is this very number."""
    r = int.from_bytes(public_key(r_secret)[1:], "big") % ORDER
    return number((s * r_secret - r * secret) % ORDER), secp256k1.encode_der(r, s)


@pytest.mark.parametrize("s", [1, 2, HALF_ORDER - 1, HALF_ORDER, HALF_ORDER + 1, ORDER - 1])
def test_s_at_its_edges(s: int) -> None:
    """Low up to half the order; a high one is good as well, since it is made low first."""
    digest, signature = signature_with(7, 11, s)
    assert secp256k1.verify_ecdsa(public_key(7), digest, signature)
    assert not secp256k1.verify_ecdsa(public_key(8), digest, signature)
    assert secp256k1.is_low_s(signature) is (s <= HALF_ORDER)
    number_of = secp256k1.recovery_id(public_key(7), digest, signature)
    assert secp256k1.recover(secp256k1.to_compact(signature), number_of, digest) == public_key(7)
    # OpenSSL's answer, which takes both.
    key = curves.private_key(Curve.K1, 7).public_key()
    key.verify(signature, digest, ec.ECDSA(utils.Prehashed(curves.hashes.SHA256())))


def test_r_above_the_order() -> None:
    """An x coordinate from the order on: r is what is left of it, and recovery ids 2 and 3 say so."""
    x = next(x for x in range(ORDER + 1, ORDER + 20) if pow(x**3 + 7, (FIELD - 1) // 2, FIELD) == 1)
    compact = number(x - ORDER) + number(3)
    keys = [secp256k1.recover(compact, which, DIGEST) for which in (2, 3)]
    assert len(set(keys)) == 2
    for which, key in zip((2, 3), keys, strict=True):
        assert secp256k1.verify_ecdsa(key, DIGEST, secp256k1.from_compact(compact))
        assert secp256k1.recovery_id(key, DIGEST, secp256k1.from_compact(compact)) == which
    for which in (2, 3):  # x + the order is no coordinate any more
        with pytest.raises(UsageError):
            secp256k1.recover(number(ORDER - 1) + number(3), which, DIGEST)


@pytest.mark.parametrize("digest", [bytes(32), number(ORDER), b"\xff" * 32, number(1)])
def test_digests_at_their_edges(digest: bytes) -> None:
    signature = made(3, digest)
    assert secp256k1.verify_ecdsa(public_key(3), digest, signature)
    found = secp256k1.recovery_id(public_key(3), digest, signature)
    assert secp256k1.recover(secp256k1.to_compact(signature), found, digest) == public_key(3)


def test_children() -> None:
    """BIP32, test vector 2: m/0 of a public master key; and many, by OpenSSL's sums."""
    master = ExtendedPublicKey.from_string(XPUB)
    child = master.child(0)
    assert child.to_string() != XPUB and child.depth == 1
    for index in (0, 1, 2, 1000, (1 << 31) - 1):
        assert master.child_public_key(index) == master.child(index).public_key
    vector = ExtendedPublicKey.from_string(
        "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB"
    )
    assert vector.child(0).to_string() == (
        "xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7ap6r1D3tgFxHmwMkQTPH"
    )


def test_messages() -> None:
    """Bitcoin Core's format: the key is recovered, and what no key can have made is refused."""
    digest = messages.message_digest("hello")
    text = messages.encode_signature(public_key(9), digest, made(9, digest))
    assert messages.recover_public_key("hello", text) == (public_key(9), True)
    for raw in (bytes((31,)) + bytes(64), bytes((33,)) + number(ORDER - 1) + number(3)):
        with pytest.raises(UsageError):
            messages.recover_public_key("hello", base64.b64encode(raw).decode())


def test_it_takes_no_time_that_a_person_would_notice(library: Backend) -> None:
    """Python's own arithmetic takes milliseconds."""
    key, signature = public_key(7), made(7, DIGEST)
    started = time.process_time()
    for _ in range(5):
        assert secp256k1.verify_ecdsa(key, DIGEST, signature)
        secp256k1.add_to_public_key(key, DIGEST)
    assert (time.process_time() - started) / 10 < 0.1


@pytest.mark.parametrize(
    ("away", "name"),
    [
        (["coincurve"], "embit"),
        (["coincurve", "embit.util.ctypes_secp256k1"], "python"),
    ],
)
def test_what_is_chosen(away: list[str], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for module in away:
        monkeypatch.setitem(sys.modules, module, None)
    points.backend.cache_clear()
    try:
        assert points.backend().name == name
    finally:
        points.backend.cache_clear()


@pytest.mark.parametrize("error", [ImportError, OSError, RuntimeError, AttributeError])
def test_a_library_that_cannot_be_loaded(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """None for this machine, or an old one that lacks a function: the next serves."""

    def fails() -> Backend:
        raise error("no library")

    monkeypatch.undo()
    monkeypatch.setattr(points, "_coincurve", fails)
    monkeypatch.setattr(points, "_embit", fails)
    points.backend.cache_clear()
    try:
        assert points.backend().name == "python"
    finally:
        points.backend.cache_clear()


@pytest.mark.parametrize("secret", SCALARS)
@pytest.mark.parametrize("factor", SCALARS)
def test_multiples_and_sums(secret: int, factor: int) -> None:
    """Of any point, against OpenSSL; not those that are none."""
    point = points.backend().parse(public_key(secret))
    assert point.times(number(factor)).format() == public_key(secret * factor % ORDER)
    assert point.format() == public_key(secret), "the point itself stays"
    other = points.backend().parse(public_key(factor))
    if (secret + factor) % ORDER:
        assert point.add(other).format() == public_key((secret + factor) % ORDER)
    else:
        with pytest.raises(ValueError):
            point.add(other)
    for wrong in (0, ORDER, 2**256 - 1):
        with pytest.raises(ValueError):
            point.times(number(wrong))
