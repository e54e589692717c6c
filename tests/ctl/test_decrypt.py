"""`decrypt`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from tests.ctl.program import answer, run
from tests.support.emulator import EmulatorProcess

PLAIN = b"meet me at noon, and bring the other card along".ljust(48, b"\0")


def sealed(recipient: str, content: bytes) -> tuple[str, str, bytes, bytes]:
    """As a sender does it: the sender's key (hexadecimal, PEM), the ciphertext, and the shared secret."""
    mine = ec.generate_private_key(ec.SECP256R1())
    theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(recipient))
    secret = hashlib.sha256(mine.exchange(ec.ECDH(), theirs)).digest()
    writing = Cipher(algorithms.AES(secret[16:]), modes.CBC(secret[:16])).encryptor()
    point = mine.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint).hex()
    pem = mine.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return point, pem, writing.update(content) + writing.finalize(), secret


def test_there_and_back(card: EmulatorProcess, tmp_path: Path) -> None:
    shown = answer(card, "decrypt", "--recipient", schema="decrypt --recipient")
    pem_key = load_pem_public_key(shown["pem"].encode())
    assert pem_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint).hex() == shown["public_key"]
    point, pem, content, secret = sealed(shown["public_key"], PLAIN)
    (tmp_path / "sealed").write_bytes(content)
    (tmp_path / "sender.pem").write_text(pem)
    for sender in (point, str(tmp_path / "sender.pem")):
        assert bytes.fromhex(answer(card, "decrypt", sender, str(tmp_path / "sealed"))["hex"]) == PLAIN
    assert run(card, "decrypt", point, "-", stdin=content).stdout == PLAIN.decode()
    keys = answer(card, "decrypt", point, "--show-key", schema="decrypt --show-key")
    assert bytes.fromhex(keys["iv"] + keys["key"]) == secret
    target = tmp_path / "open"
    answer(card, "decrypt", point, str(tmp_path / "sealed"), "--output", str(target))
    assert target.read_bytes() == PLAIN and target.stat().st_mode & 0o077 == 0
    answer(card, "decrypt", point, str(tmp_path / "sealed"), "--output", str(target), code=2)


@pytest.mark.parametrize("size", [16, 1_120])
def test_sizes(card: EmulatorProcess, tmp_path: Path, size: int) -> None:
    shown = answer(card, "decrypt", "--recipient", schema="decrypt --recipient")
    plain = hashlib.shake_256(b"x").digest(size)
    point, _, content, _ = sealed(shown["public_key"], plain)
    (tmp_path / "sealed").write_bytes(content)
    assert bytes.fromhex(answer(card, "decrypt", point, str(tmp_path / "sealed"))["hex"]) == plain


def test_what_cannot_be(card: EmulatorProcess, tmp_path: Path) -> None:
    """Refused before the card is asked for anything."""
    point, pem, content, _ = sealed(
        answer(card, "decrypt", "--recipient", schema="decrypt --recipient")["public_key"], PLAIN
    )
    before = card.stats()["apdus"]
    good = tmp_path / "sealed"
    good.write_bytes(content)
    for size in (0, 47, 1_136):
        (tmp_path / "odd").write_bytes(bytes(size))
        answer(card, "decrypt", point, str(tmp_path / "odd"), code=5)
    (tmp_path / "no.pem").write_text("nonsense")
    for sender, code in ((point[:-2] + "00", 5), ("05" + point[2:], 5), ("abc", 2), (str(tmp_path / "no.pem"), 5)):
        answer(card, "decrypt", sender, str(good), code=code)
    for words in ((), (point,), (point, str(good), "--show-key"), ("--recipient", point)):
        answer(card, "decrypt", *words, code=2)
    assert card.stats()["apdus"] == before and pem


def test_a_wrong_pin_costs_one_try(card: EmulatorProcess, tmp_path: Path) -> None:
    point, _, content, _ = sealed(
        answer(card, "decrypt", "--recipient", schema="decrypt --recipient")["public_key"], PLAIN
    )
    (tmp_path / "sealed").write_bytes(content)
    answer(card, "decrypt", point, str(tmp_path / "sealed"), pin="999999", code=4)
    assert card.stats()["pin_tries"] == 1
