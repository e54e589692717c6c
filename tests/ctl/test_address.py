"""`address`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ctl.payments import pay
from tests.ctl.program import answer, run
from tests.psbt.factory import ME, In, deriv, draft, p2wpkh
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


@pytest.mark.parametrize(
    ("configured", "given", "address"),
    [
        ("", (), ADDRESS),
        ("main", (), ADDRESS),
        ("test", (), "tb1q6rz28mcfaxtmd6v789l9rrlrusdprr9pqcpvkl"),
        ("signet", (), "tb1q6rz28mcfaxtmd6v789l9rrlrusdprr9pqcpvkl"),
        ("test", ("--chain", "main"), ADDRESS),
    ],
)
def test_the_network_that_is_configured(tmp_path: Path, configured: str, given: tuple[str, ...], address: str) -> None:
    """In the file or the environment; --chain goes before both, the environment before the file."""
    folder = tmp_path / "config" / "hwi-cryptnox"
    folder.mkdir(parents=True)
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as card:
        for file, variable in ((configured, ""), ("regtest", configured or "main")):
            (folder / "config.toml").write_text(f'chain = "{file}"\n')
            more = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "CRYPTNOX_CHAIN": variable}
            assert answer(card, "address", *given, **more)["addresses"][0]["address"] == address
        (folder / "config.toml").write_text('chain = "Main"\n')
        answer(card, "address", XDG_CONFIG_HOME=str(tmp_path / "config"), code=2)
        assert run(card, "address", "--help", XDG_CONFIG_HOME=str(tmp_path / "config")).returncode == 0


def test_a_path_says_its_network(card: EmulatorProcess) -> None:
    """Where nobody else does; a contradiction is refused."""
    path = "m/84h/1h/0h/0/0"
    assert answer(card, "address", "--path", path)["addresses"][0]["address"].startswith("tb1q")
    assert answer(card, "address", "--path", path, CRYPTNOX_CHAIN="regtest")["addresses"][0]["address"].startswith(
        "bcrt1q"
    )
    answer(card, "address", "--path", path, "--chain", "main", code=2)
    answer(card, "address", "--path", path, CRYPTNOX_CHAIN="main", code=2)
    answer(card, "address", "--path", "m/84h/0h/0h/0/0", CRYPTNOX_CHAIN="test", code=2)
    assert answer(card, "xpub", "show", "m/84h/1h/0h", schema="xpub show")["xpub"].startswith("tpub")
    answer(card, "xpub", "show", "m/84h/1h/0h", "--chain", "main", code=2)


def test_an_address_says_its_network(card: EmulatorProcess) -> None:
    own = answer(card, "address", "--chain", "regtest")["addresses"][0]["address"]
    assert answer(card, "address", "--check", own, "--gap", "5", schema="address --check")["ours"]
    answer(card, "address", "--check", own, "--chain", "main", code=5)


def test_no_transaction_is_signed_for_another_network(card: EmulatorProcess, tmp_path: Path) -> None:
    """What is configured counts as said."""
    path, _ = pay(tmp_path)
    error = answer(card, "sign", "--yes", str(path), CRYPTNOX_CHAIN="test", code=5)["error"]
    assert "network" in error and card.stats()["signatures"] == 0
    data = answer(card, "sign", "--yes", str(path), CRYPTNOX_CHAIN="main")
    assert data["review"]["outputs"][0]["address"].startswith("bc1q")


def test_verify_shows_the_right_prefix(tmp_path: Path) -> None:
    path = tmp_path / "a.psbt"
    item = In(p2wpkh(ME.key("m/84h/1h/0h/0/0")), fields=[deriv("m/84h/1h/0h/0/0")])
    path.write_bytes(draft(item).encode())
    assert answer(None, "verify", str(path))["outputs"][0]["address"].startswith("tb1q")
    assert answer(None, "verify", str(path), CRYPTNOX_CHAIN="regtest")["outputs"][0]["address"].startswith("bcrt1q")
    assert answer(None, "verify", str(path), "--chain", "main")["outputs"][0]["address"].startswith("bc1q")
