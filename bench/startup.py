"""CPU time of `hwi-cryptnox enumerate`, and of its `getxpub` with an emulated card, against stock `hwi enumerate`, by
turns, in the same run.

CPU time is user and system time of the whole process as the operating system counts it. No PC/SC service is visible to
them, so that the machine's readers play no part.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.emulator import PIN, EmulatorProcess

LIMITS = {"enumerate": 0.25, "getxpub": 0.85}
"""The highest ratios to stock `hwi enumerate` that are good enough."""
RESULTS = Path(__file__).parent / "results" / "startup.json"
ROUNDS = 15


def environment() -> dict[str, str]:
    """No setting of ours, no PC/SC service; and programs compiled once, as on a computer where they were installed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTNOX_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "PCSCLITE_CSOCK_NAME": os.devnull}


def cpu_seconds(program: str, *arguments: str, typed: str = "") -> float:
    """CPU time of one run, with what is typed at its start."""
    command = [str(Path(sys.executable).parent / program), *arguments]
    with tempfile.TemporaryFile() as entered, tempfile.TemporaryFile() as printed:
        entered.write(typed.encode())
        entered.seek(0)
        with subprocess.Popen(command, env=environment(), stdin=entered, stdout=printed) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        answer = json.loads(printed.read() or b"null")
    if process.returncode or (isinstance(answer, dict) and "error" in answer):
        raise RuntimeError(f"{program} ended with status {process.returncode}: {answer}")
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    with EmulatorProcess("--seed", bytes(64).hex(), "--xpub-export") as card:
        device = ("--device-type", "cryptnox", "--device-path", card.path)
        runs = {
            "hwi enumerate": lambda: cpu_seconds("hwi", "enumerate"),
            "enumerate": lambda: cpu_seconds("hwi-cryptnox", "enumerate"),
            "getxpub": lambda: cpu_seconds(
                "hwi-cryptnox", *device, "--stdinpass", "getxpub", "m/84h/0h/0h", typed=f"{PIN}\n"
            ),
        }
        for run in runs.values():
            run()  # fills the caches
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, run in runs.items():
                times[name].append(run())
    middle = {name: statistics.median(measured) for name, measured in times.items()}
    ratios = {name: middle[name] / middle["hwi enumerate"] for name in LIMITS}
    for name, measured in times.items():
        spread = f"{min(measured):.3f} to {max(measured):.3f}"
        limit = f"; ratio {ratios[name]:.2f}, at most {LIMITS[name]:.2f}" if name in LIMITS else ""
        print(f"{name}: {middle[name]:.3f} s CPU (median of {ROUNDS}; {spread}){limit}")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"cpu_seconds": middle, "ratios": ratios, "limits": LIMITS}, indent=1) + "\n")
    return int(any(ratios[name] > limit for name, limit in LIMITS.items()))
