"""The library's page: its program runs as printed, and it names every method there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import cryptnox_core
from cryptnox_core import Card, errors
from cryptnox_core.crypto import secp256k1
from tests.core.emulated import PIN, EmulatedReader, seeded
from tests.support.emulator import MNEMONIC, EmulatorProcess

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "library.md").read_text()


def test_the_program_on_the_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    program = PAGE.partition("```python\n")[2].partition("```")[0]
    assert len(program.strip().splitlines()) <= 15
    reader = EmulatedReader.of(seeded())

    def connected() -> Card:
        return reader.open(pin=None)

    monkeypatch.setattr(cryptnox_core, "open_card", connected)
    monkeypatch.setattr("getpass.getpass", lambda prompt: PIN)
    exec(compile(program, "library.md", "exec"), {})
    assert secp256k1.is_low_s(bytes.fromhex(capsys.readouterr().out.strip()))


def test_the_example_program() -> None:
    with EmulatorProcess("--mnemonic", MNEMONIC) as emulator:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", ROOT / "examples" / "sign_hash.py", emulator.path],
            input="000000\n",
            capture_output=True,
            text=True,
            timeout=60,
            start_new_session=True,
        )
        assert done.returncode == 0, done.stderr
        secp256k1.parse_der(bytes.fromhex(done.stdout.split()[-1]))


def test_every_method_and_error_is_named() -> None:
    public = {name for name in dir(Card) if not name.startswith("_")} - {
        "send",
        "close",
        "transport",
        "certificate",
        "session_key",
    }
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert public <= named, public - named
    raised = {
        name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.CryptnoxError)
    }
    families = {"CryptnoxError", "TransportError", "ProtocolError", "ChannelError", "StatusWordError", "TriesError"}
    assert raised - families <= named, raised - families - named
