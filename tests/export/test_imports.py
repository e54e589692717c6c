"""Wallet files of other programs: what is read, that our own come back, and that hostile ones give our error."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest

from cryptnox_core.errors import UsageError
from hwilib_cryptnox.export import (
    Cosigner,
    KeySet,
    Network,
    ScriptType,
    core_import,
    core_import_multisig,
    descriptor,
    descriptor_file,
    electrum_multisig_wallet,
    electrum_wallet,
    multisig_descriptor,
)
from hwilib_cryptnox.export.imports import MAX_FILE, WalletFile, read_wallet_file, wallet_file
from hwilib_cryptnox.signer.wallets import WalletPolicy

KEYS = {
    "748CC6AA": "xpub6F6iZVTmc3KMgAUkV9JRNaouxYYwChRswPN1ut7nTfecn6VPRYLXFgXa"
    "r1gvPUX27QH1zaVECqVEUoA2qMULZu5TjyKrjcWcLTQ6LkhrZAj",
    "C2202A77": "xpub6EiTGcKqBQy2uTat1QQPhYQWt8LGmZStNqKDoikedkB72sUqgF9fXLUY"
    "EyPthqLSb6VP4akUAsy19MV5LL8SvqdzvcABYUpKw45jA1KZMhm",
    "5271C071": "xpub6EWksRHwPbDmXWkjQeA6wbCmXZeDPXieMob9hhbtJjmrmk647bWkh7om"
    "5rk2eoeDKcKG6NmD8nT7UZAFxXQMjTnhENTwTEovQw3MDQ8jJ16",
}
"""Of a Coldcard file in Keystone's source."""
COLDCARD = "\n".join(
    [
        "# Coldcard Multisig setup file (created on 5271C071)",
        "#",
        "Name: CC-2-of-3",
        "Policy: 2 of 3",
        "Derivation: m/48'/0'/0'/2'",
        "Format: P2WSH",
        "",
        *(f"{fingerprint}: {xpub}" for fingerprint, xpub in KEYS.items()),
        "",
    ]
)
WSH = "wsh(sortedmulti(2,{}))".format(
    ",".join(f"[{fingerprint.lower()}/48h/0h/0h/2h]{xpub}/<0;1>/*" for fingerprint, xpub in KEYS.items())
)
RECEIVE, CHANGE = WSH.replace("<0;1>", "0"), WSH.replace("<0;1>", "1")
ELECTRUM_SAMPLE = json.dumps(
    {
        "x2/": {
            "xpub": "tpubD97nVL37v5tWyMf9ofh5rznwhh1593WMRg6FT4o6MRJkKWANtwAMHYLr"
            "cJFsFmPfYbY1TE1LLQ4KBb84LBPt1ubvFwoosvMkcWJtMwvXgSc",
            "hw_type": "coldcard",
            "ckcc_xfp": 2389277556,
            "label": "Coldcard 8E697B74",
            "derivation": "m/45'",
            "type": "hardware",
        },
        "x1/": {
            "xpub": "tpubD9429UXFGCTKJ9NdiNK4rC5ygqSUkginycYHccqSg5gkmyQ7PZRHNjk9"
            "9M6a6Y3NY8ctEUUJvCu6iCCui8Ju3xrHRu3Ez1CKB4ZFoRZDdP9",
            "hw_type": "coldcard",
            "ckcc_xfp": 3503269483,
            "label": "Coldcard D0CFA66B",
            "derivation": "m/45'",
            "type": "hardware",
        },
        "wallet_type": "2of2",
        "use_encryption": False,
        "seed_version": 17,
    }
)
"""Two of the four keys of Coldcard's docs/sample-electrum-wallets/electrum-2-of-4.json."""
BSMS = """BSMS 1.0
wsh(sortedmulti(2,[1cf0bf7e/48'/0'/0'/2']xpub6FL8FhxNNUVnG64YurPd16AfGyvFLhh7S2uSsDqR3Qfcm6o9jtcMYwh6DvmcBF9qozxNQmTCV\
vWtxLpKTnhVLN3Pgnu2D3pAoXYFgVyd8Yz/**,[4fc1dd4a/48'/0'/0'/2']xpub6EebMbEps7ZcV3FYEnddRsvrFWDrt2tiPmCeM7pPXQEmphvq9ZfJ1\
LWFUDjf3vxCeBuPrfyGrMazWUsYsetrnHatQZVLJH7LsgCjtMqdzgj/**))
/0/*,/1/*
bc1qrgc6p3kylfztu06ysl752gwwuekhvtfh9vr7zg43jvu60mutamcsv948ej"""
"""BIP129's own."""


def read(text: str) -> WalletFile:
    return read_wallet_file(text.encode())


def policy(text: str) -> WalletPolicy:
    return WalletPolicy.parse(read(text).descriptor)


WANTED = WalletPolicy.parse(WSH).descriptor


# --- Coldcard


def test_coldcard() -> None:
    assert policy(COLDCARD).descriptor == WANTED and read(COLDCARD).name == "CC-2-of-3"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda text: text.replace("Format: P2WSH\n", ""), "wsh("),
        (lambda text: text.replace("P2WSH", "p2sh-p2wsh"), "sh(wsh("),
        (lambda text: text.replace("P2WSH", "P2WSH-P2SH"), "sh(wsh("),
        (lambda text: text.replace("P2WSH", "P2SH"), "sh(sorted"),
        (lambda text: text.replace("/2'", "/1'").replace("Format: P2WSH\n", ""), "sh(wsh("),
        (lambda text: text.replace("2 of 3", "2/3").replace("\n", "\r\n"), "wsh("),
        (lambda text: "\ufeff" + text, "wsh("),
        (lambda text: text.replace("Name", "name").replace("Policy", "POLICY"), "wsh("),
    ],
)
def test_coldcards_variants(change: Callable[[str], str], kind: str) -> None:
    found = policy(change(COLDCARD))
    assert found.descriptor.startswith(kind) and found.threshold == (2, 3)


@pytest.mark.parametrize("mark", ["Derivation: ", "# derivation: "])
def test_coldcard_with_a_derivation_for_each_key(mark: str) -> None:
    head = "Name: X\nPolicy: 2 of 3\nFormat: P2WSH\n"
    body = "\n".join(f"{mark}m/48'/0'/{n}'/2'\n{one}: {xpub}\n" for n, (one, xpub) in enumerate(KEYS.items()))
    assert [str(one.path) for one in policy(head + body).keys] == [f"m/48h/0h/{n}h/2h" for n in range(3)]


def test_a_derivation_for_all_may_come_last() -> None:
    lines = COLDCARD.splitlines()
    lines.append(lines.pop(lines.index("Derivation: m/48'/0'/0'/2'")))
    assert policy("\n".join(lines)).descriptor == WANTED


def test_slip132_keys_become_plain_ones() -> None:
    from cryptnox_core.bip32 import ExtendedPublicKey

    text = COLDCARD
    for xpub in KEYS.values():
        text = text.replace(xpub, ExtendedPublicKey.from_string(xpub).to_string(bytes.fromhex("02aa7ed3")))
    assert policy(text).descriptor == WANTED


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("Policy: 2 of 3\n", "", "how many keys sign"),
        ("2 of 3", "two of 3", "how many keys sign"),
        ("2 of 3", "2 of 4", "names 4 keys, but it has 3"),
        ("Format: P2WSH", "Format: P2TR", "which addresses"),
        ("m/48'/0'/0'/2'\nFormat: P2WSH", "m/9'", "which addresses"),
        ("m/48'", "m/x", "cannot be read"),
        ("xpub6F6", "xpub6F7", "cannot be read"),
        ("CC-2-of-3", "X\nsomething else", "does not belong there"),
    ],
)
def test_coldcard_refused(old: str, new: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        read(COLDCARD.replace(old, new))


# --- JSON


@pytest.mark.parametrize("half", ["{}", "  {}\n"])
@pytest.mark.parametrize(
    "content",
    [
        {"label": "Family", "blockheight": 638325, "descriptor": RECEIVE},
        {"label": "Family", "blockheight": 0, "descriptor": f"{RECEIVE}#", "devices": [{"type": "cryptnox"}]},
        {"name": "Family", "recv_descriptor": f"{RECEIVE}#", "change_descriptor": f"{CHANGE}#"},
        {"label": "Family", "descriptor": WSH},
        {"name": "Family", "desc": WSH},
        {"label": "Family", "descriptor": WSH.replace("<0;1>", "{0,1}")},
        {"name": "Family", "desc_type": "basic", "descriptor": WSH.replace("/<0;1>/*", "/**")},
    ],
    ids=["Fully Noded", "Specter", "Specter's own", "Sparrow", "Coldcard", "braces", "BIP388"],
)
def test_json_with_descriptors(content: dict[str, object], half: str) -> None:
    from hwilib_cryptnox.export import add_checksum

    filled = {key: add_checksum(value[:-1]) if str(value).endswith("#") else value for key, value in content.items()}  # type: ignore[index]
    text = half.format(json.dumps(filled))
    assert policy(text).descriptor == WANTED and read(text).name == "Family"


def test_core() -> None:
    single = [
        {"desc": f"wpkh([748cc6aa/84h/0h/0h]{KEYS['748CC6AA']}/{n}/*)", "active": True, "internal": bool(n)}
        for n in (0, 1)
    ]
    used = [
        {"desc": CHANGE, "active": True, "internal": True, "timestamp": 1, "range": [0, 999], "next": 0},
        {"desc": RECEIVE, "active": True, "internal": False, "timestamp": 1, "range": [0, 999], "next": 0},
    ]
    old = [{"desc": WSH.replace("(2,", "(1,").replace("<0;1>", n), "active": False, "internal": False} for n in "01"]
    listed = {"wallet_name": "family", "descriptors": [*single, *old, *used]}
    assert policy(json.dumps(listed)).descriptor == WANTED and read(json.dumps(listed)).name == "family"
    assert policy(json.dumps(used)).descriptor == WANTED
    assert policy(json.dumps([{"desc": WSH, "active": True, "timestamp": "now"}])).descriptor == WANTED
    with pytest.raises(UsageError, match="several wallets"):
        read(json.dumps([*used, *({**entry, "active": True} for entry in old)]))
    with pytest.raises(UsageError, match="no descriptor of a multi-key wallet"):
        read(json.dumps(single))
    for bad in ([{"label": "x"}], [1], [[]], [{"desc": 5}]):
        with pytest.raises(UsageError, match="cannot be read"):
            read(json.dumps(bad))


def test_electrum_of_coldcards_documentation() -> None:
    """The master key is the parent of m/45', so that its fingerprint is in the key."""
    found = policy(ELECTRUM_SAMPLE)
    assert found.descriptor.startswith("sh(sortedmulti(2,[") and found.network is Network.TEST
    assert all(one.origin is not None and str(one.path) == "m/45h" for one in found.keys)
    assert found.keys[0].key is not None and found.keys[0].fingerprint == found.keys[0].key.parent_fingerprint


def test_electrum_with_changes_behind_it() -> None:
    """As later versions of Electrum write: each change of the file is appended."""
    assert policy(f'{ELECTRUM_SAMPLE},\n{{"op": "add", "path": "/labels/x", "value": "y"}}').threshold == (2, 2)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"wallet_type": "standard"}, "not a multisig wallet"),
        ({"wallet_type": "2of3"}, "no extended key for its signer 3"),
        ({"wallet_type": 5}, "not a multisig wallet"),
        ({"x1/": []}, "no extended key for its signer 1"),
        ({"x1/": {"type": "old", "mpk": "00"}}, "no extended key for its signer 1"),
        ({"x1/": {"xpub": "xprv"}}, "cannot be read"),
    ],
)
def test_electrum_refused(change: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        read(json.dumps({**json.loads(ELECTRUM_SAMPLE), **change}))


def test_caravan() -> None:
    content = {
        "name": "Family",
        "addressType": "P2WSH",
        "network": "mainnet",
        "quorum": {"requiredSigners": 2, "totalSigners": 3},
        "extendedPublicKeys": [
            {"name": one, "bip32Path": "m/48'/0'/0'/2'", "xpub": xpub, "xfp": one.lower()} for one, xpub in KEYS.items()
        ],
    }
    assert policy(json.dumps(content)).descriptor == WANTED
    for bad in (
        {"quorum": 2},
        {"extendedPublicKeys": [5]},
        {"addressType": "P2TR"},
        {"quorum": {"requiredSigners": "2"}},
    ):
        with pytest.raises(UsageError, match="cannot be read"):
            read(json.dumps({**content, **bad}))


# --- text


def test_bsms() -> None:
    found = read(BSMS)
    assert found.address == WalletPolicy.parse(found.descriptor).address(0, 0)
    plain = BSMS.replace("/**", "/<0;1>/*").replace("/0/*,/1/*", "No path restrictions")
    assert policy(plain).descriptor == policy(BSMS).descriptor
    for old, new, reason in (
        ("BSMS 1.0", "BSMS 2.0", "another version"),
        ("/0/*,/1/*", "/5/*", "path restrictions"),
        ("wsh(sortedmulti(2,[1cf0bf7e", "00\n[1cf0bf7e", "one signer's"),
    ):
        with pytest.raises(UsageError, match=reason):
            read(BSMS.replace(old, new))


@pytest.mark.parametrize(
    "text",
    [
        WSH,
        f"# a wallet\n\n{WSH}\n",
        f"# Receive and change descriptor (BIP389):\n{WSH}\n\n# Receive descriptor (Bitcoin Core):\n{RECEIVE}\n\n"
        f"# Change descriptor (Bitcoin Core):\n{CHANGE}\n",
        f"{RECEIVE}\n{CHANGE}\n",
        f"// halves\r\n{RECEIVE}\r\n{CHANGE}\r\n",
    ],
)
def test_text_with_descriptors(text: str) -> None:
    assert policy(text).descriptor == WANTED


def test_a_registration_of_hwi() -> None:
    found = read("cmRlc2MB\nAAAA\n")
    assert (found.registration, found.descriptor, found.name) == ("cmRlc2MBAAAA", "", None)


# --- ours


def test_our_own_file_comes_back() -> None:
    for registration in (None, "cmRlc2MBAAAA"):
        assert read(wallet_file("Für uns", WANTED, registration)) == WalletFile(WANTED, "Für uns", registration)
    with pytest.raises(UsageError, match="later version"):
        read(wallet_file("x", WANTED).replace(": 1,", ": 2,"))
    with pytest.raises(UsageError, match="damaged"):
        read('{"hwi-cryptnox wallet": 1, "name": "x"}')


@pytest.mark.parametrize("script", [ScriptType.P2WSH, ScriptType.P2SH_P2WSH])
@pytest.mark.parametrize("network", list(Network))
def test_what_this_program_writes_comes_back(
    script: ScriptType, network: Network, main_keys: KeySet, test_keys: KeySet, other_test_keys: KeySet
) -> None:
    keys = main_keys if network is Network.MAIN else test_keys
    other = Cosigner(other_test_keys.account(script).origin, other_test_keys.account(script).key)
    cosigners = [keys.account(script), other]
    wanted = multisig_descriptor(script, 2, cosigners, network)
    assert policy(electrum_multisig_wallet(script, 2, cosigners, network)).descriptor == wanted
    assert policy(core_import_multisig(script, 2, cosigners, network)).descriptor == wanted
    assert policy(f"# x\n{wanted}\n").descriptor == wanted


def test_files_of_one_key_are_refused_with_the_reason(test_keys: KeySet) -> None:
    for text in (
        descriptor_file(test_keys, ScriptType.P2WPKH),
        core_import(test_keys),
        electrum_wallet(test_keys, ScriptType.P2WPKH),
    ):
        with pytest.raises(UsageError, match=r"no descriptor of a multi-key wallet|not a multisig wallet"):
            read(text)
    single = json.dumps({"label": "x", "descriptor": descriptor(test_keys, ScriptType.P2WPKH)})
    with pytest.raises(Exception, match="one key alone"):
        policy(single)


# --- hostile files


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xff\xfe\x00", "not text"),
        (b"QklFMQ" + b"A" * 100, "is encrypted"),
        (b"U2FsdGVkX1" + b"A" * 100, "is encrypted"),
        (b"{", "cannot be read"),
        (b"[" * 200_000, "cannot be read"),
        (b'{"a":' * 100_000, "cannot be read"),
        (b"{}", "this program does not know this wallet file"),
        (b"[]", "no descriptor"),
        (b"hello", "no descriptor"),
        (b'{"descriptor": 5}', "this program does not know this wallet file"),
        (b'{"quorum": 1}', "cannot be read"),
        (b"BSMS 1.0", "cut off"),
        (b"x" * (MAX_FILE + 1), "larger"),
        (b'{"n": ' + b"9" * 5000 + b"}", "cannot be read"),
    ],
)
def test_hostile_files(data: bytes, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as refusal:
        read_wallet_file(data)
    assert len(str(refusal.value)) < 150


def test_bent_files_give_our_error() -> None:
    """Whatever is changed in them: our error, or something that the policy judges."""
    chance = random.Random(7)
    good = [
        COLDCARD,
        ELECTRUM_SAMPLE,
        BSMS,
        WSH,
        json.dumps({"label": "x", "descriptor": RECEIVE}),
        wallet_file("x", WSH),
    ]
    good.append(json.dumps({"descriptors": [{"desc": RECEIVE}, {"desc": CHANGE}], "wallet_name": "y"}))
    read_all = 0
    for _ in range(3000):
        data = bytearray(chance.choice(good).encode())
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(4)] = bytes(
                chance.choice(b'"{}[]:,()\n #x0/\\') for _ in range(chance.randrange(3))
            )
        try:
            found = read_wallet_file(bytes(data))
            WalletPolicy.parse(found.descriptor)
            read_all += 1
        except (UsageError, Exception) as error:  # noqa: BLE001
            assert type(error).__name__ in ("UsageError", "PolicyError"), repr(error)
    assert read_all
