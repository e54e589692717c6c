"""Dialogues of GnuPG's family: pinentry (a window or terminal form) and gpg-agent (which keeps what was typed).

Both speak the Assuan protocol in lines; the text typed never reaches a log, an argument or the environment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import unquote_to_bytes

from hwilib_cryptnox.console.bundle import child_environment
from hwilib_cryptnox.errors import CanceledError

DIALOGUE_LIMIT = 300.0
"""Seconds a dialogue may stay open."""
DESCRIPTION_LIMIT = 980
"""Bytes of a dialogue's text, escapes included: an Assuan line has 1,000, GET_CONFIRMATION among them."""
DESCRIPTION_LINES, DESCRIPTION_COLUMNS = 18, 76
"""What is seen of it: on 80 columns by 24 lines pinentry-curses shows 76 by 20, and nothing of a longer text."""
_CANCELED = (62, 99, 114, 198)
"""GPG_ERR_TIMEOUT, CANCELED, NOT_CONFIRMED and FULLY_CANCELED: the low 16 bits of an error number."""
_NO_DATA, _LOCALE, _TOO_SMALL = 58, 166, 301
_MAX_LINE = 4096
_START_LIMIT = 15.0
_PORT_DIGITS, _NONCE = 5, 16
_MACOS_PLACES = (
    "/opt/homebrew/bin",
    "/usr/local/bin",
    "/usr/local/MacGPG2/bin",
    "/usr/local/MacGPG2/libexec/pinentry-mac.app/Contents/MacOS",
    "/opt/local/bin",
)
"""Where Homebrew, GPG Suite and MacPorts put GnuPG: programs started from a window do not have them in PATH."""
NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""For Windows, where a program in a window would open another one for each it starts."""


class AssuanError(Exception):
    """The other side answered ERR, or ended. `number` is the error's low 16 bits, 0 where there was none."""

    def __init__(self, message: str, number: int = 0) -> None:
        super().__init__(message)
        self.number = number


class Assuan:
    """An Assuan conversation over a pair of byte streams. A context manager. The other side greets first."""

    def __init__(self, name: str, source: IO[bytes], sink: IO[bytes], end: Callable[[], None]) -> None:
        self._name = name
        self._source = source
        self._sink = sink
        self._end = end

    @classmethod
    def program(cls, name: str, limit: float) -> Assuan:
        """A conversation with a child process, which is ended after `limit` seconds."""
        program = _installed(name)
        try:
            process = subprocess.Popen(
                [program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                creationflags=NO_WINDOW,
                env=child_environment(),
            )
        except OSError as error:
            raise AssuanError(f"{name} cannot be started") from error
        if process.stdin is None or process.stdout is None:
            raise AssuanError(f"{name} takes no commands")
        timer = threading.Timer(limit, process.kill)
        timer.daemon = True
        timer.start()

        def end() -> None:
            timer.cancel()
            process.terminate()
            try:
                process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

        return cls(name, process.stdout, process.stdin, end)

    @classmethod
    def socket(cls, name: str, path: str, limit: float) -> Assuan:
        """A conversation over a Unix socket, or what stands for one on Windows; each answer has `limit` seconds."""
        try:
            connection = _connected(path, limit)
        except OSError as error:
            raise AssuanError(f"{name} does not answer") from error
        return cls(name, connection.makefile("rb"), connection.makefile("wb"), connection.close)

    def __enter__(self) -> Assuan:
        try:
            self._answer()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the conversation."""
        for stream in (self._sink, self._source):
            with contextlib.suppress(OSError):
                stream.close()
        self._end()

    def command(self, line: str) -> bytes:
        """Send one command and return its data; AssuanError where it fails."""
        try:
            self._sink.write(line.encode("utf-8") + b"\n")
            self._sink.flush()
        except OSError as error:
            raise AssuanError(f"{self._name} ended early") from error
        return self._answer()

    def _answer(self) -> bytes:
        data = b""
        while True:
            try:
                line = self._source.readline(_MAX_LINE).rstrip(b"\r\n")
            except OSError as error:
                raise AssuanError(f"{self._name} did not answer in time") from error
            word, _, rest = line.partition(b" ")
            if word == b"OK":
                return data
            if word == b"D":
                data += unquote_to_bytes(rest)
            elif word == b"ERR":
                number, _, text = rest.partition(b" ")
                code = int(number) & 0xFFFF if number.isdigit() else 0
                raise AssuanError(f"{self._name}: {text.decode('utf-8', 'replace')}", code)
            elif not line:
                raise AssuanError(f"{self._name} ended without an answer, or did not get one in time")


def _connected(path: str, limit: float) -> socket.socket:
    """A connection to one of GnuPG's sockets. OSError.

    On Windows it is a file: a port of this machine, a line end, and 16 bytes to send there first, which show that the
    file was read (libassuan's assuan-socket.c).
    """
    if sys.platform == "win32":
        port, _, nonce = Path(path).read_bytes().partition(b"\n")
        if not port.isdigit() or len(port) > _PORT_DIGITS or len(nonce) != _NONCE:
            raise OSError("no socket of GnuPG's")
        connection = socket.create_connection(("127.0.0.1", int(port)), limit)
    else:
        connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(limit)
        if sys.platform == "win32":
            connection.sendall(nonce)
        else:
            connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _terminal_name() -> str:
    name = os.environ.get("GPG_TTY", "")
    if not name and sys.platform != "win32":
        with contextlib.suppress(OSError):
            name = os.ttyname(2)
    return name


def _drop_typed_ahead() -> None:
    """Forget what was typed before a question is on the screen: a second Enter behind a PIN must not agree to it."""
    name = _terminal_name()
    if not name or sys.platform == "win32":
        return
    import termios

    with contextlib.suppress(OSError, termios.error):  # no terminal, or somebody else's
        descriptor = os.open(name, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            termios.tcflush(descriptor, termios.TCIFLUSH)
        finally:
            os.close(descriptor)


def _place(assuan: Assuan) -> None:
    """Tell where the dialogue may appear, in options that both pinentry and gpg-agent understand."""
    name = _terminal_name()
    for option, value in (
        ("ttyname", name),
        ("ttytype", os.environ.get("TERM", "") if name else ""),
        ("display", os.environ.get("DISPLAY", "")),
        ("lc-ctype", os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG", "")),
    ):
        if value and value.isprintable() and " " not in value:
            with contextlib.suppress(AssuanError):  # one that the other side does not know changes nothing
                assuan.command(f"OPTION {option}={value}")


def _quoted(text: str) -> str:
    """Percent-escaped for a pinentry command."""
    return "".join(f"%{ord(c):02X}" if c in "%\r\n" else c for c in text)


def _plus_quoted(text: str) -> str:
    """One argument of GET_PASSPHRASE: percent-escaped, blanks as plus signs, X where there is nothing."""
    escaped = "".join(f"%{ord(c):02X}" if c in "%+\r\n" else "+" if c == " " else c for c in text)
    return escaped or "X"


def fits(text: str) -> bool:
    """Whether a dialogue shows all of a text."""
    if len(_plus_quoted(text).encode("utf-8")) > DESCRIPTION_LIMIT:
        return False
    import textwrap

    lines = [len(textwrap.wrap(line, DESCRIPTION_COLUMNS)) or 1 for line in text.split("\n")]
    return sum(lines) <= DESCRIPTION_LINES


@contextlib.contextmanager
def _pinentry(program: str, title: str, limit: float) -> Iterator[Assuan]:
    with Assuan.program(program, limit) as pinentry:
        _place(pinentry)
        pinentry.command(f"SETTITLE {_quoted(title)}")
        yield pinentry


def ask_pinentry(program: str, title: str, description: str, *, limit: float = DIALOGUE_LIMIT) -> str:
    """What the person typed. CanceledError when the dialogue was left, AssuanError when there can be none."""
    with _pinentry(program, title, limit) as pinentry:
        pinentry.command("SETPROMPT PIN:")
        pinentry.command(f"SETDESC {_quoted(description)}")
        try:
            return pinentry.command("GETPIN").decode("utf-8", "replace")
        except AssuanError as error:
            if error.number in _CANCELED:
                raise CanceledError("Canceled in the PIN dialog") from error
            raise


def confirm_pinentry(program: str, title: str, text: str, plain: str, *, limit: float = DIALOGUE_LIMIT) -> None:
    """Show `text` (or `plain`, its form in ASCII, where the terminal cannot) and return when the person agreed.

    Both have to fit (`fits`). CanceledError when the person did not agree, AssuanError when there can be no
    dialogue.
    """
    with _pinentry(program, title, limit) as pinentry:
        pinentry.command("SETOK Sign")
        pinentry.command("SETCANCEL Cancel")

        def show(description: str) -> None:
            pinentry.command(f"SETDESC {_quoted(description)}")
            _drop_typed_ahead()
            pinentry.command("CONFIRM")

        _agreed(show, text, plain)


def _agreed(show: Callable[[str], None], text: str, plain: str) -> None:
    try:
        try:
            show(text)
        except AssuanError as error:
            if error.number != _LOCALE or plain == text:
                raise
            show(plain)
    except AssuanError as error:
        if error.number in _CANCELED:
            raise CanceledError("Canceled in the dialog; nothing was signed") from error
        if error.number == _TOO_SMALL:
            raise AssuanError(f"{error}: make the terminal 80 columns by 24 lines, or larger", error.number) from error
        raise


class GpgAgent:
    """PINs kept by gpg-agent, for as long as its own settings say."""

    def __init__(self, limit: float = DIALOGUE_LIMIT) -> None:
        self._limit = limit

    def _connect(self) -> Assuan:
        """Starts the agent where it does not run."""
        _run("gpg-connect-agent", "/bye")
        return Assuan.socket("gpg-agent", _run("gpgconf", "--list-dirs", "agent-socket"), self._limit)

    def get(self, key: str, description: str, *, ask: bool) -> str | None:
        """The PIN kept under `key`; with `ask` the agent's own dialogue may appear. None when it has none.

        CanceledError when the dialogue was left, AssuanError when there is no agent.
        """
        with self._connect() as agent:
            if ask:
                _place(agent)
            words = ["GET_PASSPHRASE", "--data", *([] if ask else ["--no-ask"]), key, "X", "PIN:"]
            try:
                return agent.command(" ".join([*words, _plus_quoted(description)])).decode("utf-8", "replace")
            except AssuanError as error:
                if not ask and error.number == _NO_DATA:
                    return None
                if error.number in _CANCELED:
                    raise CanceledError("Canceled in the PIN dialog") from error
                raise

    def confirm(self, text: str, plain: str) -> None:
        """As `confirm_pinentry`, in the agent's own dialogue."""
        with self._connect() as agent:
            _place(agent)

            def show(description: str) -> None:
                _drop_typed_ahead()
                agent.command(f"GET_CONFIRMATION {_plus_quoted(description)}")

            _agreed(show, text, plain)

    def forget(self, key: str) -> None:
        """Drop what is kept under `key`."""
        with self._connect() as agent:
            agent.command(f"CLEAR_PASSPHRASE --mode=normal {key}")


def _installed(name: str) -> str:
    program = shutil.which(name)
    if program is None and sys.platform == "darwin":
        program = shutil.which(name, path=os.pathsep.join(_MACOS_PLACES))
    if program is None:
        raise AssuanError(f"{name} is not installed")
    return program


def _run(name: str, *arguments: str) -> str:
    """What one of GnuPG's programs prints."""
    program = _installed(name)
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
            timeout=_START_LIMIT,
            check=False,
            creationflags=NO_WINDOW,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssuanError(f"{name} does not work") from error
    if done.returncode:
        raise AssuanError(f"{name} ended with status {done.returncode}")
    return done.stdout.decode("utf-8", "replace").strip()
