"""Programs from Debian's archive that tests use without installing them: fetched once and unpacked into a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DOWNLOAD_LIMIT = 300
_OTHERS = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")


def _suite() -> str:
    """The release that runs here, so that what is unpacked finds this system's libraries."""
    for line in Path("/etc/os-release").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip('"')
    pytest.skip("nothing from Debian's archive: this is no release of it")


@dataclass
class Archive:
    """apt with lists, cache and configuration of its own, in `folder`."""

    folder: Path

    def unpacked(self, *packages: str, depending: tuple[str, ...] = ()) -> Path:
        """The folder in which the packages are unpacked. `depending`: packages whose dependencies come along, too."""
        if not shutil.which("apt-get") or not KEYRING.exists():
            pytest.skip(f"no {packages[0]}: this is no Debian")
        import fcntl  # not on Windows, and Debian has it

        self.folder.mkdir(exist_ok=True)
        root = self.folder / "root"
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not root.exists():
                self._run("apt-get", "-qq", "update")
                self._run("apt-get", "-qq", "download", *packages, *self._libraries(*depending))
                half = self.folder / "half"
                shutil.rmtree(half, ignore_errors=True)
                for deb in sorted((self.folder / "debs").glob("*.deb")):
                    subprocess.run(["dpkg", "-x", str(deb), str(half)], check=True, timeout=DOWNLOAD_LIMIT)
                half.rename(root)
                shutil.rmtree(self.folder / "lists")
                shutil.rmtree(self.folder / "debs")
        return root

    def _libraries(self, *packages: str) -> list[str]:
        """What packages depend on that is not installed here: packages that exist, whatever they are called."""
        if not packages:
            return []
        said = self._run("apt-cache", "depends", "--recurse", *(f"--no-{name}" for name in _OTHERS), *packages)
        named = {line.strip() for line in said.splitlines() if line and not line.startswith((" ", "<"))}
        have = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"], capture_output=True, text=True, check=True
        )
        installed = {line.split()[0] for line in have.stdout.splitlines() if line.endswith(" installed")}
        return sorted(named - installed - set(packages))

    def _run(self, *command: str) -> str:
        for name in ("lists/partial", "cache/archives/partial", "debs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "sources.list").write_text(
            f"deb [signed-by={KEYRING}] http://deb.debian.org/debian {_suite()} main\n"
        )
        (self.folder / "apt.conf").write_text(
            f'Dir::State::Lists "{self.folder}/lists"; Dir::Cache "{self.folder}/cache";\n'
            f'Dir::Etc::SourceParts "/nonexistent"; Dir::Etc::SourceList "{self.folder}/sources.list";\n'
            'APT::Sandbox::User "root"; Acquire::Languages "none";\n'
        )
        run = subprocess.run(
            command,
            cwd=self.folder / "debs",
            env={**os.environ, "APT_CONFIG": str(self.folder / "apt.conf")},
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_LIMIT,
        )
        if run.returncode:
            last = run.stderr.strip().splitlines()[-1:]
            pytest.skip(f"nothing from Debian's archive: {' '.join(command[:2])}: {last}")
        return run.stdout
