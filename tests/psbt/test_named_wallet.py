"""A wallet that the person names (`--wallet`): all our inputs and whatever names our key come from it, at the path that
is shown, or nothing is signed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwilib_cryptnox.signer.registered.card_wallets import NamedWallet
from tests.psbt.dishonest_change import paying
from tests.psbt.dishonest_wallets import (
    BACK,
    BACK_PATH,
    COSIGNER,
    EVE,
    MULTI,
    OURS,
    US,
    places,
    shared_coin,
    shared_out,
)
from tests.psbt.factory import ME, Draft, Wallet, deriv, multisig, out_deriv, p2wpkh, p2wsh, spend
from tests.psbt.runs import Coin, Run, Truth, lies, run


def key_expression(wallet: Wallet, path: str = MULTI) -> str:
    """Origin, extended key and both chains."""
    return f"[{wallet.fingerprint.hex()}{path[1:]}]{wallet.account(path).to_string()}/<0;1>/*"


SHARED = f"wsh(sortedmulti(2,{key_expression(ME)},{key_expression(COSIGNER)}))"
SINGLE = f"wpkh({key_expression(ME, 'm/84h/0h/0h')})"


def named(draft: Draft, descriptor: str = SHARED, export: bool | None = None) -> Run:
    return run(draft, export=export, named=NamedWallet.parse(descriptor))


def assert_truth(made: Run, draft: Draft, change: dict[int, str], grave: str | None = None) -> None:
    """Refused, or shown as it is; with a grave notice where one is due."""
    if not made.made:
        assert made.refusal is not None
        return
    assert lies(made, Truth([Coin("told", item, "ours") for item in draft.ins], draft.outs, change)) == []
    assert made.summary is not None
    if grave is not None:
        assert grave in {notice.kind.name for notice in made.summary.warnings if notice.grave}


@pytest.mark.parametrize("export", [None, True, False])
def test_honest_change_needs_no_extended_keys(export: bool | None) -> None:
    draft = paying(*shared_out(BACK), shared_coin(OURS))
    made = named(draft, export=export)
    assert made.made and made.summary is not None and made.summary.change_amount == draft.outs[1].amount
    assert_truth(made, draft, {1: BACK_PATH})


def test_one_key() -> None:
    path = "m/84h/0h/0h/1/5"
    draft = paying(p2wpkh(ME.key(path)), [out_deriv(path)])
    made = named(draft, SINGLE)
    assert made.made
    assert_truth(made, draft, {1: path})


@pytest.mark.parametrize("script", ["told", "left out"])
@pytest.mark.parametrize("threshold", [1, 2])
@pytest.mark.parametrize("other", [EVE, None], ids=["replaced", "the same"])
def test_another_script_of_our_key_is_refused(other: Wallet | None, threshold: int, script: str) -> None:
    """The cosigner replaced, the threshold lowered."""
    found = [(ME, BACK_PATH), (other or COSIGNER, BACK_PATH)]
    if other is None and threshold == 2:
        found[1] = (COSIGNER, f"{MULTI}/1/8")
    output, fields = shared_out(found, threshold)
    if script == "left out":
        fields = [pair for pair in fields if pair[0] != b"\x01"]
    made = named(paying(output, fields, shared_coin(OURS)))
    assert made.refusal is not None and "it does not belong to the wallet you named" in str(made.refusal)


@pytest.mark.parametrize("first", [True, False])
def test_a_coin_of_ours_that_is_not_the_wallets_is_refused(first: bool) -> None:
    theirs = replace(shared_coin(places((ME, EVE), "0/9"), 1, amount=1_000), salt=5)
    items = [shared_coin(OURS), theirs]
    for other in (theirs, spend("p2wpkh")):
        items[1] = other
        made = named(paying(*shared_out(BACK), *(items if first else items[::-1])))
        assert made.refusal is not None and "it does not belong to the wallet you named" in str(made.refusal)


FAR = f"{MULTI}/1/2147483646"


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("script", ["told", "left out"])
def test_a_second_claim_lends_no_path(script: str, order: int) -> None:
    """The output is the wallet's at an index where nobody looks; a true key of ours at a usual path stands beside."""
    output, fields = shared_out(places(US, "1/2147483646"))
    fields.append(out_deriv(BACK_PATH))
    if script == "left out":
        fields = [pair for pair in fields if pair[0] != b"\x01"]
    draft = paying(output, fields[::order], shared_coin(OURS))
    assert_truth(named(draft), draft, {1: FAR}, grave="CHANGE_PATH")


@pytest.mark.parametrize("chain", ["1234567", "7/1"])
def test_a_key_of_another_chain_lends_no_path(chain: str) -> None:
    """The script is the wallet's at 1/7; our key beside it is true, and is not in it."""
    output, _ = shared_out(BACK)
    draft = paying(output, [out_deriv(f"{MULTI}/{chain}/7")], shared_coin(OURS))
    assert_truth(named(draft), draft, {1: BACK_PATH})


def test_keys_in_the_other_order_are_another_script() -> None:
    script = multisig(2, sorted((wallet.key(path) for wallet, path in BACK), reverse=True))
    made = named(paying(*shared_out(BACK, script=script), shared_coin(OURS)))
    assert made.refusal is not None


def test_a_coin_that_names_our_key_at_another_index_of_the_wallet() -> None:
    """The script without its witness script is not signed, whatever names it."""
    coin = shared_coin(OURS)
    coin.fields = [deriv(f"{MULTI}/0/4")]
    made = named(paying(p2wsh(b"\x51"), [], coin, spend("p2wpkh", 3)))
    assert not made.made
