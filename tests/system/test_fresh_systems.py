"""Both commands of the README on a fresh Debian: python3 and git of the system, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
MIRROR = "http://deb.debian.org/debian"
HERE = Path("/srv/hwi-cryptnox")
"""The clone, in the fresh system."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
LIMIT = 4000
COMPILERS = ("cc", "gcc", "clang")

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
    """A fresh Debian in a folder, with a clone of this checkout."""

    root: Path
    suite: str

    def run(self, *command: str, limit: int = LIMIT, network: bool = True) -> subprocess.CompletedProcess[str]:
        """What a command in the clone says and how it ends; in namespaces of its own, which all that it starts leaves
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
        words = [*own, "sh", "-c", ENTER, "enter", str(self.root), *setting, "env", "-C", str(HERE), *command]
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
        return any((self.root / place / name).exists() for place in ("usr/bin", "usr/local/bin"))


def quiet(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    if done.returncode:
        reason = f"no fresh system: {' '.join(map(str, command))[:80]}: {(done.stdout + done.stderr)[-300:]}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


@pytest.fixture(scope="module", params=["bookworm", "trixie", "testing"])
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        pytest.skip("debootstrap and root are needed for a fresh Debian")
    root = tmp_path_factory.mktemp(request.param) / "root"
    made = ["--variant=minbase", "--include=python3,git,ca-certificates"]
    quiet("debootstrap", *made, request.param, root, MIRROR)
    # The network as this machine has it: name servers, names, certificates of a proxy; a mirror may be days behind.
    for path in map(Path, ("/etc/resolv.conf", "/etc/hosts", str(CERTIFICATES))):
        shutil.copyfile(path, root / path.relative_to("/"))
    (root / "etc/apt/apt.conf.d/90mirror").write_text('Acquire::Check-Valid-Until "false";\n')
    quiet("git", "clone", "--quiet", "--no-local", CHECKOUT, root / HERE.relative_to("/"))
    vectors = os.environ.get("CRYPTNOX_VECTORS")
    if vectors:
        shutil.copytree(vectors, root / "srv/shared/vectors")
    yield System(root, request.param)
    shutil.rmtree(root)


@pytest.mark.heavy
@pytest.mark.timeout(LIMIT)
def test_the_demonstration(system: System) -> None:
    assert not any(map(system.holds, COMPILERS))
    done = system.run("sh", "scripts/demo")
    assert done.returncode == 0, done.stdout[-3000:]
    assert not any(map(system.holds, COMPILERS)), "a compiler was installed"
    if system.suite == "bookworm":
        assert "MISSING" not in done.stdout.replace("MISSING: pyscard", "")


@pytest.mark.heavy
@pytest.mark.timeout(LIMIT)
def test_the_tests(system: System, request: pytest.FixtureRequest) -> None:
    """Set up by the demonstration, so that they show that nothing of theirs needs a network, and have a reader of
    their own beside the one that other tests here use."""
    done = system.run("sh", "scripts/test", network=False)
    lines = done.stdout.strip().splitlines()
    assert done.returncode == 0, "\n".join(lines[-120:])
    assert not any(map(system.holds, COMPILERS)), "a compiler was installed"
    rows = [line for line in lines if "MISSING:" in line or "skipped:" in line]
    request.node.user_properties.append(("table", [f"Debian {system.suite}", *rows, lines[-1]]))
