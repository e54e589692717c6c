"""Wallet files: exact contents as the wallets' readers want them."""

from __future__ import annotations

import json

import pytest

from cryptnox_core.bip32 import ExtendedPublicKey
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.export import (
    KeySet,
    Network,
    ScriptType,
    account_path,
    check_descriptor,
    coldcard_json,
    core_import,
    core_import_multisig,
    descriptor,
    descriptor_file,
    electrum_multisig_wallet,
    electrum_wallet,
    multisig_descriptor,
    wasabi_json,
)
from tests.support.optional import bdk

COLDCARD = {
    "xfp": "73C5DA0A",
    "bip44": {
        "name": "p2pkh",
        "deriv": "m/44'/0'/0'",
        "xpub": "xpub6BosfCnifzxcFwrSzQiqu2DBVTshkCXacvNsWGYJVVhhawA7d4R5WSWGFNbi8Aw6ZRc1brxMyWMzG3DSSSSoekkudhUd9yLb6"
        "qx39T9nMdj",
    },
    "bip49": {
        "name": "p2sh-p2wpkh",
        "deriv": "m/49'/0'/0'",
        "xpub": "xpub6C6nQwHaWbSrzs5tZ1q7m5R9cPK9eYpNMFesiXsYrgc1P8bvLLAet9JfHjYXKjToD8cBRswJXXbbFpXgwsswVPAZzKMa1jUp2"
        "kVkGVUaJa7",
    },
    "bip84": {
        "name": "p2wpkh",
        "deriv": "m/84'/0'/0'",
        "xpub": "xpub6CatWdiZiodmUeTDp8LT5or8nmbKNcuyvz7WyksVFkKB4RHwCD3XyuvPEbvqAQY3rAPshWcMLoP2fMFMKHPJ4ZeZXYVUhLv1V"
        "MrjPC7PW6V",
    },
    "p2wsh_deriv": "m/48'/0'/0'/2'",
    "p2wsh": "Zpub74Jru6aftwwHxCUCWEvP6DgrfFsdA4U6ZRtQ5i8qJpMcC39yZGv3egBhQfV3MS9pZtH5z8iV5qWkJsK6ESs6mSzt4qvGhzJxPee"
    "VS2e1zUG",
    "p2sh_p2wsh_deriv": "m/48'/0'/0'/1'",
    "p2sh_p2wsh": "Ypub6jUbbRukkGPp4DgJDD4HL2NKkSZ1UPk111mg59XtJRQZHvJ6XqvJzrntik9U4jCFQkgrBqevdKLPMdYZXU9KAGhKpMhW5Xu"
    "jwqiQ7Csmm4Z",
}
ELECTRUM_XPUB = (
    "vpub5Y6cjg78GGuNLsaPhmYsiw4gYX3HoQiRBiSwDaBXKUafCt9bNwWQiitDk5VZ5BVxYnQdwoTyXSs2JHRPAgjAvtbBrf8ZhDYe2jWAqvZVnsc"
)


def test_coldcard_json(main_keys: KeySet) -> None:
    assert json.loads(coldcard_json(main_keys)) == COLDCARD


def test_coldcard_json_leaves_out_what_was_not_read(main_keys: KeySet) -> None:
    path = account_path(ScriptType.P2WPKH, Network.MAIN)
    one = KeySet(main_keys.fingerprint, {path: main_keys.keys[path]})
    assert json.loads(coldcard_json(one)) == {"xfp": "73C5DA0A", "bip84": COLDCARD["bip84"]}
    with pytest.raises(UsageError):
        coldcard_json(one, account=1)


def test_wasabi(main_keys: KeySet, test_keys: KeySet) -> None:
    """It takes a file of at most three entries, and turns the fingerprint around where no firmware is named."""
    data = json.loads(wasabi_json(main_keys))
    assert data == {"ExtPubKey": COLDCARD["bip84"]["xpub"], "MasterFingerprint": "0ADAC573"}  # type: ignore[index]
    assert json.loads(wasabi_json(test_keys))["ExtPubKey"].startswith("tpub")
    with pytest.raises(UsageError, match="account 0"):
        wasabi_json(main_keys, account=1)


def test_coldcard_json_of_test_chains(test_keys: KeySet) -> None:
    data = json.loads(coldcard_json(test_keys))
    assert data["bip84"]["deriv"] == "m/84'/1'/0'"
    assert data["bip84"]["xpub"].startswith("tpub")
    assert data["p2wsh"].startswith("Vpub")
    assert data["p2sh_p2wsh"].startswith("Upub")
    assert ExtendedPublicKey.from_string(data["p2wsh"]) == test_keys.account(ScriptType.P2WSH).key


def test_descriptor_file(main_keys: KeySet) -> None:
    comment, line, end = descriptor_file(main_keys, ScriptType.P2WPKH).split("\n")
    assert comment == "# Cryptnox 73c5da0a"
    assert line == descriptor(main_keys, ScriptType.P2WPKH)
    assert end == ""


def test_electrum_wallet(test_keys: KeySet) -> None:
    assert json.loads(electrum_wallet(test_keys, ScriptType.P2WPKH)) == {
        "seed_version": 20,
        "use_encryption": False,
        "wallet_type": "standard",
        "addresses": {"receiving": [], "change": []},
        "keystore": {
            "type": "bip32",
            "xpub": ELECTRUM_XPUB,
            "derivation": "m/84'/1'/0'",
            "root_fingerprint": "73c5da0a",
            "label": "Cryptnox",
        },
    }


@pytest.mark.parametrize(
    ("script", "prefix"), [(ScriptType.P2PKH, "xpub"), (ScriptType.P2SH_P2WPKH, "ypub"), (ScriptType.P2WPKH, "zpub")]
)
def test_electrum_reads_the_script_type_from_the_prefix(script: ScriptType, prefix: str, main_keys: KeySet) -> None:
    assert json.loads(electrum_wallet(main_keys, script))["keystore"]["xpub"].startswith(prefix)


def test_electrum_multisig_wallet(test_keys: KeySet, other_test_keys: KeySet) -> None:
    cosigners = [test_keys.account(ScriptType.P2WSH), other_test_keys.account(ScriptType.P2WSH)]
    data = json.loads(electrum_multisig_wallet(ScriptType.P2WSH, 2, cosigners, Network.TEST, labels=["Cryptnox"]))
    assert data["wallet_type"] == "2of2"
    assert data["seed_version"] == 20
    assert [data[name]["label"] for name in ("x1/", "x2/")] == ["Cryptnox", "Cosigner 2"]
    assert data["x1/"]["root_fingerprint"] == "73c5da0a"
    assert data["x2/"]["root_fingerprint"] == other_test_keys.fingerprint.hex()
    assert data["x2/"]["xpub"].startswith("Vpub")
    assert data["x2/"]["derivation"] == "m/48'/1'/0'/2'"


def test_electrum_refuses_other_kinds(test_keys: KeySet) -> None:
    with pytest.raises(UsageError):
        electrum_wallet(test_keys, ScriptType.P2WSH)
    with pytest.raises(UsageError):
        electrum_multisig_wallet(ScriptType.P2WSH, 1, [test_keys.account(ScriptType.P2WSH)], Network.TEST)
    with pytest.raises(UsageError):
        electrum_multisig_wallet(ScriptType.P2WPKH, 1, [test_keys.account(ScriptType.P2WPKH)] * 2, Network.TEST)


def test_core_import(test_keys: KeySet) -> None:
    entries = json.loads(core_import(test_keys))
    assert [entry["desc"].split("(")[0] for entry in entries] == ["pkh", "pkh", "sh", "sh", "wpkh", "wpkh"]
    for number, entry in enumerate(entries):
        assert set(entry) == {"desc", "active", "internal", "range", "timestamp"}
        assert entry["internal"] is bool(number % 2)
        assert check_descriptor(entry["desc"]).rstrip(")").endswith(f"/{number % 2}/*")
        assert entry["active"] is True
        assert entry["range"] == [0, 999]
        assert entry["timestamp"] == "now"
        bdk.Descriptor(entry["desc"], bdk.NetworkKind.TEST)


def test_core_import_parameters(test_keys: KeySet) -> None:
    entries = json.loads(core_import(test_keys, [ScriptType.P2WPKH], timestamp=1_700_000_000, end=50))
    assert len(entries) == 2
    assert {entry["timestamp"] for entry in entries} == {1_700_000_000}
    assert {tuple(entry["range"]) for entry in entries} == {(0, 50)}
    with pytest.raises(UsageError):
        core_import(test_keys, end=-1)
    with pytest.raises(UsageError):
        core_import(test_keys, timestamp=-1)


def test_core_import_multisig(test_keys: KeySet, other_test_keys: KeySet) -> None:
    cosigners = [test_keys.account(ScriptType.P2WSH), other_test_keys.account(ScriptType.P2WSH)]
    entries = json.loads(core_import_multisig(ScriptType.P2WSH, 1, cosigners, Network.TEST, timestamp=0))
    wanted = [multisig_descriptor(ScriptType.P2WSH, 1, cosigners, Network.TEST, branch=branch) for branch in "01"]
    assert [entry["desc"] for entry in entries] == wanted
    assert [entry["internal"] for entry in entries] == [False, True]
    assert {entry["timestamp"] for entry in entries} == {0}
