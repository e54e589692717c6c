"""Questions to the person, asked and answered on the controlling terminal, so that stdin and stdout stay free.

Secrets are typed hidden, in UTF-8. Without a terminal every question is a NoTerminalError; a question nobody answers
(end of file) is a LeftError.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import string
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from cryptnox_core.arguments import is_pin
from cryptnox_core.wire import PUK_LENGTH
from hwilib_cryptnox.console.layout import lines_of
from hwilib_cryptnox.console.weak import weakness_of_pin, weakness_of_puk
from hwilib_cryptnox.errors import BackError, LeftError, NoHiddenInputError, NoTerminalError

ATTEMPTS = 3
"""How often in a row an answer that cannot be taken is asked for again, before a way out is offered."""
AGAIN, BACK, LEAVE = "again", "back", "leave"
"""What can be chosen then."""
_OTHER_SCREEN, _FIRST_SCREEN = "\x1b[?1049h\x1b[H", "\x1b[?1049l"
_USUAL_SIZE = (80, 24)
"""Of a terminal that does not tell."""
_LEFT_OVER_WAIT = 2
"""Tenths of a second that the rest of what was pasted may take."""
_MOST_LEFT_OVER = 65536


class Terminal:
    """The controlling terminal, opened at the first question."""

    def __init__(self) -> None:
        self._streams: tuple[IO[str], IO[str]] | None = None
        self._way_back = False

    @property
    def available(self) -> bool:
        """Whether there is somebody to ask."""
        if self._streams is None:
            with contextlib.suppress(OSError):
                self._streams = _open_terminal()
        return self._streams is not None

    @property
    def stream(self) -> IO[str]:
        """What is written to it is on the terminal, wherever stdout and stderr go. NoTerminalError without one."""
        return self._need("something must be shown")[1]

    def _need(self, what: str) -> tuple[IO[str], IO[str]]:
        if not self.available or self._streams is None:
            raise NoTerminalError(what)
        return self._streams

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows; 80 and 24 where the terminal does not tell."""
        _, out = self._need("its size is needed")
        with contextlib.suppress(OSError, ValueError):  # ValueError: Windows, where only 0 to 2 are looked at
            columns, rows = os.get_terminal_size(out.fileno())
            if columns and rows:
                return columns, rows
        return _USUAL_SIZE

    def say(self, text: str = "") -> None:
        """A line to the person; a long one is broken at blanks."""
        self._need(text)
        self._write("\n".join(lines_of(text, self.size[0])) + "\n", text)

    def explain(self, text: str, later: str = "") -> None:
        """A paragraph, in lines that break at blanks; `later` stands before all but the first."""
        self._need(text)
        self._write("\n".join(lines_of(text, self.size[0], later)) + "\n", text)

    def _fitted(self, prompt: str) -> str:
        return _fitted(prompt, self.size[0])

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
        if sys.platform == "win32":
            _drop_typed(source)
        else:
            import termios

            with contextlib.suppress(termios.error):
                _drop_typed(source)

    @contextlib.contextmanager
    def a_way_back(self, there: bool = True) -> Iterator[None]:
        """In here, who goes back raises a BackError, and the caller asks what was asked before. With `there` False (the
        first question) there is no way back."""
        before, self._way_back = self._way_back, there
        try:
            yield
        finally:
            self._way_back = before

    @property
    def can_go_back(self) -> bool:
        """Whether there is a question before this one."""
        return self._way_back

    def again(self) -> None:
        """After answers that could not be taken: returns where the person tries again; BackError for the question
        before, where there is one, or LeftError."""
        ways = {AGAIN: "try again", BACK: "back to the question before", LEAVE: "stop here"}
        if not self._way_back:
            del ways[BACK]
        self.say(f"That did not work {ATTEMPTS} times in a row. What you answered before is kept.")
        way = self._one_of("What now", ways)
        if way == BACK:
            raise BackError
        if way != AGAIN:
            raise LeftError

    def choose(self, question: str, choices: dict[str, str]) -> str:
        """One of the keys of `choices`, which are shown with their explanations."""
        while (answer := self._one_of(question, choices)) is None:
            self.again()
        return answer

    def _one_of(self, question: str, choices: dict[str, str]) -> str | None:
        """None where three answers in a row were none of them."""
        self._need(question)
        wide = max(map(len, choices))
        for key, text in choices.items():
            self.explain(f"  {key:{wide}}  {text}", " " * (wide + 4))
        for _ in range(ATTEMPTS):
            answer = self.ask(f"{question} ({'/'.join(choices)})").lower()
            if answer in choices:
                return answer
            self._not_understood(f"Type one of these words: {', '.join(choices)}")
        return None

    def _not_understood(self, text: str) -> None:
        """What can be answered. What was typed ahead is dropped: it answers nothing that was read."""
        self.say(text)
        self.fresh()

    def agrees(self, question: str) -> bool:
        """Yes or no; no where only Enter is pressed, or three answers are neither."""
        for _ in range(ATTEMPTS):
            answer = self._read(f"{question} [y/N] ").strip().lower()
            if answer in ("y", "yes", "", "n", "no"):
                return answer in ("y", "yes")
            self._not_understood("Type y for yes, or n for no.")
        return False

    def confirm(self, question: str) -> None:
        """Yes, or LeftError."""
        if not self.agrees(question):
            raise LeftError

    def typed(self, question: str, expected: str) -> None:
        """The person types `expected`; with only Enter, or after three other answers, BackError where there is a way
        back, else LeftError."""
        way = "go back" if self._way_back else "stop here"
        for _ in range(ATTEMPTS):
            answer = self._read(f'{question}\nType "{expected}" to continue: ').strip()
            if answer == expected:
                return
            if not answer:
                break
            self._not_understood(f'That is not "{expected}". Type just that, or press Enter to {way}.')
        if self._way_back:
            raise BackError
        raise LeftError

    def pause(self, text: str) -> None:
        """Wait for Enter."""
        self._read(f"{text} [Enter] ")

    def hidden(self, question: str) -> str:
        """A line that is not echoed. What was typed ahead is dropped: it was not meant for a secret."""
        with self.hiding(question) as hidden:
            return hidden.line(question)

    @contextlib.contextmanager
    def hiding(self, what: str) -> Iterator[HiddenLines]:
        """Several lines that are not echoed: of what is pasted nothing is lost in between."""
        source, out = self._need(what)
        with _no_echo(source):
            yield HiddenLines(source, out, self.size[0])

    def _read(self, prompt: str) -> str:
        source, _ = self._need(prompt.strip())
        self._write(self._fitted(prompt), prompt)
        line = _line(source)
        if not line:
            raise LeftError
        return line

    # Secrets

    def pin(self, question: str = "PIN") -> str:
        """4 to 9 digits."""
        return self._formed(question, is_pin, "A PIN has 4 to 9 digits")

    def new_pin(self) -> str:
        """A new PIN, typed twice."""
        return self._new_secret("PIN", "4 to 9 digits", is_pin, weakness_of_pin)

    def puk(self, question: str = "PUK") -> str:
        """12 ASCII characters."""
        return self._formed(question, _is_puk, f"A PUK has {PUK_LENGTH} characters without accents")

    def new_puk(self) -> str:
        """A new PUK, typed twice."""
        return self._new_secret("PUK", f"{PUK_LENGTH} characters", _is_puk, weakness_of_puk)

    def _formed(self, question: str, good: Callable[[str], bool], rule: str) -> str:
        while True:
            for _ in range(ATTEMPTS):
                text = self.hidden(question)
                if good(text):
                    return text
                self.say(f"{rule}; it was not sent to the card")
            self.again()

    def _new_secret(
        self, what: str, form: str, good: Callable[[str], bool], weakness_of: Callable[[str], str | None]
    ) -> str:
        while True:
            for _ in range(ATTEMPTS):
                text = self._formed(f"New {what} ({form})", good, f"A {what} has {form}")
                if self.hidden("Type it again") != text:
                    self.say("The two do not match.")
                elif self.keeps(what, weakness_of(text)):
                    return text
            self.again()

    def keeps(self, what: str, weakness: str | None) -> bool:
        """Whether a new PIN or PUK is taken although it is easy to guess (None: it is not)."""
        if weakness is None:
            return True
        self.say(f"This {what} is easy to guess: {weakness}.")
        self.fresh()
        return self.agrees("Use it anyway? (No: choose another one)")

    def show_secret(self, lines: list[str], question: str = "Written down?") -> None:
        """Lines that are gone from the window, and from its scrollback, after Enter. An Enter typed ahead is none, and
        what is typed meanwhile is not echoed: it may be the secret.

        They must fit: the caller asks for `size`, and leaves two rows.
        """
        what = "a secret must be shown"
        source, out = self._need(what)
        with _two_screens(out, what), _no_echo(source):
            self._write("\n".join([_OTHER_SCREEN + lines[0], *lines[1:], "", ""]), what)
            try:
                _drop_typed(source)
                self._read(f"{question} [Enter] ")
            finally:
                self._write(f"\n{_FIRST_SCREEN}", what)

    def drawn_puk(self) -> str | None:
        """A PUK of 12 random digits, shown until it is typed back from paper; None where the person does not want to
        see it again. It is never echoed: also what is typed too early is not."""
        puk = "".join(secrets.choice(string.digits) for _ in range(PUK_LENGTH))
        while True:
            with self.hiding("a PUK") as hidden:
                self.show_secret(
                    [
                        "Your PUK. Write it down and keep it apart from the card. It is shown only now.",
                        "It unblocks a blocked PIN, resets the card, and changes its settings.",
                        "",
                        f"    {puk}",
                    ]
                )
                self.fresh()  # a second Enter is no answer; what is typed now is not echoed either
                if "".join(hidden.line("Type it back").split()) == puk:
                    return puk
            self.say("That is not the PUK shown")
            if not self.agrees("Show it again?"):
                return None


class HiddenLines:
    """Lines typed or pasted while the echo is off."""

    def __init__(self, source: IO[str], out: IO[str], columns: int) -> None:
        self._source = source
        self._out = out
        self._columns = columns

    def line(self, question: str) -> str:
        """The next line, without its end. One that is no UTF-8 is asked for again: guessed letters would make another
        secret. LeftError at the end of file."""
        for _ in range(ATTEMPTS):
            self._out.write(_fitted(f"{question}: ", self._columns))
            self._out.flush()
            line = _line(self._source)
            self._out.write("\n")
            if not line:
                raise LeftError
            if _is_text(line):
                return line.rstrip("\r\n")
            self._out.write("This is not UTF-8 text. Set the terminal to UTF-8 and type it again.\n")
        raise LeftError

    def more(self) -> bool:
        """Whether more was typed or pasted than was read, with or without an Enter behind it; it is dropped. Blanks do
        not count."""
        return bool(_left_over(self._source).strip())


def _fitted(prompt: str, columns: int) -> str:
    """A prompt whose lines end at blanks."""
    return "\n".join(lines_of(prompt.rstrip(), columns - 2)) + prompt[len(prompt.rstrip()) :]


def _is_puk(text: str) -> bool:
    return len(text) == PUK_LENGTH and text.isascii() and text.isprintable()


def _is_text(line: str) -> bool:
    """Whether the bytes of a line were UTF-8."""
    return not any("\udc80" <= char <= "\udcff" for char in line)


def _open_terminal() -> tuple[IO[str], IO[str]]:
    names = ("CONIN$", "CONOUT$") if sys.platform == "win32" else ("/dev/tty", "/dev/tty")
    source = Path(names[0]).open(encoding="utf-8", errors="surrogateescape")  # noqa: SIM115 - as long as the process
    return source, Path(names[1]).open("w", encoding="utf-8", errors="replace")


def _line(source: IO[str]) -> str:
    """The next line. A Ctrl-C that comes just before the waiting ends it, too: Python would see it afterwards."""
    if sys.platform != "win32" and threading.current_thread() is threading.main_thread():
        woken, waker = os.pipe()
        os.set_blocking(waker, False)
        before = signal.set_wakeup_fd(waker)
        try:
            select.select([source.fileno(), woken], [], [])
        finally:
            signal.set_wakeup_fd(before)
            os.close(waker)
            os.close(woken)
    return source.readline()


def _drop_typed(file: IO[str]) -> None:
    """Forget what was typed and not read yet."""
    if sys.platform == "win32":
        from hwilib_cryptnox.console.windows import typed

        typed()
    else:
        import termios

        termios.tcflush(file.fileno(), termios.TCIFLUSH)


@contextlib.contextmanager
def _two_screens(out: IO[str], what: str) -> Iterator[None]:
    """The terminal understands the sequences that change its screen: a secret that stays there is not shown."""
    with contextlib.ExitStack() as stack:
        if sys.platform == "win32":  # where a program has to ask for it, and none before Windows 10 does
            from hwilib_cryptnox.console.windows import SEQUENCES, mode

            try:
                stack.enter_context(mode(out, on=SEQUENCES))
            except OSError as error:
                raise NoTerminalError(what) from error
        yield


def _left_over(file: IO[str]) -> bytes:
    """What was typed and not read yet, also a line whose Enter is missing. Requires: the echo off."""
    if sys.platform == "win32":
        from hwilib_cryptnox.console.windows import typed

        return typed(_LEFT_OVER_WAIT / 10).encode("utf-8", "surrogatepass")
    import termios

    descriptor = file.fileno()
    before = termios.tcgetattr(descriptor)
    single = termios.tcgetattr(descriptor)
    single[3] &= ~termios.ICANON
    single[6][termios.VMIN], single[6][termios.VTIME] = 0, _LEFT_OVER_WAIT
    found = b""
    termios.tcsetattr(descriptor, termios.TCSANOW, single)
    try:
        while len(found) < _MOST_LEFT_OVER and (piece := os.read(descriptor, 4096)):
            found += piece
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
    return found


@contextlib.contextmanager
def _no_echo(file: IO[str]) -> Iterator[None]:
    """Echo off, and back whatever happens. What was typed ahead is dropped: it was not meant for a secret."""
    if sys.platform == "win32":
        from hwilib_cryptnox.console.windows import ECHO_INPUT, mode

        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(mode(file, off=ECHO_INPUT))
            except OSError as error:
                raise NoHiddenInputError(
                    "This terminal cannot hide what you type", hint="give secrets with --stdinpass"
                ) from error
            _drop_typed(file)
            yield
        return
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
