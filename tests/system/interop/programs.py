"""Other people's environments for the interop tests, and the signer's programs as subprocesses."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.emulator import MNEMONIC, PIN

__all__ = ["MNEMONIC", "PIN"]

ROOT = Path(__file__).resolve().parents[3]
SIGNER = (sys.executable, "-m", "hwilib_cryptnox.hwi.program")
FINGERPRINT = "73c5da0a"
OTHER_MNEMONIC = " ".join(["zoo"] * 11 + ["wrong"])
TIME_LIMIT = 120
PIP_TIME_LIMIT = 900


def environment(name: str, *requirements: str, project: bool = True) -> Path:
    """The Python of an environment `.venv-NAME` beside the checkout's own, with this project (editable) and what is
    asked for; made once, anew when the requirements or the project's definition change. `project`: without it, where
    what is asked for is not to use it."""
    import fcntl  # not on Windows, where nothing else of this module is wanted

    folder = ROOT / f".venv-{name}"
    python = folder / "bin" / "python"
    wanted = hashlib.sha256("\n".join((*requirements, sys.version)).encode() + (ROOT / "pyproject.toml").read_bytes())
    stamp = folder / ".made-of"
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted.hexdigest():
            return python
        run = subprocess.run(
            [sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True, timeout=TIME_LIMIT
        )
        if run.returncode == 0:
            ours = ["-e", str(ROOT)] if project else []
            command = [str(python), "-m", "pip", "install", "--quiet", *ours, *requirements]
            run = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIME_LIMIT)
        if run.returncode:
            reason = f"no environment with {' '.join(requirements)}: {run.stderr.strip().splitlines()[-1:]}"
            pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
        stamp.write_text(wanted.hexdigest())
    return python


def borrowed_environment(folder: Path, parent: Path = Path(sys.executable)) -> Path:
    """The Python of a throw-away environment that sees all packages of `parent`'s, but has a folder of its own for
    files that change how Python starts."""
    subprocess.run([str(parent), "-m", "venv", "--without-pip", str(folder)], check=True, timeout=TIME_LIMIT)
    python = folder / "bin" / "python"
    theirs, ours = (_packages(interpreter) for interpreter in (parent, python))
    (ours / "000-parent.pth").write_text(f"import site; site.addsitedir({str(theirs)!r})\n")
    return python


def _packages(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    run = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True, timeout=TIME_LIMIT)
    return Path(run.stdout.strip())


def run_hwi(
    arguments: Sequence[str],
    *,
    program: Sequence[str] = SIGNER,
    stdin: str = "",
    environ: Mapping[str, str] | None = None,
) -> Any:
    """Run HWI's command line; what it says on stdout, which must be one line of JSON and nothing else."""
    run = subprocess.run(
        [*program, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        env={**os.environ, **(environ or {})},
        start_new_session=True,  # no terminal: what asks for a password reads stdin
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("\n") == 1, run.stdout + run.stderr
    return json.loads(run.stdout)


def sign(path: str, psbt: str, *, program: Sequence[str] = SIGNER) -> str:
    """Have the card at `path` (like `tcp:127.0.0.1:9720`) sign a PSBT, PIN and PSBT over stdin."""
    answer = run_hwi(
        ["--device-type", "cryptnox", "--device-path", path, "--chain", "regtest", "--stdinpass", "--stdin"],
        program=program,
        stdin=f"{PIN}\nsigntx {psbt}\n",
    )
    assert isinstance(answer, dict) and answer.get("signed") is True, answer
    return str(answer["psbt"])
