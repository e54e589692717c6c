"""HWI's commands on the emulated card, beside what embit and BDK compute from the same recovery words."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from embit import bip32, bip39, networks, script

from cryptnox_core.bip32 import TPUB, XPUB
from hwilib_cryptnox.export import add_checksum
from hwilib_cryptnox.storage.state import State
from tests.hwi.conftest import Program
from tests.support.emulator import MNEMONIC, PIN, EmulatorProcess
from tests.support.optional import bdk
from tests.support.signed_message import verify_message
from tests.support.versions import EMBIT_KNOWS_SCRIPT_PATHS
from tests.system.interop.paper import message_key

FINGERPRINT = "73c5da0a"
CHAINS = ("main", "test", "testnet4", "signet", "regtest")
ROOT = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(MNEMONIC))
PURPOSES = {"legacy": 44, "wit": 84, "sh_wit": 49, "tap": 86}


def xpub(path: str, chain: str) -> str:
    """By embit."""
    return ROOT.derive(path).to_public().to_string(XPUB if chain == "main" else TPUB)


KEY = ROOT.derive("m/84h/1h/0h/0/0").key.get_public_key().sec().hex()
ACCOUNT = xpub("m/49h/1h/0h", "test")
XPRV = ROOT.derive("m/84h/1h/0h").to_base58()


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("account", [0, 5])
@pytest.mark.parametrize("kind", PURPOSES)
def test_getmasterxpub(card: EmulatorProcess, hwi: Program, chain: str, account: int, kind: str) -> None:
    answer = hwi.on(card, "--chain", chain, "getmasterxpub", "--addr-type", kind, "--account", str(account))
    assert answer == {"xpub": xpub(f"m/{PURPOSES[kind]}h/{int(chain != 'main')}h/{account}h", chain)}


def bdk_address(descriptor: str, chain: str, index: int) -> str:
    kind = bdk.NetworkKind.MAIN if chain == "main" else bdk.NetworkKind.TEST
    network = bdk.Network.BITCOIN if chain == "main" else bdk.Network.TESTNET
    return str(bdk.Descriptor(descriptor, kind).derive_address(index, network))


@pytest.mark.parametrize("chain", ["main", "test"])
@pytest.mark.parametrize("account", [0, 5])
def test_getdescriptors(card: EmulatorProcess, hwi: Program, chain: str, account: int) -> None:
    """The same addresses by BDK from our descriptors as by embit from the seed."""
    answer = hwi.on(card, "--chain", chain, "getdescriptors", "--account", str(account))
    assert list(answer) == ["receive", "internal"]
    coin, network = int(chain != "main"), networks.NETWORKS[chain]
    makers = {44: script.p2pkh, 84: script.p2wpkh, 49: lambda key: script.p2sh(script.p2wpkh(key))}
    for branch, name in enumerate(answer):
        assert [text.split("(")[0] for text in answer[name]] == ["pkh", "wpkh", "sh"]
        for (purpose, make), descriptor in zip(makers.items(), answer[name], strict=True):
            assert f"[{FINGERPRINT}/{purpose}h/{coin}h/{account}h]" in descriptor
            assert xpub(f"m/{purpose}h/{coin}h/{account}h", chain) in descriptor
            for index in (0, 7):
                key = ROOT.derive(f"m/{purpose}h/{coin}h/{account}h/{branch}/{index}").key
                assert bdk_address(descriptor, chain, index) == make(key.get_public_key()).address(network)


def test_getdescriptors_with_untweaked_taproot(card: EmulatorProcess, hwi: Program) -> None:
    answer = hwi.on(card, "--rawtr", "getdescriptors")
    text = answer["receive"][3]
    assert text.startswith(f"rawtr([{FINGERPRINT}/86h/0h/0h]xpub")
    assert hwi.on(card, "getdescriptors", env={"CRYPTNOX_RAWTR": "1"}) == answer
    assert len(hwi.on(card, "getdescriptors")["receive"]) == 3


@pytest.mark.parametrize("path", ["m/84h/0h/0h", "84'/0'/0'/1/5", "m/48H/1H/0H/2H", "m/0/1/2/3/4/5/6/7", "m/1/2/3"])
def test_getxpub(card: EmulatorProcess, hwi: Program, path: str) -> None:
    plain = path.removeprefix("m/").replace("'", "h").replace("H", "h")
    assert hwi.on(card, "getxpub", path) == {"xpub": xpub(f"m/{plain}", "main")}


def test_getxpub_expert(card: EmulatorProcess, hwi: Program) -> None:
    key = ROOT.derive("m/84h/1h/0h")
    assert hwi.on(card, "--chain", "test", "--expert", "getxpub", "m/84h/1h/0h") == {
        "xpub": xpub("m/84h/1h/0h", "test"),
        "testnet": True,
        "private": False,
        "depth": 3,
        "parent_fingerprint": key.fingerprint.hex(),
        "child_num": 2**31,
        "chaincode": key.chain_code.hex(),
        "pubkey": key.to_public().sec().hex(),
    }


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("m/44h", "3 to 8 levels"),
        ("m/48h", "3 to 8 levels"),
        ("m", "3 to 8 levels"),
        ("m/84h/0h", "3 to 8 levels"),
        ("m/1/2/3/4/5/6/7/8/9", "3 to 8 levels"),
        ("m/84h/x", "not a derivation path"),
        ("m/2147483648/0/0", "not a derivation path"),
        ("nonsense", "not a derivation path"),
    ],
)
def test_paths_the_card_does_not_have(card: EmulatorProcess, hwi: Program, path: str, words: str) -> None:
    answer = hwi.on(card, "getxpub", path)
    assert answer["code"] == -7 and words in answer["error"]


def keypool(answer: Any) -> list[tuple[str, bool]]:
    return [(entry["desc"].partition("#")[0].split("]")[0], entry["internal"]) for entry in answer]


def test_getkeypool(card: EmulatorProcess, hwi: Program) -> None:
    answer = hwi.on(card, "getkeypool", "0", "20")
    assert answer[0] | {"desc": ""} == {
        "desc": "",
        "range": [0, 20],
        "timestamp": "now",
        "internal": False,
        "keypool": True,
        "active": True,
        "watchonly": True,
    }
    assert keypool(answer) == [("wpkh([73c5da0a/84h/0h/0h", False), ("wpkh([73c5da0a/84h/0h/0h", True)]
    internal = hwi.on(
        card, "getkeypool", "--internal", "--nokeypool", "--addr-type", "sh_wit", "--account", "3", "1", "2"
    )
    assert keypool(internal) == [("sh(wpkh([73c5da0a/49h/0h/3h", True)]
    assert internal[0]["keypool"] is internal[0]["active"] is False and "/1/*" in internal[0]["desc"]
    kinds = [name for name, _ in keypool(hwi.on(card, "getkeypool", "--all", "0", "1"))]
    assert kinds == [
        f"{head}[73c5da0a/{n}h/0h/0h" for n, head in ((44, "pkh("), (84, "wpkh("), (49, "sh(wpkh(")) for _ in "ab"
    ]
    (own,) = hwi.on(card, "getkeypool", "--path", "m/48h/0h/0h/2h/1/2/*", "--addr-type", "legacy", "0", "1")
    assert own["desc"].startswith("pkh([73c5da0a/48h/0h/0h/2h]xpub") and "/1/2/*)#" in own["desc"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--addr-type", "tap"], -9),
        (["--path", "84h/0h/0h/0/*"], -7),
        (["--path", "m/84h/0h/0h/0"], -7),
        (["--path", "m/84h/*"], -7),
        (["--account", "-1"], -7),
        (["--account", "2147483648"], -7),
    ],
)
def test_getkeypool_refusals(card: EmulatorProcess, hwi: Program, arguments: list[str], code: int) -> None:
    assert hwi.on(card, "getkeypool", *arguments, "0", "1")["code"] == code


@pytest.mark.parametrize("ends", [("-5", "-9"), ("-1", "5"), ("6", "5"), ("0", "-1"), ("0", "2147483648")])
def test_getkeypool_of_no_range(hwi: Program, ends: tuple[str, str]) -> None:
    """Refused before a card is looked for; HWI's own drivers hand it on, and it fails where it is imported."""
    answer = hwi("-t", "cryptnox", "-d", "cryptnox:5", "getkeypool", *ends)
    assert answer["code"] == -7 and answer["error"].startswith("The range must begin at 0")


@pytest.mark.parametrize("message", ["", "hello", "Grüezi ₿", "x" * 300, "two\nlines"])
def test_signmessage(card: EmulatorProcess, hwi: Program, message: str) -> None:
    path = "m/44h/0h/0h/0/3"
    signature = hwi.on(card, "signmessage", message, path)["signature"]
    key = ROOT.derive(path).to_public().sec()
    assert verify_message(key, message, signature)
    if len(message.encode()) < 0xFD:
        assert message_key(signature, message) == key
    assert base64.b64decode(signature)[0] in (31, 32, 33, 34)


def test_signmessage_of_bytes_that_are_no_text(card: EmulatorProcess, hwi: Program) -> None:
    raw = b"\xff\xfe plain"
    signature = hwi.on(card, "signmessage", raw.decode("utf-8", "surrogateescape"), "m/0h")["signature"]
    assert verify_message(ROOT.derive("m/0h").to_public().sec(), raw, signature)


def test_signmessage_too_deep(card: EmulatorProcess, hwi: Program) -> None:
    before = card.stats()["apdus"]
    assert hwi.on(card, "signmessage", "m", "m/1/2/3/4/5/6/7/8/9")["code"] == -7
    assert card.stats()["apdus"] == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["displayaddress", "--path", "m/84h/0h/0h/0/0"],
        ["displayaddress", "--desc", add_checksum(f"wpkh([73c5da0a/84h/1h/0h/0/0]{KEY})")],
        ["displayaddress", "--desc", f"sh(wpkh([73c5da0a/49'/1'/0']{ACCOUNT}/0/5))"],
        ["displayaddress", "--desc", f"wsh(sortedmulti(2,[00000000/48h/1h/0h/2h]{ACCOUNT}/0/5,{KEY}))"],
        ["backup"],
        ["promptpin"],
        ["sendpin", "123"],
        ["togglepassphrase"],
        ["setup"],
        ["restore"],
        ["installudevrules"],
    ],
)
def test_what_the_card_cannot_do(card: EmulatorProcess, hwi: Program, arguments: list[str]) -> None:
    """-9, and the card is not even asked."""
    before = card.stats()["apdus"]
    assert hwi.on(card, *arguments)["code"] == -9
    assert card.stats()["apdus"] == before


@pytest.mark.parametrize(
    ("descriptor", "text"),
    [
        ("nonsense", "The descriptor cannot be read: copy it again"),
        ("", "The descriptor cannot be read: copy it again"),
        ("wpkh(", "The descriptor cannot be read: copy it again"),
        ("wpkh([73c5da0a/84h/1h/0h/0/0]02e7)", "The descriptor cannot be read: copy it again"),
        (f"wpkh([73c5da0a/84h/1h/0h/0/x]{KEY})", "The descriptor cannot be read: copy it again"),
        (f"wpkh({KEY},{KEY})", "The descriptor cannot be read: copy it again"),
        (f"wpkh([73c5da0a/84h/1h/0h/0/0]{KEY})#6lpdnkpw", "checksum"),
        (f"wpkh([73c5da0a/84h/1h/0h/0/0]{KEY})#", "checksum"),
        (f"wpkh({ACCOUNT}/0/5)", "missing origin info"),
        (f"sh(wpkh([73c5da0b/49h/1h/0h]{ACCOUNT}/0/5))", "does not match device"),
        (f"pkh([01020304/44h/1h/0h/0/5]{KEY})", "does not match device"),
        (f"wpkh([73c5da0a/84h/1h/0h]{XPRV}/0/5)", "private key"),
        (f"wsh(multi(1,[01020304/48h]{XPRV}/0/5,[73c5da0a/84h/1h/0h/0/0]{KEY}))", "private key"),
        pytest.param(f"tr({KEY[2:]},pk({XPRV}/0/5))", "private key", marks=EMBIT_KNOWS_SCRIPT_PATHS),
        (f"wpkh([73c5da0a/84h/1h/0h]{XPRV}/0/x)", "cannot be read"),
        (f"wpkh([73c5da0a/84h/1h/0h]{XPRV}/0/5)#6lpdnkpw", "checksum"),
        ("sh(" * 5000, "The descriptor cannot be read: copy it again"),
    ],
)
def test_descriptors_that_are_none_or_another_devices(
    card: EmulatorProcess, hwi: Program, state: State, descriptor: str, text: str
) -> None:
    """A bad argument first, where it can be told without the card: -f names the fingerprint, or it is remembered."""
    before = card.stats()["apdus"]
    state.update(7, lambda now: replace(now, fingerprint=bytes.fromhex("73c5da0a")))
    for device in (["-f", "73c5da0a"], ["-t", "cryptnox", "-d", "cryptnox:7"]):
        answer = hwi(*device, "-p", PIN, "displayaddress", "--desc", descriptor)
        assert answer["code"] == -7 and text in answer["error"], answer
        assert "prv" not in answer["error"]
    if "device" in text:
        assert hwi.on(card, "displayaddress", "--desc", descriptor)["code"] == -9, "nobody is asked whose it is"
    assert card.stats()["apdus"] == before


@pytest.mark.parametrize("command", ["getmasterxpub", "getdescriptors", "getkeypool", "getxpub"])
def test_export_off(hwi: Program, command: str) -> None:
    """-12 with the remedy: hwilib's getdescriptors would swallow -9 and give Bitcoin Core an empty wallet."""
    arguments = {"getkeypool": ["0", "1"], "getxpub": ["m/84h/0h/0h"]}.get(command, [])
    with EmulatorProcess("--mnemonic", MNEMONIC) as card:
        answer = hwi.on(card, command, *arguments)
        assert answer == {"error": "xpub export is off: cryptnoxctl xpub on (needs the PUK)", "code": -12}
        assert "signature" in hwi.on(card, "signmessage", "m", "m/44h/0h/0h/0/0")


@pytest.mark.parametrize(
    ("options", "text"),
    [([], "Not initialized"), (["--pin", PIN], "Not initialized: the card has no seed")],
)
def test_no_wallet_on_the_card(hwi: Program, options: list[str], text: str) -> None:
    with EmulatorProcess(*options) as card:
        for arguments in (["getmasterxpub"], ["signmessage", "m", "m/0"], ["getdescriptors"]):
            assert hwi.on(card, *arguments) == {"error": text, "code": -18}


@pytest.mark.parametrize("path", ["f", "m/x", "m/4294967296", "84h//0"])
def test_what_is_no_path(card: EmulatorProcess, hwi: Program, path: str) -> None:
    """A bad argument in every command that takes a path, also where the card could not do it anyway."""
    for command in (["getxpub", path], ["signmessage", "text", path], ["displayaddress", "--path", path]):
        assert hwi.on(card, *command)["code"] == -7, command
