"""Specter Desktop as a process: a server with the extension, in an environment of its own."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.emulator import EmulatorProcess

SPECTER = "cryptoadvance.specter==2.1.11"
START_LIMIT = 180
CALL_LIMIT = 60
PORTS = range(21_000, 32_000)
"""Below those that systems give away by themselves: the server takes its port seconds after it is chosen."""


def free_port() -> int:
    """A port of `PORTS` where nothing listens."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Specter:
    """A running Specter server."""

    def __init__(
        self, python: Path, folder: Path, card: EmulatorProcess, *options: str, environ: Mapping[str, str]
    ) -> None:
        self.base = f"http://127.0.0.1:{free_port()}"
        self.card = card
        self.path = f"cryptnox:{card.serial}" if card.port == 0 else card.path
        command = [str(python), "-m", "cryptoadvance.specter", "server", "--port", self.base.rpartition(":")[2]]
        command += ["--specter-data-folder", str(folder / "specter"), "--no-filelog", *options]
        names = {
            "SPECTER_CONFIG": "hwilib_cryptnox.specter.SpecterConfig",
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            **environ,
        }
        self.log = folder / "specter.log"
        self._log = self.log.open("w")
        self._process = subprocess.Popen(
            command, env={**os.environ, **names}, cwd=folder, stdout=self._log, stderr=subprocess.STDOUT
        )

    def wait(self) -> None:
        """Until the server answers."""
        end = time.monotonic() + START_LIMIT
        while time.monotonic() < end and self._process.poll() is None:
            try:
                self.page("hwi/settings/")
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
            else:
                return
        raise AssertionError(f"Specter did not start:\n{self.log.read_text()[-3000:]}")

    def page(self, path: str) -> tuple[str, str]:
        """Final address and body of a page; raises HTTPError unless it is there."""
        with urllib.request.urlopen(f"{self.base}/{path}", timeout=CALL_LIMIT) as answer:
            return str(answer.url), answer.read().decode()

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """A JSON-RPC call to /hwi/api/: the whole answer."""
        if method != "enumerate":
            parameters = {"device_type": "cryptnox", "path": self.path, "chain": "regtest", **parameters}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters, "forwarded_request": True}
        request = urllib.request.Request(
            f"{self.base}/hwi/api/", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=CALL_LIMIT) as answer:
            parsed: dict[str, Any] = json.load(answer)
        return parsed

    def result(self, method: str, **parameters: object) -> Any:
        """The result of a call that must succeed."""
        answer = self.call(method, **parameters)
        assert "error" not in answer, answer
        return answer["result"]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(START_LIMIT)
        self._log.close()
