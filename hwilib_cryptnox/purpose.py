"""What is about to be signed, in a few lines for a PIN dialogue: before any key is proved."""

from __future__ import annotations

from hwilib_cryptnox.psbt import Psbt, collect, most_leaving


def purpose_of(psbt: Psbt, fingerprint: bytes | None) -> str:
    """How much can leave at most, for the dialogue that asks for the PIN. Raises PsbtError where a PSBT of the card
    contradicts itself."""
    most = None if fingerprint is None else most_leaving(collect(psbt, fingerprint))
    if most is None:
        return "Sign a transaction"
    return f"Sign a transaction. At most {most // 10**8}.{most % 10**8:08d} BTC can leave"
