"""Which keys a PSBT needs from the card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cryptnox_core.bip32 import Path
from cryptnox_core.wire import MAX_DEPTH
from hwilib_cryptnox.psbt import Collected, Psbt
from hwilib_cryptnox.psbt import fields as psbt_fields
from hwilib_cryptnox.psbt.codec import InputMap
from hwilib_cryptnox.signer.derived import account_prefix, derived_keys

__all__ = ["account_prefix", "derived_keys", "names_keys", "originless", "wanted_keys"]

_MOST_CLAIMED = 16
"""Keys of each kind that are read for nothing but to compare what a PSBT claims: it may claim anything."""
_ORIGINLESS = 3
"""Levels an origin may have whose fingerprint is an account's (Electrum): chain and address, with room for one more."""

_DERIVATIONS = (psbt_fields.IN_BIP32_DERIVATION, psbt_fields.IN_TAP_BIP32_DERIVATION)


def wanted_keys(collected: Collected, *, export: bool) -> tuple[list[Path], list[Path]]:
    """Which extended and which single public keys to read: those that sign all; of other claims, of inputs and outputs,
    those that cost nothing more, and a few others. `plan` refuses what it cannot compare."""
    xpubs: dict[Path, None] = {}
    singles: dict[Path, None] = {}

    def want(path: Path) -> None:
        prefix = account_prefix(path) if export else None
        if prefix is not None:
            xpubs[prefix] = None
        else:
            singles[path] = None

    for path in collected.signing_paths:
        want(path)
    for paths in (collected.paths, collected.output_paths, collected.signed_paths):
        extra = 0
        for path in paths:
            prefix = account_prefix(path) if export else None
            if prefix not in xpubs and path not in singles and extra < _MOST_CLAIMED:
                extra += 1
                want(path)
    return list(xpubs), [path for path in singles if path.depth <= MAX_DEPTH]


def names_keys(fields: InputMap) -> bool:
    """Whether an input says where any of its keys comes from; without that nobody's key is found."""
    return any(key[0] in _DERIVATIONS for key in fields.pairs)


def originless(psbt: Psbt) -> bool:
    """Whether an input has a key whose origin may be an account instead of a master key."""
    return any(_is_short(value) for fields in psbt.inputs for value in _origins(fields.pairs))


def _origins(pairs: Mapping[bytes, bytes]) -> Iterator[bytes]:
    for key, value in pairs.items():
        if key[0] == psbt_fields.IN_BIP32_DERIVATION:
            yield value


def _is_short(value: bytes) -> bool:
    levels = [value[at : at + 4] for at in range(4, len(value), 4)]
    return 0 < len(levels) <= _ORIGINLESS and all(level[3] < 0x80 for level in levels if len(level) == 4)
