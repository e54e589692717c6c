"""Networks, script types, account paths, and the extended keys a wallet file is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from cryptnox_core.bip32 import HARDENED, TPUB, XPUB, ExtendedPublicKey, KeyOrigin, Path
from cryptnox_core.crypto.hashes import base58check_decode
from cryptnox_core.errors import UsageError


class Network(Enum):
    """What extended keys and addresses are written for. All test chains write the same."""

    MAIN = "main"
    TEST = "test"

    @classmethod
    def of_chain(cls, chain: str) -> Network:
        """From HWI's chain names: main, test, testnet4, signet, regtest; any other is a UsageError."""
        if chain == "main":
            return cls.MAIN
        if chain in ("test", "testnet4", "signet", "regtest"):
            return cls.TEST
        raise UsageError(f"{chain!r} is not a chain: main, test, testnet4, signet or regtest")

    @property
    def coin_type(self) -> int:
        """The second level of BIP44 paths (SLIP-44)."""
        return 0 if self is Network.MAIN else 1

    @property
    def version(self) -> bytes:
        """BIP32's version bytes of an extended public key, 4 bytes."""
        return XPUB if self is Network.MAIN else TPUB


class ScriptType(Enum):
    """The scripts a card can sign for with an account of its own. The values are the names Coldcard's JSON uses."""

    P2PKH = "p2pkh"
    P2SH_P2WPKH = "p2sh-p2wpkh"
    P2WPKH = "p2wpkh"
    P2SH_P2WSH = "p2sh-p2wsh"
    P2WSH = "p2wsh"

    @property
    def is_multisig(self) -> bool:
        """Whether accounts of this type are meant for cosigning (BIP48)."""
        return self in _BIP48_SCRIPT

    def wrap(self, inner: str) -> str:
        """The output descriptor around a key expression, or around a multisig expression (BIP381, 382)."""
        head, tail = _WRAPPER[self]
        return f"{head}{inner}{tail}"

    def slip132(self, network: Network) -> bytes:
        """SLIP-132's version bytes: xpub, ypub, zpub, Ypub, Zpub and their test forms."""
        return _SLIP132[self][network is Network.TEST]


_PURPOSE = {ScriptType.P2PKH: 44, ScriptType.P2SH_P2WPKH: 49, ScriptType.P2WPKH: 84}
_BIP48_SCRIPT = {ScriptType.P2SH_P2WSH: 1, ScriptType.P2WSH: 2}
_WRAPPER = {
    ScriptType.P2PKH: ("pkh(", ")"),
    ScriptType.P2SH_P2WPKH: ("sh(wpkh(", "))"),
    ScriptType.P2WPKH: ("wpkh(", ")"),
    ScriptType.P2SH_P2WSH: ("sh(wsh(", "))"),
    ScriptType.P2WSH: ("wsh(", ")"),
}
_SLIP132 = {
    ScriptType.P2PKH: (XPUB, TPUB),
    ScriptType.P2SH_P2WPKH: (bytes.fromhex("049d7cb2"), bytes.fromhex("044a5262")),
    ScriptType.P2WPKH: (bytes.fromhex("04b24746"), bytes.fromhex("045f1cf6")),
    ScriptType.P2SH_P2WSH: (bytes.fromhex("0295b43f"), bytes.fromhex("024289ef")),
    ScriptType.P2WSH: (bytes.fromhex("02aa7ed3"), bytes.fromhex("02575483")),
}
_NETWORK_OF_VERSION = {
    pair[index]: network for pair in _SLIP132.values() for index, network in enumerate((Network.MAIN, Network.TEST))
}


def account_path(script: ScriptType, network: Network, account: int = 0) -> Path:
    """The account of a script type: BIP44, 49, 84, or BIP48 for cosigning. `account` is below 2^31."""
    if not 0 <= account < HARDENED:
        raise UsageError("an account number is between 0 and 2^31-1")
    coin = network.coin_type
    levels: tuple[int, ...]
    if script.is_multisig:
        levels = (48, coin, account, _BIP48_SCRIPT[script])
    else:
        levels = (_PURPOSE[script], coin, account)
    return Path(tuple(level | HARDENED for level in levels))


def account_paths(network: Network, account: int = 0) -> tuple[Path, ...]:
    """The accounts of all script types, single-sig first: what to read from the card for a full export."""
    return tuple(account_path(script, network, account) for script in ScriptType)


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

    def account(self, script: ScriptType, account: int = 0) -> Cosigner:
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
        raise UsageError(f"the extended public key is not the one of {origin.path}: its depth or number differs")
    if not steps and key.fingerprint != origin.fingerprint:
        raise UsageError("the extended public key is a master key with another fingerprint")
    if len(steps) == 1 and key.parent_fingerprint != origin.fingerprint:
        raise UsageError("the extended public key has another parent than its origin says")


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
        raise UsageError("a cosigner's line starts with its key's origin, like [73c5da0a/48h/0h/0h/2h]xpub...")
    origin = KeyOrigin.parse(head + bracket)
    version = base58check_decode(tail)[:4]
    key = ExtendedPublicKey.from_string(tail)
    network = _NETWORK_OF_VERSION.get(version)
    if network is None:
        raise UsageError("the cosigner's key has an unknown version: neither xpub nor tpub nor a SLIP-132 form")
    return Cosigner(origin, key), network
