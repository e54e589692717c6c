"""Keys that the host derives from extended ones: cheaper than on the card, and with nobody in between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cryptnox_core.bip32 import HARDENED, ExtendedPublicKey, Path
from cryptnox_core.wire import MAX_DEPTH, XPUB_MIN_DEPTH


def account_prefix(path: Path) -> Path | None:
    """The key from which a path's key can be derived without the card: the shortest of 3 levels or more below which
    nothing is hardened. None where there is none."""
    hardened = max((depth for depth, step in enumerate(path.steps, 1) if step >= HARDENED), default=0)
    depth = max(hardened, XPUB_MIN_DEPTH)
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
