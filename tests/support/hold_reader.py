"""A foreign program that uses a reader and does not let go: what our client has to live with.

`python -m tests.support.hold_reader READER MODE`. MODE is `share` (connected in shared mode, idle), `transaction`
(shared, inside a transaction for ever), `exclusive`, `reset` (shared, tries to reset the card again and again) or
`traffic` (shared, selects the applet again and again). Prints `holding` when it does, and ends when its standard input
is closed.
"""

from __future__ import annotations

import select
import sys

from cryptnox_core.wire import AID
from tests.support.scard import reconnect, scard


def check(result: int, what: str) -> None:
    if result != scard.SCARD_S_SUCCESS:
        sys.exit(f"{what}: {scard.SCardGetErrorMessage(result)}")


def main(reader: str, mode: str) -> None:
    result, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    check(result, "context")
    how = scard.SCARD_SHARE_EXCLUSIVE if mode == "exclusive" else scard.SCARD_SHARE_SHARED
    result, card, _ = scard.SCardConnect(context, reader, how, scard.SCARD_PROTOCOL_T1)
    check(result, "connect")
    if mode == "transaction":
        check(scard.SCardBeginTransaction(card), "transaction")
    print("holding", flush=True)
    while not select.select([sys.stdin], [], [], 0.02)[0]:
        if mode == "reset":
            reconnect(card, how, scard.SCARD_RESET_CARD)
        elif mode == "traffic":
            result, _ = scard.SCardTransmit(card, scard.SCARD_PCI_T1, [0, 0xA4, 4, 0, len(AID), *AID])
            if result == scard.SCARD_W_RESET_CARD:
                reconnect(card, how, scard.SCARD_LEAVE_CARD)
    scard.SCardDisconnect(card, scard.SCARD_LEAVE_CARD)


if __name__ == "__main__":
    main(*sys.argv[1:])
