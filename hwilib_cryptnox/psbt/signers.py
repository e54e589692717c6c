"""Who has signed a PSBT and who has not, told from the PSBT alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

from cryptnox_core.bip32 import KeyOrigin, Path
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.checks import Route, Spending, ecdsa_digest, is_bip86, spending_of, spent_outputs
from hwilib_cryptnox.psbt.codec import FieldMap, Psbt
from hwilib_cryptnox.psbt.finalize import NotFinal, final_fields, unlock
from hwilib_cryptnox.psbt.judge import Judgement, Verdict, judge
from hwilib_cryptnox.psbt.musig import Aggregates, parts_given
from hwilib_cryptnox.psbt.script import Kind, parse_multisig
from hwilib_cryptnox.psbt.sighash import SignatureHasher, open_types
from hwilib_cryptnox.psbt.verifying import ecdsa_valid, schnorr_valid, types_in
from hwilib_cryptnox.psbt.weight import check_block


@dataclass(frozen=True, slots=True)
class Signer:
    """A key of an input."""

    public_key: bytes
    """33 or 65 bytes, 32 in taproot fields."""
    origin: KeyOrigin | None
    """Where the PSBT says that it comes from."""
    signed: bool
    """A signature is there that verifies."""
    bad: bool = False
    """A signature is there that does not, or could not be relayed."""


@dataclass(frozen=True, slots=True)
class InputStatus:
    """What is there of one input."""

    index: int
    kind: str
    amount: int | None
    """Satoshi."""
    final: bool
    """Finalised already: who signed is no longer told, but it is run as a node runs it."""
    complete: bool
    """Nothing is missing."""
    needed: int | None
    """Signatures wanted, where the script tells."""
    signers: tuple[Signer, ...]
    problem: str = ""
    """Why it is not complete; of one that is: why it could not be verified."""
    bad: bool = False
    """Final, and cannot be spent so."""
    open_types: tuple[str, ...] = ()
    """Sighash types of its signatures that let others change parts of the transaction."""


def input_statuses(psbt: Psbt) -> tuple[InputStatus, ...]:
    """All inputs. Raises RefusedInput where the PSBT contradicts itself."""
    check_block(psbt)
    spends = spent_outputs(psbt)
    hasher = SignatureHasher(psbt.tx, [spend.output for spend in spends])
    all_known = all(spend.output is not None for spend in spends)
    aggregates = Aggregates()
    found = []
    for index, (fields, spend) in enumerate(zip(psbt.inputs, spends, strict=True)):
        if spend.output is None:
            final = fields.is_final
            problem = f"{_UNVERIFIED if final else ''}the PSBT does not say what it spends"
            found.append(InputStatus(index, "unknown", None, final, final, None, (), problem))
            continue
        amount, script = spend.output
        spending = spending_of(index, fields, script)
        status = _status(index, fields, spending, amount, hasher, aggregates)
        if not status.final:
            status = replace(status, open_types=open_types(types_in(fields)))
        elif not all_known and spending.kind is Kind.P2TR:
            status = replace(status, problem=f"{_UNVERIFIED}the PSBT does not say what all inputs spend")
        else:
            status = _run(status, judge(psbt.tx, hasher, index, spend.output, final_fields(fields)))
        found.append(status)
    return tuple(found)


_UNVERIFIED = "it is final and could not be verified: "


def _run(status: InputStatus, judged: Judgement) -> InputStatus:
    """A final input as it was judged: what cannot be spent is not complete."""
    if judged.verdict is Verdict.BAD:
        problem = f"it is final, and cannot be spent as it is signed: {judged.reason}"
        return replace(status, complete=False, problem=problem, bad=True)
    problem = f"{_UNVERIFIED}{judged.reason}" if judged.verdict is Verdict.UNKNOWN else ""
    return replace(status, problem=problem, open_types=open_types(judged.types))


def _status(
    index: int, fields: FieldMap, spending: Spending, amount: int, hasher: SignatureHasher, aggregates: Aggregates
) -> InputStatus:
    kind = f"{spending.kind.value}-{spending.nested.value}" if spending.nested is not None else spending.kind.value
    if fields.is_final:
        return InputStatus(index, kind, amount, True, True, None, ())
    signers = (
        _taproot(index, fields, spending, hasher, aggregates)
        if spending.route is Route.TAPROOT
        else _ecdsa(index, fields, spending, amount, hasher)
    )
    problem = ""
    try:
        unlock(index, fields, spending, amount, hasher, aggregates)
    except NotFinal as error:
        problem = error.reason
    multisig = parse_multisig(spending.script) if spending.route is not Route.TAPROOT else None
    needed = multisig[0] if multisig is not None else 1 if spending.key_hash is not None else None
    return InputStatus(index, kind, amount, False, not problem, needed, tuple(signers), problem)


def _ecdsa(index: int, fields: FieldMap, spending: Spending, amount: int, hasher: SignatureHasher) -> list[Signer]:
    digest = cache(partial(ecdsa_digest, hasher, index, spending, amount))
    origins = {key: _origin(value) for key, value in fields.keyed(f.IN_BIP32_DERIVATION)}
    signatures = dict(fields.keyed(f.IN_PARTIAL_SIG))
    multisig = parse_multisig(spending.script)
    keys = dict.fromkeys([*(multisig[1] if multisig else ()), *origins, *signatures])
    return [_judged(key, origins.get(key), signatures.get(key), digest) for key in keys]


def _judged(key: bytes, origin: KeyOrigin | None, signature: bytes | None, digest: Callable[[int], bytes]) -> Signer:
    if not signature:
        return Signer(key, origin, signed=False)
    good = ecdsa_valid(key, signature, digest)
    return Signer(key, origin, signed=good, bad=not good)


def _taproot(
    index: int, fields: FieldMap, spending: Spending, hasher: SignatureHasher, aggregates: Aggregates
) -> list[Signer]:
    """The output key where it has signed (of BIP86 the key that it is made of), then the others. A key may have signed
    several leaves: one that verifies makes it a signer, one that does not makes it a bad one. Of a MuSig2 key those who
    make it together."""
    origins = {key: _origin(f.split_tap_derivation(value)[1]) for key, value in fields.keyed(f.IN_TAP_BIP32_DERIVATION)}
    verdicts: dict[bytes, list[bool]] = {}
    value = fields.get(f.IN_TAP_KEY_SIG)
    if value is not None:
        signer = next((key for key in origins if is_bip86(spending, key)), spending.script)
        verdicts[signer] = [schnorr_valid(spending.script, value, index, None, hasher)]
    for key, value in fields.keyed(f.IN_TAP_SCRIPT_SIG):
        leaf = key[32:]
        good = leaf in spending.leaves and schnorr_valid(key[:32], value, index, leaf, hasher)
        verdicts.setdefault(key[:32], []).append(good)
    parts = parts_given(index, fields, spending, hasher, aggregates)
    for one in parts:
        for signer in one.key.signers:
            given = one.valid.get(signer)
            verdicts.setdefault(signer[1:], []).extend([] if given is None else [given])
    found = []
    shared = {key for one in parts for key in one.key.aggregate_keys} - {key for key, made in verdicts.items() if made}
    for key in dict.fromkeys([*verdicts, *origins]):
        if key in shared:  # nobody's alone
            continue
        made = verdicts.get(key, [])
        found.append(Signer(key, origins.get(key), signed=any(made), bad=not all(made)))
    return found


def _origin(value: bytes) -> KeyOrigin:
    return KeyOrigin(value[:4], Path.from_bytes(value[4:], "little"))
