"""Electrum with its window, in a process of its own under a screen in memory, driven from a test."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.electrum.rig import Rig
from tests.system.interop.programs import ROOT

HAND = Path(__file__).with_name("hand.py")
START_LIMIT = 300
LIMIT = 180
"""Seconds that something may take to appear; the machine may be busy."""
FROZEN = 20.0
"""Seconds without a reaction of the window that are none of a busy machine."""
SIZE = (1200, 900)
ACCEPTED = {
    "terms_of_use_accepted": 1,
    "check_updates": False,
    "dont_show_testnet_warning": True,
    "decimal_point": 8,
    "fee_policy": {"default": "feerate:5000"},
}
"""Answers to what Electrum asks at its first start; amounts in BTC; a fee rate, since nobody estimates one here."""


class Screen:
    """Xvfb. `name` is the DISPLAY."""

    def __init__(self, rig: Rig) -> None:
        reader, writer = os.pipe()
        size = f"{SIZE[0]}x{SIZE[1]}x24"
        command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", size, "-nolisten", "tcp"]
        self._process = subprocess.Popen(
            rig.inside(command), pass_fds=[writer], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        os.close(writer)
        with os.fdopen(reader) as lines:
            number = lines.readline().strip()
        if not number:
            assert self._process.stderr is not None
            raise RuntimeError(f"Xvfb did not start: {self._process.stderr.read()}")
        self.name = f":{number}"

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        if self._process.stderr is not None:
            self._process.stderr.close()


_CARDS = """
import subprocess
sys.path.insert(0, ROOT)
addresses = open(CARDS).read().split()
from hwilib_cryptnox.hwi.program import main
for number, word in enumerate(sys.argv):
    if word.startswith("tcp:") and word[4:] not in addresses:  # it listens, but it is in no reader
        sys.argv[number] = "tcp:127.0.0.1:9"
if "enumerate" not in sys.argv or len(addresses) == 1:
    os.environ["CRYPTNOX_EMULATOR"] = (addresses or ["127.0.0.1:9"])[0]
    sys.exit(main())
found = []
for address in addresses:
    run = subprocess.run(
        [sys.executable, "-m", "hwilib_cryptnox.hwi.program", *sys.argv[1:]],
        env={**os.environ, "CRYPTNOX_EMULATOR": address, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
    )
    found += json.loads(run.stdout)
print(json.dumps(found))
"""
"""The real program. It knows one emulated card at a time, so it is asked once for each of those in the readers."""


class Program:
    """A folder for PATH with `hwi-cryptnox` in it, which notes how it was called (arguments and environment), and the
    readers with emulated cards that it sees."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "hwi-cryptnox"
        self._calls = folder.parent / "calls.jsonl"
        self._cards = folder.parent / "cards"
        self.insert()
        self.replace()

    def insert(self, *paths: str) -> None:
        """The cards that are in the readers from now on (`tcp:HOST:PORT`)."""
        new = self._cards.with_suffix(".new")
        new.write_text(" ".join(path.removeprefix("tcp:") for path in paths))
        new.replace(self._cards)

    def replace(self, body: str = "", before: str = "") -> None:
        """Another program in its place: the body of a Python script. Without: the real one, after `before`."""
        body = body or before + _CARDS
        note = (
            f"#!{sys.executable}\nimport json, os, sys, time\nROOT, CARDS = {str(ROOT)!r}, {str(self._cards)!r}\n"
            f"with open({str(self._calls)!r}, 'a') as calls:\n"
            "    calls.write(json.dumps({'argv': sys.argv[1:], 'environ': dict(os.environ)}) + '\\n')\n"
        )
        new = self.path.with_suffix(".new")
        new.write_text(note + body)
        new.chmod(0o755)
        new.replace(self.path)

    def remove(self) -> None:
        """It is not installed."""
        self.path.unlink()

    def calls(self) -> list[dict[str, Any]]:
        """Every call so far."""
        if not self._calls.exists():
            return []
        return [json.loads(line) for line in self._calls.read_text().splitlines()]


def environment(home: Path, screen: Screen | None, bin_folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Nothing of the caller's: no display of a person, no card reader, no setting."""
    kept = {name: os.environ[name] for name in ("LANG", "TZ", "PCSCLITE_CSOCK_NAME") if name in os.environ}
    home.mkdir(parents=True, exist_ok=True)
    made = {
        "HOME": str(home),
        "PATH": f"{bin_folder}:/usr/bin:/bin",
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "PCSCLITE_CSOCK_NAME": str(home / "no-pcscd"),
        "QT_QPA_PLATFORM": "xcb",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if screen is not None:
        made["DISPLAY"] = screen.name
    return {**kept, **made, **more}


def prepare(data: Path, net: str, **settings: object) -> None:
    """Electrum's configuration, as it is after a first start."""
    folder = data if net == "mainnet" else data / net
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config"
    there = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({"config_version": 3, **ACCEPTED, **there, **settings}))


class ElectrumWindow:
    """``with ElectrumWindow(...) as window:`` - then what a person does and sees."""

    def __init__(
        self,
        rig: Rig,
        screen: Screen,
        home: Path,
        bin_folder: Path,
        *arguments: str,
        net: str = "regtest",
        environ: Mapping[str, str] | None = None,
        keys: str = "there",
    ) -> None:
        self.data = home / "electrum"
        self.net = net
        self._rig, self._screen, self._home, self._bin = rig, screen, home, bin_folder
        self._arguments, self._environ, self._keys = arguments, environ or {}, keys
        self.log = home / f"electrum-{time.monotonic_ns()}.log"

    def __enter__(self) -> ElectrumWindow:
        self._sockets = Path(tempfile.mkdtemp(prefix="electrum-"))
        address = self._sockets / "hand"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.bind(str(address))
            server.listen(1)
            server.settimeout(START_LIMIT)
            options = ["--offline", "-D", str(self.data), "-v", *self._arguments]
            if self.net != "mainnet":
                options.insert(0, f"--{self.net}")
            command = [str(self._rig.python), "-B", str(HAND), str(address), str(self._rig.program), *options]
            with self.log.open("w") as log:
                self._process = subprocess.Popen(
                    self._rig.inside(command, keys=self._keys),
                    env=environment(self._home, self._screen, self._bin, self._environ),
                    cwd=self._home,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            try:
                connection, _ = server.accept()
            except TimeoutError:
                self._process.kill()
                raise AssertionError(f"Electrum did not start:\n{self.log.read_text()[-2000:]}") from None
        connection.settimeout(START_LIMIT)
        self._connection = connection
        self._lines = connection.makefile("r", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._process.poll() is None:
            try:
                self.shoot(self._home / "failed.png")
                print(f"\nwindows (picture: {self._home / 'failed.png'}):\n{self.text()}")
            except (AssertionError, OSError, TimeoutError) as second:
                print(f"\nno picture: {second}")
            print(f"\nlog:\n{self.log.read_text()[-3000:]}")
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._lines.close()
        self._connection.close()
        shutil.rmtree(self._sockets, ignore_errors=True)

    # What the hand does

    def do(self, name: str, **words: object) -> Any:
        """One command; its result."""
        self._connection.sendall(json.dumps({"do": name, **words}).encode() + b"\n")
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise AssertionError(f"the window does not react:\n{self.log.read_text()[-2000:]}") from None
        assert line, f"Electrum ended:\n{self.log.read_text()[-2000:]}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def windows(self) -> list[dict[str, Any]]:
        """What `Hand.see` gives."""
        found: list[dict[str, Any]] = self.do("see")
        return found

    def text(self, title: str = "") -> str:
        """Everything that can be read, what lies in front first."""
        lines = []
        for window in self.windows():
            if title in window["title"]:
                lines.append(f"[{window['title']}]")
                lines += [f"  {row['text']}" + ("" if row["enabled"] else " (disabled)") for row in window["rows"]]
        return "\n".join(lines)

    def titles(self) -> list[str]:
        """Of all windows."""
        return [window["title"] for window in self.windows()]

    def wait(self, *wanted: str, within: float = LIMIT) -> str:
        """Until one of these texts can be read; which."""
        found = self.until(lambda: next((text for text in wanted if text in self.text()), ""), within, repr(wanted))
        return str(found)

    def wait_gone(self, text: str, within: float = LIMIT) -> None:
        """Until it cannot be read any more."""
        self.until(lambda: text not in self.text(), within, f"{text!r} gone")

    def until(self, condition: Callable[[], object], within: float = LIMIT, what: str = "") -> object:
        """Wait for it."""
        end = time.monotonic() + within
        while True:
            if found := condition():
                return found
            assert time.monotonic() < end, f"waited {within} s for {what}\n{self.text()}"
            assert self._process.poll() is None, f"Electrum ended:\n{self.log.read_text()[-2000:]}"
            time.sleep(0.1)

    def click(self, text: str, window: str = "", within: float = LIMIT) -> None:
        """Press a button, a box or a tab, as soon as it can be pressed."""
        self.until(lambda: self.do("click", text=text, window=window), within, f"a button {text!r}")

    def menu(self, *path: str, window: str = "") -> None:
        """Choose from the menu bar."""
        self.until(lambda: self.do("menu", path=path, window=window), LIMIT, f"a menu {path}")

    def context(self, text: str, *path: str, window: str = "") -> None:
        """Choose from the menu of a line of a list."""
        self.until(lambda: self.do("context", text=text, path=path, window=window), LIMIT, f"a line {text!r}")

    def write(self, text: str, number: int = 0, *, window: str = "", label: str = "") -> None:
        """Type into a field."""
        self.until(
            lambda: self.do("write", text=text, number=number, window=window, label=label),
            LIMIT,
            f"a field {label or number}",
        )

    def paste(self, text: str, number: int = 0, *, window: str = "") -> None:
        """Into a field, what was copied elsewhere."""
        self.until(lambda: self.do("paste", text=text, number=number, window=window), LIMIT, f"a field {number}")

    def choose_file(self, file: str, *, window: str) -> None:
        """In Qt's dialog. It can lose what is typed while it still reads its folder: typed again, until it is gone."""
        self.wait("File name")

        def gone() -> bool:
            if self.do("write", text=file, window=window):
                self.do("click", text="Open", window=window)
            time.sleep(1)
            return "File name" not in self.text()

        self.until(gone, LIMIT, f"a dialog that takes {file}")

    def slide(self, number: int, value: int) -> None:
        """A slider to a value."""
        self.until(lambda: self.do("slide", number=number, value=value), LIMIT, f"a slider {number}")

    def shoot(self, path: Path, window: str = "", width: int = 0) -> None:
        """A picture."""
        self.do("shoot", path=str(path), window=window, width=width)

    def longest_pause(self) -> float:
        """Seconds that the window did not react since this was asked last."""
        return float(self.do("longest_pause"))

    def kill(self) -> None:
        """At once, as a computer does that is switched off."""
        self._process.kill()
        self._process.wait(30)

    def quit(self) -> None:
        """As by its menu, and wait for the end; what it asks about unsaved transactions is answered with Yes."""
        self.do("quit")
        end = time.monotonic() + LIMIT
        while self._process.poll() is None:
            assert time.monotonic() < end, "Electrum does not end"
            with contextlib.suppress(AssertionError, OSError):
                self.do("click", text="Yes")
            time.sleep(0.2)
        assert self._process.returncode == 0, self.log.read_text()[-2000:]


def command_line(
    rig: Rig,
    home: Path,
    bin_folder: Path,
    arguments: Sequence[str],
    *,
    net: str = "regtest",
    environ: Mapping[str, str] | None = None,
) -> list[str]:
    """Electrum's command line, without a window: what to run (see `environment`)."""
    options = [] if net == "mainnet" else [f"--{net}"]
    return rig.electrum(*options, "--offline", "-D", str(home / "electrum"), *arguments)
