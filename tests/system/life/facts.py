"""What an emulated card really holds: read from its memory, never through the program under test."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass, field, fields

from embit.bip32 import HDKey

from cryptnox_core.emulator.memory import Memory
from cryptnox_core.wire import COMMON_PAIRING_KEY, KeySource


@dataclass(frozen=True)
class Facts:
    """One card. What is compared before and after."""

    initialised: bool
    pin: str
    puk: str
    pairing_key: str
    """Hexadecimal; empty on a card that is not initialised."""
    seed: str
    """Hexadecimal of the binary seed; empty without one."""
    half: bool
    """It holds its half of a secret of two cards."""
    export: bool
    pinless: tuple[int, ...]
    pin_auth: bool
    user_keys: tuple[tuple[int, str], ...]
    data: str
    custom: str
    owner: tuple[str, str]
    tries: int = field(compare=False)
    """PIN tries left; no part of what is compared."""
    wrong_pins: int = field(compare=False)
    """Refused by the card so far."""
    serial: int = field(compare=False)

    @property
    def fingerprint(self) -> str:
        """Of the master key, by embit; empty without a seed."""
        return HDKey.from_seed(bytes.fromhex(self.seed)).my_fingerprint.hex() if self.seed else ""

    @property
    def own_pairing_key(self) -> bool:
        return self.pairing_key not in ("", COMMON_PAIRING_KEY.hex())

    def changes(self, other: Facts) -> set[str]:
        """Names of what differs."""
        return {
            each.name for each in fields(self) if each.compare and getattr(self, each.name) != getattr(other, each.name)
        }


def facts_of(memory: Memory, wrong_pins: int = 0) -> Facts:
    """A card's memory as facts."""
    return Facts(
        initialised=memory.initialized,
        pin=memory.pin.rstrip(b"\0").decode("ascii", "replace"),
        puk=memory.puk.decode("ascii", "replace"),
        pairing_key=memory.pairing_key.hex(),
        seed=memory.seed.hex() if memory.key_source is not KeySource.NONE else "",
        half=memory.dual_secret != 0,
        export=memory.xpub_export,
        pinless=memory.pinless_path,
        pin_auth=memory.pin_auth,
        user_keys=tuple(sorted((int(slot), key.key.hex()) for slot, key in memory.user_keys.items())),
        data=memory.user_data.hex(),
        custom=memory.custom.hex(),
        tries=memory.pin_tries,
        wrong_pins=wrong_pins,
        serial=memory.serial,
        owner=(memory.name.decode("utf-8", "replace"), memory.email.decode("utf-8", "replace")),
    )


def seed_of_words(words: str, passphrase: str = "") -> str:
    """BIP39, by the standard's own two lines."""
    salt = unicodedata.normalize("NFKD", f"mnemonic{passphrase}")
    return hashlib.pbkdf2_hmac("sha512", words.encode(), salt.encode(), 2048).hex()


def first_address(seed: str) -> str:
    """m/84'/0'/0'/0/0 by embit."""
    from embit import script

    key = HDKey.from_seed(bytes.fromhex(seed)).derive("m/84h/0h/0h/0/0").get_public_key()
    return str(script.p2wpkh(key).address())


__all__ = ["Facts", "facts_of", "first_address", "seed_of_words"]
