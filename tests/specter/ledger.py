"""What the stand-in for a node knows: transactions, and whose scripts they pay. What it is not: see stand_in.py."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embit.descriptor import Descriptor
from embit.finalizer import finalize_psbt
from embit.networks import NETWORKS
from embit.psbt import PSBT, DerivationPath, InputScope, OutputScope
from embit.script import Script, address_to_scriptpubkey
from embit.transaction import Transaction, TransactionInput, TransactionOutput

from tests.support.kernel import failing_inputs
from tests.system.interop.paper import funding_transaction

LOOKAHEAD = 200
"""Addresses of each branch that a wallet watches."""
FEE_RATE = 0.00002
"""BTC for 1000 vbytes."""
DUST = 600
START = 120
"""Blocks that are there from the first."""


Answer = Any


class RpcError(Exception):
    """An error as Core words it: its code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def coins(satoshis: int) -> float:
    """An amount as Core writes it into JSON."""
    return round(satoshis / 1e8, 8)


def block_hash(height: int) -> str:
    return hashlib.sha256(f"block {height}".encode()).hexdigest()


@dataclass
class Known:
    """A transaction that the node has seen."""

    tx: Transaction
    height: int | None
    seen: int


@dataclass
class Place:
    """Where a script of a wallet comes from."""

    descriptor: Descriptor
    change: bool
    index: int


@dataclass
class Watched:
    """A watch-only descriptor wallet."""

    places: dict[bytes, Place] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    locked: set[tuple[str, int]] = field(default_factory=set)

    def watch(self, text: str, change: bool) -> None:
        descriptor = Descriptor.from_string(text.partition("#")[0])
        for index in range(LOOKAHEAD):
            derived = descriptor.derive(index)
            self.places[derived.script_pubkey().data] = Place(derived, change, index)


class Ledger:
    """A chain of one node, and the wallets that watch it."""

    def __init__(self, chain: str = "regtest", psbt_version: int = 0) -> None:
        self.chain = chain
        self.psbt_version = psbt_version
        self.height = START
        self.known: dict[str, Known] = {}
        self.sent: list[bytes] = []
        """Transactions that came by `sendrawtransaction`, in the order of their coming."""
        self.wallets: dict[str, Watched] = {}
        self.lock = threading.RLock()

    @property
    def network(self) -> Mapping[str, Any]:
        parameters: Mapping[str, Any] = NETWORKS[self.chain]
        return parameters

    def fund(self, address: str, *amounts: int) -> None:
        """Pay amounts (satoshis) to an address, each in a transaction of its own, in one block."""
        script = address_to_scriptpubkey(address).data
        with self.lock:
            self.height += 1
            for amount in amounts:
                tx = Transaction.parse(funding_transaction([(script, amount)]))
                self.known[tx.txid().hex()] = Known(tx, self.height, int(time.time()))

    def mine(self) -> None:
        """Put all that waits into a block."""
        with self.lock:
            self.height += 1
            for known in self.known.values():
                known.height = known.height or self.height

    # What the chain knows

    def output(self, txid: bytes, index: int) -> TransactionOutput | None:
        known = self.known.get(txid.hex())
        return known.tx.vout[index] if known and index < len(known.tx.vout) else None

    def spent(self) -> set[tuple[str, int]]:
        return {(vin.txid.hex(), vin.vout) for known in self.known.values() for vin in known.tx.vin}

    def confirmations(self, known: Known) -> int:
        return 0 if known.height is None else self.height - known.height + 1

    def address(self, script: Script) -> str:
        return str(script.address(self.network))

    def judge(self, raw: bytes) -> str:
        """Why Core's verifier and the chain refuse a transaction; empty when they do not."""
        tx = Transaction.parse(raw)
        outputs = [self.output(vin.txid, vin.vout) for vin in tx.vin]
        spent = [(out.value, out.script_pubkey.data) for out in outputs if out]
        if len(spent) < len(outputs) or self.spent() & {(vin.txid.hex(), vin.vout) for vin in tx.vin}:
            return "missing-inputs"
        if sum(out.value for out in tx.vout) > sum(value for value, _ in spent):
            return "bad-txns-in-belowout"
        return "mandatory-script-verify-flag-failed" if failing_inputs(raw, spent) else ""

    # What a wallet knows

    def coins_of(self, wallet: Watched) -> Iterator[tuple[str, int, TransactionOutput, Place, Known]]:
        spent = self.spent()
        for txid, known in self.known.items():
            for index, out in enumerate(known.tx.vout):
                place = wallet.places.get(out.script_pubkey.data)
                if place and (txid, index) not in spent:
                    yield txid, index, out, place, known

    def describe(self, wallet: Watched, txid: str) -> dict[str, Answer]:
        """What `gettransaction` says, with its `details`. Raises RpcError."""
        known = self.known.get(txid)
        if known is None:
            raise RpcError(-5, "Invalid or non-wallet transaction id")
        inputs = [self.output(vin.txid, vin.vout) for vin in known.tx.vin]
        own = sum(out.value for out in inputs if out and out.script_pubkey.data in wallet.places)
        received = sum(out.value for out in known.tx.vout if out.script_pubkey.data in wallet.places)
        fee = sum(out.value for out in inputs if out) - sum(out.value for out in known.tx.vout)
        details = []
        for index, out in enumerate(known.tx.vout):
            mine = wallet.places.get(out.script_pubkey.data)
            if mine and not (own and mine.change):
                details.append(self._detail("receive", index, out))
            if own and not mine:
                details.append({**self._detail("send", index, out), "fee": coins(-fee)})
        if not details and not received:
            raise RpcError(-5, "Invalid or non-wallet transaction id")
        answer: dict[str, Answer] = {
            "txid": txid,
            "amount": coins(received - own + (fee if own else 0)),
            "confirmations": self.confirmations(known),
            "time": known.seen,
            "timereceived": known.seen,
            "walletconflicts": [],
            "bip125-replaceable": "yes" if known.height is None else "no",
            "details": details,
            "hex": known.tx.serialize().hex(),
        }
        if own:
            answer["fee"] = coins(-fee)
        if known.height is not None:
            where = {"blockhash": block_hash(known.height), "blockheight": known.height, "blocktime": known.seen}
            answer |= where
        return answer

    def _detail(self, category: str, index: int, out: TransactionOutput) -> dict[str, Answer]:
        sign = -1 if category == "send" else 1
        address = self.address(out.script_pubkey)
        return {"address": address, "category": category, "amount": sign * coins(out.value), "vout": index}

    def history(self, wallet: Watched) -> list[dict[str, Answer]]:
        """An entry for each detail of each transaction of a wallet, oldest first."""
        entries = []
        for txid in self.known:
            try:
                whole = self.describe(wallet, txid)
            except RpcError:
                continue
            common = {name: value for name, value in whole.items() if name not in ("details", "hex", "amount")}
            entries += [{**common, **detail} for detail in whole["details"]]
        return entries

    # PSBTs

    def fill(self, wallet: Watched, psbt: PSBT) -> PSBT:
        """Add what a wallet knows of inputs and outputs."""
        for given in psbt.inputs:
            known = self.known.get(given.txid.hex())
            place = known and wallet.places.get(known.tx.vout[given.vout].script_pubkey.data)
            if known and place:
                given.non_witness_utxo = known.tx
                if _is_segwit(place.descriptor):
                    given.witness_utxo = known.tx.vout[given.vout]
                _say_where_from(given, place.descriptor)
        for made in psbt.outputs:
            if place := wallet.places.get(made.script_pubkey.data):
                _say_where_from(made, place.descriptor)
        return psbt

    def create(self, wallet: Watched, parameters: Sequence[Any]) -> dict[str, Answer]:
        """`walletcreatefundedpsbt`: named coins, then the largest confirmed ones, change where the options say."""
        named, recipients, locktime, options = parameters[:4]
        outputs = [
            TransactionOutput(round(amount * 1e8), address_to_scriptpubkey(address))
            for recipient in recipients
            for address, amount in recipient.items()
        ]
        wanted = sum(out.value for out in outputs)
        there = {(txid, index): (out, known) for txid, index, out, _, known in self.coins_of(wallet)}
        chosen = [(coin["txid"], coin["vout"]) for coin in named]
        if missing := [coin for coin in chosen if coin not in there]:
            raise RpcError(-4, f"Unable to find UTXO for external input {missing[0][0]}")
        spare = sorted(there, key=lambda coin: -there[coin][0].value)
        spare = [coin for coin in spare if coin not in wallet.locked | set(chosen) and there[coin][1].height]
        paid_by = options.get("subtractFeeFromOutputs") or []
        size = _size(next(iter(wallet.places.values())).descriptor)
        rate = options.get("feeRate", FEE_RATE) * 1e5

        def fee() -> int:
            bytes_out = sum(9 + len(out.script_pubkey.data) for out in outputs) + 43
            return int((11 + len(chosen) * size + bytes_out) * rate) + 1

        while sum(there[coin][0].value for coin in chosen) < wanted + (0 if paid_by else fee()):
            if not spare or not options.get("add_inputs", True):
                raise RpcError(-4, "Insufficient funds")
            chosen.append(spare.pop(0))
        change = sum(there[coin][0].value for coin in chosen) - wanted - (0 if paid_by else fee())
        for number in paid_by:
            outputs[number].value -= fee() // len(paid_by)
        if change > DUST:
            outputs.insert(0, TransactionOutput(change, address_to_scriptpubkey(options["changeAddress"])))
        sequence = 0xFFFFFFFD if options.get("replaceable", True) else 0xFFFFFFFE
        inputs = [TransactionInput(bytes.fromhex(txid), index, sequence=sequence) for txid, index in chosen]
        psbt = self.fill(wallet, PSBT(Transaction(2, inputs, outputs, locktime), version=self.psbt_version or None))
        return {"psbt": psbt.to_string(), "fee": coins(psbt.fee()), "changepos": 0 if change > DUST else -1}

    def finalize(self, text: str) -> dict[str, Answer]:
        """`finalizepsbt`: the transaction, where Core's verifier accepts it; else the PSBT as it came."""
        psbt = PSBT.from_string(text)
        tx = finalize_psbt(psbt)
        raw = tx.serialize() if tx else b""
        spent = [(given.utxo.value, given.utxo.script_pubkey.data) for given in psbt.inputs if given.utxo]
        if tx is None or len(spent) < len(psbt.inputs) or failing_inputs(raw, spent):
            return {"psbt": text, "complete": False}
        return {"hex": raw.hex(), "complete": True}


def _is_segwit(descriptor: Descriptor) -> bool:
    return bool(descriptor.is_segwit)


def _say_where_from(scope: InputScope | OutputScope, descriptor: Descriptor) -> None:
    scope.redeem_script = descriptor.redeem_script()
    scope.witness_script = descriptor.witness_script()
    for key in descriptor.keys:
        origin = DerivationPath(key.origin.fingerprint, key.origin.derivation)
        scope.bip32_derivations[key.get_public_key()] = origin


def _size(descriptor: Descriptor) -> int:
    """Vbytes of an input that spends from a descriptor."""
    nested = 23 if descriptor.redeem_script() else 0
    if script := descriptor.witness_script():
        return 41 + nested + (len(script.data) + 3 + 73 * int(descriptor.miniscript.args[0].num)) // 4 + 1
    return 41 + nested + (27 if _is_segwit(descriptor) else 107)


def combine(texts: Sequence[str]) -> str:
    """`combinepsbt`, which takes no PSBTs of different versions or transactions."""
    psbts = [PSBT.from_string(text) for text in texts]
    first = psbts[0]
    for other in psbts[1:]:
        if other.version != first.version or other.tx.txid() != first.tx.txid():
            raise RpcError(-8, "PSBTs not compatible (different transactions)")
        for mine, theirs in zip((*first.inputs, *first.outputs), (*other.inputs, *other.outputs), strict=True):
            mine.update(theirs)
    return str(first.to_string())
