"""RIPEMD-160 for machines whose OpenSSL leaves it out (as OpenSSL 3.0.0 to 3.0.6 do).

From the description of the algorithm by Dobbertin, Bosselaers and Preneel (1996). Public data only: not constant-time.
"""

from __future__ import annotations

import struct

_MASK = 0xFFFFFFFF
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
_LEFT_CONSTANTS = (0, 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xA953FD4E)
_RIGHT_CONSTANTS = (0x50A28BE6, 0x5C4DD124, 0x6D703EF3, 0x7A6D76E9, 0)

_RHO = (7, 4, 13, 1, 10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8)
_SHIFTS = (
    (11, 14, 15, 12, 5, 8, 7, 9, 11, 13, 14, 15, 6, 7, 9, 8),
    (12, 13, 11, 15, 6, 9, 9, 7, 12, 15, 11, 13, 7, 8, 7, 7),
    (13, 15, 14, 11, 7, 7, 6, 8, 13, 14, 13, 12, 5, 5, 6, 9),
    (14, 11, 12, 14, 8, 6, 5, 5, 15, 12, 15, 14, 9, 9, 8, 6),
    (15, 12, 13, 13, 9, 5, 8, 6, 14, 11, 12, 11, 8, 6, 5, 5),
)


def _orders() -> tuple[list[list[int]], list[list[int]]]:
    """The word orders of the left and right line: identity and 9i+5, then rho applied once more for each round."""
    left, right = [list(range(16))], [[(9 * i + 5) % 16 for i in range(16)]]
    for _ in range(4):
        left.append([_RHO[i] for i in left[-1]])
        right.append([_RHO[i] for i in right[-1]])
    return left, right


_LEFT, _RIGHT = _orders()


def _mix(kind: int, x: int, y: int, z: int) -> int:
    if kind == 0:
        return x ^ y ^ z
    if kind == 1:
        return (x & y) | (~x & z)
    if kind == 2:
        return (x | ~y) ^ z
    if kind == 3:
        return (x & z) | (y & ~z)
    return x ^ (y | ~z)


def _rotate(value: int, bits: int) -> int:
    value &= _MASK
    return ((value << bits) | (value >> (32 - bits))) & _MASK


def _line(state: tuple[int, ...], words: tuple[int, ...], left: bool) -> tuple[int, int, int, int, int]:
    a, b, c, d, e = state
    for turn in range(5):
        order = (_LEFT if left else _RIGHT)[turn]
        constant = (_LEFT_CONSTANTS if left else _RIGHT_CONSTANTS)[turn]
        kind = turn if left else 4 - turn
        for word in order:
            mixed = a + _mix(kind, b, c, d) + words[word] + constant
            a, e, d, c, b = e, d, _rotate(c, 10), b, (_rotate(mixed, _SHIFTS[turn][word]) + e) & _MASK
    return a, b, c, d, e


def digest(data: bytes) -> bytes:
    """The 20 bytes of RIPEMD-160 of `data`."""
    padded = data + b"\x80" + bytes((55 - len(data)) % 64) + struct.pack("<Q", 8 * len(data))
    h = _START
    for at in range(0, len(padded), 64):
        words = struct.unpack("<16I", padded[at : at + 64])
        _, b, c, d, e = left = _line(h, words, left=True)
        a2, b2, c2, d2, e2 = _line(h, words, left=False)
        h = tuple(
            value & _MASK for value in (h[1] + c + d2, h[2] + d + e2, h[3] + e + a2, h[4] + left[0] + b2, h[0] + b + c2)
        )  # type: ignore[assignment]
    return struct.pack("<5I", *h)
