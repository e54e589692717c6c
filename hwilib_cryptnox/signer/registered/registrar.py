"""Registering a wallet with a card, and believing what a card registered: the card's signature speaks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from cryptnox_core.bip32 import Path
from hwilib_cryptnox.errors import FailedError
from hwilib_cryptnox.signer.registered.card_wallets import CardWallet, registered_wallets
from hwilib_cryptnox.signer.registered.registration import (
    REGISTRATION_PATH,
    Registration,
    RegistrationError,
    encode,
    registration_digest,
    verify,
)
from hwilib_cryptnox.signer.wallet import Wallet
from hwilib_cryptnox.signer.wallets import PolicyError, WalletPolicy, card_paths, check_name, check_on_card
from hwilib_cryptnox.storage.state import State
from hwilib_cryptnox.storage.wallets import StoredWallet, WalletStore, name_key

_COMPARED = 16
"""First addresses by which wallets are told apart."""


def prove(wallet: Wallet, policy: WalletPolicy, others: Iterable[Path] = ()) -> dict[Path, bytes]:
    """Compare the keys of a wallet with the card's, which needs the PIN. The card's compressed keys at `others` are
    read in the same go, and returned.

    Raises: PolicyError where the card is not in the wallet; what reading keys raises.
    """
    fingerprint = wallet.fingerprint()
    paths = card_paths(policy, fingerprint)
    asked = list(others)
    keys = wallet.public_keys([*paths, *asked]) if paths else {}
    check_on_card(policy, keys, fingerprint)
    return {path: keys[path] for path in asked}


def register(wallet: Wallet, name: str, policy: WalletPolicy, key: bytes | None = None) -> Registration:
    """Have the card sign a wallet's name and descriptor. The person has agreed already: this asks nobody. `key`: the
    card's compressed key at REGISTRATION_PATH, where `prove` has given it already.

    Raises: PolicyError for a name that is none, and where the card is not in the wallet; FailedError where the
    signature is not the card's.
    """
    name = check_name(name)
    if key is None:
        key = prove(wallet, policy, [REGISTRATION_PATH])[REGISTRATION_PATH]
    digest = registration_digest(name, policy.descriptor)
    signed_by, signature = wallet.sign_unasked(REGISTRATION_PATH, lambda _: digest)
    registration = encode(signature)
    if signed_by != key or not verify(key, name, policy.descriptor, registration):
        raise FailedError("the card's signature of the registration does not verify; nothing was registered")
    return Registration(name, policy, registration)


def believe(wallet: Wallet, registration: Registration) -> CardWallet:
    """The wallet of a registration, where this very card signed it and is in it.

    Raises: RegistrationError where another card, or nobody, signed it; PolicyError where the card is not in the wallet.
    """
    key = prove(wallet, registration.policy, [REGISTRATION_PATH])[REGISTRATION_PATH]
    if not verify(key, registration.name, registration.descriptor, registration.registration):
        raise RegistrationError(
            "this card did not sign this registration: it was changed, or another card made it; register the wallet "
            "again"
        )
    return CardWallet.of(registration.name, registration.policy, wallet.fingerprint())


def known_before(state: State, name: str, policy: WalletPolicy) -> StoredWallet | None:
    """The wallet as this computer remembers it already, perhaps for other cards; None for a new one.

    Raises: as `remember`, so that no card is troubled for what cannot be kept.
    """
    store, name = WalletStore(state), check_name(name)
    for known in store.all():
        other = CardWallet(known.name, known.descriptor, b"").policy
        if other is not None and other != policy and _same_scripts(other, policy):
            raise PolicyError(f'this wallet is registered as "{known.name}", with its keys in a different order')
    return store.known(name, policy.descriptor)


def _same_scripts(one: WalletPolicy, other: WalletPolicy) -> bool:
    """Whether two wallets are one. A single script may be the same by chance: sorted keys stand in any order there."""
    return all(one.script(0, index) == other.script(0, index) for index in range(_COMPARED))


def remember(
    state: State, name: str, policy: WalletPolicy, fingerprint: bytes, made: Registration | None = None
) -> None:
    """Keep a wallet on this computer, for a card that was proved to be in it (master fingerprint). `made`: what the
    card signed of it.

    Raises: PolicyError for a name that is none; BadRequestError where the name is taken, or the wallet is there
    already, under another name or with its keys in another order; StateError.
    """
    known_before(state, name, policy)
    registration = None if made is None else made.registration
    WalletStore(state).add(check_name(name), policy.descriptor, fingerprint, date.today().isoformat(), registration)


def with_believed(known: Sequence[CardWallet], believed: CardWallet) -> tuple[CardWallet, ...]:
    """The wallets of this computer and one that the card vouches for, each once: the card's name counts."""
    others = [wallet for wallet in known if wallet.descriptor != believed.descriptor]
    if any(name_key(wallet.name) == name_key(believed.name) for wallet in others):
        raise RegistrationError(f'this computer knows another wallet named "{believed.name}": remove one of them')
    return (believed, *others)


def wallets_with(wallet: Wallet, registration: Registration) -> tuple[CardWallet, ...]:
    """The wallets that this computer remembers of the card, and that of a registration.

    Raises: as `believe`; RegistrationError where this computer knows another wallet of the name; StateError.
    """
    believed = believe(wallet, registration)
    return with_believed(registered_wallets(wallet.access.state, believed.fingerprint), believed)
