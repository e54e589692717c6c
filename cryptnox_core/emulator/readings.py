"""The second readings of PROTOCOL.md 9: where sources disagree about the card, each name switches one row."""

from __future__ import annotations

from enum import Enum


class Reading(str, Enum):
    """Names as ``--reading`` takes them. Without any, the emulated card follows the first reading of every row."""

    MAC_LEN_VALUE = "mac-len-value"
    """The MAC of an extended frame with fewer than 256 bytes of data has the one-byte length form."""
    OUTER_SW = "outer-sw"
    """6700 and 6D00 come in the clear, and end the channel."""
    PIN_QUERY_SW = "pin-query-sw"
    """An empty VERIFY PIN answers status 63Cx instead of one byte."""
    PIN_OPTIONAL_IN_SIGN = "pin-optional-in-sign"
    """An earlier VERIFY PIN is enough for SIGN."""
    PIN_ENDS_AT_SIGN = "pin-ends-at-sign"
    """Every signature ends the PIN verification."""
    TRIES_MIN = "tries-min"
    """63Cx counts the smaller of the session's and the total tries."""
    SOFTLOCK_6985 = "softlock-6985"
    """After three wrong PINs in a session everything answers 6985 until the card is powered off."""
    NO_F7_AFTER_F8 = "no-f7-after-f8"
    """GET MANUFACTURER CERTIFICATE answers 6985 after GET CARD CERTIFICATE, until the next SELECT."""
    CURRENT_LOST = "current-lost-at-power-off"
    """The current keys are the masters again after a power cycle."""
    PUK_9840 = "puk-9840"
    """A wrong PUK answers 9840."""
    PUK_984X = "puk-984x"
    """A wrong PUK answers 984x with the tries left in this power cycle."""
    CLEAR_PUBKEY_33 = "clearpub-33"
    """The public key read in the clear is compressed."""
    CLEAR_PUBKEY_32 = "clearpub-32"
    """The public key read in the clear is its x coordinate alone."""
    PAGE_6B00 = "page-6b00"
    """An unused user-data page answers 6B00 instead of nothing."""
    USER_KEY_REHASH = "userkey-rehash"
    """User keys sign SHA-256 of the hash instead of the hash."""
    ADD_USER_KEY_NEEDS_PIN = "adduser-needs-pin"
    """ADD USER KEY wants a verified PIN besides the PUK."""
    SELECT_V2 = "select-v2"
    """SELECT answers as version 2.0.0 with unknown flags and more than 24 bytes."""
