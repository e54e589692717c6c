"""Values that are none of what is wanted, whatever that is."""

from __future__ import annotations

from collections.abc import Callable

from cryptnox_core import CryptnoxError

HUGE = 10**5000
WRONG = [None, HUGE, -HUGE, 1.5, "", "x", "\ud800", b"", b"x", bytearray(4), True, object(), [], {}, len]
NAMES = [f"{type(value).__name__}-{number}" for number, value in enumerate(WRONG)]


def ours(call: Callable[[], object]) -> None:
    """It does something, or raises an error of ours."""
    try:
        call()
    except CryptnoxError as error:
        assert len(str(error)) < 400
