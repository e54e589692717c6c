"""An emulated TPM (swtpm) with a token of tpm2-pkcs11, from Debian's archive. Unpacked, never installed."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.debian import Archive
from tests.support.softhsm import NO_LIBRARY, SO_PIN, TOKEN_PIN
from tests.system.interop.programs import ROOT, TIME_LIMIT

FOLDER = ROOT / ".venv-swtpm"
PACKAGES = ("swtpm", "libtpm2-pkcs11-1", "libtss2-tcti-swtpm0", "opensc")
START_LIMIT = 60


@dataclass
class Tpm:
    """A TPM and its store, in a folder of a test's own. A context manager. `environ` is what programs need: the module
    loads the libraries that it was built with."""

    folder: Path
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
        port = _two_free_ports()
        self.environ = {
            "LD_LIBRARY_PATH": path,
            "TPM2_PKCS11_TCTI": f"swtpm:host=127.0.0.1,port={port}",
            "TPM2_PKCS11_STORE": str(self.folder / "store"),
            "TPM2_PKCS11_BACKEND": "esysdb",
        }
        self._command = [
            str(self._root / "usr" / "bin" / "swtpm"),
            *("socket", "--tpm2", "--tpmstate", f"dir={self.folder / 'state'}"),
            *("--server", f"type=tcp,port={port},bindaddr=127.0.0.1"),
            *("--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1"),
            *("--flags", "not-need-init,startup-clear"),
        ]
        self._port = port

    def __enter__(self) -> Tpm:
        self._process = subprocess.Popen(
            self._command, env={**os.environ, **self.environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + START_LIMIT
        while not _listens(self._port + 1):
            if self._process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                pytest.skip("the emulated TPM does not start")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(TIME_LIMIT)

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
            subprocess.run(
                [str(self._root / "usr" / "bin" / "pkcs11-tool"), "--module", str(self.module), *words],
                env={**os.environ, **self.environ, **secrets},
                capture_output=True,
                check=True,
                timeout=300,
            )


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
