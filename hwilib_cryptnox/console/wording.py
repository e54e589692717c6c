"""Numbers and other people's text as they are shown, on a screen as in a dialogue. Pure."""

from __future__ import annotations

import unicodedata

_MOST_TEXT = 300
"""Characters of a warning or a reason."""
_DRAWN_AS_NOTHING = (
    *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F)),
    *((0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x13441, 0x13442), (0x16FE4, 0x16FE4)),
    *((0x1BCA0, 0x1BCA3), (0x1D159, 0x1D159), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
INVISIBLE = frozenset(chr(code) for first, last in _DRAWN_AS_NOTHING for code in range(first, last + 1))
"""What fonts draw as nothing: Unicode's Default_Ignorable_Code_Point (16.0), and signs that are blank all the same.
Behind a letter they carry text that nobody sees: variation selectors any number of bytes."""
_MARKS = 2
"""Combining marks on one letter; more would be drawn over the lines above and below."""


def counted(number: int, noun: str) -> str:
    """A number and its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def cut(text: str, most: int = _MOST_TEXT) -> str:
    """The beginning of a text that is too long, with its length told."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def one_line(text: str, most: int = _MOST_TEXT) -> str:
    """As `cut`, with line breaks spelled out: what was typed, or a file's name, writes no line of its own."""
    return cut(text.replace("\n", "\\n"), most)


def escaped(data: bytes | str, *, ascii_only: bool = False) -> str:
    """A stranger's text for quotation marks, on one line in which nothing is hidden and nothing draws: control, format
    and bidirectional characters, line breaks, blanks in a row, what is drawn as nothing and what is no UTF-8 are
    spelled out, and a backslash stands before quotation marks and backslashes.

    `ascii_only`: for terminals that show nothing else.
    """
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    parts: list[str] = []
    before, marks = "", 0
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category[0] == "M" else 0
        if char in '\\"':
            parts.append(f"\\{char}")
        elif char in "\n\r\t":
            parts.append({"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char])
        elif "\udc80" <= char <= "\udcff":
            parts.append(f"\\x{ord(char) - 0xDC00:02x}")
        elif char == " " and before in ("", " "):
            parts.append("\\x20")
        elif (
            category[0] == "C"
            or (category[0] == "Z" and char != " ")
            or char in INVISIBLE
            or marks > _MARKS
            or (ascii_only and not char.isascii())
        ):
            parts.append(f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}")
        else:
            parts.append(char)
        before = char
    return "".join(parts)
