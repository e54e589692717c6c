"""`xpub`, `address`, `descriptors`, `export`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.ctl.program import PUK, answer, run
from tests.psbt.factory import ME, OTHER
from tests.support.emulator import MNEMONIC, EmulatorProcess

ADDRESS = "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"
"""The first segwit address of the mnemonic "abandon ... about", as in BIP84."""


def test_addresses() -> None:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as card:
        data = answer(card, "address", "0-3")
        assert data["addresses"][0] == {
            "path": "m/84h/0h/0h/0/0",
            "address": ADDRESS,
            "public_key": "0330d54fd0dd420a6e5f8d3624f5f3482cae350f79d5f0753bf5beef9c2d91af3c",
        }
        assert len(data["addresses"]) == 4
        found = {
            kind: answer(card, "address", "--type", kind)["addresses"][0]["address"]
            for kind in ("p2pkh", "p2sh-p2wpkh")
        }
        assert found == {
            "p2pkh": "1LqBGSKuX5yYUonjxT5qGfpUsXKYYWeabA",
            "p2sh-p2wpkh": "37VucYSaXLCAsxYyAPfbSi9eh4iEcbShgf",
        }
        assert "tweak" in answer(card, "address", "--type", "p2tr", code=1)["error"]
        assert answer(card, "address", "--chain", "regtest")["addresses"][0]["address"].startswith("bcrt1q")
        check = answer(card, "address", "--check", ADDRESS, schema="address --check")
        assert (check["ours"], check["path"]) == (True, "m/84h/0h/0h/0/0")
        change = answer(card, "address", "7", "--change")["addresses"][0]
        assert answer(card, "address", "--check", change["address"], schema="address --check")["path"] == change["path"]
        other = "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l"
        assert not answer(card, "address", "--check", other, schema="address --check", code=1)["ours"]
        answer(card, "address", "--check", "nonsense", code=5)
        answer(card, "address", "5-2", code=2)


def test_keys_without_export(bare: EmulatorProcess) -> None:
    assert answer(bare, "address", "0-1")["addresses"][1]["public_key"] == ME.key("m/84h/0h/0h/0/1").hex()
    assert "xpub on" in answer(bare, "xpub", "m/84h/0h/0h", code=4)["error"]
    assert answer(bare, "xpub", "on", "--stdinpuk", stdin=f"{PUK}\n", schema="xpub on")["xpub_export"]
    line = run(bare, "xpub", "m/84h/0h/0h").stdout.strip()
    assert line == f"[{ME.fingerprint.hex()}/84h/0h/0h]{ME.account('m/84h/0h/0h').to_string()}"
    assert answer(bare, "xpub", "m/84h/0h/0h", schema="xpub show")["origin"] == line
    assert not answer(bare, "xpub", "off", "--stdinpuk", stdin=f"{PUK}\n", schema="xpub off")["xpub_export"]


def test_descriptors_and_exports(card: EmulatorProcess, tmp_path: Path) -> None:
    from tests.support.optional import bdk

    shown = answer(card, "descriptors")["descriptors"]
    assert [entry["type"] for entry in shown] == ["p2pkh", "p2sh-p2wpkh", "p2wpkh"]
    for entry in shown:
        for name in ("receive", "change"):
            bdk.Descriptor(entry[name], bdk.NetworkKind.MAIN)
    for form in ("key-line", "descriptor", "coldcard", "electrum", "core"):
        data = answer(card, "export", form)
        piped = run(card, "export", form).stdout
        assert piped == data["content"]
        assert ME.fingerprint.hex() in piped.lower()
    assert not run(card, "export", "key-line").stdout.endswith("\n")
    target = tmp_path / "wallet.json"
    assert answer(card, "export", "electrum", "--output", str(target))["file"] == str(target)
    answer(card, "export", "electrum", "--output", str(target), code=2)
    assert run(card, "export", "electrum", "--output", str(target), "--force").returncode == 0
    json.loads(target.read_text())


def test_multisig_export(card: EmulatorProcess, tmp_path: Path) -> None:
    other = tmp_path / "other"
    key = OTHER.account("m/48h/0h/0h/2h").to_string()
    other.write_text(f"[{OTHER.fingerprint.hex()}/48h/0h/0h/2h]{key}")
    words = ("--type", "p2wsh", "--threshold", "2", "--cosigner", str(other))
    text = answer(card, "export", "descriptor", *words)["content"]
    assert text.startswith("wsh(sortedmulti(2,")
    answer(card, "export", "descriptor", "--threshold", "2", code=2)
    answer(card, "export", "coldcard", *words, code=2)
