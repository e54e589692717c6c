"""Reading fixed fields out of a response."""

from __future__ import annotations

from cryptnox_core.errors import MalformedResponseError

_SEQUENCE, _LONG_FORM = 0x30, 0x80


class ByteReader:
    """Takes bytes off the front of `data`; what is missing is a MalformedResponseError naming `what`.

    What is left over is nobody's concern: a later applet may say more than is known here.
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
        """A DER signature, as long as its own length says; all that is left where none begins here. Not empty."""
        left = self.left
        if left > 2 and self._data[self._at] == _SEQUENCE and self._data[self._at + 1] < _LONG_FORM:
            return self.take(min(left, 2 + self._data[self._at + 1]))
        if not left:
            raise MalformedResponseError(f"{self._what}: no signature")
        return self.rest()
