"""Makes what is handed out of the last commit, twice, and tries it: `python _release.py FOLDER`. See `release`."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import _binary
import _sbom

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("hwi-cryptnox", "cryptnoxctl")
SYSTEM_PYTHON = "/usr/bin/python3"
"""Goes into the binary, unless PYTHON names another."""


class ReleaseError(Exception):
    """What does not hold."""


def say(text: str) -> None:
    print(f"-- {text}", flush=True)


def done(*command: str | Path, cwd: Path = ROOT) -> str:
    """The output of a command that has to succeed."""
    run = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if run.returncode:
        raise ReleaseError(f"{' '.join(map(str, command))}:\n{run.stdout[-3000:]}{run.stderr[-3000:]}")
    return run.stdout


def check_commit() -> None:
    """What is released is what is committed; a tag names its version."""
    if changed := done("git", "status", "--porcelain").strip():
        raise ReleaseError(f"there is something that is not committed:\n{changed}")
    if (tag := os.environ.get("GITHUB_REF_NAME")) and tag != f"v{version()}":
        raise ReleaseError(f"the tag {tag} is not that of version {version()}")


def version() -> str:
    """As pyproject.toml says."""
    found = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ReleaseError("pyproject.toml names no version")
    return found[1]


def build(folder: Path) -> dict[str, str]:
    """Wheel, source distribution and binary; their SHA-256 by name."""
    folder.mkdir(parents=True)
    done(sys.executable, ROOT / "scripts" / "_build.py", folder)
    print(done(os.environ.get("PYTHON", SYSTEM_PYTHON), ROOT / "scripts" / "_binary.py", folder), end="")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def with_pip(place: Path, file: Path) -> Path:
    """The folder of the programs, installed from a file as pip does it."""
    done(sys.executable, "-m", "venv", place)
    done(place / "bin" / "python", "-m", "pip", "install", "--quiet", file, cwd=place)
    return place / "bin"


def binary(place: Path, file: Path) -> Path:
    """The same, from the binary: under both names."""
    place.mkdir()
    shutil.copy(file, place / PROGRAMS[1])
    (place / PROGRAMS[0]).symlink_to(PROGRAMS[1])
    return place


def sign(programs: Path, folder: Path) -> None:
    """The demo, with these programs, in a folder from which nothing of the checkout can be imported."""
    said = done(programs / PROGRAMS[0], "--version", cwd=folder)
    if f"({PROGRAMS[0]} {version()})" not in said:
        raise ReleaseError(f"another version answers: {said}")
    shown = done(sys.executable, ROOT / "scripts" / "demo.py", "--programs", programs, cwd=folder)
    if "All of it held." not in shown:
        raise ReleaseError(f"the demo does not say that all of it held:\n{shown[-2000:]}")


def release(target: Path, folder: Path) -> None:
    """All of it. Raises: ReleaseError, CalledProcessError."""
    check_commit()
    say("building wheel, source distribution and binary")
    sums = build(folder / "one")
    say("building them again")
    if (again := build(folder / "two")) != sums:
        other = ", ".join(name for name in {*sums, *again} if sums.get(name) != again.get(name))
        raise ReleaseError(f"two builds are not the same bytes: {other}")
    ends: dict[str, Callable[[Path, Path], Path]] = {
        ".whl": with_pip,
        ".tar.gz": with_pip,
        f"-linux-{os.uname().machine}": binary,
    }
    if len(sums) != len(ends):
        raise ReleaseError(f"built was something else: {', '.join(sums)}")
    for number, (end, install) in enumerate(ends.items()):
        [name] = (each for each in sums if each.endswith(end))
        say(f"installing {name}; it signs as the demo does")
        sign(install(folder / str(number), folder / "one" / name), folder)
    say("writing what it is made of, and the sums")
    one_file = next(folder / "one" / name for name in sums if "-linux-" in name)
    bill = folder / "one" / f"hwi-cryptnox-{version()}.cdx.json"
    time = done("git", "log", "-1", "--format=%cI").strip()
    _binary.libraries(one_file, folder / "unpacked")
    bill.write_text(_sbom.bill(version(), time, folder / "unpacked"), encoding="utf-8")
    files = sorted((folder / "one").iterdir())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    target.mkdir(parents=True, exist_ok=True)
    for path in files:
        shutil.copy(path, target)
    (target / "SHA256SUMS").write_text("".join(lines), encoding="ascii")
    print("".join(lines), end="")
    say(f"All of it held. In {target}; nothing was published.")


def main() -> int:
    """The program."""
    with tempfile.TemporaryDirectory(prefix="cryptnox-release-") as folder:
        try:
            release(Path(sys.argv[1]).resolve(), Path(folder))
        except (ReleaseError, subprocess.CalledProcessError, OSError) as error:
            print(f"\nThere is no release: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
