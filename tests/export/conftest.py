"""Extended keys of the well-known test seed, derived by embit (not by our code)."""

from __future__ import annotations

import pytest
from embit import bip32, bip39

from cryptnox_core.bip32 import ExtendedPublicKey
from hwilib_cryptnox.export import KeySet, Network, account_paths
from tests.support.emulator import MNEMONIC

FINGERPRINT = bytes.fromhex("73c5da0a")


def make_keys(network: Network, account: int = 0, mnemonic: str = MNEMONIC) -> KeySet:
    root = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(mnemonic))
    keys = {
        path: ExtendedPublicKey.from_string(root.derive(str(path)).to_public().to_base58())
        for path in account_paths(network, account)
    }
    return KeySet(root.my_fingerprint, keys, network)


@pytest.fixture(scope="session")
def main_keys() -> KeySet:
    return make_keys(Network.MAIN)


@pytest.fixture(scope="session")
def test_keys() -> KeySet:
    return make_keys(Network.TEST)


@pytest.fixture(scope="session")
def other_test_keys() -> KeySet:
    return make_keys(Network.TEST, mnemonic="zoo " * 11 + "wrong")
