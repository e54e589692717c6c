"""What a transaction does, told before the PIN: from the PSBT alone, its claims taken for true and named as claims.

After the PIN the card's keys prove the claims; `doubts` says what of a preview did not come true.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from cryptnox_core.bip32 import Path
from cryptnox_core.secp256k1 import InvalidPublicKeyError, compress
from hwilib_cryptnox.psbt import Change, Collected, Plan, Policy, Psbt, PsbtError, collect, plan
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.fields import split_tap_derivation
from hwilib_cryptnox.psbt.summary import ChangeProver, prove_change

_MOST_GUESSES = 20
"""Master keys of a PSBT that are tried, the most frequent first: as many as sign a multisig together."""
_NOBODY = bytes(4)


def preview(psbt: Psbt, fingerprint: bytes | None, policy: Policy, prover: ChangeProver | None) -> Plan | None:
    """What signing will do if the keys that the PSBT calls the card's are the card's; None where it does not tell.

    `fingerprint`: of the card's master key, 4 bytes; None: unknown, then it is taken from the PSBT. Change is `PROVED`
    only where `prover` says so. Raises PsbtError for what is refused whatever the card's keys are; for a guessed
    fingerprint nothing is refused, since it may be another's.
    """
    if fingerprint is not None:
        collected = collect(psbt, fingerprint)
        return _as_claimed(psbt, collected, policy, prover) if collected.candidates else None
    for guess in _fingerprints(psbt):
        try:
            collected = collect(psbt, guess)
            if collected.candidates:
                return _as_claimed(psbt, collected, policy, prover)
        except PsbtError:
            continue
    return None


def _as_claimed(psbt: Psbt, collected: Collected, policy: Policy, prover: ChangeProver | None) -> Plan:
    made = plan(psbt, collected, _claimed_keys(collected), policy)
    known = prove_change(psbt, collected, {}, prover)
    outputs = [
        replace(output, change=known.get(output.index, (Change.NOT_OURS, None))[0]) for output in made.summary.outputs
    ]
    return replace(made, summary=replace(made.summary, outputs=tuple(outputs)))


def _claimed_keys(collected: Collected) -> dict[Path, bytes]:
    """The keys that the PSBT says to be the card's, compressed. Two at one path: `plan` refuses the second."""
    keys: dict[Path, bytes] = {}
    claims = [claim for _, claim in collected.unsigned_claims]
    for claim in sorted(claims, key=lambda claim: claim.is_taproot):  # whole keys before keys without their sign
        key = claim.public_key
        if len(key) == 65:
            try:
                key = compress(key)
            except InvalidPublicKeyError as error:
                raise PsbtError(f"the key said to be the card's at {claim.path} is none") from error
        keys.setdefault(claim.path, b"\x02" + key if claim.is_taproot else key)
    return keys


def _fingerprints(psbt: Psbt) -> list[bytes]:
    """Of the master keys that inputs name, the most frequent first."""
    found: Counter[bytes] = Counter()
    for fields in psbt.inputs:
        marks = set()
        for key, value in fields.pairs.items():
            if key[0] == f.IN_BIP32_DERIVATION:
                marks.add(value[:4])
            elif key[0] == f.IN_TAP_BIP32_DERIVATION:
                marks.add(split_tap_derivation(value)[1][:4])
        found.update(mark for mark in marks if len(mark) == len(_NOBODY) and mark != _NOBODY)
    return [mark for mark, _ in found.most_common(_MOST_GUESSES)]


def doubts(shown: Plan, proved: Plan) -> list[str]:
    """Why a person who agreed to `shown` has to be asked again before `proved` is signed; nothing where all that was
    claimed is true."""
    reasons = []
    before, now = shown.summary, proved.summary
    for old, new in zip(before.outputs, now.outputs, strict=True):
        if old.change is not Change.NOT_OURS and new.change is not Change.PROVED:
            reasons.append(f"output {new.index} is not proved to be yours")
        elif old.change is Change.NOT_OURS and new.change is Change.CLAIMED:
            reasons.append(f"output {new.index} is said to be yours, and not proved to be")
    if len(shown.requests) != len(proved.requests):
        reasons.append(f"{len(proved.requests)} signatures are to be made, not {len(shown.requests)}")
    if before.our_amount != now.our_amount:
        reasons.append("another amount is the card's")
    told = {notice.text for notice in before.warnings} | {str(item) for item in shown.skipped}
    later = [notice.text for notice in now.warnings] + [str(item) for item in proved.skipped]
    reasons += [text for text in later if text not in told]
    return reasons
