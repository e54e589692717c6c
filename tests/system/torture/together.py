"""What a card signs by MuSig2, for the programs that are tortured: with other signers, and alone (BIP86)."""

from __future__ import annotations

from cryptnox_core.emulator.readings import Reading
from hwilib_cryptnox.psbt import Psbt, collect
from hwilib_cryptnox.psbt.sighash import SignatureHasher
from tests.psbt.factory import ME, Draft, Pairs, draft, spend
from tests.psbt.musig import NONCE, PARTIAL, Shared, shared
from tests.psbt.signing import check_all_signed
from tests.support import bip86
from tests.system.torture.forked import ForkedCard

READINGS = (Reading.MUSIG2,)


def _first_round(key: Shared) -> Pairs:
    """The others' nonces: the same each time, since what they sign is looked at more than once."""
    return [
        key.pair(NONCE, other.key, other.nonce((number + 2, number + 3))) for number, other in enumerate(key.others)
    ]


KEYS = (shared("internal"), shared("derived-leaf", secrets=(9, 10)))
TOGETHER: Draft = draft(
    *[key.item(100_000, number, *_first_round(key)) for number, key in enumerate(KEYS)], spend("p2wpkh", 10)
)
"""Coins of MuSig2 keys, and one of the card's key alone. The others have given their nonces."""
ALONE: Draft = draft(*[bip86.coin(path, proved=True) for path in bip86.one_of_each()[:2]], spend("p2wpkh", 10))
"""Coins of BIP86, and one of another kind."""


def check_together(content: bytes | str) -> set[str]:
    """The card's parts are there, and with those of the others every input is right. Each part (nonce and partial
    signature), in hexadecimal."""
    psbt = Psbt.parse(content.strip())
    if not collect(psbt, ME.fingerprint).stays_unchanged:
        raise AssertionError("not all signatures are there")
    hasher = SignatureHasher(psbt.tx, [(item.amount, item.script) for item in TOGETHER.ins])
    added = {}
    for index, key in enumerate(KEYS):
        _first_round(key)
        added[index] = key.second_round(psbt, index, hasher.taproot(index, 0, leaf_hash=key.leaf))
    check_all_signed(psbt.with_added(added), TOGETHER)
    pairs = [pair for fields in psbt.inputs for pair in fields.pairs.items() if pair[0][0] == PARTIAL]
    nonces = {name[1:]: value for fields in psbt.inputs for name, value in fields.pairs.items() if name[0] == NONCE}
    parts = {(nonces[name[1:]] + value).hex() for name, value in pairs}
    if len(parts) != len(KEYS):
        raise AssertionError(f"{len(parts)} parts of {len(KEYS)}")
    return parts


def check_alone(content: bytes | str) -> None:
    """All signatures are there, and each is right."""
    psbt = Psbt.parse(content.strip())
    if not collect(psbt, ME.fingerprint, taproot=True).stays_unchanged:
        raise AssertionError("not all signatures are there")
    check_all_signed(psbt, ALONE)


def check_nonces(*parts: set[str]) -> None:
    """No half of a nonce stands in two different parts."""
    made = set[str]().union(*parts)
    halves = {half for part in made for half in (part[2:66], part[68:132])}
    if len(halves) != 2 * len(made):
        raise AssertionError("a nonce is in two parts")


def check_card(card: ForkedCard) -> None:
    """No nonce of the card met a second PARTIAL SIGN, whatever the first was answered."""
    if card.count("nonces_again"):
        raise AssertionError("a nonce met two PARTIAL SIGNs")
