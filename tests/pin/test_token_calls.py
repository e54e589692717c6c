"""`pin/token_calls`: calls that wait for a person, one after the other."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from hwilib_cryptnox.pin.token_calls import Calls, LateError


def test_what_a_call_gives() -> None:
    calls = Calls()
    assert calls.run(lambda: 5, 10) == 5
    with pytest.raises(KeyError, match="x"):
        calls.run(lambda: {}["x"], 10)
    assert calls.run(lambda: threading.current_thread().daemon, 10)
    assert not calls.busy


def test_a_call_that_is_late() -> None:
    """Its result is thrown away, and nothing else is called before it is back."""
    calls, go, order = Calls(), threading.Event(), []

    def slow() -> str:
        go.wait(60)
        order.append("slow")
        return "late"

    with pytest.raises(LateError):
        calls.run(slow, 0.05)
    assert calls.busy
    with pytest.raises(LateError):
        calls.run(lambda: order.append("too early"), 0.05)
    assert order == []
    threading.Timer(0.1, go.set).start()
    assert calls.run(lambda: order.append("next") or "new", 60) == "new"  # type: ignore[func-returns-value]
    assert order == ["slow", "next"] and not calls.busy


def test_ctrl_c_ends_the_waiting() -> None:
    calls, go = Calls(), threading.Event()
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    begin = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            calls.run(lambda: go.wait(120), 100)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - begin < 60 and calls.busy
    go.set()
    assert calls.run(lambda: 1, 60) == 1
