"""Bitcoin transactions as a signer needs them: strict parsing, ids, and the parts that are hashed.

All numbers of counted things are checked against the bytes that are left before anything is built, so time and memory
stay in proportion to the input.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, replace

from hwilib_cryptnox.psbt.errors import BadPsbt

MAX_MONEY = 21_000_000 * 100_000_000
"""Satoshi; no amount and no sum of amounts is above it."""
SEQUENCE_FINAL = b"\xff\xff\xff\xff"
NULL_OUTPOINT = bytes(32) + b"\xff\xff\xff\xff"
"""What a coinbase spends, and BIP322's `to_spend`: nothing."""
SIGNED_AMOUNT = struct.Struct("<q")
_MIN_INPUT, _MIN_OUTPUT = 41, 9
_OUTPOINT = 36

Stack = tuple[bytes, ...]
Unlocking = tuple[bytes, Stack]
"""scriptSig and witness."""
Output = tuple[int, bytes]
"""Amount in satoshi (as written, not checked for range) and scriptPubKey."""


def encode_compact(value: int) -> bytes:
    """A CompactSize."""
    if value < 0xFD:
        return bytes((value,))
    if value <= 0xFFFF:
        return b"\xfd" + value.to_bytes(2, "little")
    if value <= 0xFFFFFFFF:
        return b"\xfe" + value.to_bytes(4, "little")
    return b"\xff" + value.to_bytes(8, "little")


def read_compact(data: bytes, at: int) -> tuple[int, int]:
    """A CompactSize at `at` and the position behind it; only the shortest form is taken."""
    if at >= len(data):
        raise BadPsbt("cut short")
    first = data[at]
    if first < 0xFD:
        return first, at + 1
    width = 2 << (first - 0xFD)
    end = at + 1 + width
    if end > len(data):
        raise BadPsbt("cut short")
    value = int.from_bytes(data[at + 1 : end], "little")
    if value < 0xFD or (width > 2 and not value >> (width * 4)):
        raise BadPsbt("a length is not in its shortest form")
    return value, end


def with_length(data: bytes) -> bytes:
    """`data` behind its length."""
    return encode_compact(len(data)) + data


def read_with_length(data: bytes, at: int) -> tuple[bytes, int]:
    """A byte string behind its length, and the position behind it."""
    length, at = read_compact(data, at)
    if length > len(data) - at:
        raise BadPsbt("cut short")
    return data[at : at + length], at + length


def encode_output(output: Output) -> bytes:
    """Amount and script as they stand in a transaction."""
    return SIGNED_AMOUNT.pack(output[0]) + with_length(output[1])


def read_output(data: bytes, at: int) -> tuple[Output, int]:
    """An output and the position behind it."""
    if at + _MIN_OUTPUT > len(data):
        raise BadPsbt("cut short")
    (amount,) = SIGNED_AMOUNT.unpack_from(data, at)
    script, at = read_with_length(data, at + 8)
    return (amount, script), at


def read_witness(data: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
    """A witness stack and the position behind it."""
    count, at = read_compact(data, at)
    if count > len(data) - at:
        raise BadPsbt("cut short")
    items = []
    for _ in range(count):
        item, at = read_with_length(data, at)
        items.append(item)
    return tuple(items), at


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction in the parts that signature hashes are made of."""

    version: bytes
    """4 bytes, little-endian."""
    outpoints: tuple[bytes, ...]
    """36 bytes each: transaction id in wire order, output index."""
    sequences: tuple[bytes, ...]
    """4 bytes each, little-endian."""
    outputs: tuple[Output, ...]
    lock_time: bytes
    """4 bytes, little-endian."""
    script_sigs: tuple[bytes, ...] = ()
    witnesses: tuple[tuple[bytes, ...], ...] = ()

    @classmethod
    def parse(cls, data: bytes, *, witness: bool = True) -> Transaction:
        """A whole transaction. `witness=False`: the form without witnesses only, as PSBT_GLOBAL_UNSIGNED_TX has it.

        Raises BadPsbt.
        """
        segwit = witness and data[4:6] == b"\x00\x01"
        count, at = read_compact(data, 6 if segwit else 4)
        if count * _MIN_INPUT > len(data) - at:
            raise BadPsbt("cut short")
        outpoints, script_sigs, sequences = [], [], []
        for _ in range(count):
            outpoints.append(data[at : at + _OUTPOINT])
            script, at = read_with_length(data, at + _OUTPOINT)
            script_sigs.append(script)
            sequences.append(data[at : at + 4])
            at += 4
        count, at = read_compact(data, at)
        if count * _MIN_OUTPUT > len(data) - at:
            raise BadPsbt("cut short")
        outputs = []
        for _ in range(count):
            output, at = read_output(data, at)
            outputs.append(output)
        witnesses = []
        if segwit:
            for _ in outpoints:
                stack, at = read_witness(data, at)
                witnesses.append(stack)
        _check_end(data, at)
        return cls(
            version=data[:4],
            outpoints=tuple(outpoints),
            sequences=tuple(sequences),
            outputs=tuple(outputs),
            lock_time=data[at:],
            script_sigs=tuple(script_sigs),
            witnesses=tuple(witnesses),
        )

    def encode(self) -> bytes:
        """The transaction; in the form with witnesses where one input has a witness."""
        segwit = any(self.witnesses)
        parts = [self.version, b"\x00\x01" if segwit else b"", encode_compact(len(self.outpoints))]
        scripts = self.script_sigs or (b"",) * len(self.outpoints)
        for outpoint, script, sequence in zip(self.outpoints, scripts, self.sequences, strict=True):
            parts += (outpoint, with_length(script), sequence)
        parts.append(encode_compact(len(self.outputs)))
        parts += map(encode_output, self.outputs)
        if segwit:
            for stack in self.witnesses:
                parts.append(encode_compact(len(stack)))
                parts += map(with_length, stack)
        parts.append(self.lock_time)
        return b"".join(parts)


def txid_of(tx: Transaction) -> str:
    """The id of a transaction, as people write it: of its form without witnesses, in hexadecimal, last byte first."""
    plain = replace(tx, witnesses=()).encode()
    return hashlib.sha256(hashlib.sha256(plain).digest()).digest()[::-1].hex()


def _check_end(data: bytes, at: int) -> None:
    if at + 4 > len(data):
        raise BadPsbt("cut short")
    if at + 4 < len(data):
        raise BadPsbt("extra bytes after its end")


@dataclass(frozen=True, slots=True)
class Previous:
    """What an input spends, as its previous transaction tells it."""

    txid: bytes
    """32 bytes in wire order."""
    output: Output | None
    """None: the transaction has no output of that index."""


def parse_previous(data: bytes, index: int) -> Previous:
    """Id and one output of a previous transaction, which is checked to its last byte. Raises BadPsbt."""
    size = len(data)
    segwit = data[4:6] == b"\x00\x01"
    start = 6 if segwit else 4
    count, at = read_compact(data, start)
    inputs = count
    if count * _MIN_INPUT > size - at:
        raise BadPsbt("cut short")
    for _ in range(count):
        length, at = read_compact(data, at + _OUTPOINT)
        at += length + 4
    count, at = read_compact(data, at)
    if count * _MIN_OUTPUT > size - at:
        raise BadPsbt("cut short")
    begin = size
    for number in range(count):
        if number == index:
            begin = at
        length, at = read_compact(data, at + 8)
        at += length
    end = at
    if segwit:
        for _ in range(inputs):
            _, at = read_witness(data, at)
    _check_end(data, at)
    if segwit:
        digest = hashlib.sha256(data[:4])
        digest.update(memoryview(data)[start:end])
        digest.update(data[at:])
    else:
        digest = hashlib.sha256(data)
    output = read_output(data, begin)[0] if index < count else None
    return Previous(hashlib.sha256(digest.digest()).digest(), output)
