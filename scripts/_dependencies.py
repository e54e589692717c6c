"""Checks what this project depends on: bounds, the lock file, licenses. Exit status 1 where something is wrong.

`--licenses` prints the table of docs/licenses.md; `--lowest` the lowest versions that pyproject.toml admits;
`--audited FILE` judges what pip-audit wrote (`--format json`): exit status 1 for a vulnerability that is not accepted
here, 3 where there is none but not everything could be looked up.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:  # pip carries one
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
LICENSES = ROOT / "docs" / "licenses.md"
PERMISSIVE = re.compile(r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|public domain|Unlicense", re.IGNORECASE)
WEAK = re.compile(r"LGPL|GNU Lesser|GNU Library|MPL", re.IGNORECASE)
"""Copyleft for the library itself: fine to use, and said in the table."""
KNOWN = {"ecdsa": "MIT", "pyaes": "MIT", "noiseprotocol": "MIT", "protobuf": "BSD-3-Clause", "mnemonic": "MIT"}
"""What the license file says where the metadata is silent or long."""

ACCEPTED = {
    "CVE-2024-23342": "signing takes a time that depends on the key, and no release mends it. It comes with hwi, whose "
    "drivers of other devices use it; nothing here does",
    "CVE-2026-0994": "nested JSON exhausts the stack. hwi wants protobuf below 5, and neither it nor anything here "
    "reads JSON with it",
}
"""Known vulnerabilities that do not fail the check, and why."""
NOT_ASKED = 3
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


def dependencies() -> list[Requirement]:
    """What an installation needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"]]


def markers() -> dict[str, str]:
    """The marker of each pinned distribution, nothing where it has none."""
    lines = re.findall(r"^([a-z0-9._-]+)==[^\s;]+ *(?:; *(.*?))? *\\?$", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    return {canonicalize_name(name): str(Marker(text)) if text else "" for name, text in lines}


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
    """The lock file pins every dependency by hash, within its bounds and under its marker, and what these bring along
    in turn (as far as they are installed here)."""
    pinned, conditions, wrong = locked(), markers(), []
    for requirement in dependencies():
        name = canonicalize_name(requirement.name)
        if name not in pinned:
            wrong.append(f"{LOCK.name}: {name} is missing")
        elif pinned[name][0] not in requirement.specifier:
            wrong.append(f"{LOCK.name}: {name} {pinned[name][0]} is not within {requirement.specifier}")
        elif conditions[name] != str(requirement.marker or ""):
            wrong.append(f"{LOCK.name}: {name} wants the marker {requirement.marker or 'none'}")
    for holder, (version, _) in sorted(pinned.items()):
        for requirement in brought_along(holder, version):
            name = canonicalize_name(requirement.name)
            if name not in pinned:
                wrong.append(f"{LOCK.name}: {name} is missing: {holder} wants it")
            elif pinned[name][0] not in requirement.specifier:
                wrong.append(f"{LOCK.name}: {name} {pinned[name][0]} is not within what {holder} wants, {requirement}")
    return wrong + [f"{LOCK.name}: {name} has no hash" for name, (_, hashes) in pinned.items() if not hashes]


def brought_along(name: str, version: Version) -> list[Requirement]:
    """What a distribution wants on this machine, with any Python of the lock; nothing where it is not installed, no
    versions where another version of it is."""
    try:
        wanted = [Requirement(line) for line in metadata.requires(name) or []]
    except metadata.PackageNotFoundError:
        return []
    chosen = []
    for each in wanted:
        if each.marker and not any(each.marker.evaluate({"python_version": it, "extra": ""}) for it in PYTHONS):
            continue
        if Version(metadata.version(name)) != version:
            each.specifier = SpecifierSet()
        chosen.append(each)
    return chosen


def license_of(name: str) -> str:
    """A short name of a distribution's license, from its metadata. PackageNotFoundError where it is not installed."""
    about = metadata.metadata(name)
    if name in KNOWN:
        return KNOWN[name]
    expression = about.get("License-Expression")
    if expression:
        return str(expression)
    classes = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or [] if line.startswith("License")]
    return ", ".join(classes) or (about.get("License") or "").split("\n")[0][:60]


def written() -> dict[str, str]:
    """The licenses that the page names."""
    rows = re.findall(r"^\| ([a-z0-9._-]+) \| ([^|]+) \|", LICENSES.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: text.strip() for name, text in rows}


class Licenses(NamedTuple):
    """What is wrong, the rows of the table, and whose license could not be looked up here."""

    wrong: list[str]
    rows: list[str]
    left_out: list[str]


def check_licenses() -> Licenses:
    """What is not installed, because its marker or that of what brings it along says so, has the license that the page
    names."""
    wrong, rows, left_out = [], [], []
    direct = {canonicalize_name(requirement.name) for requirement in dependencies()}
    known, conditions = written(), markers()
    for name in sorted(locked()):
        try:
            text = license_of(name)
        except metadata.PackageNotFoundError:
            if name in direct and (not (marker := conditions.get(name)) or Marker(marker).evaluate()):
                wrong.append(f"{name} is not installed: its license cannot be looked up")
            text = known.get(name, "")
            left_out.append(name)
        kind = "permissive" if PERMISSIVE.search(text) else "weak copyleft" if WEAK.search(text) else ""
        if not kind:
            wrong.append(f"{name}: license {text!r} is not known")
        rows.append(f"| {name} | {text} | {kind} | {'hwi-cryptnox' if name in direct else 'another package'} |")
    return Licenses(wrong, rows, left_out)


def judge(report: Path) -> int:
    """Say what pip-audit's report holds; the exit status."""
    try:
        found = json.loads(report.read_text(encoding="utf-8"))["dependencies"]
    except (OSError, ValueError):
        print("LEFT OUT: known vulnerabilities (pip-audit could not ask its service)")
        return NOT_ASKED
    wrong = False
    for each in found:
        for flaw in each.get("vulns", []):
            reason = next((ACCEPTED[name] for name in (flaw["id"], *flaw["aliases"]) if name in ACCEPTED), None)
            mended = f"mended in {', '.join(flaw['fix_versions'])}" if flaw["fix_versions"] else "no release mends it"
            known = ", ".join(sorted([flaw["id"], *flaw["aliases"]]))
            wrong = wrong or reason is None
            print(f"{each['name']} {each['version']}: {known}; " + (f"accepted: {reason}" if reason else mended))
    unasked = [each["name"] for each in found if "skip_reason" in each]
    if unasked:
        print(f"LEFT OUT: known vulnerabilities of {', '.join(unasked)} (the service could not be asked about them)")
    print(f"{len(found) - len(unasked)} of {len(found)} distributions were looked up")
    return 1 if wrong else NOT_ASKED if unasked or not found else 0


def page(rows: list[str]) -> str:
    """docs/licenses.md."""
    head = "# Licenses\n\nhwi-cryptnox is under the MIT license. An installation takes these along, each under its own"
    head += ":\n\n<!-- Written by scripts/_dependencies.py --licenses -->\n\n"
    return head + "\n".join(["| distribution | license | kind | needed by |", "|---|---|---|---|", *rows]) + "\n"


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--licenses", action="store_true")
    parser.add_argument("--lowest", action="store_true")
    parser.add_argument("--audited", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.audited:
        return judge(options.audited)
    unknown, rows, left_out = check_licenses()
    if options.licenses:
        print(page(rows), end="")
        return 0
    if options.lowest:
        print(
            "\n".join(
                f"{each.name}=={lowest(each)}" + (f" ; {each.marker}" if each.marker else "") for each in dependencies()
            )
        )
        return 0
    if left_out:
        print(f"LEFT OUT: not for this Python or system, so their licenses are the page's: {', '.join(left_out)}")
    wrong = check_bounds() + check_lock() + unknown
    if LICENSES.read_text(encoding="utf-8") != page(rows):
        wrong.append(f"{LICENSES.name} is not what --licenses prints")
    print("\n".join(wrong) or f"{len(rows)} distributions: bounds, lock file and licenses are in order")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
