"""Completion in real shells: commands, options, files, names of registered wallets, serial numbers."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pexpect
import pytest

from hwilib_cryptnox.storage.state import State
from hwilib_cryptnox.storage.wallets import WalletStore
from tests.ctl.program import answer, run

NAMES = ("Family vault", "Feuer & Flamme", "Zürich", 'say "no"', "plain")
SERIAL = 18364758544493064720
SHELLS = ("bash", "zsh", "fish")
UNPACKED = os.environ.get("CRYPTNOX_TEST_SHELLS", "")
"""A folder into which zsh and fish were unpacked (`dpkg -x`), where they are not installed."""


def place_of(shell: str) -> str:
    """The shell's program; the test is skipped where there is none."""
    found = shutil.which(shell)
    if found is None and UNPACKED:
        places = [Path(UNPACKED, folder, shell) for folder in ("bin", "usr/bin")]
        found = next((str(place) for place in places if place.exists()), None)
    if found is None:
        pytest.skip(f"{shell} is not here")
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With files, wallets and a card that are remembered, and a program of our name: it completes as ours does, and
    else says what it was given."""
    for name in ("payment.psbt", "pay me later.psbt", "other.txt"):
        (tmp_path / "work" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "work" / name).write_text("x")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "cryptnoxctl"
    program.write_text(
        f'#!/bin/sh\n[ -z "$_CRYPTNOXCTL_COMPLETE" ] || exec {sys.executable} -m hwilib_cryptnox.ctl.main "$@"\n'
        'for one in "$@"; do printf "<%s>" "$one"; done\necho END\n'
    )
    program.chmod(0o755)
    state = State()
    for number, name in enumerate(NAMES):
        WalletStore(state).add(name, f"wsh(pk({number}))#x", bytes((number,)) * 4, "2026-01-01")
    state.update(SERIAL, lambda now: replace(now, full_counter=6))
    return tmp_path


def script(folder: Path, shell: str) -> Path:
    path = folder / f"completion.{shell}"
    done = run(None, "completion", shell)
    assert done.returncode == 0
    path.write_text(done.stdout)
    return path


@contextmanager
def started(shell: str, folder: Path) -> Iterator[pexpect.spawn]:
    """The shell at a prompt of `READY>`, its completion read."""
    program, source = place_of(shell), script(folder, shell)
    unpacked = Path(UNPACKED) if UNPACKED and program.startswith(UNPACKED) else None
    env = {
        **os.environ,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HOME": str(folder),
        "TERM": "dumb" if shell == "bash" else "xterm",
        "LC_ALL": "C.UTF-8",
        "INPUTRC": str(folder / "inputrc"),
    }
    (folder / "inputrc").write_text(
        "set bell-style none\nset enable-bracketed-paste off\nset completion-query-items 500\n"
    )
    if unpacked is not None:
        env["LD_LIBRARY_PATH"] = str(unpacked / "usr/lib/x86_64-linux-gnu")
    options = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"], "fish": ["--no-config", "-i"]}[shell]
    child = pexpect.spawn(
        program, options, env=env, cwd=str(folder / "work"), encoding="utf-8", timeout=60, dimensions=(50, 200)
    )
    child.delaybeforesend = 0.05
    try:
        if shell == "zsh":
            if unpacked is not None:
                functions = unpacked / "usr/share/zsh/functions"
                child.sendline(
                    f"module_path=({unpacked}/usr/lib/x86_64-linux-gnu/zsh/5.9); fpath=({functions}/**/*(/))"
                )
            child.sendline("unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u -D; PS1='REA''DY> '")
        elif shell == "bash":
            child.sendline("PS1='REA''DY> '")
        else:
            child.sendline("function fish_prompt; echo 'REA''DY> '; end; set -g fish_autosuggestion_enabled 0")
        child.expect_exact("READY> ")
        child.sendline(f"source {source}")
        child.expect_exact("READY> ")
        yield child
    finally:
        child.close(force=True)


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_shell_completes(shell: str, folder: Path) -> None:
    cases = [
        ("docto", "<doctor>"),
        ("pin unb", "<pin><unblock>"),
        ("sign --allow-s", "<sign><--allow-sighash>"),
        ("sign payment", "<sign><payment.psbt>"),
        ("sign pay\\ me", "<sign><pay me later.psbt>"),
        ("verify oth", "<verify><other.txt>"),
        ("data write oth", "<data><write><other.txt>"),
        ("doctor --analyze oth", "<doctor><--analyze><other.txt>"),
        ("wallet show Fam", "<wallet><show><Family vault>"),
        ("wallet show fam", "<wallet><show><Family vault>"),
        ("wallet show Feu", "<wallet><show><Feuer & Flamme>"),
        ("wallet show say", '<wallet><show><say "no">'),
        ("wallet export Zü", "<wallet><export><Zürich>"),
        ("wallet remove pl", "<wallet><remove><plain>"),
        ("sign payment.psbt --wallet Fam", "<sign><payment.psbt><--wallet><Family vault>"),
        ("sign payment.psbt --wallet oth", "<sign><payment.psbt><--wallet><other.txt>"),
        ("address --wallet pla", "<address><--wallet><plain>"),
        ("info --card 183", f"<info><--card><{SERIAL}>"),
        ("forget 183", f"<forget><{SERIAL}>"),
        ("setup --seed sha", "<setup><--seed><shares>"),
        ("--log-file oth", "<--log-file><other.txt>"),
    ]
    with started(shell, folder) as child:
        for typed, wanted in cases:
            child.send(f"cryptnoxctl {typed}\t\r")
            child.expect(r"((?:<[^>]*>)+)END")
            assert child.match[1] == wanted, (shell, typed)
            child.expect_exact("READY> ")


def test_wallets_that_cannot_be_read_complete_to_nothing(folder: Path) -> None:
    place = Path(os.environ["XDG_STATE_HOME"]) / "hwi-cryptnox/wallets.json"
    place.write_text("{nonsense")
    done = run(None, _CRYPTNOXCTL_COMPLETE="bash_complete", COMP_WORDS="cryptnoxctl wallet show F", COMP_CWORD="3")
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_and_its_json(shell: str) -> None:
    data = answer(None, "completion", shell)
    assert data["shell"] == shell and "cryptnoxctl" in data["script"]
    assert data["script"].rstrip() == run(None, "completion", shell).stdout.rstrip()
    answer(None, "completion", "tcsh", code=2)


def test_a_new_wallets_name_is_not_completed(folder: Path) -> None:
    done = run(None, _CRYPTNOXCTL_COMPLETE="bash_complete", COMP_WORDS="cryptnoxctl wallet add F", COMP_CWORD="3")
    assert "Family" not in done.stdout
