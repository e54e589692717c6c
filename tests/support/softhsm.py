"""SoftHSM from Debian's archive as a real token: its module, and tokens of a test's own. Unpacked, never installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hwilib_cryptnox.pin.token_uri import TokenUri
from tests.support.debian import Archive
from tests.system.interop.programs import ROOT, TIME_LIMIT

FOLDER = ROOT / ".venv-softhsm"
TOKEN_PIN, SO_PIN = "tok3n-pin", "12345678"
NO_LIBRARY = "python-pkcs11 is not installed (the extra pkcs11)"


def unpacked() -> Path:
    """The folder with SoftHSM; fetched once. Skips the test where it cannot be had."""
    pytest.importorskip("pkcs11", reason=NO_LIBRARY)
    installed = Path("/usr/lib/softhsm/libsofthsm2.so")
    if installed.is_file() and shutil.which("softhsm2-util"):
        return Path("/")
    return Archive(FOLDER).unpacked("softhsm2", "libsofthsm2", "softhsm2-common")


@dataclass
class SoftHsm:
    """Tokens in a folder of a test's own. `environ` is what programs need to see them; `plug` sets it here."""

    folder: Path
    root: Path = field(init=False)
    module: Path = field(init=False)

    def __post_init__(self) -> None:
        self.root = unpacked()
        self.module = self.root / "usr" / "lib" / "softhsm" / "libsofthsm2.so"
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "tokens").mkdir()
        self._file.write_text(f"directories.tokendir = {self.folder}/tokens\nobjectstore.backend = file\n")

    @property
    def _file(self) -> Path:
        return self.folder / "softhsm2.conf"

    @property
    def environ(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self._file)}

    def plug(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in self.environ.items():
            monkeypatch.setenv(name, value)

    def token(self, label: str, pin: str = TOKEN_PIN) -> None:
        """A new token without keys."""
        subprocess.run(
            [
                str(self.root / "usr" / "bin" / "softhsm2-util"),
                *("--module", str(self.module), "--init-token", "--free"),
                *("--label", label, "--so-pin", SO_PIN, "--pin", pin),
            ],
            env={**os.environ, **self.environ},
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=TIME_LIMIT,
        )

    def import_key(self, label: str, pem: Path, key_label: str, key_id: str) -> None:
        """A private key of a file (PKCS #8) in a token."""
        subprocess.run(
            [
                str(self.root / "usr" / "bin" / "softhsm2-util"),
                *("--module", str(self.module), "--import", str(pem), "--token", label, "--pin", TOKEN_PIN),
                *("--label", key_label, "--id", key_id),
            ],
            env={**os.environ, **self.environ},
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=TIME_LIMIT,
        )

    def pull_out(self) -> None:
        """All tokens are gone, as if they were unplugged."""
        (self.folder / "tokens").rename(self.folder / "away")
        (self.folder / "tokens").mkdir()

    def plug_in(self) -> None:
        """They are back."""
        (self.folder / "tokens").rmdir()
        (self.folder / "away").rename(self.folder / "tokens")

    def uri(self, **named: str) -> str:
        """Of a key, with the module."""
        return str(TokenUri(module_path=str(self.module), **named))  # type: ignore[arg-type]
