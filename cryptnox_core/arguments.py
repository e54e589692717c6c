"""What callers give, looked at before anything is sent: a wrong type is a UsageError, never a TypeError.

No message shows a value: it may be a secret.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeVar

from cryptnox_core.errors import UsageError
from cryptnox_core.wire import PIN_MAX, PIN_MIN

E = TypeVar("E", bound=IntEnum)
_MOST_BITS = 256
"""Serial numbers have up to 160. Longer numbers cannot even be shown."""
_MOST_SECONDS = 10**9


def text(value: object, what: str) -> str:
    """Text that UTF-8 can carry."""
    if not isinstance(value, str):
        raise UsageError(f"{what} is text, not {type(value).__name__}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"{what} has characters that UTF-8 does not have") from error
    return value


def octets(value: object, what: str, *lengths: int) -> bytes:
    """Bytes.

    `lengths`: how many they may be; none given: any.
    """
    if not isinstance(value, bytes | bytearray | memoryview):
        raise UsageError(f"{what} is bytes, not {type(value).__name__}")
    try:
        content = bytes(value)
    except ValueError as error:  # a memoryview that was released
        raise UsageError(f"{what} is bytes, but these are gone") from error
    if lengths and len(content) not in lengths:
        raise UsageError(f"{what} has {' or '.join(map(str, lengths))} bytes, not {len(content)}")
    return content


def number(value: object, what: str) -> int:
    """A whole number of at most 256 bits. True and False are none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{what} is a number, not {type(value).__name__}")
    if value.bit_length() > _MOST_BITS:
        raise UsageError(f"{what} is not a number of {value.bit_length()} bits")
    return value


def seconds(value: object, what: str) -> float:
    """A time in seconds, 0 to 10^9."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _MOST_SECONDS:
        raise UsageError(f"{what} is a number of seconds, at most {_MOST_SECONDS}")
    return float(value)


def switch(value: object, what: str) -> bool:
    """True or False. Anything else that Python takes for true could mean off to the person who wrote it."""
    if not isinstance(value, bool):
        raise UsageError(f"{what} is True or False, not {type(value).__name__}")
    return value


def member(kind: type[E], value: object, what: str) -> E:
    """A member of an enumeration, or its number."""
    given = number(value, what)
    if given not in set(kind):
        raise UsageError(f"{what} is one of {', '.join(f'{item.name} ({item.value})' for item in kind)}")
    return kind(given)


def is_pin(value: str | None) -> bool:
    """Whether a text is what the card calls a PIN: 4 to 9 digits."""
    return value is not None and PIN_MIN <= len(value) <= PIN_MAX and value.isascii() and value.isdigit()
