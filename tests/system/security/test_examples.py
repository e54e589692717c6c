"""The programs in `examples/` run, and do what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cryptnox_core import open_card
from tests.support.emulator import MNEMONIC, PIN, PUK, EmulatorProcess
from tests.support.kernel import failing_inputs
from tests.support.optional import bdk
from tests.system.interop.programs import sign

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
RUN_ELSEWHERE = {"sign_hash"}
"""Run by the tests of the library's page."""
RUN_HERE = {"hwi_library", "watch_only", "bdk_wallet", "two_card_backup", "from_cryptnoxpy"}


def example(name: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "ignore", str(EXAMPLES / f"{name}.py"), *arguments]
    env = {**os.environ, "CRYPTNOX_PIN": PIN, "CRYPTNOX_PUK": PUK}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def card() -> object:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as process:
        yield process


def test_all_are_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == RUN_HERE | RUN_ELSEWHERE


def test_the_transaction_that_the_pages_sign(card: EmulatorProcess) -> None:
    """The emulated card of the pages makes it complete, and Bitcoin Core's verifier accepts it."""
    unsigned = (EXAMPLES / "payment.psbt").read_text().strip()
    signed = bdk.Psbt(sign(card.path, unsigned)).finalize()
    assert signed.could_finalize, signed.errors
    spent = [part.witness_utxo for part in bdk.Psbt(unsigned).input()]
    outputs = [(txout.value.to_sat(), txout.script_pubkey.to_bytes()) for txout in spent if txout is not None]
    assert failing_inputs(signed.psbt.extract_tx().serialize(), outputs) == []
    assert len(outputs) == 2


@pytest.mark.parametrize("name", sorted(RUN_HERE))
def test_without_arguments_it_explains_itself(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(EXAMPLES / f"{name}.py")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert f"python examples/{name}.py" in done.stderr and "Traceback" not in done.stderr


def test_hwi_library(card: EmulatorProcess) -> None:
    said = example("hwi_library", card.path)
    assert "fingerprint 73c5da0a" in said
    assert "wpkh([73c5da0a/84h/1h/0h]tpub" in said.replace("'", "h")


def test_watch_only(card: EmulatorProcess) -> None:
    entries = json.loads(example("watch_only", card.path))
    assert {entry["internal"] for entry in entries} == {True, False}
    assert all("73c5da0a" in entry["desc"] and "#" in entry["desc"] for entry in entries)


def test_bdk_wallet(card: EmulatorProcess) -> None:
    said = example("bdk_wallet", card.path)
    assert "received 100000" in said
    assert re.search(r"to be signed: 60000 to bcrt1\w+ fee \d+$", said, re.MULTILINE)
    script = bytes.fromhex("0014") + _program(said.split()[0])
    assert failing_inputs(bytes.fromhex(said.split()[-1]), [(100_000, script)]) == []


def _program(address: str) -> bytes:
    from embit.script import address_to_scriptpubkey

    return bytes(address_to_scriptpubkey(address).data[2:])


def test_two_card_backup() -> None:
    with EmulatorProcess() as first, EmulatorProcess() as second:
        said = example("two_card_backup", first.path, second.path)
    one, other = said.split()
    assert one == other and re.fullmatch("[0-9a-f]{8}", one)


def readme_step(card: EmulatorProcess, step: str, typed: str = "") -> tuple[int, str]:
    """A step of the vendor's README: the exit code, and the last line that was said."""
    command = [sys.executable, "-W", "ignore", str(EXAMPLES / "from_cryptnoxpy.py"), step, card.path]
    done = subprocess.run(
        command, input=typed, capture_output=True, text=True, timeout=60, check=False, start_new_session=True
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, (done.stdout or done.stderr).strip().splitlines()[-1]


def test_the_vendors_readme_moved() -> None:
    """What its three examples do, and what they say when it goes wrong."""
    with EmulatorProcess() as card:
        assert readme_step(card, "connect") == (0, f"Card serial number: {card.serial}")
        assert readme_step(card, "verify-pin") == (1, "This card has no PIN yet: cryptnoxctl setup")
        with open_card(card.path) as opened:
            opened.init("", "", pin=PIN, puk=PUK)
        assert readme_step(card, "verify-pin", f"{PIN}\n") == (0, "The PIN is right. The card is ready.")
        code, said = readme_step(card, "verify-pin", "9999\n")
        assert code == 1 and re.search(r"Wrong PIN; at most \d+ tries left\.$", said), said
        tried = card.stats()["by_ins"]["20"]
        code, said = readme_step(card, "verify-pin", "no PIN\n")
        assert code == 1 and "4 to 9 digits" in said, said
        assert card.stats()["by_ins"]["20"] == tried + 1  # the question how many tries are left, and no PIN
        code, said = readme_step(card, "generate-seed", f"{PIN}\n")
        assert code == 0 and re.search("Id of the seed's primary key: [0-9a-f]{64}$", said), said
        with open_card(card.path) as opened:
            assert opened.info.seeded
            opened.verify_pin(PIN)
            fingerprint = opened.master_fingerprint()
        code, said = readme_step(card, "generate-seed", f"{PIN}\n")
        assert code == 1 and said.endswith("There is a seed on this card already. Nothing was changed.")
        with open_card(card.path) as opened:
            opened.verify_pin(PIN)
            assert opened.master_fingerprint() == fingerprint
    assert readme_step(card, "connect")[0] == 1
