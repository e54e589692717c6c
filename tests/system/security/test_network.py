"""No program of this project talks to the network: unix sockets (PC/SC service, gpg-agent), and the one address of an
emulated card or relay that the user named."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.psbt.factory import draft, spend
from tests.support.emulator import PIN, EmulatorProcess
from tests.system.security.world import CTL, HWI, STOCK, World

ROOT = Path(__file__).resolve().parents[3]
SEED = bytes(range(64)).hex()
PSBT = draft(spend("p2wpkh")).base64()
NETWORK = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo")
SOCKET_USERS = {
    "cryptnox_core/transport/tcp.py",
    "cryptnox_core/emulator/server.py",
    "cryptnox_core/emulator/vpcd.py",
    "hwilib_cryptnox/pin/assuan.py",
}
NETWORK_MODULES = {"socket", "ssl", "http", "urllib.request", "ftplib", "smtplib", "asyncio", "requests", "httpx"}

COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "enumerate": (HWI, ("enumerate",)),
    "signtx": (HWI, ("--device-type", "cryptnox", "--device-path", "CARD", "signtx", PSBT)),
    "getdescriptors": (HWI, ("--device-type", "cryptnox", "--device-path", "CARD", "getdescriptors")),
    "version": (HWI, ("--version",)),
    "stock hwi": (STOCK, ("--device-type", "cryptnox", "--device-path", "CARD", "getmasterxpub")),
    "list": (CTL, ("list",)),
    "info": (CTL, ("info", "--card", "CARD")),
    "doctor": (CTL, ("doctor",)),
    "sign": (CTL, ("sign", "DRAFT", "--yes", "--card", "CARD")),
    "address": (CTL, ("address", "--card", "CARD")),
}
NO_CARD = ("enumerate", "version")
"""Commands that have no reason to talk to the emulated card."""


@pytest.fixture(scope="module")
def card() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--seed", SEED, "--xpub-export") as process:
        yield process


@pytest.fixture
def world(tmp_path: Path, card: EmulatorProcess) -> World:
    (tmp_path / "draft.psbt").write_text(PSBT)
    return World.make(tmp_path, CRYPTNOX_EMULATOR=f"{card.host}:{card.port}", CRYPTNOX_PIN=PIN)


def words_of(world: World, card: EmulatorProcess, name: str) -> list[str]:
    values = {"CARD": card.path, "DRAFT": str(world.folder.parent / "draft.psbt")}
    return [values.get(word, word) for word in COMMANDS[name][1]]


@pytest.mark.parametrize("name", COMMANDS)
def test_only_the_card_that_was_named(world: World, card: EmulatorProcess, name: str) -> None:
    """Everything else is refused, and nothing was tried that would have been."""
    address = f"{card.host}:{card.port}"
    done = world.run(*words_of(world, card, name), program=COMMANDS[name][0], WATCH_NO_NETWORK=address)
    assert b"not wanted" not in done.stdout + done.stderr
    assert done.returncode == 0 or name == "doctor", done
    asked = {str(arguments) for _, arguments in world.events(*NETWORK)}
    places = {f"[['{card.host}', {card.port}]]", f"['{card.host}', {card.port}]", f"['{card.host}', '{card.port}']"}
    assert asked <= (set() if name in NO_CARD else places), asked
    assert (name in NO_CARD) == (not asked)


def test_the_watch_sees_and_blocks(world: World) -> None:
    code = "import socket; socket.create_connection(('127.0.0.1', 9), 1)"
    done = world.run(program=(CTL[0], "-c", code), WATCH_NO_NETWORK="127.0.0.1:10")
    assert done.returncode == 1 and b"not wanted" in done.stderr
    assert world.events(*NETWORK)


@pytest.mark.parametrize("name", ["signtx", "sign", "enumerate", "stock hwi"])
def test_system_calls(world: World, card: EmulatorProcess, name: str) -> None:
    """As the kernel sees it, with libraries and children: which families, which addresses."""
    if name == "stock hwi":
        pytest.importorskip("hwilib", reason="hwi is not installed")
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed: system calls were not watched")
    trace = world.folder.parent / "trace"
    program = (strace, "-f", "-e", "trace=connect,bind,sendto,sendmsg,socket", "-o", str(trace), *COMMANDS[name][0])
    done = world.run(*words_of(world, card, name), program=program)
    if b"ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done
    calls = trace.read_text()
    inet = set(re.findall(r"(?:connect|bind|sendto)\([^{]*\{sa_family=AF_INET6?, ([^}]*)\}", calls))
    assert inet <= {f'sin_port=htons({card.port}), sin_addr=inet_addr("127.0.0.1")'}, inet
    assert bool(inet) == (name not in NO_CARD)
    families = set(re.findall(r"socket\((AF_\w+)", calls))
    # USB libraries of stock hwi's other drivers ask the kernel (netlink) for devices.
    assert families <= ({"AF_INET", "AF_UNIX"} | ({"AF_NETLINK"} if name == "stock hwi" else set())), families


def test_without_a_network_at_all(world: World, card: EmulatorProcess) -> None:
    """In a network namespace with nothing but a loopback interface, everything works."""
    unshare = shutil.which("unshare")
    inside = [unshare or "", "--net", "--map-root-user", "sh", "-c"]
    if unshare is None or subprocess.run([*inside, "ip link set lo up"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespaces here")
    demo = f"{CTL[0]} {ROOT / 'scripts' / 'demo.py'}"
    script = f"ip link set lo up && cd {ROOT} && exec {demo}"
    done = subprocess.run([*inside, script], capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_sockets_only_where_they_belong() -> None:
    """Modules for the network are imported by the transports alone."""
    found = set()
    for path in [*(ROOT / "cryptnox_core").rglob("*.py"), *(ROOT / "hwilib_cryptnox").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if NETWORK_MODULES & set(names):
                found.add(str(path.relative_to(ROOT)))
    assert found == SOCKET_USERS


def test_an_emulated_card_elsewhere_is_opened_only_when_asked_for(world: World) -> None:
    """A path from a wallet's file must not make the wallet call another computer."""
    words = ("--device-type", "cryptnox", "--device-path", "tcp:192.0.2.1:9720", "getmasterxpub")
    done = world.run(*words, WATCH_NO_NETWORK="")
    assert b"only with --emulators" in done.stdout and not world.events("socket.connect")
