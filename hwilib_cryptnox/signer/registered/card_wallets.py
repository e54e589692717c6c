"""The registered wallets of a card, as the PSBT engine asks for them."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from functools import cached_property

from cryptnox_core.bip32 import HARDENED, InvalidPathError, Path
from hwilib_cryptnox.export.policy_keys import x_of
from hwilib_cryptnox.export.policy_script import compiled
from hwilib_cryptnox.export.policy_text import Node, read
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
        return policy is not None and policy.matches(
            script, claim.path, self.fingerprint, claim.public_key, claim.suffix
        )

    def work(self, script: bytes, claim: Claim) -> int:
        """Keys that are derived to tell; 0 where the place or the kind of the script tells."""
        return 0 if self.policy is None else self.policy.work(script, claim.path, self.fingerprint, claim.suffix)


@dataclass(frozen=True)
class NamedWallet:
    """A wallet that the person names (`psbt.WalletScripts`), by the descriptor of several keys or of one. Its keys need
    no origins: that a key is the card's, at the path that is shown, is proved by the card."""

    tree: Node
    policy: WalletPolicy | None
    """None for one key."""

    @classmethod
    def parse(cls, text: str) -> NamedWallet:
        """From a descriptor with branches, or two; of one key also a half. Raises: PolicyError."""
        tree = read(text)
        if len({x_of(key) for key in tree.keys}) > 1:
            return cls(tree, WalletPolicy.parse(text))
        if any(key.key is None for key in tree.keys):
            raise PolicyError("the key is not an extended one (xpub): the wallet would have a single address")
        made = cls(tree, None)
        made._one_key(0, 0)
        return made

    def __call__(self, script: bytes, claim: Claim) -> bool:
        """Whether a script is the wallet's at the number where a key of the card says to be, and holds that key."""
        steps, held = claim.place.steps, claim.public_key
        if not steps or steps[-1] >= HARDENED:
            return False
        branches = len(self.tree.keys[0].branches) if self.policy is None else self.policy.branches
        for branch in range(branches):
            with contextlib.suppress(PolicyError):  # no key there, once in 2^127
                if self.policy is None:
                    made, keys = self._one_key(branch, steps[-1])
                else:
                    made, keys = self.policy.script(branch, steps[-1]), self.policy.keys_at(branch, steps[-1])
                if made == script:
                    return any(key[-len(held) :] == held for key in keys)
        return False

    def _one_key(self, branch: int, index: int) -> tuple[bytes, tuple[bytes, ...]]:
        try:
            keys = tuple(
                [key.key.derive(Path((*key.branches[branch], index))).public_key for key in self.tree.keys if key.key]
            )
        except InvalidPathError:
            raise PolicyError("the wallet does not have this address") from None
        return compiled(self.tree, keys), keys


def registered_wallets(state: State, fingerprint: bytes) -> tuple[CardWallet, ...]:
    """Those that this computer remembers of a card (master fingerprint). Raises: StateError."""
    return tuple(
        [
            CardWallet(stored.name, stored.descriptor, fingerprint)
            for stored in WalletStore(state).all()
            if fingerprint in stored.cards
        ]
    )
