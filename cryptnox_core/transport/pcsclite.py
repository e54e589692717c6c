"""PC/SC through `libpcsclite.so.1` itself, for Linux, where pyscard has to be compiled.

Functions and constants have the names and forms of pyscard's `smartcard.scard`, as far as `pcsc` uses them: a function
returns the service's code first, then what it found. Source: winscard.h and pcsclite.h of pcsc-lite, whose types are
those of Linux and the BSDs (macOS packs and sizes them in another way).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_long, c_ubyte, c_ulong, c_void_p
from functools import cache

LIBRARY = "libpcsclite.so.1"

SCARD_S_SUCCESS = 0
SCARD_F_INTERNAL_ERROR = 0x80100001
SCARD_E_INVALID_HANDLE = 0x80100003
SCARD_E_INSUFFICIENT_BUFFER = 0x80100008
SCARD_E_UNKNOWN_READER = 0x80100009
SCARD_E_SHARING_VIOLATION = 0x8010000B
SCARD_E_NO_SMARTCARD = 0x8010000C
SCARD_E_PROTO_MISMATCH = 0x8010000F
SCARD_F_COMM_ERROR = 0x80100013
SCARD_E_NOT_TRANSACTED = 0x80100016
SCARD_E_READER_UNAVAILABLE = 0x80100017
SCARD_E_NO_SERVICE = 0x8010001D
SCARD_E_SERVICE_STOPPED = 0x8010001E
SCARD_E_NO_READERS_AVAILABLE = 0x8010002E
SCARD_E_COMM_DATA_LOST = 0x8010002F
SCARD_W_UNSUPPORTED_CARD = 0x80100065
SCARD_W_UNRESPONSIVE_CARD = 0x80100066
SCARD_W_UNPOWERED_CARD = 0x80100067
SCARD_W_RESET_CARD = 0x80100068
SCARD_W_REMOVED_CARD = 0x80100069

SCARD_SCOPE_USER = 0
SCARD_SHARE_EXCLUSIVE, SCARD_SHARE_SHARED = 1, 2
SCARD_PROTOCOL_T1 = 2
SCARD_LEAVE_CARD, SCARD_RESET_CARD, SCARD_UNPOWER_CARD = 0, 1, 2
SCARD_STATE_UNAWARE, SCARD_STATE_PRESENT = 0x0000, 0x0020

_MAX_ATR = 33
_MAX_ANSWER = 4 + 3 + (1 << 16) + 3 + 2
"""MAX_BUFFER_SIZE_EXTENDED."""


class _IoRequest(ctypes.Structure):
    _fields_ = (("protocol", c_ulong), ("length", c_ulong))


class _ReaderState(ctypes.Structure):
    _fields_ = (
        ("reader", c_char_p),
        ("user_data", c_void_p),
        ("current", c_ulong),
        ("event", c_ulong),
        ("atr_length", c_ulong),
        ("atr", c_ubyte * _MAX_ATR),
    )


SCARD_PCI_T1 = _IoRequest(SCARD_PROTOCOL_T1, ctypes.sizeof(_IoRequest))

_HANDLE, _DWORD, _BYTES, _OUT = c_long, c_ulong, c_char_p, POINTER(c_ulong)
_ARGUMENTS = {
    "SCardEstablishContext": (_DWORD, c_void_p, c_void_p, POINTER(_HANDLE)),
    "SCardReleaseContext": (_HANDLE,),
    "SCardListReaders": (_HANDLE, _BYTES, c_void_p, _OUT),
    "SCardGetStatusChange": (_HANDLE, _DWORD, POINTER(_ReaderState), _DWORD),
    "SCardConnect": (_HANDLE, _BYTES, _DWORD, _DWORD, POINTER(_HANDLE), _OUT),
    "SCardDisconnect": (_HANDLE, _DWORD),
    "SCardBeginTransaction": (_HANDLE,),
    "SCardEndTransaction": (_HANDLE, _DWORD),
    "SCardTransmit": (_HANDLE, POINTER(_IoRequest), _BYTES, _DWORD, c_void_p, c_void_p, _OUT),
}


@cache
def load() -> ctypes.CDLL:
    """The library. Raises: OSError where it is not there."""
    library = ctypes.CDLL(LIBRARY)
    for name, arguments in _ARGUMENTS.items():
        getattr(library, name).argtypes = arguments
        getattr(library, name).restype = c_long
    library.pcsc_stringify_error.argtypes = (c_long,)
    library.pcsc_stringify_error.restype = c_char_p
    return library


def _call(name: str, *arguments: object) -> int:
    """A function's code, without the sign that 32 bits give it."""
    return int(getattr(load(), name)(*arguments)) & 0xFFFFFFFF


def SCardEstablishContext(scope: int) -> tuple[int, int]:
    context = _HANDLE()
    return _call("SCardEstablishContext", scope, None, None, byref(context)), context.value


def SCardReleaseContext(context: int) -> int:
    return _call("SCardReleaseContext", context)


def SCardListReaders(context: int, _groups: Sequence[str]) -> tuple[int, list[str]]:
    """Of all groups: pcsc-lite knows no others."""
    code = SCARD_E_INSUFFICIENT_BUFFER
    while code == SCARD_E_INSUFFICIENT_BUFFER:  # a reader came between the two calls
        length = c_ulong()
        code = _call("SCardListReaders", context, None, None, byref(length))
        if code == SCARD_S_SUCCESS:
            names = ctypes.create_string_buffer(length.value)
            code = _call("SCardListReaders", context, None, names, byref(length))
    if code != SCARD_S_SUCCESS:
        return code, []
    return code, [_text(name) for name in names.raw[: length.value].split(b"\0") if name]


def SCardGetStatusChange(
    context: int, timeout: int, wanted: Sequence[tuple[str, int]]
) -> tuple[int, list[tuple[str, int, bytes]]]:
    """`timeout`: milliseconds."""
    states = (_ReaderState * len(wanted))(*(_ReaderState(_name(name), None, state) for name, state in wanted))
    code = _call("SCardGetStatusChange", context, timeout, states, len(wanted))
    return code, [(_text(one.reader), one.event, bytes(one.atr)[: one.atr_length]) for one in states]


def SCardConnect(context: int, reader: str, mode: int, protocols: int) -> tuple[int, int, int]:
    card, protocol = _HANDLE(), c_ulong()
    code = _call("SCardConnect", context, _name(reader), mode, protocols, byref(card), byref(protocol))
    return code, card.value, protocol.value


def SCardDisconnect(card: int, disposition: int) -> int:
    return _call("SCardDisconnect", card, disposition)


def SCardBeginTransaction(card: int) -> int:
    return _call("SCardBeginTransaction", card)


def SCardEndTransaction(card: int, disposition: int) -> int:
    return _call("SCardEndTransaction", card, disposition)


def SCardTransmit(card: int, protocol: _IoRequest, command: Sequence[int]) -> tuple[int, bytes]:
    answer, length = ctypes.create_string_buffer(_MAX_ANSWER), c_ulong(_MAX_ANSWER)
    data = bytes(command)
    code = _call("SCardTransmit", card, byref(protocol), data, len(data), None, answer, byref(length))
    return code, answer.raw[: length.value] if code == SCARD_S_SUCCESS else b""


def SCardGetErrorMessage(code: int) -> str:
    return _text(load().pcsc_stringify_error(code))


def _name(reader: str) -> bytes:
    return reader.encode("utf-8", "surrogateescape")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
