"""A Windows console, faked: what a person types and sees (tests/support/elsewhere.py)."""

from __future__ import annotations

import io
import os

import pytest

from hwilib_cryptnox.console import terminal as module
from hwilib_cryptnox.console.terminal import Terminal
from hwilib_cryptnox.errors import NoHiddenInputError, NoTerminalError
from tests.support import elsewhere


class Console:
    """Both ends of a console: what is typed, and what is shown."""

    def __init__(self, typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.source, self.out = io.StringIO(typed), io.StringIO()
        self.source.fileno, self.out.fileno = lambda: 3, lambda: 4  # type: ignore[method-assign]
        monkeypatch.setattr(module, "_open_terminal", lambda: (self.source, self.out))


def test_secrets_are_typed_unseen_on_windows(windows: elsewhere.Msvcrt, monkeypatch: pytest.MonkeyPatch) -> None:
    """The echo is off while it is read, then as it was; what was typed before does not count."""
    modes = elsewhere._Kernel32.modes
    console = Console("4321\n", monkeypatch)
    seen: list[int] = []
    readline = console.source.readline
    console.source.readline = lambda: (seen.append(modes[1003]), readline())[1]  # type: ignore[method-assign,assignment]
    windows.keys = "99\r"
    assert Terminal().pin() == "4321"
    assert seen == [0x0003] and modes[1003] == 0x0007 and windows.keys == ""
    assert "4321" not in console.out.getvalue()


def test_more_than_a_line_was_pasted(windows: elsewhere.Msvcrt, monkeypatch: pytest.MonkeyPatch) -> None:
    Console("abandon\n", monkeypatch)
    with Terminal().hiding("Word 1") as lines:
        assert lines.line("Word 1") == "abandon"
        windows.keys = "zoo"
        assert lines.more()
        assert not lines.more()


def test_a_secret_is_taken_from_the_screen_again(windows: elsewhere.Msvcrt, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows a program has to ask for the sequences that do it; an Enter typed ahead does not."""
    console, seen = Console("\n", monkeypatch), []
    readline = console.source.readline
    console.source.readline = lambda: (seen.append(elsewhere._Kernel32.modes[1004]), readline())[1]  # type: ignore[method-assign,assignment]
    elsewhere._Kernel32.modes[1004] = 0x0003
    windows.keys = "\r"
    Terminal().show_secret(["PUK", "123456789012"])
    assert seen == [0x0007] and elsewhere._Kernel32.modes[1004] == 0x0003 and windows.keys == ""


def test_no_secret_on_a_console_without_modes(windows: elsewhere.Msvcrt, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither asked for where it would be seen, nor shown where it would stay."""
    console = Console("4321\n", monkeypatch)
    monkeypatch.setattr(elsewhere._Kernel32, "SetConsoleMode", lambda self, handle, mode: 0)
    with pytest.raises(NoHiddenInputError, match="This terminal cannot hide what you type"):
        Terminal().pin()
    with pytest.raises(NoTerminalError):
        Terminal().show_secret(["PUK", "123456789012"])
    assert console.out.getvalue() == ""


def test_a_size_that_windows_does_not_tell(windows: elsewhere.Msvcrt, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python before 3.12 knows it for the standard streams only."""
    Console("", monkeypatch)

    def of_standard_streams(descriptor: int) -> os.terminal_size:
        raise ValueError("bad file descriptor")

    monkeypatch.setattr(os, "get_terminal_size", of_standard_streams)
    assert Terminal().size == (80, 24)
