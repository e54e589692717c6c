"""Without Electrum nothing is missed: both programs, all their modules and this suite's helpers load without it, and no
installation asks for it."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.system.interop.programs import ROOT, TIME_LIMIT

_LOAD = """
import importlib, sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("electrum", "electrum_ecc", "PyQt6"):
            asked.append(name)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

asked = []
sys.meta_path.insert(0, Nothing())
from tests.support.everything import import_everything
import_everything()
import hwilib_cryptnox, hwilib_cryptnox.ctl.main, hwilib_cryptnox.hwi.program
for name in ("program", "errors", "pins", "cards", "review"):
    importlib.import_module(f"hwilib_cryptnox.electrum.{name}")
for name in ("rig", "window", "people", "stranger"):
    importlib.import_module(f"tests.electrum.{name}")
print(asked, sorted(name for name in sys.modules if name.startswith(("electrum", "PyQt"))))
"""


def test_nothing_here_imports_electrum() -> None:
    """Nobody even asks whether it is there."""
    command = [sys.executable, "-c", _LOAD]
    run = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, cwd=ROOT, check=False)
    assert (run.stdout, run.returncode) == ("[] []\n", 0), run.stderr


def test_no_installation_asks_for_it() -> None:
    """Neither the project, nor an extra of it, nor its lock file."""
    for name in ("pyproject.toml", "requirements.lock"):
        asked = re.findall(
            r"(?i)^\s*\"?(electrum[\w-]*|pyqt6[\w-]*)\s*[<>=~\"]", (ROOT / name).read_text(), re.MULTILINE
        )
        assert asked == [], name
