"""Builds wheel and source distribution of the last commit, the same bytes each time: `python _build.py FOLDER`.

Setuptools keeps the files' own times, modes and owners; here they are those of the commit. The wheel names setuptools'
version, so it is built with a given one.
"""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BACKEND = "setuptools==84.2.1"


def git(*words: str) -> bytes:
    """What git says about this checkout."""
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True).stdout


def settle_archive(path: Path, epoch: int) -> None:
    """Write a .tar.gz anew, in order, without owners and times."""
    plain = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda each: each.name):
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime = epoch
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    with path.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=epoch) as packed:
        packed.write(plain.getvalue())


def main() -> int:
    """The program."""
    target = Path(sys.argv[1]).resolve()
    epoch = int(git("log", "-1", "--format=%ct"))
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as folder:
        # Unpacked files have the commit's time and the modes git knows.
        source, constraint = Path(folder) / "source", Path(folder) / "constraint"
        source.mkdir()
        subprocess.run(["tar", "-x", "-C", source], input=git("archive", "HEAD"), check=True)
        constraint.write_text(f"{BACKEND}\n", encoding="utf-8")
        command = [sys.executable, "-m", "build", "--outdir", str(target), str(source)]
        env = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "PIP_CONSTRAINT": str(constraint)}
        done = subprocess.run(command, env=env, check=False)
    if done.returncode == 0:
        for path in target.glob("*.tar.gz"):
            settle_archive(path, epoch)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
