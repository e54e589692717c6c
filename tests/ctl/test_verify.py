"""`verify`."""

from __future__ import annotations

from pathlib import Path

from tests.ctl.payments import pay
from tests.ctl.program import answer
from tests.psbt.factory import ME
from tests.support.emulator import EmulatorProcess


def test_verify_finds_a_bad_signature(card: EmulatorProcess, tmp_path: Path) -> None:
    path, _ = pay(tmp_path)
    answer(card, "sign", "--yes", str(path))
    signed = bytearray((tmp_path / "pay-signed.psbt").read_bytes())
    assert answer(None, "verify", str(tmp_path / "pay-signed.psbt"))["complete"]
    at = signed.index(
        b"\x30", signed.index(ME.key("m/84h/0h/0h/0/0"), signed.index(b"\x02" + ME.key("m/84h/0h/0h/0/0")))
    )
    signed[at + 20] ^= 1
    (tmp_path / "pay-signed.psbt").write_bytes(signed)
    data = answer(None, "verify", str(tmp_path / "pay-signed.psbt"), code=5, schema="verify")
    assert data["bad_signatures"] and not data["inputs"][0]["complete"]
