"""NOT BITCOIN CORE: a stand-in for the part of its RPC that Specter Desktop calls, where no bitcoind can be had.

It is a node without a network: a block is a number, and is found when a test says so. What is real: descriptors,
addresses, PSBTs of version 0 and 2 and their previous transactions, made with embit and never with our own code, and
the judgment of what is signed, which is Bitcoin Core's own script verifier (libbitcoinkernel). What is not: coin
selection, fees to the satoshi, reorganizations, and every call that is not below; such a call is answered as Core
answers a method that it does not know, and is kept in `StandIn.unknown_calls`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from embit.descriptor import Descriptor
from embit.finalizer import finalize_psbt
from embit.networks import NETWORKS
from embit.psbt import PSBT, DerivationPath, InputScope, OutputScope
from embit.script import Script, address_to_scriptpubkey
from embit.transaction import Transaction, TransactionInput, TransactionOutput

from tests.support.kernel import failing_inputs
from tests.system.interop.paper import funding_transaction

USER, PASSWORD = "specter", "stand-in"
LOOKAHEAD = 200
"""Addresses of each branch that a wallet watches."""
FEE_RATE = 0.00002
"""BTC for 1000 vbytes."""
DUST = 600
START = 120
"""Blocks that are there from the first."""

Parameters = Sequence[Any]
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


class StandIn:
    """``with StandIn(psbt_version=2) as node:`` serves on a free port; ``node.environment`` is for Specter."""

    def __init__(self, chain: str = "regtest", psbt_version: int = 0) -> None:
        self.chain = chain
        self.psbt_version = psbt_version
        self.height = START
        self.known: dict[str, Known] = {}
        self.sent: list[bytes] = []
        """Transactions that came by `sendrawtransaction`, in the order of their coming."""
        self.unknown_calls: set[str] = set()
        self._wallets: dict[str, Watched] = {}
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make Specter use this node from its first start."""
        return {
            "BTC_RPC_USER": USER,
            "BTC_RPC_PASSWORD": PASSWORD,
            "BTC_RPC_HOST": "127.0.0.1",
            "BTC_RPC_PORT": str(self._server.server_address[1]),
            "BTC_RPC_PROTOCOL": "http",
        }

    @property
    def network(self) -> Mapping[str, Any]:
        parameters: Mapping[str, Any] = NETWORKS[self.chain]
        return parameters

    def fund(self, address: str, *amounts: int) -> None:
        """Pay amounts (satoshis) to an address, each in a transaction of its own, in one block."""
        script = address_to_scriptpubkey(address).data
        with self._lock:
            self.height += 1
            for amount in amounts:
                tx = Transaction.parse(funding_transaction([(script, amount)]))
                self.known[tx.txid().hex()] = Known(tx, self.height, int(time.time()))

    def mine(self) -> None:
        """Put all that waits into a block."""
        with self._lock:
            self.height += 1
            for known in self.known.values():
                known.height = known.height or self.height

    def call(self, wallet: str | None, method: str, parameters: Parameters) -> Answer:
        """Answer a call. Raises RpcError."""
        with self._lock:
            if own := _NODE_CALLS.get(method):
                return own(self, parameters)
            if theirs := _WALLET_CALLS.get(method):
                if wallet not in self._wallets:
                    raise RpcError(-18, "Requested wallet does not exist or is not loaded")
                return theirs(self, self._wallets[wallet], parameters)
        self.unknown_calls.add(method)
        raise RpcError(-32601, "Method not found")

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

    def create(self, wallet: Watched, parameters: Parameters) -> dict[str, Answer]:
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


def _combine(texts: Sequence[str]) -> str:
    """`combinepsbt`, which takes no PSBTs of different versions or transactions."""
    psbts = [PSBT.from_string(text) for text in texts]
    first = psbts[0]
    for other in psbts[1:]:
        if other.version != first.version or other.tx.txid() != first.tx.txid():
            raise RpcError(-8, "PSBTs not compatible (different transactions)")
        for mine, theirs in zip((*first.inputs, *first.outputs), (*other.inputs, *other.outputs), strict=True):
            mine.update(theirs)
    return str(first.to_string())


# The calls: those of the node, and those of a wallet


def _blockchain(node: StandIn, _: Parameters) -> Answer:
    best = block_hash(node.height)
    sizes = {"size_on_disk": 1, "difficulty": 1, "verificationprogress": 1}
    state = {"initialblockdownload": False, "pruned": False, "warnings": ""}
    return {"chain": node.chain, "blocks": node.height, "headers": node.height, "bestblockhash": best, **sizes, **state}


def _network(node: StandIn, _: Parameters) -> Answer:
    version = 319900 if node.psbt_version == 2 else 300000
    return {"version": version, "subversion": f"/Satoshi:{version // 10000}.{version // 100 % 100}.0(stand-in)/"}


def _mempool_info(node: StandIn, _: Parameters) -> Answer:
    return {"loaded": True, "size": len(_mempool(node, ())), "bytes": 0, "usage": 0, "mempoolminfee": 0.00001}


def _mempool(node: StandIn, _: Parameters) -> Answer:
    return [txid for txid, known in node.known.items() if known.height is None]


def _send(node: StandIn, parameters: Parameters) -> Answer:
    raw = bytes.fromhex(parameters[0])
    if reason := node.judge(raw):
        raise RpcError(-26, reason)
    tx = Transaction.parse(raw)
    node.known[tx.txid().hex()] = Known(tx, None, int(time.time()))
    node.sent.append(raw)
    return tx.txid().hex()


def _test_accept(node: StandIn, parameters: Parameters) -> Answer:
    raw = bytes.fromhex(parameters[0][0])
    reason = node.judge(raw)
    why = {"reject-reason": reason} if reason else {}
    return [{"txid": Transaction.parse(raw).txid().hex(), "allowed": not reason, **why}]


def _create_wallet(node: StandIn, parameters: Parameters) -> Answer:
    if parameters[0] in node._wallets:
        raise RpcError(-4, "Wallet file verification failed. Database already exists.")
    node._wallets[parameters[0]] = Watched()
    return {"name": parameters[0], "warnings": ""}


def _decode(node: StandIn, parameters: Parameters) -> Answer:
    psbt = PSBT.from_string(parameters[0])
    return {"psbt_version": psbt.version or 0, "inputs": [{}] * len(psbt.inputs), "fee": coins(psbt.fee())}


_NODE_CALLS: Mapping[str, Callable[[StandIn, Parameters], Answer]] = {
    "getblockchaininfo": _blockchain,
    "getnetworkinfo": _network,
    "getmininginfo": lambda node, _: {"blocks": node.height, "chain": node.chain},
    "getmempoolinfo": _mempool_info,
    "getrawmempool": _mempool,
    "uptime": lambda *_: 1000,
    "getblockhash": lambda _, parameters: block_hash(parameters[0]),
    "getblockcount": lambda node, _: node.height,
    "getchaintips": lambda node, _: [{"height": node.height, "hash": block_hash(node.height), "status": "active"}],
    "scantxoutset": lambda *_: None,
    "estimatesmartfee": lambda _, parameters: {"feerate": FEE_RATE, "blocks": parameters[0]},
    "listwallets": lambda node, _: list(node._wallets),
    "listwalletdir": lambda node, _: {"wallets": [{"name": name} for name in node._wallets]},
    "createwallet": _create_wallet,
    "combinepsbt": lambda _, parameters: _combine(parameters[0]),
    "finalizepsbt": lambda node, parameters: node.finalize(parameters[0]),
    "decodepsbt": _decode,
    "testmempoolaccept": _test_accept,
    "sendrawtransaction": _send,
}


def _import(_: StandIn, wallet: Watched, parameters: Parameters) -> Answer:
    for wanted in parameters[0]:
        wallet.watch(wanted["desc"], wanted["internal"])
    return [{"success": True} for _ in parameters[0]]


def _balances(node: StandIn, wallet: Watched, _: Parameters) -> Answer:
    trusted = untrusted = 0
    for _txid, _index, out, _place, known in node.coins_of(wallet):
        inputs = [node.output(vin.txid, vin.vout) for vin in known.tx.vin]
        own = all(source and source.script_pubkey.data in wallet.places for source in inputs)
        if known.height is not None or own:
            trusted += out.value
        else:
            untrusted += out.value
    return {"mine": {"trusted": coins(trusted), "untrusted_pending": coins(untrusted), "immature": 0}}


def _unspent(node: StandIn, wallet: Watched, parameters: Parameters) -> Answer:
    least, most = (*parameters, 0, 9_999_999)[:2] if len(parameters) < 2 else parameters[:2]
    if len(parameters) == 1:
        least, most = parameters[0], 9_999_999
    return [
        {
            "txid": txid,
            "vout": index,
            "address": node.address(out.script_pubkey),
            "amount": coins(out.value),
            "scriptPubKey": out.script_pubkey.data.hex(),
            "confirmations": node.confirmations(known),
            "spendable": True,
            "solvable": True,
            "safe": True,
        }
        for txid, index, out, _, known in node.coins_of(wallet)
        if (txid, index) not in wallet.locked and least <= node.confirmations(known) <= most
    ]


def _lock(_: StandIn, wallet: Watched, parameters: Parameters) -> Answer:
    named = {(coin["txid"], coin["vout"]) for coin in parameters[1]}
    wallet.locked = wallet.locked - named if parameters[0] else wallet.locked | named
    return True


def _received(node: StandIn, wallet: Watched, parameters: Parameters) -> Answer:
    script = address_to_scriptpubkey(parameters[0]).data
    if script not in wallet.places:
        raise RpcError(-4, "Address not found in wallet")
    outputs = [out for known in node.known.values() for out in known.tx.vout]
    return coins(sum(out.value for out in outputs if out.script_pubkey.data == script))


def _address_info(_: StandIn, wallet: Watched, parameters: Parameters) -> Answer:
    place = wallet.places.get(address_to_scriptpubkey(parameters[0]).data)
    if place is None:
        return {"address": parameters[0], "ismine": False}
    return {"address": parameters[0], "ismine": True, "desc": str(place.descriptor), "ischange": place.change}


def _transactions(node: StandIn, wallet: Watched, parameters: Parameters) -> Answer:
    entries = node.history(wallet)
    count, skip = parameters[1:3]
    end = max(0, len(entries) - skip)
    return entries[max(0, end - count) : end]


def _process(node: StandIn, wallet: Watched, parameters: Parameters) -> Answer:
    return {"psbt": node.fill(wallet, PSBT.from_string(parameters[0])).to_string(), "complete": False}


def _set_label(_: StandIn, wallet: Watched, parameters: Parameters) -> Answer:
    wallet.labels[parameters[0]] = parameters[1]


def _since(node: StandIn, wallet: Watched, _: Parameters) -> Answer:
    return {"transactions": node.history(wallet), "lastblock": block_hash(node.height)}


_WALLET_CALLS: Mapping[str, Callable[[StandIn, Watched, Parameters], Answer]] = {
    "importdescriptors": _import,
    "getwalletinfo": lambda *_: {"descriptors": True, "private_keys_enabled": False, "scanning": False},
    "getbalances": _balances,
    "listunspent": _unspent,
    "listlockunspent": lambda _, wallet, __: [{"txid": txid, "vout": index} for txid, index in wallet.locked],
    "lockunspent": _lock,
    "getreceivedbyaddress": _received,
    "getaddressinfo": _address_info,
    "listtransactions": _transactions,
    "listsinceblock": _since,
    "gettransaction": lambda node, wallet, parameters: node.describe(wallet, parameters[0]),
    "walletcreatefundedpsbt": lambda node, wallet, parameters: node.create(wallet, parameters),
    "walletprocesspsbt": _process,
    "listlabels": lambda _, wallet, __: sorted(set(wallet.labels.values())),
    "getaddressesbylabel": lambda _, wallet, parameters: {
        address: {"purpose": "receive"} for address, label in wallet.labels.items() if label == parameters[0]
    },
    "setlabel": _set_label,
}


def _handler(node: StandIn) -> type[BaseHTTPRequestHandler]:
    expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        """JSON-RPC over HTTP, single calls and batches; a wallet is named in the path."""

        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Authorization"] != expected:
                self._reply(401, b"")
                return
            wallet = self.path.partition("/wallet/")[2] or None
            asked = json.loads(body)
            if isinstance(asked, list):
                self._reply(200, json.dumps([self._answer(wallet, one) for one in asked]).encode())
                return
            answer = self._answer(wallet, asked)
            self._reply(500 if answer["error"] else 200, json.dumps(answer).encode())

        def _answer(self, wallet: str | None, asked: Mapping[str, Any]) -> dict[str, Any]:
            result, error = None, None
            try:
                result = node.call(wallet, asked["method"], asked.get("params", ()))
            except RpcError as refusal:
                error = {"code": refusal.code, "message": str(refusal)}
            except Exception as mistake:  # noqa: BLE001 - of this stand-in: it must not look like Specter's
                error = {"code": -1, "message": f"THE STAND-IN FOR BITCOIN CORE FAILED: {mistake!r}"}
            return {"result": result, "error": error, "id": asked.get("id")}

        def _reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: Specter's own log says what it asked."""

    return Handler
