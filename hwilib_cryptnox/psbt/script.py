"""Bitcoin scripts: which kind an output is, and what a script pushes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

OP_PUSHDATA1, OP_PUSHDATA4, OP_1, OP_16 = 0x4C, 0x4E, 0x51, 0x60
OP_RETURN, OP_DUP, OP_EQUAL, OP_EQUALVERIFY, OP_HASH160 = 0x6A, 0x76, 0x87, 0x88, 0xA9
OP_CODESEPARATOR, OP_CHECKSIG, OP_CHECKMULTISIG = 0xAB, 0xAC, 0xAE
OP_CHECKSIGADD, OP_NUMEQUAL = 0xBA, 0x9C
MAX_REDEEM_SCRIPT, MAX_SCRIPT = 520, 10_000
"""Bytes: the largest redeem script that can be pushed, the largest script (but for tapscript) that consensus runs."""
ANCHOR = b"\x51\x02\x4e\x73"
"""Pay to anchor (P2A): whoever wants to pay a fee for the transaction may spend it, without any signature."""
_OP_SUCCESS = frozenset(
    (80, 98, *range(126, 130), *range(131, 135), 137, 138, 141, 142, *range(149, 154), *range(187, 255))
)
_MULTISIG_MAX_KEYS = 20


class Kind(Enum):
    """Kinds of scriptPubKey."""

    P2PK = "P2PK"
    P2PKH = "P2PKH"
    P2SH = "P2SH"
    P2WPKH = "P2WPKH"
    P2WSH = "P2WSH"
    P2TR = "P2TR"
    P2A = "an anchor that anyone can spend (P2A)"
    WITNESS_UNKNOWN = "a future witness version"
    MULTISIG = "bare multisig"
    OP_RETURN = "data"
    BARE = "a bare script"


def kind_of(script: bytes) -> Kind:
    """The kind of a scriptPubKey."""
    size = len(script)
    if size == 22 and script[:2] == b"\x00\x14":
        return Kind.P2WPKH
    if size == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return Kind.P2PKH
    if size == 23 and script[:2] == b"\xa9\x14" and script[22] == OP_EQUAL:
        return Kind.P2SH
    if size == 34 and script[:2] == b"\x51\x20":
        return Kind.P2TR
    if size == 34 and script[:2] == b"\x00\x20":
        return Kind.P2WSH
    if script == ANCHOR:
        return Kind.P2A
    if is_witness_program(script):
        return Kind.WITNESS_UNKNOWN
    if size in (35, 67) and script[0] == size - 2 and script[-1] == OP_CHECKSIG:
        return Kind.P2PK
    if size and script[0] == OP_RETURN:
        return Kind.OP_RETURN
    return Kind.MULTISIG if parse_multisig(script) else Kind.BARE


def is_witness_program(script: bytes) -> bool:
    """BIP141: a version opcode and one push of 2 to 40 bytes."""
    return 4 <= len(script) <= 42 and (script[0] == 0 or OP_1 <= script[0] <= OP_16) and script[1] == len(script) - 2


def p2pkh(key_hash: bytes) -> bytes:
    """The P2PKH script of a HASH160 (20 bytes); also the script code of P2WPKH."""
    return b"\x76\xa9\x14" + key_hash + b"\x88\xac"


def p2sh(script_hash: bytes) -> bytes:
    """The P2SH script of a HASH160 (20 bytes)."""
    return b"\xa9\x14" + script_hash + b"\x87"


def p2wpkh(key_hash: bytes) -> bytes:
    """The P2WPKH script of a HASH160 (20 bytes)."""
    return b"\x00\x14" + key_hash


def push(data: bytes) -> bytes:
    """The shortest push of `data` (at most 65535 bytes), numbers aside."""
    size = len(data)
    if size < OP_PUSHDATA1:
        return bytes((size,)) + data
    if size <= 0xFF:
        return bytes((OP_PUSHDATA1, size)) + data
    return b"\x4d" + size.to_bytes(2, "little") + data


def operations(script: bytes) -> Iterator[tuple[int, bytes | None, int]]:
    """Opcode, the bytes it pushes (or None), the position behind it. ValueError at a push that runs over the end."""
    at, size = 0, len(script)
    while at < size:
        opcode = script[at]
        at += 1
        if opcode > OP_PUSHDATA4:
            yield opcode, None, at
            continue
        length = opcode
        if opcode >= OP_PUSHDATA1:
            width = 1 << (opcode - OP_PUSHDATA1)
            if at + width > size:
                raise ValueError("a push runs past the end of the script")
            length = int.from_bytes(script[at : at + width], "little")
            at += width
        if length > size - at:
            raise ValueError("a push runs past the end of the script")
        yield opcode, script[at : at + length], at + length
        at += length


@dataclass(frozen=True, slots=True)
class ScriptFacts:
    """What a signer wants to know of a script."""

    pushes: frozenset[bytes]
    code_separator: bool
    success: bool
    """Has an OP_SUCCESSx: as a tapscript anyone can spend it."""


def examine(script: bytes) -> ScriptFacts:
    """Reads a script once. Raises ValueError where it cannot be parsed."""
    pushes, opcodes = set(), set()
    for opcode, data, _ in operations(script):
        opcodes.add(opcode)
        if data:
            pushes.add(data)
    return ScriptFacts(
        pushes=frozenset(pushes),
        code_separator=OP_CODESEPARATOR in opcodes,
        success=not opcodes.isdisjoint(_OP_SUCCESS),
    )


def remove_code_separators(script: bytes) -> bytes:
    """The script without OP_CODESEPARATOR, as the legacy signature hash wants it; what cannot be parsed stays."""
    if OP_CODESEPARATOR not in script:
        return script
    kept, at = [], 0
    try:
        for opcode, _, end in operations(script):
            if opcode != OP_CODESEPARATOR:
                kept.append(script[at:end])
            at = end
    except ValueError:
        pass
    return b"".join((*kept, script[at:]))


def parse_multisig(script: bytes) -> tuple[int, tuple[bytes, ...]] | None:
    """Threshold and keys of `m <key>... n OP_CHECKMULTISIG`, or None where the script is no such one."""
    if len(script) < 37 or script[-1] != OP_CHECKMULTISIG or not OP_1 <= script[0] <= OP_16:
        return None
    keys: list[bytes] = []
    at, end = 1, len(script) - 2
    while at < end and len(keys) <= _MULTISIG_MAX_KEYS:
        size = script[at]
        if size not in (33, 65) or at + 1 + size > end:
            break
        keys.append(script[at + 1 : at + 1 + size])
        at += 1 + size
    count = script[end] - OP_1 + 1
    if at == end - 1 and script[at] == 1:  # above 16 the number is pushed as a byte
        at, count = end + 1, script[end]
        end = at
    threshold = script[0] - OP_1 + 1
    return (threshold, tuple(keys)) if at == end and len(keys) == count and threshold <= len(keys) else None
