"""An emulated TPM (swtpm) with a token of tpm2-pkcs11, from Debian's archive. Unpacked, never installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.debian import Archive
from tests.support.softhsm import NO_LIBRARY, SO_PIN, TOKEN_PIN
from tests.system.interop.programs import ROOT, TIME_LIMIT

FOLDER = ROOT / ".venv-tpm"
PACKAGES = (
    *("swtpm", "swtpm-tools", "libtpm2-pkcs11-1", "libtss2-tcti-swtpm0", "opensc"),
    *("tpm2-abrmd", "libtss2-tcti-tabrmd0", "dbus-daemon", "dbus-bin"),
)
START_LIMIT = 60
BROKER = "com.intel.tss2.Tabrmd"
"""The name of tpm2-abrmd on the bus."""
_BUS = """<busconfig>
  <type>session</type>
  <listen>unix:dir={folder}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


@dataclass
class Tpm:
    """A TPM that swtpm_setup made, and its store, in a folder of a test's own. A context manager. `broker`: programs
    reach it through tpm2-abrmd on a D-Bus session of its own, as where several share a TPM; else they reach swtpm.
    `environ` is what they need: the module loads the libraries that it was built with."""

    folder: Path
    broker: bool = False
    module: Path = field(init=False)
    environ: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        pytest.importorskip("pkcs11", reason=NO_LIBRARY)
        self._root = Archive(FOLDER).unpacked(*PACKAGES, depending=PACKAGES)
        (self._libraries,) = {file.parent for file in self._root.glob("usr/lib/*/libtpm2_pkcs11.so.1")}
        self.module = self._libraries / "libtpm2_pkcs11.so.1"
        for name in ("state", "store"):
            (self.folder / name).mkdir(parents=True)
        path = f"{self._libraries}:{self._libraries / 'swtpm'}"
        self._port = _two_free_ports()
        self._direct = f"swtpm:host=127.0.0.1,port={self._port}"
        self.environ = {
            "LD_LIBRARY_PATH": path,
            "TPM2_PKCS11_TCTI": "tabrmd:bus_type=session" if self.broker else self._direct,
            "TPM2_PKCS11_STORE": str(self.folder / "store"),
            "TPM2_PKCS11_BACKEND": "esysdb",
        }
        self._started: list[subprocess.Popen[bytes]] = []
        self._sockets = Path(tempfile.mkdtemp(prefix="bus-"))  # the path of a socket has 107 bytes at most

    def __enter__(self) -> Tpm:
        try:
            self._make()
            self._serve()
            if self.broker:
                self._share()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        while self._started:
            process = self._started.pop()
            process.terminate()
            process.wait(TIME_LIMIT)
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _make(self) -> None:
        """The TPM's own keys, as its maker makes them; no certificates."""
        config = self.folder / "setup.conf"
        config.write_text("create_certs_tool = /bin/false\nactive_pcr_banks = sha256\n")
        root = ("--runas", "root") if os.geteuid() == 0 else ()
        words = ("--tpm2", "--createek", "--tpmstate", str(self.folder / "state"), "--config", str(config), *root)
        self._run("bin/swtpm_setup", *words, "--tpm", f"{self._root}/usr/bin/swtpm socket")

    def _serve(self) -> None:
        self._start(
            "bin/swtpm",
            *("socket", "--tpm2", "--tpmstate", f"dir={self.folder / 'state'}"),
            *("--server", f"type=tcp,port={self._port},bindaddr=127.0.0.1"),
            *("--ctrl", f"type=tcp,port={self._port + 1},bindaddr=127.0.0.1"),
            *("--flags", "not-need-init,startup-clear"),
        )
        self._wait(lambda: _listens(self._port + 1), "the emulated TPM")

    def _share(self) -> None:
        """A bus, and the broker on it."""
        config, told = self.folder / "bus.conf", self.folder / "bus.address"
        config.write_text(_BUS.format(folder=self._sockets))
        with told.open("wb") as out:
            self._start("bin/dbus-daemon", f"--config-file={config}", "--print-address=1", "--nofork", stdout=out)
        self._wait(lambda: told.read_text().endswith("\n"), "the D-Bus session")
        self.environ["DBUS_SESSION_BUS_ADDRESS"] = told.read_text().strip()
        root = ("--allow-root",) if os.geteuid() == 0 else ()
        self._start("sbin/tpm2-abrmd", "--session", *root, "--tcti", self._direct)
        asked = ("org.freedesktop.DBus.NameHasOwner", f"string:{BROKER}")
        words = ("--session", "--print-reply=literal", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus", *asked)
        self._wait(lambda: "true" in self._run("bin/dbus-send", *words), "tpm2-abrmd")

    def _start(self, program: str, *words: str, stdout: object = subprocess.DEVNULL) -> None:
        command = [str(self._root / "usr" / program), *words]
        quiet = {"stdout": stdout, "stderr": subprocess.DEVNULL}
        self._started.append(subprocess.Popen(command, env={**os.environ, **self.environ}, **quiet))  # type: ignore[call-overload]

    def _run(self, program: str, *words: str, **more: str) -> str:
        command, env = [str(self._root / "usr" / program), *words], {**os.environ, **self.environ, **more}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=300).stdout

    def _wait(self, there: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + START_LIMIT
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                if there():
                    return
            if self._started[-1].poll() is not None or time.monotonic() > end:
                pytest.skip(f"{what} does not start")
            time.sleep(0.1)

    def token(self, label: str) -> None:
        """A new token with TOKEN_PIN, and without keys."""
        secrets = {"SO_PIN": SO_PIN, "USER_PIN": TOKEN_PIN}
        for words in (
            ("--slot-index", "0", "--init-token", "--label", label, "--so-pin", "env:SO_PIN"),
            (
                *("--token-label", label, "--login", "--login-type", "so", "--so-pin", "env:SO_PIN"),
                *("--init-pin", "--new-pin", "env:USER_PIN"),
            ),
        ):
            self._run("bin/pkcs11-tool", "--module", str(self.module), *words, **secrets)


def _two_free_ports() -> int:
    """The first of two neighbours: the module looks for the control channel on the next one."""
    for _ in range(50):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise AssertionError("no two free ports")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
