"""`--log-level` and `--log-file`: what the program does, for whoever looks for a fault. As everywhere, no secret is in
it: headers, lengths and status words of what goes to the card, never content."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import re
import stat
import sys
from collections.abc import Iterator
from typing import TextIO

from hwilib_cryptnox import __version__
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.screen import printable

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
LOGGERS = ("cryptnox_core", "hwilib_cryptnox")
_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_MODE = 0o600
_IS_LOG = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} [A-Z]+ ")
"""How a line of ours begins."""

_log = logging.getLogger(__name__)


class _Lines(logging.Formatter):
    """One line a record, which steers no terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(" ".join(super().format(record).split("\n")))


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]  # generic from Python 3.11 on
    """A log that takes no more ends, and disturbs nothing."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002 - logging's name
        self.setLevel(logging.CRITICAL + 1)


@contextlib.contextmanager
def logged(level: str | None, file: str | None, command: str) -> Iterator[None]:
    """Log to stderr or to a file, which is created for its owner alone and added to; without a level everything,
    without both nothing. CtlError USAGE where the file cannot be written; then nothing was done."""
    if level is None and file is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        stream = sys.stderr if file is None else _opened(file)
        if file is not None:
            stack.callback(_close, stream)
        handler = _Handler(stream)
        handler.setFormatter(_Lines(_FORMAT, "%Y-%m-%dT%H:%M:%S"))
        number = _LEVELS[level or "debug"]
        handler.setLevel(number)
        for name in LOGGERS:
            stack.enter_context(_attached(logging.getLogger(name), handler, number))
        python = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
        _log.info("cryptnoxctl %s, %s, %s", command, __version__, python)
        try:
            yield
        except BaseException as error:
            _log.info("ended: %s: %s", type(error).__name__, error)
            raise
        _log.info("done")


@contextlib.contextmanager
def _attached(logger: logging.Logger, handler: logging.Handler, level: int) -> Iterator[None]:
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _close(stream: TextIO) -> None:
    """A full disk at the last line disturbs nothing either."""
    with contextlib.suppress(OSError):
        stream.close()


def _opened(file: str) -> TextIO:
    """The file, for its owner alone also where it was there already. What holds something else than a log is not added
    to: it may be what the command works on."""
    hint = "name a file you can write to"
    try:
        descriptor = os.open(file, _FLAGS, _MODE)
        stream = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            if status.st_size and not _IS_LOG.match(_head(file)):
                stream.close()
                raise CtlError(Exit.USAGE, f"--log-file {file}: this file is not a log", "choose another file")
            if sys.platform != "win32" and status.st_mode & 0o077:
                os.fchmod(descriptor, _MODE)
    except OSError as error:
        raise CtlError(Exit.USAGE, f"--log-file {file}: {error.strerror}", hint) from error
    return stream


def _head(file: str) -> bytes:
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        return os.read(descriptor, 32)
    finally:
        os.close(descriptor)
