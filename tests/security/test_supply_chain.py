"""What an installation takes along, and what is built: bounds, lock, licences, versions, the same bytes each time."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "pexpect", "jsonschema")
ORACLES = ("py-bitcoinkernel==0.1.0a5", "bdkpython>=3.1,<4")
SUITE = (
    "tests/core",
    "tests/emulator/test_program.py",
    "tests/hwi/test_commands.py",
    "tests/hwi/test_enumerate.py",
    "tests/hwi/test_state.py",
    "tests/psbt/test_codec.py",
    "tests/psbt/test_dishonest.py",
    "tests/psbt/test_policy.py",
    "tests/security/test_objects.py",
)
LIMIT = 900


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False, **options)  # type: ignore[call-overload]


def dependencies(*options: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, ROOT / "scripts" / "_dependencies.py", *options)


def test_bounds_lock_and_licences() -> None:
    done = dependencies()
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_lock_names_no_place() -> None:
    """Where the files come from is the installer's choice; the hashes say what they are."""
    assert "://" not in (ROOT / "requirements.lock").read_text()


def environment(python: str | Path, folder: Path, *requirements: str) -> Path:
    """The interpreter of a fresh environment with this project and more; skips where it cannot be had."""
    run(python, "-m", "venv", folder)
    made = folder / "bin" / "python"
    done = run(made, "-m", "pip", "install", "--quiet", "-e", ROOT, *requirements)
    if done.returncode:
        reason = f"no environment: {done.stderr.strip().splitlines()[-1:]}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return made


def check_suite(python: Path, *options: str) -> str:
    """A part of the suite with another environment; its closing line."""
    done = run(
        python,
        "-m",
        "pytest",
        "-n",
        "2",
        "-m",
        "not pcsc and not heavy",
        "-p",
        "no:cacheprovider",
        *options,
        *SUITE,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.heavy
@pytest.mark.timeout(2 * LIMIT)
def test_lowest_versions(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The default run has the newest; this one the lowest that pyproject.toml admits."""
    lowest = dependencies("--lowest").stdout.splitlines()
    assert any(line.startswith("cryptography==") for line in lowest)
    python = environment(sys.executable, tmp_path / "venv", *lowest, *TESTS, *ORACLES)
    frozen = run(python, "-m", "pip", "freeze").stdout
    rows = [
        line
        for line in frozen.splitlines()
        if re.match(r"(hwi|embit|cryptography|coincurve|click|rich|pyscard)==", line)
    ]
    request.node.user_properties.append(("table", ["lowest versions", *rows, check_suite(python)]))


def interpreters() -> list[str]:
    """Pythons 3.10 and 3.12 on this machine: on PATH, or pyenv's."""
    found = []
    for version in ("3.10", "3.12"):
        places = [
            shutil.which(f"python{version}"),
            *map(str, sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))),
        ]
        found += [
            place
            for place in places
            if place and run(place, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout.strip() == version
        ][:1]
    return found


@pytest.mark.heavy
@pytest.mark.timeout(2 * LIMIT)
@pytest.mark.parametrize("version", ["3.10", "3.12"])
def test_other_pythons(tmp_path: Path, version: str, request: pytest.FixtureRequest) -> None:
    asked = "import sys; print('%d.%d' % sys.version_info[:2])"
    python = next((place for place in interpreters() if run(place, "-c", asked).stdout.strip() == version), None)
    if python is None:
        pytest.skip(f"Python {version} is not on this machine")
    made = environment(python, tmp_path / "venv", *TESTS, *ORACLES)
    request.node.user_properties.append(("table", [f"Python {version}", check_suite(made)]))


def build(folder: Path) -> dict[str, str]:
    """Wheel and source distribution of the last commit; their hashes."""
    (folder / "tmp").mkdir(parents=True)
    env = {**os.environ, "TMPDIR": str(folder / "tmp")}
    done = run(sys.executable, ROOT / "scripts" / "_build.py", folder / "dist", env=env)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "dist").iterdir()}


@pytest.mark.heavy
def test_two_builds_are_the_same(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """In two places, one after the other, with another umask."""
    first = build(tmp_path / "one")
    before = os.umask(0o077)
    try:
        second = build(tmp_path / "another/place")
    finally:
        os.umask(before)
    assert first == second and len(first) == 2
    request.node.user_properties.append(
        ("table", ["reproducible builds", *(f"{sha} {name}" for name, sha in first.items())])
    )


@pytest.mark.heavy
def test_locked_installation(tmp_path: Path) -> None:
    """As docs/versions.md says."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    for words in (["--require-hashes", "-r", str(ROOT / "requirements.lock")], ["--no-deps", str(ROOT)]):
        done = run(python, "-m", "pip", "install", "--quiet", *words)
        assert done.returncode == 0, done.stderr
    version = run(tmp_path / "venv" / "bin" / "hwi-cryptnox", "--version").stdout
    assert version.startswith("hwi 3."), version


@pytest.mark.heavy
def test_the_documentation_builds(tmp_path: Path) -> None:
    """Without a warning: every page in the navigation, every link leads somewhere."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (pip install -e .[docs])")
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = run(sys.executable, "-m", "mkdocs", "build", "--strict", "-d", tmp_path / "site", cwd=ROOT, env=env)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr[-2000:]
