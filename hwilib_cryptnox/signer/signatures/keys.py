"""Which keys a PSBT needs from the card, and those that the host derives: cheaper, and with nobody in between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from cryptnox_core.bip32 import HARDENED, ExtendedPublicKey, Path
from cryptnox_core.wire import MAX_DEPTH, XPUB_MIN_DEPTH

if TYPE_CHECKING:
    from hwilib_cryptnox.psbt import Collected

_MOST_CLAIMED = 16
"""Keys of each kind that are read for nothing but to compare what a PSBT claims: it may claim anything."""


def hardened_levels(path: Path) -> int:
    """The depth of the last hardened level: what is below it follows from the key there, without the card."""
    return max((depth for depth, step in enumerate(path.steps, 1) if step >= HARDENED), default=0)


def account_prefix(path: Path) -> Path | None:
    """The key from which a path's key can be derived without the card: the shortest of 3 levels or more below which
    nothing is hardened. None where there is none."""
    depth = max(hardened_levels(path), XPUB_MIN_DEPTH)
    return Path(path.steps[:depth]) if depth <= min(path.depth, MAX_DEPTH) else None


def derived_keys(
    paths: Iterable[Path], extended: Mapping[Path, ExtendedPublicKey], public: Mapping[Path, bytes]
) -> dict[Path, bytes]:
    """The compressed keys at paths, as far as they follow from what was read."""
    keys = dict(public)
    branches: dict[Path, ExtendedPublicKey] = dict(extended)
    for path in paths:
        if path in keys:
            continue
        prefix = account_prefix(path)
        if prefix is None or prefix not in extended:
            continue
        if path == prefix:
            keys[path] = extended[prefix].public_key
            continue
        parent = path.parent
        if parent not in branches:
            branches[parent] = extended[prefix].derive(parent.below(prefix))
        keys[path] = branches[parent].child_public_key(path.steps[-1])
    return keys


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
