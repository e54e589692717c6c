"""What other programs are started with, where ours runs from a one-file binary."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path

import pytest

from hwilib_cryptnox.console.bundle import bundled, child_environment
from hwilib_cryptnox.ctl.commands import doctor, hwi
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.pin.assuan import _run
from hwilib_cryptnox.pin.sources import CommandSource, PinRequest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "/tmp/_MEIabc"


@pytest.fixture
def binary(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As PyInstaller's first process leaves it, where the user had set no library path."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", FOLDER, raising=False)
    monkeypatch.delenv("LD_LIBRARY_PATH_ORIG", raising=False)
    monkeypatch.setenv("LD_LIBRARY_PATH", FOLDER)
    for name in ("_PYI_APPLICATION_HOME_DIR", "_PYI_ARCHIVE_FILE", "_PYI_PARENT_PROCESS_LEVEL"):
        monkeypatch.setenv(name, FOLDER)
    return monkeypatch


def test_elsewhere_children_inherit_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/mine")
    monkeypatch.setenv("LD_LIBRARY_PATH_ORIG", "/opt/other")
    assert not bundled()
    assert child_environment() == dict(os.environ)
    assert child_environment({"A_B": "c"}) == {**os.environ, "A_B": "c"}


def test_in_a_binary_they_get_what_it_was_started_with(binary: pytest.MonkeyPatch) -> None:
    assert bundled()
    found = child_environment({"CRYPTNOX_SERIAL": "7"})
    assert FOLDER not in found.values() and "LD_LIBRARY_PATH" not in found
    assert found["CRYPTNOX_SERIAL"] == "7" and found["PATH"] == os.environ["PATH"]
    for original in ("/opt/mine:/opt/other", ""):
        binary.setenv("LD_LIBRARY_PATH", f"{FOLDER}:{original}")
        binary.setenv("LD_LIBRARY_PATH_ORIG", original)
        found = child_environment()
        assert found["LD_LIBRARY_PATH"] == original and "LD_LIBRARY_PATH_ORIG" not in found
    assert os.environ["LD_LIBRARY_PATH"] == f"{FOLDER}:", "its own environment stays as it is"


SHOWS = "import os; print(4711 if 'LD_LIBRARY_PATH' not in os.environ and '_PYI_ARCHIVE_FILE' not in os.environ else 1)"


def test_a_pin_command_gets_it(binary: pytest.MonkeyPatch) -> None:
    assert CommandSource(f'{sys.executable} -I -c "{SHOWS}"').get(PinRequest(7)) == "4711"


def test_programs_of_gnupg_get_it(binary: pytest.MonkeyPatch) -> None:
    assert _run(sys.executable, "-I", "-c", SHOWS) == "4711"


def test_nobody_starts_a_program_with_another() -> None:
    """Each call in the packages names its environment, and it is made in that one place."""
    calls = 0
    # Electrum's plugin is in another program, which has its own (tests/electrum/test_program.py).
    ours = [path for path in ROOT.glob("hwilib_cryptnox/**/*.py") if path.parent.name != "electrum"]
    for path in [*ROOT.glob("cryptnox_core/**/*.py"), *ours]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            assert not name.startswith(("os.exec", "os.spawn", "os.posix_spawn", "os.system", "os.popen")), path
            if name.startswith("subprocess."):
                calls += 1
                given = [ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg == "env"]
                assert len(given) == 1 and given[0].startswith("child_environment("), f"{path.name}:{node.lineno}"
    assert calls


def test_a_binary_says_that_it_is_one(binary: pytest.MonkeyPatch) -> None:
    assert next(iter(doctor._versions())).text.startswith("the one-file binary, with Python 3.")


@pytest.mark.parametrize("switch", [hwi.hwi_enable, hwi.hwi_disable, hwi.hwi_status])
def test_a_binary_belongs_to_no_environment(binary: pytest.MonkeyPatch, switch: object) -> None:
    with pytest.raises(CtlError) as refused:
        switch.callback(None)  # type: ignore[attr-defined]
    assert refused.value.exit_code is Exit.REFUSED and "pip" in refused.value.hint
