"""Inputs that are changed towards code not reached yet (atheris), each step in a process of its own (`targets`)."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.system.torture.parts import InputError, NotHereError, Part
from tests.system.torture.targets import KINDS

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 15
"""How long one process runs."""
LIMIT = 120
SLOW, MEMORY = 10, 1024
"""Seconds and MiB one input may take."""


class Guided(Part):
    """One process of SECONDS a step. Its inputs grow from step to step."""

    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="torture-")
        self._inputs = Path(self._folder.name) / "inputs"
        self._inputs.mkdir()

    def check(self) -> None:
        """As `Part.check`."""
        if importlib.util.find_spec("atheris") is None:
            raise NotHereError("atheris is not installed (pip install 'hwi-cryptnox[fuzz]')")

    def close(self) -> None:
        self._folder.cleanup()

    def step(self, number: int) -> None:
        found = Path(self._folder.name) / "found"
        found.mkdir(exist_ok=True)
        options = [f"-max_total_time={SECONDS}", f"-seed={number % 0xFFFFFFFF + 1}", f"-artifact_prefix={found}/"]
        options += [f"-timeout={SLOW}", f"-rss_limit_mb={MEMORY}", "-max_len=8192", "-print_final_stats=1"]
        command = [sys.executable, "-m", "tests.system.torture.targets", self.kind, str(self._inputs), *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False)
        said = done.stdout + done.stderr
        for path in found.iterdir():
            data = path.read_bytes()
            path.unlink()
            raise InputError(f"{path.name}: {said[-4000:]}\n{data.hex()}", data)
        if done.returncode:
            raise AssertionError(f"status {done.returncode}: {said[-4000:]}")
        runs = re.search(r"Done (\d+) runs", said)
        reached = re.findall(r"cov: (\d+) ft: (\d+)", said)
        if runs is None or not reached:
            raise AssertionError(f"it says nothing of what it did: {said[-2000:]}")
        self.counts["inputs tried"] += int(runs[1])
        new = [path for path in self._inputs.iterdir() if not path.name.startswith("first-")]
        self.counts["of them reached something new"] = len(new)
        self.counts["branches reached"] = max(self.counts["branches reached"], int(reached[-1][0]))

    def again(self, kept: int | str) -> None:
        """An input, without atheris."""
        if isinstance(kept, str):
            KINDS[self.kind]()[0](bytes.fromhex(kept))
        else:
            self.step(kept)


class GuidedPsbts(Guided):
    """PSBTs, guided."""

    kind = "psbts"
    name = "psbts, guided"


class GuidedAnswers(Guided):
    """Answers, guided."""

    kind = "answers"
    name = "answers, guided"
