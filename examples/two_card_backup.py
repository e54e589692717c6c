"""Two new cards make one seed together, which nobody ever sees: each is the other's backup.

`python examples/two_card_backup.py tcp:HOST:PORT tcp:HOST:PORT` with two emulated cards as from the factory. With two
readers take `open_card(reader=...)` for the cards. PIN and PUK of both come from CRYPTNOX_PIN and CRYPTNOX_PUK, in
tests. For real cards `cryptnoxctl setup --seed dual` does this, with a PUK drawn for each.
"""

import os
import sys

from cryptnox_core.remote import RemoteTransport, parse_address
from cryptnox_core.session import Card

if len(sys.argv) != 3:
    sys.exit(__doc__)
pin, puk = os.environ["CRYPTNOX_PIN"], os.environ["CRYPTNOX_PUK"]
connections = [RemoteTransport.connect(*parse_address(address.removeprefix("tcp:"))) for address in sys.argv[1:3]]
with Card(connections[0]) as first, Card(connections[1]) as second:
    for card in (first, second):
        card.select()
        card.init("", "", pin=pin, puk=puk)
        card.open_channel()
        card.verify_pin(pin)
    halves = first.dual_seed_start(pin), second.dual_seed_start(pin)
    first.dual_seed_finish(halves[1], pin)
    second.dual_seed_finish(halves[0], pin)
    fingerprints = [card.master_fingerprint().hex() for card in (first, second)]
print(*fingerprints)
sys.exit(fingerprints[0] != fingerprints[1])
