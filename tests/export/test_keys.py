"""Account paths, key lines and the checks that keep an origin and its key together."""

from __future__ import annotations

import pytest
from embit import bip32

from cryptnox_core.bip32 import ExtendedPublicKey, KeyOrigin, Path
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.export import Cosigner, KeySet, Network, ScriptType, account_path, account_paths, key_line
from hwilib_cryptnox.export import parse_key_line as parse

SINGLE_LINE = (
    "[73c5da0a/84h/0h/0h]xpub6CatWdiZiodmUeTDp8LT5or8nmbKNcuyvz7WyksVFkKB4RHwCD3XyuvPEbvqAQY3rAPshWcMLoP2fMFMKHPJ4"
    "ZeZXYVUhLv1VMrjPC7PW6V"
)
COSIGNER_LINE = (
    "[73c5da0a/48h/0h/0h/2h]xpub6DkFAXWQ2dHxq2vatrt9qyA3bXYU4ToWQwCHbf5XB2mSTexcHZCeKS1VZYcPoBd5X8yVcbXFHJR9R8UCVpt"
    "82VX1VhR28mCyxUFL4r6KFrf"
)


@pytest.mark.parametrize(
    ("script", "network", "account", "path"),
    [
        (ScriptType.P2PKH, Network.MAIN, 0, "m/44h/0h/0h"),
        (ScriptType.P2SH_P2WPKH, Network.TEST, 5, "m/49h/1h/5h"),
        (ScriptType.P2WPKH, Network.MAIN, 2**31 - 1, "m/84h/0h/2147483647h"),
        (ScriptType.P2SH_P2WSH, Network.MAIN, 0, "m/48h/0h/0h/1h"),
        (ScriptType.P2WSH, Network.TEST, 3, "m/48h/1h/3h/2h"),
    ],
)
def test_account_paths(script: ScriptType, network: Network, account: int, path: str) -> None:
    assert str(account_path(script, network, account)) == path
    assert account_path(script, network, account) in account_paths(network, account)


@pytest.mark.parametrize("account", [-1, 2**31])
def test_account_out_of_range(account: int) -> None:
    with pytest.raises(UsageError):
        account_path(ScriptType.P2WPKH, Network.MAIN, account)


def test_chains() -> None:
    assert Network.of_chain("main") is Network.MAIN
    assert {Network.of_chain(chain) for chain in ("test", "testnet4", "signet", "regtest")} == {Network.TEST}
    with pytest.raises(UsageError):
        Network.of_chain("")


def test_key_lines(main_keys: KeySet) -> None:
    assert key_line(main_keys, account_path(ScriptType.P2WPKH, Network.MAIN)) == SINGLE_LINE
    assert key_line(main_keys, account_path(ScriptType.P2WSH, Network.MAIN)) == COSIGNER_LINE


def test_key_line_of_test_chains_is_a_tpub(test_keys: KeySet) -> None:
    line = key_line(test_keys, account_path(ScriptType.P2WPKH, Network.TEST))
    assert line.startswith("[73c5da0a/84h/1h/0h]tpub")
    assert "\n" not in line


def test_key_that_was_not_read(main_keys: KeySet) -> None:
    with pytest.raises(UsageError, match="84h/0h/7h"):
        key_line(main_keys, Path.parse("m/84h/0h/7h"))


@pytest.mark.parametrize("script", ScriptType)
@pytest.mark.parametrize("network", Network)
def test_slip132_versions_are_embits(script: ScriptType, network: Network) -> None:
    names = {
        ScriptType.P2PKH: "xpub",
        ScriptType.P2SH_P2WPKH: "ypub",
        ScriptType.P2WPKH: "zpub",
        ScriptType.P2SH_P2WSH: "Ypub",
        ScriptType.P2WSH: "Zpub",
    }
    versions = bip32.NETWORKS["main" if network is Network.MAIN else "test"]
    assert script.slip132(network) == versions[names[script]]


@pytest.mark.parametrize("script", ScriptType)
@pytest.mark.parametrize("keys_name", ["main_keys", "test_keys"])
def test_cosigner_lines_are_read_in_every_form(
    script: ScriptType, keys_name: str, request: pytest.FixtureRequest
) -> None:
    keys: KeySet = request.getfixturevalue(keys_name)
    wanted = keys.account(script)
    for version in (keys.network.version, script.slip132(keys.network)):
        line = f"  {wanted.origin}{wanted.key.to_string(version)}\r\n"
        assert parse(line) == (wanted, keys.network)


@pytest.mark.parametrize(
    "line",
    [
        SINGLE_LINE.partition("]")[2],
        SINGLE_LINE[:-1] + "W",
        SINGLE_LINE.replace("84h/0h/0h", "84h/0h"),
        SINGLE_LINE.replace("84h/0h/0h", "84h/0h/1h"),
        SINGLE_LINE.replace("73c5da0a", "73c5da"),
        SINGLE_LINE + "/0/*",
        "[73c5da0a/84h/0h/0h]",
        "",
    ],
)
def test_bad_cosigner_lines(line: str) -> None:
    with pytest.raises(UsageError):
        parse(line)


def test_private_key_is_refused_and_not_repeated() -> None:
    root = bip32.HDKey.from_seed(bytes(32))
    secret = root.derive("m/84h/0h/0h").to_base58()
    with pytest.raises(UsageError) as caught:
        parse(f"[{root.my_fingerprint.hex()}/84h/0h/0h]{secret}")
    assert secret not in str(caught.value)


def test_unknown_version_is_refused(main_keys: KeySet) -> None:
    cosigner = main_keys.account(ScriptType.P2WPKH)
    with pytest.raises(UsageError, match="version"):
        parse(f"{cosigner.origin}{cosigner.key.to_string(bytes.fromhex('0488b21f'))}")


def test_origin_must_fit_the_key(main_keys: KeySet) -> None:
    good = main_keys.account(ScriptType.P2WPKH)
    for wrong in ("m/84h/0h", "m/84h/0h/1h", "m/84h/0h/0", "m/84h/0h/0h/0"):
        with pytest.raises(UsageError):
            KeySet(good.origin.fingerprint, {Path.parse(wrong): good.key})
        with pytest.raises(UsageError):
            Cosigner(KeyOrigin(good.origin.fingerprint, Path.parse(wrong)), good.key)


def test_shallow_origins_prove_the_fingerprint() -> None:
    root = bip32.HDKey.from_seed(bytes(range(32)))
    master = ExtendedPublicKey.from_string(root.to_public().to_base58())
    first = ExtendedPublicKey.from_string(root.derive("m/45h").to_public().to_base58())
    right, wrong = root.my_fingerprint, bytes.fromhex("00000001")
    Cosigner(KeyOrigin(right, Path()), master)
    Cosigner(KeyOrigin(right, Path.parse("m/45h")), first)
    with pytest.raises(UsageError):
        Cosigner(KeyOrigin(wrong, Path()), master)
    with pytest.raises(UsageError):
        Cosigner(KeyOrigin(wrong, Path.parse("m/45h")), first)


def test_chain_code_stays_out_of_repr(main_keys: KeySet) -> None:
    cosigner = main_keys.account(ScriptType.P2WPKH)
    assert cosigner.key.chain_code.hex() not in repr(cosigner)
