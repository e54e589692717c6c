"""How the emulated card says no: one exception carrying the status word."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818  (a card's refusal is an answer, not an error of the program)
    """Ends a command with status word ``sw``; ``aborts`` also closes the secure channel (6982 in the clear)."""

    def __init__(self, sw: int, *, aborts: bool = False) -> None:
        super().__init__(f"status word {sw:04X}")
        self.sw = int(sw)
        self.aborts = aborts


def require(condition: bool, sw: int) -> None:
    """Raise ``Refusal(sw)`` unless ``condition`` holds."""
    if not condition:
        raise Refusal(sw)
