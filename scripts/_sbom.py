"""What a release is made of, as CycloneDX 1.5 says it (JSON): the same bytes for the same commit.

The pinned dependencies with their hashes, as requirements.lock names them, and the libraries of the one-file binary.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"


def dependencies() -> list[dict[str, object]]:
    """One component for each pinned distribution; its marker and the hashes of its files are properties of it."""
    found: list[dict[str, object]] = []
    for block in re.split(r"\n(?=[a-z0-9])", LOCK.read_text(encoding="utf-8")):
        match = re.match(r"([a-z0-9._-]+)==([^\s;]+) *(?:; *(.*?))? *\\?\n", block)
        if match is None:
            continue
        name, version, marker = match.groups()
        properties = [{"name": "python:marker", "value": marker}] if marker else []
        hashes = re.findall(r"sha256:([0-9a-f]{64})", block)
        found.append(
            {
                "type": "library",
                "bom-ref": f"pkg:pypi/{name}@{version}",
                "name": name,
                "version": version,
                "purl": f"pkg:pypi/{name}@{version}",
                "scope": "optional" if marker else "required",
                "properties": [*properties, *({"name": "python:file:sha256", "value": value} for value in hashes)],
            }
        )
    return found


def libraries(folder: Path) -> list[dict[str, object]]:
    """One component for each shared library that was unpacked from a binary into `folder`."""
    return [
        {
            "type": "file",
            "bom-ref": f"binary/{path.relative_to(folder).as_posix()}",
            "name": path.relative_to(folder).as_posix(),
            "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}],
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def bill(version: str, time: str, unpacked: Path) -> str:
    """The document. `time`: of the commit, in ISO 8601. `unpacked`: the binary's libraries."""
    project = f"pkg:pypi/hwi-cryptnox@{version}"
    components = [*dependencies(), *libraries(unpacked)]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, f"{project} {json.dumps(components)}").urn,
        "version": 1,
        "metadata": {
            "timestamp": time,
            "component": {
                "type": "application",
                "bom-ref": project,
                "name": "hwi-cryptnox",
                "version": version,
                "purl": project,
                "licenses": [{"license": {"id": "MIT"}}],
            },
        },
        "components": components,
        "dependencies": [{"ref": project, "dependsOn": sorted(str(each["bom-ref"]) for each in components)}],
    }
    return json.dumps(document, indent=1) + "\n"
