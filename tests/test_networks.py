"""Networks, script types and accounts against what others say: hwilib's names, embit's versions and prefixes."""

from __future__ import annotations

import pytest
from embit import bip32, script
from embit.descriptor import Descriptor
from embit.networks import NETWORKS

from cryptnox_core.bip32 import ExtendedPublicKey
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.networks import (
    ADDRESS_TYPES,
    CHAIN_CHOICES,
    CHAINS,
    SINGLE_KEY,
    Chain,
    Network,
    ScriptType,
    TaprootType,
    account_path,
    account_paths,
    network_of_version,
)
from hwilib_cryptnox.psbt.change import single_key_scripts
from tests.support.derived import TEMPLATES
from tests.support.optional import hwilib

NAMES = {"main": "main", "test": "test", "testnet4": "test", "signet": "signet", "regtest": "regtest"}
"""Chains by HWI's names, as embit calls them."""
KEY = bip32.HDKey.from_seed(bytes(16)).to_public()


def test_hwilib_has_the_same_names() -> None:
    """Chains in its order; of hwilib's versions each has some of them."""
    common = hwilib("hwilib.common")
    theirs = [chain.name.lower() for chain in common.Chain]
    assert [name for name in CHAIN_CHOICES if name in theirs] == theirs
    assert [kind.name.lower() for kind in common.AddressType] == list(ADDRESS_TYPES)
    assert sorted(CHAIN_CHOICES) == sorted(CHAINS)


@pytest.mark.parametrize("name", CHAINS)
def test_prefixes_and_coin_types_are_embits(name: str) -> None:
    theirs, chain = NETWORKS[NAMES[name]], CHAINS[name]
    assert chain.value == (theirs["bech32"], theirs["p2pkh"][0], theirs["p2sh"][0])
    assert Network.of_chain(name) is chain.network
    assert (chain.network.version, chain.network.coin_type) == (theirs["xpub"], theirs["bip32"])


@pytest.mark.parametrize("name", ["", "MAIN", "mainnet", "litecoin"])
def test_no_other_chain(name: str) -> None:
    with pytest.raises(UsageError, match="is not a chain: main, test, testnet4, signet or regtest"):
        Network.of_chain(name)


@pytest.mark.parametrize("network", Network)
@pytest.mark.parametrize("kind", ScriptType)
def test_a_version_leads_back_to_its_network(kind: ScriptType, network: Network) -> None:
    text = KEY.to_string(kind.slip132(network))
    assert network_of_version(kind.slip132(network)) is network
    assert ExtendedPublicKey.from_string(text).to_string(kind.slip132(network)) == text


@pytest.mark.parametrize("version", ["0488ade4", "04358394", "019da462", "00000000"], ids=["xprv", "tprv", "Ltub", "0"])
def test_other_versions_have_no_network(version: str) -> None:
    assert network_of_version(bytes.fromhex(version)) is None


def test_what_one_key_spends() -> None:
    """Names, accounts, descriptors and scripts of each say the same; the scripts are embit's."""
    key = KEY.derive("m/0/5").key
    taproot = script.Script(b"\x51\x20" + key.xonly())
    theirs = {
        ScriptType.P2PKH: script.p2pkh(key),
        ScriptType.P2SH_P2WPKH: script.p2sh(script.p2wpkh(key)),
        ScriptType.P2WPKH: script.p2wpkh(key),
        TaprootType.RAWTR: taproot,
    }
    assert single_key_scripts(key.sec()) == {kind: made.data for kind, made in theirs.items()}
    assert set(SINGLE_KEY.values()) == set(ADDRESS_TYPES.values()) == set(theirs)
    assert [SINGLE_KEY[kind.value] for kind in theirs] == list(theirs)
    for name, (purpose, *_) in TEMPLATES.items():
        kind = SINGLE_KEY[name]
        assert kind.purpose == purpose
        assert Descriptor.from_string(kind.wrap(f"{KEY}/0/5")).derive(0).script_pubkey() == theirs[kind]
    assert TaprootType.RAWTR.wrap("KEY") == "rawtr(KEY)"


def test_what_one_key_spends_with_some_cards() -> None:
    """BIP86: the account of untweaked keys, and embit's script."""
    key = KEY.derive("m/0/5").key
    scripts = single_key_scripts(key.sec(), taproot=True)
    tweaked = scripts.pop(TaprootType.P2TR)
    assert scripts == single_key_scripts(key.sec())
    text = TaprootType.P2TR.wrap(f"{KEY}/0/5")
    assert text.startswith("tr(") and Descriptor.from_string(text).derive(0).script_pubkey().data == tweaked
    assert account_path(TaprootType.P2TR, Network.TEST, 2) == account_path(TaprootType.RAWTR, Network.TEST, 2)


def test_accounts_of_a_full_export() -> None:
    main = ["m/44h/0h/7h", "m/49h/0h/7h", "m/84h/0h/7h", "m/48h/0h/7h/1h", "m/48h/0h/7h/2h"]
    assert [str(path) for path in account_paths(Network.MAIN, 7)] == main
    test = [path.replace("h/0h/", "h/1h/") for path in main]
    assert [str(path) for path in account_paths(Network.TEST, 7)] == test
    assert str(account_path(TaprootType.RAWTR, Network.TEST, 2)) == "m/86h/1h/2h"


@pytest.mark.parametrize("account", [-1, 2**31])
def test_what_is_no_account_number(account: int) -> None:
    with pytest.raises(UsageError, match="between 0 and 2"):
        account_path(TaprootType.RAWTR, Network.MAIN, account)


def test_test_chains_share_keys() -> None:
    assert {chain.network for chain in Chain if chain is not Chain.MAIN} == {Network.TEST}
