"""Two new cards make one seed together, which nobody ever sees: each is the other's backup.

`python examples/two_card_backup.py tcp:HOST:PORT tcp:HOST:PORT` with two emulated cards as from the factory. With two
readers take `open_card(reader=...)` for the cards. PIN and PUK of both come from CRYPTNOX_PIN and CRYPTNOX_PUK, in
tests. For real cards `cryptnoxctl setup --seed dual` does this, with a PUK drawn for each.
"""

import os
import sys

from cryptnox_core import open_card

if len(sys.argv) != 3:
    sys.exit(__doc__)
pin, puk = os.environ["CRYPTNOX_PIN"], os.environ["CRYPTNOX_PUK"]
with open_card(sys.argv[1]) as first, open_card(sys.argv[2]) as second:
    for card in (first, second):
        card.init("", "", pin=pin, puk=puk)
        card.open_channel()
        card.verify_pin(pin)
    halves = first.dual_seed_start(pin), second.dual_seed_start(pin)
    first.dual_seed_finish(halves[1], pin)
    second.dual_seed_finish(halves[0], pin)
    fingerprints = [card.master_fingerprint().hex() for card in (first, second)]
print(*fingerprints)
sys.exit(fingerprints[0] != fingerprints[1])
