"""Where a card's own pairing key is kept: an interface. The file behind it belongs to the program."""

from __future__ import annotations

from typing import Protocol


class PairingKeys(Protocol):
    """Pairing keys by serial number. They are secrets: without one only the PUK opens its card again."""

    def pairing_key(self, serial: int) -> bytes | None:
        """The card's own pairing key (32 bytes), or None where it has the common one."""
        ...

    def keep_pairing_key(self, serial: int, key: bytes | None) -> None:
        """Keep a card's own pairing key, or drop it with None."""
        ...
