"""Whether a finished input satisfies the output that it spends: the steps around its scripts (BIP16, 141, 341)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum

from cryptnox_core.crypto.secp256k1 import InvalidPublicKeyError, taproot_output_key
from hwilib_cryptnox.psbt.checks import TAPSCRIPT
from hwilib_cryptnox.psbt.interpreter import (
    MAX_ELEMENT,
    MAX_STACK,
    Checker,
    Machine,
    NotUnderstoodError,
    Rules,
    ScriptError,
    is_true,
)
from hwilib_cryptnox.psbt.script import MAX_SCRIPT, OP_16, Kind, examine, is_witness_program, kind_of, operations, push
from hwilib_cryptnox.psbt.sighash import SignatureHasher, tap_branch_hash, tap_leaf_hash
from hwilib_cryptnox.psbt.tx import Output, Stack, Transaction, Unlocking, encode_compact, with_length

_ANNEX = 0x50
_BUDGET = 50
"""BIP342: what every tapscript has, beside a unit for each byte of its witness."""
_MAX_CONTROL = 33 + 32 * 128


class Verdict(Enum):
    """What can be said of an input."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "not understood"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of an input, and why it is not good."""

    verdict: Verdict
    reason: str = ""
    types: frozenset[int] = frozenset()
    """Sighash types of the signatures of a good one."""

    @property
    def good(self) -> bool:
        """Whether it satisfies its output."""
        return self.verdict is Verdict.GOOD


def judge(
    tx: Transaction, hasher: SignatureHasher, index: int, spent: Output, unlocking: Unlocking, *, whole: bool = False
) -> Judgement:
    """What an input's scriptSig and witness are worth for the output that it spends.

    Judged as nodes do that relay transactions; stricter where they differ. `hasher` is the transaction's. `whole`: as
    for `Checker`.
    """
    amount, script = spent
    checker = Checker(tx, hasher, index, amount, whole=whole)
    try:
        _Input(checker, script, *unlocking).run()
    except ScriptError as error:
        return Judgement(Verdict.BAD, str(error))
    except NotUnderstoodError as error:
        return Judgement(Verdict.UNKNOWN, str(error))
    return Judgement(Verdict.GOOD, types=frozenset(checker.types))


class _Input:
    def __init__(self, checker: Checker, script: bytes, script_sig: bytes, witness: Stack) -> None:
        self.checker, self.script, self.script_sig, self.witness = checker, script, script_sig, witness

    def run(self) -> None:
        if is_witness_program(self.script):
            if self.script_sig:
                raise ScriptError("a segwit input has a scriptSig")
            self._program(self.script, nested=False)
            return
        stack = self._pushed()
        nested = list(stack)
        self._execute(self.script, stack, Rules.LEGACY)
        if kind_of(self.script) is not Kind.P2SH:
            self._finish(stack)
            if self.witness:
                raise ScriptError("there is a witness where none belongs")
            return
        if not is_true(stack[-1]) or not nested:
            raise ScriptError("the redeem script does not match its output")
        redeem = nested.pop()
        if is_witness_program(redeem):
            if self.script_sig != push(redeem):
                raise ScriptError("the scriptSig is more than the redeem script")
            self._program(redeem, nested=True)
            return
        self._execute(redeem, nested, Rules.LEGACY)
        self._finish(nested)
        if self.witness:
            raise ScriptError("there is a witness where none belongs")

    def _pushed(self) -> list[bytes]:
        """What the scriptSig puts on the stack."""
        try:
            pushes_only = all(opcode <= OP_16 for opcode, _, _ in operations(self.script_sig))
        except ValueError as error:
            raise ScriptError("a push runs past the end of the script") from error
        if not pushes_only:
            raise NotUnderstoodError("its scriptSig does more than push")
        stack: list[bytes] = []
        self._execute(self.script_sig, stack, Rules.LEGACY)
        return stack

    def _execute(
        self, script: bytes, stack: list[bytes], rules: Rules, leaf_hash: bytes | None = None, budget: int = 0
    ) -> None:
        if rules is not Rules.TAPSCRIPT and len(script) > MAX_SCRIPT:
            raise ScriptError("a script is too large")
        Machine(script, stack, self.checker, rules, leaf_hash, budget).run()
        if not stack:
            raise ScriptError("nothing is left on the stack")

    def _finish(self, stack: list[bytes]) -> None:
        if len(stack) != 1:
            raise ScriptError("something is left on the stack")
        if not is_true(stack[-1]):
            raise ScriptError("the script ends with false")

    def _program(self, program: bytes, *, nested: bool) -> None:
        kind = kind_of(program)
        if kind is Kind.P2WPKH:
            if len(self.witness) != 2:
                raise ScriptError("the witness is not a signature and a key")
            stack = list(self.witness)
            self._sizes(stack)
            self._execute(b"\x76\xa9\x14" + program[2:] + b"\x88\xac", stack, Rules.SEGWIT_V0)
            self._finish(stack)
        elif kind is Kind.P2WSH:
            if not self.witness:
                raise ScriptError("the witness is empty")
            *stack, script = self.witness
            if hashlib.sha256(script).digest() != program[2:]:
                raise ScriptError("the witness script does not match its output")
            self._sizes(stack)
            self._execute(script, stack, Rules.SEGWIT_V0)
            self._finish(stack)
        elif kind is Kind.P2TR and not nested:
            self._taproot(program[2:])
        elif kind is Kind.P2A and not nested and not self.checker.whole:
            if self.witness:
                raise NotUnderstoodError("an anchor that anyone can spend has a witness, and nodes do not relay that")
        elif program[0] == 0:
            raise ScriptError("its witness program has a wrong length")
        else:
            raise NotUnderstoodError(f"its output is {kind.value}")

    def _sizes(self, stack: list[bytes]) -> None:
        if any(len(item) > MAX_ELEMENT for item in stack) or len(stack) > MAX_STACK:
            raise ScriptError("an element or the stack is too large")

    def _taproot(self, output_key: bytes) -> None:
        if not self.witness:
            raise ScriptError("the witness is empty")
        if len(self.witness) > 1 and self.witness[-1][:1] == bytes((_ANNEX,)):
            raise NotUnderstoodError("its witness has an annex")
        if len(self.witness) == 1:
            self.checker.schnorr(output_key, self.witness[0], None)
            return
        *stack, script, control = self.witness
        if not 33 <= len(control) <= _MAX_CONTROL or (len(control) - 33) % 32:
            raise ScriptError("the control block has a wrong length")
        version = control[0] & 0xFE
        node = leaf_hash = tap_leaf_hash(script, version)
        for at in range(33, len(control), 32):
            node = tap_branch_hash(node, control[at : at + 32])
        try:
            committed = taproot_output_key(control[1:33], node)
        except InvalidPublicKeyError as error:
            raise ScriptError("the internal key is not a point") from error
        if committed != (output_key, control[0] & 1):
            raise ScriptError("the leaf is not one of its output")
        if version != TAPSCRIPT:
            raise NotUnderstoodError("its leaf has an unknown version")
        if len(script) > MAX_SCRIPT:
            raise NotUnderstoodError(f"its leaf script is longer than {MAX_SCRIPT:,} bytes")
        try:
            success = examine(script).success
        except ValueError as error:  # perhaps behind an OP_SUCCESS
            raise NotUnderstoodError("its leaf script cannot be read: a push runs over the end") from error
        if success:
            raise NotUnderstoodError("its leaf script has an OP_SUCCESS")
        self._sizes(stack)
        size = len(encode_compact(len(self.witness))) + sum(len(with_length(item)) for item in self.witness)
        self._execute(script, stack, Rules.TAPSCRIPT, leaf_hash, size + _BUDGET)
        self._finish(stack)
