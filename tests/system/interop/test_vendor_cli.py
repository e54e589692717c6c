"""The vendor's command line, `cryptnox-cli`, at a pseudo-terminal, on an emulated card through pcscd.

It lives in a virtual environment of its own, `.venv-cryptnox-cli`, made by the first run (from the package index).
Without a network it warns that balances and the card's origin cannot be looked up; that is its own affair.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from embit import bip32, bip39, script
from embit.networks import NETWORKS

from tests.support import pcsc
from tests.support.emulator import MNEMONIC, EmulatorProcess
from tests.support.sdk import OperationTable, connected

pytest.importorskip("cryptnox_sdk_py", reason="the vendor's SDK is not installed (it needs Python 3.11 and pyscard)")

from cryptnox_sdk_py.card.basic_g1 import Basic
from cryptnox_sdk_py.enums import Derivation, SlotIndex
from cryptnox_sdk_py.exceptions import PinBlockedException, PinException

pytestmark = [pytest.mark.pcsc, pytest.mark.heavy]

ENVIRONMENT = Path(__file__).resolve().parents[3] / ".venv-cryptnox-cli"
REQUIREMENT = "cryptnox-cli>=1.0.5,<2"
TREE = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(MNEMONIC))
ACCOUNT = "m/84'/0'/0'"
PIN, NEW_PIN, THIRD_PIN = "1234", "567890", "24680"
PUK, NEW_PUK = "abcdefghijkl", "mnopqrstuvwx"
DIGEST = hashlib.sha256(b"signed by the SDK").digest()
LIMIT = 120
"""Seconds for one answer: without a network each of the CLI's look-ups has to run into its time limit first."""

PIN_PROMPT = r"Cryptnox PIN code[^:]*: "
PUK_PROMPT = r"Enter the PUK[^:]*: "


@pytest.fixture(scope="module")
def program() -> Path:
    """The vendor's program, installed on the first use."""
    program = ENVIRONMENT / "bin" / "cryptnox"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True, timeout=120)
        install = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "-qq", REQUIREMENT]
        subprocess.run(install, check=True, timeout=600)
    return program


@dataclass(frozen=True)
class Terminal:
    """The CLI at a terminal of its own."""

    program: Path
    home: Path

    def run(self, *arguments: str, dialogue: Sequence[tuple[str, str]] = ()) -> str:
        """One command: waits for each pattern of the dialogue and types the answer; everything the CLI wrote."""
        environment = {**os.environ, "HOME": str(self.home), "TERM": "dumb"}
        child = pexpect.spawn(
            str(self.program), [*arguments], env=environment, timeout=LIMIT, dimensions=(60, 220), encoding="utf-8"
        )
        written = []
        try:
            for prompt, answer in dialogue:
                child.expect(prompt)
                written.append(child.before + child.after)
                child.send(answer + "\r")
            child.expect(pexpect.EOF)
            written.append(child.before)
        except (pexpect.TIMEOUT, pexpect.EOF) as error:
            raise AssertionError(f"{arguments}: {''.join(written)}{child.before} ({type(error).__name__})") from None
        finally:
            child.close(force=True)
        return "".join(written)


@pytest.fixture
def terminal(program: Path, tmp_path: Path) -> Terminal:
    return Terminal(program, tmp_path)


@pytest.fixture
def emulator(virtual_readers: pcsc.VirtualReaders, tmp_path: Path) -> Iterator[EmulatorProcess]:
    with virtual_readers.card("--state", str(tmp_path / "card.json")) as card:
        yield card


def sdk(do: Callable[[Basic], None]) -> None:
    """One piece of work by the SDK between two commands."""
    with connected() as card:
        do(card)


def block_pin() -> None:
    for _ in range(2):
        with connected() as card:
            for _ in range(3):
                with pytest.raises((PinException, PinBlockedException)):
                    card.verify_pin("9999")


def prepare_xpub(card: Basic) -> None:
    """The CLI reads the extended key of whatever key is current, and cannot derive one itself."""
    card.verify_pin(NEW_PIN)
    card.set_xpubread(True, NEW_PUK)
    card.derive(path=ACCOUNT)


def sign_once(card: Basic) -> None:
    card.verify_pin(NEW_PIN)
    card.sign(DIGEST, Derivation.CURRENT_KEY, pin=NEW_PIN)


def add_user_key(card: Basic) -> None:
    """A P-256 key marked as the CLI marks a PIV one."""
    card.verify_pin(THIRD_PIN)
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    public = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    card.user_key_add(SlotIndex.EC256R1, "added by the SDK", public, NEW_PUK)
    card.custom_bits[0] = True


def test_every_command_has_its_place_in_the_pages(program: Path) -> None:
    """The table of what takes the place of each."""
    said = subprocess.run([str(program), "--help"], capture_output=True, text=True, check=True, timeout=LIMIT).stdout
    names = set(re.findall(r"^    ([a-z_]+)(?:\s|$)", said, re.MULTILINE))
    page = (Path(__file__).resolve().parents[3] / "docs" / "coming-from-cryptnoxpy.md").read_text("utf-8")
    rows = page.partition("## The vendor's command line")[2].splitlines()
    told = {
        text.split()[0] for row in rows if row.startswith("| `") for text in re.findall("`([^`]+)`", row.split("|")[1])
    }
    assert len(names) > 20 and names - told == set()


def test_the_vendor_command_line(terminal: Terminal, emulator: EmulatorProcess, request: pytest.FixtureRequest) -> None:
    table = OperationTable("vendor CLI on an emulated Basic card, through pcscd")
    xpub = TREE.derive(ACCOUNT.replace("'", "h")).to_public().to_base58()

    def says(*texts: str) -> Callable[[str], bool]:
        return lambda output: all(re.search(text, output) for text in texts)

    def step(name: str, call: Callable[[], object], expected: Callable[[str], bool] = lambda _: True) -> None:
        """Each step builds on those before it: the first that fails ends the sequence."""
        if not table.failures:
            table.run(name, call, expected)

    def command(name: str, expected: Callable[[str], bool], *dialogue: tuple[str, str]) -> None:
        step(name, lambda: terminal.run(*name.split(), dialogue=dialogue), expected)

    command(
        "init",
        says("Card has been initialized", str(emulator.serial)),
        ("Name: ", "Alice"),
        ("email: ", "alice@example.org"),
        (r"Set card PIN code[^:]*: ", PIN),
        (r"Repeat PIN code[^:]*: ", PIN),
        ("> ", "1"),
        (r"Set card PUK code[^:]*: ", PUK),
        (r"Repeat PUK code[^:]*: ", PUK),
    )
    command(
        "seed recover",
        says("Mnemonic loaded"),
        (PIN_PROMPT, PIN),
        (r"words\):\s+> ", MNEMONIC),
        (r"\[y/N\] > ", "n"),
    )
    address = script.p2pkh(TREE.derive("m/44h/0h/0h/0/0").get_public_key()).address(NETWORKS["main"])
    command("info", says("BTC", "ETH", address), (PIN_PROMPT, PIN))
    command(
        "change_pin",
        says("PIN changed successfully"),
        (PIN_PROMPT, PIN),
        (r"Set new PIN code[^:]*: ", NEW_PIN),
        (r"Confirm new PIN code[^:]*: ", NEW_PIN),
    )
    command(
        "change_puk",
        says("PUK changed successfully"),
        (PUK_PROMPT, PUK),
        (r"Set new PUK code[^:]*: ", NEW_PUK),
        (r"Confirm new PUK code[^:]*: ", NEW_PUK),
    )
    step("(the SDK switches the export on and derives)", lambda: sdk(prepare_xpub))
    command("get_xpub", says(re.escape(xpub)), (PIN_PROMPT, NEW_PIN))
    step("(the SDK signs)", lambda: sdk(sign_once))
    command("history", says("There are 1 entries", DIGEST.hex()), (PIN_PROMPT, NEW_PIN))
    step("(the SDK blocks the PIN)", block_pin)
    command(
        "unlock_pin",
        says("PIN code successfully changed"),
        (PUK_PROMPT, NEW_PUK),
        (r"Set card PIN code[^:]*: ", THIRD_PIN),
        (r"Confirm new PIN code[^:]*: ", THIRD_PIN),
    )
    step("(the SDK adds a user key)", lambda: sdk(add_user_key))
    command("user_key list", says("piv", "added by the SDK"), (PIN_PROMPT, THIRD_PIN))
    command("reset", says("Card was reset successfully"), (PUK_PROMPT, NEW_PUK))
    with connected() as card:
        table.run("(the card is as from the factory)", lambda: card.initialized, lambda value: not value)
    table.publish(request)
    assert table.failures == []
