"""`verify`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwilib_cryptnox.ctl.wallets import Work
from hwilib_cryptnox.storage.state import State
from hwilib_cryptnox.storage.wallets import WalletStore
from tests.ctl.payments import pay
from tests.ctl.program import answer, run
from tests.psbt.factory import ME, In, Out, Wallet, draft, out_deriv, p2wpkh, p2wsh, sighash, spend, string
from tests.psbt.signing import sign
from tests.support.emulator import EmulatorProcess
from tests.support.versions import parsed


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


def test_wallets_are_looked_for_in_a_bounded_time(tmp_path: Path) -> None:
    """Outputs that name keys at a wallet's places cost a script each. Beyond the bound no wallet is named, and a note
    says so."""
    places = "m/48h/0h/0h/2h"
    keys = ",".join(
        f"[{one.fingerprint.hex()}{places[1:]}]{one.account(places).to_string()}/<0;1>/*"
        for one in (ME, *[Wallet(b"cosigner number %02d" % number) for number in range(14)])
    )
    policy = parsed(f"wsh(sortedmulti(2,{keys}))")
    WalletStore(State()).add("Clan", policy.descriptor, ME.fingerprint, "2026-11-27")
    claims = [out_deriv(f"{places}/1/{number}") for number in range(20)]
    own = Out(policy.script(1, 19), 1_000, claims)
    for strangers, found in ((100, True), (150, False)):
        outs = [own, *[Out(p2wsh(b"%d" % number), 1_000, claims) for number in range(strangers)], own]
        path = tmp_path / f"{strangers}.psbt"
        path.write_bytes(draft(spend("p2wpkh", amount=1_000_000), outs=outs).encode())
        done = run(None, "verify", str(path), "--json")
        names = [output["wallet"] for output in json.loads(done.stdout)["outputs"]]
        assert names == ["Clan", *[None] * strangers, "Clan" if found else None]
        assert ("not all inputs and outputs were compared" in " ".join(done.stderr.split())) is not found


def test_what_is_counted_are_keys() -> None:
    work = Work()
    assert work.spend(40_000) and not work.ended
    assert not work.spend(1) and work.ended and not work.spend(0)
