"""HWI's library inside another program, as rust-hwi embeds it: an interpreter in a program in C, which makes rust-hwi's
calls. What rust-hwi demands of an answer is demanded here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from hwilib_cryptnox.export import Network, ScriptType, descriptor
from hwilib_cryptnox.plugin import register as plugin
from tests.export.conftest import make_keys
from tests.support.emulator import MNEMONIC, PIN, EmulatorProcess
from tests.support.optional import hwilib
from tests.support.pcsc import VirtualReaders
from tests.system.interop.paper import PaperWallet

hwilib()

TIME_LIMIT = 120
EMBEDDER = """
#include <Python.h>
int main(int argc, char **argv) {
    Py_InitializeEx(0);                 /* as pyo3's auto-initialize: no arguments, no signal handlers */
    int failed = PyRun_SimpleString(argv[1]);
    return Py_FinalizeEx() < 0 || failed;
}
"""
REGISTER = "import hwilib_cryptnox; hwilib_cryptnox.register()\n"
CALLS = """
import json, os, sys
from importlib import import_module

def call(name, *arguments):
    function = getattr(import_module("hwilib.commands"), name)   # rust-hwi looks it up each time
    try:
        result = function(*arguments)
    except Exception as error:
        return {"raised": type(error).__name__, "code": getattr(error, "code", None), "text": str(error)}
    return result

def say(result):
    print(json.dumps(result), flush=True)

Chain, AddressType = import_module("hwilib.common").Chain, import_module("hwilib.common").AddressType
"""


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, linked with the library of this very Python."""
    compiler, library = shutil.which("cc") or shutil.which("gcc"), sysconfig.get_config_var("LIBDIR")
    if compiler is None or not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        pytest.skip("no C compiler, or this Python has no shared library")
    folder = tmp_path_factory.mktemp("embedder")
    (folder / "main.c").write_text(EMBEDDER)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    words = [f"-I{sysconfig.get_paths()['include']}", f"-L{library}", f"-Wl,-rpath,{library}", f"-l{version}"]
    built = subprocess.run(
        [compiler, "-o", "main", "main.c", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    if built.returncode:
        pytest.skip(f"a program with this Python inside cannot be built: {built.stderr.splitlines()[-1:]}")
    return folder / "main"


class Program:
    """A program with Python inside, which finds packages by PYTHONPATH."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def run(self, calls: str, *, register: str = REGISTER, **env: str) -> list[Any]:
        """What it says, line by line."""
        packages = [path for path in sys.path if path and Path(path).is_dir()]
        packages = [*filter(None, (env.get("PYTHONPATH"),)), str(Path(__file__).resolve().parents[2]), *packages]
        done = subprocess.run(
            [self.file, f"{register}{CALLS}{calls}"],
            env={**os.environ, "PYTHONWARNINGS": "ignore", **env, "PYTHONPATH": os.pathsep.join(packages)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
        )
        assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def program(embedder: Path) -> Program:
    return Program(embedder)


def device(entry: dict[str, Any]) -> dict[str, Any] | str:
    """What rust-hwi makes of an entry: a device, or the text of an error. It panics where a device lacks something."""
    for name, kind in (("type", str), ("model", str), ("path", str), ("fingerprint", str), ("error", str)):
        assert isinstance(entry.get(name), kind | None)
    for name in ("needs_pin_sent", "needs_passphrase_sent"):
        assert isinstance(entry.get(name), bool | None)
    assert entry.get("code") is None or -128 <= entry["code"] < 128
    if entry.get("error") is not None:
        return str(entry["error"])
    found = {name: entry[name] for name in ("type", "model", "path", "needs_pin_sent", "needs_passphrase_sent")}
    assert None not in found.values() and len(bytes.fromhex(entry["fingerprint"])) == 4
    return {**found, "fingerprint": entry["fingerprint"]}


def ours(entries: list[dict[str, Any]]) -> dict[str, Any] | str:
    (found,) = [device(entry) for entry in entries if entry["type"] == "cryptnox"]
    return found


LIST = "say(call('enumerate', '', False, Chain.MAIN, True))\n"


@pytest.mark.parametrize(
    ("options", "pin", "expected"),
    [
        (("--mnemonic", MNEMONIC, "--xpub-export"), PIN, "73c5da0a"),
        (("--mnemonic", MNEMONIC), PIN, "73c5da0a"),
        (("--mnemonic", MNEMONIC), "", "PIN needed"),
        (("--mnemonic", MNEMONIC), "999999", "Wrong PIN"),
        (("--pin", PIN), PIN, "no seed"),
        ((), PIN, "Not initialized"),
    ],
)
def test_every_entry_is_a_device_or_an_error(
    options: tuple[str, ...], pin: str, expected: str, program: Program
) -> None:
    with EmulatorProcess(*options) as card:
        env = {"CRYPTNOX_EMULATOR": card.path.removeprefix("tcp:"), "CRYPTNOX_PIN": pin}
        (entries,) = program.run(LIST, **{name: value for name, value in env.items() if value})
        found = ours(entries)
    assert found["fingerprint"] == expected if isinstance(found, dict) else expected in found, found


def test_without_registration_there_is_no_card(program: Program, card: EmulatorProcess) -> None:
    """Importing the package alone registers nothing; after `register()` it does not matter what was imported first."""
    env = {"CRYPTNOX_EMULATOR": card.path.removeprefix("tcp:"), "CRYPTNOX_PIN": PIN}
    for register in ("", "import hwilib_cryptnox\n"):
        assert program.run(LIST, register=register, **env) == [[]]
    for register in (REGISTER, f"import hwilib.commands\n{REGISTER}", f"{REGISTER}{REGISTER}"):
        (entries,) = program.run(LIST, register=register, **env)
        assert isinstance(ours(entries), dict)


def test_the_file_of_hwi_enable(program: Program, card: EmulatorProcess, tmp_path: Path) -> None:
    """Read where packages of the interpreter itself are; not in a folder that PYTHONPATH names."""
    env = {"CRYPTNOX_EMULATOR": card.path.removeprefix("tcp:"), "CRYPTNOX_PIN": PIN}
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for folder, there in (
        (tmp_path / "base" / "lib" / version / "site-packages", True),
        (tmp_path / "named", False),
    ):
        folder.mkdir(parents=True)
        (folder / plugin.AUTOLOAD_FILE).write_text(plugin._HOOK)
        more = {"PYTHONUSERBASE": str(tmp_path / "base")} if there else {"PYTHONPATH": str(folder)}
        (entries,) = program.run(LIST, register="", **env, **more)
        assert bool(entries) is there, entries


def test_the_calls(program: Program, card: EmulatorProcess) -> None:
    """Get a client, keys, descriptors, sign a PSBT and a message: password "", as rust-hwi gives it."""
    wallet = PaperWallet(descriptor(make_keys(Network.TEST), ScriptType.P2WPKH))
    wallet.receive(50_000)
    wallet.receive(60_000)
    psbt = wallet.pay(bytes.fromhex("0014" + "51" * 20), 90_000)
    calls = f"""
client = call("get_client", "cryptnox", "{card.path}", "", False, Chain.REGTEST)
say(call("getmasterxpub", client, AddressType.WIT, 0))
say(call("getxpub", client, "m/84'/1'/0'", False))
say(call("getdescriptors", client, 0))
say(call("getkeypool", client, None, 0, 5, False, True, 0, AddressType.WIT, False))
say(call("signtx", client, {psbt!r}))
say(call("signmessage", client, "Hello", "m/84'/1'/0'/0/3"))
say(call("displayaddress", client, "m/84h/1h/0h/0/0", None, AddressType.WIT))
say(call("getxpub", client, "m/44'", False))
say(call("toggle_passphrase", client))
say(call("wipe_device", client))
say(call("get_client", "nonsense", "x", "", False, Chain.TEST))
"""
    master, xpub, descriptors, pool, signed, message, shown, short, toggled, wiped, unknown = program.run(
        calls, CRYPTNOX_PIN=PIN
    )
    key = make_keys(Network.TEST).account(ScriptType.P2WPKH).key.to_string(Network.TEST.version)
    assert master == xpub == {"xpub": key}
    assert [len(descriptors[name]) for name in ("receive", "internal")] == [3, 3]
    assert [each["internal"] for each in pool] == [False, True] and key in pool[0]["desc"]
    wallet.finish(signed["psbt"])
    assert len(message["signature"]) == 88
    refusals = [(each["raised"], each["code"]) for each in (shown, short, toggled, wiped, unknown)]
    assert [code for _, code in refusals] == [-9, -7, -9, -9, -4], refusals
    assert card.stats()["pin_tries"] == 0


@pytest.mark.pcsc
def test_in_a_reader(program: Program, virtual_readers: VirtualReaders) -> None:
    """`enumerate()` and `find_device` as rust-hwi calls them: a PIN once by hand, then by a source."""
    find = """
say(call("enumerate"))
client = call("find_device", "", "", "73c5da0a", False, Chain.TEST)
say(client is None)
client = call("find_device", "", "cryptnox", "", False, Chain.TEST)
say(call("getmasterxpub", client, AddressType.WIT, 0))
"""
    with virtual_readers.card("--mnemonic", MNEMONIC, "--xpub-export") as card:
        (entries,) = program.run('say(call("enumerate"))\n')
        assert "PIN needed" in ours(entries)
        program.run(f"""call("getmasterxpub", call("get_client", "cryptnox", "cryptnox:{card.serial}", "{PIN}"))\n""")
        entries, missing, key = program.run(find, CRYPTNOX_PIN_COMMAND=f"echo {PIN}")
        found = ours(entries)
        assert isinstance(found, dict) and found["path"] == f"cryptnox:{card.serial}"
        assert found["model"] == "cryptnox_basic" and found["fingerprint"] == "73c5da0a"
        # hwilib takes the empty type, which rust-hwi gives for none, for one that no device has.
        assert missing is True and key["xpub"].startswith("tpub") and card.stats()["pin_tries"] == 0
