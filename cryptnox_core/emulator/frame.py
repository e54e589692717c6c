"""What reaches the emulated card and how it says no: command APDUs (ISO 7816-4, cases 1 to 4), and refusals."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptnox_core.wire import Sw

_HEADER = 4


class Refusal(Exception):  # noqa: N818  (a card's refusal is an answer, not an error of the program)
    """Ends a command with status word `sw`; `aborts` also closes the secure channel (6982 in the clear)."""

    def __init__(self, sw: int, *, aborts: bool = False) -> None:
        super().__init__(f"status word {sw:04X}")
        self.sw = int(sw)
        self.aborts = aborts


def require(condition: bool, sw: int) -> None:
    """Raise `Refusal(sw)` unless `condition` holds."""
    if not condition:
        raise Refusal(sw)


@dataclass(frozen=True, slots=True)
class Command:
    """One command APDU. `extended` tells the form of the frame, which the channel's MAC depends on."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = field(repr=False)
    extended: bool


def parse(raw: bytes) -> Command:
    """Read a frame. Le is accepted and not looked at. Raises Refusal (6700) when lengths and frame disagree."""
    require(len(raw) >= _HEADER, Sw.WRONG_LENGTH)
    cla, ins, p1, p2 = raw[:_HEADER]
    body = raw[_HEADER:]
    extended = len(body) >= 3 and body[0] == 0
    if len(body) <= 1 or (extended and len(body) == 3):
        data = b""
    else:
        start, le = (3, 2) if extended else (1, 1)
        length = int.from_bytes(body[:start], "big")
        data, rest = body[start : start + length], len(body) - start - length
        require(length > 0 and rest in (0, le), Sw.WRONG_LENGTH)
    return Command(cla, ins, p1, p2, data, extended)
