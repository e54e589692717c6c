"""What of a PSBT is left to sign, what of it a card can sign, and what the user allows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from hwilib_cryptnox.errors import BadRequestError
from hwilib_cryptnox.psbt import Candidate, Chain, Collected, Limit, Policy, Psbt, Skipped, collect
from hwilib_cryptnox.psbt.origins import names_keys, originless
from hwilib_cryptnox.storage.settings import FeeLimit, Settings

NO_MUSIG2_REASON = "its key is part of a MuSig2 key, and this card's applet has no MuSig2"
ONLY_PIN_REASON = (
    "it needs a signature by MuSig2, which the card only makes with its PIN, and its PIN authentication is off: turn "
    "it on (cryptnoxctl pin-auth on, with the PUK)"
)


def without(collected: Collected, left_out: Sequence[Candidate], reason: str) -> Collected:
    """Without some candidates, which are skipped for a reason. BadRequestError where nothing is left."""
    if not left_out:
        return collected
    found = replace(
        collected,
        candidates=tuple([candidate for candidate in collected.candidates if candidate not in left_out]),
        skipped=(*collected.skipped, *[Skipped(candidate.index, reason) for candidate in left_out]),
    )
    why = found.why_nothing()
    if why is not None:
        raise BadRequestError(why)
    return found


def without_musig2(collected: Collected) -> Collected:
    """What a user key approves: each digest by itself. A conversation of MuSig2 has no place for that."""
    return without(collected, [candidate for candidate in collected.candidates if candidate.at_key], ONLY_PIN_REASON)


def policy_of(settings: Settings, *, chain: Chain | None = None, ask_fee: bool = False) -> Policy:
    """What the user allows."""
    return Policy(
        allow_sighash=settings.allow_sighash,
        allow_unproved_amounts=settings.allow_unproved_amounts,
        max_fee_rate=_limit(settings.max_fee_rate),
        max_fee=_limit(settings.max_fee),
        max_fee_percent=_limit(settings.max_fee_percent),
        ask_fee=ask_fee,
        chain=chain,
        require_registered=settings.require_registered,
        now=time.time(),
    )


def _limit(chosen: FeeLimit) -> float | Limit | None:
    if chosen is None:
        return Limit.DEFAULT
    return None if chosen == "off" else chosen


def stays_unchanged(psbt: Psbt, fingerprint: bytes | None, *, taproot: bool) -> bool:
    """Whether nothing is left to sign for a master key, told without card and PIN. False also where only the card can
    tell: an origin may be an account's. None for a key that is not known: then it is told where nobody has anything.
    `taproot`: the card may be one that signs BIP86 key paths."""
    if fingerprint is None:
        return all(fields.is_final or not names_keys(fields) for fields in psbt.inputs)
    collected = collect(psbt, fingerprint, taproot=taproot)
    return collected.stays_unchanged and (any(collected.claims) or not originless(psbt))


def names_keys_of(psbt: Psbt, fingerprint: bytes) -> bool:
    """Whether an input names a key of a master key, signed or not. True also where only the card can tell."""
    return originless(psbt) or any(collect(psbt, fingerprint).claims)
