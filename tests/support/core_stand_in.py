"""A stand-in for Bitcoin Core's RPC. It is no Bitcoin Core, and says so: a watch-only wallet on paper, and the script
verifier of Core instead of a mempool."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from embit.script import address_to_scriptpubkey
from embit.transaction import Transaction

from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.psbt.finalize import NotFinal, extract
from tests.support.version2 import as_version_2
from tests.system.interop.paper import PaperWallet, verify

NAME = "/stand-in of the tests, no Bitcoin Core/"


class RpcError(Exception):
    """Told to the caller as Core tells its errors."""


class StandIn:
    """Serves one wallet, until `close`. `version`: of the PSBTs that it makes."""

    def __init__(self, wallet: PaperWallet, name: str, folder: Path, *, version: int = 0) -> None:
        self.wallet, self.name, self.version = wallet, name, version
        self.sent: list[bytes] = []
        self.refusal = ""
        """Why the mempool does not take transactions."""
        self.body: bytes | None = None
        """Answered to everything, instead of what it should."""
        self.asked: list[str] = []
        self.cookie = folder / ".cookie"
        self.secret = f"__cookie__:{secrets.token_hex(32)}"
        self.cookie.write_text(self.secret)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                wanted = "Basic " + base64.b64encode(stand_in.secret.encode()).decode()
                status, answer = 401, b""
                if self.headers["Authorization"] == wanted:
                    status, answer = stand_in.answer(self.path, json.loads(body))
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler

    def answer(self, path: str, call: dict[str, Any]) -> tuple[int, bytes]:
        self.asked.append(call["method"])
        if self.body is not None:
            return 200, self.body
        result, error = None, None
        try:
            if path != f"/wallet/{self.name}":
                raise RpcError("Requested wallet does not exist or is not loaded")
            result = getattr(self, f"rpc_{call['method']}")(*call["params"])
        except RpcError as problem:
            error = {"code": -1, "message": str(problem)}
        return 500 if error else 200, json.dumps({"result": result, "error": error, "id": call["id"]}).encode()

    def rpc_getnetworkinfo(self) -> dict[str, str]:
        return {"subversion": NAME}

    def rpc_walletcreatefundedpsbt(
        self, inputs: list[object], outputs: list[dict[str, str]], lock_time: int, options: object, bip32derivs: bool
    ) -> dict[str, object]:
        assert inputs == [] and lock_time == 0 and bip32derivs is True and options in ({}, {"fee_rate": "3"})
        ((address, amount),) = [item for one in outputs for item in one.items()]
        satoshis = round(float(amount) * 100_000_000)
        if satoshis >= self.wallet.balance:
            raise RpcError("Insufficient funds")
        psbt = self.wallet.pay(address_to_scriptpubkey(address).data, satoshis, lock_time=101)
        return {"psbt": as_version_2(psbt) if self.version == 2 else psbt, "fee": 0.00000423, "changepos": 0}

    def rpc_finalizepsbt(self, psbt: str) -> dict[str, object]:
        try:
            return {"hex": extract(Psbt.parse(psbt)).hex(), "complete": True}
        except NotFinal:
            return {"psbt": psbt, "complete": False}

    def rpc_testmempoolaccept(self, transactions: list[str]) -> list[dict[str, object]]:
        (raw,) = (bytes.fromhex(text) for text in transactions)
        verify(raw, self.wallet.known)
        txid = Transaction.parse(raw).txid().hex()
        refused = {"allowed": False, "reject-reason": self.refusal}
        return [{"txid": txid, **(refused if self.refusal else {"allowed": True})}]

    def rpc_sendrawtransaction(self, text: str) -> str:
        raw = bytes.fromhex(text)
        verify(raw, self.wallet.known)
        self.sent.append(raw)
        self.wallet.learn(raw)
        return str(Transaction.parse(raw).txid().hex())
