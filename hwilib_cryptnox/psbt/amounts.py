"""Which amounts are true: what the previous transactions prove, and what the signatures of a run commit to.

Several half-true PSBTs of one transaction, each signed in a run of its own, must never give signatures that together
are valid and pay what no run showed. So a run makes signatures only where the amount and the script of *every* input
are settled: proved by its previous transaction, or committed to by every signature of the run. A lie about an amount
that a signature commits to makes that signature worthless.
"""

from __future__ import annotations

from collections.abc import Sequence

from hwilib_cryptnox.psbt.checks import Route
from hwilib_cryptnox.psbt.collected import Candidate, Collected, SignatureKind
from hwilib_cryptnox.psbt.errors import RefusedInput
from hwilib_cryptnox.psbt.sighash import ANYONECANPAY

UNPROVED = (
    "its amount is not proved: add the previous transaction (non_witness_utxo), or allow it with "
    "--allow-unproved-amounts"
)
UNPROVED_OF_OTHERS = (
    "its amount is not proved, and a wrong amount would hide the fee, no matter who signs it (payjoin and coinjoin "
    "too): add the previous transaction (non_witness_utxo), or allow it with --allow-unproved-amounts"
)


def unsettled(collected: Collected, candidates: Sequence[Candidate]) -> list[int]:
    """The inputs whose amount and script neither a previous transaction proves nor all these signatures commit to."""
    own_only = {candidate.index for candidate in candidates if not _commits_to_all(candidate)}
    if not own_only and candidates:  # taproot signatures (BIP341) commit to every amount and script
        return [index for index, spend in enumerate(collected.spends) if spend.output is None]
    exempt = None
    if len(own_only) == 1:
        (index,) = own_only
        spending = collected.spendings[index]
        # Segwit v0 (BIP143) and taproot with ANYONECANPAY commit to the amount of their own input; legacy to none.
        if spending is not None and spending.route is not Route.LEGACY:
            exempt = index
    return [index for index, spend in enumerate(collected.spends) if not spend.proved and index != exempt]


def _commits_to_all(candidate: Candidate) -> bool:
    return candidate.kind is not SignatureKind.ECDSA and not candidate.sighash & ANYONECANPAY


def check_amounts(collected: Collected, candidates: Sequence[Candidate]) -> None:
    """RefusedInput where an input of a run with these signatures is not settled."""
    missing = unsettled(collected, candidates) if candidates else []
    if missing:
        index = missing[0]
        ours = any(candidate.index == index for candidate in candidates)
        raise RefusedInput(index, UNPROVED if ours else UNPROVED_OF_OTHERS)


def most_leaving(collected: Collected) -> int | None:
    """Satoshi that can leave the wallet at most, told before any key is proved: all that the inputs to be signed hold,
    and those that were signed before, which this run may complete. None where their amounts are not settled."""
    if not collected.candidates:
        return 0
    signed = {candidate.index for candidate in collected.candidates} | collected.done
    signed |= {index for index, _ in collected.signed_claims}
    if not signed.isdisjoint(unsettled(collected, collected.candidates)):
        return None
    amounts = [spend.output[0] for index in signed if (spend := collected.spends[index]).output is not None]
    return sum(amounts)
