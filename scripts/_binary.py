"""Builds the one-file binary of the last commit and checks it: `python _binary.py FOLDER`. See `build-binary`.

Prints what it built. The Python that runs it is the one that goes in.
"""

from __future__ import annotations

import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-build"
LOCKS = (ROOT / "requirements.lock", ROOT / "scripts" / "binary.lock")
NEEDED = ("cryptography", "cffi", "pycparser", "coincurve", "embit", "click", "rich", "markdown-it-py", "mdurl")
NEEDED += ("pygments", "typing-extensions", "tomli")
"""What the programs need, of the names in requirements.lock: no hwi, and none of what it brings along."""
MOST_BYTES = 30_000_000
NEWEST_GLIBC = (2, 36)
"""Debian 12's."""


def requirements() -> str:
    """The pinned requirements with their hashes: what goes in, and what builds it."""
    chosen = []
    for lock, names in ((LOCKS[0], NEEDED), (LOCKS[1], None)):
        for block in re.split(r"\n(?=[a-z0-9])", lock.read_text(encoding="utf-8")):
            match = re.match(r"([a-z0-9._-]+)==", block)
            if match and (names is None or match[1] in names):
                chosen.append(block.rstrip())
    return "\n".join(chosen) + "\n"


def run(*command: str | Path, **environment: str) -> None:
    """A command that has to succeed. Not in the checkout: Python would find its packages there, and what an editable
    installation left, before those that were installed of the last commit."""
    subprocess.run(command, check=True, env={**os.environ, **environment}, cwd="/")


def environment() -> Path:
    """The Python of .venv-build, with what is pinned and with the last commit's packages."""
    stamp, python = VENV / ".set-up-done", VENV / "bin" / "python"
    wanted = f"{sys.version}\n{requirements()}"
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(VENV, ignore_errors=True)
        run(sys.executable, "-m", "venv", VENV)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "requirements.txt"
            file.write_text(requirements(), encoding="utf-8")
            run(*pip, "--require-hashes", "-r", file)
        stamp.write_text(wanted, encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder)
        run(*pip, "--no-index", "--no-deps", "--no-build-isolation", "--force-reinstall", folder)
    return python


def build(folder: Path) -> Path:
    """The binary, in `folder`."""
    python = environment()
    epoch = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, check=True, text=True)
    with tempfile.TemporaryDirectory() as work:
        run(
            *(python, "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR"),
            *("--distpath", f"{work}/made", "--workpath", f"{work}/parts", ROOT / "scripts" / "binary.spec"),
            SOURCE_DATE_EPOCH=epoch.stdout.strip(),
            PYTHONHASHSEED="0",
            PYINSTALLER_CONFIG_DIR=f"{work}/cache",
        )
        asked = "from importlib.metadata import version; print(version('hwi-cryptnox'))"
        version = subprocess.run(
            [python, "-c", asked], cwd="/", capture_output=True, check=True, text=True
        ).stdout.strip()
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"hwi-cryptnox-{version}-linux-{platform.machine()}"
        shutil.copyfile(f"{work}/made/hwi-cryptnox", target)
    target.chmod(0o755)
    return target


LIST = """
import sys
from pathlib import Path
from PyInstaller.archive.readers import CArchiveReader
archive = CArchiveReader(sys.argv[1])
for name, entry in archive.toc.items():
    if entry[-1] == "b":
        path = Path(sys.argv[2], name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(archive.extract(name))
"""


def libraries(binary: Path, folder: Path) -> list[Path]:
    """The shared libraries in it, unpacked."""
    run(VENV / "bin" / "python", "-c", LIST, binary, folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def newest_glibc(files: list[Path]) -> tuple[int, ...]:
    """The newest version of glibc that one of them asks for."""
    found = subprocess.run(["objdump", "-T", *files], capture_output=True, check=False, text=True).stdout
    return max(tuple(map(int, version.split("."))) for version in re.findall(r"GLIBC_(\d+\.\d+)", found))


def check(binary: Path) -> list[str]:
    """What is wrong with it."""
    wrong = []
    size = binary.stat().st_size
    if size > MOST_BYTES:
        wrong.append(f"it has {size} bytes, more than {MOST_BYTES}")
    with tempfile.TemporaryDirectory() as folder:
        files = libraries(binary, Path(folder))
        if any("pcsc" in path.name for path in files):
            wrong.append("it carries a PC/SC library, where the system's is to be used")
        newest = newest_glibc([binary, *files])
    if newest > NEWEST_GLIBC:
        wrong.append(f"it needs glibc {'.'.join(map(str, newest))}, which Debian 12 does not have")
    print(f"{binary}: {size} bytes, {len(files)} libraries, glibc {'.'.join(map(str, newest))} or later")
    return wrong


def main() -> int:
    """The program."""
    try:
        binary = build(Path(sys.argv[1]).resolve())
        wrong = check(binary)
    except subprocess.CalledProcessError as error:
        print(f"the binary was not built: {error}", file=sys.stderr)
        return 1
    for text in wrong:
        print(f"{binary}: {text}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
