"""A PSBT signer in pure functions: bytes in, bytes out, no device.

`Psbt.parse` -> `collect` (what is ours; nothing left: give the same PSBT back) -> fetch keys -> `plan` (proofs, policy,
requests) -> sign -> `insert`. Nothing here holds a private key, draws randomness or does I/O.
"""

from __future__ import annotations

from hwilib_cryptnox.networks import Chain
from hwilib_cryptnox.psbt.amounts import most_leaving
from hwilib_cryptnox.psbt.change import WalletScripts
from hwilib_cryptnox.psbt.codec import Form, Psbt
from hwilib_cryptnox.psbt.collect import collect
from hwilib_cryptnox.psbt.collected import Candidate, Collected, SignatureKind, Skipped
from hwilib_cryptnox.psbt.errors import BadPsbt, PsbtError, RefusedInput, RefusedOutput
from hwilib_cryptnox.psbt.insert import InvalidSignature, insert
from hwilib_cryptnox.psbt.origins import Claim
from hwilib_cryptnox.psbt.plan import Limit, Plan, Policy, SignRequest, plan
from hwilib_cryptnox.psbt.registered import RegisteredWallet, Unregistered, WalletInputs
from hwilib_cryptnox.psbt.sighash import Sighash
from hwilib_cryptnox.psbt.summary import Notice, NoticeKind, OutputSummary, Summary, address_of, describe

__all__ = [
    "BadPsbt",
    "Candidate",
    "Chain",
    "Claim",
    "Collected",
    "Form",
    "InvalidSignature",
    "Limit",
    "Notice",
    "NoticeKind",
    "OutputSummary",
    "Plan",
    "Policy",
    "Psbt",
    "PsbtError",
    "RefusedInput",
    "RefusedOutput",
    "RegisteredWallet",
    "SignRequest",
    "Sighash",
    "SignatureKind",
    "Skipped",
    "Summary",
    "Unregistered",
    "WalletInputs",
    "WalletScripts",
    "address_of",
    "collect",
    "describe",
    "insert",
    "most_leaving",
    "plan",
]
