"""Debian's Chromium, the one that is installed or one unpacked beside the checkout, and playwright that drives it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.system.interop.programs import ROOT, TIME_LIMIT, environment

PLAYWRIGHT = "playwright==1.65.2"
PACKAGES = ("chromium", "fonts-dejavu-core")
FOLDER = ROOT / ".venv-chromium"
FETCH_LIMIT = 300
BOXES = "[...document.querySelectorAll('message-box')].map(box => box.innerText)"
FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{root}/usr/share/fonts</dir><dir>/usr/share/fonts</dir><cachedir>{folder}/fonts</cachedir></fontconfig>
"""
PROGRAM = """#!/bin/sh
export LD_LIBRARY_PATH="{libraries}" FONTCONFIG_FILE="{folder}/fonts.conf"
exec "{root}/usr/lib/chromium/chromium" "$@"
"""


def chromium() -> Path:
    """The program, from PATH or from `FOLDER`, where the package and the libraries that this machine lacks are unpacked
    once: by apt with lists of its own, without root, and nothing is installed. Skips (in CI: fails) without it."""
    if found := shutil.which("chromium"):
        return Path(found)
    program = FOLDER / "chromium"
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            try:
                _unpack(program)
            except (OSError, subprocess.SubprocessError) as error:
                said = getattr(error, "stderr", "") or str(error)
                reason = f"NO CHROMIUM, so Specter's pages were not seen: {' '.join(said.split()[-40:])}"
                pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return program


def _unpack(program: Path) -> None:
    root, lists, archives = (FOLDER / name for name in ("root", "lists", "archives"))
    for folder in (root, lists / "partial", archives / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    own = {"Dir::State::lists": lists, "Dir::Cache::archives": archives, "Dir::Cache::pkgcache": ""}
    own |= {"Dir::Cache::srcpkgcache": "", "Debug::NoLocking": "1", "APT::Sandbox::User": "root"}
    apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in own.items())]
    # A source of somebody else's that fails is no reason to stop: without Debian's, the next command fails.
    subprocess.run([*apt, "update"], capture_output=True, timeout=FETCH_LIMIT)
    fetch = [*apt, "install", "--yes", "--download-only", "--no-install-recommends", *PACKAGES]
    subprocess.run(fetch, capture_output=True, text=True, timeout=FETCH_LIMIT, check=True)
    for package in archives.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, root], capture_output=True, text=True, timeout=TIME_LIMIT, check=True)
    shutil.rmtree(archives)
    shutil.rmtree(lists)
    libraries = {path.parent for path in (root / "usr" / "lib").rglob("*.so*")} - {root / "usr" / "lib" / "chromium"}
    (FOLDER / "fonts.conf").write_text(FONTS.format(root=root, folder=FOLDER))
    trial = program.with_suffix(".new")
    trial.write_text(PROGRAM.format(root=root, folder=FOLDER, libraries=":".join(map(str, sorted(libraries)))))
    trial.chmod(0o755)
    subprocess.run([trial, "--version"], capture_output=True, text=True, timeout=TIME_LIMIT, check=True)
    trial.rename(program)


class Browser:
    """``with Browser() as browser: tab = browser.open(url)``: Chromium without a window."""

    def __init__(self) -> None:
        python = environment("playwright", PLAYWRIGHT, project=False)
        command = [python, Path(__file__).with_name("drive.py"), chromium(), "--no-proxy-server"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = str(self._answer())

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(TIME_LIMIT)
        self._process.stdout.close()

    def open(self, base: str) -> Tab:
        """A new tab; addresses that it goes to begin with `base`."""
        return Tab(self, int(self.call(0, "open")), base)

    def call(self, page: int, name: str, *arguments: object) -> Any:
        """Run a method in a page (see drive.py). Raises AssertionError with what playwright says of a failure."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([page, name, *arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the browser ended"
        answer = json.loads(line)
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["result"]


class Tab:
    """A page of a browser, as a person has it: what is clicked and read is what is visible."""

    def __init__(self, browser: Browser, number: int, base: str) -> None:
        self._browser = browser
        self._number = number
        self._base = base

    def call(self, name: str, *arguments: object) -> Any:
        """Run a method of playwright's page. Raises AssertionError, with what the page shows."""
        try:
            return self._browser.call(self._number, name, *arguments)
        except AssertionError as error:
            seen = self._browser.call(self._number, "inner_text", "body")
            boxes = self._browser.call(self._number, "evaluate", BOXES)
            raise AssertionError(f"{error}\nmessages: {boxes}\npage:\n{seen[-1500:]}") from None

    def go(self, path: str) -> None:
        self.call("goto", f"{self._base}/{path}", {"wait_until": "domcontentloaded"})

    def ready(self) -> None:
        """Wait until a page that is being loaded hears clicks."""
        self.call("wait_for_load_state", "domcontentloaded")

    @property
    def path(self) -> str:
        return str(self.call("evaluate", "location.pathname + location.search"))

    def click(self, selector: str) -> None:
        self.call("click", f"{selector} >> visible=true")

    def fill(self, selector: str, text: str) -> None:
        self.call("fill", f"{selector} >> visible=true", text)

    def see(self, text: str, limit: float = 120) -> None:
        """Wait until a text is visible, for at most `limit` seconds."""
        self.call("wait_for_selector", f"text={text} >> visible=true", {"timeout": limit * 1000})

    def shows(self, selector: str) -> bool:
        return bool(self.call("is_visible", selector))

    def text(self, selector: str) -> str:
        return str(self.call("inner_text", selector))

    def picture(self, path: Path) -> None:
        self.call("screenshot", {"path": str(path)})
