"""Both programs and a card of applet 2.0: a channel that is not known, and a reset that is switched off."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from cryptnox_core.emulator.memory import Memory, to_json
from tests.core.emulated import PIN, PUK, SERIAL, seeded
from tests.ctl import program as ctl
from tests.hwi.conftest import Program
from tests.support.emulator import EmulatorProcess
from tests.support.terminal import spawn

TEXT = (
    "the secure channel of this card's applet, version 2.0.0, is not supported yet: please report it, with the output "
    "of: cryptnoxctl doctor --json (status word 6982)"
)
DISABLED = "Reset is permanently disabled on this card: it cannot be erased; nothing was sent"


@contextmanager
def emulated(memory: Memory, folder: Path) -> Iterator[EmulatorProcess]:
    state = folder / "card.json"
    state.write_text(json.dumps(to_json(memory)))
    with EmulatorProcess("--state", str(state), "--reading", "select-v2") as card:
        yield card


def with_another_channel() -> Memory:
    """What the host computes is not what the card expects, as with a channel of another form."""
    memory = seeded()
    memory.pairing_key = bytes(range(32))
    return memory


def test_an_unknown_channel_in_hwi(hwi: Program, tmp_path: Path) -> None:
    with emulated(with_another_channel(), tmp_path) as card:
        (listed,) = hwi("--emulators", "--password", PIN, "enumerate", env={"CRYPTNOX_EMULATOR": card.path[4:]})
        assert (listed["path"], listed["error"], listed["code"]) == (card.path, TEXT, -12)
        assert not listed["needs_passphrase_sent"] and not listed["needs_pin_sent"]
        assert hwi.on(card, "getmasterxpub") == {"error": TEXT, "code": -12}
        assert "20" not in card.stats()["by_ins"], "no PIN goes through"


def test_an_unknown_channel_in_cryptnoxctl(tmp_path: Path) -> None:
    """`doctor --json` answers, and says so itself; nobody is sent to `pairing recover`."""
    with emulated(with_another_channel(), tmp_path) as card:
        report = ctl.answer(card, "doctor", "--card", card.path, code=1, schema="doctor")
        (finding,) = (found for found in report["findings"] if found["check"].startswith("card in"))
        assert finding["verdict"] == "bad" and finding["finding"].lower() == TEXT.lower()
        facts = ctl.answer(card, "info")
        assert facts["version"] == "2.0.0" and facts["serial"] == str(SERIAL)
        assert facts["problem"].lower() == TEXT.lower()
        for command in (["pin", "tries"], ["adopt"], ["data", "read"]):
            done = ctl.run(card, *command)
            assert done.returncode == 1 and "is not supported yet" in done.stderr
            assert "pairing recover" not in done.stderr + done.stdout
        assert "pairing recover" not in ctl.run(card, "info").stdout
        assert "20" not in card.stats()["by_ins"]


def test_a_channel_that_fails_after_its_handshake(hwi: Program, tmp_path: Path) -> None:
    """A counter in the MACs that begins at zero lets the handshake pass. Everybody says so, `doctor`, too."""
    faults = [word for ins in ("20", "FA") for number in range(1, 9) for word in ("--fault", f"sw:6982@{ins}:{number}")]
    state = tmp_path / "card.json"
    state.write_text(json.dumps(to_json(seeded())))
    with EmulatorProcess("--state", str(state), "--reading", "select-v2", *faults) as card:
        report = ctl.answer(card, "doctor", "--card", card.path, code=1, schema="doctor")
        assert any(found["finding"].lower() == TEXT.lower() for found in report["findings"])
        for command in (["pin", "tries"], ["adopt"]):
            done = ctl.run(card, *command)
            assert (
                done.returncode == 1
                and ("is not supported yet") in done.stderr
                and "put the card in" not in done.stderr
            )
        (listed,) = hwi("--emulators", "--password", PIN, "enumerate", env={"CRYPTNOX_EMULATOR": card.path[4:]})
        assert (listed["error"], listed["code"]) == (TEXT, -12)


def test_either_key_is_tried_after_a_change_without_end(hwi: Program, tmp_path: Path) -> None:
    """The channel of applet 2.0 may be the one that is known: then the right pairing key of two opens it."""
    from hwilib_cryptnox.storage.state import State

    memory = with_another_channel()
    memory.xpub_export = True
    State().keep_pairing_key(SERIAL, bytes(32), memory.pairing_key)
    with emulated(memory, tmp_path) as card:
        assert "xpub" in hwi.on(card, "getmasterxpub", pin=PIN)
        assert memory.pairing_key in State().pairing_keys(SERIAL)
        # It has accepted a PIN, so it is known now: the other key is of no more use.
        assert "xpub" in hwi.on(card, "getmasterxpub", pin=PIN)
    assert State().pairing_keys(SERIAL) == (memory.pairing_key,)


def test_a_disabled_reset(tmp_path: Path) -> None:
    """Said before the PUK is asked for, and before anything is typed."""
    memory = seeded()
    memory.reset_disabled = True
    with emulated(memory, tmp_path) as card:
        for words in (["reset"], ["reset", "--serial", str(SERIAL)]):
            done = ctl.run(card, *words)
            assert done.returncode == 1 and DISABLED in done.stderr
        words = ["--device-path", card.path, "--device-type", "cryptnox", "wipe"]
        child = spawn(
            [sys.executable, "-m", "hwilib_cryptnox.hwi.program", *words],
            env=ctl.environment(card),
            encoding="utf-8",
            timeout=60,
        )
        child.expect(pexpect.EOF)
        child.close()
        assert json.loads(child.before.strip().splitlines()[-1]) == {"error": DISABLED, "code": -9}
        assert "PUK" not in child.before and "erases" not in child.before
        assert "FD" not in card.stats()["by_ins"] and card.stats()["puk_tries"] == 0


def test_user_key_slots_by_version(tmp_path: Path) -> None:
    """Slots 4 and 5 are of applet 2.0; before, no PIN and no PUK is asked for."""
    key = ec.generate_private_key(ec.SECP256R1())
    public, private = tmp_path / "public.pem", tmp_path / "private.pem"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with EmulatorProcess("--pin", PIN, "--puk", PUK) as card:
        for words in (["add", "ec4", str(public)], ["delete", "ec5"], ["test", "ec4", str(private)]):
            done = ctl.run(card, "user-key", *words)
            assert done.returncode == 1 and "from applet 2.0 on" in done.stderr
        assert not {"20", "D5", "D6", "D7"} & card.stats()["by_ins"].keys()
    with EmulatorProcess("--pin", PIN, "--puk", PUK, "--reading", "select-v2") as card:
        for slot in ("ec4", "ec5"):
            done = ctl.run(card, "user-key", "add", slot, str(public), "--stdinpuk", stdin=f"{PUK}\n", pin=PIN)
            assert done.returncode == 0, done.stderr
            assert ctl.answer(card, "user-key", "test", slot, str(private), schema="user-key test")["accepted"]
        listed = ctl.answer(card, "user-key", "list", pin=PIN, schema="user-key list")["user_keys"]
        assert [entry["slot"] for entry in listed] == ["ec4", "ec5"]
        assert ctl.answer(card, "info")["user_keys"] == ["ec4", "ec5"]
        done = ctl.run(card, "user-key", "delete", "ec5", "--stdinpuk", stdin=f"{PUK}\n")
        assert done.returncode == 0 and ctl.answer(card, "info")["user_keys"] == ["ec4"]
