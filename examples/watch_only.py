"""A watch-only wallet for Bitcoin Core: prints what `bitcoin-cli importdescriptors` takes.

`python examples/watch_only.py tcp:HOST:PORT` (or `cryptnox:SERIAL`), then:

    bitcoin-cli -named createwallet wallet_name=card disable_private_keys=true blank=true
    bitcoin-cli -rpcwallet=card importdescriptors "$(python examples/watch_only.py ...)"
"""

import sys

from hwilib_cryptnox.access import Access
from hwilib_cryptnox.export import KeySet, Network, account_paths, core_import
from hwilib_cryptnox.settings import Settings
from hwilib_cryptnox.state import State
from hwilib_cryptnox.unlock import Unlocker
from hwilib_cryptnox.wallet import Wallet

settings, state = Settings.load(), State()
wallet = Wallet(sys.argv[1], Access(settings, state), Unlocker.load(settings, state, None))
try:
    keys = KeySet(wallet.fingerprint(), wallet.xpubs(account_paths(Network.TEST)), Network.TEST)
finally:
    wallet.close()
print(core_import(keys))
