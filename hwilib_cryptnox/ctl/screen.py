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

from hwilib_cryptnox.ctl.errors import Exit

if TYPE_CHECKING:
    from rich.console import Console

NARROW = 60
"""Columns a terminal has at least for tables: in fewer, amounts and addresses would be cut into pieces."""
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

    def modules(self, text: str, style: str) -> None:
        """One row of a drawing, as it is: blanks at its end, too."""
        from rich.text import Text

        self.console.print(Text(text, style=style), soft_wrap=True)

    def paragraph(self, text: str, style: str = "", *, indent: int = 0) -> None:
        """Text in lines of the terminal's width, broken at blanks only where a word fits; piped on one line."""
        if not self.fancy:
            self.line(text)
            return
        from rich.padding import Padding
        from rich.text import Text

        self.console.print(Padding(Text(printable(text), style=style, overflow="fold"), (0, 0, 0, indent)))

    def fields(self, rows: Sequence[Row]) -> None:
        """Names and values, aligned."""
        if not self.fancy:
            for row in rows:
                self._record(row[:2])
            return
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(style=FAINT)
        table.add_column(overflow="fold")
        for row in rows:
            table.add_row(row[0], Text(printable(row[1]), style=row[2] if len(row) == 3 else ""))
        self.console.print(table)

    def table(
        self, heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, title: str = "", right: Sequence[int] = ()
    ) -> None:
        """Rows under heads. `right` are the columns aligned right. In a narrow terminal every cell is on a line of its
        own."""
        styled = [[(cell, "") if isinstance(cell, str) else cell for cell in row] for row in rows]
        if not self.fancy:
            for texts in (heads, *([text for text, _ in row] for row in styled)):
                self._record(texts)
            return
        if self.console.width < NARROW:
            self.line(title, STRONG)
            for row in styled:
                for head, (text, style) in zip(heads, row, strict=True):
                    self.paragraph(f"{head}: {text}" if head else text, style)
                self.line()
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title or None, header_style=STRONG, border_style=FAINT)
        table.title_justify = "left"
        for number, head in enumerate(heads):
            table.add_column(head, justify="right" if number in right else "left", overflow="fold")
        for row in styled:
            table.add_row(*(Text(printable(text), style) for text, style in row))
        self.console.print(table)

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
                screen.line(part)
            elif isinstance(part, tuple):
                screen.line(*part)
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
