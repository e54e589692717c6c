"""Field types of BIP174, BIP370, BIP371, BIP373 and BIP322, and what each may look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hwilib_cryptnox.psbt.errors import BadPsbt
from hwilib_cryptnox.psbt.tx import read_compact, read_with_length, read_witness

GLOBAL_UNSIGNED_TX, GLOBAL_XPUB, GLOBAL_TX_VERSION, GLOBAL_FALLBACK_LOCKTIME = 0x00, 0x01, 0x02, 0x03
GLOBAL_INPUT_COUNT, GLOBAL_OUTPUT_COUNT, GLOBAL_TX_MODIFIABLE, GLOBAL_VERSION = 0x04, 0x05, 0x06, 0xFB
GLOBAL_MESSAGE = 0x09
"""BIP322: the message that the transaction signs."""

IN_NON_WITNESS_UTXO, IN_WITNESS_UTXO, IN_PARTIAL_SIG, IN_SIGHASH_TYPE = 0x00, 0x01, 0x02, 0x03
IN_REDEEM_SCRIPT, IN_WITNESS_SCRIPT, IN_BIP32_DERIVATION = 0x04, 0x05, 0x06
IN_FINAL_SCRIPTSIG, IN_FINAL_SCRIPTWITNESS = 0x07, 0x08
IN_PREVIOUS_TXID, IN_OUTPUT_INDEX, IN_SEQUENCE = 0x0E, 0x0F, 0x10
IN_REQUIRED_TIME, IN_REQUIRED_HEIGHT = 0x11, 0x12
IN_TAP_KEY_SIG, IN_TAP_SCRIPT_SIG, IN_TAP_LEAF_SCRIPT, IN_TAP_BIP32_DERIVATION = 0x13, 0x14, 0x15, 0x16
IN_TAP_INTERNAL_KEY, IN_TAP_MERKLE_ROOT = 0x17, 0x18
IN_MUSIG2_PARTICIPANTS, IN_MUSIG2_NONCE, IN_MUSIG2_PARTIAL_SIG = 0x1A, 0x1B, 0x1C

OUT_REDEEM_SCRIPT, OUT_WITNESS_SCRIPT, OUT_BIP32_DERIVATION, OUT_AMOUNT, OUT_SCRIPT = 0x00, 0x01, 0x02, 0x03, 0x04
OUT_TAP_INTERNAL_KEY, OUT_TAP_BIP32_DERIVATION, OUT_MUSIG2_PARTICIPANTS = 0x05, 0x07, 0x08

IN_SILENT_DERIVATION, OUT_SILENT_ADDRESS = 0x1F, 0x09
"""Silent payments (BIP376, BIP375)."""

LOCK_TIME_THRESHOLD = 500_000_000
"""Lock times below it are block heights, from it on times."""
MAX_TAP_DEPTH = 128
_MAX_PATH_BYTES = 4 * 255
_MULTI_BYTE_TYPE = 0xFD


class Rule(NamedTuple):
    """What a field may look like."""

    name: str
    key_lengths: frozenset[int] = frozenset((0,))
    """Lengths of the key data behind the type."""
    length: int | None = None
    """Length of the value, where it is fixed."""
    check: Callable[[bytes], None] | None = None
    """Looks at the value; raises BadPsbt."""


def _derivation(value: bytes) -> None:
    if len(value) < 4 or len(value) % 4 or len(value) > 4 + _MAX_PATH_BYTES:
        raise BadPsbt("not a fingerprint and 4 bytes a level")


def split_tap_derivation(value: bytes) -> tuple[frozenset[bytes], bytes]:
    """Leaf hashes (32 bytes each) and the origin behind them. Raises BadPsbt."""
    count, at = read_compact(value, 0)
    if count > (len(value) - at) // 32:
        raise BadPsbt("cut short")
    end = at + 32 * count
    return frozenset(value[start : start + 32] for start in range(at, end, 32)), value[end:]


def _tap_derivation(value: bytes) -> None:
    _derivation(split_tap_derivation(value)[1])


def _between(low: int, high: int, what: str) -> Callable[[bytes], None]:
    def check(value: bytes) -> None:
        if not low <= len(value) <= high:
            raise BadPsbt(f"not {what}")

    return check


def _compact(value: bytes) -> None:
    if read_compact(value, 0)[1] != len(value):
        raise BadPsbt("extra bytes after the number")


def _witness(value: bytes) -> None:
    if read_witness(value, 0)[1] != len(value):
        raise BadPsbt("extra bytes after the witness")


def _keys(value: bytes) -> None:
    if not value or len(value) % 33:
        raise BadPsbt("not a list of compressed keys")


def _tap_tree(value: bytes) -> None:
    """Leaves in depth-first order, which have to make one whole tree."""
    at, depths = 0, list[int]()
    while at < len(value):
        if at + 2 > len(value):
            raise BadPsbt("cut short")
        depth, version = value[at], value[at + 1]
        if depth > MAX_TAP_DEPTH or version & 1:
            raise BadPsbt("depth or leaf version is out of range")
        _, at = read_with_length(value, at + 2)
        if depths and (depths[-1] == 0 or depth < depths[-1]):
            raise BadPsbt("the leaves do not form a tree")
        depths.append(depth)
        while len(depths) > 1 and depths[-1] == depths[-2]:
            depths.pop()
            depths[-1] -= 1
    if depths != [0]:
        raise BadPsbt("the leaves do not form a tree")


def _time(value: bytes) -> None:
    if len(value) != 4 or int.from_bytes(value, "little") < LOCK_TIME_THRESHOLD:
        raise BadPsbt("not a time")


def _height(value: bytes) -> None:
    if len(value) != 4 or not 0 < int.from_bytes(value, "little") < LOCK_TIME_THRESHOLD:
        raise BadPsbt("not a block height")


_NONE, _PUBLIC_KEY, _XONLY = frozenset((0,)), frozenset((33, 65)), frozenset((32,))
_CONTROL_BLOCK = frozenset(range(33, 33 + 32 * MAX_TAP_DEPTH + 1, 32))
_MUSIG = frozenset((66, 98))
_DER_SIGNATURE = _between(9, 73, "a DER signature with its sighash type")
_SCHNORR_SIGNATURE = _between(64, 65, "a signature of 64 or 65 bytes")

GLOBAL_RULES = {
    GLOBAL_UNSIGNED_TX: Rule("unsigned transaction"),
    GLOBAL_XPUB: Rule("xpub", frozenset((78,)), check=_derivation),
    GLOBAL_TX_VERSION: Rule("transaction version", length=4),
    GLOBAL_FALLBACK_LOCKTIME: Rule("fallback lock time", length=4),
    GLOBAL_INPUT_COUNT: Rule("input count", check=_compact),
    GLOBAL_OUTPUT_COUNT: Rule("output count", check=_compact),
    GLOBAL_TX_MODIFIABLE: Rule("modifiable flags", length=1),
    GLOBAL_MESSAGE: Rule("message"),
    GLOBAL_VERSION: Rule("PSBT version", length=4),
}
INPUT_RULES = {
    IN_NON_WITNESS_UTXO: Rule("non_witness_utxo"),
    IN_WITNESS_UTXO: Rule("witness_utxo"),
    IN_PARTIAL_SIG: Rule("partial signature", _PUBLIC_KEY, check=_DER_SIGNATURE),
    IN_SIGHASH_TYPE: Rule("sighash type", length=4),
    IN_REDEEM_SCRIPT: Rule("redeem script"),
    IN_WITNESS_SCRIPT: Rule("witness script"),
    IN_BIP32_DERIVATION: Rule("derivation", _PUBLIC_KEY, check=_derivation),
    IN_FINAL_SCRIPTSIG: Rule("final scriptSig"),
    IN_FINAL_SCRIPTWITNESS: Rule("final witness", check=_witness),
    0x09: Rule("proof-of-reserves commitment"),
    0x0A: Rule("RIPEMD160 preimage", frozenset((20,))),
    0x0B: Rule("SHA256 preimage", frozenset((32,))),
    0x0C: Rule("HASH160 preimage", frozenset((20,))),
    0x0D: Rule("HASH256 preimage", frozenset((32,))),
    IN_PREVIOUS_TXID: Rule("previous transaction id", length=32),
    IN_OUTPUT_INDEX: Rule("output index", length=4),
    IN_SEQUENCE: Rule("sequence", length=4),
    IN_REQUIRED_TIME: Rule("required time", check=_time),
    IN_REQUIRED_HEIGHT: Rule("required height", check=_height),
    IN_TAP_KEY_SIG: Rule("taproot key signature", check=_SCHNORR_SIGNATURE),
    IN_TAP_SCRIPT_SIG: Rule("taproot script signature", frozenset((64,)), check=_SCHNORR_SIGNATURE),
    IN_TAP_LEAF_SCRIPT: Rule(
        "taproot leaf script", _CONTROL_BLOCK, check=_between(1, 1 << 62, "a script and its version")
    ),
    IN_TAP_BIP32_DERIVATION: Rule("taproot derivation", _XONLY, check=_tap_derivation),
    IN_TAP_INTERNAL_KEY: Rule("taproot internal key", length=32),
    IN_TAP_MERKLE_ROOT: Rule("taproot merkle root", length=32),
    IN_MUSIG2_PARTICIPANTS: Rule("MuSig2 participants", frozenset((33,)), check=_keys),
    IN_MUSIG2_NONCE: Rule("MuSig2 public nonce", _MUSIG, length=66),
    IN_MUSIG2_PARTIAL_SIG: Rule("MuSig2 partial signature", _MUSIG, length=32),
}
OUTPUT_RULES = {
    OUT_REDEEM_SCRIPT: Rule("redeem script"),
    OUT_WITNESS_SCRIPT: Rule("witness script"),
    OUT_BIP32_DERIVATION: Rule("derivation", _PUBLIC_KEY, check=_derivation),
    OUT_AMOUNT: Rule("amount", length=8),
    OUT_SCRIPT: Rule("script"),
    OUT_TAP_INTERNAL_KEY: Rule("taproot internal key", length=32),
    0x06: Rule("taproot tree", check=_tap_tree),
    OUT_TAP_BIP32_DERIVATION: Rule("taproot derivation", _XONLY, check=_tap_derivation),
    OUT_MUSIG2_PARTICIPANTS: Rule("MuSig2 participants", frozenset((33,)), check=_keys),
    0x35: Rule("DNSSEC proof"),
}
V2_ONLY_GLOBAL = (
    GLOBAL_TX_VERSION,
    GLOBAL_FALLBACK_LOCKTIME,
    GLOBAL_INPUT_COUNT,
    GLOBAL_OUTPUT_COUNT,
    GLOBAL_TX_MODIFIABLE,
)
V2_ONLY_INPUT = (IN_PREVIOUS_TXID, IN_OUTPUT_INDEX, IN_SEQUENCE, IN_REQUIRED_TIME, IN_REQUIRED_HEIGHT)
V2_ONLY_OUTPUT = (OUT_AMOUNT, OUT_SCRIPT)


def check_field(rules: dict[int, Rule], key: bytes, value: bytes) -> None:
    """Raises BadPsbt where a pair breaks the rule of its type. Pairs of unknown types are taken as they are."""
    rule = rules.get(key[0])
    if rule is None:
        if key[0] >= _MULTI_BYTE_TYPE:
            read_compact(key, 0)
        return
    name, key_lengths, length, check = rule
    if len(key) - 1 not in key_lengths:
        raise BadPsbt(f"{name}: key data of {len(key) - 1} bytes")
    if length is not None and len(value) != length:
        raise BadPsbt(f"{name}: {len(value)} bytes instead of {length}")
    if check is not None:
        try:
            check(value)
        except BadPsbt as error:
            raise BadPsbt(f"{name}: {error}") from error
