"""A TPM's key approves: swtpm and tpm2-pkcs11, in the programs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.ctl.program import COMMAND, PIN, PUK, environment
from tests.signer.test_signing import account
from tests.support.emulator import SEED, EmulatorProcess
from tests.support.softhsm import TOKEN_PIN
from tests.support.swtpm import Tpm


@pytest.mark.heavy
@pytest.mark.timeout(900)
@pytest.mark.parametrize("broker", [False, True], ids=["alone", "tpm2-abrmd"])
@pytest.mark.parametrize(("slot", "length"), [("ec", 65), ("rsa", 256)])
def test_a_key_of_a_tpm(slot: str, length: int, broker: bool, tmp_path: Path) -> None:
    """It is made there, registered, tested; PIN authentication goes off; a message and a transaction are signed by uses
    of it. The TPM is reached by itself, or through the broker that shares it among programs."""
    with Tpm(tmp_path / "tpm", broker=broker) as tpm, EmulatorProcess("--seed", SEED, "--xpub-export") as card:
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
        assert (added["slot"], len(added["public_key"])) == (slot, 2 * length)
        key = {"CRYPTNOX_APPROVE": added["approve"]}
        assert told("user-key", "test", **key)["accepted"]
        switched = told("pin-auth", "off", "--yes", "--stdinpuk", stdin=f"{PUK}\n", **key)
        assert (switched["pin_auth"], switched["trial"]) == (False, "refused")
        before = card.stats()["signatures"]
        signed = told("message", "sign", "hello", pin="", **key)
        assert signed["signature"]
        file = tmp_path / "pay.psbt"
        file.write_text(account(3).base64())
        paid = told("sign", str(file), "--yes", pin="", **key)
        assert paid["signatures"] == 3
        assert card.stats()["signatures"] == before + 4 and card.stats()["pin_tries"] == 0
