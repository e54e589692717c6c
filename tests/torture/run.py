"""`scripts/torture`: looks for what goes wrong seldom, for as long as it is given. Exit status 1: it found something.

Failing steps are added to `tests/torture/kept.json`, and the default test suite repeats what stands there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import secrets
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty

from tests.torture.parts import Answers, Commands, Part, Psbts
from tests.torture.processes import Contention, Kills

PARTS: dict[str, Callable[[], Part]] = {
    "commands": Commands,
    "answers": Answers,
    "psbts": Psbts,
    "several processes": Contention,
    "killed": Kills,
}
WORKERS = (("commands", "answers", "psbts"), ("several processes", "killed"))
"""What runs side by side."""
SLICE = 2.0
"""Seconds a part has before the next one's turn."""
KEPT = Path(__file__).with_name("kept.json")
MOST_FAILURES = 5


@dataclass
class Result:
    """What a part did."""

    steps: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)


def work(names: tuple[str, ...], first: int, seconds: float, results: multiprocessing.Queue[object]) -> None:
    """Run some parts by turns until the time is over."""
    for name in [name for name in os.environ if name.startswith("CRYPTNOX_")]:
        del os.environ[name]
    os.environ["PCSCLITE_CSOCK_NAME"] = os.devnull  # no real card may be met
    end = time.monotonic() + seconds
    parts = {name: PARTS[name]() for name in names}
    found = {name: Result() for name in names}
    try:
        while time.monotonic() < end and all(len(each.failures) < MOST_FAILURES for each in found.values()):
            for name, part in parts.items():
                turn = time.monotonic() + SLICE
                while time.monotonic() < min(turn, end) or not found[name].steps:
                    # The commands go through their combinations from the start; the others anywhere.
                    number = found[name].steps + (0 if name == "commands" else first)
                    found[name].steps += 1
                    try:
                        part.step(number)
                    except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
                        found[name].failures.append((number, traceback.format_exc()))
                        break
    finally:
        for name, part in parts.items():
            part.close()
            found[name].counts = part.counts
        results.put(found)


def torture(seconds: float, first: int, names: tuple[str, ...]) -> dict[str, Result]:
    """Run parts in as many processes as there are groups of them."""
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[object] = context.Queue()
    groups = [group for worker in WORKERS if (group := tuple(name for name in worker if name in names))]
    workers = [context.Process(target=work, args=(group, first, seconds, results)) for group in groups]
    for worker in workers:
        worker.start()
    found: dict[str, Result] = {}
    while len(found) < len([name for group in groups for name in group]):
        try:
            part = results.get(timeout=1)
        except Empty:
            if not any(worker.is_alive() for worker in workers):
                raise SystemExit("a worker ended without a result") from None
        else:
            found.update(part)  # type: ignore[call-overload]
    for worker in workers:
        worker.join()
    return found


def keep(found: dict[str, Result]) -> None:
    """Note failing steps."""
    kept = json.loads(KEPT.read_text())
    for name, result in found.items():
        kept[name] = sorted({*kept.get(name, []), *(number for number, _ in result.failures)})
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")


def report(found: dict[str, Result], seconds: float, first: int) -> None:
    """What was tried, and what it found."""
    print(f"{seconds / 60:.1f} minutes, first number {first}")
    for name in PARTS:
        if name in found:
            result = found[name]
            print(f"\n{name}: {result.steps} steps, {len(result.failures)} failed")
            for what, count in sorted(result.counts.items()):
                print(f"  {count:8} {what}")
            for number, text in result.failures:
                print(f"\n  step {number} failed:\n{text}")


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="scripts/torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long (10)")
    parser.add_argument("--first", type=int, help="number of the first step (drawn)")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; repeatable")
    parser.add_argument("--forget", action="store_true", help="do not keep failing steps")
    options = parser.parse_args()
    first = secrets.randbelow(1 << 40) if options.first is None else options.first
    started = time.monotonic()
    found = torture(options.minutes * 60, first, tuple(options.only or PARTS))
    report(found, time.monotonic() - started, first)
    failed = any(result.failures for result in found.values())
    if failed and not options.forget:
        keep(found)
    print("\nfound something" if failed else "\nnothing found")
    return int(failed)
