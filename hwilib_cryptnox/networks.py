"""Bitcoin's networks, script types and accounts, each told once: chains by name, coin types, prefixes of addresses and
of extended keys, purposes, account paths. Pure.

Every start of `hwi-cryptnox` reads this module, for its options: what paths need is imported late.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from cryptnox_core.errors import UsageError

if TYPE_CHECKING:
    from cryptnox_core.bip32 import Path


class Network(Enum):
    """What extended keys are written for. All test chains write the same."""

    MAIN = "main"
    TEST = "test"

    @classmethod
    def of_chain(cls, name: str) -> Network:
        """From HWI's chain names: main, test, testnet4, signet, regtest; any other is a UsageError."""
        chain = CHAINS.get(name)
        if chain is None:
            raise UsageError(f"{name!r} is not a chain: main, test, testnet4, signet or regtest")
        return chain.network

    @property
    def coin_type(self) -> int:
        """The second level of BIP44 paths (SLIP-44)."""
        return 0 if self is Network.MAIN else 1

    @property
    def version(self) -> bytes:
        """BIP32's version bytes of an extended public key, 4 bytes."""
        from cryptnox_core.bip32 import TPUB, XPUB

        return XPUB if self is Network.MAIN else TPUB


class Chain(Enum):
    """A network's address prefixes: bech32 (BIP173), and the version bytes of P2PKH and P2SH."""

    MAIN = ("bc", 0x00, 0x05)
    TEST = ("tb", 0x6F, 0xC4)
    """Testnet 3 and 4, signet."""
    REGTEST = ("bcrt", 0x6F, 0xC4)

    @property
    def network(self) -> Network:
        """Whose extended keys and coin type it has."""
        return Network.MAIN if self is Chain.MAIN else Network.TEST


CHAINS = {
    "main": Chain.MAIN,
    "test": Chain.TEST,
    "testnet4": Chain.TEST,
    "signet": Chain.TEST,
    "regtest": Chain.REGTEST,
}
"""By HWI's names."""
CHAIN_CHOICES = ("main", "test", "regtest", "signet", "testnet4")
"""The same names in the order of HWI's own help."""


class _Account(NamedTuple):
    """Where the accounts of a script type are, and how its descriptors begin and end (BIP381, 382, 386)."""

    purpose: int
    head: str
    tail: str
    script: int | None = None
    """BIP48's fourth level."""


_ACCOUNTS = {
    "p2pkh": _Account(44, "pkh(", ")"),
    "p2sh-p2wpkh": _Account(49, "sh(wpkh(", "))"),
    "p2wpkh": _Account(84, "wpkh(", ")"),
    "p2sh-p2wsh": _Account(48, "sh(wsh(", "))", 1),
    "p2wsh": _Account(48, "wsh(", ")", 2),
    "rawtr": _Account(86, "rawtr(", ")"),
    "p2tr": _Account(86, "tr(", ")"),
}


class AccountType(Enum):
    """What an account of the card's keys may be for."""

    @property
    def purpose(self) -> int:
        """The first level of its accounts (BIP43), not hardened."""
        return _ACCOUNTS[self.value].purpose

    @property
    def is_multisig(self) -> bool:
        """Whether accounts of this type are meant for cosigning (BIP48)."""
        return _ACCOUNTS[self.value].script is not None

    def wrap(self, inner: str) -> str:
        """The output descriptor around a key expression, or around a multisig expression (BIP381, 382)."""
        account = _ACCOUNTS[self.value]
        return f"{account.head}{inner}{account.tail}"


class ScriptType(AccountType):
    """The scripts that a card has accounts for, and that wallet files know, by their names in Coldcard's JSON."""

    P2PKH = "p2pkh"
    P2SH_P2WPKH = "p2sh-p2wpkh"
    P2WPKH = "p2wpkh"
    P2SH_P2WSH = "p2sh-p2wsh"
    P2WSH = "p2wsh"

    def slip132(self, network: Network) -> bytes:
        """SLIP-132's version bytes: xpub, ypub, zpub, Ypub, Zpub and their test forms."""
        return network.version if self is ScriptType.P2PKH else _SLIP132[self][network is Network.TEST]


class TaprootType(AccountType):
    """Taproot of one key, without scripts."""

    RAWTR = "rawtr"
    """As every card can sign it: the output key is the derived key itself. Few wallets know it."""
    P2TR = "p2tr"
    """As wallets know it (BIP86): the output key is the derived key, tweaked. `signer.signatures.taproot` tells which
    cards sign it."""


_SLIP132 = {
    ScriptType.P2SH_P2WPKH: (bytes.fromhex("049d7cb2"), bytes.fromhex("044a5262")),
    ScriptType.P2WPKH: (bytes.fromhex("04b24746"), bytes.fromhex("045f1cf6")),
    ScriptType.P2SH_P2WSH: (bytes.fromhex("0295b43f"), bytes.fromhex("024289ef")),
    ScriptType.P2WSH: (bytes.fromhex("02aa7ed3"), bytes.fromhex("02575483")),
}
SINGLE_KEY: dict[str, AccountType] = {
    kind.value: kind for kind in (ScriptType.P2PKH, ScriptType.P2SH_P2WPKH, ScriptType.P2WPKH, TaprootType.RAWTR)
}
"""What one key alone spends with every card, by name."""
ADDRESS_TYPES: dict[str, AccountType] = {
    "legacy": ScriptType.P2PKH,
    "wit": ScriptType.P2WPKH,
    "sh_wit": ScriptType.P2SH_P2WPKH,
    "tap": TaprootType.RAWTR,
}
"""The same by HWI's names, in HWI's order. A card that signs BIP86 key paths has `TaprootType.P2TR` in place of the
last."""


def network_of_version(version: bytes) -> Network | None:
    """By the version bytes of an extended public key in any of SLIP-132's forms; None for others."""
    return next((one for one in Network for script in ScriptType if script.slip132(one) == version), None)


def account_path(kind: AccountType, network: Network, account: int = 0) -> Path:
    """The account of a script type: BIP44, 49, 84, 86, or BIP48 for cosigning. `account` is below 2^31 (UsageError)."""
    from cryptnox_core.bip32 import HARDENED, Path

    if not 0 <= account < HARDENED:
        raise UsageError("an account number is between 0 and 2^31-1")
    script = _ACCOUNTS[kind.value].script
    levels = (kind.purpose, network.coin_type, account, *(() if script is None else (script,)))
    return Path(tuple(level | HARDENED for level in levels))


def account_paths(network: Network, account: int = 0) -> tuple[Path, ...]:
    """The accounts of all script types, single-sig first: what to read from the card for a full export, and what a
    wallet without key origins may have been made from."""
    return tuple(account_path(script, network, account) for script in ScriptType)


ACCOUNT_LEVELS = {44: 3, 48: 4, 49: 3, 84: 3, 86: 3, 87: 3}
"""Levels of an account by its purpose (BIP44 and its kin): purpose, coin, account, and the script type of BIP48."""
