"""Descriptors: exact strings, BIP380's checksum vectors, and what BDK and embit read in them."""

from __future__ import annotations

import pytest
from embit.descriptor import Descriptor as EmbitDescriptor
from embit.descriptor.checksum import add_checksum as embit_checksum
from embit.networks import NETWORKS

from cryptnox_core.errors import UsageError
from hwilib_cryptnox.export import (
    CHANGE,
    RECEIVE,
    Cosigner,
    KeySet,
    Network,
    ScriptType,
    add_checksum,
    check_descriptor,
    descriptor,
    descriptor_checksum,
    multisig_descriptor,
    parse_key_line,
)
from tests.support.optional import bdk

WPKH = (
    "wpkh([73c5da0a/84h/0h/0h]xpub6CatWdiZiodmUeTDp8LT5or8nmbKNcuyvz7WyksVFkKB4RHwCD3XyuvPEbvqAQY3rAPshWcMLoP2fMFMKH"
    "PJ4ZeZXYVUhLv1VMrjPC7PW6V/<0;1>/*)#qf45pmyh"
)
OTHER_LINE = (
    "[b8688df1/48h/0h/0h/2h]xpub6FQya7zGhR92kacYsNnjreouvnHJMpXYsUXnW6NJJAJRCKsa26TzDy4LdnGhEurr3d6y1J8PJ7EEMKQp74XT"
    "qYvmGJNogYXSKDszYHtF8mX"
)
WSH = (
    "wsh(sortedmulti(2,[73c5da0a/48h/0h/0h/2h]xpub6DkFAXWQ2dHxq2vatrt9qyA3bXYU4ToWQwCHbf5XB2mSTexcHZCeKS1VZYcPoBd5X8"
    "yVcbXFHJR9R8UCVpt82VX1VhR28mCyxUFL4r6KFrf/<0;1>/*,[b8688df1/48h/0h/0h/2h]xpub6FQya7zGhR92kacYsNnjreouvnHJMpXYsU"
    "XnW6NJJAJRCKsa26TzDy4LdnGhEurr3d6y1J8PJ7EEMKQp74XTqYvmGJNogYXSKDszYHtF8mX/<0;1>/*))#rzh5qamh"
)
SINGLE_SIG = [script for script in ScriptType if not script.is_multisig]
MULTI_SIG = [script for script in ScriptType if script.is_multisig]


def test_documented_descriptors(main_keys: KeySet) -> None:
    assert descriptor(main_keys, ScriptType.P2WPKH) == WPKH
    cosigners = [main_keys.account(ScriptType.P2WSH), parse_key_line(OTHER_LINE)[0]]
    assert multisig_descriptor(ScriptType.P2WSH, 2, cosigners, Network.MAIN) == WSH


@pytest.mark.parametrize("text", ["raw(deadbeef)", "", "addr(x)", "pkh({}@^!~)", "wsh(multi(1,a,b))", "a" * 500])
def test_checksum_is_embits(text: str) -> None:
    assert add_checksum(text) == embit_checksum(text)


def test_checksum_vectors() -> None:
    """BIP380's own."""
    assert descriptor_checksum("raw(deadbeef)") == "89f8spxm"
    assert check_descriptor("raw(deadbeef)#89f8spxm") == "raw(deadbeef)"
    for bad in ("raw(deadbeef)", "raw(deadbeef)#", "raw(deadbeef)#89f8spxmx", "raw(deadbeef)#89f8spx"):
        with pytest.raises(UsageError):
            check_descriptor(bad)
    for bad in ("raw(deedbeef)#89f8spxm", "raw(deadbeef)##9f8spxm"):
        with pytest.raises(UsageError):
            check_descriptor(bad)
    with pytest.raises(UsageError):
        descriptor_checksum("raw(Ü)")


@pytest.mark.parametrize("script", SINGLE_SIG)
@pytest.mark.parametrize("keys_name", ["main_keys", "test_keys"])
@pytest.mark.parametrize("branch", [RECEIVE, CHANGE])
def test_bdk_and_embit_find_the_same_addresses(
    script: ScriptType, keys_name: str, branch: str, request: pytest.FixtureRequest
) -> None:
    keys: KeySet = request.getfixturevalue(keys_name)
    main = keys.network is Network.MAIN
    network = bdk.Network.BITCOIN if main else bdk.Network.REGTEST
    text = descriptor(keys, script, branch=branch)
    theirs = bdk.Descriptor(text, bdk.NetworkKind.MAIN if main else bdk.NetworkKind.TEST)
    # BDK writes the same descriptor back, checksum included.
    assert str(theirs).replace("'", "h").partition("#")[0] == check_descriptor(text)
    wallet = bdk.Wallet.create_single(theirs, network, bdk.Persister.new_in_memory())
    embit = EmbitDescriptor.from_string(text)
    for index in (0, 1, 19):
        address = wallet.peek_address(bdk.KeychainKind.EXTERNAL, index).address
        derived = embit.derive(index).script_pubkey()
        assert str(address) == derived.address(NETWORKS["main" if main else "regtest"])


@pytest.mark.parametrize("script", SINGLE_SIG)
def test_bdk_reads_both_chains_in_one(script: ScriptType, main_keys: KeySet) -> None:
    both = bdk.Descriptor(descriptor(main_keys, script), bdk.NetworkKind.MAIN)
    assert both.is_multipath()
    single = [str(part) for part in both.to_single_descriptors()]
    wanted = [
        str(bdk.Descriptor(descriptor(main_keys, script, branch=branch), bdk.NetworkKind.MAIN))
        for branch in (RECEIVE, CHANGE)
    ]
    assert single == wanted


@pytest.mark.parametrize("script", MULTI_SIG)
def test_multisig_is_read_by_bdk_and_embit(script: ScriptType, test_keys: KeySet, other_test_keys: KeySet) -> None:
    cosigners = [test_keys.account(script), other_test_keys.account(script)]
    text = multisig_descriptor(script, 2, cosigners, Network.TEST, branch=RECEIVE)
    swapped = multisig_descriptor(script, 2, cosigners[::-1], Network.TEST, branch=RECEIVE)
    wallet = bdk.Wallet.create_single(
        bdk.Descriptor(text, bdk.NetworkKind.TEST), bdk.Network.REGTEST, bdk.Persister.new_in_memory()
    )
    for index in (0, 7):
        address = str(wallet.peek_address(bdk.KeychainKind.EXTERNAL, index).address)
        for form in (text, swapped):
            derived = EmbitDescriptor.from_string(form).derive(index).script_pubkey()
            assert address == derived.address(NETWORKS["regtest"])


def test_wrong_kind_of_account(main_keys: KeySet) -> None:
    with pytest.raises(UsageError, match="cosigners"):
        descriptor(main_keys, ScriptType.P2WSH)
    with pytest.raises(UsageError, match="single-sig"):
        multisig_descriptor(ScriptType.P2WPKH, 1, [main_keys.account(ScriptType.P2WPKH)], Network.MAIN)


@pytest.mark.parametrize(("threshold", "count"), [(0, 1), (2, 1), (1, 0), (1, 21)])
def test_threshold_and_number_of_keys(threshold: int, count: int, main_keys: KeySet) -> None:
    base = main_keys.account(ScriptType.P2WSH)
    cosigners = [_child(base, number) for number in range(count)]
    with pytest.raises(UsageError):
        multisig_descriptor(ScriptType.P2WSH, threshold, cosigners, Network.MAIN)


def test_twenty_keys_are_allowed(main_keys: KeySet) -> None:
    base = main_keys.account(ScriptType.P2WSH)
    text = multisig_descriptor(ScriptType.P2WSH, 20, [_child(base, number) for number in range(20)], Network.MAIN)
    bdk.Descriptor(text, bdk.NetworkKind.MAIN)


def test_one_signer_twice_is_refused(main_keys: KeySet) -> None:
    base = main_keys.account(ScriptType.P2WSH)
    with pytest.raises(UsageError, match="twice"):
        multisig_descriptor(ScriptType.P2WSH, 2, [base, base], Network.MAIN)


def _child(base: Cosigner, number: int) -> Cosigner:
    return Cosigner(type(base.origin)(base.origin.fingerprint, base.origin.path.child(number)), base.key.child(number))
