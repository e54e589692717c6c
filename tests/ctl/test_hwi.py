"""`hwi`: the plugin's switch."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import venv
from pathlib import Path
from typing import Any

import jsonschema

from tests.ctl.program import answer, schemas


def test_hwi_switch() -> None:
    assert answer(None, "hwi", "status", schema="hwi status")["enabled"] in (True, False)


def test_the_switch_of_hwi(tmp_path: Path) -> None:
    """In an environment of its own."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    root = Path(__file__).resolve().parents[2]
    env = dict(os.environ) | {"PYTHONPATH": os.pathsep.join([str(root), sysconfig.get_path("purelib")])}

    def switch(what: str) -> dict[str, Any]:
        words = [str(python), "-m", "hwilib_cryptnox.ctl.main", "hwi", what, "--json"]
        done = subprocess.run(words, capture_output=True, text=True, env=env, check=True)
        data: dict[str, Any] = json.loads(done.stdout)
        jsonschema.validate(data, schemas()[f"hwi {what}"])
        assert Path(data["file"]).is_relative_to(tmp_path)
        return data

    assert [switch(what)["enabled"] for what in ("status", "enable", "status", "disable", "status")] == [
        False,
        True,
        True,
        False,
        False,
    ]
