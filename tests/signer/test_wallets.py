"""Wallets of several keys: what their descriptors say, their addresses, and what is no such wallet."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from itertools import permutations

import pytest
from embit.descriptor import Descriptor as EmbitDescriptor
from embit.descriptor.checksum import add_checksum as embit_checksum

from cryptnox_core.bip32 import HARDENED, TPUB, Path
from hwilib_cryptnox.export import policy_script
from hwilib_cryptnox.export.policy_text import MAX_DEPTH, MAX_TEXT
from hwilib_cryptnox.networks import Chain, Network
from hwilib_cryptnox.signer.wallets import (
    PolicyError,
    PolicyKind,
    WalletPolicy,
    card_paths,
    check_name,
    check_on_card,
)
from hwilib_cryptnox.storage.wallets import name_key
from tests.psbt.factory import ME, NUMS, OTHER, Wallet
from tests.signer.wallet_examples import EXAMPLES, Example
from tests.support.invisible import invisible
from tests.support.optional import bdk
from tests.support.versions import EMBIT_KNOWS_SCRIPT_PATHS, parsed

THIRD = Wallet(b"the third of a wallet with three keys")
MANY = [Wallet(b"one of many, number %d" % number) for number in range(21)]
ACCOUNT = "m/48h/0h/0h/2h"
BRANCHES = "/<0;1>/*"
INDEXES = (0, 1, 1000, HARDENED - 1)


def key(wallet: Wallet, path: str = ACCOUNT, steps: str = BRANCHES, version: bytes | None = None) -> str:
    """A key expression."""
    account = wallet.account(path)
    text = account.to_string() if version is None else account.to_string(version)
    return f"[{wallet.fingerprint.hex()}{path[1:]}]{text}{steps}"


def keys(*wallets: Wallet, **options: str) -> str:
    return ",".join(key(wallet, **options) for wallet in wallets)  # type: ignore[arg-type]


US = (ME, OTHER, THIRD)
FAMILY = f"wsh(sortedmulti(2,{keys(*US)}))"
RECOVERY = f"wsh(or_d(multi(2,{keys(ME, OTHER)}),and_v(v:pkh({key(THIRD)}),older(52560))))"
LEAVES = f"tr({NUMS.hex()},{{pk({key(ME)}),and_v(v:pk({key(OTHER)}),after(900000))}})"


def embit_script(text: str, branch: int, index: int) -> bytes:
    """`{0,1}` is how every version of embit reads branches."""
    old = re.sub(r"<(\d+);(\d+)>", r"{\1,\2}", text.split("#")[0])
    return bytes(EmbitDescriptor.from_string(old).derive(index, branch_index=branch).script_pubkey().data)


def bdk_script(text: str, network: Network, branch: int, index: int) -> bytes:
    kind = bdk.NetworkKind.MAIN if network is Network.MAIN else bdk.NetworkKind.TEST
    both = bdk.Descriptor(text, kind)
    single = both.to_single_descriptors()[branch] if both.is_multipath() else both
    chain = bdk.Network.BITCOIN if network is Network.MAIN else bdk.Network.TESTNET
    return bytes(single.derive_address(index, chain).script_pubkey().to_bytes())


# --- other programs' examples


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{n} {one.source}" for n, one in enumerate(EXAMPLES)])
def test_examples_of_other_programs(example: Example) -> None:
    """Accepted, and its addresses are BDK's and embit's; or refused with the reason."""
    if example.refused:
        with pytest.raises(PolicyError, match=example.refused):
            WalletPolicy.parse(example.text)
        return
    policy = parsed(example.text)
    assert policy.words == example.words
    for branch in range(policy.branches):
        for index in INDEXES:
            script = policy.script(branch, index)
            assert script == embit_script(policy.descriptor, branch, index)
            assert script == bdk_script(policy.descriptor, policy.network, branch, index)
    if example.address:
        assert policy.address(0, 0) == example.address


@pytest.mark.parametrize(
    "text",
    [
        f"sh(multi(2,{keys(*US)}))",
        f"sh(sortedmulti(15,{keys(*MANY[:15])}))",
        f"sh(wsh(sortedmulti(2,{keys(*US)})))",
        f"wsh(multi(1,{keys(*MANY[:20])}))",
        f"wsh(sortedmulti(17,{keys(*MANY[:20])}))",
        f"wsh(sortedmulti(20,{keys(*MANY[:20])}))",
        RECOVERY,
        f"sh(wsh(and_v(v:pk({key(ME)}),pk({key(OTHER)}))))",
        *[f"wsh({wrappers}:multi(2,{keys(*US)}))" for wrappers in ("n", "tv", "l", "u", "j", "nn")],
        f"sh(wsh(n:multi(2,{keys(*US)})))",
        f"wsh(andor(pk({key(ME)}),older(144),pk({key(OTHER)})))",
        f"wsh(thresh(3,pk({key(ME)}),s:pk({key(OTHER)}),s:pk({key(THIRD)}),sln:older(9)))",
        f"wsh(or_i(and_v(v:pkh({key(ME)}),after(500000)),pk({key(OTHER)})))",
        f"wsh(and_v(v:sha256({'ab' * 32}),multi(1,{keys(ME, OTHER)})))",
        f"wsh(or_d(pk({key(ME)}),and_v(v:multi(2,{key(ME, steps='/<2;3>/*')},{key(OTHER)}),older(9))))",
        LEAVES,
        f"tr({key(OTHER)},multi_a(2,{keys(ME, THIRD)}))",
        f"tr({key(OTHER)},sortedmulti_a(1,{keys(ME, THIRD)}))",
        f"tr({key(OTHER)},{{pk({key(ME)}),{{pkh({key(THIRD)}),and_v(v:pk({key(MANY[0])}),older(4194400))}}}})",
        f"wsh(sortedmulti(2,{keys(*US, steps='/*')}))",
        f"wsh(sortedmulti(2,{keys(*US, steps='/7/<0;1>/*')}))",
    ],
)
def test_scripts_are_embits_and_bdks(text: str) -> None:
    policy = parsed(text)
    for branch in range(policy.branches):
        for index in (0, 77):
            script = policy.script(branch, index)
            assert script == embit_script(policy.descriptor, branch, index)
            if "sortedmulti_a" not in text:  # BDK does not know it
                assert script == bdk_script(policy.descriptor, policy.network, branch, index)


# --- what a descriptor says


def test_what_it_says() -> None:
    policy = WalletPolicy.parse(FAMILY)
    assert (policy.kind, policy.network, policy.branches) == (PolicyKind.P2WSH, Network.MAIN, 2)
    assert (policy.threshold, policy.words) == ((2, 3), "2 of 3 must sign")
    assert [str(way) for way in policy.ways] == ["2 of key 1, key 2, key 3"]
    assert [one.fingerprint for one in policy.keys] == [wallet.fingerprint for wallet in US]
    assert [str(one.path) for one in policy.signers] == [ACCOUNT] * 3
    assert policy.keys_of(OTHER.fingerprint) == (policy.keys[1],)
    assert policy.keys[0].key == ME.account(ACCOUNT) and policy.keys[0].branches == ((0,), (1,))
    assert policy.keys_at(1, 7) == tuple(wallet.key(f"{ACCOUNT}/1/7") for wallet in US)
    assert policy.address(0, 0, Chain.REGTEST).startswith("bcrt1q") and policy.address(1, 0).startswith("bc1q")
    nested = WalletPolicy.parse(f"sh(wsh(multi(1,{keys(*US)})))")
    assert nested.kind is PolicyKind.P2SH_P2WSH and nested.address(0, 0).startswith("3")
    assert WalletPolicy.parse(f"sh(multi(1,{keys(*US)}))").kind is PolicyKind.P2SH
    test = WalletPolicy.parse(f"wsh(multi(1,{','.join(key(wallet, version=TPUB) for wallet in US)}))")
    assert test.network is Network.TEST and test.address(0, 0).startswith("tb1q")


def test_leaves_of_taproot() -> None:
    policy = parsed(LEAVES)
    assert policy.kind is PolicyKind.P2TR and policy.address(0, 0).startswith("bc1p")
    assert policy.words == "a script with 3 keys" and policy.threshold is None


WAYS = {
    RECOVERY: ["2 of key 1, key 2", "key 3, 52,560 blocks after the coin was received (about 365 days)"],
    LEAVES: ["key 2", "key 3, from block 900,000 on"],
    f"tr({key(OTHER)},pk({key(ME)}))": ["key 1 alone", "key 2"],
    f"wsh(andor(pk({key(ME)}),after(1700000000),pk({key(OTHER)})))": [
        "key 1, from the time 1700000000 (Unix) on",
        "key 2",
    ],
    f"wsh(and_v(v:sha256({'ab' * 32}),multi(1,{keys(ME, OTHER)})))": [
        f"1 of key 1, key 2, with the secret of the sha256 hash {'ab' * 32}"
    ],
    f"wsh(thresh(2,pk({key(ME)}),s:pk({key(OTHER)}),sln:older(4194400)))": [
        "key 1 and key 2",
        "key 1, 49,152 seconds after the coin was received",
        "key 2, 49,152 seconds after the coin was received",
    ],
    f"wsh(thresh(2,pk({key(ME)}),s:pk({key(OTHER)}),s:pk({key(THIRD)})))": ["2 of key 1, key 2, key 3"],
    f"wsh(or_d(pk({key(ME)}),and_v(v:pk({key(OTHER)}),older(65536))))": ["key 1", "key 2, at once"],
}


@pytest.mark.parametrize("text", WAYS)
def test_ways_to_spend(text: str) -> None:
    """BIP68 looks at 16 bits only: older(65536) waits for nothing."""
    assert [str(way) for way in parsed(text).ways] == WAYS[text]


def test_too_many_ways_are_not_told() -> None:
    pairs = [f"or_i(pk({key(a)}),pk({key(b)}))" for a, b in zip(MANY[0:10:2], MANY[1:10:2], strict=True)]
    few = WalletPolicy.parse(f"wsh(and_v(v:{pairs[0]},and_v(v:{pairs[1]},{pairs[2]})))")
    assert len(few.ways) == 8 and str(few.ways[1]) == "key 1 and key 3 and key 6"
    many = WalletPolicy.parse(
        f"wsh(and_v(v:{pairs[0]},and_v(v:{pairs[1]},and_v(v:{pairs[2]},and_v(v:{pairs[3]},{pairs[4]})))))"
    )
    assert many.ways == () and many.words == "a script with 10 keys"


def test_equal_wallets_have_equal_text() -> None:
    policy = WalletPolicy.parse(FAMILY)
    assert policy.descriptor == embit_checksum(FAMILY)
    halves = [FAMILY.replace("<0;1>", branch) for branch in "01"]
    slip132 = FAMILY
    for wallet in US:
        account = wallet.account(ACCOUNT)
        slip132 = slip132.replace(account.to_string(), account.to_string(bytes.fromhex("02aa7ed3")))
    for text in (
        policy.descriptor,
        FAMILY.replace("<0;1>", "{0,1}"),
        FAMILY.replace("/<0;1>/*", "/**"),
        FAMILY.replace("48h/0h/0h/2h", "48'/0H/0'/2h"),
        FAMILY.replace(ME.fingerprint.hex(), ME.fingerprint.hex().upper()),
        " ".join(halves),
        "\n".join(embit_checksum(half) for half in halves),
        " ".join(halves[::-1]),
        slip132,
        f"  {FAMILY}\n",
    ):
        assert WalletPolicy.parse(text).descriptor == policy.descriptor


# --- what is refused


NOT_OURS = "[00112233/48h/0h/0h/2h]"
WIF = "L5TXU4SdD9e6QGgBjxeegJKxt4FgATLG1TCnFM8JLyEkFuyHEqNM"
"""From BIP129."""
XPRV = "xprv9s21ZrQH143K31xYSDQpPDxsXRTUcvj2iNHm5NUtrGiGG5e2DtALGdso3pGz6ssrdK4PFmM8NSpSBHNqPqm55Qn3LqFtT2emdEXVYsCzC2U"
"""From BIP32."""
ONE = ME.account(ACCOUNT).to_string()

REFUSED: dict[str, tuple[str, str]] = {
    "nothing": ("", "no descriptor"),
    "blanks": (" \n ", "no descriptor"),
    "three descriptors": (f"{FAMILY} {FAMILY} {FAMILY}", "give one descriptor, or two"),
    "words": ("abandon abandon", "not an output descriptor"),
    "a wrong checksum": (f"{FAMILY}#qqqqqqqq", "checksum is wrong"),
    "another character": (FAMILY.replace("sorted", "sörted"), "characters that no descriptor has"),
    "cut off": (FAMILY[:-1], "cut off"),
    "goes on": (f"{FAMILY})", "continues after its end"),
    "goes on after its end": (f"{FAMILY},pk({key(ME)})", "continues after its end"),
    "two opening brackets": (FAMILY.replace("wsh(", "wsh(("), "not an output descriptor"),
    "no name": (f"({FAMILY})", "not an output descriptor"),
    "a comma too many": (FAMILY.replace("(2,", "(2,,"), "comma"),
    "braces": (FAMILY.replace("wsh(", "wsh({").replace("))", ")})"), "lacks what it needs"),
    "mixed brackets": (f"{FAMILY[:-1]}}}", "brackets do not match"),
    "one key": (f"wpkh({key(ME)})", "one key alone"),
    "one key, nested": (f"sh(wpkh({key(ME)}))", "one key alone"),
    "one key in a script": (f"wsh(pk({key(ME)}))", "one key alone"),
    "one key of one": (f"wsh(multi(1,{key(ME)}))", "one key alone"),
    "a taproot key": (f"tr({key(ME)})", "tweaked"),
    "a raw taproot key": (f"rawtr({key(ME)})", "one key alone"),
    "bare": (f"multi(1,{keys(*US)})", "begins with"),
    "miniscript in P2SH": (f"sh(and_v(v:pk({key(ME)}),pk({key(OTHER)})))", "sh.. alone holds a multisig only"),
    "wsh in wsh": (f"wsh(wsh(multi(1,{keys(*US)})))", "cannot be inside a script"),
    "wpkh in wsh": (f"wsh(and_v(v:wpkh({key(ME)}),pk({key(OTHER)})))", "cannot be inside a script"),
    "not ranged": (FAMILY.replace("/<0;1>/*", ""), "no wildcard"),
    "one key not ranged": (FAMILY.replace("/<0;1>/*", "/0", 1), "no wildcard"),
    "a hardened wildcard": (FAMILY.replace("/*", "/*h"), "wildcard is hardened"),
    "a hardened level": (FAMILY.replace("<0;1>", "1h/<0;1>"), "is hardened"),
    "hardened branches": (FAMILY.replace("<0;1>", "<0h;1h>"), "is hardened"),
    "a level too high": (FAMILY.replace("<0;1>", "<0;2147483648>"), "above 2,147,483,647"),
    "three branches": (FAMILY.replace("<0;1>", "<0;1;2>"), "two different ones"),
    "one branch twice": (FAMILY.replace("<0;1>", "<1;1>"), "two different ones"),
    "branches at two levels": (FAMILY.replace("<0;1>", "<0;1>/<2;3>"), "at two levels"),
    "branches in one key only": (FAMILY.replace("<0;1>", "0", 1), "all need the same number"),
    "the wildcard in the middle": (FAMILY.replace("<0;1>/*", "*/<0;1>"), "no wildcard"),
    "two wildcards": (FAMILY.replace("<0;1>/*", "*/*"), "cannot be read"),
    "receive alone": (FAMILY.replace("<0;1>", "0"), "receive half"),
    "change alone": (FAMILY.replace("<0;1>", "1"), "change half"),
    "halves of two wallets": (
        f"{FAMILY.replace('<0;1>', '0')} wsh(sortedmulti(2,{keys(ME, OTHER, MANY[0], steps='/1/*')}))",
        "different wallets",
    ),
    "halves of two thresholds": (
        f"{FAMILY.replace('<0;1>', '0')} {FAMILY.replace('<0;1>', '1').replace('(2,', '(1,')}",
        "different wallets",
    ),
    "one half twice": (f"{FAMILY.replace('<0;1>', '0')} {FAMILY.replace('<0;1>', '0')}", "the same addresses"),
    "one whole and one half": (f"{FAMILY} {FAMILY.replace('<0;1>', '1')}", "must have one branch"),
    "a private key": (f"wsh(multi(1,{key(OTHER)},{XPRV}/<0;1>/*))", "holds a private key"),
    "a WIF key": (f"wsh(multi(1,{key(OTHER)},{WIF}))", "holds a private key"),
    "a private key with a typing error": (f"wsh(multi(1,{key(OTHER)},{XPRV[:-1]}/<0;1>/*))", "holds a private key"),
    "a typing error": (FAMILY.replace(ONE, ONE[:-1] + "x"), "typing error"),
    "networks mixed": (f"wsh(multi(1,{key(ME)},{key(OTHER, version=TPUB)}))", "are mixed"),
    "an uncompressed key": (f"wsh(multi(1,{key(ME)},04{'11' * 64}))", "cannot be read|typing error"),
    "no point": (f"wsh(multi(1,{key(ME)},02{'ff' * 32}))", "not a point on the curve"),
    "a fixed key with levels": (f"wsh(multi(1,{key(ME)},{OTHER.key('m/0').hex()}/0/*))", "has levels after it"),
    "a broken origin": (FAMILY.replace("48h/0h", "48h/x"), "origin of a key"),
    "one key twice": (f"wsh(sortedmulti(2,{keys(ME, ME)}))", "twice|one key alone"),
    "one key twice among others": (f"wsh(sortedmulti(2,{keys(ME, OTHER, ME)}))", "twice"),
    "one key twice, by other branches": (
        f"wsh(sortedmulti(2,{keys(ME, OTHER)},{key(ME, steps='/<2;3>/*')}))",
        "twice",
    ),
    "one key under two origins": (
        f"wsh(sortedmulti(2,{keys(ME, OTHER)},{NOT_OURS}{ONE}/<2;3>/*))",
        "different origins",
    ),
    "one point, another chain code": (
        f"wsh(sortedmulti(2,{keys(ME, OTHER)},{NOT_OURS}"
        f"{type(ME.account(ACCOUNT))(ME.key(ACCOUNT), bytes(32), 4, bytes(4), 5).to_string()}/<0;1>/*))",
        "different origins|twice",
    ),
    "the negated point": (
        f"wsh(multi(1,{keys(ME, OTHER)},{bytes((5 - ME.key(ACCOUNT)[0],)).hex()}{ME.key(ACCOUNT)[1:].hex()}))",
        "twice",
    ),
    "a child beside its parent": (
        f"wsh(sortedmulti(2,{keys(ME, OTHER)},{key(ME, ACCOUNT + '/0', '/*')}))".replace("<0;1>", "0"),
        "twice",
    ),
    "two keys of one origin": (
        f"wsh(sortedmulti(2,{keys(ME, OTHER)},[{ME.fingerprint.hex()}{ACCOUNT[1:]}]"
        f"{THIRD.account(ACCOUNT).to_string()}/<0;1>/*))",
        "to a stranger",
    ),
    "no threshold": (f"wsh(multi(0,{keys(*US)}))", "threshold does not fit"),
    "too high a threshold": (f"wsh(multi(4,{keys(*US)}))", "threshold does not fit"),
    "a threshold with a zero": (f"wsh(multi(02,{keys(*US)}))", "needs a number"),
    "a threshold without end": (f"wsh(multi({'9' * 40},{keys(*US)}))", "needs a number"),
    **{
        f"{outer} around {inner}": (
            f"{outer}({inner}({body}){')' * outer.count('(')})",
            "cannot be inside a script|begins with",
        )
        for outer, inner, body in (
            ("sh(wsh", "wsh", f"multi(2,{keys(*US)})"),
            ("sh(wsh", "sh", f"multi(2,{keys(*US)})"),
            ("wsh", "wsh", f"sortedmulti(2,{keys(*US)})"),
            ("wsh", "sh", f"multi(2,{keys(*US)})"),
            ("sh(wsh", "wsh", f"and_v(v:pk({key(ME)}),pk({key(OTHER)}))"),
        )
    },
    "scripts in place of keys": (
        f"wsh(multi(2,pk({key(ME)}),s:pk({key(OTHER)}),sln:older(9)))",
        "lacks what it needs",
    ),
    "a script beside keys": (
        f"wsh(sortedmulti(2,{keys(ME, OTHER)},and_v(v:pk({key(THIRD)}),older(9))))",
        "lacks what",
    ),
    "a script in place of the threshold": (f"wsh(multi(pk({key(ME)}),{keys(OTHER, THIRD)}))", "lacks what it needs"),
    "a script in place of thresh's": (
        f"wsh(thresh(pk({key(ME)}),pk({key(OTHER)}),s:pk({key(THIRD)})))",
        "lacks what",
    ),
    "21 keys": (f"wsh(multi(1,{keys(*MANY)}))", "at most 20 keys"),
    "16 keys in P2SH": (f"sh(multi(1,{keys(*MANY[:16])}))", "more than 15 keys"),
    "multi_a outside of taproot": (f"wsh(multi_a(1,{keys(*US)}))", "does not belong here"),
    "multi in taproot": (f"tr({key(ME)},multi(1,{keys(OTHER, THIRD)}))", "does not belong here"),
    "sortedmulti in a script": (
        f"wsh(or_d(pk({key(ME)}),sortedmulti(1,{keys(OTHER, THIRD)})))",
        "does not belong inside a larger script",
    ),
    "musig outside taproot": (f"wsh(pk(musig({keys(*US)})))", r"musig\(\) only works inside tr\(\)"),
    "musig as multisig": (f"wsh(multi(2,musig({keys(*US)}),{key(MANY[0])}))", r"musig\(\) only works inside tr\(\)"),
    "musig alone": (f"musig({keys(*US)})", r"musig\(\) only works inside tr\(\)"),
    "musig as output key": (f"rawtr(musig({keys(*US)}))", r"musig\(\) only works inside tr\(\)"),
    "musig of one": (f"tr(musig({key(ME)}),pk({key(OTHER)}))", "two keys or more"),
    "musig with one key twice": (f"tr(musig({keys(ME, OTHER, ME)}))", "musig.. has the same key twice"),
    "musig of too many": (f"tr(musig({keys(*MANY, *[Wallet(bytes([n])) for n in range(12)])}))", "32 keys"),
    "musig in musig": (f"tr(musig({key(ME)},musig({keys(OTHER, THIRD)})))", "two keys or more|lacks what it needs"),
    "musig without wildcard": (f"tr(musig({keys(ME, OTHER, steps='')}))", "no key of the wallet has a wildcard"),
    "musig derived twice": (f"tr(musig({keys(ME, OTHER)})/<0;1>/*)", "takes extended keys .xpub. without levels"),
    "musig with a fixed key derived": (f"tr(musig({key(ME, steps='')},{NUMS.hex()})/<0;1>/*)", "without levels"),
    "musig without number": (f"tr(musig({keys(ME, OTHER, steps='')})/<0;1>)", "no wildcard"),
    "musig hardened": (f"tr(musig({keys(ME, OTHER, steps='')})/0h/*)", "is hardened"),
    "musig with wrappers": (f"tr({NUMS.hex()},pk(v:musig({keys(*US)})))", "not an output descriptor"),
    "musig as a hash": (f"wsh(sha256(musig({keys(*US)})))", "sha256.. lacks what it needs"),
    "musig as a script": (f"tr({NUMS.hex()},musig({keys(*US)}))", "tr.. lacks what it needs"),
    "musig in a combination": (f"tr({NUMS.hex()},and_v(musig({keys(*US)}),pk({key(ME)})))", "and_v.. lacks what"),
    "musig twice": (f"tr(musig({keys(ME, OTHER)}),pk(musig({keys(OTHER, ME)})))", "has the same key twice"),
    "not sound": (f"wsh(and_v(pk({key(ME)}),pk({key(OTHER)})))", "not sound miniscript"),
    "not sound either": (f"wsh(or_d(v:pk({key(ME)}),pk({key(OTHER)})))", "not sound miniscript"),
    "anybody spends": (
        f"wsh(or_i(and_v(v:pk({key(ME)}),pk({key(OTHER)})),older(9)))",
        "needs no key",
    ),
    "too long": (FAMILY + " " * MAX_TEXT, "longer than"),
    "too deep": ("wsh(" * (MAX_DEPTH + 1), "brackets"),
    "very deep": ("wsh(" + "and_v(v:" * 1500, "brackets"),
    "deep leaves": (f"tr({key(ME)}," + "{" * 3000, "brackets"),
    "many verifications": (
        f"wsh({'and_v(v:' * 12}pk({key(ME)}){''.join(f',pk({key(MANY[n])}))' for n in range(12))})",
        "too many functions",
    ),
    "many wrappers in one another": (
        f"wsh({'nnnnnnnnn:or_i(' * 15}pk({key(ME)}){''.join(f',pk({key(MANY[n])}))' for n in range(15))})",
        "too many functions",
    ),
    "many wrappers": (f"wsh({'n' * 200}:pk({key(ME)}))", "not an output descriptor"),
    "an older of another form": (f"wsh(and_v(v:pk({key(ME)}),older(-1)))", "needs a number"),
    "a hash that is none": (f"wsh(and_v(v:sha256(abcd),multi(1,{keys(ME, OTHER)})))", "hash of 64"),
    "only fixed keys": (f"wsh(multi(1,{ME.key('m/0').hex()},{OTHER.key('m/0').hex()}))", "none of the keys"),
}


_OF_EMBIT = ("musig twice",)
"""What embit finds: versions that know no leaves refuse it for those."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=EMBIT_KNOWS_SCRIPT_PATHS if name in _OF_EMBIT else ()) for name in REFUSED]
)
def test_refused(name: str) -> None:
    text, reason = REFUSED[name]
    with pytest.raises(PolicyError, match=reason) as refusal:
        WalletPolicy.parse(text)
    told = str(refusal.value)
    assert len(told) < 200
    for secret in (XPRV, WIF, XPRV[:-1], ONE, "abandon"):
        assert secret[:12] not in told


def test_what_embit_does_not_know_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lowest version that is admitted, 0.6.1, knows neither leaves nor multi_a()."""
    known = policy_script._known_to_embit() - {"multi_a", "sortedmulti_a"}
    monkeypatch.setattr(policy_script, "_known_to_embit", lambda: known)
    monkeypatch.setattr(policy_script, "_embit_has_trees", lambda: False)
    monkeypatch.setattr(policy_script, "_embit_version", lambda: "0.6.1")
    with pytest.raises(
        PolicyError, match="embit 0\\.6\\.1 does not know tr\\(\\) with script leaves, multi_a\\(\\); version 0\\.8"
    ):
        WalletPolicy.parse(f"tr({key(OTHER)},multi_a(2,{keys(ME, THIRD)}))")
    for text in (FAMILY, RECOVERY):
        assert WalletPolicy.parse(text)


def test_hostile_text_gives_our_error() -> None:
    """Pieces put together at random, and true descriptors with a piece changed."""
    chance = random.Random(16)
    pieces = [
        *"(){},;<>/*#'h0129:@[]",
        "wsh(",
        "tr(",
        "multi(",
        "thresh(2,",
        "v:",
        key(ME),
        key(OTHER),
        "older(",
        "and_v(",
        "\x00",
        "é",
    ]
    accepted = 0
    for _ in range(1500):
        if chance.random() < 0.5:
            text = "".join(chance.choice(pieces) for _ in range(chance.randrange(1, 30)))
        else:
            text = chance.choice((FAMILY, RECOVERY, LEAVES))
            at = chance.randrange(len(text))
            text = text[:at] + chance.choice(pieces) + text[at + chance.randrange(3) :]
        try:
            policy = WalletPolicy.parse(text)
        except PolicyError:
            continue
        accepted += 1
        assert WalletPolicy.parse(policy.descriptor) == policy
    assert accepted < 150


def test_long_text_takes_no_time() -> None:
    started = time.monotonic()
    for text in (
        f"wsh({'or_i(' * 40}pk({key(ME)}){',pk(' + key(OTHER) + '))' * 40})",
        f"wsh(thresh(30,{','.join(['s:pk(' + OTHER.key(f'm/{n}').hex() + ')' for n in range(60)])}))",
        "(" * MAX_TEXT,
        "," * MAX_TEXT,
        "a" * MAX_TEXT,
    ):
        with pytest.raises(PolicyError):
            WalletPolicy.parse(text)
    assert time.monotonic() - started < 5


# --- places


def place_in(policy: WalletPolicy, path: Path, fingerprint: bytes) -> tuple[int, int] | None:
    """Branch and index of a place in a wallet."""
    found = policy.place(path, fingerprint)
    return None if found is None else (found[0], found[2])


def test_place() -> None:
    policy = WalletPolicy.parse(FAMILY)
    me = ME.fingerprint
    assert place_in(policy, Path.parse(f"{ACCOUNT}/0/5"), me) == (0, 5)
    assert place_in(policy, Path.parse(f"{ACCOUNT}/1/2147483647"), me) == (1, HARDENED - 1)
    for path in (
        f"{ACCOUNT}/2/5",
        f"{ACCOUNT}/0h/5",
        f"{ACCOUNT}/1/5h",
        f"{ACCOUNT}/5",
        f"{ACCOUNT}/0/0/5",
        "m/48h/0h/1h/2h/0/5",
        "m/0/5",
        "m",
    ):
        assert place_in(policy, Path.parse(path), me) is None
    assert place_in(policy, Path.parse(f"{ACCOUNT}/0/5"), MANY[0].fingerprint) is None
    twice = WalletPolicy.parse(
        f"wsh(or_d(pk({key(ME)}),and_v(v:multi(2,{key(ME, steps='/<2;3>/*')},{key(OTHER)}),older(9))))"
    )
    assert (
        place_in(twice, Path.parse(f"{ACCOUNT}/3/4"), me) == place_in(twice, Path.parse(f"{ACCOUNT}/1/4"), me) == (1, 4)
    )
    assert len(twice.keys) == 3 and len(twice.signers) == 2 and twice.words == "a script with 2 keys"


def test_matches() -> None:
    policy = WalletPolicy.parse(FAMILY)
    place, script = Path.parse(f"{ACCOUNT}/1/4"), policy.script(1, 4)

    def matches(script: bytes = script, path: Path = place, key: bytes | None = None) -> bool:
        return policy.matches(script, path, ME.fingerprint, key or ME.key(path))

    assert matches() and matches(key=ME.key(place)[1:])
    assert not matches(script=policy.script(1, 5))
    assert not matches(script=policy.script(0, 4))
    assert not matches(path=Path.parse(f"{ACCOUNT}/0/4"))
    assert not matches(path=Path.parse(f"{ACCOUNT}/2/4"))
    assert not matches(key=OTHER.key(place))
    assert not policy.matches(script, place, THIRD.fingerprint, ME.key(place))
    for other in (
        f"wsh(sortedmulti(1,{keys(*US)}))",
        f"wsh(sortedmulti(2,{keys(ME, OTHER, MANY[0])}))",
        f"wsh(sortedmulti(2,{keys(ME, OTHER)}))",
        f"sh(wsh(sortedmulti(2,{keys(*US)})))",
        f"wsh(sortedmulti(2,{keys(*US, path='m/48h/0h/1h/2h')}))",
    ):
        assert not WalletPolicy.parse(other).matches(script, place, ME.fingerprint, ME.key(place))


def test_the_order_of_the_keys_counts() -> None:
    place, orders = Path.parse(f"{ACCOUNT}/1/4"), list(permutations(US))
    policies = [WalletPolicy.parse(f"wsh(multi(2,{keys(*order)}))") for order in orders]
    for policy in policies:
        script = policy.script(1, 4)
        assert [one for one in policies if one.matches(script, place, ME.fingerprint, ME.key(place))] == [policy]
    same = WalletPolicy.parse(FAMILY).script(1, 4)
    assert all(WalletPolicy.parse(f"wsh(sortedmulti(2,{keys(*order)}))").script(1, 4) == same for order in orders)


def test_places_that_are_none() -> None:
    policy = WalletPolicy.parse(FAMILY)
    for branch, index in ((2, 0), (-1, 0), (0, -1), (0, HARDENED)):
        with pytest.raises(PolicyError, match="does not have this address"):
            policy.script(branch, index)


def test_a_hundred_inputs_and_twenty_wallets() -> None:
    """All with our key at the same origin, the true one last."""
    wallets = [WalletPolicy.parse(f"wsh(sortedmulti(2,{keys(ME, one, THIRD)}))") for one in MANY[:20]]
    scripts = [(Path.parse(f"{ACCOUNT}/0/{index}"), wallets[-1].script(0, index)) for index in range(100)]
    public = [ME.key(path) for path, _ in scripts]
    started = time.process_time()
    for (path, script), ours in zip(scripts, public, strict=True):
        found = [wallet for wallet in wallets if wallet.matches(script, path, ME.fingerprint, ours)]
        assert found == [wallets[-1]]
    assert time.process_time() - started < 1


# --- the card


def on_card(wallet: Wallet) -> Callable[[WalletPolicy], None]:
    def check(policy: WalletPolicy) -> None:
        paths = card_paths(policy, wallet.fingerprint)
        check_on_card(policy, wallet.keys(paths), wallet.fingerprint)

    return check


def test_the_card_is_in_it() -> None:
    for wallet in US:
        on_card(wallet)(WalletPolicy.parse(FAMILY))
    on_card(ME)(WalletPolicy.parse(f"wsh(multi(2,{key(ME)},{key(ME, 'm/48h/0h/1h/2h')},{key(OTHER)}))"))
    on_card(ME)(WalletPolicy.parse(f"wsh(multi(1,{key(ME, 'm/45h')},{key(OTHER)}))"))


def test_the_card_is_not_in_it() -> None:
    policy = WalletPolicy.parse(FAMILY)
    fingerprints = ", ".join(wallet.fingerprint.hex() for wallet in US)
    with pytest.raises(
        PolicyError, match=f"no key of the wallet .*{MANY[0].fingerprint.hex()}.*keys are from {fingerprints}"
    ):
        on_card(MANY[0])(policy)


def bent(**changes: object) -> str:
    """Our account's key with something of it changed, under our origin."""
    account = ME.account(ACCOUNT)
    values = {
        name: getattr(account, name)
        for name in ("public_key", "chain_code", "depth", "parent_fingerprint", "child_number")
    }
    other = type(account)(**{**values, **changes})  # type: ignore[arg-type]
    return f"[{ME.fingerprint.hex()}{ACCOUNT[1:]}]{other.to_string()}/<0;1>/*"


@pytest.mark.parametrize(
    "ours",
    [
        bent(public_key=THIRD.key(ACCOUNT)),
        bent(chain_code=bytes(32)),
        f"[{ME.fingerprint.hex()}{ACCOUNT[1:]}]{ME.account('m/48h/0h/1h/2h').to_string()}/<0;1>/*",
        f"[{ME.fingerprint.hex()}/48h/0h/1h/2h]{ONE}/<0;1>/*",
    ],
    ids=["another's", "another chain code", "another account", "another origin"],
)
def test_a_key_that_is_not_the_cards(ours: str) -> None:
    with pytest.raises(PolicyError, match="is not the card's"):
        on_card(ME)(WalletPolicy.parse(f"wsh(sortedmulti(2,{ours},{key(OTHER)}))"))


def test_keys_that_no_card_can_be_asked_for() -> None:
    fixed = f"[{ME.fingerprint.hex()}/0h]{ME.key('m/0h').hex()}"
    with pytest.raises(PolicyError, match="a single key"):
        on_card(ME)(WalletPolicy.parse(f"wsh(multi(1,{fixed},{key(OTHER)},{key(THIRD)}))"))
    deep = key(ME, "m/48h/0h/0h/2h/0/0/0")
    with pytest.raises(PolicyError, match="below the 8 levels"):
        on_card(ME)(WalletPolicy.parse(f"wsh(multi(1,{deep},{key(OTHER)}))"))


# --- names


@pytest.mark.parametrize("name", ["Family", "a", "x" * 64, "Für uns 2", "家族", "Семья", "2 of 3 (old)", "a-b_c.d"])
def test_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "x" * 65,
        " Family",
        "Family ",
        "Fam  ily",
        "Fam\tily",
        "Fam\nily",
        "Fam\x00ily",
        "Fam\x1b[2Jily",
        "Fam\u202eily",
        "Fam\u200bily",
        "Fam\u2066ily",
        "Fam\u00adily",
        "Fam\u00a0ily",
        "Fam\u3000ily",
        "Fam\u2028ily",
        "Fam\ufeffily",
        "Fam\u3164ily",
        *[
            f"Family{char}" for char in "\ufe00\ufe0f\u034f\u17b4\u180b\u180f\U000e0100\U000e01ef"
        ],  # as "Family" to the eye
        "Fam\ud800ily",
        "\u0301Family",
        "F\u0430mily",  # a Cyrillic letter
        "Fami\u03bfy",  # a Greek one
        "\ue000",
    ],
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(PolicyError, match="name") as refusal:
        check_name(name)
    assert str(refusal.value).isprintable()


def test_nothing_invisible_is_in_a_name() -> None:
    """ "Family" and one behind which stands what nobody sees would be two wallets."""
    for char in invisible():
        with pytest.raises(PolicyError, match="visible characters"):
            check_name(f"Family{char}")
        with pytest.raises(PolicyError, match="visible characters"):
            check_name(f"Fam{char}ily")


def test_names_that_are_the_same() -> None:
    assert check_name("Fu\u0308r") == "F\u00fcr"
    for one, other in (
        ("Family", "FAMILY"),
        ("stra\u00dfe", "STRASSE"),
        ("F\u00fcr", "fu\u0308r"),
        ("\uff26amily", "family"),
    ):
        assert name_key(one) == name_key(other)
    assert name_key("Family") != name_key("Family 2")
