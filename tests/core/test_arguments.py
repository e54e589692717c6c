"""What callers give: the wrong type or size is a UsageError that does not show the value."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from cryptnox_core import UsageError
from cryptnox_core.arguments import member, number, octets, seconds, switch, text
from cryptnox_core.wire import Curve

SECRET = "4711-4711"


def test_what_is_taken() -> None:
    assert text("Zoë", "a name") == "Zoë"
    for content in (b"abc", bytearray(b"abc"), memoryview(b"abc")):
        assert octets(content, "a digest") == octets(content, "a digest", 2, 3) == b"abc"
        assert type(octets(content, "a digest")) is bytes
    assert number(-5, "a number") == -5 and number((1 << 256) - 1, "a number") == (1 << 256) - 1
    assert (seconds(0, "a time"), seconds(2.5, "a time"), seconds(10**9, "a time")) == (0.0, 2.5, 1e9)
    assert switch(True, "export") is True and switch(False, "export") is False
    assert member(Curve, 0x10, "curve") is Curve.R1 and member(Curve, Curve.K1, "curve") is Curve.K1


@pytest.mark.parametrize(
    ("take", "wrong"),
    [
        *((text, value) for value in (None, b"x", 1, ["x"], "\ud800")),
        *((octets, value) for value in (None, SECRET, 3, [1, 2], (b"x",))),
        *((number, value) for value in (None, "5", 5.0, True, b"5", Decimal(5), 1 << 256, -(1 << 256), 10**5000)),
        *((seconds, value) for value in (None, "5", True, -1, -0.1, float("nan"), float("inf"), 10**9 + 1, 10**5000)),
        *((switch, value) for value in (None, 0, 1, "", "no", [])),
        *((lambda value, what: member(Curve, value, what), value) for value in (None, 1, "K1", 0.0, False, 10**5000)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_refused(take: Callable[[object, str], object], wrong: object) -> None:
    with pytest.raises(UsageError, match=r"^the thing "):
        take(wrong, "the thing")


def test_lengths_are_told() -> None:
    with pytest.raises(UsageError, match=r"^a key has 33 or 65 bytes, not 4$"):
        octets(bytes(4), "a key", 33, 65)


def test_memory_that_was_released() -> None:
    gone = memoryview(bytearray(32))
    gone.release()
    with pytest.raises(UsageError, match="these are gone"):
        octets(gone, "a digest")


def test_no_message_shows_a_value() -> None:
    """It may be a PIN or PUK that was given in another's place."""
    for take in (octets, number, seconds, switch):
        with pytest.raises(UsageError) as caught:
            take(SECRET, "the thing")
        assert SECRET not in str(caught.value)
    with pytest.raises(UsageError) as caught:
        text(f"{SECRET}\ud800", "the thing")
    assert SECRET not in str(caught.value)
    for wrong in (SECRET, int(SECRET[:4])):
        with pytest.raises(UsageError) as caught:
            member(Curve, wrong, "the thing")
        assert SECRET[:4] not in str(caught.value)
