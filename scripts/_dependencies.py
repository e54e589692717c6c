"""Checks what this project depends on: bounds, the lock file, licences. Exit status 1 where something is wrong.

`--licences` prints the table of docs/licences.md; `--lowest` the lowest versions that pyproject.toml admits.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:  # pip carries one
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
LICENCES = ROOT / "docs" / "licences.md"
PERMISSIVE = re.compile(r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|public domain|Unlicense", re.IGNORECASE)
WEAK = re.compile(r"LGPL|GNU Lesser|GNU Library|MPL", re.IGNORECASE)
"""Copyleft for the library itself: fine to use, and said in the table."""
KNOWN = {"ecdsa": "MIT", "pyaes": "MIT", "noiseprotocol": "MIT", "protobuf": "BSD-3-Clause", "mnemonic": "MIT"}
"""What the licence file says where the metadata is silent or long."""


def dependencies() -> list[Requirement]:
    """What an installation needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"]]


def locked() -> dict[str, tuple[Version, int]]:
    """Name, version and number of hashes of each pinned distribution."""
    found = {}
    for block in re.split(r"\n(?=[a-z0-9])", LOCK.read_text(encoding="utf-8")):
        match = re.match(r"([a-z0-9._-]+)==([^\s;]+)", block)
        if match:
            found[canonicalize_name(match[1])] = (
                Version(match[2]),
                len(re.findall(r"--hash=sha256:[0-9a-f]{64}", block)),
            )
    return found


def lowest(requirement: Requirement) -> str:
    """The version its lower bound names."""
    return next(spec.version for spec in requirement.specifier if spec.operator == ">=")


def check_bounds() -> list[str]:
    """Every dependency has a lower and an upper bound."""
    return [
        f"{requirement} wants a lower and an upper bound"
        for requirement in dependencies()
        if {spec.operator for spec in requirement.specifier} != {">=", "<"}
    ]


def check_lock() -> list[str]:
    """The lock file pins every dependency by hash, within its bounds."""
    pinned, wrong = locked(), []
    for requirement in dependencies():
        name = canonicalize_name(requirement.name)
        if name not in pinned:
            wrong.append(f"{LOCK.name}: {name} is missing")
        elif pinned[name][0] not in requirement.specifier:
            wrong.append(f"{LOCK.name}: {name} {pinned[name][0]} is not within {requirement.specifier}")
    return wrong + [f"{LOCK.name}: {name} has no hash" for name, (_, hashes) in pinned.items() if not hashes]


def licence(name: str) -> str:
    """A short name of a distribution's licence, from its metadata. PackageNotFoundError where it is not installed."""
    about = metadata.metadata(name)
    if name in KNOWN:
        return KNOWN[name]
    expression = about.get("License-Expression")
    if expression:
        return str(expression)
    classes = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or [] if line.startswith("License")]
    return ", ".join(classes) or (about.get("License") or "").split("\n")[0][:60]


def check_licences() -> tuple[list[str], list[str]]:
    """What is wrong, and the rows of the table."""
    wrong, rows = [], []
    direct = {canonicalize_name(requirement.name) for requirement in dependencies()}
    for name in sorted(locked()):
        try:
            text = licence(name)
        except metadata.PackageNotFoundError:
            text = "MIT" if name == "tomli" else ""  # only for Python 3.10
        kind = "permissive" if PERMISSIVE.search(text) else "weak copyleft" if WEAK.search(text) else ""
        if not kind:
            wrong.append(f"{name}: licence {text!r} is not known")
        rows.append(f"| {name} | {text} | {kind} | {'direct' if name in direct else 'through another'} |")
    return wrong, rows


def page(rows: list[str]) -> str:
    """docs/licences.md."""
    head = "# Licences\n\nhwi-cryptnox is under the MIT licence. An installation takes these along, each under its own"
    head += ":\n\n<!-- Written by scripts/_dependencies.py --licences -->\n\n"
    return head + "\n".join(["| distribution | licence | kind | |", "|---|---|---|---|", *rows]) + "\n"


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--licences", action="store_true")
    parser.add_argument("--lowest", action="store_true")
    options = parser.parse_args()
    unknown, rows = check_licences()
    if options.licences:
        print(page(rows), end="")
        return 0
    if options.lowest:
        print(
            "\n".join(
                f"{each.name}=={lowest(each)}" + (f" ; {each.marker}" if each.marker else "") for each in dependencies()
            )
        )
        return 0
    wrong = check_bounds() + check_lock() + unknown
    if LICENCES.read_text(encoding="utf-8") != page(rows):
        wrong.append(f"{LICENCES.name} is not what --licences prints")
    print("\n".join(wrong) or f"{len(rows)} distributions: bounds, lock file and licences are in order")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
