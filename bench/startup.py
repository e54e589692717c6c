"""CPU time of `hwi-cryptnox enumerate` against stock `hwi enumerate`, alternately, in the same run; and how long
`getxpub` of an emulated card takes from start to end.

CPU time is user and system time of the whole process as the operating system counts it. No PC/SC service is visible to
them, so that the machine's readers play no part.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.support.emulator import PIN, EmulatorProcess

LIMIT = 0.25
"""The highest ratio that is good enough."""
XPUB_LIMIT = 0.15
"""The most seconds that are good enough for `getxpub`, on a machine that does nothing else: the quickest of ROUNDS."""
RESULTS = Path(__file__).parent / "results" / "startup.json"
ROUNDS = 15


def environment() -> dict[str, str]:
    """No setting of ours, and no PC/SC service."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTNOX_")}
    return {**kept, "PCSCLITE_CSOCK_NAME": os.devnull}


def cpu_seconds(program: str) -> float:
    """CPU time of one `PROGRAM enumerate`."""
    command = [str(Path(sys.executable).parent / program), "enumerate"]
    with subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{program} enumerate ended with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def xpub_seconds(card: EmulatorProcess) -> float:
    """From start to end of one `getxpub`, its PIN over stdin."""
    options = ["--device-type", "cryptnox", "--device-path", card.path, "--stdinpass", "getxpub", "m/84h/0h/0h"]
    command = [str(Path(sys.executable).parent / "hwi-cryptnox"), *options]
    began = time.perf_counter()
    run = subprocess.run(command, env=environment(), input=f"{PIN}\n".encode(), capture_output=True, check=True)
    taken = time.perf_counter() - began
    if "xpub" not in json.loads(run.stdout):
        raise RuntimeError(f"getxpub: {run.stdout!r}")
    return taken


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
    with EmulatorProcess("--seed", bytes(64).hex(), "--xpub-export") as card:
        xpub_seconds(card)
        quickest = min(xpub_seconds(card) for _ in range(ROUNDS))
    print(f"hwi-cryptnox getxpub of an emulated card: {quickest:.3f} s (quickest of {ROUNDS}; limit {XPUB_LIMIT:.2f})")
    found = {"cpu_seconds": middle, "ratio": ratio, "limit": LIMIT, "xpub": quickest, "xpub_limit": XPUB_LIMIT}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    return int(ratio > LIMIT or quickest > XPUB_LIMIT)
