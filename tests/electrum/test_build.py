"""The zip file that Electrum installs: the same bytes each time, and what Electrum's own reader of it wants."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.electrum.shim import ROOT

SOURCE = ROOT / "hwilib_cryptnox/electrum"
SCRIPT = ROOT / "scripts/build-electrum-plugin"
STRICT_VERSION = r"\d+\.\d+(\.\d+)?([ab]\d+)?"
"""What Electrum takes for a version (distutils' StrictVersion)."""


def build(folder: Path, script: Path = SCRIPT) -> Path:
    run = subprocess.run(
        [sys.executable, str(script), str(folder)], capture_output=True, text=True, check=True, timeout=60
    )
    path, told = run.stdout.splitlines()
    assert told == f"sha256 {hashlib.sha256(Path(path).read_bytes()).hexdigest()}"
    return Path(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("plugin"))


def test_what_is_in_it(made: Path) -> None:
    """One folder with every module, the icons and the manifest, and nothing else."""
    with zipfile.ZipFile(made) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        for name in names:
            if not name.endswith("manifest.json"):
                assert archive.read(name) == (SOURCE / Path(name).name).read_bytes()
    modules = {f"cryptnox/{path.name}" for path in SOURCE.glob("*.py")}
    assert modules >= {"cryptnox/__init__.py", "cryptnox/qt.py", "cryptnox/cmdline.py"}
    assert set(names) == modules | {"cryptnox/manifest.json", "cryptnox/cryptnox.png", "cryptnox/cryptnox_unpaired.png"}
    assert names == sorted(names) and made.stat().st_size < 1_000_000


def test_the_manifest(made: Path) -> None:
    """Names and kinds as Electrum's PluginMetadata wants them; a version that it can read, and this project's."""
    with zipfile.ZipFile(made) as archive:
        manifest = json.loads(archive.read("cryptnox/manifest.json"))
    assert manifest["name"] == "cryptnox" and manifest["available_for"] == ["qt", "cmdline"]
    assert manifest["registers_keystore"] == ["hardware", "cryptnox", "Cryptnox card"]
    assert all(isinstance(manifest[name], str) for name in ("fullname", "description", "author", "version", "icon"))
    assert re.fullmatch(STRICT_VERSION, manifest["version"]) and re.fullmatch(
        STRICT_VERSION, manifest["min_electrum_version"]
    )
    project = re.search(r'^version = "([\d.]+)', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert project is not None and manifest["version"].startswith(project[1]) and manifest["version"] in made.name


def test_the_same_bytes_wherever_it_is_built(made: Path, tmp_path: Path) -> None:
    """From a copy with other times, modes and order of files."""
    shutil.copytree(SOURCE, tmp_path / "hwilib_cryptnox/electrum", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (tmp_path / "hwilib_cryptnox/electrum").iterdir():
        path.chmod(0o600)
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/build-electrum-plugin", "pyproject.toml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    assert build(tmp_path / "out", tmp_path / "scripts/build-electrum-plugin").read_bytes() == made.read_bytes()


def test_it_imports_nothing_of_ours_but_itself() -> None:
    """Inside Electrum there is nothing else of this project."""
    for path in SOURCE.glob("*.py"):
        text = path.read_text("utf-8")
        assert not re.search(
            r"^\s*(from|import) +(hwilib_cryptnox|cryptnox_core|smartcard|hwilib)\b", text, re.MULTILINE
        )


def test_the_wheel_ships_the_folder_whole() -> None:
    data = re.search(r"^hwilib_cryptnox = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert data is not None
    patterns = [pattern for pattern in json.loads(data[1]) if pattern.startswith("electrum/")]
    shipped = {path.name for pattern in patterns for path in (ROOT / "hwilib_cryptnox").glob(pattern)}
    assert shipped == {path.name for path in SOURCE.iterdir() if path.suffix not in (".py", "")}
