"""Where PINs come from: command, file, environment, pinentry and gpg-agent (the real one, with a scripted pinentry)."""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from cryptnox_core.arguments import is_pin
from hwilib_cryptnox.errors import WalletError
from hwilib_cryptnox.hwi.errors import Code, to_hwi_error
from hwilib_cryptnox.pin.assuan import AssuanError, GpgAgent, ask_pinentry
from hwilib_cryptnox.pin.sources import (
    AgentSource,
    CommandSource,
    EnvironmentSource,
    FileSource,
    PinentrySource,
    PinRequest,
    PinSourceError,
    _end,
    automatic_sources,
)
from hwilib_cryptnox.storage.settings import Settings
from tests.hwi.conftest import SEED, Program
from tests.psbt.factory import ME
from tests.support.emulator import PIN, EmulatorProcess, trust

REQUEST = PinRequest(7)
PINENTRY = f"""#!{sys.executable}
import sys, os
log = open(os.environ["PINENTRY_LOG"], "a")
def say(text):
    sys.stdout.write(text + "\\n"); sys.stdout.flush()
say("OK ready")
for line in sys.stdin:
    line = line.rstrip("\\n")
    log.write(line + "\\n"); log.flush()
    word = line.split(" ")[0].upper()
    if word == "GETPIN":
        answer = open(os.environ["PINENTRY_ANSWER"]).read()
        if answer.startswith("ERR"):
            say(answer)
        else:
            say("D " + answer)
            say("OK")
    elif word == "OPTION" and os.environ.get("PINENTRY_STRICT"):
        say("ERR 83886254 Unknown option")
    elif word == "BYE":
        say("OK closing")
        break
    else:
        say("OK")
"""


class Pinentry:
    """A pinentry that answers what the test wants and remembers what it was told."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "pinentry-scripted"
        self.program.write_text(PINENTRY)
        self.program.chmod(0o755)
        self._log, self._answer = folder / "log", folder / "answer"
        self._log.write_text("")
        self.answer(PIN)
        self.environment = {"PINENTRY_LOG": str(self._log), "PINENTRY_ANSWER": str(self._answer)}

    def answer(self, text: str) -> None:
        self._answer.write_text(text)

    @property
    def log(self) -> list[str]:
        return self._log.read_text().splitlines()

    @property
    def asked(self) -> int:
        return self.log.count("GETPIN")

    @property
    def description(self) -> str:
        return unquote([line for line in self.log if line.startswith("SETDESC")][-1].removeprefix("SETDESC "))


@pytest.fixture
def pinentry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pinentry:
    made = Pinentry(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.mark.parametrize("text", ["0000", "123456789", "000000"])
def test_what_a_pin_is(text: str) -> None:
    assert is_pin(text)


@pytest.mark.parametrize("text", [None, "", "000", "1234567890", "12a4", "12 34", "\uff11" * 4, "1234\n", "-123"])
def test_what_a_pin_is_not(text: str | None) -> None:
    assert not is_pin(text)


def test_order() -> None:
    env = {"CRYPTNOX_PIN": "1234", "CRYPTNOX_PIN_FILE": "f", "CRYPTNOX_PIN_COMMAND": "c"}
    kinds = [type(source) for source in automatic_sources(Settings(pin_source="pinentry"), env)]
    assert kinds == [CommandSource, FileSource, EnvironmentSource, PinentrySource]
    assert [type(source) for source in automatic_sources(Settings(pin_source="gpg-agent"), {})] == [AgentSource]
    assert automatic_sources(Settings(), {}) == ()


def test_secrets_are_not_shown() -> None:
    assert "1234" not in repr(EnvironmentSource("1234"))
    with pytest.raises(PinSourceError) as caught:
        EnvironmentSource("12x4").get(REQUEST)
    assert "12x4" not in str(caught.value)


def test_command(tmp_path: Path) -> None:
    script = tmp_path / "with blank"
    script.write_text('#!/bin/sh\necho "$1$2"\ncat\necho noise >&2\n')
    script.chmod(0o755)
    assert CommandSource(f"'{script}' 12 34").get(REQUEST) == "1234"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("false", "status 1"),
        ("echo no pin", "not 4 to 9 digits"),
        ("/nonexistent/program", "No such file"),
        ("echo '1234", "quoting"),
        ("  ", "is empty"),
        ("echo 1234; echo", "not 4 to 9 digits"),
        ("echo $((1000+234))", "not 4 to 9 digits"),
    ],
)
def test_command_failures(command: str, reason: str) -> None:
    """The last two would give a PIN in a shell: there is none."""
    with pytest.raises(PinSourceError, match=reason):
        CommandSource(command).get(REQUEST)


def test_command_time_limit() -> None:
    with pytest.raises(PinSourceError, match="took more than"):
        CommandSource("sleep 20", limit=0.2).get(REQUEST)


def ended(pid: int) -> bool:
    """Whether a process is gone; one that nobody has reaped yet is."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    assert true()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to look for processes in")
@pytest.mark.parametrize("ignoring", ["", "trap '' TERM HUP INT; "])
def test_a_command_takes_along_what_it_started(tmp_path: Path, ignoring: str) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\n{ignoring}sleep 300 &\necho $$ $! >'{tmp_path}/new'; mv '{tmp_path}/new' "
                      f"'{tmp_path}/pids'\nwait\n")  # fmt: skip
    script.chmod(0o755)
    with pytest.raises(PinSourceError, match="took more than"):
        CommandSource(str(script), limit=1).get(REQUEST)
    for pid in (tmp_path / "pids").read_text().split():
        wait_until(lambda pid=pid: ended(int(pid)))
    with pytest.raises(ChildProcessError):
        os.waitpid(int((tmp_path / "pids").read_text().split()[0]), 0)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to look for processes in")
@pytest.mark.parametrize(("status", "text"), [(0, ""), (3, "status 3")])
def test_a_command_may_leave_something_running(tmp_path: Path, status: int, text: str) -> None:
    """An agent it starts keeps its output open: nobody waits for that, and the agent lives on."""
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\nsleep 300 &\necho $! >'{tmp_path}/pid'\necho 123456\nexit {status}\n")
    script.chmod(0o755)
    source = CommandSource(str(script), limit=30)
    try:
        started = time.monotonic()
        if status:
            with pytest.raises(PinSourceError, match=text):
                source.get(REQUEST)
        else:
            assert source.get(REQUEST) == "123456"
        assert time.monotonic() - started < 10
        assert not ended(int((tmp_path / "pid").read_text()))
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc to count descriptors in")
def test_what_a_command_leaves_running_costs_nothing(tmp_path: Path) -> None:
    """A program that asks for PINs all day: no descriptor and no thread is left of any of them."""
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\nsleep 300 &\necho $! >>'{tmp_path}/pids'\necho 123456\n")
    script.chmod(0o755)
    before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    try:
        for _ in range(5):
            assert CommandSource(str(script), limit=30).get(REQUEST) == "123456"
        assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before
    finally:
        for pid in (tmp_path / "pids").read_text().split():
            os.kill(int(pid), signal.SIGKILL)


def test_a_command_that_closes_its_output_first(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho 123456\nexec >&-\nsleep 0.3\nexit 4\n")
    script.chmod(0o755)
    with pytest.raises(PinSourceError, match="status 4"):
        CommandSource(str(script), limit=30).get(REQUEST)


def test_a_command_is_told_which_card(tmp_path: Path) -> None:
    """Two cards have two PINs: the command finds the serial number in its environment."""
    script = tmp_path / "script"
    script.write_text('#!/bin/sh\n[ "$CRYPTNOX_SERIAL" = 18446744073709551615 ] && echo 111111 || echo 222222\n')
    script.chmod(0o755)
    assert CommandSource(str(script)).get(PinRequest(2**64 - 1)) == "111111"
    assert CommandSource(str(script)).get(PinRequest(2**60)) == "222222"


def test_an_interrupt_ends_the_command_too(tmp_path: Path) -> None:
    """Ctrl-C reaches only this process: the command has a session of its own."""
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho $$ >'{tmp_path}/new'; mv '{tmp_path}/new' '{tmp_path}/pid'\nsleep 300\n")
    script.chmod(0o755)
    code = f"from hwilib_cryptnox.pin.sources import *; CommandSource({str(script)!r}).get(PinRequest(7))"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        wait_until((tmp_path / "pid").exists)
        process.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in process.communicate(timeout=30)[1]
    wait_until(lambda: ended(int((tmp_path / "pid").read_text())))


def test_an_interrupt_while_the_command_starts_ends_it_too(tmp_path: Path) -> None:
    """At each line that Python runs between the new process and its first instruction in our hands."""
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nexec sleep 300\n")
    script.chmod(0o755)
    code = f"""
import sys
from hwilib_cryptnox.pin.sources import *
started, left = [], int(sys.argv[1])
def line(frame, event, argument):
    global left
    pid = getattr(frame.f_locals.get("self"), "pid", None)
    if event == "line" and pid:
        started[:] = [pid]
        if not left:
            sys.settrace(None)
            raise KeyboardInterrupt
        left -= 1
    return line
def call(frame, event, argument):
    return line if frame.f_code.co_name in ("_execute_child", "__init__") else None
sys.settrace(call)
try:
    CommandSource({str(script)!r}, limit=0.1).get(PinRequest(7))
except KeyboardInterrupt:
    print(started[0])
except Exception:
    pass
"""
    places = 0
    while output := subprocess.run(
        [sys.executable, "-c", code, str(places)], stdout=subprocess.PIPE, timeout=60, check=True
    ).stdout:
        places += 1
        assert ended(int(output))
    assert places >= 3


def test_a_command_is_given_nothing(tmp_path: Path) -> None:
    """No input, no terminal, nothing of its stderr shown."""
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n[ -z \"$(cat)\" ] || exit 2\n(: </dev/tty) 2>/dev/null && exit 3\n"
                      "echo noise >&2\necho 1234\n")  # fmt: skip
    script.chmod(0o755)
    code = f"from hwilib_cryptnox.pin.sources import *; print(CommandSource({str(script)!r}).get(PinRequest(7)))"
    main, side = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: (os.setsid(), fcntl.ioctl(side, termios.TIOCSCTTY, 0))[0],
        ) as process:
            assert process.communicate(b"9999\n", timeout=30) == (b"1234\n", b"")
    finally:
        os.close(main)
        os.close(side)


def test_a_command_that_never_stops_talking() -> None:
    """It loses its output as soon as it has said more than a PIN; nothing is gathered until the limit."""
    started = time.monotonic()
    with pytest.raises(PinSourceError, match="ended with status -13"):
        CommandSource("yes 1234", limit=20).get(REQUEST)
    assert time.monotonic() - started < 10


def test_a_command_on_windows_is_ended_by_taskkill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own, by its whole path."""
    tool = tmp_path / "System32" / "taskkill.exe"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\necho "$@" >\'{tmp_path}/words\'\nkill -9 "$4"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("SYSTEMROOT", str(tmp_path))
    process = subprocess.Popen(["sleep", "300"])
    monkeypatch.setattr(sys, "platform", "win32")
    _end(process)
    assert (tmp_path / "words").read_text() == f"/F /T /PID {process.pid}\n" and process.returncode == -9


def test_file(tmp_path: Path) -> None:
    file = tmp_path / "pin"
    file.write_text("4321\r\n")
    file.chmod(0o600)
    assert FileSource(str(file)).get(REQUEST) == "4321"
    file.chmod(0o400)
    assert FileSource(str(file)).get(REQUEST) == "4321"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_file_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "pin"
    file.write_text("4321")
    file.chmod(mode)
    with pytest.raises(PinSourceError, match="chmod 600"):
        FileSource(str(file)).get(REQUEST)


def test_files_that_are_none(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path, reason in (
        (pipe, "not a regular file"),
        (tmp_path, "not a regular file"),
        (tmp_path / "none", "No such"),
    ):
        with pytest.raises(PinSourceError, match=reason):
            FileSource(str(path)).get(REQUEST)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pin"
    file.write_text("4321")
    file.chmod(0o600)
    os.chown(file, 12345, -1)
    with pytest.raises(PinSourceError, match="your own"):
        FileSource(str(file)).get(REQUEST)


# pinentry


def test_pinentry(pinentry: Pinentry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINENTRY_STRICT", "1")
    monkeypatch.setenv("DISPLAY", ":77")
    request = PinRequest(7, "Sign 100% of it\nnow")
    assert PinentrySource(str(pinentry.program)).get(request) == PIN
    assert "OPTION display=:77" in pinentry.log, "options it does not know do no harm"
    assert pinentry.description == "Sign 100% of it\nnow\nPIN of the Cryptnox card 7"
    assert PinentrySource(str(pinentry.program)).get(PinRequest(7, ask=False)) is None
    assert pinentry.asked == 1


def test_pinentry_left(pinentry: Pinentry) -> None:
    pinentry.answer("ERR 83886179 Operation cancelled <Pinentry>")
    with pytest.raises(WalletError) as caught:
        PinentrySource(str(pinentry.program)).get(REQUEST)
    assert to_hwi_error(caught.value).code is Code.CANCELED


def test_pinentry_failures(pinentry: Pinentry) -> None:
    pinentry.answer("ERR 83918950 Inappropriate ioctl for device <Pinentry>")
    with pytest.raises(PinSourceError, match="ioctl"):
        PinentrySource(str(pinentry.program)).get(REQUEST)
    for program in ("/nonexistent/pinentry", "true"):
        with pytest.raises(PinSourceError):
            PinentrySource(program).get(REQUEST)
    with pytest.raises(AssuanError, match="in time"):
        ask_pinentry("cat", "title", "text", limit=0.3)


# gpg-agent


@pytest.fixture
def agent(pinentry: Pinentry, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A gpg-agent of this test's own. Its socket's path must be short."""
    if shutil.which("gpg-agent") is None or shutil.which("gpg-connect-agent") is None:
        pytest.skip("gpg-agent is not installed")
    home = Path(tempfile.mkdtemp(prefix="gnupg-"))
    (home / "gpg-agent.conf").write_text(f"pinentry-program {pinentry.program}\n")
    monkeypatch.setenv("GNUPGHOME", str(home))
    yield
    subprocess.run(["gpg-connect-agent", "--no-autostart", "killagent", "/bye"], capture_output=True, timeout=20)
    shutil.rmtree(home, ignore_errors=True)


def test_gpg_agent(agent: None, pinentry: Pinentry) -> None:
    """Asked once, kept, forgotten when it was refused; silent when it may not ask."""
    source = AgentSource()
    assert source.get(PinRequest(7, ask=False)) is None
    assert source.get(PinRequest(7, "100% +1 for\nyou")) == PIN
    assert pinentry.description.startswith("100% +1 for\nyou")
    assert source.get(PinRequest(7)) == PIN and source.get(PinRequest(7, ask=False)) == PIN
    assert pinentry.asked == 1
    assert source.get(PinRequest(8, ask=False)) is None, "each card has its own"
    source.refused(PinRequest(7))
    assert source.get(PinRequest(7, ask=False)) is None
    pinentry.answer("no pin")
    with pytest.raises(PinSourceError, match="digits"):
        source.get(PinRequest(7))
    assert source.get(PinRequest(7, ask=False)) is None, "what is no PIN is not kept"
    pinentry.answer("ERR 83886179 Operation cancelled <Pinentry>")
    with pytest.raises(WalletError) as caught:
        source.get(PinRequest(7))
    assert to_hwi_error(caught.value).code is Code.CANCELED


def test_gpg_agent_with_a_card(agent: None, hwi: Program, pinentry: Pinentry) -> None:
    with EmulatorProcess("--seed", SEED, "--xpub-export") as card:
        trust(card.path)
        env = {"CRYPTNOX_PIN_SOURCE": "gpg-agent", "CRYPTNOX_EMULATOR": f"{card.host}:{card.port}"}
        (entry,) = hwi("--emulators", "enumerate", env=env)
        assert entry["code"] == -12 and entry["needs_passphrase_sent"] is True and pinentry.asked == 0
        for _ in range(2):
            assert "xpub" in hwi.on(card, "getmasterxpub", pin=None, env=env)
        (entry,) = hwi("--emulators", "enumerate", env=env)
        assert entry["fingerprint"] == ME.fingerprint.hex() and pinentry.asked == 1
        GpgAgent().forget(f"hwi-cryptnox:{card.serial}")
        pinentry.answer("1111")
        assert hwi.on(card, "getmasterxpub", pin=None, env=env)["code"] == -7
        assert GpgAgent().get(f"hwi-cryptnox:{card.serial}", "", ask=False) is None
        assert card.stats()["pin_tries"] == 1


def test_no_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PinSourceError, match="not installed"):
        AgentSource().get(REQUEST)
    AgentSource().refused(REQUEST)
