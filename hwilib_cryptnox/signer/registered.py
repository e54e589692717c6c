"""The registered wallets of a card, as the PSBT engine asks for them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property

from hwilib_cryptnox.psbt import Claim
from hwilib_cryptnox.signer.wallets import PolicyError, WalletPolicy
from hwilib_cryptnox.storage.state import State
from hwilib_cryptnox.storage.wallets import WalletStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CardWallet:
    """A wallet with a key of one card, as the engine asks for it (`psbt.RegisteredWallet`)."""

    name: str
    descriptor: str
    fingerprint: bytes
    """Master fingerprint of the card, 4 bytes."""

    @classmethod
    def of(cls, name: str, policy: WalletPolicy, fingerprint: bytes) -> CardWallet:
        """Of a policy that is read already."""
        wallet = cls(name, policy.descriptor, fingerprint)
        wallet.__dict__["policy"] = policy
        return wallet

    @cached_property
    def policy(self) -> WalletPolicy | None:
        """Read when it is first needed; None, with a warning, where it cannot be any more (by another embit)."""
        try:
            return WalletPolicy.parse(self.descriptor)
        except PolicyError as error:
            _log.warning('the registered wallet "%s" is not recognized: %s', self.name, error)
            return None

    @property
    def words(self) -> str:
        """Its policy in a few words."""
        return "" if self.policy is None else self.policy.words

    def __call__(self, script: bytes, claim: Claim) -> bool:
        """Whether a script is the wallet's at the place where a key of the card says to be, and holds that key."""
        policy = self.policy
        return policy is not None and policy.matches(script, claim.path, self.fingerprint, claim.public_key)


def registered_wallets(state: State, fingerprint: bytes) -> tuple[CardWallet, ...]:
    """Those that this computer remembers of a card (master fingerprint). Raises: StateError."""
    return tuple(
        [
            CardWallet(stored.name, stored.descriptor, fingerprint)
            for stored in WalletStore(state).all()
            if fingerprint in stored.cards
        ]
    )
