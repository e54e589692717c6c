"""Plan: proves our keys, applies the policy, and says what is signed, what is not and what to beware of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryptnox_core.bip32 import Path
from cryptnox_core.errors import UsageError
from cryptnox_core.secp256k1 import InvalidPublicKeyError, compress
from hwilib_cryptnox.psbt.checks import Route
from hwilib_cryptnox.psbt.codec import Psbt
from hwilib_cryptnox.psbt.collect import Candidate, Collected, SignatureKind, Skipped, why_nothing
from hwilib_cryptnox.psbt.errors import PsbtError, RefusedInput, RefusedOutput
from hwilib_cryptnox.psbt.origins import Claim
from hwilib_cryptnox.psbt.sighash import ANYONECANPAY, Sighash, type_name
from hwilib_cryptnox.psbt.summary import ChangeProver, Notice, NoticeKind, Summary, prove_change, summarize

_ALWAYS_ALLOWED = (Sighash.DEFAULT, Sighash.ALL)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user allows."""

    allow_sighash: bool = False
    """Defined sighash types other than ALL and DEFAULT."""
    allow_unproved_amounts: bool = False
    """Several segwit v0 inputs of ours without their previous transactions."""
    max_fee_rate: float | None = None
    """Satoshi per virtual byte."""
    max_fee: int | None = None
    """Satoshi."""


@dataclass(frozen=True, slots=True)
class SignRequest:
    """One signature for the card to make."""

    input_index: int
    path: Path
    public_key: bytes
    """33 bytes, the card's key at the path."""
    digest: bytes
    """32 bytes."""
    kind: SignatureKind
    sighash_type: int
    leaf_hash: bytes | None = None
    """Tapscript: the leaf that is signed."""


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """What is signed."""

    requests: tuple[SignRequest, ...]
    """In the order of the inputs."""
    skipped: tuple[Skipped, ...]
    summary: Summary

    @property
    def warnings(self) -> tuple[Notice, ...]:
        """What a careful person wants to know first."""
        return self.summary.warnings

    def why_nothing(self) -> str | None:
        """Why nothing is signed though something is ours; None where something is signed."""
        return None if self.requests or not self.skipped else why_nothing(self.skipped)


def plan(
    psbt: Psbt,
    collected: Collected,
    keys: Mapping[Path, bytes],
    policy: Policy | None = None,
    *,
    prover: ChangeProver | None = None,
) -> Plan:
    """What the card shall sign.

    `keys`: the card's compressed keys: all of `collected.paths`, and as many of `collected.change_paths` as change
    shall be proved with. `prover` may prove outputs that need more than a key (multisig). Raises RefusedInput,
    RefusedOutput or PsbtError for every lie and for what the policy forbids; UsageError where a key is missing.
    """
    policy = policy or Policy()
    disproved, skipped = _prove_claims(collected, keys)
    candidates: list[Candidate] = []
    for candidate in collected.candidates:
        if disproved and (candidate.index, candidate.claim) in disproved:
            continue
        candidates.append(candidate)
    _check_sighash(candidates, policy)
    _check_amounts(collected, candidates, disproved, policy)
    change = prove_change(psbt, collected, keys, prover)
    notices = [
        Notice(NoticeKind.SIGHASH, f"sighash type {type_name(candidate.sighash)} leaves parts open", candidate.index)
        for candidate in candidates
        if candidate.sighash not in _ALWAYS_ALLOWED
    ]
    summary = summarize(psbt, collected, change, notices)
    _check_fee(summary, policy, signing=bool(candidates))
    requests = [
        SignRequest(
            candidate.index,
            candidate.claim.path,
            keys[candidate.claim.path],
            candidate.digest,
            candidate.kind,
            candidate.sighash,
            candidate.leaf_hash,
        )
        for candidate in candidates
    ]
    return Plan(tuple(requests), (*collected.skipped, *skipped), summary)


def _prove_claims(collected: Collected, keys: Mapping[Path, bytes]) -> tuple[set[tuple[int, Claim]], list[Skipped]]:
    """Compares each key that is said to be ours with the card's. Returns those matched by an account's fingerprint
    that are not ours after all."""
    disproved: set[tuple[int, Claim]] = set()
    skipped = []
    for index, claim in collected.unsigned_claims:
        key = keys.get(claim.path)
        if key is None:
            raise UsageError(f"the key at {claim.path} is missing")
        if is_key(claim, key):
            continue
        if not claim.by_account:
            raise RefusedInput(index, f"the card's key at {claim.path} is another than the PSBT says")
        disproved.add((index, claim))
        skipped.append(
            Skipped(index, f"the card's key at {claim.path} is another; the account's fingerprint matched by chance")
        )
    for index, claims in enumerate(collected.output_claims):
        for claim in claims:
            key = keys.get(claim.path)
            if key is not None and not claim.by_account and not is_key(claim, key):
                raise RefusedOutput(index, f"the card's key at {claim.path} is another than the PSBT says")
    return disproved, skipped


def is_key(claim: Claim, key: bytes) -> bool:
    """Whether the card's compressed key is the claimed one."""
    claimed = claim.public_key
    if len(claimed) == 33:
        return claimed == key
    if len(claimed) == 32:
        return claimed == key[1:]
    try:
        return compress(claimed) == key
    except InvalidPublicKeyError:
        return False


def _check_sighash(candidates: list[Candidate], policy: Policy) -> None:
    if policy.allow_sighash:
        return
    for candidate in candidates:
        if candidate.sighash not in _ALWAYS_ALLOWED:
            name = type_name(candidate.sighash)
            raise RefusedInput(candidate.index, f"sighash type {name} is asked for; allow it with --allow-sighash")


def _check_amounts(
    collected: Collected, candidates: list[Candidate], disproved: set[tuple[int, Claim]], policy: Policy
) -> None:
    """CVE-2020-14199: the same inputs with other amounts in two PSBTs turn the difference into fee, where two or more
    segwit v0 inputs are ours and nothing proves their amounts."""
    ours = sum([1 for claims in collected.claims if claims])
    if policy.allow_unproved_amounts or ours <= 1 or any(item not in disproved for item in collected.committing):
        return
    if any(c.kind is SignatureKind.SCHNORR and not c.sighash & ANYONECANPAY for c in candidates):
        return
    for candidate in candidates:
        lock = collected.locks[candidate.index]
        if lock is not None and lock.route is Route.SEGWIT_V0 and not collected.spends[candidate.index].proved:
            raise RefusedInput(
                candidate.index,
                "its amount is not proved: add the previous transaction (non_witness_utxo), "
                "or allow it with --allow-unproved-amounts",
            )


def _check_fee(summary: Summary, policy: Policy, *, signing: bool) -> None:
    if not signing or (policy.max_fee is None and policy.max_fee_rate is None):
        return
    if summary.fee is None or summary.fee_rate is None:
        raise PsbtError("the fee cannot be told, and the configuration sets a limit to it")
    if policy.max_fee is not None and summary.fee > policy.max_fee:
        raise PsbtError(f"the fee of {summary.fee} satoshi is above the configured limit of {policy.max_fee}")
    if policy.max_fee_rate is not None and summary.fee_rate > policy.max_fee_rate:
        raise PsbtError(
            f"the fee rate of {summary.fee_rate:.1f} sat/vB is above the configured limit of {policy.max_fee_rate}"
        )
