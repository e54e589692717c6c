"""What a PSBT wants of us: which inputs are ours, what of them is to be signed, and what is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from cryptnox_core.bip32 import Path
from hwilib_cryptnox.psbt.checks import Spend, Spending
from hwilib_cryptnox.psbt.musig import MusigPart
from hwilib_cryptnox.psbt.origins import MAX_CARD_DEPTH, Claim


class SignatureKind(Enum):
    """Which signature is wanted."""

    ECDSA = "ECDSA"
    SCHNORR = "Schnorr"
    MUSIG2 = "MuSig2"
    """A public nonce and a partial signature."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """An input, or a key of it, that is ours and is not signed."""

    index: int
    reason: str

    def __str__(self) -> str:
        return f"input {self.index}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A signature that is ours to make, if the key at the path is the one that the PSBT names."""

    index: int
    claim: Claim
    digest: bytes
    kind: SignatureKind
    sighash: int
    leaf_hash: bytes | None
    field_key: bytes
    """Key of the pair that takes the signature."""
    output_key: bytes | None = None
    """BIP86: the tweaked key, 32 bytes, whose signature it is."""
    musig: MusigPart | None = None
    """MuSig2: what of it is ours to make."""

    @property
    def at_key(self) -> bool:
        """Whether the card makes it with its current key alone."""
        return self.output_key is not None or self.musig is not None

    @property
    def signing_key(self) -> bytes:
        """For which key the signature verifies."""
        return self.claim.public_key if self.output_key is None else self.output_key


@dataclass(frozen=True, slots=True, repr=False)
class Collected:
    """What a PSBT wants of us."""

    fingerprint: bytes
    claims: tuple[tuple[Claim, ...], ...]
    """Per input: the keys said to be ours."""
    output_claims: tuple[tuple[Claim, ...], ...]
    candidates: tuple[Candidate, ...] = ()
    done: frozenset[int] = frozenset()
    """Inputs of ours that are final or carry a valid signature of ours."""
    skipped: tuple[Skipped, ...] = ()
    unsigned_claims: tuple[tuple[int, Claim], ...] = ()
    """Input and key: everything whose key has to be proved before the first signature."""
    signed_claims: tuple[tuple[int, Claim], ...] = ()
    """Input and key of what is final or signed by us already: ours only where the key is proved."""
    spends: tuple[Spend, ...] = ()
    spendings: tuple[Spending | None, ...] = ()
    taproot: bool = False
    """The card signs BIP86 key paths."""

    @property
    def stays_unchanged(self) -> bool:
        """Nothing of ours is left to sign: give back the same PSBT, with neither card nor PIN touched."""
        return not self.candidates and (bool(self.done) or not self.skipped)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Whose keys `plan` needs, each once: those that sign first. None is deeper than the card derives."""
        if self.stays_unchanged:
            return ()
        return tuple(dict.fromkeys([*self.signing_paths, *(claim.path for _, claim in self.unsigned_claims)]))

    @property
    def all_paths(self) -> tuple[Path, ...]:
        """Whose keys `plan` can use, each once."""
        return tuple(dict.fromkeys((*self.paths, *self.output_paths, *self.signed_paths)))

    @property
    def signing_paths(self) -> tuple[Path, ...]:
        """Whose keys are to sign, each once."""
        return tuple(dict.fromkeys([candidate.claim.path for candidate in self.candidates]))

    @property
    def output_paths(self) -> tuple[Path, ...]:
        """Whose keys `plan` needs to judge the outputs, each once."""
        found = [claim.path for claims in self.output_claims for claim in claims if len(claim.path) <= MAX_CARD_DEPTH]
        return tuple(dict.fromkeys(found))

    @property
    def signed_paths(self) -> tuple[Path, ...]:
        """Whose keys tell which of the inputs that need no signature are ours, each once."""
        return tuple(dict.fromkeys([claim.path for _, claim in self.signed_claims]))

    def why_nothing(self) -> str | None:
        """Why nothing can be signed though something is ours; None where something can, or nothing is to be."""
        return None if self.candidates or self.stays_unchanged else why_nothing(self.skipped)


def why_nothing(skipped: Sequence[Skipped]) -> str:
    """One line for an error message: the reasons, each once."""
    reasons: dict[str, int] = {}
    for item in skipped:
        reasons.setdefault(item.reason, item.index)
    return "nothing could be signed: " + "; ".join(f"input {index}: {reason}" for reason, index in reasons.items())
