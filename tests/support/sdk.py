"""The vendor's SDK on a virtual reader, and a table of what it did there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tests.support import pcsc

if TYPE_CHECKING:
    from cryptnox_sdk_py.card.basic_g1 import Basic

T = TypeVar("T")


def reader_index(slot: int) -> int:
    """The SDK's number of a slot of the virtual reader: it counts all readers but one maker's."""
    from smartcard.System import readers

    names = [str(reader) for reader in readers() if not str(reader).startswith("Yubico")]
    return names.index(pcsc.SLOTS[slot])


@contextlib.contextmanager
def connected(slot: int = 0, pairing_key: bytes | None = None) -> Iterator[Basic]:
    """The card in a slot as the SDK's object, newly powered and selected; powered off again at the end."""
    from cryptnox_sdk_py import Connection, factory

    connection = Connection(reader_index(slot))
    try:
        card = factory.get_card(connection)
        if pairing_key is not None:
            connection.pairing_secret = pairing_key
        yield card
    finally:
        connection.disconnect()


class OperationTable:
    """Runs operations, keeps one row for each, and goes on after a failure so that the table is complete."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.rows: list[tuple[str, str]] = []
        self.failures: list[str] = []
        self.touched: set[str] = set()

    def run(self, operation: str, call: Callable[[], T], holds: Callable[[T], object] = lambda _: True) -> T | None:
        """One operation: `call` does it, `holds` judges its result. `operation` starts with the SDK's name for it."""
        self.touched.add(operation.split()[0])
        try:
            result = call()
            fault = "" if holds(result) else f"wrong result {result!r}"
        except Exception as error:  # noqa: BLE001 # any failure is a row of the table; the test fails at its end
            result, fault = None, f"{type(error).__name__}: {error}"
        if fault:
            self.failures.append(f"{operation}: {fault}")
        self.rows.append((operation, f"FAILED {fault}" if fault else "works"))
        return result

    def refused(self, operation: str, call: Callable[[], Any], *errors: type[BaseException]) -> None:
        """An operation that has to end in one of these exceptions of the SDK."""
        self.touched.add(operation.split()[0])
        try:
            call()
        except errors as error:
            self.rows.append((operation, f"refused as it must be ({type(error).__name__})"))
        except Exception as other:  # noqa: BLE001
            self._missed(operation, f"{type(other).__name__}: {other}")
        else:
            self._missed(operation, "accepted")

    def skip(self, operation: str, reason: str) -> None:
        """An operation that cannot be run here."""
        self.touched.add(operation)
        self.rows.append((operation, reason))

    def _missed(self, operation: str, what: str) -> None:
        self.failures.append(f"{operation}: {what}")
        self.rows.append((operation, f"FAILED {what}"))

    def publish(self, request: pytest.FixtureRequest) -> None:
        """Have the table printed at the end of the test run."""
        width = max(len(operation) for operation, _ in self.rows)
        lines = [f"{operation:<{width}}  {result}" for operation, result in self.rows]
        request.node.user_properties.append(("table", [self.title, *lines]))
