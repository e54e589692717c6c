"""The extended keys a wallet file is made from, with their origins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryptnox_core.bip32 import ExtendedPublicKey, KeyOrigin, Path
from cryptnox_core.crypto.hashes import base58check_decode
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.networks import AccountType, Network, account_path, network_of_version


@dataclass(frozen=True, slots=True)
class KeySet:
    """The extended keys read from one card.

    `fingerprint` is the master key's, 4 bytes. Each key must stand at the depth and number of its path (UsageError
    otherwise): an origin that does not fit its key makes a wallet whose coins no signer recognises.
    """

    fingerprint: bytes
    keys: Mapping[Path, ExtendedPublicKey]
    network: Network = Network.MAIN

    def __post_init__(self) -> None:
        for path, key in self.keys.items():
            _check_origin(KeyOrigin(self.fingerprint, path), key)

    def cosigner(self, path: Path) -> Cosigner:
        """The key of a path with its origin; UsageError when it was not read."""
        key = self.keys.get(path)
        if key is None:
            raise UsageError(f"the extended public key of {path} was not read from the card")
        return Cosigner(KeyOrigin(self.fingerprint, path), key)

    def account(self, script: AccountType, account: int = 0) -> Cosigner:
        """The key of a script type's account."""
        return self.cosigner(account_path(script, self.network, account))


@dataclass(frozen=True, slots=True)
class Cosigner:
    """An extended key and where it comes from: one participant of a wallet, alone or among others."""

    origin: KeyOrigin
    key: ExtendedPublicKey

    def __post_init__(self) -> None:
        _check_origin(self.origin, self.key)

    def expression(self, network: Network) -> str:
        """BIP380: `[73c5da0a/84h/0h/0h]xpub...`."""
        return f"{self.origin}{self.key.to_string(network.version)}"


def _check_origin(origin: KeyOrigin, key: ExtendedPublicKey) -> None:
    steps = origin.path.steps
    if key.depth != len(steps) or (steps and key.child_number != steps[-1]):
        raise UsageError(f"the extended public key does not belong to {origin.path}: its depth or number differs")
    if not steps and key.fingerprint != origin.fingerprint:
        raise UsageError("the extended public key is a master key with a different fingerprint")
    if len(steps) == 1 and key.parent_fingerprint != origin.fingerprint:
        raise UsageError("the extended public key has a different parent than its origin says")


def key_line(keys: KeySet, path: Path) -> str:
    """The line that Sparrow ("Specter DIY"), Specter and most coordinators take for a single-sig account or a cosigner.

    It ends without a newline on purpose: Sparrow reads one as part of the key.
    """
    return keys.cosigner(path).expression(keys.network)


def parse_key_line(text: str) -> tuple[Cosigner, Network]:
    """The inverse of `key_line`: another cosigner's line, its key in any SLIP-132 form; blanks around it do no harm.

    UsageError for a line without origin, a bad checksum, a private key, or an origin that does not fit the key.
    """
    head, bracket, tail = text.strip().partition("]")
    if not bracket:
        raise UsageError("a cosigner's line starts with the key's origin, like [73c5da0a/48h/0h/0h/2h]xpub...")
    origin = KeyOrigin.parse(head + bracket)
    version = base58check_decode(tail)[:4]
    key = ExtendedPublicKey.from_string(tail)
    network = network_of_version(version)
    if network is None:
        raise UsageError("the cosigner's key has an unknown version: neither xpub nor tpub nor a SLIP-132 form")
    return Cosigner(origin, key), network
