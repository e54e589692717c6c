"""A program of its own: signs some digests on the card in a reader and prints what came of it as JSON.

`python -m tests.support.sign_on_card READER WAIT COUNT [PIN]`. The answer has `result`: `signed`, or the name of our
exception; `seconds`; and `signatures`, how many were made and verified.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time

from cryptnox_core.bip32 import Path
from cryptnox_core.card import Card
from cryptnox_core.errors import CryptnoxError
from cryptnox_core.transport.pcsc import PcscTransport

ACCOUNT = Path.parse("m/84h/0h/0h")


def main(reader: str, wait: float, count: int, pin: str) -> dict[str, object]:
    started = time.monotonic()
    signatures = 0
    try:
        with Card(PcscTransport.open(reader, wait)) as card:
            card.open_channel()
            card.verify_pin(pin)
            key = card.public_key(ACCOUNT)
            for number in range(count):
                card.sign(hashlib.sha256(bytes([number])).digest(), pin, path=ACCOUNT, public_key=key)
                signatures += 1
        result = "signed"
    except CryptnoxError as error:
        result = type(error).__name__
    return {"result": result, "seconds": time.monotonic() - started, "signatures": signatures}


if __name__ == "__main__":
    name, seconds, number, *secret = sys.argv[1:]
    print(json.dumps(main(name, float(seconds), int(number), *(secret or ["000000"]))))
