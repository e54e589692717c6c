"""PSBTs of version 0 written anew as version 2, as BIP370 tells it, and their fields one by one."""

from __future__ import annotations

import base64

from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.psbt.codec import MAGIC, encode_map
from hwilib_cryptnox.psbt.tx import Transaction, encode_compact

Map = dict[bytes, bytes]


def maps(text: str) -> list[Map]:
    """Every field of every map: global, inputs, outputs."""
    psbt = Psbt.parse(text)
    return [dict(one) for one in (psbt.globals, *(one.pairs for one in (*psbt.inputs, *psbt.outputs)))]


def as_version_2(text: str) -> str:
    """The same PSBT in version 2. Requires version 0."""
    head, *rest = maps(text)
    tx = Transaction.parse(head.pop(b"\x00"))
    assert b"\xfb" not in head
    inputs, outputs = rest[: len(tx.outpoints)], rest[len(tx.outpoints) :]
    head |= {b"\x02": tx.version, b"\x03": tx.lock_time, b"\xfb": (2).to_bytes(4, "little")}
    head |= {b"\x04": encode_compact(len(inputs)), b"\x05": encode_compact(len(outputs))}
    for one, outpoint, sequence in zip(inputs, tx.outpoints, tx.sequences, strict=True):
        one |= {b"\x0e": outpoint[:32], b"\x0f": outpoint[32:], b"\x10": sequence}
    for one, (amount, script) in zip(outputs, tx.outputs, strict=True):
        one |= {b"\x03": amount.to_bytes(8, "little"), b"\x04": script}
    converted = base64.b64encode(MAGIC + b"".join(map(encode_map, [head, *inputs, *outputs]))).decode()
    assert Psbt.parse(converted).unsigned_tx() == Psbt.parse(text).unsigned_tx()
    return converted
