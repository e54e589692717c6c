"""Errors of the PSBT engine."""

from __future__ import annotations

SILENT_REASON = (
    "it is a silent payment (BIP352, BIP375), for which a signer has to make a secret with the payee's key, and the "
    "card cannot: ask the payee for an ordinary address (bc1q or bc1p), or pay from a wallet that makes silent payments"
)
SILENT_COIN_REASON = (
    "it is a coin of a silent payment (BIP376): its key is tweaked, and the card signs with untweaked keys only: spend "
    "it with the wallet that received it"
)


class NotBase64Error(ValueError):
    """A text is not base64. Whoever asked says what the text should have been."""


class StrayBitsError(NotBase64Error):
    """It would be, but its last character has bits that nothing stands in: two texts would say the same."""


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
