"""What a PSBT does with the money, for a person to look at."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from cryptnox_core.bip32 import Path
from cryptnox_core.hashes import base58check_encode, hash160
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.codec import OutputMap, Psbt
from hwilib_cryptnox.psbt.collect import Collected
from hwilib_cryptnox.psbt.errors import RefusedOutput
from hwilib_cryptnox.psbt.origins import Claim
from hwilib_cryptnox.psbt.script import Kind, examine, kind_of, p2pkh, p2sh, p2wpkh
from hwilib_cryptnox.psbt.tx import SEQUENCE_FINAL
from hwilib_cryptnox.psbt.weight import virtual_size

HIGH_FEE_SHARE = 0.05
HIGH_FEE_RATE = 500.0
"""Satoshi per virtual byte."""
_FAR_INDEX = 100_000
_SEQUENCE_LOCK_DISABLED, _SEQUENCE_LOCK_TIME, _SEQUENCE_LOCK_VALUE = 1 << 31, 1 << 22, 0xFFFF


class Chain(Enum):
    """A network's address prefixes: bech32, P2PKH and P2SH."""

    MAIN = ("bc", 0x00, 0x05)
    TEST = ("tb", 0x6F, 0xC4)
    """Testnet 3 and 4, signet."""
    REGTEST = ("bcrt", 0x6F, 0xC4)


class Change(Enum):
    """What is known of an output's owner."""

    NOT_OURS = "not ours"
    CLAIMED = "said to be ours, not proved"
    PROVED = "ours"


class NoticeKind(Enum):
    """What a warning is about."""

    HIGH_FEE = "high fee"
    UNKNOWN_AMOUNTS = "unknown amounts"
    UNPROVED_AMOUNTS = "unproved amounts"
    TIME_LOCK = "time lock"
    SIGHASH = "sighash type"
    UNKNOWN_SCRIPT = "unknown script"
    REUSED_KEY = "reused key"
    CHANGE_PATH = "unusual change path"
    SIGNED_BEFORE = "signed before"
    """Something else was signed for a coin, or the same transaction as another one, as this computer remembers."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning."""

    kind: NoticeKind
    text: str
    index: int | None = None
    """Input or output, where it concerns one."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class OutputSummary:
    """One output."""

    index: int
    amount: int
    """Satoshi."""
    script: bytes
    kind: Kind
    change: Change
    path: Path | None = None
    """Of our key in it."""

    def address(self, chain: Chain = Chain.MAIN) -> str | None:
        """The address, or None where the script has none."""
        return address_of(self.script, chain)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a PSBT does."""

    inputs: int
    our_inputs: int
    amount_in: int | None
    """Satoshi; None where an input's amount is not known."""
    our_amount: int
    """Satoshi of our inputs, as far as known."""
    amount_out: int
    sent: int
    """Satoshi of the outputs that are neither proved nor claimed to be ours."""
    fee: int | None
    fee_proved: bool
    """Every amount comes from its previous transaction."""
    vsize: int
    outputs: tuple[OutputSummary, ...]
    warnings: tuple[Notice, ...]

    @property
    def fee_rate(self) -> float | None:
        """Satoshi per virtual byte, estimated."""
        return None if self.fee is None else self.fee / self.vsize


class ChangeProver(Protocol):
    """Says whether an output belongs to a wallet that the caller knows; called for outputs that claim our keys in a
    script."""

    def __call__(self, index: int, script: bytes, claims: Sequence[Claim]) -> bool: ...


def address_of(script: bytes, chain: Chain = Chain.MAIN) -> str | None:
    """The address of a scriptPubKey, or None where it has none."""
    bech32_prefix, p2pkh_prefix, p2sh_prefix = chain.value
    kind = kind_of(script)
    if kind is Kind.P2PKH:
        return base58check_encode(bytes((p2pkh_prefix,)) + script[3:23])
    if kind is Kind.P2SH:
        return base58check_encode(bytes((p2sh_prefix,)) + script[2:22])
    if kind in (Kind.P2WPKH, Kind.P2WSH, Kind.P2TR, Kind.WITNESS_UNKNOWN):
        from embit import bech32

        version = script[0] - 0x50 if script[0] else 0
        text: str | None = bech32.encode(bech32_prefix, version, script[2:])
        return text
    return None


def describe(psbt: Psbt, collected: Collected) -> Summary:
    """The summary from the PSBT alone, before any key is known: outputs of ours are only claimed."""
    return summarize(psbt, collected, prove_change(psbt, collected, {}, None), ())


def prove_change(
    psbt: Psbt, collected: Collected, keys: Mapping[Path, bytes], prover: ChangeProver | None
) -> dict[int, tuple[Change, Path]]:
    """Which outputs are ours. Raises RefusedOutput for an output that says that it holds our key and does not."""
    change: dict[int, tuple[Change, Path]] = {}
    for index, claims in enumerate(collected.output_claims):
        if not claims:
            continue
        script = psbt.tx.outputs[index][1]
        status = Change.NOT_OURS
        holder = _holder(psbt.outputs[index], script)
        for claim in claims:
            holds_key = holder(claim.public_key)
            if holds_key is False:
                if claim.by_account:
                    continue
                raise RefusedOutput(index, f"it does not contain the key that is said to be ours at {claim.path}")
            known = keys.get(claim.path)
            mine = known is not None and known[-len(claim.public_key) :] == claim.public_key
            if claim.by_account and known is not None and not mine:
                continue
            path = claim.path
            if mine and known is not None and script in single_key_scripts(known):
                status = Change.PROVED
            elif status is not Change.PROVED:
                status = Change.CLAIMED
            change[index] = (status, path)
        if status is Change.CLAIMED and prover is not None and prover(index, script, claims):
            change[index] = (Change.PROVED, change[index][1])
    return change


def single_key_scripts(key: bytes) -> tuple[bytes, ...]:
    """The scripts that a compressed key alone can spend with this card."""
    hashed = hash160(key)
    witness = p2wpkh(hashed)
    return witness, p2pkh(hashed), p2sh(hash160(witness)), b"\x51\x20" + key[1:]


def _holder(fields: OutputMap, script: bytes) -> Callable[[bytes], bool | None]:
    """Tells whether an output's script holds a key; None where the PSBT does not tell. The scripts are hashed and read
    once, however many keys are asked for."""
    kind = kind_of(script)
    if kind is Kind.P2PKH:
        return lambda key: hash160(key) == script[3:23]
    redeem, witness_script = fields.get(f.OUT_REDEEM_SCRIPT), fields.get(f.OUT_WITNESS_SCRIPT)
    inner = script
    if kind is Kind.P2SH:
        if redeem is None:
            told = None if witness_script is not None else script
            return lambda key: None if told is None else (p2sh(hash160(p2wpkh(hash160(key)))) == told or None)
        if p2sh(hash160(redeem)) != script:
            return lambda key: False  # noqa: ARG005 - whichever key it is
        inner, kind = redeem, kind_of(redeem)
    if kind is Kind.P2WPKH:
        return lambda key: hash160(key) == inner[2:]
    if kind in (Kind.P2TR, Kind.WITNESS_UNKNOWN) or (kind is Kind.P2WSH and witness_script is None):
        return lambda key: None  # noqa: ARG005
    if kind is Kind.P2WSH and witness_script is not None:
        if hashlib.sha256(witness_script).digest() != inner[2:]:
            return lambda key: False  # noqa: ARG005
        inner = witness_script
    try:
        pushes = examine(inner).pushes
    except ValueError:
        return lambda key: None  # noqa: ARG005
    return lambda key: key in pushes or hash160(key) in pushes


def summarize(
    psbt: Psbt, collected: Collected, change: Mapping[int, tuple[Change, Path]], notices: Sequence[Notice]
) -> Summary:
    """Amounts, outputs and warnings."""
    tx, spends = psbt.tx, collected.spends
    known = [spend.output[0] for spend in spends if spend.output is not None]
    amount_in = sum(known) if spends and len(known) == len(tx.outpoints) else None
    outputs = tuple(
        [
            OutputSummary(index, amount, script, kind_of(script), *change.get(index, (Change.NOT_OURS, None)))
            for index, (amount, script) in enumerate(tx.outputs)
        ]
    )
    amount_out = sum([output.amount for output in outputs])
    ours = [index for index, claims in enumerate(collected.claims) if claims]
    our_amounts = [spends[index].output for index in ours] if spends else []
    summary = Summary(
        inputs=len(tx.outpoints),
        our_inputs=len(ours),
        amount_in=amount_in,
        our_amount=sum([output[0] for output in our_amounts if output is not None]),
        amount_out=amount_out,
        sent=sum([output.amount for output in outputs if output.change is Change.NOT_OURS]),
        fee=None if amount_in is None else amount_in - amount_out,
        fee_proved=bool(spends) and all(spend.proved for spend in spends),
        vsize=virtual_size(psbt, collected.locks),
        outputs=outputs,
        warnings=(),
    )
    warnings = (
        *notices,
        *_amount_notices(summary, collected),
        *_lock_notices(psbt),
        *_output_notices(summary, collected),
    )
    return _with_warnings(summary, warnings)


def _with_warnings(summary: Summary, warnings: tuple[Notice, ...]) -> Summary:
    from dataclasses import replace

    return replace(summary, warnings=warnings)


def _amount_notices(summary: Summary, collected: Collected) -> list[Notice]:
    notices = []
    fee, rate = summary.fee, summary.fee_rate
    if fee is None or rate is None:
        if collected.spends:
            notices.append(Notice(NoticeKind.UNKNOWN_AMOUNTS, "the fee is not known: some inputs have no amounts"))
        return notices
    amount = summary.sent or summary.amount_out
    if fee > amount * HIGH_FEE_SHARE:
        share = f"{100 * fee / amount:.0f} % of the amount" if amount else "all there is"
        notices.append(Notice(NoticeKind.HIGH_FEE, f"the fee of {fee} satoshi is {share}"))
    if rate > HIGH_FEE_RATE:
        notices.append(Notice(NoticeKind.HIGH_FEE, f"the fee rate is {rate:.0f} sat/vB"))
    if not summary.fee_proved:
        text = (
            "the amounts of some inputs are not proved by their previous transactions: the fee may be higher than shown"
        )
        notices.append(Notice(NoticeKind.UNPROVED_AMOUNTS, text))
    return notices


def _lock_notices(psbt: Psbt) -> list[Notice]:
    notices = []
    tx = psbt.tx
    lock_time = int.from_bytes(tx.lock_time, "little")
    if lock_time and any(sequence != SEQUENCE_FINAL for sequence in tx.sequences):
        until = f"block {lock_time}" if lock_time < f.LOCK_TIME_THRESHOLD else f"time {lock_time} (Unix)"
        notices.append(Notice(NoticeKind.TIME_LOCK, f"not valid before {until}"))
    if int.from_bytes(tx.version, "little") >= 2:
        for index, raw in enumerate(tx.sequences):
            sequence = int.from_bytes(raw, "little")
            value = sequence & _SEQUENCE_LOCK_VALUE
            if sequence & _SEQUENCE_LOCK_DISABLED or not value:
                continue
            span = f"{value * 512} seconds" if sequence & _SEQUENCE_LOCK_TIME else f"{value} blocks"
            notices.append(
                Notice(NoticeKind.TIME_LOCK, f"input {index} is not valid before its output is {span} old", index)
            )
    return notices


def _output_notices(summary: Summary, collected: Collected) -> list[Notice]:
    notices = []
    spent = Counter([spend.output[1] for spend in collected.spends if spend.output is not None])
    if any(count > 1 for count in spent.values()):
        notices.append(Notice(NoticeKind.REUSED_KEY, "several inputs spend from the same address"))
    accounts = {claim.path.steps[:-2] for claims in collected.claims for claim in claims}
    seen: set[bytes] = set()
    for output in summary.outputs:
        if output.kind in (Kind.BARE, Kind.MULTISIG, Kind.P2PK, Kind.WITNESS_UNKNOWN):
            text = f"output {output.index} pays to {output.kind.value}"
            notices.append(Notice(NoticeKind.UNKNOWN_SCRIPT, text, output.index))
        if output.kind is Kind.OP_RETURN and output.amount:
            text = f"output {output.index} destroys {output.amount} satoshi (OP_RETURN)"
            notices.append(Notice(NoticeKind.UNKNOWN_SCRIPT, text, output.index))
        if output.script in spent or output.script in seen:
            text = f"output {output.index} pays to an address that is used already"
            notices.append(Notice(NoticeKind.REUSED_KEY, text, output.index))
        if output.kind is not Kind.OP_RETURN:
            seen.add(output.script)
        if output.path is not None:
            far = bool(output.path.steps) and output.path.steps[-1] >= _FAR_INDEX
            if far or output.path.steps[:-2] not in accounts:
                text = f"output {output.index} is ours at an unusual path: {output.path}"
                notices.append(Notice(NoticeKind.CHANGE_PATH, text, output.index))
    return notices
