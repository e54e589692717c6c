"""NOT BITCOIN CORE: a stand-in for the part of its RPC that Specter Desktop calls, where no bitcoind can be had.

It is a node without a network: a block is a number, and is found when a test says so. What is real: descriptors,
addresses, PSBTs of version 0 and 2 and their previous transactions, made with embit and never with our own code, and
the judgment of what is signed, which is Bitcoin Core's own script verifier (libbitcoinkernel). What is not: coin
selection, fees to the satoshi, reorganizations, and every call that is not below; such a call is answered as Core
answers a method that it does not know, and is kept in `StandIn.unknown_calls`.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from embit.psbt import PSBT
from embit.script import address_to_scriptpubkey
from embit.transaction import Transaction

from tests.specter.ledger import FEE_RATE, Known, Ledger, RpcError, Watched, block_hash, coins, combine

USER, PASSWORD = "specter", "stand-in"

Parameters = Sequence[Any]
Answer = Any


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Nothing: Specter was ended, and its connections with it."""


class StandIn(Ledger):
    """``with StandIn(psbt_version=2) as node:`` serves on a free port; ``node.environment`` is for Specter."""

    def __init__(self, chain: str = "regtest", psbt_version: int = 0) -> None:
        super().__init__(chain, psbt_version)
        self.unknown_calls: set[str] = set()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
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

    def call(self, wallet: str | None, method: str, parameters: Parameters) -> Answer:
        """Answer a call. Raises RpcError."""
        with self.lock:
            if own := _NODE_CALLS.get(method):
                return own(self, parameters)
            if theirs := _WALLET_CALLS.get(method):
                if wallet not in self.wallets:
                    raise RpcError(-18, "Requested wallet does not exist or is not loaded")
                return theirs(self, self.wallets[wallet], parameters)
        self.unknown_calls.add(method)
        raise RpcError(-32601, "Method not found")


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
    if parameters[0] in node.wallets:
        raise RpcError(-4, "Wallet file verification failed. Database already exists.")
    node.wallets[parameters[0]] = Watched()
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
    "listwallets": lambda node, _: list(node.wallets),
    "listwalletdir": lambda node, _: {"wallets": [{"name": name} for name in node.wallets]},
    "createwallet": _create_wallet,
    "combinepsbt": lambda _, parameters: combine(parameters[0]),
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
