"""The suite's own guards: tests meet no card but the emulated ones, and the virtual readers are lent once at a time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cryptnox_core.errors import ServiceUnavailableError
from cryptnox_core.transport.pcsc import LIBRARIES, library, list_readers
from tests import conftest
from tests.support import pcsc, quick

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("pcsc_library", LIBRARIES, indirect=True)
def test_no_pcsc_service_in_this_process(pcsc_library: str) -> None:
    assert library() == pcsc_library
    with pytest.raises(ServiceUnavailableError):
        list_readers()


@pytest.mark.parametrize("pcsc_library", LIBRARIES, indirect=True)
def test_no_pcsc_service_in_child_processes(pcsc_library: str) -> None:
    program = "from cryptnox_core.transport.pcsc import list_readers; list_readers()"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert "ServiceUnavailableError" in run.stderr


def test_no_setting_of_the_developer_is_seen() -> None:
    ours = {name for name in os.environ if name.startswith("CRYPTNOX_")}
    assert ours <= {"CRYPTNOX_VECTORS", "CRYPTNOX_NOT_TESTED", "CRYPTNOX_TEST_READER_WAIT"}
    assert not Path(os.environ["XDG_STATE_HOME"]).exists()
    assert not Path(os.environ["XDG_CONFIG_HOME"]).exists()


def test_the_lock_is_waited_for_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = pcsc.take_lock(path, wait=0)
    with pytest.raises(pcsc.UnavailableError, match="another test run"):
        pcsc.take_lock(path, wait=0.3)
    os.close(lock)
    os.close(pcsc.take_lock(path, wait=0))


@pytest.mark.timeout(330)
def test_a_group_is_one_workers() -> None:
    """With the versions of pytest and pytest-xdist that are here."""
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "-vv", "-k", "no_face or every"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    files = ["tests/test_architecture.py", "tests/test_networks.py"]
    run = subprocess.run([*command, *files], cwd=ROOT, env=alone, capture_output=True, text=True, timeout=300)
    workers = re.findall(r"^\[(gw\d)\].* PASSED tests/test_architecture\.py::test_no_face", run.stdout, re.MULTILINE)
    assert len(workers) > 3 and len(set(workers)) == 1, run.stdout


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    program = (
        f"import pathlib, tests.support.pcsc as p; p.take_lock(pathlib.Path({str(path)!r}), 0); print('held'); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(pcsc.UnavailableError):
            pcsc.take_lock(path, wait=0)
    finally:
        holder.kill()
        holder.communicate(timeout=10)
    os.close(pcsc.take_lock(path, wait=5))


def test_a_quick_test_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    quick.server()
    monkeypatch.setattr(conftest, "_running", "core/test_apdu.py")
    command = [sys.executable, "-m", "hwilib_cryptnox.ctl.main", "--version"]
    for start in (
        lambda: subprocess.Popen([sys.executable, "-V"]),
        os.fork,
        lambda: os.system("true"),
        lambda: quick.run(command),
    ):
        with pytest.raises(RuntimeError, match=r"tests/core/test_apdu\.py is one of the quick tests"):
            start()


def test_the_lists_of_quick_tests_name_what_is_there() -> None:
    names = (*conftest.QUICK, *conftest.QUICK_ON_LINUX, *conftest.FORKING, *conftest.LONG)
    assert [name for name in names if not (ROOT / "tests" / name).exists()] == []
    everywhere = {path for path in (ROOT / "tests").rglob("test_*.py") if conftest.is_quick(path)}
    on_linux = {path for path in (ROOT / "tests").rglob("test_*.py") if conftest.is_quick(path, "linux")}
    assert len(everywhere) > 40 and everywhere < on_linux


def test_the_tests_of_which_a_part_is_run_are_there() -> None:
    for name, share in conftest.ONE_IN.items():
        file, _, test = name.partition("::")
        assert f"def {test}(" in (ROOT / "tests" / file).read_text() and share > 1, name


def test_every_folder_has_quick_tests() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if list(path.rglob("test_*.py"))}
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if conftest.is_quick(path, "linux")]
    assert folders - {path.relative_to(ROOT / "tests").parts[0] for path in files} == set()


def test_the_quick_tests_load_on_other_systems() -> None:
    """They are the ones that run on Windows: no module of POSIX alone is imported."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "tests").rglob("test_*.py")
        if conftest.is_quick(path)
    ]
    program = (
        "import importlib, sys\n"
        "for name in ('fcntl', 'grp', 'pexpect', 'ptyprocess', 'pty', 'pwd', 'resource', 'termios', 'tty'):\n"
        "    sys.modules[name] = None\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
    )
    run = subprocess.run([sys.executable, "-c", program, *names], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stderr[-1500:]
