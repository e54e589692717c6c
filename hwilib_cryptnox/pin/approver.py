"""What approves signatures instead of the PIN: a key in a token (YubiKey, TPM, smart card) whose every use a person may
have to touch. The card knows its public key as a user key.

Pure: the token behind it is another module's. What is sent to it is decided in `approval`, alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cryptnox_core.wire import UserKeySlot


@dataclass(frozen=True, slots=True)
class ApprovingKey:
    """The public half, as the card keeps it."""

    slot: UserKeySlot
    """EC for a P-256 key, RSA for one of 2048 bits."""
    public_key: bytes
    """P-256: the point, 65 bytes; RSA: the modulus, 256 bytes, whose exponent is 65537."""


@dataclass(frozen=True, slots=True)
class TokenState:
    """What a token says of itself and its PIN."""

    label: str
    """For people; printable."""
    identity: str
    """What tells it from others: maker, model, serial number and label."""
    locked: bool = False
    last_try: bool = False
    low: bool = False
    """A wrong PIN was given since the last right one."""


class Approver(Protocol):
    """One key in one token. Everything is lazy: nothing is asked of the token before the first call.

    Each call may raise what is true of the token at that moment:
    NoApproverError: there is no such token or key, it was pulled out, its module cannot be loaded, or several keys fit.
    ApproverPinError: the token's own PIN is wrong (`left`, `spent`), locked or not to be had; it is never sent twice.
    ApproverRefusedError: the token refused, or its signature is not its key's.
    ApproverTimeoutError: nobody touched it within `limit`.
    ApproverCanceledError: the person canceled at the token or at the dialogue for its PIN.
    KeyboardInterrupt passes, also while a call of the token's module blocks.
    After any of them the object can be used again: what was open is opened anew by the next call.
    """

    @property
    def name(self) -> str:
        """What a person calls it: the token's label and the key's, without control characters."""

    def key(self) -> ApprovingKey:
        """Find the key. Needs no touch, and no PIN where the token shows its public keys without."""

    def ready(self) -> None:
        """Whatever can be done before a touch is wanted: the token is opened, its PIN given. So a wrong PIN, or a token
        that is not there, is told before anybody is asked to touch anything. Uses the key not at all."""

    def sign(self, message: bytes, limit: float) -> bytes:
        """One use of the key, which is what a touch is for: its signature over SHA-256 of `message` (hashed once, as
        ECDSA-SHA256 and RSA-PKCS1-SHA256 do by themselves; `cryptnox_core.commands.user_keys.message_to_sign`).

        `message`: 32 bytes (a challenge of the card or one digest), or 1 + 32 n bytes (a count and digests).
        `limit`: seconds the person may take.
        Returns: P-256 the DER signature (r, s), RSA 256 bytes; verified with the public key.
        """

    def close(self) -> None:
        """Log out and leave the token. Harmless when called again, never raises."""
