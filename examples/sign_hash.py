"""Signs a hash: `python examples/sign_hash.py`, with a card in a reader, or `tcp:HOST:PORT` of an emulated card."""

import getpass
import hashlib
import sys

from cryptnox_core import open_card

digest = hashlib.sha256(b"a message").digest()
with open_card(sys.argv[1] if len(sys.argv) > 1 else None) as card:
    pin = getpass.getpass(f"PIN of card {card.serial} (at most {card.pin_tries_left()} tries left): ")
    print(card.sign(digest, pin, path="m/84h/0h/0h/0/0").hex())
