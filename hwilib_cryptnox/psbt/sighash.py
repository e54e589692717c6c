"""Signature hashes: legacy, BIP143 (segwit v0), BIP341 and BIP342 (taproot). Every part that inputs share is hashed
once.

The functions compute what is asked; which types may be signed is decided in `plan`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

from hwilib_cryptnox.psbt.script import remove_code_separators
from hwilib_cryptnox.psbt.tx import SIGNED_AMOUNT, Output, Transaction, encode_compact, encode_output, with_length

if TYPE_CHECKING:
    from hashlib import _Hash

NO_CODE_SEPARATOR = 0xFFFFFFFF
OUTPUTS_MASK = 0x1F
"""The bits of a type that say which outputs it commits to."""
_ZEROS = bytes(32)
_LEGACY_SINGLE_BUG = b"\x01" + bytes(31)
_BLANK_OUTPUT = b"\xff" * 8 + b"\x00"


class Sighash(IntEnum):
    """The defined signature hash types."""

    DEFAULT = 0x00
    ALL = 0x01
    NONE = 0x02
    SINGLE = 0x03
    ALL_ANYONECANPAY = 0x81
    NONE_ANYONECANPAY = 0x82
    SINGLE_ANYONECANPAY = 0x83


ANYONECANPAY = 0x80
DEFINED_TYPES = frozenset(Sighash)
"""For taproot."""
ECDSA_TYPES = DEFINED_TYPES - {Sighash.DEFAULT}
"""For legacy and segwit v0, which have no DEFAULT."""


OPEN_TEXT = "a signature of type {} lets others change parts of the transaction"


def type_name(sighash: int) -> str:
    """A sighash type in words."""
    return Sighash(sighash).name.replace("_", "|") if sighash in DEFINED_TYPES else f"0x{sighash:02x}"


def open_types(types: Iterable[int]) -> tuple[str, ...]:
    """In words, those of some sighash types that let others change parts of a signed transaction."""
    return tuple(type_name(one) for one in sorted(set(types) - {Sighash.DEFAULT, Sighash.ALL}))


def _tagged(tag: bytes) -> _Hash:
    mark = hashlib.sha256(tag).digest()
    return hashlib.sha256(mark + mark)


_TAP_SIGHASH, _TAP_LEAF, _TAP_BRANCH = _tagged(b"TapSighash"), _tagged(b"TapLeaf"), _tagged(b"TapBranch")


def tap_leaf_hash(script: bytes, version: int = 0xC0) -> bytes:
    """BIP341: the hash of a leaf."""
    digest = _TAP_LEAF.copy()
    digest.update(bytes((version,)) + with_length(script))
    return digest.digest()


def tap_branch_hash(left: bytes, right: bytes) -> bytes:
    """BIP341: the hash of a branch; the order of the two does not matter."""
    digest = _TAP_BRANCH.copy()
    digest.update(left + right if left < right else right + left)
    return digest.digest()


class SignatureHasher:
    """Signature hashes of one transaction.

    `spent`: per input amount and script of the output it spends, or None where unknown; only taproot reads it.
    """

    __slots__ = ("_blank", "_cache", "_legacy_at", "_legacy_state", "_outputs", "_spent", "_tx")

    def __init__(self, tx: Transaction, spent: Sequence[Output | None] = ()) -> None:
        self._tx = tx
        self._spent = spent
        self._cache: dict[str | int, bytes] = {}
        self._outputs = b"".join(map(encode_output, tx.outputs))
        self._blank: memoryview | None = None
        self._legacy_state = self._legacy_start()
        self._legacy_at = 0

    def _legacy_start(self) -> _Hash:
        return hashlib.sha256(self._tx.version + encode_compact(len(self._tx.outpoints)))

    def legacy(self, index: int, script: bytes, sighash: int) -> bytes:
        """The digest of a legacy input. `script` is the script that is executed; `sighash` may be any 32-bit number."""
        tx, mode = self._tx, sighash & OUTPUTS_MASK
        if mode == Sighash.SINGLE and index >= len(tx.outputs):
            return _LEGACY_SINGLE_BUG
        script = with_length(remove_code_separators(script))
        signed = tx.outpoints[index] + script + tx.sequences[index]
        if sighash & ANYONECANPAY:
            digest = hashlib.sha256(tx.version + b"\x01" + signed)
        elif mode in (Sighash.NONE, Sighash.SINGLE):
            digest = self._legacy_start()
            zero = bytes(4)
            digest.update(b"".join(outpoint + b"\x00" + zero for outpoint in tx.outpoints[:index]))
            digest.update(signed)
            digest.update(b"".join(outpoint + b"\x00" + zero for outpoint in tx.outpoints[index + 1 :]))
        else:
            digest = self._legacy_all(index, signed)
        digest.update(self._legacy_outputs(index, mode))
        digest.update(tx.lock_time + (sighash & 0xFFFFFFFF).to_bytes(4, "little"))
        return hashlib.sha256(digest.digest()).digest()

    def _legacy_all(self, index: int, signed: bytes) -> _Hash:
        """All inputs, the others without scripts. While indexes ascend what stands before is not hashed again."""
        if self._blank is None:
            pairs = zip(self._tx.outpoints, self._tx.sequences, strict=True)
            self._blank = memoryview(b"".join([outpoint + b"\x00" + sequence for outpoint, sequence in pairs]))
        if index < self._legacy_at:
            self._legacy_at, self._legacy_state = 0, self._legacy_start()
        self._legacy_state.update(self._blank[41 * self._legacy_at : 41 * index])
        self._legacy_at = index
        digest = self._legacy_state.copy()
        digest.update(signed)
        digest.update(self._blank[41 * (index + 1) :])
        return digest

    def _legacy_outputs(self, index: int, mode: int) -> bytes:
        if mode == Sighash.NONE:
            return b"\x00"
        if mode == Sighash.SINGLE:
            return encode_compact(index + 1) + _BLANK_OUTPUT * index + encode_output(self._tx.outputs[index])
        outputs = self._cache.get("outputs")
        if outputs is None:
            outputs = self._cache["outputs"] = encode_compact(len(self._tx.outputs)) + self._outputs
        return outputs

    def _shared(self, name: str) -> bytes:
        """SHA-256 of what all inputs share: prevouts, sequences, outputs, amounts or scripts."""
        digest = self._cache.get(name)
        if digest is None:
            if name == "prevouts":
                data = b"".join(self._tx.outpoints)
            elif name == "sequences":
                data = b"".join(self._tx.sequences)
            elif name == "outputs sha":
                data = self._outputs
            else:
                known = [output for output in self._spent if output is not None]
                if len(known) != len(self._tx.outpoints):
                    raise ValueError("taproot signatures need every output that is spent")
                if name == "amounts":
                    data = b"".join([SIGNED_AMOUNT.pack(amount) for amount, _ in known])
                else:
                    data = b"".join([with_length(script) for _, script in known])
            digest = self._cache[name] = hashlib.sha256(data).digest()
        return digest

    def segwit_v0(self, index: int, script: bytes, amount: int, sighash: int) -> bytes:
        """BIP143. `script` is the script code: of P2WPKH the P2PKH script, of P2WSH the witness script, cut behind an
        executed OP_CODESEPARATOR. `amount` in satoshi."""
        tx, head = self._tx, self._cache.get(sighash)
        if head is None:
            anyone, mode = sighash & ANYONECANPAY, sighash & OUTPUTS_MASK
            prevouts = _ZEROS if anyone else hashlib.sha256(self._shared("prevouts")).digest()
            plain = not anyone and mode not in (Sighash.NONE, Sighash.SINGLE)
            sequences = hashlib.sha256(self._shared("sequences")).digest() if plain else _ZEROS
            head = self._cache[sighash] = tx.version + prevouts + sequences
        mode = sighash & OUTPUTS_MASK
        if mode == Sighash.SINGLE:
            outputs = _ZEROS
            if index < len(tx.outputs):
                single = hashlib.sha256(encode_output(tx.outputs[index])).digest()
                outputs = hashlib.sha256(single).digest()
        elif mode == Sighash.NONE:
            outputs = _ZEROS
        else:
            outputs = self._cache.get("outputs hash256") or self._hash_outputs()
        tail = outputs + tx.lock_time + sighash.to_bytes(4, "little")
        preimage = b"".join(
            (head, tx.outpoints[index], with_length(script), SIGNED_AMOUNT.pack(amount), tx.sequences[index], tail)
        )
        return hashlib.sha256(hashlib.sha256(preimage).digest()).digest()

    def _hash_outputs(self) -> bytes:
        digest = self._cache["outputs hash256"] = hashlib.sha256(self._shared("outputs sha")).digest()
        return digest

    def taproot(
        self,
        index: int,
        sighash: int,
        *,
        leaf_hash: bytes | None = None,
        annex: bytes | None = None,
        code_separator: int = NO_CODE_SEPARATOR,
    ) -> bytes:
        """BIP341 (key path) or, with a leaf hash (32 bytes), BIP342. `annex` with its leading 0x50. Every spent
        output must be known; the type must be defined and SINGLE must have its output, else ValueError."""
        if sighash not in DEFINED_TYPES:
            raise ValueError(f"sighash type 0x{sighash:02x} is not defined for taproot")
        tx, mode = self._tx, sighash & OUTPUTS_MASK
        if mode == Sighash.SINGLE and index >= len(tx.outputs):
            raise ValueError("SIGHASH_SINGLE without its output")
        spend = (2 if leaf_hash is not None else 0) | (annex is not None)
        digest = _TAP_SIGHASH.copy()
        digest.update(self._taproot_head(sighash) + bytes((spend,)))
        if sighash & ANYONECANPAY:
            output = self._spent[index]
            if output is None:
                raise ValueError("the output that is spent is not known")
            digest.update(tx.outpoints[index] + encode_output(output) + tx.sequences[index])
        else:
            digest.update(index.to_bytes(4, "little"))
        if annex is not None:
            digest.update(hashlib.sha256(with_length(annex)).digest())
        if mode == Sighash.SINGLE:
            digest.update(hashlib.sha256(encode_output(tx.outputs[index])).digest())
        if leaf_hash is not None:
            digest.update(leaf_hash + b"\x00" + code_separator.to_bytes(4, "little"))
        return digest.digest()

    def _taproot_head(self, sighash: int) -> bytes:
        """What all inputs of this sighash type share: epoch to the outputs' hash."""
        head = self._cache.get(~sighash)
        if head is None:
            parts = [bytes((0, sighash)), self._tx.version, self._tx.lock_time]
            if not sighash & ANYONECANPAY:
                parts += (self._shared("prevouts"), self._shared("amounts"), self._shared("scripts"))
                parts.append(self._shared("sequences"))
            if sighash & OUTPUTS_MASK not in (Sighash.NONE, Sighash.SINGLE):
                parts.append(self._shared("outputs sha"))
            head = self._cache[~sighash] = b"".join(parts)
        return head
