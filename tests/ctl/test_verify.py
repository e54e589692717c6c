"""`verify`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ctl.payments import pay
from tests.ctl.program import answer, run
from tests.psbt.factory import ME, In, draft, p2wpkh, sighash, spend, string
from tests.psbt.signing import sign
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


def final(witness: bytes, script: bytes) -> bytes:
    """A PSBT with an input that is signed, and one that is final."""
    return sign(draft(spend("p2wpkh"), In(script, 100_000, [(b"\x08", witness)])).encode()).raw


GARBAGE = b"\x02" + string(b"\x30" + bytes(70)) + string(ME.key("m/5"))


def test_a_final_input_that_cannot_be_spent_is_not_complete(tmp_path: Path) -> None:
    path = tmp_path / "final.psbt"
    path.write_bytes(final(GARBAGE, p2wpkh(ME.key("m/5"))))
    data = answer(None, "verify", str(path), code=5, schema="verify")
    assert not data["complete"] and data["bad_signatures"]
    assert [(one["final"], one["complete"]) for one in data["inputs"]] == [(False, True), (True, False)]
    told = run(None, "verify", str(path)).stdout
    assert "final, BAD" in told and "Not complete: 1 of 2 inputs" in told and "Complete." not in told
    assert "Input 1: it is final, and cannot be spent as it is signed: a signature does not verify" in told


def test_a_final_input_that_could_not_be_verified_is_told(tmp_path: Path) -> None:
    path = tmp_path / "final.psbt"
    path.write_bytes(final(b"\x01\x01a", b"\x52\x20" + bytes(32)))
    data = answer(None, "verify", str(path), schema="verify")
    assert data["complete"] and data["inputs"][1]["problem"].startswith("it is final and could not be verified: ")
    assert "Input 1: it is final and could not be verified: " in run(None, "verify", str(path)).stdout


@pytest.mark.parametrize("count", [1, 30])
def test_open_signatures_are_named(tmp_path: Path, count: int) -> None:
    ins = [spend("p2wpkh", number) for number in range(count)]
    given = draft(*(In(one.script, one.amount, [*one.fields, sighash(0x82)], salt=one.salt) for one in ins))
    path = tmp_path / "open.psbt"
    path.write_bytes(sign(given.encode(), allow_sighash=True).raw)
    data = answer(None, "verify", str(path), schema="verify")
    assert [one["open_types"] for one in data["inputs"]] == [["NONE|ANYONECANPAY"]] * count
    told = run(None, "verify", str(path)).stdout
    assert "Input 0: a signature of type NONE|ANYONECANPAY lets others change parts of the transaction" in told
    assert told.count("lets others change") == min(count, 20) and ("and 10 more" in told) == (count == 30)
