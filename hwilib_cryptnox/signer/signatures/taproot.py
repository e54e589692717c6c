"""Which cards sign taproot key paths (BIP86), as far as this computer knows: those that did it when they were asked.

A card tweaks no key. One whose MuSig2 is exactly BIP327 signs for a tweaked key all the same (`Card.sign_key_path`).
Whether it is, no text and no version tells: the card is asked (`taproot_check`), with the four parities of an internal
key and its output key. What is remembered are the signatures it gave, of this very card and applet version; they are
verified each time they are believed, so that no entry of a file makes a card able to sign.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from cryptnox_core.card import Card
from cryptnox_core.crypto.hashes import tagged_hash
from cryptnox_core.crypto.secp256k1 import COMPRESSED_LENGTH, decompress, taproot_output_key, verify_schnorr
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.storage.state import State, StateError, TaprootNote, static_key_hash

TAG = "hwi-cryptnox/taproot-check"
"""Of the digest that is asked for (BIP340's tagged hash). No transaction and no message has it: taproot's and BIP322's
digests begin with the hashes of other tags, and older ones are hashed twice."""
FORM = 2
_ROOT, _SIGNATURE = 32, 64
_LONGEST_DER = 72


class Taproot(Enum):
    """What is known of a card."""

    SIGNS = "signs"
    """It signed with all four parities."""
    ABSENT = "no MuSig2"
    """Its applet does not know the commands."""
    DIFFERS = "another MuSig2"
    """Its applet knows them, and what it signs is no signature of BIP327."""
    UNKNOWN = "not asked"
    """Neither this card with this applet was asked on this computer."""

    @property
    def words(self) -> str:
        """Why it does not sign, or that it does, in half a sentence."""
        return _WORDS[self]


_WORDS = {
    Taproot.SIGNS: "the card signs taproot key paths",
    Taproot.ABSENT: "the card cannot tweak keys, and its applet has no MuSig2",
    Taproot.DIFFERS: "the card cannot tweak keys, and its applet's MuSig2 is not the one of BIP327",
    Taproot.UNKNOWN: (
        "the card cannot tweak keys, and nobody has asked it yet whether it can sign another way (cryptnoxctl taproot "
        "check)"
    ),
}


@dataclass(frozen=True, slots=True)
class Proof:
    """One signature that a card gave."""

    key: bytes
    """33 bytes: the internal key, with the parity that the card's own key has."""
    root: bytes
    """32 bytes that stand where a merkle root stands: they choose the parity of the output key."""
    signature: bytes
    """64 bytes."""
    certificate: bytes
    """The card's signature of the key (DER): nobody else has a private key with one (`Card.sign_public`)."""

    @property
    def parities(self) -> tuple[int, int]:
        """Of the internal key and of the output key: 1 for an odd y."""
        return self.key[0] & 1, taproot_output_key(self.key[1:], self.root)[1]

    def verifies(self, card: Card) -> bool:
        """Whether it is a signature (BIP340) of the output key, whose internal key is the card's. Raises UsageError for
        a key that is no point."""
        output = taproot_output_key(self.key[1:], self.root)[0]
        return is_certified(card, self.key, self.certificate) and verify_schnorr(
            output, digest_of(card, self.key, self.root), self.signature
        )

    def to_text(self) -> str:
        """As it is kept."""
        return (self.key + self.root + self.signature + self.certificate).hex()

    @classmethod
    def parse(cls, text: str) -> Proof:
        """The inverse of `to_text`. Raises ValueError."""
        data = bytes.fromhex(text)
        at = COMPRESSED_LENGTH + _ROOT
        end = at + _SIGNATURE
        if not end < len(data) <= end + _LONGEST_DER or data[0] not in (2, 3):
            raise ValueError("no proof")
        return cls(data[:COMPRESSED_LENGTH], data[COMPRESSED_LENGTH:at], data[at:end], data[end:])


def digest_of(card: Card, key: bytes, root: bytes) -> bytes:
    """The 32 bytes that a card is asked to sign: of its static key, its serial number and its applet version, so that
    the signature speaks for no other card. The certificate must have been read."""
    version = ".".join(map(str, card.info.version))
    about = f"{card.serial} {version}".encode("ascii")
    return tagged_hash(TAG, bytes((FORM,)) + static_key_hash(card) + bytes((len(about),)) + about + key + root)


def is_certified(card: Card, key: bytes, certificate: bytes) -> bool:
    """Whether a card's static key signed a public key (33 bytes). Raises UsageError for what is no point."""
    return card.read_certificate().verify(decompress(key), certificate)


def all_parities(card: Card, proofs: Sequence[Proof]) -> bool:
    """Whether these are the card's signatures with all four parities."""
    found = set()
    for proof in proofs:
        try:
            if proof.verifies(card):
                found.add(proof.parities)
        except UsageError:  # its key is no point
            continue
    return len(found) == 4


def known(state: State, card: Card) -> Taproot:
    """What is remembered of an identified card, verified. UNKNOWN also where the state cannot be read."""
    note = None
    with contextlib.suppress(StateError):
        note = state.record(card.serial).taproot
    if note is None or note.version != ".".join(map(str, card.info.version)):
        return Taproot.UNKNOWN
    if not note.proofs:
        problems = {Taproot.ABSENT.value: Taproot.ABSENT, Taproot.DIFFERS.value: Taproot.DIFFERS}
        return problems.get(note.problem or "", Taproot.UNKNOWN)
    try:
        proofs = [Proof.parse(text) for text in note.proofs]
    except ValueError:
        return Taproot.UNKNOWN
    return Taproot.SIGNS if all_parities(card, proofs) else Taproot.UNKNOWN


def any_signs(state: State) -> bool:
    """Whether a card that was asked on this computer signs key paths: where none does, nobody is to be troubled. It is
    not verified here, and true of no card yet."""
    with contextlib.suppress(StateError):
        return any(record.taproot is not None and record.taproot.proofs for record in state.records().values())
    return False


def any_asked(state: State) -> bool:
    """Whether any card was asked on this computer."""
    with contextlib.suppress(StateError):
        return any(record.taproot is not None for record in state.records().values())
    return False


def note_of(card: Card, found: Taproot, proofs: Sequence[Proof] = ()) -> TaprootNote:
    """What is kept of a card that was asked."""
    version = ".".join(map(str, card.info.version))
    if found is Taproot.SIGNS:
        return TaprootNote(version, tuple(proof.to_text() for proof in proofs))
    return TaprootNote(version, problem=found.value)
