"""Fixtures shared with another folder, and the one-file binary."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.elsewhere import macos, windows

__all__ = ["macos", "windows"]

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("hwi-cryptnox", "cryptnoxctl", "hwi")
LIMIT = 1800


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the binary of the last commit, under all its names."""
    if sys.platform != "linux" or not (shutil.which("objdump") and shutil.which("strip") and shutil.which("git")):
        pytest.skip("the binary is built on Linux, with git, strip and objdump (packages git, binutils)")
    import fcntl

    folder = tmp_path_factory.mktemp("binary")
    program = ROOT / "scripts/build-binary"
    with program.open() as lock:  # workers share the environment that builds
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            ["sh", program, folder / "built"],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    if done.returncode and "Python library not found" in done.stderr:
        pytest.skip("the system's Python has no shared library (package libpython3.x)")
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    [built] = (folder / "built").iterdir()
    for name in PROGRAMS:
        (folder / name).symlink_to(built)
    return folder
