"""A real node for Specter: Bitcoin Knots from Debian's archive, which is Bitcoin Core and changes to it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.node import Node

MINER = "miner"


class RealNode:
    """A node on regtest with money of its own, as `tests.specter.stand_in.StandIn` is one. ``stop`` ends it."""

    def __init__(self, folder: Path) -> None:
        self._node = Node(folder)
        self._node.start("-txindex=1")
        self._node.cli("createwallet", MINER)
        self._mine(101)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that make Specter use this node from its first start."""
        user, _, password = self._node.cookie.read_text().partition(":")
        names = {"USER": user, "PASSWORD": password, "HOST": "127.0.0.1", "PORT": str(self._node.port)}
        return {f"BTC_RPC_{name}": value for name, value in {**names, "PROTOCOL": "http"}.items()}

    def fund(self, address: str, *amounts: int) -> None:
        """Pay amounts (satoshis) to an address, each in a transaction of its own, in one block."""
        for amount in amounts:
            self._wallet("sendtoaddress", address, f"{amount / 1e8:.8f}")
        self._mine(1)

    @property
    def sent(self) -> list[bytes]:
        """The transactions that wait for a block."""
        waiting = self._node.json("getrawmempool")
        return [bytes.fromhex(self._node.cli("getrawtransaction", txid)) for txid in waiting]

    def mine(self) -> None:
        """Put all that waits into a block."""
        self._mine(1)

    def stop(self) -> None:
        self._node.stop()

    def _mine(self, count: int) -> None:
        self._wallet("generatetoaddress", str(count), self._wallet("getnewaddress"))

    def _wallet(self, *command: str) -> str:
        return self._node.cli(f"-rpcwallet={MINER}", *command)

    def version(self) -> str:
        """What it calls itself."""
        return str(json.loads(self._node.cli("getnetworkinfo"))["subversion"])
