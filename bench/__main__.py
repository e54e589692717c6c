"""Runs the measurements of this folder: every module with a function `main()`, or those named on the command line."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys

import bench


def main() -> int:
    """Exit status 1 when a measurement misses the limit it states (its `main` returns something but 0 or None)."""
    names = sorted(item.name for item in pkgutil.iter_modules(bench.__path__) if not item.name.startswith("_"))
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    chosen = parser.parse_args().names or names
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        parser.error(f"no such measurement: {', '.join(unknown)}")
    missed = 0
    for name in chosen:
        print(f"== {name}", flush=True)
        if importlib.import_module(f"bench.{name}").main():
            missed = 1
    return missed


if __name__ == "__main__":
    sys.exit(main())
