"""Errors of the PSBT engine."""

from __future__ import annotations


class PsbtError(ValueError):
    """The PSBT cannot be signed; nothing of it was signed."""


class BadPsbt(PsbtError):  # noqa: N818 - the name is part of the published interface
    """Not a PSBT, or a malformed one. The message names the map and the field."""


class RefusedInput(PsbtError):  # noqa: N818 - the name is part of the published interface
    """An input contradicts itself, the transaction or the card. `index` counts from 0."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"input {index}: {reason}")
        self.index = index
        self.reason = reason


class RefusedOutput(PsbtError):  # noqa: N818 - named as RefusedInput
    """An output claims to be ours and is not. `index` counts from 0."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"output {index}: {reason}")
        self.index = index
        self.reason = reason


class HighFee(PsbtError):  # noqa: N818 - named as its siblings
    """The fee is above a limit. `said`: by how much, without what changes the limit."""

    def __init__(self, said: str, remedy: str) -> None:
        super().__init__(said + remedy)
        self.said = said
