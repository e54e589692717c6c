"""The PC/SC functions of tests, as another program has them: pyscard's; where that is not installed, our own."""

from __future__ import annotations

import ctypes
from typing import Any

from cryptnox_core.transport import pcsclite

try:
    from smartcard import scard as pyscard
except ImportError:
    pyscard = None

scard: Any = pcsclite if pyscard is None else pyscard


def reconnect(card: int, mode: int, disposition: int) -> int:
    """SCardReconnect for T=1, which our own binding does not have; the code."""
    if pyscard is not None:
        return int(pyscard.SCardReconnect(card, mode, pyscard.SCARD_PROTOCOL_T1, disposition)[0])
    protocol, words = ctypes.c_ulong(), (mode, pcsclite.SCARD_PROTOCOL_T1, disposition)
    function = pcsclite.load().SCardReconnect
    function.argtypes, function.restype = (ctypes.c_long, *[ctypes.c_ulong] * 3, ctypes.c_void_p), ctypes.c_long
    return int(function(card, *words, ctypes.byref(protocol))) & 0xFFFFFFFF
