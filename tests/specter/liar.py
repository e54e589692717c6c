"""A bridge of somebody else's: it answers Specter's pages with what a test says, and notes what it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Lies = Mapping[str, object]
"""By method: an object with `result` or `error` as JSON-RPC has them, or a text that is sent as it is."""


class Liar:
    """``with Liar() as liar: liar.lies = {...}`` serves on a free port, at `address`."""

    def __init__(self) -> None:
        self.lies: Lies = {}
        self.asked: list[tuple[str, Mapping[str, object]]] = []
        """Methods and their parameters, as they came."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/hwi/api/"

    def __enter__(self) -> Liar:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, asked: bytes) -> bytes:
        """The body for the body of a request."""
        call = json.loads(asked)
        self.asked.append((call["method"], call["params"]))
        lie = self.lies[call["method"]]
        if isinstance(lie, str):
            return lie.encode()
        assert isinstance(lie, Mapping)
        return json.dumps({"jsonrpc": "2.0", "id": call["id"], **lie}).encode()


def _handler(liar: Liar) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Obeys every page."""

        def do_OPTIONS(self) -> None:
            self._reply(b"")

        def do_POST(self) -> None:
            self._reply(liar.answer(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Access-Control-Allow-Headers", "*")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler
