"""Where a PIN may come from. When one may be sent is decided in `policy`."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from cryptnox_core.arguments import is_pin
from hwilib_cryptnox.console.bundle import child_environment
from hwilib_cryptnox.errors import NotShownError
from hwilib_cryptnox.pin.assuan import NO_WINDOW, AssuanError, GpgAgent, ask_pinentry, confirm_pinentry
from hwilib_cryptnox.storage.settings import Settings

SERIAL_VARIABLE = "CRYPTNOX_SERIAL"
"""What CRYPTNOX_PIN_COMMAND finds in its environment: the serial number of the card, in decimal."""
COMMAND_LIMIT = 60.0
"""Seconds CRYPTNOX_PIN_COMMAND may take."""
_POLL = 0.05
_TITLE = "Cryptnox card"
_MAX_OUTPUT = 4096

NO_PIN_TEXT = "PIN needed: use --password/--stdinpass or CRYPTNOX_PIN_COMMAND"
FOREIGN_TEXT = "given password is not a card PIN"


class PinSourceError(Exception):
    """A source that was set up gives no PIN. The text names the source and the reason, never what it held."""


@dataclass(frozen=True, slots=True)
class PinRequest:
    """What a PIN is wanted for."""

    serial: int
    prompt: str = ""
    """What is about to happen, of which nothing is proved yet; shown by dialogues where the PIN is asked."""
    ask: bool = True
    """Whether a person may be asked."""


class PinSource(Protocol):
    """An automatic source: one that gives the same PIN again without a person having typed it for this command."""

    @property
    def keeps(self) -> str:
        """Where it keeps a PIN that somebody has to change there, as the person knows it; empty for nowhere."""

    @property
    def interactive(self) -> bool:
        """Whether it may ask a person."""

    def get(self, request: PinRequest) -> str | None:
        """A PIN, or None for none. Raises PinSourceError, or CanceledError."""

    def refused(self, request: PinRequest) -> None:
        """The card refused what `get` gave."""


class Dialogue(Protocol):
    """Shows a person what is about to be signed, when it is proved."""

    def confirm(self, text: str, plain: str) -> None:
        """Return when the person agreed to `text` (`plain`: the same in ASCII). CanceledError where not,
        NotShownError where it cannot be shown."""


def _checked(text: str, source: str) -> str:
    pin = text.rstrip("\r\n")
    if not is_pin(pin):
        raise PinSourceError(f"{source}: what it gives is not 4 to 9 digits")
    return pin


class _Silent:
    """Base of the sources that ask nobody and keep nothing."""

    interactive = False

    def refused(self, request: PinRequest) -> None:
        """Nothing to forget."""


@dataclass(frozen=True, slots=True)
class CommandSource(_Silent):
    """CRYPTNOX_PIN_COMMAND: a program whose output is the PIN. It is started without a shell, input or terminal, and is
    ended, with what it started, when it has not ended within the limit. What it leaves running when it ends by itself
    (an agent, say) is left alone, and not waited for. Its environment holds the card's serial number (SERIAL_VARIABLE).
    """

    command: str
    limit: float = COMMAND_LIMIT
    keeps = "CRYPTNOX_PIN_COMMAND"

    def get(self, request: PinRequest) -> str:
        name = "CRYPTNOX_PIN_COMMAND"
        try:
            # Windows' programs split their command line themselves, in a way in which backslashes are letters.
            words = self.command.strip() if sys.platform == "win32" else shlex.split(self.command)
            if not words:
                raise PinSourceError(f"{name} is empty")
            status, output = _output_of(words, self.limit, {SERIAL_VARIABLE: str(request.serial)})
        except ValueError as error:
            raise PinSourceError(f"{name}: its quoting is wrong") from error
        except OSError as error:
            raise PinSourceError(f"{name}: {error.strerror}") from error
        except subprocess.TimeoutExpired:
            raise PinSourceError(f"{name} took more than {self.limit:.0f} s") from None
        if status:
            raise PinSourceError(f"{name} ended with status {status}")
        return _checked(output.decode("utf-8", "replace"), name)


class _Program(subprocess.Popen[bytes]):
    """A program that is ended where Ctrl-C comes while it starts, too: then nobody has it yet who could end it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        try:
            super().__init__(*arguments, **options)
        except KeyboardInterrupt:
            if getattr(self, "pid", None) and self.returncode is None:
                _end(self)
            raise


def _output_of(words: list[str] | str, limit: float, environment: Mapping[str, str]) -> tuple[int, bytes]:
    """Exit status and output of a program; of too much output more than a PIN has. TimeoutExpired, OSError, ValueError.

    `words`: on Windows the command line. The program leads a session of its own (on Windows it has an unseen console of
    its own), so that whatever it started can be ended with it. What it left running may keep its output open: the
    program's end counts, not the output's, of which nothing is kept open here.
    """
    end = time.monotonic() + limit
    process = _Program(
        words,
        bufsize=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=child_environment(environment),
        start_new_session=True,
        creationflags=NO_WINDOW,
    )
    output = bytearray()
    try:
        if process.stdout is not None:
            with process.stdout as stream:
                # What a program printed is in the pipe when it has ended.
                while not (over := process.poll() is not None) and time.monotonic() < end:
                    if _more(stream, output, _POLL):
                        break
                while over and not _more(stream, output, 0):
                    pass
        status = process.wait(max(0.0, end - time.monotonic()))
    finally:
        if process.returncode is None:
            _end(process)
    return status, bytes(output)


def _more(stream: IO[bytes], output: bytearray, wait: float) -> bool:
    """Add what a program has printed, within `wait` seconds. Whether that is all of it, or more than a PIN has; with no
    time to wait also where nothing more is there."""
    if not _readable(stream.fileno(), wait):
        return not wait
    piece = stream.read(_MAX_OUTPUT)
    output += piece
    return not piece or len(output) >= _MAX_OUTPUT


def _readable(descriptor: int, wait: float) -> bool:
    """Whether reading from a pipe would not block, within `wait` seconds."""
    if sys.platform == "win32":
        import _winapi
        import msvcrt

        try:
            if _winapi.PeekNamedPipe(msvcrt.get_osfhandle(descriptor), 0)[0]:
                return True
        except BrokenPipeError:  # its end
            return True
        time.sleep(wait)
        return False
    watch = select.poll()
    watch.register(descriptor, select.POLLIN)
    return bool(watch.poll(wait * 1000))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program, and what it started."""
    if sys.platform == "win32":
        tool = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "taskkill.exe"
        with contextlib.suppress(OSError):
            subprocess.run(
                [str(tool), "/F", "/T", "/PID", str(process.pid)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=child_environment(),
                check=False,
            )
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS refuses where all have ended
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()  # one that starts leads no group yet
    process.wait()


@dataclass(frozen=True, slots=True)
class FileSource(_Silent):
    """CRYPTNOX_PIN_FILE: a file only its owner can read. Not on Windows, where its mode does not tell."""

    path: str
    keeps = "CRYPTNOX_PIN_FILE"

    def get(self, request: PinRequest) -> str:  # noqa: ARG002 - the protocol of a source
        name = "CRYPTNOX_PIN_FILE"
        try:
            if sys.platform == "win32":
                raise PinSourceError(
                    f"{name}: who else may read a file cannot be told on Windows: use CRYPTNOX_PIN_COMMAND"
                )
            # Without waiting: a named pipe nobody writes to must not hang the wallet.
            descriptor = os.open(self.path, os.O_RDONLY | _NO_WAIT)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise PinSourceError(f"{name}: not a regular file")
                if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid not in (os.geteuid(), 0):
                    raise PinSourceError(f"{name}: others may read the file or own it: chmod 600, and your own")
                text = os.read(descriptor, _MAX_OUTPUT).decode("utf-8", "replace")
            finally:
                os.close(descriptor)
        except OSError as error:
            raise PinSourceError(f"{name}: {error.strerror}") from error
        return _checked(text, name)


_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True, slots=True)
class EnvironmentSource(_Silent):
    """CRYPTNOX_PIN: readable for every process of the same user; for tests."""

    value: str = field(repr=False)
    keeps = "CRYPTNOX_PIN"

    def get(self, request: PinRequest) -> str:  # noqa: ARG002 - the protocol of a source
        return _checked(self.value, "CRYPTNOX_PIN")


@dataclass(frozen=True, slots=True)
class PinentrySource:
    """A pinentry dialogue that says what is about to happen."""

    program: str
    interactive = True
    keeps = ""

    def get(self, request: PinRequest) -> str | None:
        if not request.ask:
            return None
        try:
            return _checked(ask_pinentry(self.program, _TITLE, _description(request)), "pinentry")
        except AssuanError as error:
            raise PinSourceError(str(error)) from error

    def confirm(self, text: str, plain: str) -> None:
        with _shown():
            confirm_pinentry(self.program, _TITLE, text, plain)

    def refused(self, request: PinRequest) -> None:
        """It keeps nothing."""


@dataclass(frozen=True, slots=True)
class AgentSource:
    """gpg-agent: asks once, keeps the PIN for its own lifetime, forgets it when the card refused it."""

    interactive = True
    keeps = ""

    def get(self, request: PinRequest) -> str | None:
        try:
            pin = GpgAgent().get(_agent_key(request), _description(request), ask=request.ask)
            return None if pin is None else _checked(pin, "gpg-agent")
        except AssuanError as error:
            raise PinSourceError(str(error)) from error
        except PinSourceError:
            self.refused(request)
            raise

    def confirm(self, text: str, plain: str) -> None:
        with _shown():
            GpgAgent().confirm(text, plain)

    def refused(self, request: PinRequest) -> None:
        with contextlib.suppress(AssuanError):  # no agent any more: nothing is kept
            GpgAgent().forget(_agent_key(request))


@contextlib.contextmanager
def _shown() -> Iterator[None]:
    """Around a dialogue that has to appear: where it cannot, nothing is signed."""
    try:
        yield
    except AssuanError as error:
        raise NotShownError(f"what cannot be shown is not signed: {error}") from error


def dialogue_of(settings: Settings, source: PinSource | None) -> Dialogue | None:
    """What shows a transaction or message before it is signed: the dialogue of the configuration, or else the one that
    gave the PIN. None where nobody is asked."""
    if settings.confirm == "pinentry":
        return PinentrySource(settings.pinentry)
    return source if isinstance(source, PinentrySource | AgentSource) else None


def _agent_key(request: PinRequest) -> str:
    return f"hwi-cryptnox:{request.serial}"


def _description(request: PinRequest) -> str:
    return "\n".join(part for part in (request.prompt, f"PIN of the Cryptnox card {request.serial}") if part)


def automatic_sources(settings: Settings, environment: Mapping[str, str] | None = None) -> tuple[PinSource, ...]:
    """The sources that are set up, in the order they are asked."""
    env = os.environ if environment is None else environment
    sources: list[PinSource] = []
    if command := env.get("CRYPTNOX_PIN_COMMAND"):
        sources.append(CommandSource(command))
    if path := env.get("CRYPTNOX_PIN_FILE"):
        sources.append(FileSource(path))
    if value := env.get("CRYPTNOX_PIN"):
        sources.append(EnvironmentSource(value))
    if settings.pin_source == "pinentry":
        sources.append(PinentrySource(settings.pinentry))
    elif settings.pin_source == "gpg-agent":
        sources.append(AgentSource())
    return tuple(sources)


def outdated(settings: Settings, serial: int, pin: str) -> list[str]:
    """The sources that are set up and may still give another PIN than the card has now: `pin`. Files and variables are
    looked at; a command is not run, since it may ask somebody. What an agent keeps is forgotten."""
    request = PinRequest(serial, ask=False)
    found = []
    for source in automatic_sources(settings):
        if isinstance(source, FileSource | EnvironmentSource):
            with contextlib.suppress(PinSourceError):
                if source.get(request) == pin:
                    continue
        source.refused(request)
        if source.keeps:
            found.append(source.keeps)
    return found
