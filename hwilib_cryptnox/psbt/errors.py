"""Errors of the PSBT engine."""

from __future__ import annotations


class PsbtError(ValueError):
    """The PSBT cannot be signed; nothing of it was signed. `reason`: why, without the remedy."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason}; {remedy}" if remedy else reason)
        self.reason = reason


class BadPsbt(PsbtError):  # noqa: N818 - the name is part of the published interface
    """Not a PSBT, or a malformed one. The message names the map and the field."""


class PlacedError(PsbtError):
    """It is about one input or output: `index` counts from 0. `reason` does not say which."""

    what = "input"

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"{self.what} {index}: {reason}")
        self.index, self.reason = index, reason


class RefusedInput(PlacedError):  # noqa: N818 - the name is part of the published interface
    """An input contradicts itself, the transaction or the card."""


class RefusedOutput(PlacedError):  # noqa: N818 - named as RefusedInput
    """An output claims to be ours and is not."""

    what = "output"
