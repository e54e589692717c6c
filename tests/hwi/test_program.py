"""The program as wallets start it: its processes, stdin, exit codes and first line of stdout."""

from __future__ import annotations

import base64
import importlib.metadata
import importlib.util
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import hwilib_cryptnox
from hwilib_cryptnox.errors import BadRequestError
from hwilib_cryptnox.export import add_checksum
from hwilib_cryptnox.hwi import program
from hwilib_cryptnox.hwi.program import _split
from tests.hwi.conftest import SEED, Program, run_process
from tests.psbt.factory import ME, In, deriv, draft, p2wpkh, spend
from tests.support.emulator import PIN, EmulatorProcess, trust

FPR = ME.fingerprint.hex()
PSBT = draft(spend("p2wpkh")).base64()


def core(card: EmulatorProcess, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """As Bitcoin Core starts `-signer="hwi-cryptnox --emulators"`, with the PIN in the environment."""
    env = {"CRYPTNOX_EMULATOR": f"{card.host}:{card.port}", "CRYPTNOX_PIN": PIN, **options.pop("env", {})}
    return run_process("--emulators", *arguments, env=env, **options)


def first_line(run: subprocess.CompletedProcess[bytes]) -> Any:
    """What Bitcoin Core parses."""
    return json.loads(run.stdout.split(b"\n")[0])


def test_bitcoin_cores_command_lines(signer: EmulatorProcess) -> None:
    """enumerate, getdescriptors, displayaddress and signtx, as its external signer code writes them."""
    run = core(signer, "enumerate")
    (entry,) = first_line(run)
    assert (run.returncode, run.stderr) == (0, b"")
    assert entry["fingerprint"] == FPR and "error" not in entry and entry["model"] == "cryptnox_basic_simulator"
    run = core(signer, "--fingerprint", FPR, "--chain", "regtest", "getdescriptors", "--account", "0")
    answer = first_line(run)
    assert run.returncode == 0 and [len(answer[name]) for name in ("receive", "internal")] == [3, 3]
    assert all("tpub" in text for text in answer["receive"])
    run = core(
        signer,
        "--fingerprint",
        FPR,
        "--chain",
        "regtest",
        "displayaddress",
        "--desc",
        add_checksum(f"wpkh([{FPR}/84h/1h/0h/0/0]{ME.key('m/84h/1h/0h/0/0').hex()})"),
    )
    assert run.returncode == 0 and first_line(run)["code"] == -9
    paths = ("m/84h/1h/0h/0/0", "m/84h/1h/0h/1/0")
    given = draft(*[In(p2wpkh(ME.key(path)), fields=[deriv(path)]) for path in paths]).base64()
    run = core(signer, "--stdin", "--fingerprint", FPR, "--chain", "regtest", stdin=f"signtx {given}")
    assert run.returncode == 0 and first_line(run)["signed"] is True
    signed = first_line(run)["psbt"]
    for _ in range(2):
        before = signer.stats()["apdus"]
        run = core(signer, "--stdin", "--fingerprint", FPR, "--chain", "regtest", stdin=f"signtx {signed}")
        assert first_line(run) == {"psbt": signed, "signed": False} and signer.stats()["apdus"] == before


@pytest.mark.parametrize("way", ["option", "environment"])
def test_signer_mode(hwi: Program, way: str) -> None:
    """Errors of getdescriptors and signtx reach Bitcoin Core's user: one line on stderr, exit 1. The others stay."""
    option = ["--signer-mode"] if way == "option" else []
    env = {} if way == "option" else {"CRYPTNOX_SIGNER_MODE": "1"}
    with EmulatorProcess("--seed", SEED) as card:
        select = ["-t", "cryptnox", "-d", card.path, "-p", PIN]
        for command in (["getdescriptors"], ["signtx", "AAAA"]):
            outcome = hwi.outcome(*option, *select, *command, env=env)
            assert outcome.code == 1 and outcome.error == outcome.answer["error"] + "\n"
        for command in (["getxpub", "m/84h/0h/0h"], ["displayaddress", "--path", "m/0"]):
            assert hwi(*option, *select, *command, env=env)["code"] < 0
        given = draft(spend("p2wpkh")).base64()
        assert hwi(*option, *select, "signtx", given, env=env)["signed"] is True
    outcome = hwi.outcome(*option, *select, "getdescriptors", env=env)
    assert outcome.code == 1 and outcome.answer["code"] == -3


def test_btcpay_and_nunchuk(signer: EmulatorProcess, hwi: Program) -> None:
    """BTCPay Vault unlocks with `getxpub m/44h`, Nunchuk learns the fingerprint from `getxpub m/48h`."""
    for path in ("m/44h", "m/48h"):
        answer = hwi("-t", "cryptnox_basic", "-d", signer.path, "--password", PIN, "getxpub", path)
        assert answer["code"] == -7 and "3 to 8 levels" in answer["error"]
    answer = hwi("--emulators", "-f", FPR, "--stdin", env={"CRYPTNOX_EMULATOR": signer.path[4:], "CRYPTNOX_PIN": PIN},
                 stdin=f"signtx\n{draft(spend('p2wpkh')).base64()}\n\nignored\n")  # fmt: skip
    assert answer["signed"] is True


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    run = run_process("--version")
    assert run.returncode == 0
    try:
        hwi = importlib.metadata.version("hwi")
    except importlib.metadata.PackageNotFoundError:
        hwi = "3.2.0"  # whose command line this is: BTCPay wants a major version of 2 or more
    assert run.stdout.decode() == f"hwi {hwi} (hwi-cryptnox {hwilib_cryptnox.__version__})\n"
    assert hwilib_cryptnox.__version__ == importlib.metadata.version("hwi-cryptnox")


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["getxpub"], ["--chain", "mars", "enumerate"], ["getmasterxpub", "--account", "x"], ["--what"],
     ["getkeypool", "--all", "--addr-type", "wit", "0", "1"], ["displayaddress"], ["registerdescriptor", "x"]],
)  # fmt: skip
def test_wrong_command_lines(hwi: Program, arguments: list[str]) -> None:
    outcome = hwi.outcome(*arguments)
    assert outcome.code == 2 and outcome.answer["code"] == -2 and "error" in outcome.answer
    assert outcome.error.startswith("usage:")


@pytest.mark.parametrize("arguments", [["--help"], ["getxpub", "--help"]])
def test_help(hwi: Program, arguments: list[str]) -> None:
    outcome = hwi.outcome(*arguments)
    assert outcome.code == 0 and outcome.answer == {"error": "Help text requested", "code": -17}
    assert "usage:" in outcome.error


def test_options_may_be_shortened_as_in_hwi(signer: EmulatorProcess, hwi: Program) -> None:
    answer = hwi("--device-t", "cryptnox", "--device-p", signer.path, "--passw", PIN, "--ch", "TEST", "getmasterxpub")
    assert answer["xpub"].startswith("tpub")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["getxpub", "m/84h/0h/0h"], -1, "device type or fingerprint"),
        (["-d", "cryptnox:5", "getxpub", "m/84h/0h/0h"], -1, "device type or fingerprint"),
        (["-t", "trezor", "getxpub", "m/84h/0h/0h"], -3, "Could not find"),
        (["-t", "trezor", "-d", "x", "getxpub", "m/84h/0h/0h"], -4, "Unknown device type"),
        (["-t", "cryptnox", "getxpub", "m/84h/0h/0h"], -3, "Could not find"),
        (["-f", "73c5da0a", "getxpub", "m/84h/0h/0h"], -3, "Could not find"),
        (["-f", "not hex", "getxpub", "m/84h/0h/0h"], -3, "Could not find"),
        (["-t", "cryptnox", "-d", "cryptnox:5", "getxpub", "m/84h/0h/0h"], -3, "PC/SC"),
        (["-t", "cryptnox", "-d", "usb:1", "getxpub", "m/84h/0h/0h"], -7, "is not the path of a Cryptnox card"),
        (
            ["-t", "cryptnox", "-d", "cryptnox:" + "9" * 5000, "getxpub", "m/84h/0h/0h"],
            -7,
            "is not the path of a Cryptnox card",
        ),
        (["-t", "cryptnox", "-d", "cryptnox:" + "9" * 5000, "signtx", PSBT], -7, "is not the path of a Cryptnox card"),
        (["-t", "cryptnox", "-d", "tcp:127.0.0.1:1", "getxpub", "m/84h/0h/0h"], -3, "no card"),
        (["-t", "cryptnox", "-d", "tcp:nowhere", "getxpub", "m/84h/0h/0h"], -7, "HOST:PORT"),
        (["-t", "cryptnox", "-d", "tcp:192.0.2.1:9", "getxpub", "m/84h/0h/0h"], -7, "--emulators"),
    ],
)
def test_no_such_device(hwi: Program, arguments: list[str], code: int, words: str) -> None:
    answer = hwi(*arguments)
    assert answer["code"] == code and words in answer["error"], answer


WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
XPRV = "xprv9s21ZrQH143K3GJpoapnV8SFfukcVBSfeCficPSGfubmSFDxo1kuHnLisriDvSnRRuL2Qrg5ggqHKNVpxR86QEC8w35uxmGoggxtQTPvfUu"
SECRETS = {"words": WORDS, "private key": XPRV, "PUK": "918273645546", "PIN": "918273645"}
CARD = ("-t", "cryptnox", "-d", "cryptnox:5")
PLACES = {
    "getxpub": [*CARD, "getxpub", "{}"],
    "below m": [*CARD, "getxpub", "m/{}/0h"],
    "displayaddress": [*CARD, "displayaddress", "--path", "{}"],
    "signmessage": [*CARD, "signmessage", "hello", "{}/x"],
    "getkeypool": [*CARD, "getkeypool", "--path", "m/{}/x/*", "0", "5"],
    "account": [*CARD, "getmasterxpub", "--account", "{}/"],
    "type": [*CARD, "getmasterxpub", "--addr-type", "{}"],
    "start": [*CARD, "getkeypool", "x{}", "5"],
    "end": [*CARD, "getkeypool", "0", "-{}x"],
    "chain": ["--chain", "{}", "enumerate"],
    "command": [*CARD, "{}"],
    "command, like the choices": [*CARD, "{} (choose from {} (choose from"],
    "too much": [*CARD, "getxpub", "m/84h/0h/0h", "{}", "--{}", "--what={}", "--nothing"],
    "of an option without one": [*CARD, "--debug={}", "enumerate"],
    "of an option that may be several": [*CARD, "--e={}", "enumerate"],
    "device": ["-t", "cryptnox", "-d", "{}", "getmasterxpub"],
    "device type": ["-t", "{}", "getmasterxpub"],
    "fingerprint": ["-f", "{}", "getmasterxpub"],
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("arguments", PLACES.values(), ids=PLACES)
def test_a_secret_in_the_wrong_place_is_not_repeated(hwi: Program, arguments: list[str], secret: str) -> None:
    """Wallet programs write errors to their logs."""
    given = [word.replace("{}", secret) for word in arguments]
    outcome = hwi.outcome(*given)
    assert outcome.answer["code"] < 0
    told = (outcome.answer["error"] + outcome.error).lower()
    assert not any(secret.lower()[at : at + 9] in told for at in range(len(secret) - 8)), told


def test_a_pin_in_place_of_a_path_is_not_repeated(signer: EmulatorProcess, hwi: Program) -> None:
    """It is a path, of one level."""
    answer = hwi.on(signer, "getxpub", "918273645")
    assert answer == {"error": "this path: the card only gives extended public keys of 3 to 8 levels", "code": -7}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*CARD, "getxpub", "m/84h//0"], "'m/84h//0' is not a derivation path like m/84h/0h/0h/0/0"),
        ([*CARD, "getxpub", "m/4294967296"], "'m/4294967296' is not a derivation path"),
        ([*CARD, "getxpub", "here"], "this is not a derivation path like m/84h/0h/0h/0/0"),
        ([*CARD, "getxpubs"], "argument command: invalid choice: 'getxpubs' (choose from"),
        ([*CARD, "--what", "getxpub", "m/0", "else"], "error: unrecognized arguments: --what"),
        ([*CARD, "getxpub", "m/0", "else"], "error: unrecognized arguments"),
        ([*CARD, "getmasterxpub", "--account", "x"], "getmasterxpub: error: argument --account: invalid int value"),
        (["--chain", "mars", "enumerate"], "error: argument --chain: invalid choice (choose from"),
        (["--e", "enumerate"], "could match --expert, --emulators"),
    ],
)
def test_what_was_mistyped_is_named(hwi: Program, arguments: list[str], words: str) -> None:
    """Where it cannot be a secret."""
    assert words in hwi.outcome(*arguments).answer["error"]


def test_bad_settings(hwi: Program, signer: EmulatorProcess) -> None:
    answer = hwi.on(signer, "getmasterxpub", env={"CRYPTNOX_WAIT": "soon"})
    assert answer["code"] == -7 and "CRYPTNOX_WAIT" in answer["error"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("CRYPTNOX_WAIT", "soon", "CRYPTNOX_WAIT: give seconds"),
        ("CRYPTNOX_EMULATOR", "nowhere", "CRYPTNOX_EMULATOR: "),
        ("config.toml", "max_fe = 1\n", "config.toml: max_fe is not a setting"),
        ("config.toml", "max_fee =\n", "config.toml: "),
    ],
)
def test_enumerate_says_why_it_lists_nothing(name: str, value: str, words: str) -> None:
    """On stderr: an entry without a card would be a device to wallets."""
    env = {name: value}
    if name == "config.toml":
        folder, env = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox", {}
        folder.mkdir(parents=True)
        (folder / name).write_text(value)
    run = run_process("--emulators", "enumerate", env=env)
    assert (run.returncode, run.stdout) == (0, b"[]\n")
    assert run.stderr.startswith(b"enumerate: ") and words in run.stderr.decode() and run.stderr.count(b"\n") == 1


@pytest.fixture
def no_pyscard(tmp_path: Path) -> dict[str, str]:
    """An environment in which neither pyscard nor pcsc-lite's library can be loaded."""
    package = tmp_path / "without" / "smartcard"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('libpcsclite.so.1: cannot open shared object file')\n")
    (package.parent / "sitecustomize.py").write_text(
        "import ctypes\n"
        "class Away(ctypes.CDLL):\n"
        "    def __init__(self, name, *rest, **more):\n"
        "        if name == 'libpcsclite.so.1':\n"
        "            raise OSError(name + ': cannot open shared object file')\n"
        "        super().__init__(name, *rest, **more)\n"
        "ctypes.CDLL = Away\n"
    )
    return {"PYTHONPATH": f"{package.parent}{os.pathsep}{Path(hwilib_cryptnox.__file__).parents[1]}"}


@pytest.mark.parametrize(
    ("named", "text"),
    [
        ("", "PC/SC support (libpcsclite.so.1) is not installed: it comes with the service pcscd"),
        ("pcsclite", "PC/SC support (libpcsclite.so.1) is not installed: it comes with the service pcscd"),
        ("pyscard", "PC/SC support (pyscard) is not installed, or its library is missing"),
        ("winscard", "CRYPTNOX_PCSC names the PC/SC library: pyscard or pcsclite, not 'winscard'"),
    ],
)
def test_missing_pcsc_support_is_told(
    named: str, text: str, no_pyscard: dict[str, str], signer: EmulatorProcess
) -> None:
    """`enumerate` says so on stderr, a search as its error; an emulated card needs none."""
    no_pyscard = {**no_pyscard, "CRYPTNOX_PCSC": named}
    run = run_process("enumerate", env=no_pyscard)
    assert (run.returncode, run.stdout, run.stderr.decode()) == (0, b"[]\n", f"enumerate: {text}\n")
    run = run_process("-f", FPR, "getmasterxpub", env=no_pyscard)
    assert first_line(run) == {"error": text, "code": -3} and run.stderr == b""
    run = core(signer, "enumerate", env=no_pyscard)
    assert [entry["fingerprint"] for entry in first_line(run)] == [FPR] and text in run.stderr.decode()
    run = core(signer, "-f", FPR, "getmasterxpub", env=no_pyscard)
    assert "xpub" in first_line(run) and run.stderr == b""


# stdin


def test_stdinpass(signer: EmulatorProcess, hwi: Program) -> None:
    select = ["-t", "cryptnox", "-d", signer.path, "--stdinpass"]
    assert "xpub" in hwi(*select, "getmasterxpub", stdin=f"{PIN}\n")
    assert "xpub" in hwi(*select, "--stdin", stdin=f"{PIN}\ngetxpub\nm/84h/0h/0h\n\n")
    assert "xpub" in hwi("--stdin", stdin=f"-t cryptnox -d {signer.path} --stdinpass getmasterxpub\n\n{PIN}\n")
    assert hwi(*select, "getmasterxpub", stdin="") == {
        "error": "no PIN on stdin: it ended before the first line",
        "code": -6,
    }
    assert hwi(*select, "getmasterxpub", stdin="\n")["code"] == -6


def test_stdin_has_an_end(signer: EmulatorProcess, hwi: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password, and all that comes as arguments: what is longer is an error, and not read further."""
    select = ["-t", "cryptnox", "-d", signer.path, "--stdinpass"]
    assert hwi(*select, "getmasterxpub", stdin="x" * 4095 + "\n")["code"] == -6, "another device's"
    answer = hwi(*select, "getmasterxpub", stdin="9" * 5000 + "\n")
    assert answer == {
        "error": "the first line of stdin is not a password: it has more than 4096 characters",
        "code": -7,
    }
    monkeypatch.setattr(program, "_MOST_STDIN", 1024 * 1024)
    given = ["-t", "cryptnox", "-d", signer.path, "-p", PIN, "--stdin"]
    message = "x" * 1_000_000
    assert "signature" in hwi(*given, stdin=f"signmessage {message} m/0h\n\n" + "x" * 100_000)
    for long in (f"signmessage {message * 2} m/0h\n", "signmessage\n" + "x\n" * 600_000):
        answer = hwi(*given, stdin=long)
        assert answer == {"error": "stdin has more than 1 MiB of arguments", "code": -7}


def test_stdin_lines_are_split_as_by_a_shell(signer: EmulatorProcess, hwi: Program) -> None:
    select = ["-t", "cryptnox", "-d", signer.path, "-p", PIN, "--stdin"]
    messages = {
        "'two words'": "two words",
        '"two  words"': "two  words",
        r"two\ words": "two words",
        '"it\'s"': "it's",
        "a'b'c": "abc",
        "Grüezi": "Grüezi",
        "''": "",
    }
    for written, message in messages.items():
        answer = hwi(*select, stdin=f"signmessage {written} m/0h\n")
        assert "signature" in answer, answer
        expected = hwi.on(signer, "signmessage", message, "m/0h")
        from tests.support.signed_message import verify_message

        for signed in (answer, expected):
            assert verify_message(ME.key("m/0h"), message, signed["signature"]), written
    assert hwi(*select, stdin="signmessage 'open m/0h\n")["code"] == -13


def test_long_lines_on_stdin() -> None:
    """A PSBT of megabytes passes, quoted or not; what would take minutes is refused at once."""
    long = base64.b64encode(b"psbt\xff" + bytes(1_500_000)).decode()
    started = time.process_time()
    with pytest.raises(BadRequestError, match="a line on stdin is too long"):
        _split(f"signtx {'A' * 70_000}\\ ")
    for written in (long, f'"{long}"', f"'{long}'"):
        assert _split(f"signtx {written} \n") == ["signtx", long]
    assert _split(f"signtx {long} --chain te\\st '' a'b'\n") == ["signtx", long, "--chain", "test", "", "ab"]
    for bent in (f"{long}\\ ", f'{long}""', f'"{long}"x', f"a'b' {long}", f'"\\"" {long}'):
        with pytest.raises(BadRequestError, match="a line on stdin is too long"):
            _split(f"signtx {bent}\n")
    assert time.process_time() - started < 10
    short = "x" * 60_000
    assert _split(f"signtx {short}\\ y 'it'\\''s'") == ["signtx", f"{short} y", "it's"]


def test_a_long_line_with_a_backslash_is_an_answer(hwi: Program) -> None:
    answer = hwi("-t", "cryptnox", "-d", "cryptnox:5", "--stdin", stdin=f"signtx {'A' * 2_000_000}\\ \n")
    assert answer["code"] == -7 and answer["error"].startswith("a line on stdin is too long")


def test_a_terminal_is_asked_for_the_password(signer: EmulatorProcess) -> None:
    """`--stdinpass` on a terminal: hidden, and stdout stays clean."""
    import pexpect

    env = {**os.environ, "TERM": "dumb"}
    program = str(Path(sys.executable).with_name("hwi-cryptnox"))
    arguments = ["-t", "cryptnox", "-d", signer.path, "--stdinpass", "getmasterxpub"]
    with pexpect.spawn(program, arguments, env=env, timeout=30, encoding="utf-8") as child:  # type: ignore[arg-type]
        child.expect("password: ")
        child.sendline(PIN)
        child.expect(pexpect.EOF)
        assert PIN not in child.before and '{"xpub"' in child.before


def test_progress_only_on_a_terminal(signer: EmulatorProcess) -> None:
    given = draft(*(spend("p2wpkh", number) for number in range(3))).base64()
    command = [str(Path(sys.executable).with_name("hwi-cryptnox")), "-t", "cryptnox", "-d", signer.path, "--stdinpass"]
    main, side = pty.openpty()
    run = subprocess.run(
        [*command, "signtx", given], input=f"{PIN}\n".encode(), stdout=subprocess.PIPE, stderr=side, timeout=60
    )
    os.close(side)
    shown = os.read(main, 10_000).decode()
    os.close(main)
    assert "signing 1 of 3" in shown and "signing 3 of 3" in shown and json.loads(run.stdout)["signed"] is True
    assert run_process(*command[1:], "signtx", given, stdin=f"{PIN}\n").stderr == b""


def test_debug_goes_to_stderr_and_keeps_secrets(signer: EmulatorProcess) -> None:
    run = run_process("-t", "cryptnox", "-d", signer.path, "--stdinpass", "--debug", "getmasterxpub", stdin=f"{PIN}\n")
    assert "xpub" in first_line(run) and len(run.stdout.splitlines()) == 1
    assert b"DEBUG" in run.stderr and PIN.encode() not in run.stderr and PIN.encode().hex().encode() not in run.stderr


def test_only_our_driver_is_loaded(signer: EmulatorProcess) -> None:
    """Of embit its libsecp256k1 alone, where that stands in for coincurve."""
    code = "import sys; from hwilib_cryptnox.hwi.program import run; run(sys.argv[1:]); print(sorted(sys.modules))"
    select = ["-t", "cryptnox", "-d", signer.path, "-p", PIN]
    run = subprocess.run(
        [sys.executable, "-c", code, *select, "getdescriptors"], capture_output=True, text=True, timeout=60
    )
    loaded = run.stdout.splitlines()[1]
    if not importlib.util.find_spec("coincurve"):
        loaded = re.sub(r"'embit(\.util(\.(ctypes_)?secp256k1)?)?'", "", loaded)
    others = ("hwilib_cryptnox.ctl", "hwilib_cryptnox.console.terminal", "hwilib_cryptnox.signer.provision")
    assert all(map(importlib.util.find_spec, others))
    for name in ("hwilib.", "click", "rich", "usb1", "hid", "embit", *others):
        assert f"'{name}" not in loaded.replace("'hwilib_cryptnox'", ""), name


# Two at once


def test_two_programs_at_once(signer: EmulatorProcess) -> None:
    """Both get their turn within the time a busy card is waited for."""
    results: list[Any] = []

    def work() -> None:
        run = core(signer, "-f", FPR, "getdescriptors", env={"CRYPTNOX_WAIT": "20"})
        results.append(first_line(run))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3 and all("receive" in answer for answer in results), results


def test_a_poller_beside_a_long_signing(hwi: Program) -> None:
    """The poller gets the busy entry, the signing finishes."""
    given = draft(*(spend("p2wpkh", number) for number in range(50))).base64()
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--latency", "sign=30") as card:
        address = {"CRYPTNOX_EMULATOR": f"{card.host}:{card.port}", "CRYPTNOX_WAIT": "0.05"}
        program = str(Path(sys.executable).with_name("hwi-cryptnox"))
        with subprocess.Popen([program, "-t", "cryptnox", "-d", card.path, "--stdin"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, env={**os.environ, "CRYPTNOX_PIN": PIN}) as signing:  # fmt: skip
            assert signing.stdin is not None and signing.stdout is not None
            signing.stdin.write(f"signtx {given}\n".encode())
            signing.stdin.close()
            end = time.monotonic() + 30
            while card.stats()["signatures"] < 2 and time.monotonic() < end:
                time.sleep(0.02)
            for _ in range(3):
                assert hwi("--emulators", "enumerate", env=address) == [
                    {
                        "type": "cryptnox",
                        "model": "cryptnox_basic_simulator",
                        "label": None,
                        "path": card.path,
                        "needs_pin_sent": False,
                        "needs_passphrase_sent": False,
                        "error": "Card is in use by another program",
                        "code": -15,
                    }
                ]
            answer = hwi.on(card, "getmasterxpub", env=address)
            assert answer == {"error": "Card is in use by another program", "code": -15}
            assert json.loads(signing.stdout.read())["signed"] is True
        assert card.stats()["signatures"] == 50 and card.stats()["pin_tries"] == 0


def test_a_broken_pipe_is_no_traceback(signer: EmulatorProcess) -> None:
    program = str(Path(sys.executable).with_name("hwi-cryptnox"))
    with subprocess.Popen([program, "enumerate"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


# Streams


def closing(streams: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The program, started by a shell that closes or redirects streams."""
    program = str(Path(sys.executable).with_name("hwi-cryptnox"))
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    shell = ["/bin/sh", "-c", f'exec "$0" "$@" {streams}', program, *arguments]
    return subprocess.run(shell, input=b"", capture_output=True, timeout=60, env=env)


@pytest.mark.parametrize(
    ("streams", "arguments", "code", "out", "error"),
    [
        (">&-", ["enumerate"], 1, b"", b"stdout is closed"),
        (">&-", ["--help"], 1, b"", b"stdout is closed"),
        (">&- 2>&- <&-", ["enumerate"], 1, b"", b""),
        ("2>&-", ["enumerate"], 0, b"[]", b""),
        ("2>&-", ["nonsense"], 2, b'"code": -2', b""),
        ("<&-", ["enumerate"], 0, b"[]", b""),
        ("<&-", ["--stdin"], 2, b'"code": -2', b"usage:"),
        ("<&-", ["--stdinpass", "-t", "cryptnox", "getmasterxpub"], 0, b"no PIN on stdin", b""),
        (">/dev/full", ["enumerate"], 1, b"", b"the answer cannot be written: No space left on device"),
        (">/dev/full", ["--version"], 1, b"", b""),
        ("2>/dev/full", ["--bogus"], 2, b'"code": -2', b""),
        ("2>/dev/full", ["--signer-mode", "-f", "00000000", "getdescriptors"], 1, b'"code": -3', b""),
        (">&- 2>/dev/full", ["enumerate"], 1, b"", b""),
    ],
)
def test_closed_and_full_streams(streams: str, arguments: list[str], code: int, out: bytes, error: bytes) -> None:
    run = closing(streams, *arguments)
    assert run.returncode == code and out in run.stdout and error in run.stderr, run
    assert b"Traceback" not in run.stderr and b"Exception ignored" not in run.stderr


def test_nothing_is_done_where_the_answer_would_be_lost(signer: EmulatorProcess) -> None:
    before = signer.stats()["apdus"]
    run = closing(">&-", "-t", "cryptnox", "-d", signer.path, "-p", PIN, "getmasterxpub")
    assert run.returncode == 1 and signer.stats()["apdus"] == before


def test_no_file_takes_the_place_of_a_closed_stream(signer: EmulatorProcess) -> None:
    """The PIN command's stderr is our null device, not a socket that got the number 2."""
    command = "sh -c 'echo noise >&2 && readlink /proc/self/fd/2 >>\"$PLACES\" && echo 000000'"
    places = Path(os.environ["XDG_STATE_HOME"]).with_name("places")
    places.parent.mkdir(parents=True, exist_ok=True)
    trust(signer.path)
    program = str(Path(sys.executable).with_name("hwi-cryptnox"))
    select = ["-t", "cryptnox", "-d", signer.path, "getmasterxpub"]
    code = (
        "import os, sys; from hwilib_cryptnox.console.streams import complete; complete(); "
        "print([os.readlink(f'/proc/self/fd/{number}') for number in (0, 2)])"
    )
    run = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -c "$1" <&- 2>&-', sys.executable, code], capture_output=True, timeout=60
    )
    assert run.stdout.decode() == "['/dev/null', '/dev/null']\n"
    run = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" "$@" <&- 2>&-', program, *select],
        capture_output=True,
        env={**os.environ, "CRYPTNOX_PIN_COMMAND": command, "PLACES": str(places)},
        timeout=60,
    )
    assert "xpub" in json.loads(run.stdout) and places.read_text() == "/dev/null\n"


def test_a_missing_audit_line_is_told_after_the_error(signer: EmulatorProcess) -> None:
    """Signed all the same; Bitcoin Core takes the first line of stderr for the error, so that one comes first."""
    state = Path(os.environ["XDG_STATE_HOME"])
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text("a file in the way")
    select = ["-t", "cryptnox", "-d", signer.path, "-p", PIN]
    run = run_process(*select, "signtx", draft(spend("p2wpkh")).base64())
    assert run.returncode == 0 and first_line(run)["signed"] is True
    assert run.stderr.startswith(b"no audit line was written") and b"Not a directory" in run.stderr
    run = run_process(*select, "signmessage", "x", "m/0h")
    assert "signature" in first_line(run) and run.stderr.startswith(b"no audit line was written")
    faults = ("--fault", "remove@C0:2", "--fault", "sw:6F00@A4:2", "--fault", "sw:6F00@A4:3")
    with EmulatorProcess("--seed", SEED, "--xpub-export", *faults) as card:
        select = ["--signer-mode", "-t", "cryptnox", "-d", card.path, "-p", PIN]
        given = draft(spend("p2wpkh"), spend("p2wpkh", 1)).base64()
        run = run_process(*select, "signtx", given, env={"CRYPTNOX_REINSERT_WAIT": "0"})
    lines = run.stderr.decode().splitlines()
    assert run.returncode == 1 and lines[0] == first_line(run)["error"] and "no audit line" in lines[1]
