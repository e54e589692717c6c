"""From when on the chain takes a transaction: by its lock time (consensus), and by its inputs' (BIP68).

Pure: the time of day is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from hwilib_cryptnox.psbt.fields import LOCK_TIME_THRESHOLD
from hwilib_cryptnox.psbt.tx import SEQUENCE_FINAL, Transaction

_SEQUENCE_LOCK_DISABLED, _SEQUENCE_LOCK_TIME, _SEQUENCE_LOCK_VALUE = 1 << 31, 1 << 22, 0xFFFF
_HEIGHT, _TIME = 840_000, 1_713_571_767
"""A block of the main chain, and its time."""
_FASTEST = 600 / 1.05
"""Seconds a block. From one halving to the next it was never less: 4 % under the ten minutes that are aimed at."""


def _lock(tx: Transaction) -> int:
    """The lock time where it has an effect, else 0."""
    locked = any(sequence != SEQUENCE_FINAL for sequence in tx.sequences)
    return int.from_bytes(tx.lock_time, "little") if locked else 0


def valid_from(tx: Transaction) -> str | None:
    """The first block, or the time, at which the transaction may be mined; None where it may be at once.

    A lock time is the last block that does not admit it. Wallets set it to the latest one, which changes nothing.
    """
    lock = _lock(tx)
    if not lock:
        return None
    if lock < LOCK_TIME_THRESHOLD:
        return f"block {lock + 1}"
    return datetime.fromtimestamp(lock, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def is_ahead(tx: Transaction, now: float, *, main: bool) -> bool:
    """Whether `valid_from` is certain to lie in the future at a time (seconds, Unix). Blocks are measured by the clock
    for the main chain only: how many others have nobody knows."""
    lock = _lock(tx)
    if lock >= LOCK_TIME_THRESHOLD:
        return lock > now
    return main and lock > _HEIGHT + max(0.0, now - _TIME) / _FASTEST


def spans(tx: Transaction) -> Iterator[tuple[int, str]]:
    """Inputs whose outputs must have an age, and which."""
    if int.from_bytes(tx.version, "little") < 2:
        return
    for index, raw in enumerate(tx.sequences):
        sequence = int.from_bytes(raw, "little")
        value = sequence & _SEQUENCE_LOCK_VALUE
        if not sequence & _SEQUENCE_LOCK_DISABLED and value:
            yield index, f"{value * 512} seconds" if sequence & _SEQUENCE_LOCK_TIME else f"{value} blocks"
