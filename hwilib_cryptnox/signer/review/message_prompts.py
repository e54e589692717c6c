"""What dialogues say of a message, in a text that fits: where the PIN is asked for, and before it is signed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptnox_core.bip32 import Path
from hwilib_cryptnox.console.wording import counted, escaped
from hwilib_cryptnox.pin.assuan import DESCRIPTION_LIMIT, fits


def message_prompt_text(path: Path) -> str:
    """What a dialogue says that asks for the PIN, where a message is to be signed."""
    return f"Sign a message with the key {path}. You see it before you sign it."


def message_text(message: bytes, path: Path, serial: int, fingerprint: bytes) -> tuple[str, str]:
    """A message in quotation marks, with its length, and cut where it is too long; and the same in ASCII."""
    return both(message, [f"Key: {path}"], serial, fingerprint)


def both(
    message: bytes, about: list[str], serial: int, fingerprint: bytes, warnings: Sequence[str] = ()
) -> tuple[str, str]:
    """The same with lines `about` it before, and warnings behind it, which are never cut."""
    head = [f"Sign a message with the Cryptnox card {serial} ({fingerprint.hex()})?", *about]
    head.append(f"Message, {counted(len(message), 'byte')}:")
    return _message(head, message, warnings, ascii_only=False), _message(head, message, warnings, ascii_only=True)


def _message(head: list[str], message: bytes, warnings: Sequence[str], *, ascii_only: bool) -> str:
    text = message.decode("utf-8", "surrogateescape")

    def beginning(size: int) -> str:
        quoted = f'"{escaped(text[:size], ascii_only=ascii_only)}"'
        if size == len(text):
            return "\n".join([*head, quoted, *warnings])
        few = f"WARNING: only the first {counted(size, 'character')} are shown"
        return "\n".join([*head, f"{quoted}...", few, *warnings])

    if len(text) <= DESCRIPTION_LIMIT and fits(beginning(len(text))):
        return beginning(len(text))
    return beginning(most_that_fits(beginning, min(len(text) - 1, DESCRIPTION_LIMIT)))


def most_that_fits(make: Callable[[int], str], most: int) -> int:
    """The greatest number whose text fits a dialogue; greater numbers make longer texts."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if fits(make(middle)):
            low = middle
        else:
            high = middle - 1
    return low
