"""What a person's desk has: Specter with a node, and a tab of a browser in front of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from embit.script import address_to_scriptpubkey
from embit.transaction import Transaction

from tests.specter.server import Specter
from tests.support.emulator import EmulatorProcess


class Payer(Protocol):
    """A node as these tests use it: one that Specter talks to, pays to addresses, and tells what was sent."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that make Specter use it."""

    @property
    def sent(self) -> Sequence[bytes]:
        """The transactions that Specter sent."""

    def fund(self, address: str, *amounts: int) -> None:
        """Pay amounts (satoshis) to an address in a block."""


RECIPIENT = "bcrt1q29g4z52329g4z52329g4z52329g4z5237w8wct"
PIN, WRONG_PIN = "271828182", "135791135"
"""Long, so that they are nowhere else by chance: not in an amount, a transaction, a key."""
THIRD_MNEMONIC = "legal winner thank year wave sausage worth useful legal winner thank yellow"


@contextlib.contextmanager
def serving(
    python: Path, folder: Path, node: Payer | None, card: EmulatorProcess, *options: str, **environ: str
) -> Iterator[Specter]:
    """A running Specter. `environ` may name the emulated card."""
    names: Mapping[str, str] = node.environment if node else {}
    server = Specter(python, folder, card, *options, environ={**names, **environ})
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def paid(raw: bytes, address: str) -> list[int]:
    """What a transaction pays to an address."""
    script = address_to_scriptpubkey(address)
    return [out.value for out in Transaction.parse(raw).vout if out.script_pubkey == script]
