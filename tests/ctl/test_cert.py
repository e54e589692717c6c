"""`cert`."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.ctl.program import answer, ended, run, shown, terminal
from tests.support.emulator import EmulatorProcess


def test_the_certificate(card: EmulatorProcess, tmp_path: Path) -> None:
    data = answer(card, "cert", pin=None)
    parsed = x509.load_pem_x509_certificate(data["pem"].encode())
    assert str(parsed.serial_number) == data["serial"] == str(card.serial)
    point = parsed.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert point.hex() == data["public_key"] and data["genuine"] == "emulated"
    target = tmp_path / "card.pem"
    assert answer(card, "cert", "--output", str(target), pin=None)["file"] == str(target)
    assert target.read_text() == data["pem"]
    answer(card, "cert", "--output", str(target), pin=None, code=2)
    assert card.stats()["pin_tries"] == 0
    piped = run(card, "cert", pin=None).stdout
    assert data["pem"].strip() in piped and data["public_key"] in piped.split("\n")


def test_a_card_from_the_factory(fresh: EmulatorProcess) -> None:
    assert answer(fresh, "cert", pin=None)["serial"] == str(fresh.serial)


@pytest.mark.parametrize("columns", [40, 80])
def test_the_screen(card: EmulatorProcess, columns: int) -> None:
    """Serial number, key and certificate are whole."""
    data = answer(card, "cert", pin=None)
    with terminal(card, "cert", columns=columns, rows=24) as child:
        assert ended(child) == 0
        text = shown(child).replace("\r", "")
    assert data["serial"] in text and data["public_key"] in text.split("\n") and data["pem"] in text
