"""Questions to the person, asked and answered on the controlling terminal, so that stdin and stdout stay free.

Secrets are typed hidden. Without a terminal every question is a CtlError that says so; a question nobody answers
(end of file) is a CanceledError.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from cryptnox_core.wire import PUK_LENGTH
from hwilib_cryptnox.ctl.errors import CanceledError, CtlError, Exit
from hwilib_cryptnox.pin import is_pin

ATTEMPTS = 3
"""How often a badly formed answer is asked for again. Nothing of it reaches the card."""
_OTHER_SCREEN, _FIRST_SCREEN = "\x1b[?1049h\x1b[H", "\x1b[?1049l"


class Terminal:
    """The controlling terminal, opened at the first question."""

    def __init__(self) -> None:
        self._streams: tuple[IO[str], IO[str]] | None = None

    @property
    def available(self) -> bool:
        """Whether there is somebody to ask."""
        if self._streams is None:
            with contextlib.suppress(OSError):
                self._streams = _open_terminal()
        return self._streams is not None

    @property
    def stream(self) -> IO[str]:
        """What is written to it is on the terminal, wherever stdout and stderr go. CtlError without one."""
        return self._need("something is to be shown")[1]

    def _need(self, what: str) -> tuple[IO[str], IO[str]]:
        if not self.available or self._streams is None:
            raise CtlError(
                Exit.USAGE,
                f"There is no terminal to ask on: {what}",
                "run this command in a terminal, or see its --help",
            )
        return self._streams

    def say(self, text: str = "") -> None:
        """One line to the person."""
        self._write(text + "\n", text)

    def _write(self, text: str, what: str) -> None:
        _, out = self._need(what)
        out.write(text)
        out.flush()

    def ask(self, question: str, default: str = "") -> str:
        """A visible answer, without blanks around it; `default` for an empty one."""
        suffix = f" [{default}]" if default else ""
        return self._read(f"{question}{suffix}: ").strip() or default

    def fresh(self) -> None:
        """Forget what was typed before the next question is on the screen: a pasted line, or a second Enter, must not
        answer a question that nobody has read."""
        source, _ = self._need("a question")
        if sys.platform != "win32":
            import termios

            with contextlib.suppress(termios.error):
                termios.tcflush(source.fileno(), termios.TCIFLUSH)

    def choose(self, question: str, choices: dict[str, str]) -> str:
        """One of the keys of `choices`, which are shown with their explanations."""
        self._need(question)
        for key, text in choices.items():
            self.say(f"  {key}  {text}")
        for _ in range(ATTEMPTS):
            answer = self.ask(f"{question} ({'/'.join(choices)})").lower()
            if answer in choices:
                return answer
        raise CanceledError

    def agrees(self, question: str) -> bool:
        """Yes or no; no where only Enter is pressed."""
        return self._read(f"{question} [y/N] ").strip().lower() in ("y", "yes")

    def confirm(self, question: str) -> None:
        """Yes, or CanceledError."""
        if not self.agrees(question):
            raise CanceledError

    def typed(self, question: str, expected: str) -> None:
        """The person types `expected`, or CanceledError."""
        if self._read(f"{question}\nType {expected} to go on: ").strip() != expected:
            raise CanceledError

    def pause(self, text: str) -> None:
        """Wait for Enter."""
        self._read(f"{text} [Enter] ")

    def hidden(self, question: str) -> str:
        """A line that is not echoed."""
        source, _ = self._need(question)
        with _no_echo(source):
            self._write(f"{question}: ", question)
            line = source.readline()
            self._write("\n", question)
        if not line:
            raise CanceledError
        return line.rstrip("\r\n")

    def _read(self, prompt: str) -> str:
        source, _ = self._need(prompt.strip())
        self._write(prompt, prompt)
        line = source.readline()
        if not line:
            raise CanceledError
        return line

    # Secrets

    def pin(self, question: str = "PIN") -> str:
        """4 to 9 digits."""
        return self._formed(question, is_pin, "a PIN has 4 to 9 digits")

    def new_pin(self) -> str:
        """A new PIN, typed twice."""
        return self._twice("New PIN (4 to 9 digits)", is_pin, "a PIN has 4 to 9 digits")

    def puk(self, question: str = "PUK") -> str:
        """12 ASCII characters."""
        return self._formed(question, _is_puk, f"a PUK has {PUK_LENGTH} characters without accents")

    def new_puk(self) -> str:
        """A new PUK, typed twice."""
        return self._twice(f"New PUK ({PUK_LENGTH} characters)", _is_puk, f"a PUK has {PUK_LENGTH} characters")

    def _formed(self, question: str, good: Callable[[str], bool], rule: str) -> str:
        for _ in range(ATTEMPTS):
            text = self.hidden(question)
            if good(text):
                return text
            self.say(f"{rule}; nothing was sent to the card")
        raise CanceledError

    def _twice(self, question: str, good: Callable[[str], bool], rule: str) -> str:
        for _ in range(ATTEMPTS):
            text = self._formed(question, good, rule)
            if self.hidden("The same again") == text:
                return text
            self.say("the two differ")
        raise CanceledError

    def show_secret(self, lines: list[str]) -> None:
        """Lines that are gone from the window, and from its scrollback, after Enter."""
        what = "a secret is to be shown"
        self._write("\n".join([_OTHER_SCREEN, *lines, "", ""]), what)
        try:
            self._read("Written down? [Enter] ")
        finally:
            self._write(_FIRST_SCREEN, what)


def _is_puk(text: str) -> bool:
    return len(text) == PUK_LENGTH and text.isascii() and text.isprintable()


def _open_terminal() -> tuple[IO[str], IO[str]]:
    names = ("CONIN$", "CONOUT$") if sys.platform == "win32" else ("/dev/tty", "/dev/tty")
    return Path(names[0]).open(encoding="utf-8"), Path(names[1]).open("w", encoding="utf-8")


@contextlib.contextmanager
def _no_echo(file: IO[str]) -> Iterator[None]:
    """Echo off, and back whatever happens. What was typed ahead is dropped: it was not meant for a secret."""
    if sys.platform == "win32":
        raise CtlError(Exit.USAGE, "Hidden input is not available in this terminal", "give secrets by --stdinpass")
    import termios

    descriptor = file.fileno()
    before = termios.tcgetattr(descriptor)
    silent = termios.tcgetattr(descriptor)
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSAFLUSH, silent)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
