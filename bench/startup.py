"""CPU time of `hwi-cryptnox enumerate` against stock `hwi enumerate`, alternately, in the same run.

User and system time of the whole process as the operating system counts it. No PC/SC service is visible to either, so
that the machine's readers play no part.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

LIMIT = 0.4
"""The highest ratio that is good enough."""
RESULTS = Path(__file__).parent / "results" / "startup.json"
ROUNDS = 15


def cpu_seconds(program: str) -> float:
    """CPU time of one `PROGRAM enumerate`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTNOX_")}
    environment["PCSCLITE_CSOCK_NAME"] = os.devnull
    command = [str(Path(sys.executable).parent / program), "enumerate"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{program} enumerate ended with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    programs = ("hwi-cryptnox", "hwi")
    for program in programs:
        cpu_seconds(program)  # fills the caches
    times: dict[str, list[float]] = {program: [] for program in programs}
    for _ in range(ROUNDS):
        for program in programs:
            times[program].append(cpu_seconds(program))
    middle = {program: statistics.median(measured) for program, measured in times.items()}
    for program in programs:
        spread = f"{min(times[program]):.3f} to {max(times[program]):.3f}"
        print(f"{program} enumerate: {middle[program]:.3f} s CPU (median of {ROUNDS}; {spread})")
    ratio = middle["hwi-cryptnox"] / middle["hwi"]
    print(f"ratio: {ratio:.2f} (at most {LIMIT:.2f})")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"cpu_seconds": middle, "ratio": ratio, "limit": LIMIT}, indent=1) + "\n")
    return int(ratio > LIMIT)
