"""What the plugin takes from Electrum, in one place. The names are those of Electrum 4.8.3; where 4.6 and 4.7 keep them
elsewhere, both places are looked in (read in their source or guessed from it, not tried)."""

from __future__ import annotations

import contextlib
from typing import Any

from electrum import bitcoin, constants
from electrum.bip32 import BIP32Node, convert_bip32_strpath_to_intpath
from electrum.keystore import Hardware_KeyStore
from electrum.network import Network
from electrum.plugin import (
    Device,
    DeviceUnpairableError,
    HardwarePluginLibraryUnavailable,
    hook,
    runs_in_hwd_thread,
)
from electrum.transaction import PartialTransaction
from electrum.util import ThreadJob, UserCancelled, UserFacingException

try:
    from electrum.hw_wallet.cmdline import CmdLineHandler
    from electrum.hw_wallet.plugin import HardwareClientBase, HW_PluginBase
except ImportError:
    from electrum.plugins.hw_wallet.cmdline import CmdLineHandler
    from electrum.plugins.hw_wallet.plugin import HardwareClientBase, HW_PluginBase

__all__ = [
    "BIP32Node",
    "CardProblem",
    "CmdLineHandler",
    "Device",
    "DeviceUnpairableError",
    "HW_PluginBase",
    "HardwareClientBase",
    "HardwarePluginLibraryUnavailable",
    "Hardware_KeyStore",
    "PartialTransaction",
    "ThreadJob",
    "UserCancelled",
    "UserFacingException",
    "add_previous_transactions",
    "address_of",
    "chain",
    "coin_type",
    "hook",
    "message_verifies",
    "only_passwords",
    "runs_in_hwd_thread",
    "steps_of",
]

_CHAINS = {
    "mainnet": "main",
    "testnet": "test",
    "testnet4": "testnet4",
    "regtest": "regtest",
    "signet": "signet",
    "mutinynet": "signet",
}
_FETCH_LIMIT = 20


class CardProblem(UserFacingException):  # type: ignore[misc] # Electrum ships no types
    """What Electrum shows, without a traceback."""


def chain() -> str:
    """The network that Electrum runs on, as the program calls it."""
    name = str(constants.net.NET_NAME)
    if name not in _CHAINS:
        raise CardProblem(f"hwi-cryptnox does not know the network {name}.")
    return _CHAINS[name]


def coin_type() -> int:
    """Of the network, as in BIP44."""
    return int(constants.net.BIP44_COIN_TYPE)


def steps_of(path: str) -> list[int]:
    """The numbers of a path; CardProblem where it is none."""
    try:
        return [int(step) for step in convert_bip32_strpath_to_intpath(path)]
    except Exception as error:
        raise CardProblem(f"{path} is not a derivation path.") from error


def address_of(script_type: str, public_key: bytes) -> str:
    """The address of one key."""
    return str(bitcoin.pubkey_to_address(script_type, public_key.hex()))


def message_verifies(address: str, signature: bytes, message: bytes) -> bool:
    """Whether a message signature is by the key of an address."""
    return bool(bitcoin.verify_usermessage_with_address(address, signature, message))


def only_passwords(wallet: Any) -> None:
    """Have the wallet's file encrypted by passwords alone. Electrum would also offer a key of the hardware device, and
    ask for that key whenever the password is changed; the card gives none at that path."""
    offered: list[Any] = getattr(wallet, "get_available_storage_encryption_versions", list)()
    kept = [version for version in offered if version.name != "XPUB_PASSWORD"]
    if kept != offered:
        wallet.get_available_storage_encryption_versions = lambda: kept


def add_previous_transactions(transaction: Any) -> None:
    """Fetch the previous transactions that the wallet does not have: they prove the amounts. Where there is no network
    they stay away, and the program says what is missing."""
    missing = getattr(transaction, "is_missing_info_from_network", None)
    network = Network.get_instance()
    if network is None or missing is None or not missing():
        return
    with contextlib.suppress(Exception):
        Network.run_from_another_thread(
            transaction.add_info_from_network(network, ignore_network_issues=True, timeout=_FETCH_LIMIT)
        )
