"""PINs and PUKs that a thief tries first: three tries in a power cycle find some of them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptnox_core.models import CardInfo

EASY_PIN, EASY_PUK = "000000000", "000000000000"
"""Of cards in the vendor's "easy mode": printed in its documentation."""
_EASY_MODE = "EASY MODE"
"""Name and e-mail of such a card."""
EASY_CHANGE = "cryptnoxctl pin change, then cryptnoxctl puk change"
_YEARS = range(1900, 2100)
_MONTHS, _DAYS = range(1, 13), range(1, 32)
_KEYPAD = (
    " 2580 0852 1470 0741 3690 0963 1397 1793 7139 2684 2468 8642 1357 7531 13579 97531 24680 08642 "
    "147258 147369 258369 369258 789456 456123 741852 963852 159357 159753 357159 753159 "
    "1472583 1478963 1593570 147258369 369258147 789456123 741852963 963852741 159357456 "
)
"""Ways over the keys of a telephone or a keyboard."""


def weakness_of_pin(pin: str) -> str | None:
    """Why a PIN (4 to 9 digits) is a weak one; None where nothing speaks against it."""
    if pin == EASY_PIN:
        return "it is the vendor's public easy-mode PIN"
    if f" {pin} " in _KEYPAD:
        return "it is a path over the keypad"
    return _pattern(pin) or ("it looks like a date" if _is_date(pin) else None)


def weakness_of_puk(puk: str) -> str | None:
    """Why a PUK (12 characters) is a weak one. Its tries have no end, so that it is found by trying."""
    if puk == EASY_PUK:
        return "it is the vendor's public easy-mode PUK"
    return _pattern(puk)


def is_easy_mode(page: CardInfo) -> bool:
    """Whether a card was set up in easy mode. It keeps the name when PIN and PUK are changed."""
    return page.name == page.email == _EASY_MODE


def _pattern(text: str) -> str | None:
    if len(set(text)) == 1:
        return "it repeats one character"
    steps = {ord(after) - ord(before) for before, after in pairwise(text)}
    if steps in ({1}, {-1}) or text in "01234567890" or text in "09876543210":
        return "it counts up or down"
    if len(text) % 2 == 0 and text[::2] == text[1::2] and len({ord(b) - ord(a) for a, b in pairwise(text[::2])}) == 1:
        return "its pairs count up or down"
    for length in range(2, len(text) // 2 + 1):
        if len(text) % length == 0 and text == text[:length] * (len(text) // length):
            return "it repeats itself"
    return None


def _is_date(pin: str) -> bool:
    """A year, a day of a year, or a day with its year, in the usual orders. Of seven digits one 0 was left
    out; in five, nearly every number is a date."""
    if len(pin) == 7:
        return any(_is_date(f"{pin[:at]}0{pin[at:]}") for at in (0, 2, 4))
    if len(pin) == 4:
        return int(pin) in _YEARS or _is_day(pin[:2], pin[2:])
    if len(pin) == 6:
        return _is_day(pin[:2], pin[2:4]) or _is_day(pin[2:4], pin[4:])
    if len(pin) == 8:
        return (int(pin[4:]) in _YEARS and _is_day(pin[:2], pin[2:4])) or (
            int(pin[:4]) in _YEARS and _is_day(pin[4:6], pin[6:])
        )
    return False


def _is_day(one: str, other: str) -> bool:
    numbers = int(one), int(other)
    return any(month in _MONTHS and day in _DAYS for month, day in (numbers, numbers[::-1]))
