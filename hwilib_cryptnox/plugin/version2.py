"""PSBTs of version 2 in hwilib: 3.1 and 3.2.0 change them while they read them. Here that is seen, and mended."""

from __future__ import annotations

import base64
import functools
import threading
from collections.abc import Callable
from typing import Any

from hwilib.psbt import PSBT

_PROBE = bytes.fromhex("70736274ff0102040200000001030405000000010401000105010001fb040200000000")
"""A PSBT of version 2 without inputs and outputs: transaction version 2, fallback lock time 5."""
_READ, _TRANSACTION = "cache_unsigned_tx_pieces", "get_unsigned_tx"
"""The methods of hwilib's PSBT. The first copies the transaction of version 0 into the fields of version 2, as its
docstring says; 3.2.0 and earlier do the same for version 2, where there is no such transaction, so that version 1 and
lock time 0 replace what was read. The second makes the transaction of version 2, and leaves its lock time out."""
_KEPT = "_cryptnox_kept"
"""What marks a PSBT of version 2 that was read after the mending."""
_lock = threading.Lock()


def _reads() -> bool:
    """Whether hwilib keeps what a PSBT of version 2 says."""
    probe = PSBT()
    try:
        probe.deserialize(base64.b64encode(_PROBE).decode("ascii"))
    except Exception:  # noqa: BLE001 - whatever it stumbles over, it does not read it
        return False
    found = [getattr(probe, name, None) for name in ("version", "tx_version", "fallback_locktime")]
    return found == [2, 2, 5]


def _makes_transaction() -> bool:
    """Whether the transaction that hwilib makes of version 2 has its lock time."""
    probe = PSBT()
    try:
        probe.deserialize(base64.b64encode(_PROBE).decode("ascii"))
        return bool(getattr(probe, _TRANSACTION)().nLockTime == 5)
    except Exception:  # noqa: BLE001 - as above
        return False


def _reading(original: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(original)
    def cache_unsigned_tx_pieces(self: Any) -> None:
        if self.version == 0:
            original(self)
        else:
            setattr(self, _KEPT, True)

    return cache_unsigned_tx_pieces


def _making(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @functools.wraps(original)
    def get_unsigned_tx(self: Any) -> Any:
        made = original(self)
        if made is not self.tx:
            made.nLockTime = self.compute_lock_time()
            made.rehash()
        return made

    return get_unsigned_tx


def _mend(name: str, is_right: Callable[[], bool], around: Callable[[Any], Any]) -> None:
    """Wrap a method of PSBT where it is wrong, if that makes it right."""
    original = getattr(PSBT, name, None)
    if original is None or is_right():
        return
    setattr(PSBT, name, around(original))
    if not is_right():
        setattr(PSBT, name, original)


def mend() -> None:
    """Make this process's hwilib keep PSBTs of version 2. Where it does so by itself nothing is touched, and what it
    does with version 0 stays as it is. Harmless when called again."""
    with _lock:
        _mend(_READ, _reads, _reading)
        if _reads():
            # Of what was changed in reading, a transaction with the right lock time would be neither the one nor the
            # other.
            _mend(_TRANSACTION, _makes_transaction, _making)


def is_kept(psbt: Any) -> bool:
    """Whether a PSBT of hwilib's still says what was read. One that was read before `mend` does not."""
    if getattr(psbt, "version", 0) == 0 or getattr(psbt, _KEPT, False):
        return True
    if not _reads():
        return False
    if not hasattr(getattr(PSBT, _READ, None), "__wrapped__") or not psbt.tx.is_null():
        return True
    as_changed: bool = psbt.tx_version == psbt.tx.nVersion and psbt.fallback_locktime == psbt.tx.nLockTime
    return not as_changed
