"""PSBT versions 0 (BIP174) and 2 (BIP370): strict, lossless parsing and exact re-encoding.

A parsed PSBT keeps its bytes. Adding signatures splices pairs in front of a map's separator, so that everything else,
order and unknown pairs included, comes back byte for byte.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.errors import SILENT_REASON, BadPsbt, NotBase64Error, StrayBitsError
from hwilib_cryptnox.psbt.tx import (
    MAX_MONEY,
    SEQUENCE_FINAL,
    SIGNED_AMOUNT,
    Output,
    Previous,
    Transaction,
    parse_previous,
    read_compact,
    read_output,
    with_length,
)

MAGIC = b"psbt\xff"
Pair = tuple[bytes, bytes]
"""Key (type and key data) and value."""
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}", re.ASCII)
_LEAST_INPUT_V2, _LEAST_OUTPUT_V2 = 41, 13
_V0, _V2 = 0, 2


class Form(Enum):
    """How a PSBT was written."""

    BINARY = "binary"
    BASE64 = "base64"
    HEX = "hex"


class FieldMap(NamedTuple):
    """The pairs of an input or output, in their order."""

    pairs: dict[bytes, bytes]
    end: int = 0
    """Of an input: position of the separator in the PSBT's bytes."""
    previous: Previous | None = None
    """Of an input, from non_witness_utxo."""
    witness_utxo: Output | None = None
    types: int = 0
    """Of an input: the field types that are there, a bit each."""

    def get(self, field: int) -> bytes | None:
        """The value of a field without key data."""
        return self.pairs.get(_KEYS[field])

    def keyed(self, field: int) -> list[Pair]:
        """Key data and value of all pairs of a type."""
        return [(key[1:], value) for key, value in self.pairs.items() if key[0] == field]

    @property
    def is_final(self) -> bool:
        """Whether the input was finalised."""
        return _FINAL_SCRIPT in self.pairs or _FINAL_WITNESS in self.pairs


_KEYS = tuple(bytes((number,)) for number in range(256))
_FINAL_SCRIPT, _FINAL_WITNESS = _KEYS[f.IN_FINAL_SCRIPTSIG], _KEYS[f.IN_FINAL_SCRIPTWITNESS]


@dataclass(frozen=True, slots=True, repr=False)
class Psbt:
    """A parsed PSBT."""

    version: int
    """0 or 2."""
    tx: Transaction
    """The unsigned transaction; of version 2 as its fields make it, with the lock time of BIP370."""
    globals: dict[bytes, bytes]
    inputs: tuple[FieldMap, ...]
    outputs: tuple[FieldMap, ...]
    raw: bytes
    form: Form = Form.BINARY
    source: bytes | str | None = None
    """What was parsed, until something is added."""
    as_bytes: bool = True
    """Whether it came in as bytes, text in bytes included."""

    @classmethod
    def parse(cls, data: bytes | str) -> Psbt:
        """From base64, hex or binary; text may have white space around it and line breaks in it. Raises BadPsbt."""
        raw, form = _from_text(data)
        return _parse(raw, form, data)

    def encode(self) -> bytes | str:
        """In the form it came in; when nothing was added, exactly what came in."""
        if self.source is not None:
            return self.source
        if self.form is Form.BINARY:
            return self.raw
        text = self.raw.hex() if self.form is Form.HEX else self.to_base64()
        return text.encode("ascii") if self.as_bytes else text

    def to_base64(self) -> str:
        """As base64, without line breaks."""
        return base64.b64encode(self.raw).decode("ascii")

    def unsigned_tx(self) -> bytes:
        """The transaction that is signed, without scripts and witnesses."""
        return self.tx.encode()

    def with_added(self, additions: Mapping[int, Sequence[Pair]], modifiable: int | None = None) -> Psbt:
        """A PSBT with pairs added to inputs (by index), behind those that are there, and other modifiable flags
        (BIP370). The pairs must be new and well-formed."""
        pieces, at, shift = [], 0, 0
        pairs_of_globals = self.globals
        if modifiable is not None:
            pairs_of_globals = {**self.globals, _KEYS[f.GLOBAL_TX_MODIFIABLE]: bytes((modifiable,))}
            head = MAGIC + encode_map(pairs_of_globals)
            pieces.append(head)
            at = len(head)
        inputs = []
        for index, fields in enumerate(self.inputs):
            added = additions.get(index, ())
            pairs, types = fields.pairs, fields.types
            if added:
                pairs = dict(pairs)
                pairs.update(added)
                for key, _ in added:
                    types |= 1 << key[0]
                piece = b"".join([with_length(key) + with_length(value) for key, value in added])
                pieces += (self.raw[at : fields.end], piece)
                at = fields.end
                shift += len(piece)
            inputs.append(FieldMap(pairs, fields.end + shift, fields.previous, fields.witness_utxo, types))
        pieces.append(self.raw[at:])
        return replace(self, globals=pairs_of_globals, inputs=tuple(inputs), raw=b"".join(pieces), source=None)

    def __repr__(self) -> str:
        counts = f"inputs={len(self.inputs)}, outputs={len(self.outputs)}"
        return f"Psbt(version={self.version}, {counts}, form={self.form.value})"


def encode_map(pairs: Mapping[bytes, bytes]) -> bytes:
    """A map with its separator."""
    return b"".join([with_length(key) + with_length(value) for key, value in pairs.items()]) + b"\x00"


def decode_base64(text: str) -> bytes:
    """What a text says in base64 (RFC 4648), which must be the only way to write it. Raises: NotBase64Error."""
    if not text or len(text) % 4 or not _BASE64.fullmatch(text):
        raise NotBase64Error("not base64")
    raw = base64.b64decode(text)
    if base64.b64encode(raw) != text.encode("ascii"):
        raise StrayBitsError("not base64: the last character carries stray bits")
    return raw


def _from_text(data: bytes | str) -> tuple[bytes, Form]:
    if isinstance(data, bytes):
        if data.startswith(MAGIC):
            return data, Form.BINARY
        try:
            data = data.decode("ascii")
        except UnicodeDecodeError as error:
            raise BadPsbt("neither a binary PSBT nor text") from error
    text = data.strip(" \t\r\n").replace("\r", "").replace("\n", "")
    if text[:10].lower() == MAGIC.hex():
        try:
            return binascii.unhexlify(text), Form.HEX
        except ValueError as error:
            raise BadPsbt("not hex text") from error
    try:
        raw = decode_base64(text)
    except StrayBitsError as error:
        raise BadPsbt("not base64 text: the last character carries stray bits") from error
    except NotBase64Error as error:
        raise BadPsbt("not base64 text") from error
    if not raw.startswith(MAGIC):
        raise BadPsbt("not a PSBT: the magic bytes are missing")
    return raw, Form.BASE64


def _parse_map(raw: bytes, at: int, rules: dict[int, f.Rule]) -> tuple[dict[bytes, bytes], int, int]:
    """The pairs of one map, the position of its separator, and its field types, a bit each."""
    pairs: dict[bytes, bytes] = {}
    size, types = len(raw), 0
    while True:  # lengths of one byte are read here: a call for each would take longer than all the rest
        if at >= size:
            raise BadPsbt("cut short: the separator is missing")
        length = raw[at]
        if length == 0:
            return pairs, at, types
        if length < 0xFD:
            start = at + 1
        else:
            length, start = read_compact(raw, at)
        at = start + length
        if at >= size:
            raise BadPsbt("cut short in a key")
        key = raw[start:at]
        length = raw[at]
        if length < 0xFD:
            start = at + 1
        else:
            length, start = read_compact(raw, at)
        at = start + length
        if at > size:
            raise BadPsbt(f"cut short in the value of {_name(rules, key)}")
        if key in pairs:
            raise BadPsbt(f"{_name(rules, key)} appears twice")
        value = raw[start:at]
        f.check_field(rules, key, value)
        pairs[key] = value
        types |= 1 << key[0]


def _name(rules: dict[int, f.Rule], key: bytes) -> str:
    rule = rules.get(key[0])
    return rule.name if rule else f"a field of type 0x{key[0]:02x}"


def _parse(raw: bytes, form: Form, source: bytes | str) -> Psbt:
    try:
        pairs, at, _ = _parse_map(raw, len(MAGIC), f.GLOBAL_RULES)
        version = _version(pairs)
        tx: Transaction | None = None
        if version == _V0:
            tx = _unsigned_tx(pairs)
            counts = len(tx.outpoints), len(tx.outputs)
        else:
            counts = _count(pairs, f.GLOBAL_INPUT_COUNT), _count(pairs, f.GLOBAL_OUTPUT_COUNT)
        if counts[0] * _LEAST_INPUT_V2 + counts[1] * _LEAST_OUTPUT_V2 > len(raw) and version == _V2:
            raise BadPsbt("it claims more inputs and outputs than the PSBT has room for")
    except BadPsbt as error:
        raise BadPsbt(f"global map: {error}") from error
    at += 1
    inputs = []
    for index in range(counts[0]):
        try:
            fields, end, types = _parse_map(raw, at, f.INPUT_RULES)
            outpoint_index = _check_input(fields, tx.outpoints[index] if tx else None)
            previous, witness_utxo = _spent(fields, outpoint_index)
        except BadPsbt as error:
            raise BadPsbt(f"input {index}: {error}") from error
        inputs.append(FieldMap(fields, end, previous, witness_utxo, types))
        at = end + 1
    outputs = []
    for index in range(counts[1]):
        try:
            fields, end, _ = _parse_map(raw, at, f.OUTPUT_RULES)
            if tx is None:
                if _KEYS[f.OUT_SILENT_ADDRESS] in fields and _KEYS[f.OUT_SCRIPT] not in fields:
                    raise BadPsbt(f"{SILENT_REASON}; its script is not there yet")
                _require(fields, f.V2_ONLY_OUTPUT, f.OUTPUT_RULES)
            else:
                _refuse(fields, f.V2_ONLY_OUTPUT, f.OUTPUT_RULES)
        except BadPsbt as error:
            raise BadPsbt(f"output {index}: {error}") from error
        outputs.append(FieldMap(fields))
        at = end + 1
    if at != len(raw):
        raise BadPsbt("extra bytes after the last map")
    if tx is None:
        tx = _transaction_of_v2(pairs, inputs, outputs)
    _check_amounts(tx)
    return Psbt(
        version=version,
        tx=tx,
        globals=pairs,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        raw=raw,
        form=form,
        source=source,
        as_bytes=isinstance(source, bytes),
    )


def _version(pairs: Mapping[bytes, bytes]) -> int:
    value = pairs.get(_KEYS[f.GLOBAL_VERSION])
    version = int.from_bytes(value, "little") if value is not None else _V0
    if version not in (_V0, _V2):
        raise BadPsbt(f"PSBT version {version} is not known")
    unsigned = _KEYS[f.GLOBAL_UNSIGNED_TX] in pairs
    if version == _V0:
        if not unsigned:
            raise BadPsbt("the unsigned transaction is missing")
        _refuse(pairs, f.V2_ONLY_GLOBAL, f.GLOBAL_RULES)
    else:
        if unsigned:
            raise BadPsbt("version 2 has no unsigned transaction")
        _require(pairs, (f.GLOBAL_TX_VERSION, f.GLOBAL_INPUT_COUNT, f.GLOBAL_OUTPUT_COUNT), f.GLOBAL_RULES)
    return version


def _refuse(pairs: Mapping[bytes, bytes], only_v2: Sequence[int], rules: Mapping[int, f.Rule]) -> None:
    for field in only_v2:
        if _KEYS[field] in pairs:
            raise BadPsbt(f"{rules[field].name}: belongs to PSBT version 2 only")


def _require(pairs: Mapping[bytes, bytes], needed: Sequence[int], rules: Mapping[int, f.Rule]) -> None:
    for field in needed:
        if _KEYS[field] not in pairs:
            raise BadPsbt(f"{rules[field].name} is missing")


def _unsigned_tx(pairs: Mapping[bytes, bytes]) -> Transaction:
    try:
        tx = Transaction.parse(pairs[_KEYS[f.GLOBAL_UNSIGNED_TX]], witness=False)
    except BadPsbt as error:
        raise BadPsbt(f"unsigned transaction: {error}") from error
    if any(tx.script_sigs):
        raise BadPsbt("unsigned transaction: it has a scriptSig")
    return tx


def _count(pairs: Mapping[bytes, bytes], field: int) -> int:
    return read_compact(pairs[_KEYS[field]], 0)[0]


def _check_input(pairs: Mapping[bytes, bytes], outpoint: bytes | None) -> int:
    """The version's own rules for an input; returns the index of the output that it spends."""
    if outpoint is not None:
        _refuse(pairs, f.V2_ONLY_INPUT, f.INPUT_RULES)
        return int.from_bytes(outpoint[32:], "little")
    _require(pairs, (f.IN_PREVIOUS_TXID, f.IN_OUTPUT_INDEX), f.INPUT_RULES)
    return int.from_bytes(pairs[_KEYS[f.IN_OUTPUT_INDEX]], "little")


def _spent(pairs: Mapping[bytes, bytes], index: int) -> tuple[Previous | None, Output | None]:
    """What non_witness_utxo and witness_utxo say."""
    previous = witness_utxo = None
    value = pairs.get(b"\x00")
    if value is not None:
        try:
            previous = parse_previous(value, index)
        except BadPsbt as error:
            raise BadPsbt(f"non_witness_utxo: {error}") from error
    value = pairs.get(b"\x01")
    if value is not None:
        try:
            witness_utxo, end = read_output(value, 0)
            if end != len(value):
                raise BadPsbt("extra bytes after its end")
        except BadPsbt as error:
            raise BadPsbt(f"witness_utxo: {error}") from error
    return previous, witness_utxo


def lock_time_of(pairs: Mapping[bytes, bytes], inputs: Sequence[FieldMap]) -> bytes:
    """BIP370, "Determining Lock Time": the greatest required one, heights before times where both would do. Raises
    BadPsbt where none satisfies all inputs."""
    heights = [fields.get(f.IN_REQUIRED_HEIGHT) for fields in inputs]
    times = [fields.get(f.IN_REQUIRED_TIME) for fields in inputs]
    bound = sum(1 for pair in zip(heights, times, strict=True) if pair != (None, None))
    if not bound:
        return pairs.get(_KEYS[f.GLOBAL_FALLBACK_LOCKTIME], bytes(4))
    for wanted in (heights, times):
        values = [value for value in wanted if value is not None]
        if len(values) == bound:
            return max(values, key=lambda value: int.from_bytes(value, "little"))
    raise BadPsbt("some inputs require a block height, others a time: no lock time satisfies both")


def _transaction_of_v2(
    pairs: Mapping[bytes, bytes], inputs: Sequence[FieldMap], outputs: Sequence[FieldMap]
) -> Transaction:
    txid, index, sequence = _KEYS[f.IN_PREVIOUS_TXID], _KEYS[f.IN_OUTPUT_INDEX], _KEYS[f.IN_SEQUENCE]
    amount, script = _KEYS[f.OUT_AMOUNT], _KEYS[f.OUT_SCRIPT]
    return Transaction(
        version=pairs[_KEYS[f.GLOBAL_TX_VERSION]],
        outpoints=tuple([fields.pairs[txid] + fields.pairs[index] for fields in inputs]),
        sequences=tuple([fields.pairs.get(sequence, SEQUENCE_FINAL) for fields in inputs]),
        outputs=tuple([(SIGNED_AMOUNT.unpack(o.pairs[amount])[0], o.pairs[script]) for o in outputs]),
        lock_time=lock_time_of(pairs, inputs),
    )


def _check_amounts(tx: Transaction) -> None:
    total = 0
    for index, (amount, _) in enumerate(tx.outputs):
        if not 0 <= amount <= MAX_MONEY:
            raise BadPsbt(f"output {index}: an amount of {amount} satoshi is not possible")
        total += amount
    if total > MAX_MONEY:
        raise BadPsbt("the outputs together are more than all bitcoin")
