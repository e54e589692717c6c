"""HWI's command line, JSON and codes, without hwilib."""

from __future__ import annotations


def main() -> None:
    """Scripts that were installed by earlier versions start here."""
    from hwilib_cryptnox.hwi.program import main as program

    program()
