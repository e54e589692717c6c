"""The emulated card as a process of its own, as users run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypedDict

from tests.support import quick

MNEMONIC = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
PIN = "000000"
PUK = "000000000000"
SEED = bytes(range(64)).hex()
"""The seed of `tests.psbt.factory.ME`."""


_MAKER = """
import sys
from cryptnox_core.emulator import ca
scalar, maker = ca.scalar, sys.argv.pop(1)
ca.scalar = lambda label: scalar(maker + label)
"""
_MAIN = "from hwilib_cryptnox.ctl.main import main; sys.exit(main(sys.argv[1:]))"
_MADE_BY = _MAKER + _MAIN


class _Always(TypedDict):
    """What every stats file has."""

    apdus: int
    bytes_in: int
    bytes_out: int
    derivations: int
    signatures: int
    pin_tries: int
    puk_tries: int
    by_ins: dict[str, int]


class Stats(_Always, total=False):
    """The stats file."""

    nonces_again: int
    """MuSig2."""


def ca_of(maker: str) -> str:
    """The CA certificate (PEM) of cards of a maker."""
    code = f"{_MAKER}print(ca.ca_certificate_pem())"
    return subprocess.run([sys.executable, "-c", code, maker], capture_output=True, text=True, check=True).stdout


def trust(path: str, *lines: str, config: Path | None = None) -> None:
    """Write a configuration file that names the address of an emulated card (`tcp:HOST:PORT`), so that every PIN source
    is used for it; `lines` are further ones of it. `config`: instead of the environment's XDG_CONFIG_HOME."""
    folder = (config or Path(os.environ["XDG_CONFIG_HOME"])) / "hwi-cryptnox"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text("\n".join((f'trust_emulated = ["{path.removeprefix("tcp:")}"]', *lines, "")))


class EmulatorProcess:
    """``with EmulatorProcess("--mnemonic", MNEMONIC) as card:`` starts ``cryptnoxctl emulator`` on a free port.

    ``vpcd`` ("HOST:PORT") puts the card into the virtual reader instead; ``listen`` overrides the address, "" for none.
    ``environment`` adds variables. ``maker``: whose CA and keys the card has, instead of the emulated cards' public
    ones. ``unlike``: Python that makes it a card unlike all readings.
    Afterwards: ``host``, ``port``, ``path`` ("tcp:HOST:PORT"), ``serial``, ``state``.
    """

    def __init__(
        self,
        *options: str,
        vpcd: str | None = None,
        listen: str | None = None,
        environment: dict[str, str] | None = None,
        maker: str = "",
        unlike: str = "",
    ) -> None:
        self._maker = maker
        self._unlike = unlike
        self.options = list(options)
        self._vpcd = vpcd
        self._listen = ("" if vpcd else "127.0.0.1:0") if listen is None else listen
        self._environment = environment or {}
        self._process: subprocess.Popen[str] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.host = ""
        self.port = 0
        self.serial = 0
        self.ready = ""

    @property
    def path(self) -> str:
        return f"tcp:{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def _stats_file(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / "stats.json"

    def start(self) -> EmulatorProcess:
        self._folder = tempfile.TemporaryDirectory(prefix="emulator-")
        program = ["-c", _MADE_BY, self._maker] if self._maker else ["-m", "hwilib_cryptnox.ctl.main"]
        if self._unlike:
            program = ["-c", f"import sys; {self._unlike}\n{_MAIN}"]
        command = [sys.executable, *program, "emulator", *self.options]
        command += ["--stats", str(self._stats_file)]
        if self._listen:
            command += ["--listen", self._listen]
        if self._vpcd:
            command += ["--vpcd", self._vpcd]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CRYPTNOX_EMULATOR")}
        self._process = quick.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment | self._environment,
            cwd=Path(__file__).resolve().parents[2],
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        self.ready = self._process.stdout.readline().rstrip("\n")
        if not self.ready.startswith("ready "):
            error = self._process.stderr.read()
            self.stop()
            raise RuntimeError(f"the emulated card did not start: {self.ready!r} {error}")
        fields = dict(part.split("=", 1) for part in self.ready.split()[1:])
        self.serial = int(fields["serial"])
        if fields["listen"] != "-":
            self.host, _, port = fields["listen"].rpartition(":")
            self.port = int(port)
        return self

    def stats(self) -> Stats:
        """The counts so far; written before each answer is sent."""
        result: Stats = json.loads(self._stats_file.read_text())
        return result

    def stop(self) -> int:
        """End it; the exit code (0 after SIGTERM)."""
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        if self._folder is not None:
            self._folder.cleanup()
        return code

    def __enter__(self) -> EmulatorProcess:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
