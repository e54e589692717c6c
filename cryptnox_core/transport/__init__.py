"""What a transport is: something that carries one APDU to the card and its response back."""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """A connection to one card. Not safe for use from several threads at once.

    Implementations: `cryptnox_core.transport.pcsc.PcscTransport`, `cryptnox_core.transport.tcp.RemoteTransport`.
    """

    @property
    def name(self) -> str:
        """The reader's name, or `tcp:HOST:PORT`."""
        ...

    def transmit(self, apdu: bytes) -> bytes:
        """Send one command APDU and return the raw response: data, then the two bytes of the status word.

        Raises: TransportError (CardRemovedError, ReaderBusyError ...) and nothing else. The connection is unusable
        afterwards: close it. The command may or may not have reached the card.
        """
        ...

    def close(self) -> None:
        """Reset and release the card. Harmless when called again, never raises."""
        ...


def leave(transport: Transport) -> None:
    """Release a card that turned out to be none of ours, as it is where the transport can do that: a reset would end
    what another program has open there. Harmless when called again, never raises."""
    getattr(transport, "leave", transport.close)()
