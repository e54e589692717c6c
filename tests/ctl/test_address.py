"""`address`."""

from __future__ import annotations

from tests.ctl.program import answer
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
