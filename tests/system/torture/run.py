"""`scripts/torture`: looks for what goes wrong seldom, for as long as it is given. Exit status 1: it found something.

Failing steps and inputs are added to `tests/system/torture/kept.json`, and the default suite repeats what stands there.
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

from tests.system.torture.guided import GuidedAnswers, GuidedPsbts
from tests.system.torture.moments import Moments
from tests.system.torture.parts import Answers, Commands, InputError, NotHereError, Part, Psbts
from tests.system.torture.processes import Contention, Kills, ReaderContention
from tests.system.torture.programs import Programs

PARTS: dict[str, Callable[[], Part]] = {
    "commands": Commands,
    "programs": Programs,
    "answers": Answers,
    "answers, guided": GuidedAnswers,
    "psbts": Psbts,
    "psbts, guided": GuidedPsbts,
    "several processes": Contention,
    "several processes on a reader": ReaderContention,
    "killed at a moment": Moments,
    "killed at any time": Kills,
}
WORKERS = (
    ("commands", "answers", "psbts"),
    ("psbts, guided", "answers, guided", "programs", "killed at a moment"),
    ("several processes", "several processes on a reader", "killed at any time"),
)
"""What runs side by side."""
SHARES = {"commands": 4.0, "programs": 2.0, "killed at a moment": 2.0}
"""Of a worker's time; 1 where nothing is said."""
SLICE = 2.0
"""Seconds a part has before another one's turn."""
KEPT = Path(__file__).with_name("kept.json")
MOST_FAILURES = 5


@dataclass
class Result:
    """What a part did."""

    steps: int = 0
    seconds: float = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int | str, str]] = field(default_factory=list)
    """A step's number or an input in hexadecimal, and what happened."""
    not_here: str = ""
    """Why it was not run at all."""


def work(names: tuple[str, ...], first: int, seconds: float, results: multiprocessing.Queue[object]) -> None:
    """Run some parts by turns until the time is over."""
    for name in [name for name in os.environ if name.startswith("CRYPTNOX_")]:
        del os.environ[name]
    end = time.monotonic() + seconds
    found = {name: Result() for name in names}
    parts: dict[str, Part] = {}
    for name in names:
        try:
            parts[name] = PARTS[name]()
            parts[name].check()
        except NotHereError as error:
            parts.pop(name).close()
            found[name].not_here = str(error)
    try:
        while parts and all(len(each.failures) < MOST_FAILURES for each in found.values()):
            name = min(parts, key=lambda each: found[each].seconds / SHARES.get(each, 1.0))
            if time.monotonic() > end and found[name].steps:
                break
            _turn(parts[name], found[name], first, end)
    finally:
        for name, part in parts.items():
            part.close()
            found[name].counts = part.counts
        results.put(found)


def _turn(part: Part, result: Result, first: int, end: float) -> None:
    started = time.monotonic()
    while not result.steps or time.monotonic() < min(started + SLICE, end):
        # The commands go through their combinations from the start; the others anywhere.
        number = result.steps + (0 if part.name == "commands" else first)
        result.steps += 1
        try:
            part.step(number)
        except InputError as error:
            result.failures.append((error.data.hex(), str(error)))
            break
        except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
            result.failures.append((number, traceback.format_exc()))
            break
    result.seconds += time.monotonic() - started


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


def keep(found: dict[str, Result], file: Path = KEPT) -> None:
    """Note failing steps and inputs."""
    kept = json.loads(file.read_text())
    for name, result in found.items():
        if result.failures:
            kept[name] = sorted({*kept.get(name, []), *(which for which, _ in result.failures)}, key=str)
    file.write_text(json.dumps(kept, indent=1) + "\n")


def report(found: dict[str, Result], seconds: float, first: int) -> None:
    """What was tried, and what it found."""
    print(f"{seconds / 60:.1f} minutes, first number {first}")
    for name in PARTS:
        if name not in found:
            continue
        result = found[name]
        if result.not_here:
            print(f"\n{name}: NOT RUN: {result.not_here}")
            continue
        print(f"\n{name}: {result.steps} steps in {result.seconds:.0f} s, {len(result.failures)} failed")
        for what, count in sorted(result.counts.items()):
            print(f"  {count:8} {what}")
        for which, text in result.failures:
            shown = f"input {which[:60]}" if isinstance(which, str) else f"step {which}"
            print(f"\n  {shown} failed:\n{text}")
            print(f"  to repeat it: python -m tests.system.torture --only '{name}' --again {which}")


def again(name: str, which: str) -> None:
    """One step or input of a part; raises what it raised."""
    part = PARTS[name]()
    try:
        part.again(int(which) if which.isdecimal() and len(which) < 20 else which)
    finally:
        part.close()


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="scripts/torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long (10)")
    parser.add_argument("--first", type=int, help="number of the first step (drawn)")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; repeatable")
    parser.add_argument("--again", metavar="STEP", help="one step, or one input in hexadecimal, of the part of --only")
    parser.add_argument("--forget", action="store_true", help="do not keep what fails")
    options = parser.parse_args()
    if options.again is not None:
        if not options.only:
            parser.error("--again needs --only")
        again(options.only[0], options.again)
        print("nothing found")
        return 0
    first = secrets.randbelow(1 << 40) if options.first is None else options.first
    started = time.monotonic()
    found = torture(options.minutes * 60, first, tuple(options.only or PARTS))
    report(found, time.monotonic() - started, first)
    failed = any(result.failures for result in found.values())
    if failed and not options.forget:
        keep(found)
        print(f"\nkept in {KEPT.relative_to(Path.cwd()) if KEPT.is_relative_to(Path.cwd()) else KEPT}")
    print("\nfound something" if failed else "\nnothing found")
    return int(failed)
