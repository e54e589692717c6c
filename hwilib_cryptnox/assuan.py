"""Dialogues of GnuPG's family: pinentry (a window or terminal form) and gpg-agent (which keeps what was typed).

Both speak the Assuan protocol in lines; the text typed never reaches a log, an argument or the environment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from types import TracebackType
from urllib.parse import unquote_to_bytes

from hwilib_cryptnox.faults import Code, WalletError

DIALOGUE_LIMIT = 300.0
"""Seconds a dialogue may stay open."""
_CANCELED = (99, 198)
"""GPG_ERR_CANCELED and GPG_ERR_FULLY_CANCELED: the low 16 bits of an error number."""
_NO_DATA = 58
_MAX_LINE = 4096


class AssuanError(Exception):
    """The other side answered ERR, or ended. `number` is the error's low 16 bits, 0 where there was none."""

    def __init__(self, message: str, number: int = 0) -> None:
        super().__init__(message)
        self.number = number


class Assuan:
    """A child process that takes Assuan commands on its standard input. A context manager; ended after `limit` s."""

    def __init__(self, arguments: list[str], *, greets: bool, limit: float = DIALOGUE_LIMIT) -> None:
        program = shutil.which(arguments[0])
        if program is None:
            raise AssuanError(f"{arguments[0]} is not installed")
        try:
            self._process = subprocess.Popen(
                [program, *arguments[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            raise AssuanError(f"{arguments[0]} cannot be started") from error
        self._timer = threading.Timer(limit, self._process.kill)
        self._timer.daemon = True
        self._timer.start()
        self._name = arguments[0]
        if greets:
            self._answer()

    def __enter__(self) -> Assuan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.terminate()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def command(self, line: str) -> bytes:
        """Send one command and return its data; AssuanError where it fails."""
        if self._process.stdin is None:
            raise AssuanError(f"{self._name} takes no commands")
        try:
            self._process.stdin.write(line.encode("utf-8") + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise AssuanError(f"{self._name} ended early") from error
        return self._answer()

    def _answer(self) -> bytes:
        data = b""
        while self._process.stdout is not None:
            line = self._process.stdout.readline(_MAX_LINE).rstrip(b"\r\n")
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
                break
        raise AssuanError(f"{self._name} ended without an answer, or did not get one in time")


def _terminal() -> list[str]:
    """Where the dialogue may appear: options both pinentry and gpg-agent understand."""
    options = []
    name = os.environ.get("GPG_TTY", "")
    if not name and sys.platform != "win32":
        with contextlib.suppress(OSError):
            name = os.ttyname(2)
    for option, value in (
        ("ttyname", name),
        ("ttytype", os.environ.get("TERM", "") if name else ""),
        ("display", os.environ.get("DISPLAY", "")),
        ("lc-ctype", os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG", "")),
    ):
        if value and value.isprintable() and " " not in value:
            options.append(f"OPTION {option}={value}")
    return options


def _quoted(text: str) -> str:
    """Percent-escaped for a pinentry command."""
    return "".join(f"%{ord(c):02X}" if c in "%\r\n" else c for c in text)


def _plus_quoted(text: str) -> str:
    """One argument of GET_PASSPHRASE: percent-escaped, blanks as plus signs, X where there is nothing."""
    escaped = "".join(f"%{ord(c):02X}" if c in "%+\r\n" else "+" if c == " " else c for c in text)
    return escaped or "X"


def _canceled(error: AssuanError) -> bool:
    return error.number in _CANCELED


def ask_pinentry(program: str, title: str, description: str, *, limit: float = DIALOGUE_LIMIT) -> str:
    """What the person typed. WalletError CANCELED when the dialogue was left, AssuanError when there can be none."""
    with Assuan([program], greets=True, limit=limit) as pinentry:
        for option in _terminal():
            with contextlib.suppress(AssuanError):  # an option this pinentry does not know changes nothing
                pinentry.command(option)
        pinentry.command(f"SETTITLE {_quoted(title)}")
        pinentry.command("SETPROMPT PIN:")
        pinentry.command(f"SETDESC {_quoted(description)}")
        try:
            return pinentry.command("GETPIN").decode("utf-8", "replace")
        except AssuanError as error:
            if _canceled(error):
                raise WalletError(Code.CANCELED, "Canceled in the PIN dialogue") from error
            raise


class GpgAgent:
    """PINs kept by gpg-agent, for as long as its own settings say."""

    def __init__(self, limit: float = DIALOGUE_LIMIT) -> None:
        self._limit = limit

    def _connect(self) -> Assuan:
        return Assuan(["gpg-connect-agent", "--quiet"], greets=False, limit=self._limit)

    def get(self, key: str, description: str, *, ask: bool) -> str | None:
        """The PIN kept under `key`; with `ask` the agent's own dialogue may appear. None when it has none.

        WalletError CANCELED when the dialogue was left, AssuanError when there is no agent.
        """
        with self._connect() as agent:
            for option in _terminal() if ask else ():
                with contextlib.suppress(AssuanError):
                    agent.command(option)
            words = ["GET_PASSPHRASE", "--data", *([] if ask else ["--no-ask"]), key, "X", "PIN:"]
            try:
                return agent.command(" ".join([*words, _plus_quoted(description)])).decode("utf-8", "replace")
            except AssuanError as error:
                if not ask and error.number == _NO_DATA:
                    return None
                if _canceled(error):
                    raise WalletError(Code.CANCELED, "Canceled in the PIN dialogue") from error
                raise

    def forget(self, key: str) -> None:
        """Drop what is kept under `key`."""
        with self._connect() as agent:
            agent.command(f"CLEAR_PASSPHRASE --mode=normal {key}")
