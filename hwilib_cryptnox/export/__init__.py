"""Wallet files from the card's extended public keys: key lines, output descriptors, Coldcard-style JSON, Electrum
wallet files and Bitcoin Core's `importdescriptors`.

Pure: nothing here talks to a card. `account_paths` says which extended keys to read, `KeySet` holds them, the other
functions write text. Only public keys go in and out.
"""

from __future__ import annotations

from hwilib_cryptnox.export.descriptors import (
    CHANGE,
    RECEIVE,
    add_checksum,
    check_descriptor,
    descriptor,
    descriptor_checksum,
    multisig_descriptor,
)
from hwilib_cryptnox.export.files import (
    coldcard_json,
    core_import,
    core_import_multisig,
    core_import_wallet,
    descriptor_file,
    electrum_multisig_wallet,
    electrum_wallet,
    wasabi_json,
)
from hwilib_cryptnox.export.keys import Cosigner, KeySet, key_line, parse_key_line
from hwilib_cryptnox.networks import Network, ScriptType, account_path, account_paths

__all__ = [
    "CHANGE",
    "RECEIVE",
    "Cosigner",
    "KeySet",
    "Network",
    "ScriptType",
    "account_path",
    "account_paths",
    "add_checksum",
    "check_descriptor",
    "coldcard_json",
    "core_import",
    "core_import_multisig",
    "core_import_wallet",
    "descriptor",
    "descriptor_checksum",
    "descriptor_file",
    "electrum_multisig_wallet",
    "electrum_wallet",
    "key_line",
    "multisig_descriptor",
    "parse_key_line",
    "wasabi_json",
]
