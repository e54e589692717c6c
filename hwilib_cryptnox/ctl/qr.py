"""QR codes of what is public: on the terminal in half blocks, and as PNG or SVG files.

A code is drawn whole or not at all: what does not fit the window is refused, since a part of one reads as nothing.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from hwilib_cryptnox.ctl.app import App
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import NEW_FILE, check_free, write_new
from hwilib_cryptnox.ctl.screen import Part, Screen

if TYPE_CHECKING:
    import segno

F = TypeVar("F", bound=Callable[..., object])

MOST_BYTES = 2_953
"""What the largest QR code holds (version 40, level L)."""
_SHORT = 100
"""Bytes up to which the code stands more damage (level M)."""
_QUIET, _LEAST_QUIET = 4, 2
"""White modules around a code: as the standard wants it, and what cameras still read."""
_SCALE = 8
"""Pixels of a module in a file."""
_KINDS = (".png", ".svg")
_DARK_ON_LIGHT = "#000000 on #ffffff"


def qr_options(function: F) -> F:
    """`--qr` and `--qr-file`."""
    on_screen = click.option("--qr", is_flag=True, help="Also draw a QR code in the terminal.")
    in_file = click.option("--qr-file", type=NEW_FILE, help="Write a QR code to this new file, .png or .svg.")
    return on_screen(in_file(function))


def check_qr(app: App, qr: bool, file: Path | None) -> None:
    """Refuse early, before a card is troubled, what could not be drawn or written."""
    if not qr and file is None:
        return
    _library()
    if qr and (app.options.json or not app.out.fancy):
        raise CtlError(Exit.USAGE, "--qr draws in a terminal, but there is none", "--qr-file FILE.png writes a file")
    if file is not None:
        if file.suffix.lower() not in _KINDS:
            raise CtlError(Exit.USAGE, f"--qr-file: {file} ends in neither .png nor .svg")
        check_free(file, None)


def write_qr(file: Path | None, texts: list[str]) -> None:
    """One text as a file, where a file is wanted. CtlError for several texts: a file has one code."""
    if file is None:
        return
    if len(texts) != 1:
        raise CtlError(
            Exit.USAGE, f"--qr-file writes one QR code, but there are {len(texts)} texts", "ask for one of them"
        )
    content = io.BytesIO()
    svg = {"xmldecl": True, "omitsize": False, "light": "#ffffff"} if file.suffix.lower() == ".svg" else {}
    _code(texts[0]).save(content, kind=file.suffix.lower()[1:], scale=_SCALE, border=_QUIET, **svg)
    write_new(file, content.getvalue())


def draw(screen: Screen, text: str) -> None:
    """A text as a QR code, two modules a character, dark on light whatever the terminal's colors. Where it does not fit
    the window, one line says what to do instead."""
    code = _code(text)
    width, height = screen.console.size
    border = next((one for one in (_QUIET, _LEAST_QUIET) if code.symbol_size(border=one)[0] <= width), None)
    if border is None:
        wanted = code.symbol_size(border=_LEAST_QUIET)[0]
        screen.paragraph(
            f"The QR code needs a window of {wanted} columns; this one has {width}. Make it wider, or write "
            "the code to a file: --qr-file FILE.png"
        )
        return
    rows = [bytes(row) for row in code.matrix_iter(border=border)]
    if len(rows) % 2:
        rows.append(bytes(len(rows[0])))
    colored = not screen.console.no_color
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        screen.modules(_half_blocks(upper, lower, dark=colored), _DARK_ON_LIGHT if colored else "")
    if len(rows) // 2 > height:
        screen.paragraph(
            f"The QR code has {len(rows) // 2} lines, and the window has {height}. Make it higher to see all of it, "
            "or write the code to a file: --qr-file FILE.png"
        )


def shown_with_codes(lines: list[str], qr: bool) -> list[Part]:
    """Lines for a report, each with its code below it where one is wanted."""
    parts: list[Part] = []
    for line in lines:
        parts.append(line)
        if qr:
            parts.append(partial(draw, text=line))
    return parts


def _half_blocks(upper: bytes, lower: bytes, *, dark: bool) -> str:
    """Two rows of modules in one line. `dark`: ink stands for dark modules; else for light ones, as on a terminal that
    writes light on dark without being told colors."""
    blocks = " ▄▀█" if dark else "█▀▄ "
    return "".join(blocks[2 * bool(above) + bool(below)] for above, below in zip(upper, lower, strict=True))


def _library() -> None:
    try:
        import segno  # noqa: F401
    except ImportError as error:
        raise CtlError(
            Exit.REFUSED, "QR codes need the Python package segno, which is not installed", "pip install segno"
        ) from error


def _code(text: str) -> segno.QRCode:
    import segno

    size = len(text.encode("utf-8"))
    if size > MOST_BYTES:
        raise CtlError(Exit.INPUT, f"{size:,} bytes are too many for a QR code, which holds at most {MOST_BYTES:,}")
    return segno.make_qr(text, error="m" if size <= _SHORT else "l")
