"""Standard streams that are closed, or take no more; warnings that wait until the answer is out."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

_STREAMS = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))
CLOSED_TEXT = "stdout is closed, so the answer would be lost; nothing was done"


def complete() -> bool:
    """Open the null device where stdin, stdout or stderr is closed: no file or socket may take the number of one, and
    nothing be written into it by mistake. Returns whether stdout was open."""
    closed = [stream for stream in _STREAMS if getattr(sys, stream[1]) is None]
    for number, _, _ in closed:
        try:
            os.fstat(number)
        except OSError:
            _to_nowhere(number)
    for _, name, mode in closed:
        setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    return all(name != "stdout" for _, name, _ in closed)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Neither Ctrl-C nor SIGTERM breaks anything off in here: what was done is being told."""
    if threading.current_thread() is not threading.main_thread():  # which gets no signals
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def deliver(text: str) -> OSError | None:
    """Write to stdout, all of it; the error where it takes no more."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        give_up(sys.stdout)
        return error
    return None


def give_up(stream: TextIO) -> None:
    """Where a stream takes no more, what is left for it is dropped: Python would try again at the end, and its failure
    there would replace our exit code."""
    try:
        stream.flush()
    except OSError:
        _to_nowhere(stream.fileno())


def _to_nowhere(number: int) -> None:
    """Make a descriptor one of the null device."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, number)
    os.set_inheritable(number, True)
    if nowhere != number:
        os.close(nowhere)


class Warnings(logging.Handler):
    """Puts the warnings of this package into `texts` while it is entered."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self._texts.append(record.getMessage())

    def __enter__(self) -> Warnings:
        logging.getLogger("hwilib_cryptnox").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("hwilib_cryptnox").removeHandler(self)
