"""The programs in `examples/` run, and do what they say."""

from __future__ import annotations

import ast
import base64
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
from tests.support.optional import bdk, hwilib
from tests.system.interop.programs import sign

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
RUN_ELSEWHERE = {"sign_hash", "core_signer"}
"""Run by the tests of the library's page, and by those of Bitcoin Core."""
RUN_HERE = {
    *("hwi_library", "watch_only", "bdk_wallet", "bdk_signer", "embit_signer", "two_card_backup", "from_cryptnoxpy"),
    "inside_another_program",
}


PAYMENT = str(EXAMPLES / "payment.psbt")


def started(name: str, *arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", str(EXAMPLES / f"{name}.py"), *arguments]
    env = {**os.environ, "CRYPTNOX_PIN": PIN, "CRYPTNOX_PUK": PUK, **more}
    return subprocess.run(command, input=stdin, env=env, capture_output=True, text=True, timeout=120, check=False)


def example(name: str, *arguments: str, stdin: str = "", **more: str) -> str:
    done = started(name, *arguments, stdin=stdin, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def accepted(transaction: str) -> bool:
    """Whether Bitcoin Core's verifier takes the payment of the pages with these signatures."""
    spent = [part.witness_utxo for part in bdk.Psbt(Path(PAYMENT).read_text().strip()).input()]
    outputs = [(txout.value.to_sat(), txout.script_pubkey.to_bytes()) for txout in spent if txout is not None]
    return len(outputs) == 2 and failing_inputs(bytes.fromhex(transaction), outputs) == []


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
    if name in ("hwi_library", "inside_another_program"):
        pytest.importorskip("hwilib", reason="hwi is not installed")
    wrong = ("--wrong",) if name == "inside_another_program" else ()
    done = started(name, *wrong)
    assert done.returncode == 1
    assert f"python examples/{name}.py" in done.stderr and "Traceback" not in done.stderr


def test_what_they_need_is_said() -> None:
    """The page names each, and what it imports that does not come with the project on every Python."""
    page = (EXAMPLES.parent / "docs" / "library.md").read_text()
    rows = dict(re.findall(r"^\| `examples/(\w+)\.py` \| .* \| (.*?) ?\|$", page, re.MULTILINE))
    found = {}
    for path in EXAMPLES.glob("*.py"):
        names = {
            node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        tops = {str(name).partition(".")[0] for name in names} - set(sys.stdlib_module_names)
        beside = {path.stem for path in EXAMPLES.glob("*.py")}
        assert tops - beside <= {"cryptnox_core", "hwilib_cryptnox", "hwilib", "embit", "bdkpython"}, path.name
        found[path.stem] = " ".join(
            f"`{package}`" for module, package in (("bdkpython", "bdkpython"), ("hwilib", "hwi")) if module in tops
        )
    assert rows == found


@pytest.mark.parametrize("name", ["bdk_signer", "embit_signer"])
def test_signers_for_other_libraries(name: str, card: EmulatorProcess) -> None:
    """They show what they sign; nothing is signed without a yes, and no HWI library is loaded for it."""
    before = card.stats()["signatures"]
    for answer in ("no\n", "", "y\n"):
        done = started(name, card.path, PAYMENT, stdin=answer)
        assert done.returncode == 1 and done.stdout == "" and done.stderr.endswith("nothing was signed\n"), done.stderr
    assert card.stats()["signatures"] == before
    said = example(name, card.path, PAYMENT, stdin="yes\n")
    if name == "bdk_signer":
        signed = bdk.Psbt(said.strip()).finalize()
        assert signed.could_finalize, signed.errors
        said = signed.psbt.extract_tx().serialize().hex()
    assert accepted(said.strip())
    shown = started(name, card.path, PAYMENT, stdin="no\n").stderr
    assert re.search(r"^100000 sat to tb1\w+, payment$", shown, re.MULTILINE) and "fee: 626 sat" in shown
    assert re.search(r"^\d+ sat to tb1\w+, change$", shown, re.MULTILINE)
    assert PIN not in (EXAMPLES / f"{name}.py").read_text() and "hwilib." not in (EXAMPLES / f"{name}.py").read_text()


def test_embit_changes_nothing_that_is_signed(card: EmulatorProcess, tmp_path: Path) -> None:
    """It takes a sequence number of 0 for another."""
    from embit.transaction import Transaction

    given = base64.b64decode(Path(PAYMENT).read_text())
    head = given[: int.from_bytes(given[7:8], "little") + 8]
    assert head.count(b"\xfd\xff\xff\xff") == 2
    file = tmp_path / "sequence.psbt"
    changed = head.replace(b"\xfd\xff\xff\xff", bytes(4), 1) + given[len(head) :]
    file.write_text(base64.b64encode(changed).decode())
    said = example("embit_signer", card.path, str(file), stdin="yes\n").strip()
    assert [each.sequence for each in Transaction.parse(bytes.fromhex(said)).vin] == [0, 0xFFFFFFFD]
    assert accepted(said)


def test_embit_gets_the_psbt_back_where_others_must_sign(card: EmulatorProcess, tmp_path: Path) -> None:
    """2 of 2: the card's signature is in it; embit, with the other's, finalizes it."""
    from embit import bip32, bip39, ec, finalizer, script
    from embit.psbt import PSBT, DerivationPath
    from embit.transaction import Transaction, TransactionInput, TransactionOutput

    roots = [bip32.HDKey.from_seed(bip39.mnemonic_to_seed(words)) for words in (MNEMONIC, "zoo " * 11 + "wrong")]
    path = [0x80000030, 0x80000001, 0x80000000, 0x80000002, 0, 0]
    keys = [root.derive(path).key for root in roots]
    publics = sorted((key.get_public_key() for key in keys), key=ec.PublicKey.sec)
    witness = script.Script(b"\x52" + b"".join(b"\x21" + key.sec() for key in publics) + b"\x52\xae")
    paid = script.p2wsh(witness)
    funding = Transaction(2, [TransactionInput(bytes(31) + b"\1", 0)], [TransactionOutput(50_000, paid)], 0)
    spending = Transaction(
        2, [TransactionInput(funding.txid(), 0)], [TransactionOutput(49_000, script.p2wpkh(publics[0]))], 0
    )
    made = PSBT(spending)
    made.inputs[0].witness_utxo, made.inputs[0].non_witness_utxo = funding.vout[0], funding
    made.inputs[0].witness_script = witness
    for root, key in zip(roots, keys, strict=True):
        made.inputs[0].bip32_derivations[key.get_public_key()] = DerivationPath(root.my_fingerprint, path)
    file = tmp_path / "two.psbt"
    file.write_text(made.to_string())
    signed = PSBT.from_string(example("embit_signer", card.path, str(file), stdin="yes\n").strip())
    assert set(signed.inputs[0].partial_sigs) == {keys[0].get_public_key()}
    assert signed.sign_with(roots[1]) == 1
    final = finalizer.finalize_psbt(signed)
    assert failing_inputs(final.serialize(), [(50_000, paid.data)]) == []


def test_inside_another_program(card: EmulatorProcess) -> None:
    """As rust-hwi calls HWI's library; in a reader: tests/plugin/test_embedding.py."""
    hwilib()
    devices, key = example(
        "inside_another_program", "--emulators", CRYPTNOX_EMULATOR=card.path.removeprefix("tcp:")
    ).splitlines()
    (entry,) = [each for each in json.loads(devices) if each["type"] == "cryptnox"]
    assert entry["path"] == card.path and entry["fingerprint"] == "73c5da0a" and "error" not in entry
    assert json.loads(key)["xpub"].startswith("tpub")
    assert "cryptnox" not in example("inside_another_program", CRYPTNOX_EMULATOR=card.path.removeprefix("tcp:"))


def test_hwi_library(card: EmulatorProcess) -> None:
    hwilib()
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
    assert re.search(r"^to be signed: 60000 to bcrt1\w+, change$", said, re.MULTILINE)
    assert re.search(r"^fee \d+$", said, re.MULTILINE)
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
        assert readme_step(card, "verify-pin", f"{PIN}\n") == (0, "The PIN is correct. The card is ready.")
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
        assert code == 1 and said.endswith("There is already a seed on this card. Nothing was changed.")
        with open_card(card.path) as opened:
            opened.verify_pin(PIN)
            assert opened.master_fingerprint() == fingerprint
    assert readme_step(card, "connect")[0] == 1
