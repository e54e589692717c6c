"""The whole catalogue on an emulated card, as the programs sign: what is refused costs no signature, and what is signed
was shown as the engine alone shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hwilib_cryptnox.errors import WalletError
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.psbt import Chain, NoticeKind, Psbt, PsbtError, Summary
from hwilib_cryptnox.signer.cards import Access
from hwilib_cryptnox.signer.signing import Signing
from hwilib_cryptnox.signer.wallet import Wallet
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State
from tests.psbt.dishonest import CATALOGUE, OUTCOMES, SKIPS
from tests.psbt.factory import OTHER, Draft, Out, p2wpkh
from tests.psbt.runs import Truth, coin, run, without_derivations
from tests.support.emulator import PIN, EmulatorProcess

SEED = bytes(range(64)).hex()


@contextmanager
def card_in_use(export: bool) -> Iterator[EmulatorProcess]:
    """A card with our seed."""
    with EmulatorProcess("--seed", SEED, *(["--xpub-export"] if export else [])) as card:
        yield card


@contextmanager
def wallet_of(card: EmulatorProcess, policy: Mapping[str, object]) -> Iterator[Wallet]:
    """The wallet side that has a card open, with the settings of a policy."""
    chosen = {name: "off" if value is None else value for name, value in policy.items() if name != "chain"}
    settings, state = replace(Settings.load(), **chosen), State()  # type: ignore[arg-type]
    wallet = Wallet(card.path, Access(settings, state), Unlocker(settings, state, PIN))
    try:
        yield wallet
    finally:
        wallet.close()


def on_card(
    card: EmulatorProcess, wallet: Wallet, psbt: Psbt, chain: Chain | None
) -> tuple[Signing, Exception | None, int]:
    """One signing, what refused it, and how many signatures the card made."""
    before = card.stats()["signatures"]
    signing = Signing(wallet, psbt, chain=chain)
    refused: Exception | None = None
    try:
        signing.run()
    except (PsbtError, WalletError) as error:
        refused = error
    return signing, refused, card.stats()["signatures"] - before


def without_history(summary: Summary) -> Summary:
    """What is said without knowing what was signed before: the cases spend the same coins."""
    kept = [notice for notice in summary.warnings if notice.kind is not NoticeKind.SIGNED_BEFORE]
    return replace(summary, warnings=tuple(kept))


@pytest.fixture(autouse=True)
def _no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.mark.parametrize("export", [True, False], ids=["export", "no-export"])
def test_what_is_refused_costs_no_signature(export: bool) -> None:
    with card_in_use(export) as card, wallet_of(card, {}) as wallet:
        for name, make in CATALOGUE.items():
            try:
                psbt = Psbt.parse(make())
            except PsbtError:
                continue
            _, refused, made = on_card(card, wallet, psbt, None)
            assert refused is not None or name in SKIPS, name
            assert made == 0, name


@pytest.mark.parametrize("export", [True, False], ids=["export", "no-export"])
def test_what_is_signed_is_shown_as_it_is(export: bool) -> None:
    groups: dict[str, list[str]] = {}
    for name, case in OUTCOMES.items():
        if export or not case.accounts:  # without export the accounts' fingerprints are not known
            groups.setdefault(str(sorted(case.policy.items(), key=str)), []).append(name)
    with card_in_use(export) as card:
        for names in groups.values():
            policy = OUTCOMES[names[0]].policy
            chain = policy.get("chain")
            assert chain is None or isinstance(chain, Chain)
            with wallet_of(card, policy) as wallet:
                for name in names:
                    case = OUTCOMES[name]
                    draft = case.make()
                    signing, refused, made = on_card(card, wallet, Psbt.parse(draft.encode()), chain)
                    alone = run(draft, accounts=case.accounts, export=export, **policy)
                    assert (refused is None) == (alone.refusal is None and bool(alone.made)), name
                    assert made == len(alone.made), name
                    if alone.made:
                        assert signing.plan is not None
                        assert without_history(signing.plan.summary) == alone.summary, name


@pytest.mark.parametrize("kind", ["p2wpkh", "rawtr", "p2pkh"])
def test_the_second_half_of_a_split_is_said(kind: str) -> None:
    """Two coins of ours, each passed off as another's in one of two runs: fee and payments are true in both, and what
    leaves the wallet is twice what each shows. The second run says that the same transaction was signed before."""
    coins = [coin(kind, number, 1_000_000) for number in range(2)]
    truth = Truth(coins, [Out(p2wpkh(OTHER.key("m/0")), 1_995_000)])
    with card_in_use(True) as card, wallet_of(card, {}) as wallet:
        graves = []
        for hidden in (1, 0):
            draft = Draft([item.item for item in coins], list(truth.outs))
            draft.inputs[hidden] = without_derivations(draft.inputs[hidden])
            signing, refused, made = on_card(card, wallet, Psbt.parse(draft.encode()), None)
            assert refused is None and made == 1
            assert signing.plan is not None
            graves.append({notice.kind for notice in signing.plan.warnings if notice.grave})
        assert NoticeKind.SIGNED_BEFORE not in graves[0]
        assert NoticeKind.SIGNED_BEFORE in graves[1]
