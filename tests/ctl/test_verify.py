"""`verify`."""

from __future__ import annotations

import json
from pathlib import Path

from hwilib_cryptnox.ctl.wallets import Work
from hwilib_cryptnox.storage.state import State
from hwilib_cryptnox.storage.wallets import WalletStore
from tests.ctl.payments import pay
from tests.ctl.program import answer, run
from tests.psbt.factory import ME, Out, Wallet, draft, out_deriv, p2wsh, spend
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
