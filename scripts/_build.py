"""Builds wheel and source distribution into a folder, the same bytes each time: `SOURCE_DATE_EPOCH=... python _build.py DIST`.

Setuptools keeps the files' own times and owners in the source distribution; they are set to the epoch's here.
"""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def settle_files(epoch: int) -> None:
    """Modes and times that do not depend on who unpacked the sources, and when."""
    for path in sorted(ROOT.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or os.access(path, os.X_OK)
            path.chmod(0o755 if executable else 0o644)
            os.utime(path, (epoch, epoch))


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
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    settle_files(epoch)
    done = subprocess.run([sys.executable, "-m", "build", "--outdir", sys.argv[1], str(ROOT)], check=False)
    if done.returncode == 0:
        for path in Path(sys.argv[1]).glob("*.tar.gz"):
            settle_archive(path, epoch)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
