"""Numbers and other people's text as they are shown, on a screen as in a dialogue. Pure."""

from __future__ import annotations

import unicodedata

_MOST_TEXT = 300
"""Characters of a warning or a reason."""
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and signs that are drawn as nothing."""
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
            or char in _BLANKS
            or marks > _MARKS
            or (ascii_only and not char.isascii())
        ):
            parts.append(f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}")
        else:
            parts.append(char)
        before = char
    return "".join(parts)
