"""ISO 7816-4 command and response APDUs, short and extended."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptnox_core.errors import MalformedResponseError, UsageError
from cryptnox_core.wire import MAX_EXTENDED_DATA, MAX_SHORT_DATA, Sw


@dataclass(frozen=True, slots=True)
class CommandApdu:
    """One command. `data` is left out of `repr`: it may hold secrets.

    `le` is the number of response bytes asked for (0 for "as many as there are", up to 256), or None for no Le field.
    `extended` forces the extended form; data of 256 bytes or more always takes it. As the vendor's tools send them,
    extended frames carry no Le, and one without data is `CLA INS P1 P2 00 00 00`.
    """

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = field(default=b"", repr=False)
    le: int | None = None
    extended: bool = False

    def __post_init__(self) -> None:
        for name, value in (("CLA", self.cla), ("INS", self.ins), ("P1", self.p1), ("P2", self.p2)):
            if not 0 <= value <= 0xFF:
                raise UsageError(f"{name} is one byte, not {value}")
        if len(self.data) > MAX_EXTENDED_DATA:
            raise UsageError(f"an APDU carries at most {MAX_EXTENDED_DATA} bytes, not {len(self.data)}")
        if self.le is not None and (self.is_extended or not 0 <= self.le <= MAX_SHORT_DATA):
            raise UsageError("Le is for short APDUs, 0 to 255")

    @property
    def is_extended(self) -> bool:
        """Whether the extended form is used on the wire."""
        return self.extended or len(self.data) > MAX_SHORT_DATA

    @property
    def header(self) -> bytes:
        """CLA INS P1 P2."""
        return bytes((self.cla, self.ins, self.p1, self.p2))

    @property
    def lc(self) -> bytes:
        """The length field as sent: one byte, three in the extended form, none for a short APDU without data."""
        if self.is_extended:
            return b"\x00" + len(self.data).to_bytes(2, "big")
        return bytes((len(self.data),)) if self.data else b""

    def encode(self) -> bytes:
        """The bytes as sent to the card."""
        le = b"" if self.le is None else bytes((self.le,))
        return self.header + self.lc + self.data + le


@dataclass(frozen=True, slots=True)
class ResponseApdu:
    """One response: data and status word. `data` is left out of `repr`."""

    data: bytes = field(repr=False)
    sw: int

    @classmethod
    def parse(cls, raw: bytes) -> ResponseApdu:
        """From the bytes of the wire; raises MalformedResponseError for fewer than two."""
        if len(raw) < 2:
            raise MalformedResponseError(f"a response has at least the two bytes of its status word, not {len(raw)}")
        return cls(bytes(raw[:-2]), int.from_bytes(raw[-2:], "big"))

    @property
    def ok(self) -> bool:
        """Status word 9000."""
        return self.sw == Sw.OK
