"""A small disk of its own for the programs' homes, so that it can be full."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

DISK = "4m"


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """A small file system; None where this user may not mount one."""
    place = tmp_path_factory.mktemp("disk")
    mount = shutil.which("mount")
    if os.name != "posix" or os.geteuid() != 0 or mount is None:
        yield None
        return
    done = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", place], check=False)
    if done.returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=False)
