"""Electrum 4.8.3 as Debian ships it, with the Qt window and a screen for it, on a machine that has none of them.

Everything is kept in `.venv-electrum` beside the checkout: the packages are fetched by apt with lists of its own and
unpacked, never installed, and what is Python comes from PyPI. Programs that run here see the packages as if they were
installed: a mount namespace of their own has them over /usr.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.system.interop.programs import PIP_TIME_LIMIT, ROOT, TIME_LIMIT

__all__ = ["Rig", "PLUGIN_PASSWORD"]

VERSION = "4.8.3"
ELECTRUM = ("electrum", "python3-electrum", "python3-electrum-ecc", "python3-electrum-aionostr", "libsecp256k1-6")
"""Debian testing's packages."""
SCREEN = (
    "xvfb",
    "fonts-dejavu-core",
    "libegl1",
    "libgl1",
    "libpulse0",
    "libfontconfig1",
    "libdbus-1-3",
    "libxkbcommon-x11-0",
    "libxcb-cursor0",
    "libxcb-icccm4",
    "libxcb-image0",
    "libxcb-keysyms1",
    "libxcb-randr0",
    "libxcb-render-util0",
    "libxcb-shape0",
    "libxcb-xinerama0",
    "libxcb-xkb1",
)
"""A screen in memory, and what Qt wants for it: this machine's own packages, those that it does not have."""
PYTHON = (
    "PyQt6>=6.6,<7",
    "aiohttp>=3.11,<4",
    "aiohttp-socks>=0.9.2,<1",
    "aiorpcx>=0.25,<0.26",
    "certifi",
    "cryptography>=42",
    "dnspython>=2.3,<2.5",
    "jsonpatch>=1.33,<2",
    "qdarkstyle>=3.2,<4",
    "qrcode>=7.4,<9",
)
"""What Electrum needs besides; from PyPI."""
PLUGIN_PASSWORD = "the password for plugins"
"""Electrum asks for it before it runs a plugin that is not its own."""

_ENTER = """
set -e
mount -t overlay overlay -o "lowerdir=$1:/usr" /usr
case $2 in
    "") ;;
    new)
        mount -t tmpfs tmpfs "$3"
        mkdir "$3/upper" "$3/work"
        mount -t overlay overlay -o "lowerdir=/etc,upperdir=$3/upper,workdir=$3/work" /etc ;;
    *) mount -t overlay overlay -o "lowerdir=$2:/etc" /etc ;;
esac
shift 3
exec "$@"
"""
_KEY = """
import sys
from electrum.plugin import Plugins
print(Plugins.create_new_key(Plugins, sys.argv[1]))
"""
_AUTHORIZE = """
import sys
from electrum.plugin import Plugins
from electrum.simple_config import SimpleConfig
folder, net, name, password = sys.argv[1:]
config = SimpleConfig({"electrum_path": folder, **({net: True} if net != "mainnet" else {})})
config.get_selected_chain().set_as_network()
plugins = Plugins(config, "cmdline")
public, salt = plugins.get_pubkey_bytes()
key = plugins.derive_privkey(password, salt)
assert key.get_public_key_bytes() == public
plugins.authorize_plugin(name, key)
assert plugins.is_authorized(name)
plugins.stop()
"""
"""What the window does behind its "Install" button, once the password was typed."""


class _NotHadError(Exception):
    """Something could not be fetched or made."""


class Rig:
    """The folder, made. `python` runs Electrum, `program` is its start script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "venv/bin/python"
        self.packages = folder / "packages"
        self.program = self.packages / "usr/bin/electrum"
        self.key = folder / "etc"

    @classmethod
    def made(cls) -> Rig:
        """Skips, or in CI fails, where it cannot be had: no apt-get, no network, no namespaces."""
        import fcntl  # not on Windows, where these tests are read and left out

        rig = cls(ROOT / ".venv-electrum")
        rig.folder.mkdir(exist_ok=True)
        wanted = hashlib.sha256(repr((ELECTRUM, SCREEN, PYTHON, VERSION, sys.version)).encode()).hexdigest()
        stamp = rig.folder / ".made-of"
        with (rig.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                if not stamp.exists() or stamp.read_text() != wanted:
                    rig._make()
                    stamp.write_text(wanted)
                _run(rig.inside(["true"]))
            except _NotHadError as error:
                reason = f"NO ELECTRUM {VERSION}: {error}"
                pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
        return rig

    def inside(self, command: Sequence[str], *, keys: str = "") -> list[str]:
        """A command line that runs `command` with the packages over /usr. `keys`: "there" for a key file of plugins in
        /etc that cannot be written, "new" for an /etc of its own that root can write to."""
        etc = {"": "", "there": str(self.key), "new": "new"}[keys]
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        root = [] if os.geteuid() == 0 else ["-r"]
        shell = ["sh", "-c", _ENTER, "sh", str(self.packages / "usr"), etc, str(scratch)]
        return ["unshare", *root, "-m", "--propagation", "private", *shell, *command]

    def electrum(self, *arguments: str, keys: str = "there") -> list[str]:
        """Electrum's command line."""
        return self.inside([str(self.python), str(self.program), *arguments], keys=keys)

    def install(self, plugin: Path, data: Path, net: str, name: str) -> None:
        """Put a plugin's zip where Electrum looks for it, and allow it with the password."""
        place = (data if net == "mainnet" else data / net) / "plugins"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(plugin, place)
        words = [str(data), net, name, PLUGIN_PASSWORD]
        _run(self.inside([str(self.python), "-c", _AUTHORIZE, *words], keys="there"))

    def _make(self) -> None:
        for name in ("packages", "venv"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for tool in ("apt-get", "dpkg", "unshare"):
            if not shutil.which(tool):
                raise _NotHadError(f"there is no {tool} here")
        fetched = [*self._fetch_electrum(), *self._fetch_screen()]
        for package in fetched:
            _run(["dpkg", "-x", str(package), str(self.packages)])
        if not list(self.packages.glob(f"usr/lib/python3/dist-packages/electrum-{VERSION}.dist-info")):
            raise _NotHadError(f"Debian's testing has another version than {VERSION}")
        _run([sys.executable, "-m", "venv", str(self.folder / "venv")])
        pip = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *PYTHON], limit=PIP_TIME_LIMIT)
        (site,) = (self.folder / "venv/lib").glob("python3.*/site-packages")
        (site / "electrum.pth").write_text(f"{self.packages / 'usr/lib/python3/dist-packages'}\n")
        key = _run(self.inside([str(self.python), "-c", _KEY, PLUGIN_PASSWORD])).strip()
        (self.key / "electrum").mkdir(parents=True, exist_ok=True)
        (self.key / "electrum/plugins_key").write_text(key)

    def _fetch_electrum(self) -> list[Path]:
        """By lists of testing alone, from the mirror that this machine takes Debian from."""
        command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(COMPONENT)", "Created-By: Packages"]
        debian = [line.split()[0] for line in _run(command).splitlines() if line.endswith(" Debian main")]
        if not debian:
            raise _NotHadError("this is no Debian")
        folder = self.folder / "apt-testing"
        (folder / "etc").mkdir(parents=True, exist_ok=True)
        # A mirror may be older than its signature says that it may be; the signature is asked for all the same.
        options = "check-valid-until=no signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
        (folder / "etc/sources.list").write_text(f"deb [{options}] {debian[0]} testing main\n")
        (folder / "status").touch()
        apt = self._apt(folder, f'Dir::State::status "{folder}/status"; Dir::Etc "{folder}/etc";')
        _run(["apt-get", "update"], environ=apt, limit=PIP_TIME_LIMIT)
        place = folder / "packages"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        _run(["apt-get", "download", *ELECTRUM], environ=apt, cwd=place, limit=PIP_TIME_LIMIT)
        return sorted(place.glob("*.deb"))

    def _fetch_screen(self) -> list[Path]:
        """What is missing here, and nothing of it is installed."""
        folder = self.folder / "apt-here"
        folder.mkdir(exist_ok=True)
        apt = self._apt(folder, 'APT::Install-Recommends "0"; Debug::NoLocking "1";')
        _run(["apt-get", "update"], environ=apt, limit=PIP_TIME_LIMIT)
        _run(["apt-get", "install", "-y", "--download-only", *SCREEN], environ=apt, limit=PIP_TIME_LIMIT)
        return sorted((folder / "cache/archives").glob("*.deb"))

    @staticmethod
    def _apt(folder: Path, more: str) -> dict[str, str]:
        """The environment for apt with lists and a store of its own."""
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        lines = f'Dir::State::lists "{folder}/lists"; Dir::Cache "{folder}/cache"; Acquire::Languages "none"; {more}\n'
        (folder / "apt.conf").write_text(lines)
        return {"APT_CONFIG": str(folder / "apt.conf"), "DEBIAN_FRONTEND": "noninteractive"}


def _run(
    command: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    limit: int = TIME_LIMIT,
) -> str:
    try:
        run = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=limit,
            cwd=cwd,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _NotHadError(f"{shlex.join(command)[:80]}: {error}") from None
    if run.returncode:
        raise _NotHadError(f"{shlex.join(command)[:80]}: {run.stderr.strip()[-300:]}")
    return run.stdout
