"""Text in lines of a terminal's width. A line ends at a blank, and never inside what is copied or compared: a serial
number, an address, a transaction ID, a key, a path, a command, words to be typed. What is longer than a line stays
whole: the terminal wraps it, and whoever copies it gets it in one piece. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_KEPT = "\ue000"
"""A blank at which no line ends."""
_SECOND = (
    "add|change|check|clear|delete|disable|enable|export|list|off|on|read|recover|remove|set|show|sign|status|test"
    "|tries|unblock|verify|write"
)
"""Second words of commands."""
_WHOLE = re.compile(
    rf"\bcryptnoxctl [a-z][a-z-]*(?: (?:{_SECOND})\b)?"
    r"(?: --[a-z][a-z-]*(?: (?:[A-Z]{2,}\b|\d{6,20}|dual\b|restore\b))?)*"
    r'|(?<=\b[Tt]ype )"[^"\n]{1,20}"'
)
_WORD = re.compile(r"( *)([^ ]+)")
_LEAST = 10
"""Columns that text has, however narrow the window."""


def width(text: str) -> int:
    """Columns that a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def lines_of(text: str, columns: int, later: str = "") -> list[str]:
    """The lines of a text; `later` is put before all of a paragraph's lines but the first."""
    return [line for part in text.split("\n") for line in _paragraph(part, max(columns, width(later) + _LEAST), later)]


def widest(text: str) -> int:
    """Columns of the longest piece that no line end may break."""
    return max((width(match[2]) for match in _WORD.finditer(_kept(text))), default=0)


def _kept(text: str) -> str:
    return _WHOLE.sub(lambda match: match[0].replace(" ", _KEPT), text)


def _paragraph(text: str, columns: int, later: str) -> Iterator[str]:
    line = ""
    for match in _WORD.finditer(_kept(text)):
        if line.strip() and width(line) + width(match[0]) > columns:
            yield line.replace(_KEPT, " ")
            line = later + match[2]
        else:
            line += match[0]
    yield line.replace(_KEPT, " ")
