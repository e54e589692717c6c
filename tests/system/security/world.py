"""A world of its own for programs under watch: all they start, connect to, write and say is noted."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect

from tests.support.optional import hwilib

HOOK = Path(__file__).with_name("hook")
HWI = (sys.executable, "-m", "hwilib_cryptnox.hwi.program")
CTL = (sys.executable, "-m", "hwilib_cryptnox.ctl.main")
STOCK = (
    sys.executable,
    "-c",
    "import hwilib_cryptnox; hwilib_cryptnox.register(); from hwilib._cli import main; main()",
)
"""The stock `hwi` program with the driver registered."""
TIME_LIMIT = 60


def spellings(secret: bytes) -> dict[str, bytes]:
    """The ways a secret may be written down, hashes among them: nothing derived from a PIN is stored either."""
    ways = {
        "as it is": secret,
        "hex": secret.hex().encode(),
        "HEX": secret.hex().upper().encode(),
        "repr": repr(secret)[2:-1].encode(),
        "reversed": secret[::-1],
        "list": ", ".join(str(byte) for byte in secret).encode(),
        "UTF-16": secret.decode("latin-1").encode("utf-16-le"),
    }
    for shift in range(3):  # wherever it stands in a longer text
        encoded = base64.b64encode(bytes(shift) + secret)
        ways[f"base64, shifted by {shift}"] = encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4]
    for name in ("md5", "sha1", "sha256", "sha512"):
        digest = hashlib.new(name, secret).digest()
        ways[name] = digest
        ways[f"{name}, hex"] = digest.hex().encode()
    return ways


class Secrets:
    """Marked secrets and where they were found."""

    def __init__(self, marked: Mapping[str, bytes]) -> None:
        self._needles = [
            (f"{name} ({way})", needle) for name, secret in marked.items() for way, needle in spellings(secret).items()
        ]

    def found_in(self, content: bytes) -> list[str]:
        """What of them stands in `content`."""
        return [name for name, needle in self._needles if needle in content]


@dataclass
class World:
    """Programs run in it see no other home, temporary folder or configuration."""

    folder: Path
    log: Path
    """What the watch noted. Outside of `folder`."""
    environment: dict[str, str] = field(default_factory=dict)
    said: list[tuple[str, bytes]] = field(default_factory=list)
    """What each program said, with its command line."""

    @classmethod
    def make(cls, folder: Path, **environment: str) -> World:
        home, log = folder / "home", folder / "watch.log"
        names = {"HOME": "", "TMPDIR": "tmp", "XDG_STATE_HOME": "state", "XDG_CONFIG_HOME": "config"}
        names |= {"XDG_CACHE_HOME": "cache", "XDG_RUNTIME_DIR": "run", "GNUPGHOME": "gnupg"}
        for name in names.values():
            (home / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        log.touch()
        own = {name: str(home / place) for name, place in names.items()}
        own |= {"PYTHONPATH": f"{HOOK}{os.pathsep}{Path.cwd()}", "WATCH_LOG": str(log), "PYTHONDONTWRITEBYTECODE": "1"}
        return cls(home, log, {**os.environ, **own, **environment})

    def run(
        self, *words: str, stdin: str = "", program: Iterable[str] = HWI, **more: str
    ) -> subprocess.CompletedProcess[bytes]:
        """One program to its end, without a terminal."""
        if program is STOCK:
            hwilib()
        done = subprocess.run(
            [*program, *words],
            input=stdin.encode(),
            capture_output=True,
            cwd=self.folder,
            env=self.environment | more,
            timeout=TIME_LIMIT,
            start_new_session=True,
        )
        self.said.append((" ".join(words), done.stdout + done.stderr))
        return done

    @contextmanager
    def terminal(self, *words: str, **more: str) -> Iterator[pexpect.spawn]:
        """`cryptnoxctl` on a terminal of its own; what the terminal shows is noted."""
        child = pexpect.spawn(
            CTL[0],
            [*CTL[1:], *words],
            env=self.environment | {"TERM": "dumb"} | more,
            cwd=str(self.folder),
            encoding="utf-8",
            timeout=TIME_LIMIT,
            dimensions=(50, 300),
        )
        with (self.log.parent / "terminal").open("w+", encoding="utf-8") as shown:
            child.logfile_read = shown
            try:
                yield child
            finally:
                child.close(force=True)
                shown.seek(0)
                self.said.append((" ".join(words), shown.read().encode()))

    def events(self, *kinds: str) -> list[tuple[str, Any]]:
        """What the watch noted, of some kinds."""
        entries = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [(kind, arguments) for _, kind, arguments in entries if kind in kinds]

    def files(self) -> dict[str, bytes]:
        """All files of this world."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and not path.is_symlink()
        }
