"""What is written: results to stdout, everything else (reviews, progress, remarks) to stderr.

On a terminal with colours and frames; piped, tables become lines of tab-separated fields and nothing decorates them.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from hwilib_cryptnox.console.layout import lines_of, widest, width
from hwilib_cryptnox.ctl.errors import Exit

if TYPE_CHECKING:
    from rich.console import Console

NARROW = 60
"""Columns a terminal has at least for tables."""
_LEAST = 12
"""Columns a value has at least beside its name."""
_GAP = 3
"""Columns between two of a table."""
GOOD, BAD, WARN, FAINT, STRONG = "green", "bold red", "yellow", "dim", "bold"


Row = tuple[str, str] | tuple[str, str, str]
"""A name and its value; a third member is the value's style."""
Cell = str | tuple[str, str]
"""Of a table: a text, or a text and its style."""


def _steers(char: str) -> bool:
    """Whether it is a control, format or bidirectional character, or a line or paragraph separator."""
    category = unicodedata.category(char)
    return category[0] == "C" or category in ("Zl", "Zp")


def printable(text: str) -> str:
    """Without control characters, line ends aside: what comes from a file or a card must not steer the terminal."""
    if text.isascii() and text.isprintable():
        return text
    return "".join("?" if char != "\n" and _steers(char) else char for char in text)


def _widths(heads: Sequence[str], rows: Sequence[Sequence[tuple[str, str]]], columns: int) -> list[int] | None:
    """Of a table's columns, so that no word is broken; None where they do not fit, or the window is narrow."""
    if columns < NARROW:
        return None
    texts = [[head, *(row[number][0] for row in rows)] for number, head in enumerate(heads)]
    whole = [max(width(line) for text in column for line in text.split("\n")) for column in texts]
    least = [max(widest(text) for text in column) for column in texts]
    left = columns - _GAP * (len(heads) - 1) - sum(least)
    if left < 0:
        return None
    found = list(least)
    # The short columns first: they keep their lines whole.
    for number in sorted(range(len(heads)), key=lambda number: whole[number]):
        more = min(left, whole[number] - least[number])
        found[number] += more
        left -= more
    return found


def _broken(rows: Sequence[Sequence[tuple[str, str]]], widths: Sequence[int]) -> list[list[str]]:
    """The cells in lines of their columns."""
    return [["\n".join(lines_of(text, wide)) for (text, _), wide in zip(row, widths, strict=True)] for row in rows]


class Screen:
    """One output stream, which control characters never reach. `rich` is loaded only for a terminal."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._console: Console | None = None

    @property
    def fancy(self) -> bool:
        """Whether a person looks at it."""
        return self._stream.isatty()

    @property
    def console(self) -> Console:
        """The rich console of the stream; honours NO_COLOR."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(file=self._stream, highlight=False, soft_wrap=False, emoji=False, markup=False)
        return self._console

    def line(self, text: str = "", style: str = "") -> None:
        """One line of text; long ones are not cut."""
        text = printable(text)
        if self.fancy:
            self.console.print(text, style=style or None, soft_wrap=True)
        else:
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def told(self, text: str, style: str = "") -> None:
        """A sentence, in lines that end at blanks; of several lines each is as it is: they are to be copied."""
        if "\n" in text:
            self.line(text, style)
        else:
            self.paragraph(text, style)

    def modules(self, text: str, style: str) -> None:
        """One row of a drawing, as it is: blanks at its end, too."""
        from rich.text import Text

        self.console.print(Text(text, style=style), soft_wrap=True)

    def paragraph(self, text: str, style: str = "", *, indent: int = 0) -> None:
        """Text in lines of the terminal's width that end at blanks; piped on one line."""
        if not self.fancy:
            self.line(text)
            return
        for line in lines_of(printable(text), self.console.width - indent):
            self.line(f"{'':{indent}}{line}", style)

    def fields(self, rows: Sequence[Row]) -> None:
        """Names and values, aligned. A value with a word that is too long for its column, such as a key, is on lines of
        its own, in one piece."""
        if not self.fancy:
            for row in rows:
                self._record(row[:2])
            return
        first = max((width(row[0]) for row in rows), default=0)
        for row in rows:
            name, style = row[0], row[2] if len(row) == 3 else ""
            text = printable(row[1].replace("\n", "\0"))  # a value from a card writes no line of its own
            left = self.console.width - first - 1
            if left < _LEAST or widest(text) > left:
                self._styled((name, FAINT))
                self.paragraph(text, style)
                continue
            for number, line in enumerate(lines_of(text, left)):
                self._styled((f"{'' if number else name:{first}} ", FAINT), (line, style))

    def table(
        self, heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, title: str = "", right: Sequence[int] = ()
    ) -> None:
        """Rows under heads. `right` are the columns aligned right. Where the terminal is too narrow for a column's
        longest word, every cell is on lines of its own."""
        styled = [
            [(printable(cell), "") if isinstance(cell, str) else (printable(cell[0]), cell[1]) for cell in row]
            for row in rows
        ]
        if not self.fancy:
            for texts in (heads, *([text for text, _ in row] for row in styled)):
                self._record(texts)
            return
        widths = _widths(heads, styled, self.console.width)
        if widths is None:
            if title:
                self.paragraph(title, STRONG)
            for row in styled:
                for head, (text, style) in zip(heads, row, strict=True):
                    if head and text and widest(text) > self.console.width - width(head) - 2:
                        self.line(f"{head}:", style)
                        self.paragraph(text, style)
                    else:
                        self.paragraph(f"{head}: {text}" if head else text, style)
                self.line()
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            show_edge=False,
            title=title or None,
            header_style=STRONG,
            border_style=FAINT,
        )
        table.title_justify = "left"
        for number, (head, wide) in enumerate(zip(heads, widths, strict=True)):
            table.add_column(head, justify="right" if number in right else "left", overflow="fold", width=wide)
        for row, broken in zip(styled, _broken(styled, widths), strict=True):
            table.add_row(*(Text(text, style) for text, (_, style) in zip(broken, row, strict=True)))
        self.console.print(table)

    def _styled(self, *pieces: tuple[str, str]) -> None:
        from rich.text import Text

        self.console.print(Text.assemble(*pieces), soft_wrap=True)

    def _record(self, cells: Sequence[str]) -> None:
        """Fields between tabs, on one line whatever is in them."""
        kept = [" ".join(printable(cell.replace("\t", " ")).split("\n")) for cell in cells]
        self._stream.write("\t".join(kept) + "\n")
        self._stream.flush()


@dataclass(frozen=True, slots=True)
class Report:
    """What a command found or did: `data` for `--json`, `show` for people."""

    data: Mapping[str, object]
    show: Callable[[Screen], object] = field(repr=False)
    exit_code: Exit = Exit.DONE
    delivered: Callable[[], None] | None = field(default=None, repr=False)
    """Called when all of it is written."""
    told: bool = False
    """The data were written already, while the command ran."""


Part = Cell | Callable[[Screen], object]
"""A line, with its style or without, or what draws itself."""


def said(data: Mapping[str, object], *parts: Part, exit_code: Exit = Exit.DONE) -> Report:
    """A report that shows its parts one after the other."""

    def show(screen: Screen) -> None:
        for part in parts:
            if isinstance(part, str):
                screen.told(part)
            elif isinstance(part, tuple):
                screen.told(*part)
            else:
                part(screen)

    return Report(data, show, exit_code)


def listed(data: Mapping[str, object], rows: Sequence[Row]) -> Report:
    """A report of names and values."""
    return said(data, lambda screen: screen.fields(rows))


def write_json(data: Mapping[str, object], *, indent: int | None = 2) -> None:
    """One JSON object on stdout; on one line with `indent` None. Characters that would steer a terminal or turn its
    text around are escaped: they come from cards and files."""
    text = json.dumps(data, indent=indent, ensure_ascii=False)
    if not text.isascii() or "\x7f" in text:
        text = "".join(json.dumps(char)[1:-1] if char != "\n" and _steers(char) else char for char in text)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # the name of a file that is no text, or a terminal that knows few characters
        text = json.dumps(data, indent=indent)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
