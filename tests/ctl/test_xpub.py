"""`xpub`."""

from __future__ import annotations

from tests.ctl.program import PUK, answer, run
from tests.psbt.factory import ME
from tests.support.emulator import EmulatorProcess


def test_keys_without_export(bare: EmulatorProcess) -> None:
    assert answer(bare, "address", "0-1")["addresses"][1]["public_key"] == ME.key("m/84h/0h/0h/0/1").hex()
    assert "xpub on" in answer(bare, "xpub", "m/84h/0h/0h", code=4)["error"]
    assert answer(bare, "xpub", "on", "--stdinpuk", stdin=f"{PUK}\n", schema="xpub on")["xpub_export"]
    line = run(bare, "xpub", "m/84h/0h/0h").stdout.strip()
    assert line == f"[{ME.fingerprint.hex()}/84h/0h/0h]{ME.account('m/84h/0h/0h').to_string()}"
    assert answer(bare, "xpub", "m/84h/0h/0h", schema="xpub show")["origin"] == line
    assert not answer(bare, "xpub", "off", "--stdinpuk", stdin=f"{PUK}\n", schema="xpub off")["xpub_export"]
