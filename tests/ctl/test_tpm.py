"""A TPM's key approves: swtpm and tpm2-pkcs11, in the programs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.ctl.program import COMMAND, PIN, PUK, environment
from tests.support.emulator import EmulatorProcess
from tests.support.softhsm import TOKEN_PIN
from tests.support.swtpm import Tpm


@pytest.mark.heavy
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("slot", "bits"), [("ec", 65), ("rsa", 256)])
def test_a_key_of_a_tpm(slot: str, bits: int, card: EmulatorProcess, tmp_path: Path) -> None:
    """It is made there, registered, tested; PIN authentication goes off, and a message is signed by two uses of it."""
    with Tpm(tmp_path / "tpm") as tpm:
        tpm.token("approve")
        given = {**tpm.environ, "CRYPTNOX_APPROVE_PIN_COMMAND": f"echo {TOKEN_PIN}"}

        def told(*words: str, stdin: str = "", pin: str = PIN, **more: str) -> dict[str, Any]:
            """Of an interpreter of its own: the module's libraries are looked for when it starts."""
            env = environment(card, CRYPTNOX_PIN=pin, **given, **more)
            done = subprocess.run(
                [*COMMAND, *words, "--json"], env=env, input=stdin, capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, (done.stdout, done.stderr)
            data: dict[str, Any] = json.loads(done.stdout)
            return data

        named = ("--pkcs11", str(tpm.module), "--token", "approve")
        added = told("user-key", "add", slot, *named, "--make", "--object", "key", "--stdinpuk", stdin=f"{PUK}\n")
        assert (added["slot"], len(added["public_key"])) == (slot, 2 * bits)
        key = {"CRYPTNOX_APPROVE": added["approve"]}
        assert told("user-key", "test", **key)["accepted"]
        switched = told("pin-auth", "off", "--yes", "--stdinpuk", stdin=f"{PUK}\n", **key)
        assert (switched["pin_auth"], switched["trial"]) == (False, "refused")
        before = card.stats()["signatures"]
        signed = told("message", "sign", "hello", pin="", **key)
        assert signed["signature"]
        assert card.stats()["signatures"] == before + 1 and card.stats()["pin_tries"] == 0
