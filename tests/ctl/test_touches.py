"""cryptnoxctl with a card whose signatures a key in SoftHSM approves: what is asked, shown and told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ctl.program import answer, dialogue, ended, run, shown, terminal
from tests.psbt.factory import ME
from tests.signer.test_signing import account
from tests.signer.test_softhsm import pin_command
from tests.support.consent import consenting
from tests.support.emulator import EmulatorProcess
from tests.support.softhsm import TOKEN_PIN, SoftHsm
from tests.support.token import Token

ADDRESS = "m/84h/0h/0h/0/0"


@pytest.fixture
def hsm(tmp_path: Path) -> SoftHsm:
    return SoftHsm(tmp_path / "hsm")


@pytest.fixture
def env(hsm: SoftHsm) -> dict[str, str]:
    """What a program needs to find the key."""
    return {
        **hsm.environ,
        "CRYPTNOX_APPROVE": hsm.uri(token="mine", object="approve"),
        "CRYPTNOX_APPROVE_PIN_COMMAND": pin_command(TOKEN_PIN),
        "CRYPTNOX_REINSERT_WAIT": "1",
    }


@pytest.fixture
def card(hsm: SoftHsm, tmp_path: Path) -> Iterator[EmulatorProcess]:
    token = Token()
    hsm.token("mine")
    hsm.import_key("mine", token.pem(tmp_path), "approve", "01")
    with consenting(token, tmp_path) as made:
        yield made


def written(tmp_path: Path, inputs: int = 2) -> Path:
    file = tmp_path / "pay.psbt"
    file.write_text(account(inputs).base64())
    return file


def test_reading(card: EmulatorProcess, env: dict[str, Any]) -> None:
    """`info` learns the fingerprint by a touch; without the key it says what there is all the same."""
    told = answer(card, "info", pin=None, **env)
    assert (told["fingerprint"], told["pin_auth"], told["problem"]) == (ME.fingerprint.hex(), False, None)
    without = {**env, "CRYPTNOX_APPROVE": ""}
    assert answer(card, "info", pin=None, **without)["fingerprint"] is None
    assert answer(card, "descriptors", pin=None, **env)["descriptors"]
    assert answer(card, "history", pin=None, **env)["entries"] == []
    assert card.stats()["by_ins"].get("20", 0) == 0


def test_the_touches_are_in_the_question(card: EmulatorProcess, env: dict[str, Any], tmp_path: Path) -> None:
    file = written(tmp_path)
    with terminal(card, "sign", str(file), **env) as child:
        dialogue(child, ("Sign it with 2 signatures, which takes 2 touches of", "n"))
        assert ended(child) == 1
        assert "to read keys" in shown(child)
    assert card.stats()["signatures"] == 0
    with terminal(card, "sign", str(file), **env) as child:
        dialogue(child, ("Sign it with 2 signatures, which takes 2 touches of", "y"))
        child.expect_exact("to sign: 2 touches left")
        child.expect_exact("to sign: 1 touch left")
        assert ended(child) == 0
    assert card.stats()["signatures"] == 2


def test_without_a_terminal(card: EmulatorProcess, env: dict[str, Any], tmp_path: Path) -> None:
    file = written(tmp_path)
    done = run(card, "sign", str(file), "--yes", "--json", pin=None, **env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["signatures"] == 2
    assert "to sign: 1 touch left" in done.stderr
    told = answer(card, "message", "sign", "text", "--path", ADDRESS, schema="message sign", pin=None, **env)
    assert told["signature"]
    quiet = run(card, "message", "sign", "text", "--quiet", pin=None, **env)
    assert quiet.returncode == 0 and "to sign" in quiet.stderr, "the command waits for it"


def test_a_token_that_leaves(card: EmulatorProcess, hsm: SoftHsm, env: dict[str, Any], tmp_path: Path) -> None:
    """Told with what was signed until then and is kept."""
    file = written(tmp_path, 3)
    with terminal(card, "sign", str(file), **env) as child:
        child.expect_exact("Sign it with 3 signatures")
        hsm.pull_out()
        child.sendline("y")
        assert ended(child) == 4
    hsm.plug_in()
    done = run(card, "sign", str(file), "--yes", pin=None, **env)
    assert done.returncode == 0, done.stderr
    assert card.stats()["signatures"] == 3
