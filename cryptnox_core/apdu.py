"""APDUs (ISO 7816-4), short and extended; fields read out of a response; conversations as generators."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeVar

from cryptnox_core.errors import MalformedResponseError, UsageError
from cryptnox_core.wire import MAX_EXTENDED_DATA, MAX_SHORT_DATA, Sw

T = TypeVar("T")

_SEQUENCE, _LONG_FORM = 0x30, 0x80
"""DER: the tag of a SEQUENCE, and the first length byte that is no length itself."""


@dataclass(frozen=True, slots=True)
class CommandApdu:
    """One command APDU.

    As the vendor's tools send them, extended frames carry no Le, and one without data is `CLA INS P1 P2 00 00 00`.
    Raises: UsageError for a header byte out of range, too much data, or Le where it has no place.
    """

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = field(default=b"", repr=False)
    """0 to 65,535 bytes. Left out of `repr`: they may be secret."""
    le: int | None = None
    """Bytes of response asked for, 0 for all there are (up to 256); None: no Le field."""
    extended: bool = False
    """Forces the extended form, which data of 256 bytes or more always takes."""

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
    """One response APDU."""

    data: bytes = field(repr=False)
    """Left out of `repr`: it may be secret."""
    sw: int
    """Status word, two bytes."""

    @classmethod
    def parse(cls, raw: bytes) -> ResponseApdu:
        """Read a response as it came over the wire. Raises MalformedResponseError for fewer than two bytes."""
        if len(raw) < 2:
            raise MalformedResponseError(f"a response has at least the two bytes of its status word, not {len(raw)}")
        return cls(bytes(raw[:-2]), int.from_bytes(raw[-2:], "big"))

    @property
    def ok(self) -> bool:
        """Status word 9000."""
        return self.sw == Sw.OK


# Fields of a response


class ByteReader:
    """Takes fields off the front of a response.

    What is left over is nobody's concern: a later applet may say more than is known here.
    Raises: MalformedResponseError, naming `what`, where bytes are missing.
    """

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self._what = what

    @property
    def left(self) -> int:
        """Bytes not yet taken."""
        return len(self._data) - self._at

    def take(self, length: int) -> bytes:
        """The next `length` bytes."""
        if length > self.left:
            raise MalformedResponseError(f"{self._what}: {len(self._data)} bytes are too few")
        piece = self._data[self._at : self._at + length]
        self._at += length
        return piece

    def number(self, length: int) -> int:
        """The next `length` bytes as a big-endian number."""
        return int.from_bytes(self.take(length), "big")

    def prefixed(self) -> bytes:
        """A field with its length in the byte before it."""
        return self.take(self.number(1))

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)

    def signature(self) -> bytes:
        """A DER signature, as long as its own length says; all that is left where none begins here.

        Raises: MalformedResponseError where nothing is left.
        """
        left = self.left
        if left > 2 and self._data[self._at] == _SEQUENCE and self._data[self._at + 1] < _LONG_FORM:
            return self.take(min(left, 2 + self._data[self._at + 1]))
        if not left:
            raise MalformedResponseError(f"{self._what}: no signature")
        return self.rest()


# Conversations


Flow = Generator[CommandApdu, ResponseApdu, T]
"""A conversation with the card: yields commands, is sent responses, and returns a T."""


def drive(flow: Flow[T], transmit: Callable[[CommandApdu], ResponseApdu]) -> T:
    """Run a conversation to its end and return its result.

    An exception of `transmit` is thrown into the flow at the point of the command, so that a flow can leave its state
    consistent (a secure channel marks itself failed); it reaches the caller unless the flow handles it.
    """
    try:
        command = next(flow)
        while True:
            try:
                response = transmit(command)
            except BaseException as error:  # noqa: BLE001 - handed on to the flow, which re-raises
                command = flow.throw(error)
            else:
                command = flow.send(response)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()
