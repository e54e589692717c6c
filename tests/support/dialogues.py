"""A scripted pinentry, a gpg-agent, and a payment to show in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.psbt.factory import ME, OTHER, Draft, Out, draft, out_deriv, p2wpkh, spend
from tests.support.emulator import PIN, EmulatorProcess

CHANGE, KEY = "m/84h/0h/0h/1/3", "m/84h/0h/0h/0/0"
LEFT = "ERR 83886179 Operation cancelled <Pinentry>"
SCRIPTED = f"""#!{sys.executable}
import os, sys
folder = os.path.dirname(os.path.abspath(sys.argv[0]))
log = open(folder + "/log", "a")
def say(text):
    sys.stdout.write(text + "\\n"); sys.stdout.flush()
def reply(name, data):
    lines = open(folder + "/" + name).read().split("\\n")
    open(folder + "/" + name, "w").write("\\n".join(lines[1:] or lines))
    if lines[0] == "die":
        sys.exit(0)
    elif lines[0].startswith("ERR"):
        say(lines[0])
    else:
        if data:
            say("D " + lines[0])
        say("OK")
say("OK ready")
for line in sys.stdin:
    log.write(line); log.flush()
    word = line.split()[0].upper()
    if word == "GETPIN":
        reply("pin", True)
    elif word == "CONFIRM":
        reply("agrees", False)
    else:
        say("OK")
"""
NO_LIMITS = {"max_fee": None, "max_fee_rate": None, "max_fee_percent": None}


@dataclass
class Scripted:
    """A pinentry that answers what the test wants and remembers what it was told."""

    folder: Path
    program: Path = field(init=False)

    def __post_init__(self) -> None:
        self.program = self.folder / "pinentry-scripted"
        self.program.write_text(SCRIPTED)
        self.program.chmod(0o755)
        (self.folder / "log").write_text("")
        self.answers(PIN, "yes")

    def answers(self, pin: str, *agrees: str) -> None:
        """The PIN typed, and what is said to each confirmation, the last one again and again."""
        (self.folder / "pin").write_text(pin)
        (self.folder / "agrees").write_text("\n".join(agrees))

    @property
    def log(self) -> list[str]:
        return (self.folder / "log").read_text().splitlines()

    @property
    def asked(self) -> list[str]:
        """What was asked for, in order."""
        return [line for line in self.log if line in ("GETPIN", "CONFIRM")]

    @property
    def texts(self) -> list[str]:
        """What was shown, in order."""
        return [unquote(line.removeprefix("SETDESC ")) for line in self.log if line.startswith("SETDESC")]


def configure(card: EmulatorProcess, *lines: str) -> None:
    """The configuration file. The emulated card is named there: else no automatic source would give it a PIN."""
    file = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox" / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    trusted = f'trust_emulated = ["{card.host}:{card.port}"]'
    file.write_text("\n".join([*lines, trusted]) + "\n")


def payment(*outs: Out, count: int = 2) -> Draft:
    """60,000 satoshi to somebody, data, and change."""
    paid = outs or (
        Out(p2wpkh(OTHER.key("m/0")), 60_000),
        Out(p2wpkh(ME.key(CHANGE)), 100_000 * count - 62_000, [out_deriv(CHANGE)]),
        Out(b"\x6a\x05hello", 0),
    )
    return draft(*(spend("p2wpkh", number) for number in range(count)), outs=list(paid))


def lines_of(card: EmulatorProcess) -> list[str]:
    """What the payment is shown as."""
    return [
        f"Sign with the Cryptnox card {card.serial} ({ME.fingerprint.hex()})?",
        "0.00060000 BTC to bc1q pv3m v0rc 0e6e mm6g d60c c2hl 2gld sltm tvu6 g8",
        'Attached: data "hello"',
        f"Change back to the wallet: 0.00138000 BTC, {CHANGE}",
        "Fee: 2,000 satoshi, 8.9 sat/vB, 1.0 % of the card's inputs",
        "Leaves the wallet: 0.00062000 BTC",
    ]


@contextmanager
def gpg_agent(program: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A gpg-agent of this test's own, which starts this pinentry. Its socket's path must be short."""
    if shutil.which("gpg-agent") is None or shutil.which("gpg-connect-agent") is None:
        pytest.skip("gpg-agent is not installed: the confirmation by gpg-agent was not tried")
    home = Path(tempfile.mkdtemp(prefix="gnupg-"))
    monkeypatch.setenv("GNUPGHOME", str(home))
    (home / "gpg-agent.conf").write_text(f"pinentry-program {program}\n")
    try:
        yield
    finally:
        subprocess.run(["gpg-connect-agent", "--no-autostart", "killagent", "/bye"], capture_output=True, timeout=20)
        shutil.rmtree(home, ignore_errors=True)
