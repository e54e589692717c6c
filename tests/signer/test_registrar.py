"""Registering wallets with the emulated card, and believing what a card registered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hwilib_cryptnox.errors import BadRequestError
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.signer.cards import Access
from hwilib_cryptnox.signer.registered.card_wallets import CardWallet
from hwilib_cryptnox.signer.registered.registrar import believe, prove, register, remember, with_believed
from hwilib_cryptnox.signer.registered.registration import REGISTRATION_PATH, Registration, RegistrationError, verify
from hwilib_cryptnox.signer.wallet import Wallet
from hwilib_cryptnox.signer.wallets import PolicyError, WalletPolicy
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State
from hwilib_cryptnox.storage.wallets import WalletStore
from tests.hwi.conftest import SEED
from tests.psbt.factory import ME, OTHER
from tests.signer.test_wallets import FAMILY, RECOVERY, THIRD, bent, key, keys
from tests.support.emulator import PIN, EmulatorProcess

POLICY = WalletPolicy.parse(FAMILY)


def wallet_on(card: EmulatorProcess) -> Wallet:
    settings, state = Settings(), State()
    access = Access(settings, state, emulators=True)
    return Wallet(card.path, access, Unlocker(settings, state, PIN))


@pytest.fixture
def wallet(signer: EmulatorProcess) -> Iterator[Wallet]:
    made = wallet_on(signer)
    yield made
    made.close()


@pytest.fixture(scope="module")
def closed() -> Iterator[EmulatorProcess]:
    """The same seed on a card that gives no extended keys."""
    with EmulatorProcess("--seed", SEED) as emulator:
        yield emulator


def test_the_card_registers_and_believes_itself(signer: EmulatorProcess, wallet: Wallet) -> None:
    registration = register(wallet, "Fu\u0308r uns", POLICY)
    assert registration.name == "F\u00fcr uns" and registration.policy == POLICY
    assert verify(ME.key(REGISTRATION_PATH), registration.name, POLICY.descriptor, registration.registration)
    wallet.close()
    again = wallet_on(signer)
    try:
        believed = believe(again, Registration.parse(registration.to_text()))
    finally:
        again.close()
    assert believed == CardWallet("F\u00fcr uns", POLICY.descriptor, ME.fingerprint)
    assert believed.words == "2 of 3 must sign"


def test_what_it_costs(signer: EmulatorProcess) -> None:
    """The key of the wallet and that of registrations, one signature."""
    made = wallet_on(signer)
    try:
        made.session()
        before = signer.stats()
        register(made, "Family", POLICY)
        now = signer.stats()
    finally:
        made.close()
    assert now["signatures"] - before["signatures"] == 1
    assert now["apdus"] - before["apdus"] <= 8
    assert now["pin_tries"] == before["pin_tries"]


def test_a_card_without_export(closed: EmulatorProcess) -> None:
    """Its keys are read one by one; the key of an address proves the chain code."""
    made = wallet_on(closed)
    try:
        registration = register(made, "Family", POLICY)
        assert believe(made, registration).name == "Family"
        for ours in (bent(chain_code=bytes(32)), bent(public_key=THIRD.key("m/0"))):
            with pytest.raises(PolicyError, match="is not the card's"):
                prove(made, WalletPolicy.parse(f"wsh(multi(1,{ours},{key(OTHER)}))"))
    finally:
        made.close()


@pytest.mark.parametrize(
    "text",
    [
        f"wsh(sortedmulti(2,{keys(OTHER, THIRD)}))",
        f"wsh(sortedmulti(2,{bent(chain_code=bytes(32))},{key(OTHER)}))",
        f"wsh(sortedmulti(2,{bent(public_key=THIRD.key('m/0'))},{key(OTHER)}))",
    ],
    ids=["without the card", "another chain code", "another key"],
)
def test_wallets_that_the_card_is_not_in(signer: EmulatorProcess, wallet: Wallet, text: str) -> None:
    before = signer.stats()["signatures"]
    with pytest.raises(PolicyError):
        register(wallet, "Family", WalletPolicy.parse(text))
    assert signer.stats()["signatures"] == before


def test_a_name_that_is_none(signer: EmulatorProcess, wallet: Wallet) -> None:
    before = signer.stats()["apdus"]
    with pytest.raises(PolicyError, match="name"):
        register(wallet, "Fam\x1bily", POLICY)
    assert signer.stats()["apdus"] == before


def test_registrations_of_others(signer: EmulatorProcess, card: EmulatorProcess, wallet: Wallet) -> None:
    """Another card, of another seed, that is in the wallet too; and one that is changed."""
    from hwilib_cryptnox.export import Network, ScriptType
    from tests.export.conftest import make_keys
    from tests.hwi.conftest import MNEMONIC

    theirs = make_keys(Network.MAIN, mnemonic=MNEMONIC).account(ScriptType.P2WSH)
    shared = WalletPolicy.parse(f"wsh(sortedmulti(2,{key(ME)},{theirs.expression(Network.MAIN)}/<0;1>/*))")
    other = wallet_on(card)
    try:
        made_there = register(other, "Family", shared)
    finally:
        other.close()
    with pytest.raises(RegistrationError, match="did not sign this registration"):
        believe(wallet, made_there)
    made_here = register(wallet, "Family", shared)
    assert believe(wallet, made_here)
    for bent_one in (
        Registration("Family 2", shared, made_here.registration),
        Registration("Family", POLICY, made_here.registration),
        Registration("Family", shared, made_here.registration[:-1] + bytes((made_here.registration[-1] ^ 1,))),
        Registration("Family", shared, made_there.registration),
    ):
        with pytest.raises(RegistrationError, match="did not sign this registration"):
            believe(wallet, bent_one)


def test_remember(state: State) -> None:
    def add(name: str, text: str) -> None:
        remember(state, name, WalletPolicy.parse(text), ME.fingerprint)

    add("Family", FAMILY)
    (kept,) = WalletStore(state).all()
    assert (kept.name, kept.descriptor, dict(kept.cards)) == ("Family", POLICY.descriptor, {ME.fingerprint: None})
    made = Registration("Family", POLICY, b"\x01" + bytes(64))
    remember(state, "Family", POLICY, OTHER.fingerprint, made)
    assert WalletStore(state).all()[0].cards == {ME.fingerprint: None, OTHER.fingerprint: made.registration}
    for name, text, reason in (
        (
            "Other",
            f"wsh(sortedmulti(2,{keys(THIRD, ME, OTHER)}))",
            'registered as "Family", with its keys in a different order',
        ),
        ("Other", FAMILY, 'registered as "Family"'),
        ("family", RECOVERY, "another wallet named"),
        ("Fam\u202eily", RECOVERY, "visible characters"),
    ):
        with pytest.raises(BadRequestError, match=reason):
            add(name, text)
    add("Other", f"wsh(multi(2,{keys(THIRD, ME, OTHER)}))")
    assert [one.name for one in WalletStore(state).all()] == ["Family", "Other"]


def test_sorted_keys_in_their_order_by_chance(state: State) -> None:
    """One order or the other is that of the first address: another wallet all the same."""
    remember(state, "Sorted", WalletPolicy.parse(f"wsh(sortedmulti(1,{keys(ME, OTHER)}))"), ME.fingerprint)
    for name, pair in (("One", (ME, OTHER)), ("Other", (OTHER, ME))):
        remember(state, name, WalletPolicy.parse(f"wsh(multi(1,{keys(*pair)}))"), ME.fingerprint)
    assert len(WalletStore(state).all()) == 3


def test_with_believed() -> None:
    def known(name: str, text: str) -> CardWallet:
        return CardWallet.of(name, WalletPolicy.parse(text), ME.fingerprint)

    family, recovery = known("Family", FAMILY), known("Recovery", RECOVERY)
    assert with_believed([recovery, known("Old name", FAMILY)], family) == (family, recovery)
    with pytest.raises(RegistrationError, match="another wallet named"):
        with_believed([known("FAMILY", RECOVERY)], family)


def test_a_wallet_that_cannot_be_read_any_more(caplog: pytest.LogCaptureFixture) -> None:
    from cryptnox_core.bip32 import Path
    from hwilib_cryptnox.psbt import Claim
    from tests.psbt.factory import p2wsh

    wallet = CardWallet("Old", "wsh(newer_function(2))", ME.fingerprint)
    assert not wallet(p2wsh(b"x"), Claim(ME.key("m/0"), Path.parse("m/0")))
    assert not wallet(p2wsh(b"x"), Claim(ME.key("m/0"), Path.parse("m/0"))) and wallet.words == ""
    assert [record.getMessage() for record in caplog.records] == [
        'the registered wallet "Old" is not recognized: the descriptor has a key, a number, or a word in the wrong '
        "place"
    ]
