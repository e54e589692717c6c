"""Both commands of the README on a fresh Debian: python3 and git of the system, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.fresh import LIMIT, System, fresh, quiet

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = Path("/srv/hwi-cryptnox")
"""The clone, in the fresh system."""
COMPILERS = ("cc", "gcc", "clang")


SYSTEMS = [
    pytest.param(name, marks=pytest.mark.xdist_group(f"Debian {name}")) for name in ("bookworm", "trixie", "testing")
]
"""One worker makes a system, and runs its tests in their order."""


@pytest.fixture(scope="module", params=SYSTEMS)
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    root = tmp_path_factory.mktemp(request.param) / "root"
    made = fresh(request.param, root, HERE, "python3", "git", "ca-certificates")
    quiet("git", "clone", "--quiet", "--no-local", CHECKOUT, root / HERE.relative_to("/"))
    vectors = os.environ.get("CRYPTNOX_VECTORS")
    if vectors:
        shutil.copytree(vectors, root / "srv/shared/vectors")
    yield made
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
def test_the_wheel(system: System, tmp_path: Path) -> None:
    """In an environment of its own, after the demonstration, which brought venv: enumerate, getxpub and signtx by what
    was installed."""
    subprocess.run([sys.executable, CHECKOUT / "scripts" / "_build.py", tmp_path], check=True, timeout=LIMIT)
    [wheel] = tmp_path.glob("*.whl")
    shutil.copy(wheel, system.root / "srv")
    done = system.run("python3", "-m", "venv", "/srv/wheel")
    assert done.returncode == 0, done.stdout
    done = system.run("/srv/wheel/bin/pip", "install", "--quiet", f"/srv/{wheel.name}")
    assert done.returncode == 0, done.stdout
    assert not any(map(system.holds, COMPILERS)), "a compiler was installed"
    done = system.run(".venv/bin/python", "scripts/demo.py", "--programs", "/srv/wheel/bin", network=False)
    assert done.returncode == 0 and "All of it held." in done.stdout, done.stdout[-3000:]


@pytest.mark.heavy
@pytest.mark.timeout(LIMIT)
def test_the_tests(system: System, request: pytest.FixtureRequest) -> None:
    """Set up by the demonstration, so that they show that nothing of theirs needs a network, and have a reader of
    their own beside the one that other tests here use."""
    done = system.run("sh", "scripts/test", network=False)
    lines = done.stdout.strip().splitlines()
    failures = done.stdout.partition("= FAILURES =")[2].partition("= warnings summary =")[0]
    assert done.returncode == 0, failures[:20_000] + "\n".join(lines[-120:])
    assert not any(map(system.holds, COMPILERS)), "a compiler was installed"
    rows = [line for line in lines if "MISSING:" in line or "skipped:" in line]
    request.node.user_properties.append(("table", [f"Debian {system.suite}", *rows, lines[-1]]))
