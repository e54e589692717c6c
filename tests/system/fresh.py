"""Debian systems made from nothing in a folder (debootstrap), and commands in them."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

MIRROR = "http://deb.debian.org/debian"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
LIMIT = 4000

# Everything mounted is gone with the namespace, whatever ends this test. /dev/shm is its own.
ENTER = """
mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && mount -t tmpfs tmpfs "$1/dev/shm" &&
mount -t tmpfs tmpfs "$1/run" || exit 1
ip link set lo up || exit 1
root=$1; shift
exec chroot "$root" env -i "$@"
"""


@dataclass(frozen=True)
class System:
    """A fresh Debian in a folder. `here`: where its commands are run."""

    root: Path
    suite: str
    here: Path

    def run(self, *command: str, limit: int = LIMIT, network: bool = True) -> subprocess.CompletedProcess[str]:
        """What a command says and how it ends; in namespaces of its own, which all that it starts leaves
        with it. Without a network of this machine's there is none but its own loopback."""
        own = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *([] if network else ["--net"])]
        setting = [
            "HOME=/root",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG=C.UTF-8",
            f"PIP_CERT={CERTIFICATES}",
            *([] if network else ["PIP_RETRIES=0"]),
            *(f"{name}={os.environ[name]}" for name in ("http_proxy", "https_proxy", "no_proxy") if name in os.environ),
        ]
        words = [*own, "sh", "-c", ENTER, "enter", str(self.root), *setting, "env", "-C", str(self.here), *command]
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
        )

    def holds(self, name: str) -> bool:
        """Whether there is a program of this name."""
        return any((self.root / place / name).exists() for place in ("usr/bin", "usr/local/bin"))


def quiet(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    if done.returncode:
        reason = f"no fresh system: {' '.join(map(str, command))[:80]}: {(done.stdout + done.stderr)[-300:]}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def fresh(suite: str, root: Path, here: Path, *packages: str) -> System:
    """A minimal system with these packages, and the network as this machine has it: name servers, names, certificates
    of a proxy. Skips where it cannot be made; in CI that fails."""
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        pytest.skip("debootstrap and root are needed for a fresh Debian")
    more = [f"--include={','.join(packages)}"] if packages else []
    quiet("debootstrap", "--variant=minbase", *more, suite, root, MIRROR)
    for path in map(Path, ("/etc/resolv.conf", "/etc/hosts", str(CERTIFICATES))):
        (root / path.parent.relative_to("/")).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, root / path.relative_to("/"))
    # A mirror may be days behind.
    (root / "etc/apt/apt.conf.d/90mirror").write_text('Acquire::Check-Valid-Until "false";\n')
    (root / here.relative_to("/")).mkdir(parents=True, exist_ok=True)
    return System(root, suite, here)
