"""A watch-only wallet for Bitcoin Core: prints what `bitcoin-cli importdescriptors` takes.

`python examples/watch_only.py tcp:HOST:PORT` (or `cryptnox:SERIAL`), then:

    bitcoin-cli -named createwallet wallet_name=watch disable_private_keys=true blank=true
    bitcoin-cli -rpcwallet=watch importdescriptors "$(python examples/watch_only.py ...)"

For the test networks; `Network.MAIN` is bitcoin. The PIN comes from CRYPTNOX_PIN_COMMAND, CRYPTNOX_PIN_FILE or, in
tests, CRYPTNOX_PIN.
"""

import sys

from hwilib_cryptnox.export import KeySet, Network, account_paths, core_import
from hwilib_cryptnox.signer.host import Host

if len(sys.argv) != 2:
    sys.exit(__doc__)
wallet = Host().wallet(sys.argv[1])
try:
    keys = KeySet(wallet.fingerprint(), wallet.xpubs(account_paths(Network.TEST)), Network.TEST)
finally:
    wallet.close()
print(core_import(keys))
