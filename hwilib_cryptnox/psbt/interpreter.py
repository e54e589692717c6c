"""Runs scripts: whether what unlocks an input satisfies the output that it spends (BIP16, 65, 112, 141, 341, 342).

For what others have finished: finalized inputs, and signed messages (BIP322). A *failure* is certain; what the network
may come to allow, and what this program does not judge, is *not understood*, and neither good nor bad.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import Enum
from functools import partial

from cryptnox_core.crypto.hashes import hash160, hash256, ripemd160
from hwilib_cryptnox.psbt.script import OP_1, OP_16, OP_PUSHDATA1, operations, push
from hwilib_cryptnox.psbt.sighash import Sighash, SignatureHasher
from hwilib_cryptnox.psbt.tx import Transaction
from hwilib_cryptnox.psbt.verifying import ecdsa_valid, schnorr_valid

MAX_ELEMENT, MAX_OPERATIONS, MAX_STACK, MAX_KEYS = 520, 201, 1_000, 20
"""Consensus: bytes of an element, operations of a script but for tapscript, elements on both stacks, keys of a
CHECKMULTISIG."""
_SIGOP_COST = 50
"""BIP342: what a signature takes from a tapscript's budget."""
_LOCK_TIME_THRESHOLD = 500_000_000
_FINAL, _DISABLED, _TIME, _VALUE = 0xFFFFFFFF, 1 << 31, 1 << 22, 0xFFFF
_NUMBER, _LOCK_NUMBER = 4, 5
"""Bytes of a number, and of a lock time."""

_CODESEPARATOR, _NEGATIVE = 0xAB, 0x4F
_IF, _NOTIF, _VERIF, _VERNOTIF, _ELSE, _ENDIF, _VERIFY = 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69
_CHECKSIG, _CHECKSIGVERIFY, _CHECKMULTISIG, _CHECKMULTISIGVERIFY, _CHECKSIGADD = 0xAC, 0xAD, 0xAE, 0xAF, 0xBA
_CLTV, _CSV = 0xB1, 0xB2
_NOPS = frozenset((0xB0, *range(0xB3, 0xBA)))
"""NOPs that are kept for upgrades."""
_NEVER = frozenset((*range(0x7E, 0x82), *range(0x83, 0x87), 0x8D, 0x8E, *range(0x95, 0x9A), _VERIF, _VERNOTIF))
"""What fails a script wherever it is, run or not."""


class Rules(Enum):
    """Which script language it is."""

    LEGACY = "legacy"
    SEGWIT_V0 = "segwit v0"
    TAPSCRIPT = "tapscript"


class ScriptError(Exception):
    """It does not satisfy the output."""


class NotUnderstoodError(Exception):
    """Neither good nor bad as far as can be told here."""


class Checker:
    """The signatures and lock times of one input. `whole`: none but ALL, and DEFAULT for taproot, is taken, and no
    OP_CODESEPARATOR, as BIP322 wants it of messages."""

    def __init__(
        self, tx: Transaction, hasher: SignatureHasher, index: int, amount: int, *, whole: bool = False
    ) -> None:
        self.tx, self.hasher, self.index, self.amount, self.whole = tx, hasher, index, amount, whole
        self._digests: dict[tuple[Rules, bytes, int], bytes] = {}
        self.types: set[int] = set()
        """Sighash types of the signatures that were found good."""

    def ecdsa(self, key: bytes, signature: bytes, script: bytes, rules: Rules) -> bool:
        """Whether a signature that is there is good. ScriptError for one that no network takes."""
        if len(key) not in (33, 65) or key[0] not in ((2, 3) if len(key) == 33 else (4,)):
            raise ScriptError("a public key is malformed")
        if rules is Rules.SEGWIT_V0 and len(key) == 65:
            raise NotUnderstoodError("an uncompressed key in a segwit script, which nodes do not relay")
        self._check_whole(signature[-1])
        if rules is Rules.LEGACY and push(signature) in script:  # its hash would be of the script without it
            raise NotUnderstoodError("a signature is part of its own script")
        good = ecdsa_valid(key, signature, partial(self._digest, rules, script))
        if good:
            self.types.add(signature[-1])
        return good

    def _digest(self, rules: Rules, script: bytes, sighash: int) -> bytes:
        """Each once: a script may check any number of signatures, and a legacy hash is as long as the transaction."""
        known = (rules, script, sighash)
        if known not in self._digests:
            self._digests[known] = (
                self.hasher.legacy(self.index, script, sighash)
                if rules is Rules.LEGACY
                else self.hasher.segwit_v0(self.index, script, self.amount, sighash)
            )
        return self._digests[known]

    def schnorr(self, key: bytes, signature: bytes, leaf_hash: bytes | None) -> None:
        """ScriptError for a signature that is there and not good."""
        if len(signature) == 65:
            self._check_whole(signature[64])
        if not schnorr_valid(key, signature, self.index, leaf_hash, self.hasher):
            raise ScriptError("a signature does not verify")
        self.types.add(signature[64] if len(signature) == 65 else Sighash.DEFAULT)

    def _check_whole(self, sighash: int) -> None:
        if self.whole and sighash != Sighash.ALL:
            raise ScriptError("a signature has a sighash type other than ALL")

    def lock_time(self, wanted: int) -> None:
        """BIP65."""
        lock_time = int.from_bytes(self.tx.lock_time, "little")
        if wanted < 0 or (wanted < _LOCK_TIME_THRESHOLD) != (lock_time < _LOCK_TIME_THRESHOLD) or wanted > lock_time:
            raise ScriptError("a lock time is not reached")
        if self._sequence == _FINAL:
            raise ScriptError("the sequence turns a lock time off")

    def sequence(self, wanted: int) -> None:
        """BIP112."""
        if wanted < 0:
            raise ScriptError("a relative lock time is negative")
        if wanted & _DISABLED:
            return
        sequence, mask = self._sequence, _TIME | _VALUE
        if int.from_bytes(self.tx.version, "little") < 2 or sequence & _DISABLED:
            raise ScriptError("the sequence turns a relative lock time off")
        if (wanted & _TIME) != (sequence & _TIME) or wanted & mask > sequence & mask:
            raise ScriptError("a relative lock time is not reached")

    @property
    def _sequence(self) -> int:
        return int.from_bytes(self.tx.sequences[self.index], "little")


def number_of(data: bytes, most: int = _NUMBER) -> int:
    """A number on the stack; ScriptError for one that is too long or not in its shortest form."""
    if len(data) > most or (data and not data[-1] & 0x7F and (len(data) == 1 or not data[-2] & 0x80)):
        raise ScriptError("a number is malformed")
    if not data:
        return 0
    value = int.from_bytes(data[:-1] + bytes((data[-1] & 0x7F,)), "little")
    return -value if data[-1] & 0x80 else value


def bytes_of(number: int) -> bytes:
    """A number as it is on the stack."""
    if not number:
        return b""
    data = bytearray(abs(number).to_bytes(abs(number).bit_length() // 8 + 1, "little"))
    if len(data) > 1 and not data[-1] and not data[-2] & 0x80:
        data.pop()
    if number < 0:
        data[-1] |= 0x80
    return bytes(data)


def is_true(data: bytes) -> bool:
    """Anything but zero, and negative zero."""
    return any(data[:-1]) or bool(data and data[-1] & 0x7F)


_HASHES: dict[int, Callable[[bytes], bytes]] = {
    0xA6: ripemd160,
    0xA7: lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    0xA8: lambda data: hashlib.sha256(data).digest(),
    0xA9: hash160,
    0xAA: hash256,
}
_MOVES: dict[int, tuple[int, tuple[int, ...]]] = {
    0x6D: (2, ()),
    0x6E: (2, (0, 1, 0, 1)),
    0x6F: (3, (0, 1, 2, 0, 1, 2)),
    0x70: (4, (0, 1, 2, 3, 0, 1)),
    0x71: (6, (2, 3, 4, 5, 0, 1)),
    0x72: (4, (2, 3, 0, 1)),
    0x75: (1, ()),
    0x76: (1, (0, 0)),
    0x77: (2, (1,)),
    0x78: (2, (0, 1, 0)),
    0x7B: (3, (1, 2, 0)),
    0x7C: (2, (1, 0)),
    0x7D: (2, (1, 0, 1)),
}
"""How many elements are taken, and which of them are put back: 2DROP to TUCK."""
_ONE: dict[int, Callable[[int], int]] = {
    0x8B: lambda a: a + 1,
    0x8C: lambda a: a - 1,
    0x8F: lambda a: -a,
    0x90: abs,
    0x91: lambda a: int(not a),
    0x92: lambda a: int(bool(a)),
}
_TWO: dict[int, Callable[[int, int], int]] = {
    0x93: lambda a, b: a + b,
    0x94: lambda a, b: a - b,
    0x9A: lambda a, b: int(bool(a and b)),
    0x9B: lambda a, b: int(bool(a or b)),
    0x9C: lambda a, b: int(a == b),
    0x9D: lambda a, b: int(a == b),
    0x9E: lambda a, b: int(a != b),
    0x9F: lambda a, b: int(a < b),
    0xA0: lambda a, b: int(a > b),
    0xA1: lambda a, b: int(a <= b),
    0xA2: lambda a, b: int(a >= b),
    0xA3: min,
    0xA4: max,
}
_NUMEQUALVERIFY, _EQUAL, _EQUALVERIFY, _WITHIN = 0x9D, 0x87, 0x88, 0xA5
_TOALT, _FROMALT, _IFDUP, _DEPTH, _PICK, _ROLL, _SIZE, _NOP = 0x6B, 0x6C, 0x73, 0x74, 0x79, 0x7A, 0x82, 0x61


class Machine:
    """One script on one stack. `budget`: of a tapscript's signatures (BIP342)."""

    def __init__(
        self,
        script: bytes,
        stack: list[bytes],
        checker: Checker,
        rules: Rules,
        leaf_hash: bytes | None = None,
        budget: int = 0,
    ) -> None:
        self.script, self.stack, self.checker, self.rules = script, stack, checker, rules
        self.leaf_hash, self.budget = leaf_hash, budget
        self.other: list[bytes] = []
        self.branches: list[bool] = []
        self.operations = 0

    def run(self) -> None:
        """To its end; ScriptError, NotUnderstoodError."""
        try:
            for opcode, data, _ in operations(self.script):
                self._step(opcode, data)
                if len(self.stack) + len(self.other) > MAX_STACK:
                    raise ScriptError("the stack is too large")
        except ValueError as error:
            raise ScriptError("a push runs past the end of the script") from error
        if self.branches:
            raise ScriptError("an OP_IF has no end")

    def _step(self, opcode: int, data: bytes | None) -> None:
        if data is not None and len(data) > MAX_ELEMENT:
            raise ScriptError("an element is too large")
        if opcode > OP_16:
            self.operations += 1
            if self.rules is not Rules.TAPSCRIPT and self.operations > MAX_OPERATIONS:
                raise ScriptError("there are too many operations")
        if opcode in _NEVER:
            raise ScriptError("an operation is not allowed")
        if opcode == _CODESEPARATOR:
            if self.checker.whole:
                raise ScriptError("there is an OP_CODESEPARATOR")
            raise NotUnderstoodError("there is an OP_CODESEPARATOR")
        if not all(self.branches) and not _IF <= opcode <= _ENDIF:
            return
        if data is not None:
            if not _is_shortest(opcode, data):
                raise ScriptError("a push is not in its shortest form")
            self.stack.append(data)
        elif opcode == _NEGATIVE or OP_1 <= opcode <= OP_16:
            self.stack.append(bytes_of(opcode - OP_1 + 1))
        elif _IF <= opcode <= _ENDIF:
            self._branch(opcode)
        elif opcode in _MOVES:
            self._move(opcode)
        elif opcode in _ONE or opcode in _TWO or opcode == _WITHIN:
            self._arithmetic(opcode)
        elif opcode in _HASHES:
            self.stack.append(_HASHES[opcode](self._pop()))
        elif opcode >= _CHECKSIG:
            self._check(opcode)
        else:
            self._other(opcode)

    def _pop(self) -> bytes:
        if not self.stack:
            raise ScriptError("an operation finds too few elements")
        return self.stack.pop()

    def _number(self, most: int = _NUMBER) -> int:
        return number_of(self._pop(), most)

    def _put(self, value: bool) -> None:
        self.stack.append(b"\x01" if value else b"")

    def _verify(self) -> None:
        if not is_true(self._pop()):
            raise ScriptError("a condition is not met")

    def _branch(self, opcode: int) -> None:
        if opcode in (_IF, _NOTIF):
            taken = False
            if all(self.branches):
                value = self._pop()
                if (self.rules is not Rules.LEGACY or self.checker.whole) and value not in (b"", b"\x01"):
                    raise ScriptError("a condition is neither 1 nor nothing")
                taken = is_true(value) == (opcode == _IF)
            self.branches.append(taken)
        elif not self.branches:
            raise ScriptError("an OP_ELSE or OP_ENDIF has no beginning")
        elif opcode == _ELSE:
            self.branches[-1] = not self.branches[-1]
        else:
            self.branches.pop()

    def _move(self, opcode: int) -> None:
        size, order = _MOVES[opcode]
        if len(self.stack) < size:
            raise ScriptError("an operation finds too few elements")
        taken = self.stack[len(self.stack) - size :]
        self.stack[len(self.stack) - size :] = [taken[place] for place in order]

    def _arithmetic(self, opcode: int) -> None:
        if opcode in _ONE:
            self.stack.append(bytes_of(_ONE[opcode](self._number())))
            return
        second, first = self._number(), self._number()
        if opcode == _WITHIN:
            self._put(first <= self._number() < second)
            return
        self.stack.append(bytes_of(_TWO[opcode](first, second)))
        if opcode == _NUMEQUALVERIFY:
            self._verify()

    def _other(self, opcode: int) -> None:
        if opcode in (_EQUAL, _EQUALVERIFY):
            self._put(self._pop() == self._pop())
            if opcode == _EQUALVERIFY:
                self._verify()
        elif opcode == _VERIFY:
            self._verify()
        elif opcode == _TOALT:
            self.other.append(self._pop())
        elif opcode == _FROMALT:
            if not self.other:
                raise ScriptError("an operation finds too few elements")
            self.stack.append(self.other.pop())
        elif opcode == _IFDUP:
            value = self._pop()
            self.stack += [value, value] if is_true(value) else [value]
        elif opcode == _DEPTH:
            self.stack.append(bytes_of(len(self.stack)))
        elif opcode == _SIZE:
            self.stack.append(value := self._pop())
            self.stack.append(bytes_of(len(value)))
        elif opcode in (_PICK, _ROLL):
            at = self._number()
            if not 0 <= at < len(self.stack):
                raise ScriptError("an operation finds too few elements")
            value = self.stack[-1 - at]
            if opcode == _ROLL:
                del self.stack[-1 - at]
            self.stack.append(value)
        elif opcode != _NOP:  # OP_RETURN among them
            raise ScriptError("an operation is not allowed")

    def _check(self, opcode: int) -> None:
        if opcode in (_CHECKSIG, _CHECKSIGVERIFY):
            key, signature = self._pop(), self._pop()
            self._put(self._signed(key, signature))
        elif opcode in (_CHECKMULTISIG, _CHECKMULTISIGVERIFY):
            self._multisig()
        elif opcode == _CHECKSIGADD and self.rules is Rules.TAPSCRIPT:
            key, number = self._pop(), self._number()
            self.stack.append(bytes_of(number + self._signed(key, self._pop())))
        elif opcode in (_CLTV, _CSV):
            wanted = number_of(self.stack[-1] if self.stack else self._pop(), _LOCK_NUMBER)
            (self.checker.lock_time if opcode == _CLTV else self.checker.sequence)(wanted)
        elif opcode in _NOPS:
            raise NotUnderstoodError("there is an operation reserved for upgrades")
        else:
            raise ScriptError("an operation is not allowed")
        if opcode in (_CHECKSIGVERIFY, _CHECKMULTISIGVERIFY):
            self._verify()

    def _signed(self, key: bytes, signature: bytes) -> bool:
        """Whether a key signed. A signature that is there and not good fails the script (BIP146, BIP342)."""
        if self.rules is Rules.TAPSCRIPT:
            if not key:
                raise ScriptError("a public key is empty")
            if signature:
                self.budget -= _SIGOP_COST
                if self.budget < 0:
                    raise ScriptError("there are too many signatures for the size of the witness")
            if len(key) != 32:
                raise NotUnderstoodError("there is a public key of an unknown kind")
            if signature:
                self.checker.schnorr(key, signature, self.leaf_hash)
            return bool(signature)
        if signature and not self.checker.ecdsa(key, signature, self.script, self.rules):
            raise ScriptError("a signature does not verify")
        return bool(signature)

    def _multisig(self) -> None:
        if self.rules is Rules.TAPSCRIPT:
            raise ScriptError("an operation is not allowed")
        count = self._number()
        if not 0 <= count <= MAX_KEYS:
            raise ScriptError("the number of keys is out of range")
        self.operations += count
        if self.operations > MAX_OPERATIONS:
            raise ScriptError("there are too many operations")
        keys = [self._pop() for _ in range(count)]
        threshold = self._number()
        if not 0 <= threshold <= count:
            raise ScriptError("the number of signatures is out of range")
        signatures = [self._pop() for _ in range(threshold)]
        if self._pop():
            raise ScriptError("the extra element of OP_CHECKMULTISIG is not empty")
        left = list(signatures)
        for at, key in enumerate(keys):
            if len(left) > len(keys) - at:
                break
            if left and left[0] and self.checker.ecdsa(key, left[0], self.script, self.rules):
                del left[0]
        if left and any(signatures):
            raise ScriptError("a signature does not verify")
        self._put(not left)


def _is_shortest(opcode: int, data: bytes) -> bool:
    """BIP62, rule 3."""
    size = len(data)
    if size == 1 and (1 <= data[0] <= 16 or data[0] == 0x81):
        return False
    if size < OP_PUSHDATA1:
        return opcode == size
    return opcode == (OP_PUSHDATA1 if size <= 0xFF else OP_PUSHDATA1 + 1)
