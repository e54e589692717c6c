"""The pages for Python programmers: their programs run as printed, on an emulated card, and judged by Bitcoin Core's
verifier; what the tables name is there, on either side."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import cryptnox_core
from cryptnox_core import AppletInfo, Card
from cryptnox_core.crypto import secp256k1
from cryptnox_core.transport import Transport
from hwilib_cryptnox.psbt import Psbt
from tests.core.emulated import EmulatedReader, seeded
from tests.support.emulator import EmulatorProcess, trust
from tests.support.kernel import failing_inputs
from tests.support.optional import bdk
from tests.system.interop.pages import blocks
from tests.system.interop.programs import MNEMONIC, PIN, ROOT, TIME_LIMIT

MOVED, SIGNING, REFERENCE, OTHERS = (
    ROOT / "docs" / name
    for name in ("coming-from-cryptnoxpy.md", "sign-from-python.md", "api.rst", "other-libraries.md")
)


def programs(page: Path) -> list[str]:
    return [text for language, text in blocks(page) if language == "python"]


@pytest.fixture(scope="module")
def card() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as process:
        yield process


@pytest.fixture
def payment(tmp_path: Path) -> Path:
    return Path(shutil.copyfile(ROOT / "examples" / "payment.psbt", tmp_path / "payment.psbt"))


def started(program: str, *arguments: str, stdin: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *arguments],
        input=stdin,
        env={**os.environ, **env},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        start_new_session=True,
    )


def accepted(transaction: bytes) -> bool:
    """Whether Bitcoin Core's verifier takes all inputs of the payment."""
    unsigned = bdk.Psbt((ROOT / "examples" / "payment.psbt").read_text().strip())
    spent = [part.witness_utxo for part in unsigned.input()]
    outputs = [(txout.value.to_sat(), txout.script_pubkey.to_bytes()) for txout in spent if txout is not None]
    return len(outputs) == 2 and failing_inputs(transaction, outputs) == []


def test_signing_with_everything(card: EmulatorProcess, payment: Path) -> None:
    whole, extracting, _ = programs(SIGNING)
    trust(card.path)
    asked = started(whole, card.path, str(payment), stdin="no\n", folder=payment.parent, CRYPTNOX_PIN=PIN)
    signed = payment.with_suffix(".signed.psbt")
    assert asked.returncode == 1 and "nothing was signed" in asked.stderr and not signed.exists()
    assert card.stats()["signatures"] == 0
    done = started(whole, card.path, str(payment), stdin="yes\n", folder=payment.parent, CRYPTNOX_PIN=PIN)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d+ sat \w+ payment$", done.stdout, re.MULTILINE)
    assert re.search(r"^\d+ sat \w+ change, m/84h/1h/0h/1/\d+$", done.stdout, re.MULTILINE)
    assert re.search(r"^fee \d+ sat$", done.stdout, re.MULTILINE) and "Sign with 2 signatures?" in done.stdout
    final = started(extracting, stdin="", folder=payment.parent)
    assert accepted(bytes.fromhex(final.stdout.strip())), final.stderr
    signed.write_text(payment.read_text())
    assert started(extracting, stdin="", folder=payment.parent).stdout.startswith("not complete yet: input 0: ")


def test_the_engine_alone(card: EmulatorProcess, payment: Path) -> None:
    _, extracting, alone = programs(SIGNING)
    done = started(alone, card.path, str(payment), stdin=f"{PIN}\n", folder=payment.parent)
    assert done.returncode == 0, done.stderr
    Psbt.parse(done.stdout.strip())
    payment.with_suffix(".signed.psbt").write_text(done.stdout)
    assert accepted(bytes.fromhex(started(extracting, stdin="", folder=payment.parent).stdout.strip()))


def test_the_signer_for_bdk(card: EmulatorProcess, payment: Path) -> None:
    (program,) = programs(OTHERS)
    program = program.replace("cryptnox:SERIAL", card.path)
    unsigned, examples = payment.read_text().strip(), str(ROOT / "examples")
    whole = f"import sys; sys.path.insert(0, {examples!r}); unsigned = {unsigned!r}\n{program}"
    whole += "\nprint(result.psbt.extract_tx().serialize().hex())"
    done = started(whole, stdin="yes\n", folder=payment.parent, CRYPTNOX_PIN=PIN)
    assert done.returncode == 0, done.stderr
    txid, transaction = done.stdout.splitlines()
    assert re.fullmatch("[0-9a-f]{64}", txid) and accepted(bytes.fromhex(transaction))
    assert "Type yes to sign" in done.stderr
    assert "nothing was signed" in started(whole, stdin="no\n", folder=payment.parent, CRYPTNOX_PIN=PIN).stderr


@pytest.mark.parametrize("number", range(3))
def test_none_of_them_loads_hwi(number: int) -> None:
    imports = "\n".join(re.findall(r"^(?:from|import) .*$", programs(SIGNING)[number], re.MULTILINE))
    check = "print(sorted(name for name in sys.modules if name.partition('.')[0] == 'hwilib'))"
    run = subprocess.run(
        [sys.executable, "-c", f"{imports}\nimport sys\n{check}"], capture_output=True, text=True, timeout=TIME_LIMIT
    )
    assert run.stdout == "[]\n", run.stderr


def test_the_program_that_was_moved(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = programs(MOVED)
    reader = EmulatedReader.of(seeded())
    monkeypatch.setattr(cryptnox_core, "open_card", lambda: reader.open(pin=None))
    for pin, said in (("123456", "signed "), ("000000", "wrong PIN, tries left: ")):
        monkeypatch.setattr("getpass.getpass", lambda prompt, pin=pin: pin)
        exec(compile(program, MOVED.name, "exec"), {})
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1].startswith(said), lines
        if len(lines) == 3:
            secp256k1.parse_der(bytes.fromhex(lines[1].split()[1]))


def rows() -> list[tuple[str, str]]:
    """Left and right cell of the table of calls."""
    table = MOVED.read_text().partition("## Call by call")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (.*?) \| (.*?) \| .*\|$|^\| (.*?) \| \| .*\|$", table, re.MULTILINE)
    return [(left or alone, right) for left, right, alone in found][2:]


def test_every_call_of_the_table_is_there() -> None:
    """Names after `card.` are the card's; names after `card.info.` those of SELECT; arguments are taken."""
    assert len(rows()) > 45
    checked = 0
    for _, right in rows():
        for text in re.findall(r"`([^`]+)`", right):
            if text.startswith("card.info."):
                assert hasattr(AppletInfo, text.removeprefix("card.info.").partition("(")[0]), text
            match = re.match(r"card\.(\w+)(?:\((.*?)\))?", text)
            if match is None:
                continue
            member = getattr(Card, match[1])
            checked += 1
            if match[2]:
                given = [part.strip() for part in match[2].split(",") if part.strip() not in ("", "...")]
                named = {part.partition("=")[0]: None for part in given if "=" in part}
                plain = [part for part in given if "=" not in part]
                signature = inspect.signature(member)
                (signature.bind_partial if "..." in match[2] else signature.bind)(None, *plain, **named)
    assert checked > 50


def test_every_call_of_the_vendors_is_in_the_table() -> None:
    """As far as its card has it: what is left out is said to be, or is no call that programs make."""
    sdk: ModuleType = pytest.importorskip("cryptnox_sdk_py")
    left = " ".join(cell for cell, _ in rows())
    ours = set(re.findall(r"card\.(\w+)", left))
    theirs = {
        name for name in dir(sdk.factory.Basic) if not name.startswith("_") and not name.isupper() and name != "type"
    }
    # Constants and helpers; the attributes that a card is given when it is made are not among these names.
    helpers = {"select_apdu", "puk_rule", "pin_rule", "valid_pin", "valid_puk", "set_pubexport", "pin_authentication"}
    helpers |= {"pinless_enabled", "extended_public_key"}
    assert theirs - ours == helpers
    made = {"serial_number", "applet_version", "auth_type"}
    assert ours - theirs == made
    named = set(re.findall(r"`(\w+)`", MOVED.read_text().partition("## Errors")[2].partition("## ")[0]))
    errors = {name for name in vars(sdk.exceptions) if name.endswith(("Exception", "Lock"))}
    assert {name for name in named if name.endswith(("Exception", "Lock"))} <= errors


def test_the_reference_has_every_public_name() -> None:
    text = REFERENCE.read_text()
    documented = re.findall(r"^\.\. auto\w+:: (\S+)$", text, re.MULTILINE)
    named = {name.rpartition(".")[2] for name in documented}
    errors = {name for name in cryptnox_core.__all__ if name.endswith("Error")}
    assert set(cryptnox_core.__all__) - errors <= named
    assert ".. automodule:: cryptnox_core.errors\n" in text
    for name in documented:
        if not name.endswith(".errors"):
            module, _, attribute = name.rpartition(".")
            assert getattr(sys.modules.get(module) or __import__(module, fromlist=["_"]), attribute) is not None
    assert Transport.__doc__ and Card.__doc__
