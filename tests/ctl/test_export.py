"""`export`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.ctl.program import answer, run
from tests.psbt.factory import ME, OTHER
from tests.support.emulator import EmulatorProcess


def test_exports(card: EmulatorProcess, tmp_path: Path) -> None:
    for form in ("key-line", "descriptor", "coldcard", "electrum", "core"):
        data = answer(card, "export", form)
        piped = run(card, "export", form).stdout
        assert piped == data["content"]
        assert ME.fingerprint.hex() in piped.lower()
    assert not run(card, "export", "key-line").stdout.endswith("\n")
    key = ME.account("m/84h/0h/0h").to_string()
    turned = ME.fingerprint[::-1].hex().upper()
    assert json.loads(run(card, "export", "wasabi").stdout) == {"ExtPubKey": key, "MasterFingerprint": turned}
    for words in (("--type", "p2pkh"), ("--account", "1")):
        answer(card, "export", "wasabi", *words, code=2)
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
