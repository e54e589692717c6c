"""Plan: proves our keys, applies the policy, and says what is signed, what is not and what to beware of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cryptnox_core.bip32 import HARDENED, Path
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.networks import ACCOUNT_LEVELS, Chain
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.amounts import check_amounts, unsettled
from hwilib_cryptnox.psbt.change import WalletScripts, is_key, our_inputs, prove_change
from hwilib_cryptnox.psbt.codec import Psbt
from hwilib_cryptnox.psbt.collected import Candidate, Collected, SignatureKind, Skipped, why_nothing
from hwilib_cryptnox.psbt.errors import SILENT_REASON, PsbtError, RefusedInput, RefusedOutput
from hwilib_cryptnox.psbt.message import Message, disguised_message
from hwilib_cryptnox.psbt.musig import MusigPart
from hwilib_cryptnox.psbt.origins import Claim, shown
from hwilib_cryptnox.psbt.registered import Registered, RegisteredWallet
from hwilib_cryptnox.psbt.sighash import Sighash, type_name
from hwilib_cryptnox.psbt.summary import Notice, NoticeKind, Summary, chain_of, coin_of, summarize
from hwilib_cryptnox.psbt.weight import MAX_WEIGHT, too_large, weight

_ALWAYS_ALLOWED = (Sighash.DEFAULT, Sighash.ALL)
_MOST_COINS = 3
"""Coins other than bitcoin that are told."""


class Limit(Enum):
    """How high a fee may be where the user says nothing."""

    DEFAULT = "default"


DEFAULT: Final = Limit.DEFAULT
DEFAULT_MAX_FEE = 10_000_000
"""Satoshi."""
DEFAULT_MAX_FEE_RATE = 10_000.0
"""Satoshi per virtual byte."""
DEFAULT_MAX_FEE_PERCENT = 50.0
SMALL_FEE = 50_000
"""Satoshi; up to this a fee may be any part of what the inputs hold."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user allows. A limit is a number, None for none, or DEFAULT."""

    allow_sighash: bool = False
    """Defined sighash types other than ALL and DEFAULT."""
    allow_unproved_amounts: bool = False
    """Inputs whose amounts neither their previous transactions nor the signatures settle."""
    max_fee_rate: float | Limit | None = DEFAULT
    """Satoshi per virtual byte."""
    max_fee: float | Limit | None = DEFAULT
    """Satoshi."""
    max_fee_percent: float | Limit | None = DEFAULT
    """Percent of what our inputs hold; fees of 50,000 satoshi and less are not measured by it."""
    ask_fee: bool = False
    """A fee above a default limit is not refused: the plan says so, and a person decides."""
    chain: Chain | None = None
    """The network that the user named."""
    require_registered: bool = False
    """Inputs that several keys hold are signed only where a registered wallet derives them."""
    now: float | None = None
    """The time of day (seconds, Unix): a lock time is warned of where it lies ahead. None: always."""


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
    output_key: bytes | None = None
    """BIP86: the tweaked key, 32 bytes, whose signature it is."""
    musig: MusigPart | None = None
    """MuSig2: what of it is to be made."""

    @property
    def xonly_key(self) -> bytes:
        """Schnorr: for which key (32 bytes) the signature verifies."""
        return self.public_key[1:] if self.output_key is None else self.output_key


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """What is signed."""

    requests: tuple[SignRequest, ...]
    """In the order of the inputs."""
    skipped: tuple[Skipped, ...]
    summary: Summary
    message: Message | None = None
    """What is signed is a message (BIP322), and no payment."""
    ours: frozenset[int] = frozenset()
    """The inputs that are shown as ours."""
    high_fee: str | None = None
    """Which default limit the fee is above, where `Policy.ask_fee` leaves it to a person."""

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
    wallet: WalletScripts | None = None,
    wallets: Sequence[RegisteredWallet] = (),
) -> Plan:
    """What the card shall sign.

    `keys`: the card's compressed keys, of `collected.all_paths`: what of `paths` and `output_paths` cannot be compared
    is refused, what of `signed_paths` cannot is not told to be ours. `wallet`: one with several keys, from which all
    our inputs come then; `wallets`: the registered ones of this card. Raises RefusedInput, RefusedOutput or PsbtError
    for every lie and for what the policy forbids; UsageError where a key of `collected.signing_paths` is missing.
    """
    policy = policy or Policy()
    disproved, skipped = _prove_claims(collected, keys)
    candidates = [item for item in collected.candidates if not disproved or (item.index, item.claim) not in disproved]
    _check_parts(candidates, keys)
    message = disguised_message(psbt) if candidates else None
    if candidates:
        _check_silent(psbt)
    _check_sighash(candidates, policy)
    _check_chain(candidates, policy)
    if not policy.allow_unproved_amounts:
        check_amounts(collected, candidates)
    if candidates and not psbt.tx.outputs:
        raise PsbtError("the transaction has no outputs: everything would go to fees")
    if candidates and weight(psbt, collected.spendings) > MAX_WEIGHT:
        raise too_large()
    ours = our_inputs(collected, candidates, keys)
    registered = Registered.of(collected, ours, wallets)
    if policy.require_registered:
        _check_registered(registered, candidates)
    change = prove_change(psbt, collected, ours, keys, wallet, registered)
    if wallet is not None:  # the person named it: nothing is unknown
        registered.unregistered.clear()
    notices = [
        Notice(NoticeKind.SIGHASH, f"sighash type {type_name(candidate.sighash)} leaves parts open", candidate.index)
        for candidate in candidates
        if candidate.sighash not in _ALWAYS_ALLOWED
    ]
    notices += _coin_notices(ours)
    summary = summarize(
        psbt,
        collected,
        ours,
        change,
        notices,
        settled=not unsettled(collected, candidates),
        chain=chain_of([candidate.claim.path for candidate in candidates], policy.chain),
        signed_leaves={candidate.index: candidate.leaf_hash for candidate in candidates},
        registered=registered,
        now=policy.now,
    )
    # The coins that a message shows are no fee: its transaction cannot be mined.
    high_fee = _check_fee(summary, policy) if candidates and message is None else None
    requests = [
        SignRequest(
            one.index,
            one.claim.path,
            keys[one.claim.path],
            one.digest,
            one.kind,
            one.sighash,
            one.leaf_hash,
            one.output_key,
            one.musig,
        )
        for one in candidates
    ]
    return Plan(tuple(requests), (*collected.skipped, *skipped), summary, message, frozenset(ours), high_fee)


def _coin_notices(ours: Mapping[int, Sequence[Claim]]) -> list[Notice]:
    """Keys of wallets of other coins, each once."""
    found: dict[int, tuple[int, Path]] = {}
    for index, claims in ours.items():
        for path in [claim.path for claim in claims if coin_of(claim.path) is None]:
            steps = path.steps
            if len(steps) > 1 and steps[0] ^ HARDENED in ACCOUNT_LEVELS and steps[1] >= HARDENED:
                found.setdefault(steps[1] ^ HARDENED, (index, path))
    return [
        Notice(
            NoticeKind.OTHER_COIN,
            f"input {index} is spent with a key at {path}, where wallets of another coin (type {coin}) have theirs; "
            "amounts and addresses are shown as Bitcoin's",
            index,
        )
        for coin, (index, path) in found.items()
    ][:_MOST_COINS]


def _check_silent(psbt: Psbt) -> None:
    """Refuses silent payments, also where a script is there already: nobody here can tell that it is the payee's."""
    for index, fields in enumerate(psbt.outputs):
        if fields.get(f.OUT_SILENT_ADDRESS) is not None:
            raise RefusedOutput(index, SILENT_REASON)


def _prove_claims(collected: Collected, keys: Mapping[Path, bytes]) -> tuple[set[tuple[int, Claim]], list[Skipped]]:
    """Compares each key of an input that is said to be ours with the card's. Returns those matched by an account's
    fingerprint that are not ours after all."""
    disproved: set[tuple[int, Claim]] = set()
    skipped = []
    for path in collected.signing_paths:
        if path not in keys:
            raise UsageError(f"the key at {path} is missing")
    for index, claim in collected.unsigned_claims:
        key = keys.get(claim.path)
        if key is None:
            raise RefusedInput(
                index,
                f"it names a key at {shown(claim.path)}, one of more than are read from the card to compare: turn on "
                "xpub export (cryptnoxctl xpub on)",
            )
        if is_key(claim, key):
            continue
        if not claim.by_account:
            raise RefusedInput(index, f"the card's key at {shown(claim.path)} is not the one in the PSBT")
        disproved.add((index, claim))
        skipped.append(
            Skipped(
                index,
                f"the card has a different key at {shown(claim.path)}; the account's fingerprint matched by chance",
            )
        )
    return disproved, skipped


def _check_parts(candidates: Sequence[Candidate], keys: Mapping[Path, bytes]) -> None:
    """The keys of MuSig2 signers are whole ones; what was compared until now is their x coordinate."""
    for candidate in candidates:
        if candidate.musig is not None and keys[candidate.claim.path] != candidate.musig.own:
            raise RefusedInput(
                candidate.index,
                f"the card's key at {shown(candidate.claim.path)} is not the one in its MuSig2 key",
            )


def _check_sighash(candidates: Sequence[Candidate], policy: Policy) -> None:
    if policy.allow_sighash:
        return
    for candidate in candidates:
        if candidate.sighash not in _ALWAYS_ALLOWED:
            name = type_name(candidate.sighash)
            raise RefusedInput(candidate.index, f"it asks for sighash type {name}; allow it with --allow-sighash")


def _check_registered(registered: Registered, candidates: Sequence[Candidate]) -> None:
    for candidate in candidates:
        words = registered.unregistered.get(candidate.index)
        if words is not None:
            raise RefusedInput(
                candidate.index,
                f"it is held by {words}, not by a registered wallet, and the configuration (require_registered) "
                "requires one: register the wallet (cryptnoxctl wallet add)",
            )


def _check_chain(candidates: Sequence[Candidate], policy: Policy) -> None:
    """The network that the user named and the keys that sign have to agree."""
    if policy.chain is None:
        return
    wanted = policy.chain.network.coin_type
    for candidate in candidates:
        coin = coin_of(candidate.claim.path)
        if coin is not None and coin != wanted:
            network = "a test network" if coin else "the main network"
            raise RefusedInput(
                candidate.index,
                f"its key at {shown(candidate.claim.path)} is for {network}, but --chain names another network",
            )


def _check_fee(summary: Summary, policy: Policy) -> str | None:
    """PsbtError for a fee above a limit, or, with `ask_fee`, the sentence about a default one."""
    fee, rate, percent = summary.fee, summary.fee_rate, summary.fee_percent
    if fee is None or rate is None:
        if any(
            isinstance(limit, int | float) for limit in (policy.max_fee, policy.max_fee_rate, policy.max_fee_percent)
        ):
            raise PsbtError("the fee is unknown, and the configuration limits it")
        return None
    measured = (
        (policy.max_fee, DEFAULT_MAX_FEE, fee, _high_fee),
        (policy.max_fee_rate, DEFAULT_MAX_FEE_RATE, rate, _high_rate),
        (policy.max_fee_percent, DEFAULT_MAX_FEE_PERCENT, percent if fee > SMALL_FEE else None, _high_percent),
    )
    asked = None
    for limit, default, value, error in measured:
        most = default if isinstance(limit, Limit) else limit
        if most is None or value is None or value <= most:
            continue
        chosen = not isinstance(limit, Limit)
        problem = error(summary, "configured limit" if chosen else "limit", f"{most:,.15g}")
        if chosen or not policy.ask_fee:
            raise problem
        asked = asked or problem.reason
    return asked


def _high_fee(summary: Summary, limit: str, most: str) -> PsbtError:
    return PsbtError(
        f"the fee of {summary.fee:,} satoshi is above the {limit} of {most} satoshi",
        "change it with max_fee in config.toml or CRYPTNOX_MAX_FEE",
    )


def _high_rate(summary: Summary, limit: str, most: str) -> PsbtError:
    return PsbtError(
        f"the fee rate of {summary.fee_rate:,.1f} sat/vB is above the {limit} of {most} sat/vB",
        "change it with max_fee_rate in config.toml or CRYPTNOX_MAX_FEE_RATE",
    )


def _high_percent(summary: Summary, limit: str, most: str) -> PsbtError:
    whose = "this card's inputs hold" if summary.own_is_all else "this card's key alone holds"
    return PsbtError(
        f"the fee of {summary.fee:,} satoshi is above the {limit} of {most} % of the {summary.own_amount:,} satoshi "
        f"that {whose}",
        "change it with max_fee_percent in config.toml or CRYPTNOX_MAX_FEE_PERCENT",
    )
