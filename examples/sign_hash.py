"""Signs a hash: `python examples/sign_hash.py`, with a card in a reader, or `tcp:HOST:PORT` of an emulated card."""

import getpass
import hashlib
import sys

from cryptnox_core.bip32 import Path
from cryptnox_core.remote import RemoteTransport, parse_address
from cryptnox_core.session import Card, open_card

path, digest = Path.parse("m/84h/0h/0h/0/0"), hashlib.sha256(b"a message").digest()
address = sys.argv[1].removeprefix("tcp:") if len(sys.argv) > 1 else None
with Card(RemoteTransport.connect(*parse_address(address))) if address else open_card() as card:
    card.open_channel()
    pin = getpass.getpass(f"PIN of card {card.serial} (at most {card.pin_tries_left()} tries left): ")
    card.verify_pin(pin)
    key = card.public_key(path)
    print(card.sign(digest, pin, path=path, public_key=key).hex())
