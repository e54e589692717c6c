"""How a release is made: the programs that make it, what the one-file binary leaves out, and the binary itself."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import hwilib_cryptnox
from scripts import _binary, _binary_main, _sbom
from tests.support.emulator import PIN, SEED, EmulatorProcess, trust

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github/workflows/release.yml"
SPEC = ROOT / "scripts/binary.spec"
LIMIT = 1800


def test_one_version() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    assert re.findall(r'^version = "(.*)"$', project, re.MULTILINE) == [hwilib_cryptnox.__version__]


@pytest.mark.parametrize("name", ["build-binary", "release"])
def test_the_programs_are_shell(name: str) -> None:
    path = ROOT / "scripts" / name
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0
    assert path.stat().st_mode & stat.S_IXUSR and path.read_text().startswith("#!/bin/sh\n")


def test_nothing_is_published_from_here() -> None:
    for words in ((), ("dist",), ("--dry-ru",)):
        command = ["sh", ROOT / "scripts/release", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "release workflow" in done.stderr and done.stdout == ""
    for path in ROOT.glob("scripts/*"):
        if path.is_file():
            assert not re.search(r"\btwine\b|gh release|git push", path.read_text()), path.name


def assigned(name: str) -> list[str]:
    """A list of the description of the binary."""
    for node in ast.parse(SPEC.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return list(ast.literal_eval(node.value))
    raise AssertionError(f"{SPEC.name} has no {name}")


def test_what_is_left_out_of_the_binary_is_not_needed() -> None:
    """Nothing in the packages imports it, but for what is left out itself and for imports that may fail."""
    left_out = assigned("EXCLUDED_MODULES")
    assert {"hwilib", "hwilib_cryptnox.plugin", "hwilib_cryptnox.specter", "smartcard", "tkinter"} <= set(left_out)
    assert "libpcsclite" in assigned("EXCLUDED_FILES")
    may = {
        ("cryptnox_core/transport/pcsc.py", "smartcard"),  # pcsc-lite's own library is the other
        ("hwilib_cryptnox/__init__.py", "hwilib_cryptnox"),  # for type checkers
        ("hwilib_cryptnox/ctl/commands/hwi.py", "hwilib_cryptnox"),  # refused in a binary
    }
    found = set()
    for top in ("cryptnox_core", "hwilib_cryptnox"):
        for path in (ROOT / top).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(("hwilib_cryptnox/plugin/", "hwilib_cryptnox/specter/", "hwilib_cryptnox/register.py")):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    modules = [node.module or "", *(f"{node.module}.{each.name}" for each in node.names)]
                else:
                    modules = [each.name for each in node.names] if isinstance(node, ast.Import) else []
                gone = [one for one in modules if any(one == out or one.startswith(f"{out}.") for out in left_out)]
                found |= {(name, one.partition(".")[0]) for one in gone}
    assert found <= may


def test_what_goes_in_is_pinned() -> None:
    """Every name by a hash, and what builds it too."""
    blocks = re.split(r"\n(?=[a-z0-9])", _binary.requirements())
    names = {block.partition("==")[0] for block in blocks}
    assert set(_binary.NEEDED) | {"pyinstaller", "setuptools"} <= names and "hwi" not in names
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in (ROOT / "scripts/binary.lock").read_text()


def test_it_is_the_program_it_is_called_as(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["hwi-cryptnox"], r"hwi 3\.\d+\.\d+ \(hwi-cryptnox \S+\)\n"),
        (["cryptnoxctl"], r"cryptnoxctl, version \S+\n"),
        (["hwi"], r"hwi 3\.\d+\.\d+\n"),
        (["hwi.exe"], r"hwi 3\.\d+\.\d+\n"),
        (["hwi-cryptnox-1.0-linux-x86_64", "--as-hwi"], r"hwi 3\.\d+\.\d+\n"),
        (["cryptnoxctl", "--as-hwi"], r"hwi 3\.\d+\.\d+\n"),
    ):
        monkeypatch.setattr(sys, "argv", [f"/opt/x/{words[0]}", *words[1:], "--version"])
        try:
            _binary_main.main()
        except SystemExit as end:
            assert not end.code
        assert re.fullmatch(said, capsys.readouterr().out)
    monkeypatch.setattr(sys, "argv", ["./hwi-cryptnox-1.0-linux-x86_64", "enumerate"])
    assert _binary_main.main() == 2
    said = capsys.readouterr()
    assert said.out == "" and "install -D -m 755 ./hwi-cryptnox-1.0-linux-x86_64 ~/.local/bin/cryptnoxctl" in said.err


def test_a_signal_that_comes_twice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both processes of the binary get what a key sends, and the first hands it on."""
    interrupt = signal.default_int_handler
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.getsignal(signal.SIGTERM)
    try:
        _binary_main.take_signals_once()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        for number in (signal.SIGINT, signal.SIGTERM):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
            signal.raise_signal(number)
        monkeypatch.setattr(_binary_main, "TWICE", 0.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _binary_main.take_signals_once()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.default_int_handler = interrupt
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])


def test_the_bill_names_everything(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/a.so").write_bytes(b"a")
    text = _sbom.bill("1.0", "2026-01-01T00:00:00+00:00", tmp_path)
    assert text == _sbom.bill("1.0", "2026-01-01T00:00:00+00:00", tmp_path)
    bill = json.loads(text)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    lock = (ROOT / "requirements.lock").read_text()
    pinned = set(re.findall(r"^([a-z0-9._-]+)==", lock, re.MULTILINE))
    assert {each["name"] for each in bill["components"]} == pinned | {"lib/a.so"}
    hashes = [each["value"] for part in bill["components"] for each in part.get("properties", ())]
    assert sum(len(value) == 64 for value in hashes) == lock.count("--hash=sha256:")
    references = [each["bom-ref"] for each in bill["components"]]
    assert len(references) == len(set(references)) and bill["dependencies"][0]["dependsOn"] == sorted(references)


def test_the_workflow_makes_it_as_the_program_does() -> None:
    text = WORKFLOW.read_text()
    assert "it has never been run" in text and "container: debian:12" in text
    assert {"- run: .ci/run", "- run: sh scripts/release --dry-run"} <= {line.strip() for line in text.splitlines()}
    assert not re.search(r"://|www\.|password:|secrets\.", text)
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (it comes with the extra docs)")
    read = yaml.safe_load(text)
    assert read["permissions"] == {"contents": "read"} and read[True] == {"push": {"tags": ["v*"]}}
    assert [job.get("needs") for job in read["jobs"].values()] == [None, "tests", "build"]
    may = {name: set(job.get("permissions", ())) - {"contents"} for name, job in read["jobs"].items()}
    assert may == {"tests": set(), "build": {"id-token", "attestations"}, "publish": {"id-token"}}


@pytest.mark.heavy
@pytest.mark.timeout(LIMIT)
@pytest.mark.xdist_group("binary")
def test_the_binary(binary: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Within its size, with its data and its libraries; it signs for the demo; its PIN command gets no path of its."""
    [built] = (binary / "built").iterdir()
    assert built.stat().st_size < 30_000_000
    words = {"LC_ALL": "C.UTF-8", "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    environment = {**words, "PCSCLITE_CSOCK_NAME": os.devnull, "LD_LIBRARY_PATH": "/opt/mine"}

    def run(*command: str, code: int = 0, **more: str) -> str:
        done = subprocess.run(
            [binary / command[0], *command[1:]],
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def seconds(*words: str) -> float:
        start = time.monotonic()
        run("hwi-cryptnox", *words)
        return time.monotonic() - start

    assert f"(hwi-cryptnox {hwilib_cryptnox.__version__})" in run("hwi-cryptnox", "--version")
    assert re.fullmatch(r"hwi \d+\.\d+\.\d+\n", run("hwi", "--version"))
    assert run("cryptnoxctl", "--as-hwi", "--version") == run("hwi", "--version")
    assert run("hwi-cryptnox", "enumerate").strip() == "[]"
    assert "no hwi program" in run("cryptnoxctl", "hwi", "enable", code=1)
    findings = json.loads(run("cryptnoxctl", "doctor", "--json", code=3))["findings"]
    found = {each["check"]: each["finding"] for each in findings}
    assert "one-file binary" in found["versions"] and found["secp256k1"] == "by coincurve's libsecp256k1"
    script = tmp_path / "pin"
    script.write_text(f'#!/bin/sh\n[ "$LD_LIBRARY_PATH" = /opt/mine ] && ! env | grep -q _PYI_ && echo {PIN}\n')
    script.chmod(0o755)
    asked = ("--emulators", "--device-type", "cryptnox", "--chain", "regtest", "getmasterxpub")
    with EmulatorProcess("--seed", SEED, "--xpub-export") as card:
        trust(card.path, config=tmp_path / ".config")
        place = f"{card.host}:{card.port}"
        key = run("hwi-cryptnox", *asked, CRYPTNOX_EMULATOR=place, CRYPTNOX_PIN_COMMAND=str(script))
    assert "xpub" in json.loads(key), key
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/demo.py", "--programs", binary], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "All of it held." in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    times = {words: min(seconds(*words) for _ in range(5)) for words in (("--version",), ("enumerate",))}
    told = [f"hwi-cryptnox {words[0]}: {taken:.2f} s, the quickest of 5" for words, taken in times.items()]
    request.node.user_properties.append(("table", ["one-file binary", f"{built.stat().st_size} bytes", *told]))


PINENTRY = f"""#!/usr/bin/python3
import json, os, sys
with open(os.environ["PINENTRY_LOG"], "a") as log:
    log.write(json.dumps({{k: v for k, v in os.environ.items() if k == "LD_LIBRARY_PATH" or "_PYI" in k}}) + "\\n")
print("OK ready", flush=True)
for line in sys.stdin:
    print("D {PIN}\\nOK" if line.startswith("GETPIN") else "OK", flush=True)
"""


@pytest.mark.heavy
@pytest.mark.timeout(LIMIT)
@pytest.mark.xdist_group("binary")
@pytest.mark.parametrize("source", ["pinentry", "gpg-agent"])
def test_its_dialogues_are_the_systems(binary: Path, source: str, tmp_path: Path) -> None:
    """The real gpg-agent, started by it, and a pinentry that says what it was started with."""
    if shutil.which("gpg-agent") is None or shutil.which("gpgconf") is None:
        pytest.skip("gpg-agent is not installed")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "pinentry"
    program.write_text(PINENTRY)
    program.chmod(0o755)
    with tempfile.TemporaryDirectory(prefix="gn-", dir="/tmp") as home:  # a socket's path must be short
        Path(home, "gpg-agent.conf").write_text(f"pinentry-program {program}\n")
        environment = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "GNUPGHOME": home,
            "LC_ALL": "C.UTF-8",
            "LD_LIBRARY_PATH": "/opt/mine",
            "PCSCLITE_CSOCK_NAME": os.devnull,
            "PINENTRY_LOG": str(tmp_path / "log"),
            "CRYPTNOX_PIN_SOURCE": source,
        }
        try:
            with EmulatorProcess("--seed", SEED, "--xpub-export") as card:
                trust(card.path, config=tmp_path / ".config")
                words = ("--emulators", "--device-type", "cryptnox", "--chain", "regtest", "getmasterxpub")
                done = subprocess.run(
                    [binary / "hwi-cryptnox", *words],
                    env={**environment, "CRYPTNOX_EMULATOR": f"{card.host}:{card.port}"},
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
        finally:
            subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environment, check=False)
    assert "xpub" in json.loads(done.stdout), done.stdout + done.stderr
    seen = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert seen and all(each == {"LD_LIBRARY_PATH": "/opt/mine"} for each in seen)


@pytest.mark.heavy
@pytest.mark.timeout(LIMIT)
@pytest.mark.xdist_group("binary")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_both_of_its_processes_end(binary: Path, number: signal.Signals, tmp_path: Path) -> None:
    """Who ends the one it started ends the one that works, too: here an emulated card, whose port is free again."""
    command = [binary / "cryptnoxctl", "emulator", "--listen", "127.0.0.1:0"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # a killed one leaves its folder there
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    with process.stdout:
        fields = dict(word.split("=", 1) for word in process.stdout.readline().split()[1:])
        host, _, port = fields["listen"].rpartition(":")
        socket.create_connection((host, int(port)), timeout=10).close()
        process.send_signal(number)
        process.wait(timeout=30)
        assert process.stdout.read() == "", "its end comes when both have ended"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=10)
    assert number == signal.SIGKILL or not list(tmp_path.glob("_MEI*"))
