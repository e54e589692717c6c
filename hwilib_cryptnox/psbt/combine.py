"""Combiner and input finalizer (BIP174, BIP370): several PSBTs of one transaction become one, and a complete one final.

Every field of every file is kept, and every signature is verified before it goes in. What contradicts itself is
refused, with the file named: nobody can tell which of them is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce

from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.checks import Route, Spend, Spending, ecdsa_digest, spending_of, spent_outputs
from hwilib_cryptnox.psbt.codec import MAGIC, FieldMap, Psbt, encode_map, lock_time_of
from hwilib_cryptnox.psbt.errors import BadPsbt, PsbtError, RefusedInput
from hwilib_cryptnox.psbt.finalize import NotFinal, final_fields, unlock
from hwilib_cryptnox.psbt.insert import flags_after
from hwilib_cryptnox.psbt.judge import Judgement, Verdict, judge
from hwilib_cryptnox.psbt.musig import Aggregates, aggregated, parts_given
from hwilib_cryptnox.psbt.script import Kind, kind_of
from hwilib_cryptnox.psbt.sighash import OPEN_TEXT, Sighash, SignatureHasher, open_types
from hwilib_cryptnox.psbt.tx import encode_compact, parse_previous, with_length
from hwilib_cryptnox.psbt.verifying import ecdsa_valid, schnorr_valid, types_in
from hwilib_cryptnox.psbt.weight import check_size

MAX_FILES = 100
_SIGNATURES = frozenset((f.IN_PARTIAL_SIG, f.IN_TAP_KEY_SIG, f.IN_TAP_SCRIPT_SIG))
_FINAL = frozenset((f.IN_FINAL_SCRIPTSIG, f.IN_FINAL_SCRIPTWITNESS))
_INPUTS_MODIFIABLE, _HAS_SINGLE = 3, 4
"""BIP370: the flags that every file must have, and the one that any may."""
_REQUIRED = (bytes((f.IN_REQUIRED_TIME,)), bytes((f.IN_REQUIRED_HEIGHT,)))
_OF_GLOBALS = frozenset((f.GLOBAL_UNSIGNED_TX, f.GLOBAL_VERSION, *f.V2_ONLY_GLOBAL))
"""What the version of a PSBT and its transaction decide."""
_KEPT_OF_FINAL = frozenset((f.IN_NON_WITNESS_UTXO, f.IN_WITNESS_UTXO, *f.V2_ONLY_INPUT))
"""BIP174: what an input keeps when it is final, beside what nobody knows."""

_UNKNOWN_SPENT = "the PSBT does not say what all inputs spend"

Pairs = dict[bytes, bytes]


class CombineError(PsbtError):
    """Two files contradict each other, or one has what is no good. `file`: which, from 0."""

    def __init__(self, file: int, reason: str) -> None:
        super().__init__(reason)
        self.file = file


@dataclass(frozen=True, slots=True)
class Combined:
    """What came of several PSBTs."""

    psbt: Psbt
    notes: tuple[str, ...] = ()
    """What a person should know: which of several values was taken, what could not be judged."""


def combine(psbts: Sequence[Psbt]) -> Combined:
    """One PSBT with the fields of all, in the version and form of the first. Partial signatures of MuSig2 become a
    whole one where all of them are there (BIP373).

    Raises CombineError where one is of another transaction, contradicts one before it, or has a signature that does not
    verify; RefusedInput and PsbtError where all together contradict themselves.
    """
    first, *others = psbts
    check_size(first)
    wanted = first.unsigned_tx()
    for number, other in enumerate(others, 1):
        if other.unsigned_tx() != wanted:
            raise CombineError(number, "it is a PSBT of a different transaction than the first file")
    return _Combiner(psbts).run()


@dataclass
class _Combiner:
    psbts: Sequence[Psbt]
    notes: dict[str, None] = field(default_factory=dict)
    types: set[int] = field(default_factory=set)
    """Sighash types of the signatures that are there."""

    def run(self) -> Combined:
        first = self.psbts[0]
        mixed = any(psbt.version != first.version for psbt in self.psbts)
        of_inputs, of_outputs = (frozenset(types if mixed else ()) for types in (f.V2_ONLY_INPUT, f.V2_ONLY_OUTPUT))
        globals_ = self._merged("the PSBT", [psbt.globals for psbt in self.psbts], f.GLOBAL_RULES, _OF_GLOBALS)
        self._flags(globals_)
        inputs = [
            self._merged(
                f"input {index}",
                [psbt.inputs[index].pairs for psbt in self.psbts],
                f.INPUT_RULES,
                of_inputs,
                _SIGNATURES | _FINAL,
            )
            for index in range(len(first.inputs))
        ]
        outputs = [
            self._merged(
                f"output {index}",
                [psbt.outputs[index].pairs for psbt in self.psbts],
                f.OUTPUT_RULES,
                of_outputs,
            )
            for index in range(len(first.outputs))
        ]
        if first.version and not mixed:
            self._check_locks(globals_)
        unsigned = rebuilt(first, globals_, inputs, outputs)
        self._add_signatures(unsigned, inputs)
        self._fix(globals_)
        self._check_partial(unsigned)
        whole = aggregated(rebuilt(first, globals_, inputs, outputs))
        return Combined(whole, tuple(self.notes))

    def _merged(
        self,
        where: str,
        maps: Sequence[Mapping[bytes, bytes]],
        rules: Mapping[int, f.Rule],
        structural: frozenset[int],
        later: frozenset[int] = frozenset(),
    ) -> Pairs:
        """The pairs of all maps: those of the first in its order, then what others add. `structural`: types that the
        first alone has; `later`: those that are judged when the others are there."""
        found: Pairs = {}
        for number, pairs in enumerate(maps):
            for key, value in pairs.items():
                if key[0] in later or (number and key[0] in structural):
                    continue
                known = found.setdefault(key, value)
                if known != value:
                    self._differ(where, number, key, known, value, rules)
        return found

    def _differ(
        self, where: str, number: int, key: bytes, known: bytes, value: bytes, rules: Mapping[int, f.Rule]
    ) -> None:
        rule = rules.get(key[0])
        if rule is None:
            text = f"{where}: the files differ in a field of type 0x{key[0]:02x}; the first file's value is kept"
            self.notes[text] = None
        elif not _same(rules, key[0], known, value):
            raise CombineError(number, f"{where}: its {rule.name} differs from the one in an earlier file")

    def _check_locks(self, globals_: Pairs) -> None:
        """BIP370: the lock time follows from what all inputs require, so files of one transaction can make another."""
        first = self.psbts[0]
        required: list[Pairs] = [{} for _ in first.inputs]
        wrong = None
        for number, psbt in enumerate(self.psbts):
            for pairs, fields in zip(required, psbt.inputs, strict=True):
                pairs |= {key: fields.pairs[key] for key in _REQUIRED if key in fields.pairs}
            try:
                fits = lock_time_of(globals_, list(map(FieldMap, required))) == first.tx.lock_time
            except BadPsbt:
                fits = False
            wrong = None if fits else number if wrong is None else wrong
        if wrong is not None:
            raise CombineError(
                wrong,
                "its inputs require other lock times than those of the files before it: together they are a different "
                "transaction",
            )

    def _fix(self, pairs: Pairs) -> None:
        """BIP370: the flags follow from the signatures, whatever the files say."""
        key = bytes((f.GLOBAL_TX_MODIFIABLE,))
        if key in pairs:
            pairs[key] = bytes((reduce(flags_after, self.types, pairs[key][0]),))

    def _flags(self, pairs: Pairs) -> None:
        """BIP370: what a signature of any file has fixed is fixed."""
        key = bytes((f.GLOBAL_TX_MODIFIABLE,))
        values = [psbt.globals[key][0] for psbt in self.psbts if key in psbt.globals]
        if key not in pairs or not values:
            return
        flags = values[0]
        for value in values[1:]:
            flags = (flags & value & _INPUTS_MODIFIABLE) | ((flags | value) & _HAS_SINGLE)
        pairs[key] = bytes((flags,))

    def _add_signatures(self, unsigned: Psbt, inputs: Sequence[Pairs]) -> None:
        spends = spent_outputs(unsigned)
        hasher = SignatureHasher(unsigned.tx, [spend.output for spend in spends])
        all_known = all(spend.output is not None for spend in spends)
        for index, pairs in enumerate(inputs):
            judges = _Signatures(unsigned, index, spends[index], hasher, all_known)
            finals: list[tuple[int, FieldMap]] = []
            for number, psbt in enumerate(self.psbts):
                fields = psbt.inputs[index]
                if fields.is_final:
                    finals.append((number, fields))
                for key, value in fields.pairs.items():
                    if key[0] in _SIGNATURES:
                        self._add_signature(judges, number, pairs, key, value)
            self.types.update(types_in(FieldMap(pairs)))
            self._add_final(judges, pairs, finals)

    def _add_signature(self, judges: _Signatures, number: int, pairs: Pairs, key: bytes, value: bytes) -> None:
        if pairs.get(key) == value:
            return
        good = judges.good(key, value)
        if good is False:
            raise CombineError(
                number, f"input {judges.index}: it has a signature that does not verify: leave the file out"
            )
        if good is None:
            self.notes[f"input {judges.index}: signatures could not be verified: {judges.problem}"] = None
        pairs.setdefault(key, value)  # of two good ones the first

    def _check_partial(self, unsigned: Psbt) -> None:
        """Partial signatures of MuSig2. One verifies only once the nonces of all signers are there."""
        spends = spent_outputs(unsigned)
        hasher = SignatureHasher(unsigned.tx, [spend.output for spend in spends])
        aggregates = Aggregates()
        for index, (fields, spend) in enumerate(zip(unsigned.inputs, spends, strict=True)):
            given = fields.types & 1 << f.IN_MUSIG2_PARTIAL_SIG
            if not given or any(psbt.inputs[index].is_final for psbt in self.psbts):
                continue
            parts = []
            if spend.output is not None:
                spending = spending_of(index, fields, spend.output[1])
                parts = parts_given(index, fields, spending, hasher, aggregates)
            seen = 0
            for one in parts:
                if len(one.key.nonces(fields)) < len(one.key.signers):
                    continue
                seen += len(one.valid)
                for signer in [signer for signer, good in one.valid.items() if not good]:
                    field_key = one.key.field_of(f.IN_MUSIG2_PARTIAL_SIG, signer)
                    number = next(n for n, psbt in enumerate(self.psbts) if field_key in psbt.inputs[index].pairs)
                    raise CombineError(
                        number,
                        f"input {index}: it has a partial signature (MuSig2) that does not verify: leave the file out",
                    )
            if seen < len(fields.keyed(f.IN_MUSIG2_PARTIAL_SIG)):
                self.notes[
                    f"input {index}: not every partial signature (MuSig2) could be verified: something is missing"
                ] = None

    def _add_final(self, judges: _Signatures, pairs: Pairs, finals: Sequence[tuple[int, FieldMap]]) -> None:
        for number, fields in finals:
            judged = judges.final(fields)
            if judged.verdict is Verdict.BAD:
                raise CombineError(
                    number,
                    f"input {judges.index}: it is final and cannot be spent so ({judged.reason}): leave the file out",
                )
            self.types.update(judged.types if judged.good else (Sighash.ALL,))
            if judged.verdict is Verdict.UNKNOWN:
                self.notes[f"input {judges.index}: it is final and could not be verified: {judged.reason}"] = None
        if finals:
            pairs.update({key: value for key, value in finals[0][1].pairs.items() if key[0] in _FINAL})


def _same(rules: Mapping[int, f.Rule], kind: int, one: bytes, other: bytes) -> bool:
    """Whether two values of a field say the same in other bytes."""
    if rules is f.INPUT_RULES and kind == f.IN_NON_WITNESS_UTXO:
        return _same_previous(one, other)
    of_taproot = f.IN_TAP_BIP32_DERIVATION if rules is f.INPUT_RULES else f.OUT_TAP_BIP32_DERIVATION
    if rules is f.GLOBAL_RULES or kind != of_taproot:
        return False
    # Of leaf hashes no order means anything: HWI's library writes them in any.
    return f.split_tap_derivation(one) == f.split_tap_derivation(other)


def _same_previous(one: bytes, other: bytes) -> bool:
    """Whether two are the same previous transaction, with its witnesses and without."""
    return parse_previous(one, 0).txid == parse_previous(other, 0).txid


class _Signatures:
    """Judges what was signed for one input."""

    def __init__(self, psbt: Psbt, index: int, spend: Spend, hasher: SignatureHasher, all_known: bool) -> None:
        self.psbt, self.index, self.spend, self.hasher, self.all_known = psbt, index, spend, hasher, all_known
        self.problem = "the PSBT does not say what it spends"
        self.spending: Spending | None = None
        self.digest: Callable[[int], bytes] | None = None
        if spend.output is not None:
            self.spending = spending_of(index, psbt.inputs[index], spend.output[1])
            self.problem = self.spending.problem or ""
            self.digest = partial(ecdsa_digest, hasher, index, self.spending, spend.output[0])

    def good(self, key: bytes, value: bytes) -> bool | None:
        """Whether a signature verifies; None where the PSBT does not tell enough."""
        if self.spending is None or self.digest is None or self.spending.problem:
            return None
        taproot = self.spending.route is Route.TAPROOT
        if taproot != (key[0] != f.IN_PARTIAL_SIG):
            return False
        if not taproot:
            return ecdsa_valid(key[1:], value, self.digest)
        if key[0] == f.IN_TAP_KEY_SIG:
            return self._schnorr(self.spending.script, value, None)
        leaf = key[33:]
        if leaf not in self.spending.leaves:
            self.problem = "the script of its leaf is not there"
            return None
        return self._schnorr(key[1:33], value, leaf)

    def _schnorr(self, key: bytes, value: bytes, leaf: bytes | None) -> bool | None:
        if not self.all_known:
            self.problem = _UNKNOWN_SPENT
            return None
        return schnorr_valid(key, value, self.index, leaf, self.hasher)

    def final(self, fields: FieldMap) -> Judgement:
        """What final fields are worth."""
        if self.spend.output is None:
            return Judgement(Verdict.UNKNOWN, self.problem)
        if not self.all_known and kind_of(self.spend.output[1]) is Kind.P2TR:
            return Judgement(Verdict.UNKNOWN, _UNKNOWN_SPENT)
        return judge(self.psbt.tx, self.hasher, self.index, self.spend.output, final_fields(fields))


def finalized(psbt: Psbt) -> Combined:
    """The PSBT with every input final: what unlocks it, its UTXO, and what nobody knows (BIP174, Input Finalizer).

    Raises NotFinal where an input is not complete, RefusedInput where one contradicts itself or is final and cannot be
    spent so. Each is run as nodes run it; what they would and this program cannot judge is told in the notes.
    """
    check_size(psbt)
    spends = spent_outputs(psbt)
    hasher = SignatureHasher(psbt.tx, [spend.output for spend in spends])
    all_known = all(spend.output is not None for spend in spends)
    aggregates = Aggregates()
    inputs, notes = [], []
    for index, (fields, spend) in enumerate(zip(psbt.inputs, spends, strict=True)):
        if spend.output is None:
            if not fields.is_final:
                raise NotFinal(index, "the PSBT does not say what it spends")
            notes.append(f"input {index}: it is final and could not be verified: the PSBT does not say what it spends")
            inputs.append(dict(fields.pairs))
            continue
        if fields.is_final:
            unlocking = final_fields(fields)
        else:
            spending = spending_of(index, fields, spend.output[1])
            unlocking = unlock(index, fields, spending, spend.output[0], hasher, aggregates)
        if not all_known and kind_of(spend.output[1]) is Kind.P2TR:
            judged = Judgement(Verdict.UNKNOWN, _UNKNOWN_SPENT)
        else:
            judged = judge(psbt.tx, hasher, index, spend.output, unlocking)
        if judged.verdict is Verdict.BAD:
            raise RefusedInput(index, f"it cannot be spent as it is signed: {judged.reason}")
        if judged.verdict is Verdict.UNKNOWN:
            notes.append(f"input {index}: it could not be verified: {judged.reason}")
        left_open = open_types(judged.types)
        if left_open:
            notes.append(f"input {index}: {OPEN_TEXT.format(' and '.join(left_open))}")
        inputs.append(dict(fields.pairs) if fields.is_final else _final_pairs(fields, *unlocking))
    outputs = [dict(fields.pairs) for fields in psbt.outputs]
    return Combined(rebuilt(psbt, dict(psbt.globals), inputs, outputs), tuple(notes))


def _final_pairs(fields: FieldMap, script_sig: bytes, witness: tuple[bytes, ...]) -> Pairs:
    kept = {
        key: value for key, value in fields.pairs.items() if key[0] in _KEPT_OF_FINAL or key[0] not in f.INPUT_RULES
    }
    if script_sig:
        kept[bytes((f.IN_FINAL_SCRIPTSIG,))] = script_sig
    if witness or not script_sig:
        items = encode_compact(len(witness)) + b"".join(map(with_length, witness))
        kept[bytes((f.IN_FINAL_SCRIPTWITNESS,))] = items
    return kept


def rebuilt(like: Psbt, globals_: Pairs, inputs: Sequence[Pairs], outputs: Sequence[Pairs]) -> Psbt:
    """A PSBT of these maps, parsed anew, in the form of another. Raises BadPsbt."""
    raw = MAGIC + b"".join(map(encode_map, (globals_, *inputs, *outputs)))
    return replace(Psbt.parse(raw), form=like.form, source=None, as_bytes=like.as_bytes)
