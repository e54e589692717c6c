"""`pin-auth`: off only with a key that works, only on a card on which it protects something, and never silently."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.ctl.program import COMMAND, PIN, PUK, answer, dialogue, ended, environment, run, shown, terminal
from tests.ctl.test_changes import CASES, World
from tests.support.consent import consenting
from tests.support.emulator import EmulatorProcess, trust
from tests.support.softhsm import TOKEN_PIN, SoftHsm
from tests.support.token import Token

PUKS = {"stdin": f"{PUK}\n"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A card that knows the key in the file PRIVATE."""
    return World(tmp_path, CASES["pin-auth off"])


def off(world: World) -> list[str]:
    return [*world.words, "--stdinpuk"]


def test_a_card_that_signs_with_the_pin_all_the_same(world: World) -> None:
    """The mode protects nothing there: it is said, and switched back; what was signed alarms nobody later."""
    with world.card(readings=("pin-auth-off-takes-pin",)) as card:
        refused = answer(card, *off(world), code=1, **PUKS)
        assert "protects nothing" in refused["error"] and "PIN authentication is on" in refused["error"]
        assert world.memory()["pin_auth"] and card.stats()["signatures"] == 1
        assert card.stats()["pin_tries"] == 0 == card.stats()["puk_tries"]
        assert answer(card, "pin", "verify", "--stdinpass", stdin=f"{PIN}\n", pin=None, schema="pin verify")
        audit = answer(card, "audit")
        assert audit["elsewhere"] == [] and audit["compared"] == 1


@pytest.mark.parametrize("fault", ["remove@C0:1", "badmac@C0:1", "silence@C0:1", "remove@20:4"])
@pytest.mark.parametrize("lax", [False, True])
def test_a_fault_while_the_pin_is_tried(fault: str, lax: bool, world: World) -> None:
    """It is tried once more: a fault does not make a lax card a good one."""
    readings = ("pin-auth-off-takes-pin",) if lax else ()
    with world.card(fault, readings=readings) as card:
        done = run(card, *off(world), CRYPTNOX_REINSERT_WAIT="3", **PUKS)
    assert done.returncode == (1 if lax else 0), done.stderr
    assert world.memory()["pin_auth"] is lax
    assert ("protects nothing" in done.stderr) is lax


def test_what_cannot_be_tried_is_said(world: World) -> None:
    with world.card("badmac@C0:1", "badmac@C0:2") as card:
        told = answer(card, *off(world), schema="pin-auth off", code=1, CRYPTNOX_REINSERT_WAIT="3", **PUKS)
    assert told["trial"] == "unknown" and not told["pin_auth"]


def test_the_key_answers_before_anything_is_switched(world: World) -> None:
    """Also the PIN is right by then: no PUK is sent for nothing."""
    with world.card() as card:
        done = run(card, *off(world), pin="9999", **PUKS)
        assert done.returncode == 4 and "C3" not in card.stats()["by_ins"] and "D6" not in card.stats()["by_ins"]
    assert world.memory()["pin_auth"]


def test_a_card_that_leaves_while_the_key_is_tested(world: World) -> None:
    with world.card("remove@D6:2") as card:
        done = run(card, *off(world), **PUKS)
        assert done.returncode != 0 and "C3" not in card.stats()["by_ins"], done.stderr
    assert world.memory()["pin_auth"]


def test_what_is_gained_and_what_not_is_said_first(world: World) -> None:
    with world.card() as card, terminal(card, *[word for word in world.words if word != "--yes"]) as child:
        child.expect_exact("PIN of card")
        text = " ".join(shown(child).split())
        for part in ("what is signed", "The PUK undoes it", "your finger", "only way back"):
            assert part in text
        child.sendline(PIN)
        child.expect_exact("[y/N] ")
        assert "C3" not in card.stats()["by_ins"]
        child.sendline("n")
        assert ended(child) == 1
    assert world.memory()["pin_auth"]


def test_a_pinless_path_is_told(tmp_path: Path) -> None:
    world = World(tmp_path, CASES["pin-auth off"])
    path = [43 | 1 << 31, 60 | 1 << 31, 1581 | 1 << 31, 0]
    world.state.write_text(json.dumps(world.memory() | {"pinless_path": path}))
    with world.card() as card:
        assert "PIN-less path" in run(card, *off(world), **PUKS).stderr


def test_options_that_contradict_each_other(world: World) -> None:
    with world.card() as card:
        answer(card, *off(world), "--pkcs11", "softhsm2", code=2, **PUKS)
        answer(card, "pin-auth", "off", "--token", "x", code=2)
        answer(card, "user-key", "test", "ec", code=2)
        answer(card, "user-key", "add", "ec", "--make", code=2)
        answer(card, "user-key", "add", "fido", "--pkcs11", "softhsm2", code=2)
        answer(card, "user-key", "add", code=2)
        assert not card.stats()["by_ins"].keys() - {"A4", "F8", "F7", "10", "11"}


def test_without_the_library_it_is_said_what_to_install(world: World, tmp_path: Path) -> None:
    """And nothing else needs it."""
    (tmp_path / "without" / "pkcs11").mkdir(parents=True)
    (tmp_path / "without" / "pkcs11" / "__init__.py").write_text("raise ImportError('not here')\n")
    module = tmp_path / "module.so"
    module.write_bytes(b"")
    path = os.pathsep.join(filter(None, (str(tmp_path / "without"), os.environ.get("PYTHONPATH"))))

    def told(*words: str) -> dict[str, str]:
        """Of an interpreter of its own, which looks for its modules anew."""
        env = environment(card, PYTHONPATH=path, CRYPTNOX_PIN=PIN)
        done = subprocess.run([*COMMAND, *words, "--json"], env=env, capture_output=True, text=True, timeout=120)
        return {"code": str(done.returncode), **json.loads(done.stdout)}

    with world.card() as card:
        for words in (("user-key", "test"), ("user-key", "add", "rsa", "--make"), ("pin-auth", "off", "--yes")):
            failed = told(*words, "--pkcs11", str(module))
            assert "python-pkcs11" in failed["error"] and "pip install python-pkcs11" in failed["hint"]
            assert failed["code"] == "4"
        assert not {"20", "D6", "C3", "D5"} & card.stats()["by_ins"].keys()
        assert told("user-key", "list")["user_keys"]


@pytest.fixture
def token_of() -> Token:
    """A key that is registered on a card."""
    return Token()


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftHsm]:
    made = SoftHsm(tmp_path / "hsm")
    made.plug(monkeypatch)
    made.token("touch me")
    yield made


def test_the_whole_life_with_a_token(hsm: SoftHsm, card: EmulatorProcess) -> None:
    """A key is made, registered and tested; PIN authentication goes off; keys are read by one use; and all the way
    back."""
    named = ("--pkcs11", str(hsm.module), "--token", "touch me")
    given = {"CRYPTNOX_APPROVE_PIN_COMMAND": f"echo {TOKEN_PIN}"}
    added = answer(
        card,
        "user-key",
        "add",
        *named,
        "--make",
        "--object",
        "approve",
        "--stdinpuk",
        schema="user-key add",
        **PUKS,
        **given,
    )
    assert added["slot"] == "ec" and added["approve"].startswith("pkcs11:token=touch%20me;serial=")
    listed = answer(card, "user-key", "list", schema="user-key list")["user_keys"]
    assert [(entry["text"], entry["public_key"]) for entry in listed] == [("touch me (approve)", added["public_key"])]
    configured = {**given, "CRYPTNOX_APPROVE": added["approve"]}
    refused = answer(card, "user-key", "add", *named, "--stdinpuk", code=1, **PUKS, **given)
    assert "already" in refused["error"]
    tested = answer(card, "user-key", "test", schema="user-key test", **configured)
    assert tested["accepted"] and tested["slot"] == "ec"
    assert not card.stats()["signatures"]
    switched = answer(card, "pin-auth", "off", "--yes", "--stdinpuk", schema="pin-auth off", **PUKS, **configured)
    assert (switched["pin_auth"], switched["trial"]) == (False, "refused")
    before = card.stats()["by_ins"]["D6"]
    done = run(card, "user-key", "list", pin=None, **configured)
    assert done.returncode == 0 and "touch me (approve)" in done.stdout, done.stderr
    assert card.stats()["by_ins"]["D6"] == before + 2, "one challenge and its answer"
    assert card.stats()["pin_tries"] == 0
    answer(card, "pin-auth", "on", "--stdinpuk", schema="pin-auth on", pin=None, **PUKS)
    answer(card, "user-key", "delete", "ec", "--stdinpuk", schema="user-key delete", **PUKS)
    gone = answer(card, "user-key", "test", code=4, **configured)
    assert "does not know the key" in gone["error"]


def test_no_challenge_of_an_unknown_card_is_answered(hsm: SoftHsm, tmp_path: Path, token_of: Token) -> None:
    """Neither to try the key: it could be what another card, which knows this key, is to sign. Whoever used the card
    here with its PIN vouches for it."""
    hsm.import_key("touch me", token_of.pem(tmp_path), "approve", "01")
    given = {"CRYPTNOX_APPROVE_PIN_COMMAND": f"echo {TOKEN_PIN}"}
    named = ("--pkcs11", str(hsm.module), "--token", "touch me")
    made = consenting(token_of, tmp_path, pin_auth=True)
    with EmulatorProcess(*made.options, maker="somebody") as card:
        refused = answer(card, "user-key", "test", *named, code=4, **given)
        assert "was not used before and is not known to be genuine" in refused["error"]
        file = answer(card, "user-key", "test", "ec", str(tmp_path / "key.pem"), code=4)
        assert "not known to be genuine" in file["error"]
        assert "D6" not in card.stats()["by_ins"]
        answer(card, "pin", "verify", "--stdinpass", stdin=f"{PIN}\n", pin=None, schema="pin verify")
        assert answer(card, "user-key", "test", *named, schema="user-key test", **given)["accepted"]


def test_the_configurations_key_tries_no_emulated_card(hsm: SoftHsm, tmp_path: Path, token_of: Token) -> None:
    """Unless the configuration names the card, too, or an option the key."""
    hsm.import_key("touch me", token_of.pem(tmp_path), "approve", "01")
    uri = hsm.uri(token="touch me", object="approve")
    given = {"CRYPTNOX_APPROVE_PIN_COMMAND": f"echo {TOKEN_PIN}", "XDG_CONFIG_HOME": str(tmp_path / "config")}
    folder = tmp_path / "config" / "hwi-cryptnox"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(f'approve = "{uri}"\n')
    with consenting(token_of, tmp_path, pin_auth=True) as card:
        for words in (("user-key", "test"), ("pin-auth", "off", "--yes", "--stdinpuk")):
            refused = answer(card, *words, code=4, **PUKS, **given)
            assert "trust_emulated" in refused["error"]
        assert "D6" not in card.stats()["by_ins"] and "20" not in card.stats()["by_ins"]
        assert answer(card, "user-key", "test", "--pkcs11", uri, schema="user-key test", **given)["accepted"]
        trust(card.path, f'approve = "{uri}"', config=tmp_path / "config")
        assert answer(card, "user-key", "test", schema="user-key test", **given)["accepted"]


def test_a_token_with_another_key(hsm: SoftHsm, world: World) -> None:
    """PIN authentication stays on; the PUK is not even asked for."""
    given = {"CRYPTNOX_APPROVE_PIN_COMMAND": f"echo {TOKEN_PIN}"}
    named = ("--pkcs11", str(hsm.module), "--token", "touch me")
    with world.card() as card:
        assert answer(card, "pin-auth", "off", "--yes", *named, code=4, **given)["error"]
        pem = world.folder / "other.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        hsm.import_key("touch me", pem, "other", "01")
        refused = answer(card, "pin-auth", "off", "--yes", *named, code=1, **given)
        assert "does not accept the key touch me (other); nothing was changed" in refused["error"]
        tested = answer(card, "user-key", "test", *named, schema="user-key test", code=1, **given)
        assert not tested["accepted"]
        assert "C3" not in card.stats()["by_ins"]


def test_the_tokens_pin_is_typed_in_the_terminal(hsm: SoftHsm, world: World) -> None:
    """A wrong one of the command costs one try; a right one that is typed brings the command back."""
    wrong = {"CRYPTNOX_APPROVE_PIN_COMMAND": "echo wrong"}
    hsm.import_key("touch me", world.folder / "PRIVATE", "door", "01")
    words = ("user-key", "test", "--pkcs11", str(hsm.module), "--token", "touch me")
    with world.card() as card:
        for reason in ("Wrong PIN of the token", "a PIN was refused before"):
            assert reason in answer(card, *words, code=4, **wrong)["error"]
        with terminal(card, *words, **wrong) as child:
            dialogue(child, ("PIN of the token touch me", TOKEN_PIN))
            child.expect_exact("accepts this key")
            assert ended(child) == 0 and TOKEN_PIN not in shown(child)
        right = {"CRYPTNOX_APPROVE_PIN_COMMAND": f"echo {TOKEN_PIN}"}
        assert answer(card, *words, schema="user-key test", **right)["accepted"]
