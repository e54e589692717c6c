"""Registered wallets where PSBTs are signed on the emulated card: what this computer remembers counts, as a face finds
it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cryptnox_core.bip32 import TPUB, Path
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.psbt import Claim, NoticeKind, Plan, Psbt, PsbtError, WalletInputs
from hwilib_cryptnox.signer.cards import Access
from hwilib_cryptnox.signer.registered.card_wallets import CardWallet, registered_wallets
from hwilib_cryptnox.signer.registered.registrar import believe, register
from hwilib_cryptnox.signer.signing import Signing
from hwilib_cryptnox.signer.wallet import Wallet
from hwilib_cryptnox.signer.wallets import WalletPolicy
from hwilib_cryptnox.storage.files import config_folder
from hwilib_cryptnox.storage.settings import Settings, from_toml
from hwilib_cryptnox.storage.state import State, StateError
from hwilib_cryptnox.storage.wallets import FILE, WalletStore
from tests.psbt.dishonest_change import paying
from tests.psbt.dishonest_wallets import BACK, BACK_PATH, COSIGNER, OURS, US, XPUBS, shared_coin, shared_out
from tests.psbt.factory import ME, NUMS, Draft, out_deriv, p2wpkh, p2wsh
from tests.psbt.factory import Wallet as KeyTree
from tests.psbt.test_registered import ATTACKS, keys
from tests.support.emulator import PIN, EmulatorProcess
from tests.support.versions import parsed
from tests.system.interop.paper import PaperWallet

DESCRIPTOR = WalletPolicy.parse(f"wsh(sortedmulti(2,{keys(*US)}))").descriptor
HONEST = paying(*shared_out(BACK), shared_coin(OURS))
DAY = "2026-11-26"


def wallet_on(card: EmulatorProcess, settings: Settings | None = None) -> Wallet:
    settings, state = settings or Settings(), State()
    return Wallet(card.path, Access(settings, state, emulators=True), Unlocker(settings, state, PIN))


@pytest.fixture
def wallet(signer: EmulatorProcess) -> Iterator[Wallet]:
    made = wallet_on(signer)
    yield made
    made.close()


def signed(wallet: Wallet, draft: Draft, **options: object) -> tuple[Plan, Psbt]:
    signing = Signing(wallet, Psbt.parse(draft.encode()), **options)  # type: ignore[arg-type]
    done = signing.run()
    assert signing.plan is not None
    return signing.plan, done


def test_those_of_the_card(state: State) -> None:
    assert registered_wallets(state, ME.fingerprint) == ()
    store = WalletStore(state)
    store.add("Family", DESCRIPTOR, ME.fingerprint, DAY)
    store.add("Theirs", "wsh(x)", COSIGNER.fingerprint, DAY)
    assert registered_wallets(state, ME.fingerprint) == (CardWallet("Family", DESCRIPTOR, ME.fingerprint),)
    assert [one.name for one in registered_wallets(state, COSIGNER.fingerprint)] == ["Theirs"]


def test_it_is_read_when_it_is_needed() -> None:
    """Nothing is parsed for a PSBT that spends no script, however many wallets there are."""
    wallet = CardWallet("Family", DESCRIPTOR, ME.fingerprint)
    assert "policy" not in vars(wallet)
    policy = wallet.policy
    assert policy is not None and wallet.policy is policy and wallet.words == "2 of 2 must sign"
    place = Path.parse(BACK_PATH)
    assert wallet(policy.script(1, 7), Claim(ME.key(place), place))
    assert not wallet(p2wsh(b"x"), Claim(ME.key(place), place))


def test_signing_knows_what_this_computer_remembers(wallet: Wallet, state: State) -> None:
    plan, _ = signed(wallet, HONEST)
    assert not any(out.change for out in plan.summary.outputs)
    assert NoticeKind.NO_WALLET in {notice.kind for notice in plan.summary.warnings}
    WalletStore(state).add("Family", DESCRIPTOR, ME.fingerprint, DAY)
    plan, _ = signed(wallet, HONEST)
    assert plan.summary.wallets == (WalletInputs("Family", "2 of 2 must sign", (0,)),)
    assert str(plan.summary.outputs[1].path) == BACK_PATH and plan.summary.outputs[1].wallet == "Family"


def test_wallets_of_another_card_do_not_count(wallet: Wallet, state: State) -> None:
    WalletStore(state).add("Family", DESCRIPTOR, COSIGNER.fingerprint, DAY)
    plan, _ = signed(wallet, HONEST)
    assert not any(out.change for out in plan.summary.outputs) and plan.summary.wallets == ()


def test_a_registration_of_the_card_counts_on_another_computer(signer: EmulatorProcess, wallet: Wallet) -> None:
    """With nothing in the state."""
    believed = believe(wallet, register(wallet, "Family", WalletPolicy.parse(DESCRIPTOR)))
    plan, _ = signed(wallet, HONEST, wallets=[believed])
    assert plan.summary.outputs[1].change and plan.summary.wallets[0].name == "Family"
    assert not (State().folder / FILE).exists()


@pytest.mark.parametrize("name", ["the cosigner replaced", "the threshold lowered", "another account", "branch 2"])
def test_attacks_on_the_card(wallet: Wallet, state: State, name: str) -> None:
    WalletStore(state).add("Family", DESCRIPTOR, ME.fingerprint, DAY)
    plan, _ = signed(wallet, paying(*ATTACKS[name], shared_coin(OURS), extra=list(XPUBS)))
    assert not any(out.change for out in plan.summary.outputs)
    assert NoticeKind.STRANGE_SCRIPT in {notice.kind for notice in plan.summary.warnings if notice.grave}


def test_a_damaged_file_stops_what_it_is_needed_for(signer: EmulatorProcess, wallet: Wallet, state: State) -> None:
    """Not what one key signs alone."""
    state.folder.mkdir(parents=True)
    (state.folder / FILE).write_text("{")
    before = signer.stats()["signatures"]
    with pytest.raises(StateError, match=r"wallets\.json"):
        signed(wallet, HONEST)
    assert signer.stats()["signatures"] == before
    signed(wallet, paying(p2wpkh(ME.key("m/84h/0h/0h/1/5")), [out_deriv("m/84h/0h/0h/1/5")]))
    assert signer.stats()["signatures"] == before + 1


def test_required(signer: EmulatorProcess, state: State) -> None:
    before = signer.stats()["signatures"]
    made = wallet_on(signer, Settings(require_registered=True))
    try:
        with pytest.raises(PsbtError, match="require_registered"):
            signed(made, HONEST)
        assert signer.stats()["signatures"] == before
        WalletStore(state).add("Family", DESCRIPTOR, ME.fingerprint, DAY)
        assert signed(made, HONEST)[0].summary.outputs[1].change
    finally:
        made.close()


def test_the_setting() -> None:
    """The environment switches it on, never off."""
    assert from_toml("require_registered = true", "x").require_registered
    assert not Settings.load({}).require_registered
    assert Settings.load({"CRYPTNOX_REQUIRE_REGISTERED": "1"}).require_registered
    config_folder().mkdir(parents=True)
    (config_folder() / "config.toml").write_text("require_registered = true\n")
    assert Settings.load({"CRYPTNOX_REQUIRE_REGISTERED": "0"}).require_registered


# --- PSBTs as BDK makes them


TESTNET = "m/48h/1h/0h/2h"


def key_on_test(wallet: KeyTree, steps: str = "/<0;1>/*") -> str:
    return f"[{wallet.fingerprint.hex()}{TESTNET[1:]}]{wallet.account(TESTNET).to_string(TPUB)}{steps}"


A, B, C = key_on_test(ME), key_on_test(COSIGNER), key_on_test(KeyTree(b"the third of a wallet that BDK uses"))
FORMS = {
    "1 of 3": f"wsh(sortedmulti(1,{A},{B},{C}))",
    "in the order of the text": f"sh(wsh(multi(1,{C},{A})))",
    "P2SH": f"sh(sortedmulti(1,{A},{B}))",
    "miniscript": f"wsh(or_d(pk({A}),multi(2,{B},{C})))",
    "a branch of its own": f"wsh(or_d(pk({key_on_test(ME, '/<4;7>/*')}),and_v(v:pkh({B}),pk({C}))))",
    "a leaf": f"tr({NUMS.hex()},{{pk({A}),multi_a(2,{B},{C})}})",
    "a leaf below somebody's key": f"tr({B},{{and_v(v:pk({C}),pkh({key_on_test(ME, '/<2;3>/*')})),pk({A})}})",
}


@pytest.mark.parametrize("name", FORMS)
def test_bdk_wallets_live_on_registered_ones(wallet: Wallet, name: str) -> None:
    """Coins on paper, spent twice: the change of the first payment is spent by the second."""
    policy = parsed(FORMS[name])
    known = CardWallet.of("Paper", policy, ME.fingerprint)
    paper = PaperWallet(policy.descriptor)
    paper.receive(60_000_000)
    for amount in (20_000_000, 10_000_000):
        psbt = paper.pay(bytes.fromhex("0014" + "51" * 20), amount)
        signing = Signing(wallet, Psbt.parse(psbt), wallets=[known])
        done = signing.run()
        assert signing.plan is not None
        summary = signing.plan.summary
        assert (summary.sent, len(summary.wallets), summary.wallets[0].name) == (amount, 1, "Paper")
        assert [out.wallet for out in summary.outputs if out.change] == ["Paper"]
        assert not [notice for notice in summary.warnings if notice.grave]
        paper.finish(done.to_base64())
        assert summary.change_amount == paper.balance
