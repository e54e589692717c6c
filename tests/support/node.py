"""A full node with a wallet, from Debian's archive: Bitcoin Knots, which is Bitcoin Core and changes to it. It calls a
signer as Core does. Bitcoin Core itself is in no archive that tests can reach. Unpacked, never installed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.system.interop.programs import ROOT, TIME_LIMIT

FOLDER = ROOT / ".venv-node"
PACKAGE = "bitcoin-knots"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITE = "deb [signed-by={keyring}] http://deb.debian.org/debian sid main\n"
DOWNLOAD_LIMIT = 300
START_LIMIT = 60


def _apt(folder: Path, *command: str) -> str:
    """apt with lists, cache and configuration of its own."""
    for name in ("lists/partial", "cache/archives/partial", "debs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_text(SUITE.format(keyring=KEYRING))
    (folder / "apt.conf").write_text(
        f'Dir::State::Lists "{folder}/lists"; Dir::Cache "{folder}/cache"; Dir::Etc::SourceParts "/nonexistent";\n'
        f'Dir::Etc::SourceList "{folder}/sources.list"; APT::Sandbox::User "root"; Acquire::Languages "none";\n'
    )
    run = subprocess.run(
        command,
        cwd=folder / "debs",
        env={**os.environ, "APT_CONFIG": str(folder / "apt.conf")},
        capture_output=True,
        text=True,
        timeout=DOWNLOAD_LIMIT,
    )
    if run.returncode:
        pytest.skip(f"no node from Debian's archive: {' '.join(command[:2])}: {run.stderr.strip().splitlines()[-1:]}")
    return run.stdout


def _libraries(*arguments: str) -> list[str]:
    """The libraries that packages depend on."""
    others = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    said = _apt(FOLDER, "apt-cache", "depends", *(f"--no-{name}" for name in others), *arguments)
    named = {line.split()[-1] for line in said.splitlines()}
    return sorted(name for name in named if name.startswith("lib"))


def _unpacked() -> Path:
    """The folder with the node and the libraries that it was built for; fetched once."""
    if not shutil.which("apt-get") or not KEYRING.exists():
        pytest.skip("no node: this is no Debian")
    import fcntl  # not on Windows, and Debian has it

    FOLDER.mkdir(exist_ok=True)
    root = FOLDER / "root"
    with (FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            _apt(FOLDER, "apt-get", "-qq", "update")
            direct = _libraries("--no-pre-depends", PACKAGE)
            _apt(FOLDER, "apt-get", "-qq", "download", PACKAGE, *_libraries("--recurse", *direct))
            half = FOLDER / "half"
            shutil.rmtree(half, ignore_errors=True)
            for deb in sorted((FOLDER / "debs").glob("*.deb")):
                subprocess.run(["dpkg", "-x", str(deb), str(half)], check=True, timeout=TIME_LIMIT)
            half.rename(root)
            shutil.rmtree(FOLDER / "lists")
            shutil.rmtree(FOLDER / "debs")
    return root


class Node:
    """`bitcoind` and `bitcoin-cli` of a regtest chain of its own, as programs in `bin`, for a person whose home is
    `home`. They take the options of the command line as they stand there; the port is theirs alone."""

    def __init__(self, folder: Path) -> None:
        root = _unpacked()
        (loader,) = root.glob("usr/lib/*/ld-linux*.so.*")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.bin, self.home = folder / "node", folder / "home"
        self.bin.mkdir()
        self.home.mkdir()
        for name, options in (
            ("bitcoind", f"-rpcport={self.port} -listen=0"),
            ("bitcoin-cli", f"-rpcport={self.port}"),
        ):
            start = shlex.join([str(loader), "--library-path", str(loader.parent), str(root / "usr" / "bin" / name)])
            (self.bin / name).write_text(f'#!/bin/sh\nexec {start} {options} "$@"\n')
            (self.bin / name).chmod(0o755)
        self.environ = {**os.environ, "HOME": str(self.home), "PATH": f"{self.bin}:{os.environ['PATH']}"}
        self.url = f"http://127.0.0.1:{self.port}"
        self.cookie = self.home / ".bitcoin" / "regtest" / ".cookie"

    def start(self, *options: str, environ: Mapping[str, str] | None = None) -> None:
        """On regtest, in the background."""
        subprocess.run(
            [str(self.bin / "bitcoind"), "-regtest", "-daemonwait", "-fallbackfee=0.0001", *options],
            env={**self.environ, **(environ or {})},
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=START_LIMIT,
        )

    def cli(self, *arguments: str) -> str:
        run = subprocess.run(
            [str(self.bin / "bitcoin-cli"), "-regtest", *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout.strip()

    def json(self, *arguments: str) -> Any:
        return json.loads(self.cli(*arguments))

    def stop(self) -> None:
        """Until it is gone; harmless where it does not run."""
        command = [str(self.bin / "bitcoin-cli"), "-regtest", "stop"]
        subprocess.run(command, env=self.environ, capture_output=True, timeout=TIME_LIMIT)
        end = time.monotonic() + START_LIMIT
        while (self.home / ".bitcoin" / "regtest" / "bitcoind.pid").exists() and time.monotonic() < end:
            time.sleep(0.1)
