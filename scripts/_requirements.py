"""Prints the project's requirements with the extras `test`, `dev` and `docs`, one a line, without those named."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:  # pip carries one
    from pip._vendor import tomli as tomllib

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def requirements(without: frozenset[str]) -> list[str]:
    """All requirement strings of pyproject.toml whose distribution name is not in `without`."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in ("test", "dev", "docs") for line in project["optional-dependencies"][extra]),
    ]
    return [line for line in wanted if re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower() not in without]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without", nargs="*", default=[], metavar="NAME")
    print("\n".join(requirements(frozenset(parser.parse_args().without))))
