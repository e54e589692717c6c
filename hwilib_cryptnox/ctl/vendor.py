"""What the vendor's own tools leave on a card: the "easy mode", and marks in the custom bytes (PROTOCOL.md 11)."""

from __future__ import annotations

from collections.abc import Iterator

from cryptnox_core.models import CardInfo
from hwilib_cryptnox.console.weak import EASY_PIN, EASY_PUK

EASY_MODE = "EASY MODE"
"""Name and e-mail of such a card."""

_CHANGE = "cryptnoxctl pin change, then cryptnoxctl puk change"
EASY_FOUND = f'it was set up in "easy mode": unless they were changed, PIN {EASY_PIN} and PUK {EASY_PUK} are public'
EASY_REMEDY = f"put no money on it before both are your own: {_CHANGE}"
EASY_SET = (
    f'put no money on this card before PIN and PUK are changed: {_CHANGE}. It was set up in "easy mode", whose PIN '
    f"{EASY_PIN} and PUK {EASY_PUK} are public"
)
EASY_PIN_CHANGED = (
    f"put no money on this card before the PUK is your own, too: cryptnoxctl puk change. It was set up in "
    f'"easy mode", whose PUK {EASY_PUK} is public and sets a new PIN'
)

_MARKS = ("PIV", "KMS", "Windows Hello")
"""The user keys that the vendor's tools mark, by the place of the custom byte."""


def is_easy_mode(page: CardInfo) -> bool:
    """Whether a card was set up in easy mode. It keeps the name when PIN and PUK are changed."""
    return page.name == page.email == EASY_MODE


def touched_marks(before: bytes, after: bytes) -> Iterator[str]:
    """What writing the custom bytes does to the vendor's marks: a sentence for each kind of harm."""
    pairs = list(zip(_MARKS, before, after, strict=False))
    lost = [name for name, old, new in pairs if old and old != new]
    made = [name for name, old, new in pairs if new and not old]
    where = "Custom bytes 0 to 2 are where the vendor's tools mark which user keys exist (PIV, KMS, Windows Hello)"
    if lost:
        yield f"{where}. Marked now: {', '.join(lost)}; overwriting that hides these keys from the vendor's tools"
    if made:
        yield f"{where}. Your bytes mark {', '.join(made)}: the vendor's tools will take these keys for present"
