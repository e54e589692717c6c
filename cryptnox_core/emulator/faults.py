"""Faults and delays on demand: what `--fault` and `--latency` say, and when it applies."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, fields
from enum import Enum

from cryptnox_core.emulator.context import Counters


class FaultKind(str, Enum):
    """What goes wrong. The card does its work with GARBAGE, BADMAC, SILENCE and REPEAT_NONCE, and not otherwise."""

    REMOVE = "remove"
    """The card vanishes without an answer; a RESET is torn by it."""
    RESET = "reset"
    """The card was reset just before the command."""
    GARBAGE = "garbage"
    """The answer is 9000 with random bytes before it."""
    BADMAC = "badmac"
    """One bit of the answer's first byte is wrong; an answer without data is not changed."""
    SILENCE = "silence"
    """No answer ever comes, though the card stays."""
    STATUS = "sw"
    """A status word of choice, in the clear, instead of the answer."""
    REPEAT_NONCE = "repeat-nonce"
    """A signature is made with the nonce of the one before: both together tell the private key. NONCE GEN gives those
    of the one before. Nothing else fails."""


_SPEC = re.compile(
    r"(?P<kind>remove|reset|garbage|badmac|silence|repeat-nonce|sw:(?P<sw>[0-9A-Fa-f]{4}))"
    r"@((?P<ins>[0-9A-Fa-f]{2}):)?(?P<n>[1-9][0-9]*)"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, at the `number`-th APDU since the start, or the `number`-th of instruction `ins`."""

    kind: FaultKind
    number: int
    ins: int | None = None
    sw: int = 0


def parse_fault(spec: str) -> Fault:
    """Read `KIND@N` or `KIND@INS:N`. Raises ValueError."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ValueError(
            f"{spec!r} is not KIND@N or KIND@INS:N with KIND remove, reset, garbage, badmac, silence, sw:XXXX, "
            "repeat-nonce"
        )
    status = match["sw"]
    kind = FaultKind.STATUS if status else FaultKind(match["kind"])
    ins = int(match["ins"], 16) if match["ins"] else None
    return Fault(kind, int(match["n"]), ins, int(status, 16) if status else 0)


class FaultPlan:
    """Counts APDUs and says which fault hits the next one."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self._faults = faults
        self._total = 0
        self._by_ins: Counter[int] = Counter()

    def next(self, ins: int) -> Fault | None:
        """Count one APDU; the fault that is due at it, the first named one of several."""
        self._total += 1
        self._by_ins[ins] += 1
        for fault in self._faults:
            if fault.number == (self._total if fault.ins is None else self._by_ins[ins]) and fault.ins in (None, ins):
                return fault
        return None


@dataclass(frozen=True, slots=True)
class Latency:
    """Delays in milliseconds: per APDU, per byte either way, per child derivation, per signature."""

    apdu: float = 0
    byte: float = 0
    derive: float = 0
    sign: float = 0

    def seconds(self, length: int, before: Counters, after: Counters) -> float:
        """How long an exchange of `length` bytes that did the work between two counts takes."""
        work = self.derive * (after.derivations - before.derivations) + self.sign * (
            after.signatures - before.signatures
        )
        return (self.apdu + self.byte * length + work) / 1000


NO_LATENCY = Latency()
DEFAULT_LATENCY = Latency(apdu=20, byte=0.1, derive=300, sign=300)


def parse_latency(spec: str) -> Latency:
    """Read `default` or `apdu=20,byte=0.1,...` (milliseconds). Raises ValueError."""
    if spec == "default":
        return DEFAULT_LATENCY
    names = [field.name for field in fields(Latency)]
    values: dict[str, float] = {}
    for part in spec.split(","):
        name, _, number = part.partition("=")
        if name not in names or name in values:
            raise ValueError(f"{part!r} is not one of {', '.join(names)} with a number of milliseconds")
        values[name] = float(number)
        if not 0 <= values[name] < float("inf"):
            raise ValueError(f"{part!r} is not a delay")
    return Latency(**values)
