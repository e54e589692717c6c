"""What a PSBT does with the money, for a person to look at. Every number and every word in it is proved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from cryptnox_core.bip32 import HARDENED, Path
from cryptnox_core.crypto.hashes import base58check_encode
from cryptnox_core.crypto.secp256k1 import is_public_key
from hwilib_cryptnox.networks import ACCOUNT_LEVELS, Chain
from hwilib_cryptnox.psbt.checks import Spend, is_single, spent_outputs
from hwilib_cryptnox.psbt.codec import Psbt
from hwilib_cryptnox.psbt.collected import Collected
from hwilib_cryptnox.psbt.locks import is_ahead, spans, valid_from
from hwilib_cryptnox.psbt.origins import Claim
from hwilib_cryptnox.psbt.registered import Registered, Unregistered, WalletInputs
from hwilib_cryptnox.psbt.script import OP_1, OP_16, Kind, kind_of
from hwilib_cryptnox.psbt.weight import virtual_size

HIGH_FEE_SHARE = 0.05
HIGH_FEE_RATE = 500.0
"""Satoshi per virtual byte."""
FAR_INDEX = 1_000
"""So many addresses beyond those seen a wallet may not find its change again."""
_MOST_INDEX = 1_000_000
"""Beyond it nobody finds change, whatever the inputs' indexes are: anybody can pay to a far address of a wallet."""
_CHAINS = (0, 1)
"""Receive and change."""
_MOST_NAMED = 8
"""Inputs that are named one by one."""
_MOST_ANCHOR = 1_000
"""Satoshi; below it an output that anyone can spend (P2A) has its use: somebody spends it with a fee."""
_NOBODY = bytes(4)
"""Fingerprint of no master key."""


class NoticeKind(Enum):
    """What a warning is about."""

    HIGH_FEE = "high fee"
    UNKNOWN_FEE = "unknown fee"
    TIME_LOCK = "time lock"
    SIGHASH = "sighash type"
    UNKNOWN_SCRIPT = "unknown script"
    REUSED_KEY = "reused key"
    CHANGE_PATH = "unusual change path"
    CHANGE_TYPE = "change of another script type"
    SIGNED_BEFORE = "signed before"
    """Something else was signed for a coin, or the same transaction as another one, as this computer remembers."""
    NO_WALLET = "inputs of no registered wallet"
    TO_WALLET = "payment to a registered wallet"
    STRANGE_SCRIPT = "own key in an unknown script"
    KEY_ORDER = "the inputs' keys in an order that proves nothing"
    LOST = "money for anyone or for nobody"
    OTHER_COIN = "keys of another coin"


_GRAVE = frozenset(
    {
        NoticeKind.HIGH_FEE,
        NoticeKind.UNKNOWN_FEE,
        NoticeKind.SIGHASH,
        NoticeKind.CHANGE_PATH,
        NoticeKind.SIGNED_BEFORE,
        NoticeKind.STRANGE_SCRIPT,
        NoticeKind.LOST,
    }
)


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning."""

    kind: NoticeKind
    text: str
    index: int | None = None
    """Input or output, where it concerns one."""

    @property
    def grave(self) -> bool:
        """Money may be lost."""
        return self.kind in _GRAVE

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
    path: Path | None = None
    """Of our key, where the output is change."""
    wallet: str | None = None
    """Name of the registered wallet that derives its script: what it is change of, or pays to."""

    @property
    def change(self) -> bool:
        """Proved to come back to the wallet. Everything else is a payment."""
        return self.path is not None

    def address(self, chain: Chain = Chain.MAIN) -> str | None:
        """The address, or None where the script has none."""
        return address_of(self.script, chain)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a PSBT does. Amounts in satoshi; None where a number is not settled."""

    inputs: int
    our_inputs: int
    """Inputs that are proved to hold our key."""
    amount_in: int | None
    our_amount: int | None
    """Of our inputs."""
    own_amount: int | None
    """Of those that our key alone spends; of all our inputs where there is none of these."""
    amount_out: int
    sent: int
    """All payments: outputs that are not proved to be change."""
    change_amount: int
    fee: int | None
    """None unless the amount of every input is settled."""
    vsize: int
    """Virtual bytes, estimated."""
    outputs: tuple[OutputSummary, ...]
    accounts: tuple[Path, ...] = ()
    """Where the keys of our inputs come from."""
    chain: Chain = Chain.MAIN
    """How addresses are shown."""
    warnings: tuple[Notice, ...] = ()
    """The grave ones last."""
    wallets: tuple[WalletInputs, ...] = ()
    """The registered wallets that our inputs come from."""
    unregistered: tuple[Unregistered, ...] = ()
    """Our inputs that several keys hold and that no registered wallet derives (nor one that the person named)."""
    valid_from: str | None = None
    """The first block, or the time, that admits the transaction, in words; None for any."""

    @property
    def fee_rate(self) -> float | None:
        """Satoshi per virtual byte, estimated."""
        return None if self.fee is None else self.fee / self.vsize

    @property
    def fee_percent(self) -> float | None:
        """Percent of what the inputs hold that our key alone spends; of all our inputs where there is none of these."""
        return None if self.fee is None or not self.own_amount else 100 * self.fee / self.own_amount

    @property
    def own_is_all(self) -> bool:
        """Whether `own_amount` is what all our inputs hold."""
        return self.own_amount == self.our_amount

    @property
    def net(self) -> int | None:
        """What leaves the wallet: our inputs minus change."""
        return None if self.our_amount is None else self.our_amount - self.change_amount


def address_of(script: bytes, chain: Chain = Chain.MAIN) -> str | None:
    """The address of a scriptPubKey, or None where it has none."""
    bech32_prefix, p2pkh_prefix, p2sh_prefix = chain.value
    kind = kind_of(script)
    if kind is Kind.P2PKH:
        return base58check_encode(bytes((p2pkh_prefix,)) + script[3:23])
    if kind is Kind.P2SH:
        return base58check_encode(bytes((p2sh_prefix,)) + script[2:22])
    if kind in (Kind.P2WPKH, Kind.P2WSH, Kind.P2TR, Kind.P2A, Kind.WITNESS_UNKNOWN):
        from embit import bech32

        version = script[0] - 0x50 if script[0] else 0
        text: str | None = bech32.encode(bech32_prefix, version, script[2:])
        return text
    return None


def describe(psbt: Psbt, chain: Chain = Chain.MAIN) -> Summary:
    """What the PSBT alone tells, whoever signs it: nothing is anybody's, and amounts count where their previous
    transactions prove them. Raises RefusedInput where they contradict each other."""
    spends = spent_outputs(psbt)
    return summarize(
        psbt, Collected(_NOBODY, (), (), spends=spends), settled=all(spend.proved for spend in spends), chain=chain
    )


def account_of(path: Path) -> Path:
    """The account that a key belongs to: by its purpose where that is a known one, else all but the last two levels."""
    steps = path.steps
    levels = ACCOUNT_LEVELS.get(steps[0] & ~HARDENED) if steps and steps[0] >= HARDENED else None
    if levels is None or len(steps) < levels:
        return Path(steps[:-2])
    return Path(steps[: levels - 1 if levels == 4 and steps[3] < HARDENED else levels])


def coin_of(path: Path) -> int | None:
    """The coin type of BIP44 and its kin (0 main, 1 test networks); None under other purposes, and of other coins."""
    steps = path.steps
    if len(steps) < 2 or steps[0] < HARDENED or steps[0] & ~HARDENED not in ACCOUNT_LEVELS:
        return None
    coin = steps[1] ^ HARDENED
    return coin if coin in (0, 1) else None


def chain_of(paths: Sequence[Path], given: Chain | None) -> Chain:
    """How addresses are shown: as the caller says, else as the keys say that sign."""
    if given is not None:
        return given
    coins = {coin_of(path) for path in paths}
    return Chain.TEST if coins == {1} else Chain.MAIN


def summarize(
    psbt: Psbt,
    collected: Collected,
    ours: Mapping[int, Sequence[Claim]] | None = None,
    change: Mapping[int, Path] | None = None,
    notices: Sequence[Notice] = (),
    *,
    settled: bool,
    chain: Chain,
    signed_leaves: Mapping[int, bytes | None] | None = None,
    registered: Registered | None = None,
    now: float | None = None,
) -> Summary:
    """Amounts, outputs and warnings. `settled`: whether all amounts are; `signed_leaves`: as for `virtual_size`;
    `registered`: whose inputs and outputs are; `now`: see `Policy`."""
    registered = registered or Registered()
    tx, spends, ours, change = psbt.tx, collected.spends, ours or {}, change or {}
    outputs = tuple(
        [
            OutputSummary(index, amount, script, kind_of(script), change.get(index), registered.outputs.get(index))
            for index, (amount, script) in enumerate(tx.outputs)
        ]
    )
    amount_out = sum([output.amount for output in outputs])
    amount_in = _sum(spends) if settled else None
    change_amount = sum([output.amount for output in outputs if output.change])
    paths = [claim.path for claims in ours.values() for claim in claims]
    own = _own(collected, ours)
    summary = Summary(
        inputs=len(tx.outpoints),
        our_inputs=len(ours),
        amount_in=amount_in,
        our_amount=None if amount_in is None else _sum([spends[index] for index in ours]),
        own_amount=None if amount_in is None else _sum([spends[index] for index in own]),
        amount_out=amount_out,
        sent=amount_out - change_amount,
        change_amount=change_amount,
        fee=None if amount_in is None else amount_in - amount_out,
        vsize=virtual_size(psbt, collected.spendings, spends, signed_leaves),
        outputs=outputs,
        accounts=tuple(dict.fromkeys([account_of(path) for path in paths])),
        chain=chain,
        wallets=registered.inputs,
        unregistered=registered.others,
        valid_from=valid_from(tx),
    )
    found = [
        *notices,
        *_amount_notices(summary),
        *_lock_notices(psbt, chain, now),
        *_output_notices(summary, spends),
        *_change_notices(summary, collected, own),
        *_leaving_notices(summary, len(ours) - len(own)),
        *_wallet_notices(summary, registered),
    ]
    return replace(summary, warnings=tuple(sorted(found, key=lambda notice: notice.grave)))


def _own(collected: Collected, ours: Mapping[int, Sequence[Claim]]) -> Mapping[int, Sequence[Claim]]:
    """Our inputs that our key alone spends, or all where there is none: a coin whose script holds a key of ours may be
    an attacker's, who brings it to have it counted."""
    spendings = collected.spendings
    own = {
        index: claims
        for index, claims in ours.items()
        if (spending := spendings[index]) is not None and is_single(spending)
    }
    return own or ours


def _sum(spends: Sequence[Spend]) -> int:
    return sum([spend.output[0] for spend in spends if spend.output is not None])


def _amount_notices(summary: Summary) -> list[Notice]:
    fee, rate = summary.fee, summary.fee_rate
    if fee is None or rate is None:
        text = "the fee is unknown: the amounts of some inputs are not proved, so the fee may be everything they hold"
        return [Notice(NoticeKind.UNKNOWN_FEE, text)]
    notices = []
    amount = summary.sent or summary.amount_out
    if fee > amount * HIGH_FEE_SHARE:
        share = f"{100 * fee / amount:,.0f} % of the amount" if amount else "everything there is"
        notices.append(Notice(NoticeKind.HIGH_FEE, f"the fee of {fee:,} satoshi is {share}"))
    if rate > HIGH_FEE_RATE:
        notices.append(Notice(NoticeKind.HIGH_FEE, f"the fee rate is {rate:,.0f} sat/vB"))
    return notices


def _lock_notices(psbt: Psbt, chain: Chain, now: float | None) -> list[Notice]:
    notices = []
    start = valid_from(psbt.tx)
    if start is not None and (now is None or is_ahead(psbt.tx, now, main=chain is Chain.MAIN)):
        notices.append(Notice(NoticeKind.TIME_LOCK, f"not valid before {start}"))
    for index, span in spans(psbt.tx):
        text = f"input {index} is not valid before its output is {span} old"
        notices.append(Notice(NoticeKind.TIME_LOCK, text, index))
    return notices


def _output_notices(summary: Summary, spends: Sequence[Spend]) -> list[Notice]:
    notices = []
    spent = Counter([spend.output[1] for spend in spends if spend.output is not None])
    if any(count > 1 for count in spent.values()):
        notices.append(Notice(NoticeKind.REUSED_KEY, "several inputs spend from the same address"))
    seen: set[bytes] = set()
    for output in summary.outputs:
        lost = _lost(output)
        if lost is not None:
            text = f"output {output.index} pays {output.amount:,} satoshi to {lost}"
            notices.append(Notice(NoticeKind.LOST, text, output.index))
        elif output.kind in (Kind.BARE, Kind.MULTISIG, Kind.P2PK, Kind.P2A, Kind.WITNESS_UNKNOWN):
            text = f"output {output.index} pays to {output.kind.value}"
            notices.append(Notice(NoticeKind.UNKNOWN_SCRIPT, text, output.index))
        if output.kind is Kind.OP_RETURN and output.amount:
            text = f"output {output.index} destroys {output.amount} satoshi (OP_RETURN)"
            notices.append(Notice(NoticeKind.UNKNOWN_SCRIPT, text, output.index))
        if output.script in spent or output.script in seen:
            text = f"output {output.index} pays to an address that was used before"
            notices.append(Notice(NoticeKind.REUSED_KEY, text, output.index))
        if output.kind is not Kind.OP_RETURN:
            seen.add(output.script)
    return notices


def _lost(output: OutputSummary) -> str | None:
    """Who gets it, where it is no payee."""
    script = output.script
    if output.kind is Kind.P2TR and not is_public_key(b"\x02" + script[2:]):
        return "a taproot key that does not exist: nobody can ever spend it"
    if output.kind is Kind.P2A:
        return f"{output.kind.value}" if output.amount >= _MOST_ANCHOR else None
    free = not script or (len(script) == 1 and OP_1 <= script[0] <= OP_16)
    return "a script that anyone can spend" if free and output.amount else None


def _change_notices(summary: Summary, collected: Collected, ours: Mapping[int, Sequence[Claim]]) -> list[Notice]:
    """Change that the wallet may not find again, or that is not where change of these inputs is looked for."""
    notices = []
    accounts = {account_of(claim.path) for claims in ours.values() for claim in claims}
    last = max(
        [claim.place.steps[-1] & ~HARDENED for claims in ours.values() for claim in claims if claim.place.steps],
        default=0,
    )
    coins = {coin_of(claim.path) for claims in ours.values() for claim in claims}
    kinds = {kind_of(spend.output[1]) for index in ours if (spend := collected.spends[index]).output is not None}
    for output in summary.outputs:
        if output.path is None:
            continue
        # Where a registered wallet has its branches is for its descriptor to say.
        reason = _far(output.path, last) if output.wallet else _odd_path(output.path, accounts, last, coins)
        if reason is not None:
            text = f"output {output.index} is change at an unusual path, {output.path}: {reason}"
            notices.append(Notice(NoticeKind.CHANGE_PATH, text, output.index))
        if output.kind not in kinds:
            text = f"output {output.index} is change with a different script type ({output.kind.value}) than the inputs"
            notices.append(Notice(NoticeKind.CHANGE_TYPE, text, output.index))
    return notices


def _leaving_notices(summary: Summary, shared: int) -> list[Notice]:
    """One key's change where coins of scripts are spent too (`shared` of them): some dust beside them is enough to have
    it called change, and what several keys hold is one key's then."""
    change = [output.index for output in summary.outputs if output.change]
    if not shared or not change:
        return []
    text = f"you spend coins that need several keys or a script, and output {change[0]} is change to a single key"
    return [Notice(NoticeKind.CHANGE_PATH, text, change[0])]


def _wallet_notices(summary: Summary, registered: Registered) -> list[Notice]:
    """What several keys hold: of which wallet it is not, and where it goes."""
    notices = []
    for group in summary.unregistered:
        few = ", ".join(map(str, group.inputs[:_MOST_NAMED]))
        more = len(group.inputs) - _MOST_NAMED
        which = f"inputs {few}{f' and {more} more' if more > 0 else ''} are" if group.inputs[1:] else f"input {few} is"
        text = f"{which} held by {group.words}, not by a registered wallet"
        notices.append(Notice(NoticeKind.NO_WALLET, text, group.inputs[0]))
    for output in summary.outputs:
        if output.wallet is not None and not output.change:
            text = f'output {output.index} pays to the registered wallet "{output.wallet}"'
            notices.append(Notice(NoticeKind.TO_WALLET, text, output.index))
    for index in registered.strange:
        whose, others = ("holds", " together with others") if index in registered.held else ("names", "")
        text = (
            f"output {index} is a payment: it {whose} a key of this card{others}, and is not an address of the wallet "
            "that the inputs come from"
        )
        notices.append(Notice(NoticeKind.STRANGE_SCRIPT, text, index))
    for index in registered.reordered:
        text = (
            f"output {index} is a payment: it has the keys of the inputs, but their order does not prove that it comes "
            "back to the wallet; register the wallet to have its change recognized (cryptnoxctl wallet add)"
        )
        notices.append(Notice(NoticeKind.KEY_ORDER, text, index))
    return notices


def _odd_path(path: Path, accounts: Collection[Path], last: int, coins: set[int | None]) -> str | None:
    account = account_of(path)
    below = path.below(account).steps
    coin = coin_of(path)
    if coin is not None and coin not in coins and coins & {0, 1}:
        return "its keys are for a different network than the inputs'"
    if account not in accounts:
        return "its account is not an account of the inputs"
    if any(step >= HARDENED for step in below):
        return "it is hardened below the account, where wallets do not look"
    if len(below) != 2 or below[0] not in _CHAINS:
        return "it is on neither the receive nor the change chain of the account"
    return _far(path, last)


def _far(path: Path, last: int) -> str | None:
    index = path.steps[-1]
    if index > _MOST_INDEX:
        return f"its index is above {_MOST_INDEX}, further than a wallet looks"
    if index > last + FAR_INDEX:
        return f"its index is more than {FAR_INDEX} beyond the inputs'"
    return None
