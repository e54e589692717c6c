"""The page about Bitcoin Core, followed from its first command to its last, on a real node and an emulated card."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.emulator import EmulatorProcess, trust
from tests.support.node import Node
from tests.system.interop.pages import blocks
from tests.system.interop.programs import MNEMONIC, PIN, ROOT, TIME_LIMIT
from tests.system.interop.test_docs import CTL, HWI, paper, programs

PAGE = ROOT / "docs" / "bitcoin-core.md"
ELSEWHERE = re.compile(r"cryptnoxctl emulator|bitcoind -signer=\"/path/to|sudo |systemd-ask-password ")
"""Started by this test, no real path, or for root and systemd."""


def commands() -> Iterator[str]:
    """All of them, in the page's order."""
    for language, text in blocks(PAGE):
        if language in ("sh", "console"):
            for line in text.splitlines():
                yield line.removeprefix("$ ")


@pytest.mark.heavy
@pytest.mark.xdist_group("node")
@pytest.mark.timeout(590)
def test_the_page_on_a_node(tmp_path: Path) -> None:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as card:
        trust(card.path)
        node = Node(tmp_path)
        folder = programs(tmp_path / "bin", shlex.quote(sys.executable), HWI, CTL, pin=PIN, card=card.path)
        paper(tmp_path)
        shutil.copyfile(ROOT / "examples" / "core_signer.py", tmp_path / "examples" / "core_signer.py")
        env = {
            **node.environ,
            "PATH": f"{folder}:{node.environ['PATH']}",
            "CRYPTNOX_EMULATOR": card.path.removeprefix("tcp:"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        address, done = "ADDRESS", 0
        try:
            for command in commands():
                if ELSEWHERE.match(command):
                    continue
                if export := re.fullmatch(r"export (\w+)='(.*)'", command):
                    env[export[1]] = export[2]
                    continue
                command = command.replace("ADDRESS", address)
                if "core_signer.py" in command:
                    command = f"{command.replace('DEVICE', card.path)} --rpc {node.url}"
                run = subprocess.run(
                    ["bash", "-c", f"set -euo pipefail\n{command}"],
                    cwd=tmp_path,
                    env=env,
                    input="yes\nyes\n",
                    capture_output=True,
                    text=True,
                    timeout=TIME_LIMIT,
                )
                assert run.returncode == 0, (command, run.stdout, run.stderr)
                assert '"error"' not in run.stdout, (command, run.stdout)
                judge(command, run.stdout)
                done += 1
                if "getnewaddress" in command:
                    address = run.stdout.strip()
        finally:
            node.stop()
    assert done > 20


def judge(command: str, said: str) -> None:
    """What the page says that it does, it did."""
    if " send " in command:
        assert json.loads(said)["complete"] is True
    elif "testmempoolaccept" in command:
        assert json.loads(said)[0]["allowed"] is True
    elif "enumeratesigners" in command:
        assert len(json.loads(said)["signers"]) == 1
    elif "importdescriptors" in command:
        assert [one["success"] for one in json.loads(said)] == [True, True]
    elif "signtx" in command:
        assert json.loads(said)["psbt"]
    elif "core_signer.py" in command:
        assert re.search(r"sent [0-9a-f]{64}$", said.strip())
