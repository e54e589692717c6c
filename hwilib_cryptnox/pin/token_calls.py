"""Calls into a PKCS#11 module. They wait for people and nothing can interrupt them, so a helper thread makes each."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_LOOK = 0.1


class LateError(Exception):
    """A call did not come back in time. What it returns in the end is thrown away."""


class Calls:
    """Calls into one module, one after the other: a module is used by one thread at a time."""

    def __init__(self) -> None:
        self._going: threading.Event | None = None

    @property
    def busy(self) -> bool:
        """Whether a call that was given up has not come back yet."""
        return self._going is not None and not self._going.is_set()

    def run(self, call: Callable[[], T], limit: float) -> T:
        """What `call` returns, within so many seconds; a call that was given up before is waited for first.

        Raises: LateError; what the call raises; KeyboardInterrupt, then the call is given up.
        """
        end = time.monotonic() + limit
        if self._going is not None and not _waited(self._going, limit):
            raise LateError
        done, state = threading.Event(), _State()
        self._going = done

        def work() -> None:
            try:
                state.result = call()
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                state.error = error
            done.set()

        threading.Thread(target=work, name="pkcs11", daemon=True).start()
        if not _waited(done, end - time.monotonic()):
            raise LateError
        self._going = None
        if state.error is not None:
            raise state.error
        result: T = state.result
        return result


class _State:
    result: Any = None
    error: BaseException | None = None


def _waited(done: threading.Event, limit: float) -> bool:
    """Whether it came within so many seconds. On Windows a Ctrl-C is seen between two waits only."""
    end = time.monotonic() + limit
    while sys.platform == "win32" and not done.is_set() and time.monotonic() + _LOOK < end:
        done.wait(_LOOK)
    return done.wait(max(0.0, end - time.monotonic()))
