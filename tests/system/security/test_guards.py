"""SECURITY.md names tests that exist, and every check it rests on is noticed when it is gone."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.system.security.guards import GUARDS, Guard

ROOT = Path(__file__).resolve().parents[3]
PROMISES = (ROOT / "SECURITY.md").read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py(?:::\w+)+)`")
TIME_LIMIT = 280


@cache
def names_in(path: Path) -> frozenset[str]:
    """`test_x` and `Class::test_x` of a file."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{item.name}" for item in node.body if isinstance(item, ast.FunctionDef)}
    return frozenset(found)


def exists(test: str) -> bool:
    file, _, name = test.partition("::")
    return (ROOT / file).is_file() and name in names_in(ROOT / file)


def test_every_named_test_exists() -> None:
    named = NAMED.findall(PROMISES)
    assert len(named) > 40
    assert not [test for test in named if not exists(test)]


def promises() -> list[str]:
    """A promise is a row of a table below a heading `Promises: ...`."""
    return [
        row
        for section in PROMISES.split("\n## ")
        if section.startswith("Promises: ")
        for row in section.splitlines()
        if row.startswith("| ") and not row.startswith(("| we promise", "| ---"))
    ]


def test_every_promise_names_a_test() -> None:
    assert len(promises()) > 30
    assert not [row for row in promises() if not NAMED.search(row)]


def test_every_promise_has_a_guard() -> None:
    """A check behind it whose absence at least one of its tests notices."""
    guarded = {guard.test for guard in GUARDS}
    assert not [row for row in promises() if guarded.isdisjoint(NAMED.findall(row))]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_the_guard_is_there(guard: Guard) -> None:
    assert (ROOT / guard.file).read_text().count(guard.code) == 1
    assert exists(guard.test) and f"`{guard.test}`" in PROMISES


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project without what is not needed to test it."""
    folder = tmp_path_factory.mktemp("mutated")
    for name in ("cryptnox_core", "hwilib_cryptnox", "tests", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.cfg", "SECURITY.md"):
        shutil.copy(ROOT / name, folder)
    return folder


def run(copy: Path, *tests: str, limit: float = TIME_LIMIT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    # The reader's tests are to find the service that is hidden from this one.
    for name in [name for name in environment if name.startswith(("PYTEST_", "PCSCLITE_"))]:
        del environment[name]
    options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=line", "-rfEs", "--every-case"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=copy, env=environment, text=True, **pipes) as process:
        try:
            out, error = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # so that it ends what it has started
            process.communicate(timeout=30)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, error)


def of_guards() -> list[object]:
    """One worker has the readers; tests with them are run there."""
    readers = pytest.mark.xdist_group("pcsc")
    return [
        pytest.param(guard, id=guard.name, marks=readers if "mark.pcsc" in (ROOT / file).read_text() else ())
        for guard in GUARDS
        for file in [guard.test.partition("::")[0]]
    ]


@pytest.mark.heavy
@pytest.mark.xdist_group("pcsc")
@pytest.mark.timeout(1500)
def test_the_copy_is_what_is_tested(copy: Path) -> None:
    """With all guards in place all their tests pass, and they are run on the copy."""
    (copy / "tests/test_where.py").write_text(
        "import cryptnox_core, hwilib_cryptnox\n"
        "def test_where():\n"
        f"    assert cryptnox_core.__file__.startswith({str(copy)!r})\n"
        f"    assert hwilib_cryptnox.__file__.startswith({str(copy)!r})\n"
    )
    done = run(
        copy,
        "tests/test_where.py",
        *sorted({guard.test for guard in GUARDS if "pin_accounting" not in guard.test}),
        limit=1400,
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.heavy
@pytest.mark.parametrize("guard", of_guards())
def test_its_test_fails_without_the_guard(copy: Path, guard: Guard) -> None:
    file = copy / guard.file
    whole = file.read_text()
    file.write_text(whole.replace(guard.code, guard.without))
    try:
        done = run(copy, guard.test)
    finally:
        file.write_text(whole)
    if done.returncode == 0 and "\nSKIPPED " in done.stdout:
        pytest.skip("its test needs what this machine lacks")
    # 1: tests failed. Anything else would be a mistake in the list, such as code that cannot be read.
    assert done.returncode == 1 and "\nFAILED " in done.stdout, done.stdout[-2000:]
    assert "SyntaxError" not in done.stdout and "IndentationError" not in done.stdout
