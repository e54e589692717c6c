"""The card through HWI's Python library: `python examples/hwi_library.py tcp:HOST:PORT` (or `cryptnox:SERIAL`).

The PIN comes from CRYPTNOX_PIN_COMMAND, CRYPTNOX_PIN_FILE or, in tests, CRYPTNOX_PIN.
"""

import sys

from hwilib import commands
from hwilib.common import AddressType, Chain

import hwilib_cryptnox

if len(sys.argv) != 2:
    sys.exit(__doc__)
hwilib_cryptnox.register()
client = commands.get_client("cryptnox", sys.argv[1], chain=Chain.TEST)
try:
    print("fingerprint", client.get_master_fingerprint().hex())
    for kind, descriptor in commands.getdescriptors(client).items():
        print(kind, *descriptor)
    print("account", client.get_master_xpub(AddressType.WIT, 0).to_string())
finally:
    client.close()
