"""Other implementations build PSBTs for us, sign beside us and read what we write."""

from __future__ import annotations

import base64

import pytest

from hwilib_cryptnox.psbt import Psbt, collect, insert, plan
from hwilib_cryptnox.psbt.finalize import extract
from tests.psbt.factory import (
    ME,
    NUMS,
    OTHER,
    SPEND_PATH,
    compact,
    draft,
    le,
    p2wpkh,
    spend,
    string,
)
from tests.psbt.signing import make_plan, sign
from tests.support.kernel import failing_inputs
from tests.support.optional import bdk, hwilib
from tests.support.versions import EMBIT_KNOWS_SCRIPT_PATHS


def xpub(wallet: object, path: str) -> str:
    account = wallet.account("m/" + path)  # type: ignore[attr-defined]
    return f"[{wallet.fingerprint.hex()}/{path}]{account.to_string()}"  # type: ignore[attr-defined]


MULTI = "48h/0h/0h/2h"
DESCRIPTORS = {
    "wpkh": f"wpkh({xpub(ME, '84h/0h/0h')}/%d/*)",
    "sh-wpkh": f"sh(wpkh({xpub(ME, '49h/0h/0h')}/%d/*))",
    "pkh": f"pkh({xpub(ME, '44h/0h/0h')}/%d/*)",
    "wsh-multi": f"wsh(multi(1,{xpub(OTHER, MULTI)}/%d/*,{xpub(ME, MULTI)}/%d/*))",
    "wsh-sortedmulti": f"wsh(sortedmulti(1,{xpub(OTHER, MULTI)}/%d/*,{xpub(ME, MULTI)}/%d/*))",
    "sh-wsh-sortedmulti": f"sh(wsh(sortedmulti(1,{xpub(OTHER, MULTI)}/%d/*,{xpub(ME, MULTI)}/%d/*)))",
    "sh-multi": f"sh(multi(1,{xpub(OTHER, MULTI)}/%d/*,{xpub(ME, MULTI)}/%d/*))",
    "tr-leaf": f"tr({NUMS.hex()},pk({xpub(ME, '86h/0h/0h')}/%d/*))",
    "tr-leaves": f"tr({NUMS.hex()},{{pk({xpub(OTHER, MULTI)}/%d/*),"
    f"multi_a(1,{xpub(OTHER, MULTI)}/%d/*,{xpub(ME, MULTI)}/%d/*)}})",
}
ONLY_CLAIMED = {name for name in DESCRIPTORS if "multi" in name or name.startswith("tr-")}


def funded(descriptor: str, coins: int) -> object:
    """A BDK wallet with coins that it received on paper."""
    receive, change = (descriptor.replace("%d", number) for number in "01")
    kind = bdk.NetworkKind.MAIN
    wallet = bdk.Wallet(
        bdk.Descriptor(receive, kind),
        bdk.Descriptor(change, kind),
        bdk.Network.BITCOIN,
        bdk.Persister.new_in_memory(),
    )
    found = []
    for number in range(coins):
        info = wallet.reveal_next_address(bdk.KeychainKind.EXTERNAL)
        script = info.address.script_pubkey().to_bytes()
        raw = le(2) + compact(1) + bytes([number + 1]) * 32 + le(0) + b"\x00" + le(0xFFFFFFFF)
        raw += compact(1) + le(50_000 + number, 8) + string(script) + le(0)
        found.append(bdk.UnconfirmedTx(tx=bdk.Transaction(raw), last_seen=1_700_000_000))
    wallet.apply_unconfirmed_txs(found)
    return wallet


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_bdk_builds_we_sign_the_kernel_judges(name: str) -> None:
    wallet = funded(DESCRIPTORS[name], 3)
    builder = bdk.TxBuilder().add_recipient(bdk.Script(p2wpkh(OTHER.key("m/9"))), bdk.Amount.from_sat(120_000))
    text = builder.fee_rate(bdk.FeeRate.from_sat_per_vb(2)).finish(wallet).serialize()
    psbt = Psbt.parse(text)
    collected = collect(psbt, ME.fingerprint)
    made = plan(psbt, collected, ME.keys(collected.all_paths))
    assert len(made.requests) == len(psbt.inputs) == 3
    signed = insert(psbt, [(request, ME.sign(request)) for request in made.requests])
    spent = [item.output for item in collected.spends if item.output is not None]
    assert failing_inputs(extract(signed), spent) == []
    changes = [output.index for output in made.summary.outputs if output.change]
    assert len(changes) == (0 if name in ONLY_CLAIMED else 1)
    assert made.summary.fee_rate == pytest.approx(2, rel=0.15)
    # BDK reads what we wrote, and finalises it to the same effect.
    theirs = bdk.Psbt(signed.to_base64()).finalize()
    assert theirs.could_finalize, name
    assert failing_inputs(theirs.psbt.extract_tx().serialize(), spent) == []


EMBIT_KINDS = [
    pytest.param(kind, marks=EMBIT_KNOWS_SCRIPT_PATHS) if kind == "tapscript" else kind
    for kind in SPEND_PATH
    if kind != "rawtr"
]


@pytest.mark.parametrize("kind", EMBIT_KINDS)
def test_embit_signs_the_same_digest(kind: str) -> None:
    """What embit signed counts as our own valid signature: it signed the digest that we compute."""
    from embit.bip32 import HDKey
    from embit.psbt import PSBT

    bent = draft(spend(kind), spend(kind, 1))
    theirs = PSBT.parse(bent.encode())
    assert theirs.sign_with(HDKey.from_seed(bytes(range(64)))) == 2
    collected = collect(Psbt.parse(theirs.serialize()), ME.fingerprint)
    assert collected.stays_unchanged
    assert collected.done == {0, 1}


def test_hwilib_reads_what_we_wrote() -> None:
    psbt_module = hwilib("hwilib.psbt")
    bent = draft(*[spend(kind, number) for number, kind in enumerate(SPEND_PATH)])
    signed = sign(bent.encode())
    theirs = psbt_module.PSBT()
    theirs.deserialize(signed.to_base64())
    assert len(theirs.inputs) == len(SPEND_PATH)
    for kind, item in zip(SPEND_PATH, theirs.inputs, strict=True):
        if kind == "rawtr":
            assert len(item.tap_key_sig) == 64
        elif kind == "tapscript":
            assert len(item.tap_script_sigs) == 1
        else:
            assert [signature[-1] for signature in item.partial_sigs.values()] == [1]
    again = Psbt.parse(theirs.serialize())
    assert [item.pairs for item in again.inputs] == [item.pairs for item in signed.inputs]


def test_two_of_three_with_bdk_as_the_cosigner() -> None:
    """BDK holds the other key; either order of signing ends in a valid transaction."""
    from embit.bip32 import HDKey

    root = HDKey.from_seed(b"another seed, of the other party").derive("m/48'/0'/0'/2'")
    private = f"[{OTHER.fingerprint.hex()}/{MULTI}]{root.to_base58()}"
    third = xpub(OTHER, "48h/0h/1h/2h")
    text = "wsh(sortedmulti(2,{}/%d/*,{}/%d/*,{}/%d/*))"
    public = text.format(xpub(ME, MULTI), xpub(OTHER, MULTI), third)
    wallet = funded(text.format(xpub(ME, MULTI), private, third), 2)
    watcher = funded(public, 2)
    builder = bdk.TxBuilder().add_recipient(bdk.Script(p2wpkh(OTHER.key("m/9"))), bdk.Amount.from_sat(60_000))
    first = builder.finish(watcher).serialize()
    theirs = bdk.Psbt(first)
    options = bdk.SignOptions(
        trust_witness_utxo=False,
        assume_height=None,
        allow_all_sighashes=False,
        try_finalize=False,
        sign_with_tap_internal_key=True,
        allow_grinding=True,
    )
    wallet.sign(theirs, options)  # type: ignore[attr-defined]
    signed = sign(theirs.serialize())
    mine = bdk.Psbt(sign(first).to_base64())
    wallet.sign(mine, options)  # type: ignore[attr-defined]
    spent = [item.output for item in collect(Psbt.parse(first), ME.fingerprint).spends if item.output is not None]
    for psbt in (signed, Psbt.parse(mine.serialize())):
        assert failing_inputs(extract(psbt), spent) == []


def test_bip174_signer_vectors() -> None:
    """The signatures of the published signer case are valid by our digests."""
    from tests.psbt.published import load

    for case in load("bip174-370-371-psbt.json")["signer"]:
        unsigned, result = Psbt.parse(case["psbt"]), Psbt.parse(case["result"])
        fingerprints = {
            value[:4] for fields in unsigned.inputs for key, value in fields.pairs.items() if key[0] == 0x06
        }
        for fingerprint in fingerprints:
            before, after = collect(unsigned, fingerprint), collect(result, fingerprint)
            assert len(after.candidates) < len(before.candidates)
            assert after.done


def test_bip174_finalizer_and_extractor_vectors() -> None:
    from tests.psbt.published import load

    vectors = load("bip174-370-371-psbt.json")
    for case in vectors["extractor"]:
        assert extract(Psbt.parse(case["extract"])).hex() == case["result"]
    for case in vectors["finalizer"]:
        assert extract(Psbt.parse(case["finalize"])) == extract(Psbt.parse(case["result"]))


def test_electrum_like_signing_of_nested_segwit_in_hex() -> None:
    """The form that came in goes out: hex here."""
    text = draft(spend("p2sh-p2wpkh")).encode().hex()
    psbt = Psbt.parse(text)
    signed = insert(psbt, [(request, ME.sign(request)) for request in make_plan(psbt).requests])
    encoded = signed.encode()
    assert isinstance(encoded, str)
    assert bytes.fromhex(encoded) == signed.raw == base64.b64decode(signed.to_base64())
