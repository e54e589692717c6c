"""HWI's library inside another program, as rust-hwi embeds it: `python examples/inside_another_program.py`.

Whoever embeds Python registers the card's driver first; then the calls are those for any device, in the form in which
rust-hwi makes them. Lists the devices, and shows the first account of each card whose fingerprint is known. The PIN
comes from CRYPTNOX_PIN_COMMAND, CRYPTNOX_PIN_FILE or, in tests, CRYPTNOX_PIN. `--emulators` lists the emulated card
whose address CRYPTNOX_EMULATOR holds, too.
"""

from __future__ import annotations

import json
import sys

from hwilib import commands
from hwilib.common import AddressType, Chain

import hwilib_cryptnox

if sys.argv[1:] not in ([], ["--emulators"]):
    sys.exit(__doc__)
hwilib_cryptnox.register()  # once in the interpreter, before or after hwilib was imported
devices = commands.enumerate("", False, Chain.TEST, bool(sys.argv[1:]))
print(json.dumps(devices))
for device in devices:
    if device["type"] == hwilib_cryptnox.DEVICE_TYPE and "error" not in device:
        client = commands.get_client(device["type"], device["path"], "", False, Chain.TEST)
        try:
            print(json.dumps(commands.getmasterxpub(client, AddressType.WIT, 0)))
        finally:
            client.close()
