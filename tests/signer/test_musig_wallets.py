"""Wallets of MuSig2 keys: Bitcoin Core's and our own arithmetic's addresses, whose the card's part is, and what of a
PSBT comes back to them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path as File

import pytest

from cryptnox_core.bip32 import TPUB, ExtendedPublicKey, Path
from hwilib_cryptnox.export.imports import read_wallet_file
from hwilib_cryptnox.networks import Chain
from hwilib_cryptnox.psbt import NoticeKind, Policy, Psbt, RefusedInput, RefusedOutput, Summary, collect, plan
from hwilib_cryptnox.signer.registered.card_wallets import CardWallet, NamedWallet
from hwilib_cryptnox.signer.wallets import PolicyError, WalletPolicy, card_paths, check_on_card
from tests.core.emulated import SEED
from tests.psbt.factory import ME, NUMS, OTHER, In, Out, Pairs, Wallet, draft, le, p2wpkh, spend
from tests.psbt.musig import KINDS, Shared, out_of, shared
from tests.signer.test_wallets import MANY, THIRD, key, keys
from tests.support.cosigner import Cosigner, multiplied, read, written
from tests.support.versions import parsed

VECTORS = os.environ.get("CRYPTNOX_VECTORS")
CASES = json.loads((File(VECTORS) / "core-musig2.json").read_text())["cases"] if VECTORS else []
WELL_KNOWN = Wallet(SEED)
ACCOUNT = "m/87h/1h/0h"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_addresses_of_bitcoin_core(case: dict) -> None:  # type: ignore[type-arg]
    """Its two halves make one wallet, in either order, whose addresses are Core's and whose text is one."""
    policy = parsed("\n".join(case["descriptors"]))
    assert [policy.address(0, index, Chain.REGTEST) for index in range(2)] == case["addresses"]
    assert policy == WalletPolicy.parse(policy.descriptor) == WalletPolicy.parse("\n".join(case["descriptors"][::-1]))
    assert policy.branches == 2 and "<0;1>/*" in policy.descriptor
    fingerprint = WELL_KNOWN.fingerprint
    paths = card_paths(policy, fingerprint)
    check_on_card(policy, {path: WELL_KNOWN.key(path) for path in paths}, fingerprint)
    for path in paths:
        with pytest.raises(PolicyError, match="is not the card's"):
            check_on_card(policy, {one: WELL_KNOWN.key(one) for one in paths if one != path}, fingerprint)
    with pytest.raises(PolicyError, match=r"this is the receive half|a single address"):
        WalletPolicy.parse(case["descriptors"][0])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_psbts_of_bitcoin_core(case: dict) -> None:  # type: ignore[type-arg]
    """The inputs are the wallet's, and its change comes back."""
    policy = parsed("\n".join(case["descriptors"]))
    psbt = Psbt.parse(case["with_core_nonces"])
    collected = collect(psbt, WELL_KNOWN.fingerprint)
    known = [CardWallet.of("Family", policy, WELL_KNOWN.fingerprint)]
    made = plan(psbt, collected, WELL_KNOWN.keys(collected.all_paths), Policy(require_registered=True), wallets=known)
    (wallet,) = made.summary.wallets
    assert (wallet.name, wallet.inputs) == ("Family", (0, 1)) and not made.warnings
    (change,) = [output for output in made.summary.outputs if output.change]
    assert change.wallet == "Family" and change.script == policy.script(1, 0)
    assert str(change.path) == "m/87h/1h/0h/1/0"
    named = NamedWallet.parse(policy.descriptor)
    again = plan(psbt, collected, WELL_KNOWN.keys(collected.all_paths), wallet=named)
    assert again.summary.change_amount == made.summary.change_amount


def cosigner_key(other: Cosigner) -> str:
    return written(multiplied(other.secret, read(Cosigner(1).key))).hex()


def descriptor(kind: str, others: list[Cosigner]) -> str:
    """Of a wallet whose keys are those of `shared`: ours derived, the others' the same in every script."""
    ours = key(ME, ACCOUNT, "/<0;1>/*", TPUB)
    both = f"musig({ours},{','.join(map(cosigner_key, others))})"
    return {
        "internal": f"tr({both})",
        "tree": f"tr({both},pk({NUMS.hex()}))",
        "leaf": f"tr({NUMS.hex()},pk({both}))",
    }[kind]


@pytest.mark.parametrize("kind", ["internal", "tree", "leaf"])
@pytest.mark.parametrize("count", [1, 2])
def test_addresses_by_other_arithmetic(kind: str, count: int) -> None:
    secrets = tuple(range(700, 700 + count))
    policy = parsed(descriptor(kind, [Cosigner(secret) for secret in secrets]))
    for branch, index in ((0, 0), (1, 5), (0, 12345)):
        made = shared(kind, secrets=secrets, path=f"{ACCOUNT}/{branch}/{index}")
        assert policy.script(branch, index) == made.script
        assert policy.matches(made.script, Path.parse(made.path), ME.fingerprint, made.own)
        assert policy.matches(made.script, Path.parse(made.path), ME.fingerprint, made.own[1:])
        place = policy.place(Path.parse(made.path), ME.fingerprint)
        assert place is not None and (place[0], place[2]) == (branch, index)
        assert not policy.matches(made.script, Path.parse(f"{ACCOUNT}/{branch}/7"), ME.fingerprint, made.own)
        assert not policy.matches(made.script, Path.parse(made.path), OTHER.fingerprint, made.own)
        assert not policy.matches(made.script, Path.parse(made.path), ME.fingerprint, OTHER.key("m/1"))


def test_what_is_said_of_them() -> None:
    """Who signs with whom, in words that a person can compare."""
    told = {
        f"tr(musig({keys(ME, OTHER)}))": ("2 of 2 must sign together (MuSig2)", ["key 1 and key 2 together (MuSig2)"]),
        f"tr(musig({keys(ME, OTHER, steps='')})/<0;1>/*)": (
            "2 of 2 must sign together (MuSig2)",
            ["key 1 and key 2 together (MuSig2)"],
        ),
        f"tr(musig({keys(ME, OTHER)}),pk({key(THIRD)}))": (
            "a script with 3 keys",
            ["key 1 and key 2 together (MuSig2)", "key 3"],
        ),
        f"tr({key(THIRD)},pk(musig({keys(ME, OTHER)})))": (
            "a script with 3 keys",
            ["key 1 alone", "key 2 and key 3 together (MuSig2)"],
        ),
        f"tr({NUMS.hex()},and_v(v:pk(musig({keys(ME, OTHER)})),older(144)))": (
            "a script with 3 keys",
            ["key 2 and key 3 together (MuSig2), 144 blocks after the coin was received"],
        ),
        # Two of three, as wallets have it: each pair has a key of its own.
        f"tr(musig({keys(ME, OTHER)}),{{pk(musig({keys(ME, THIRD)})),pk(musig({keys(OTHER, THIRD)}))}})": (
            "a script with 3 keys",
            [
                "key 1 and key 2 together (MuSig2)",
                "key 1 and key 3 together (MuSig2)",
                "key 2 and key 3 together (MuSig2)",
            ],
        ),
    }
    for text, (words, ways) in told.items():
        policy = parsed(text)
        assert policy.words == words and [str(way) for way in policy.ways] == ways
        assert WalletPolicy.parse(policy.descriptor).descriptor == policy.descriptor
        assert (policy.threshold is None) == ("script" in words)
        assert len(policy.signers) == len({str(each.origin) for each in policy.signers})


def test_the_order_of_the_keys_does_not_matter() -> None:
    """BIP390: they are sorted before they are aggregated."""
    first, other = (WalletPolicy.parse(f"tr(musig({keys(*them)}))") for them in ((ME, OTHER), (OTHER, ME)))
    assert [first.script(0, index) for index in range(20)] == [other.script(0, index) for index in range(20)]
    derived, again = (
        WalletPolicy.parse(f"tr(musig({keys(*them, steps='')})/<0;1>/*)") for them in ((ME, OTHER), (OTHER, ME))
    )
    assert derived.script(1, 9) == again.script(1, 9) != first.script(1, 9)


def test_a_wallet_file() -> None:
    """One with such a descriptor is read as any other."""
    policy = WalletPolicy.parse(f"tr(musig({keys(ME, OTHER, steps='')})/<0;1>/*)")
    found = read_wallet_file(json.dumps({"name": "Us", "descriptor": policy.descriptor}).encode())
    assert WalletPolicy.parse(found.descriptor) == policy


# What comes back


OTHERS = (Cosigner(7_000_001),)


def account_wallet() -> WalletPolicy:
    """The keys of `shared` as extended ones, derived after they are aggregated."""
    other = ExtendedPublicKey(OTHERS[0].key, bytes(32), 3, bytes(4), 1 << 31).to_string(TPUB)
    return WalletPolicy.parse(f"tr(musig({key(ME, ACCOUNT, '', TPUB)},[aabbccdd/87h/1h/0h]{other})/<0;1>/*)")


def derived(branch: int, index: int) -> Shared:
    return shared("derived", levels=(branch, index))


def summary_of(
    *outs: Out, wallets: tuple[WalletPolicy, ...] = (), inputs: tuple[In, ...] = (), **policy: object
) -> Summary:
    first = derived(0, 5)
    given = draft(first.item(1_000_000, 0, *first.first_round()), *inputs, outs=list(outs))
    psbt = Psbt.parse(given.encode())
    collected = collect(psbt, ME.fingerprint)
    known = [CardWallet.of(f"Wallet {number}", one, ME.fingerprint) for number, one in enumerate(wallets)]
    return plan(psbt, collected, ME.keys(collected.all_paths), Policy(**policy), wallets=known).summary  # type: ignore[arg-type]


PAID = Out(p2wpkh(OTHER.key("m/0")), 400_000)


def test_change_of_a_derived_key() -> None:
    """Its place below the aggregate is told by the PSBT, and the script is derived there."""
    wallet = account_wallet()
    assert wallet.script(0, 5) == derived(0, 5).script
    made = summary_of(PAID, out_of(derived(1, 6), 590_000), wallets=(wallet,), require_registered=True)
    assert made.change_amount == 590_000 and made.sent == 400_000 and not made.warnings
    assert str(made.outputs[1].path) == f"{ACCOUNT}/1/6"
    far = summary_of(PAID, out_of(derived(1, 60_000), 590_000), wallets=(wallet,))
    assert far.change_amount == 590_000
    assert [notice.kind for notice in far.warnings] == [NoticeKind.CHANGE_PATH]


def test_what_only_says_to_be_change() -> None:
    """Another place, other signers, a place that is not told, the wallet's keys in another script: payments."""
    wallet = account_wallet()
    honest = out_of(derived(1, 6), 590_000)
    elsewhere = replace(honest, script=derived(1, 7).script)
    strangers = out_of(shared("derived", secrets=(999,), levels=(1, 6)), 590_000)
    untold = replace(honest, fields=[pair for pair in honest.fields if pair[1][-8:] != le(1) + le(6)])
    leaf = out_of(shared("derived-leaf", levels=(1, 6)), 590_000)
    for out in (elsewhere, strangers, untold, leaf):
        made = summary_of(PAID, out, wallets=(wallet,))
        assert made.change_amount == 0 and made.sent == 990_000
        assert made.outputs[1].wallet is None and NoticeKind.STRANGE_SCRIPT in {one.kind for one in made.warnings}


def test_a_false_key_in_an_output_refuses() -> None:
    out = out_of(derived(1, 6), 590_000)
    bent = [(name, value.replace(le(87 | 1 << 31), le(88 | 1 << 31))) for name, value in out.fields]
    with pytest.raises(RefusedOutput, match="but this card does not own it"):
        summary_of(PAID, replace(out, fields=bent), wallets=(account_wallet(),))


def test_with_a_coin_of_one_key_beside_it_nothing_comes_back() -> None:
    """Change of a wallet is what all inputs come from it for."""
    made = summary_of(
        PAID, out_of(derived(1, 6), 590_000), wallets=(account_wallet(),), inputs=(spend("p2wpkh", 3, 20_000),)
    )
    assert made.change_amount == 0 and made.outputs[1].wallet == "Wallet 0"


def test_inputs_of_no_wallet() -> None:
    stranger = WalletPolicy.parse(f"tr(musig({keys(ME, *MANY[:2])}))")
    made = summary_of(replace(PAID, amount=990_000), wallets=(stranger,))
    assert not made.wallets and [group.words for group in made.unregistered] == ["a MuSig2 key"]
    with pytest.raises(RefusedInput, match="not by a registered wallet"):
        summary_of(PAID, wallets=(stranger,), require_registered=True)


def test_each_kind_is_known() -> None:
    """Key paths and leaves of a registered wallet, and no other kind as it."""
    for kind in ("internal", "tree", "leaf"):
        policy = parsed(descriptor(kind, list(OTHERS)))
        wallet = CardWallet.of("Us", policy, ME.fingerprint)
        for other in KINDS:
            item = shared(other)
            psbt = Psbt.parse(draft(item.item(100_000, 0, *item.first_round())).encode())
            collected = collect(psbt, ME.fingerprint)
            made = plan(psbt, collected, ME.keys(collected.all_paths), wallets=[wallet])
            assert bool(made.summary.wallets) == (kind == other), (kind, other)


def test_output_fields() -> None:
    """The builder writes what BIP373 has."""
    pairs: Pairs = out_of(derived(1, 6), 1).fields
    assert {name[0] for name, _ in pairs} == {0x05, 0x07, 0x08}
