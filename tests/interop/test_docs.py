"""The commands in the documentation's `console` blocks are run, block by block, against the emulated card."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwilib_cryptnox.export import Network, ScriptType, account_path, descriptor, key_line
from tests.export.conftest import make_keys
from tests.interop.paper import PaperWallet
from tests.interop.programs import MNEMONIC, OTHER_MNEMONIC, PIN, ROOT, TIME_LIMIT, borrowed_environment
from tests.support.emulator import EmulatorProcess

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("docs")]

PAGES = sorted((ROOT / "docs").glob("*.md"))
_BLOCK = re.compile(r"^( *)```console\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)

HWI = """#!/bin/sh
# A person at the terminal, who types the PIN where it is asked for.
case " $* " in
    *" --stdinpass "*) printf '%s\\n' {pin} | {program} --emulators "$@" ;;
    *) exec {program} --emulators "$@" ;;
esac
"""
CTL = """#!/bin/sh
# A person at the terminal, who types the PIN and looks at the transaction.
case $1 in
    hwi) exec {program} "$@" ;;
    sign) printf '%s\\n' {pin} | {program} "$@" --card {card} --stdinpass --yes ;;
    *) printf '%s\\n' {pin} | {program} "$@" --card {card} --stdinpass ;;
esac
"""


def commands(page: Path) -> list[str]:
    """The blocks of a page, prompts taken away."""
    blocks = []
    for indent, body in _BLOCK.findall(page.read_text()):
        lines = [line.removeprefix(indent) for line in body.splitlines()]
        assert all(line.startswith(("$ ", "  ")) for line in lines), (page.name, lines)
        blocks.append("\n".join(line.removeprefix("$ ") for line in lines))
    return blocks


@pytest.fixture(scope="module")
def card() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as process:
        yield process


@pytest.fixture
def shell(card: EmulatorProcess, tmp_path: Path) -> dict[str, str]:
    """The environment of a person with one card, a password manager and a PSBT to sign."""
    python = shlex.quote(str(borrowed_environment(tmp_path / "venv")))
    programs = tmp_path / "bin"
    programs.mkdir()
    stock = f'{python} -c "import sys; from hwilib._cli import main; sys.exit(main())"'
    for name, text, program in (
        ("hwi-cryptnox", HWI, f"{python} -m hwilib_cryptnox.hwi"),
        ("hwi", HWI, stock),
        ("cryptnoxctl", CTL, f"{python} -m hwilib_cryptnox.ctl.main"),
    ):
        (programs / name).write_text(text.format(program=program, pin=PIN, card=card.path))
    (programs / "pass").write_text(f"#!/bin/sh\necho {PIN}\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    wallet = PaperWallet(descriptor(make_keys(Network.TEST), ScriptType.P2WPKH))
    wallet.receive(50_000)
    (tmp_path / "payment.psbt").write_text(wallet.pay(bytes.fromhex("0014" + "51" * 20), 20_000))
    (tmp_path / "pin-typed-by-hand").write_text(f"{PIN}\n")
    (tmp_path / "cosigner.txt").write_text(
        key_line(make_keys(Network.MAIN, mnemonic=OTHER_MNEMONIC), account_path(ScriptType.P2WSH, Network.MAIN))
    )
    return {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "CRYPTNOX_EMULATOR": card.path.removeprefix("tcp:"),
    }


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.stem)
def test_commands(page: Path, shell: dict[str, str], tmp_path: Path) -> None:
    script = "set -eu\n" + "\n".join(commands(page))
    run = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=shell, capture_output=True, text=True, timeout=TIME_LIMIT
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    # HWI's programs end with status 0 whatever happens: look at what they said. Asking for a PIN is all right.
    for line in run.stdout.splitlines():
        if '"error"' in line:
            assert '"code": -12' in line and "PIN needed" in line, line


def test_links() -> None:
    """Every page that a page points to is there."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)
