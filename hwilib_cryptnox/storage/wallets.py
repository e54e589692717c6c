"""`wallets.json` in the state folder: the registered wallets of several keys. Descriptors and names; nothing secret."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hwilib_cryptnox.errors import BadRequestError
from hwilib_cryptnox.storage.files import parsed_json
from hwilib_cryptnox.storage.state import State

FILE = "wallets.json"
_VERSION = 1
_REGISTRATION = 65
"""Bytes of what a card signed."""


@dataclass(frozen=True, slots=True)
class StoredWallet:
    """A registered wallet as it is kept."""

    name: str
    descriptor: str
    """In its normal form, with checksum."""
    cards: Mapping[bytes, bytes | None]
    """By the master fingerprint (4 bytes) of each card that is in it and was looked at: the registration that the card
    signed (65 bytes), or None where it signed none."""
    added: str
    """Day of the registration (ISO 8601)."""


class WalletStore:
    """The wallets of a state folder. Every failure to read or write is a StateError that names the file."""

    def __init__(self, state: State) -> None:
        self._state = state

    def all(self) -> list[StoredWallet]:
        """Every wallet, in the order in which they were added."""
        with self._state.files(FILE) as files:
            return _read(files.read(FILE))

    def get(self, name: str) -> StoredWallet | None:
        """By name; case and Unicode's composition do not count."""
        return next((wallet for wallet in self.all() if name_key(wallet.name) == name_key(name)), None)

    def known(self, name: str, descriptor: str) -> StoredWallet | None:
        """The wallet as it is there already. Raises as `add` where it cannot be added under this name."""
        wallets = self.all()
        number = _place_of(wallets, name, descriptor)
        return None if number is None else wallets[number]

    def add(
        self, name: str, descriptor: str, fingerprint: bytes, added: str, registration: bytes | None = None
    ) -> StoredWallet:
        """Add a wallet, or a further card (its master fingerprint, 4 bytes) or registration to one that is there.

        Raises: BadRequestError where the name is taken, or the wallet is there under another name or just so.
        """
        with self._state.files(FILE, change=True) as files:
            wallets = _read(files.read(FILE))
            number = _place_of(wallets, name, descriptor)
            if number is None:
                known = StoredWallet(name, descriptor, {fingerprint: registration}, added)
                wallets.append(known)
            else:
                wallet = wallets[number]
                if fingerprint in wallet.cards and registration in (None, wallet.cards[fingerprint]):
                    raise BadRequestError(f'the wallet "{wallet.name}" is already registered with this card')
                known = wallets[number] = replace(wallet, cards={**wallet.cards, fingerprint: registration})
            files.replace(FILE, _written(wallets))
            return known

    def remove(self, name: str) -> StoredWallet | None:
        """Remove a wallet by name; what was removed, or None where there is none of that name."""
        with self._state.files(FILE, change=True) as files:
            wallets = _read(files.read(FILE))
            gone = next((wallet for wallet in wallets if name_key(wallet.name) == name_key(name)), None)
            if gone is not None:
                files.replace(FILE, _written([wallet for wallet in wallets if wallet is not gone]))
            return gone


def name_key(name: str) -> str:
    """What names are compared by: case, composition and compatible forms of letters do not count."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _place_of(wallets: list[StoredWallet], name: str, descriptor: str) -> int | None:
    """Where a wallet stands; BadRequestError where its name is another's, or it has another name."""
    for number, wallet in enumerate(wallets):
        same = name_key(wallet.name) == name_key(name)
        if same and wallet.descriptor != descriptor:
            raise BadRequestError(f'there is another wallet named "{wallet.name}": choose another name')
        if wallet.descriptor == descriptor:
            if not same:
                raise BadRequestError(f'this wallet is registered as "{wallet.name}"')
            return number
    return None


def _written(wallets: list[StoredWallet]) -> bytes:
    entries = [
        {
            "name": wallet.name,
            "descriptor": wallet.descriptor,
            "cards": {card.hex(): made and made.hex() for card, made in wallet.cards.items()},
            "added": wallet.added,
        }
        for wallet in wallets
    ]
    return json.dumps({"version": _VERSION, "wallets": entries}, indent=1).encode("ascii")


def _read(content: bytes | None) -> list[StoredWallet]:
    """ValueError for what this program did not write."""
    if content is None:
        return []
    whole = parsed_json(content)
    if not isinstance(whole, dict) or not isinstance(whole.get("wallets"), list):
        raise ValueError(_FOREIGN_TEXT)
    if whole.get("version") != _VERSION:
        raise ValueError("it was written by another version of this program")
    wallets = [_entry(entry) for entry in whole["wallets"]]
    if len({name_key(wallet.name) for wallet in wallets}) < len(wallets):
        raise ValueError(_FOREIGN_TEXT)
    return wallets


_FOREIGN_TEXT = "it is not what this program writes"


def _entry(entry: object) -> StoredWallet:
    if isinstance(entry, dict):
        name, descriptor, added = entry.get("name"), entry.get("descriptor"), entry.get("added")
        cards = entry.get("cards")
        if all(isinstance(text, str) for text in (name, descriptor, added)) and isinstance(cards, dict) and cards:
            found = {bytes.fromhex(card): None if made is None else bytes.fromhex(made) for card, made in cards.items()}
            if all(len(card) == 4 and (made is None or len(made) == _REGISTRATION) for card, made in found.items()):
                return StoredWallet(str(name), str(descriptor), found, str(added))
    raise ValueError(_FOREIGN_TEXT)
