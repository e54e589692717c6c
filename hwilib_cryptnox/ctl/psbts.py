"""PSBT files that need no card: read, named, written in the form they came in."""

from __future__ import annotations

import sys
from codecs import BOM_UTF8
from pathlib import Path

from hwilib_cryptnox.ctl.app import App
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import MAX_INPUT, read_input
from hwilib_cryptnox.ctl.screen import Part
from hwilib_cryptnox.psbt import Psbt, PsbtError

STDIN = "-"


def read_psbt(app: App, name: str) -> Psbt:
    """The PSBT in a file, or from stdin for `-`: binary, base64 or hex."""
    return Psbt.parse(read_input(app, name).removeprefix(BOM_UTF8))


def read_psbts(app: App, names: tuple[str, ...]) -> list[Psbt]:
    """Those of several files. CtlError names the one that is refused; INPUT where all together are too large."""
    found, size = [], 0
    for name in names:
        try:
            psbt = read_psbt(app, name)
        except PsbtError as error:
            raise CtlError(Exit.INPUT, f"{name}: {error}") from error
        size += len(psbt.raw)
        if size > MAX_INPUT:
            raise CtlError(Exit.INPUT, f"The files together are more than {MAX_INPUT // 1024 // 1024} MiB")
        found.append(psbt)
    return found


def beside(name: str, word: str, suffix: str | None = None) -> Path | None:
    """The name of a result next to its source, FILE-WORD.EXT; None for stdin, whose result goes to stdout."""
    if name == STDIN:
        return None
    source = Path(name)
    return source.with_name(f"{source.stem}-{word}{suffix or source.suffix or '.psbt'}")


def content_of(psbt: Psbt) -> bytes:
    """As a file has it."""
    encoded = psbt.encode()
    return encoded.encode("ascii") if isinstance(encoded, str) else encoded


def to_stdout(content: bytes) -> None:
    """Bytes as they are."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def txid_lines(txid: str | None) -> list[Part]:
    """The transaction's ID on a line of its own, which is never broken: it is copied."""
    return [] if txid is None else ["Transaction ID:", txid]
