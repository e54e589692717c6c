"""Which keys of a PSBT say that they are ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cryptnox_core.bip32 import MASTER, Path
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.codec import FieldMap, Pair, Psbt

MAX_CARD_DEPTH = 8
"""Levels that the card derives."""
_MAX_SUFFIX = 3
"""Levels an origin may have whose fingerprint is an account's (Electrum): chain and address, with room for one more."""
_NO_LEAVES: frozenset[bytes] = frozenset()
_DERIVATIONS = (f.IN_BIP32_DERIVATION, f.IN_TAP_BIP32_DERIVATION)


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that the PSBT says to be ours."""

    public_key: bytes
    """33 or 65 bytes; 32 (x only) in taproot fields."""
    path: Path
    leaf_hashes: frozenset[bytes] = frozenset()
    by_account: bool = False
    """Found by an account's fingerprint, as Electrum writes origins that it does not know: may be a coincidence."""
    suffix: Path = MASTER
    """Of a key that has a part in a MuSig2 key: the levels of that one below the aggregate."""

    @property
    def place(self) -> Path:
        """The path of the key, with the levels of the MuSig2 key that it is part of: what tells the address."""
        return self.path.extend(self.suffix)

    @property
    def is_taproot(self) -> bool:
        """Whether it stands in a taproot field."""
        return len(self.public_key) == 32


def shown(path: Path) -> str:
    """A path for a message: one that is longer than any card derives is cut, with its length."""
    if len(path) <= MAX_CARD_DEPTH + 1:
        return str(path)
    return f"{Path(path.steps[:MAX_CARD_DEPTH])}/... ({len(path)} levels)"


class Matcher:
    """Finds our claims. `accounts`: path of each account by the fingerprint of its extended key."""

    __slots__ = ("_accounts", "_fingerprint", "_paths")

    def __init__(self, fingerprint: bytes, accounts: Mapping[bytes, Path]) -> None:
        self._fingerprint = fingerprint
        self._accounts = accounts
        self._paths: dict[bytes, tuple[Path, bool]] = {}

    def claims(self, pairs: Iterable[Pair], field: int, tap_field: int) -> list[Claim]:
        """All claims of a map (keys with their type)."""
        found = []
        for key, value in pairs:
            if key[0] == field:
                leaf_hashes, origin = _NO_LEAVES, value
            elif key[0] == tap_field:
                leaf_hashes, origin = f.split_tap_derivation(value)
            else:
                continue
            ours = self._origin(origin)
            if ours is not None:
                found.append(Claim(key[1:], ours[0], leaf_hashes, ours[1]))
        return found

    def _origin(self, value: bytes) -> tuple[Path, bool] | None:
        mark = value[:4]
        if mark == self._fingerprint:
            known = self._paths.get(value)
            if known is None:
                known = self._paths[value] = Path.from_bytes(value[4:], "little"), False
            return known
        account = self._accounts.get(mark)
        if account is None:
            return None
        suffix = Path.from_bytes(value[4:], "little")
        return (account.extend(suffix), True) if suffix.is_unhardened and 0 < len(suffix) <= _MAX_SUFFIX else None


def names_keys(fields: FieldMap) -> bool:
    """Whether an input says where any of its keys comes from; without that nobody's key is found."""
    return any(key[0] in _DERIVATIONS for key in fields.pairs)


def originless(psbt: Psbt) -> bool:
    """Whether an input has a key whose origin may be an account instead of a master key."""
    return any(_is_short(value) for fields in psbt.inputs for _, value in fields.keyed(f.IN_BIP32_DERIVATION))


def _is_short(value: bytes) -> bool:
    levels = [value[at : at + 4] for at in range(4, len(value), 4)]
    return 0 < len(levels) <= _MAX_SUFFIX and all(level[3] < 0x80 for level in levels if len(level) == 4)
