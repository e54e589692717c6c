"""Emulated cards whose signatures a token approves: PIN authentication off, the token's key in its slot."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptnox_core.emulator.memory import UserKey, to_json
from cryptnox_core.wire import UserKeySlot
from hwilib_cryptnox.pin.approval import Approval
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.signer.cards import Access
from hwilib_cryptnox.signer.wallet import Wallet
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State
from tests.emulator.client import seeded_memory
from tests.support.emulator import SEED, EmulatorProcess
from tests.support.token import URI, Token


def consenting(token: Token, folder: Path, *options: str, unlike: str = "", **memory: object) -> EmulatorProcess:
    """A card with the seed of `tests.psbt.factory.ME` (not started yet), which takes signatures of the token alone."""
    keys = {token.slot: UserKey(b"test".ljust(64, b"\0"), token.public_key)}
    if token.slot is UserKeySlot.EC and memory.pop("in_the_fifth_slot", False):
        keys = {UserKeySlot.EC: UserKey(bytes(64), Token().public_key), UserKeySlot.EC5: keys[token.slot]}
    made = {"serial": 0x0123456789ABCDEF, "pin_auth": False, "xpub_export": True, "user_keys": keys, **memory}
    file = folder / "card.json"
    file.write_text(json.dumps(to_json(seeded_memory(bytes.fromhex(SEED), **made))))
    return EmulatorProcess("--state", str(file), *options, unlike=unlike)


@dataclass
class Desk:
    """What a program has in its hands, without the program: a wallet whose key approves, and what it said."""

    path: str
    token: Token
    limit: float = 5.0
    patience: float = 0.0
    lists: bool = False
    settings: Settings = field(
        default_factory=lambda: Settings(approve=URI, approve_by_environment=True, reinsert_wait=2)
    )
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.approval = Approval(
            lambda: self.token, limit=self.limit, patience=self.patience, lists=self.lists, say=self.said.append
        )
        self.state = State()
        unlocker = Unlocker(self.settings, self.state, approval=self.approval)
        self.wallet = Wallet(self.path, Access(self.settings, self.state), unlocker)


def challenges(messages: Iterable[bytes], approved: Iterable[bytes]) -> list[bytes]:
    """What a token was asked to sign that is no digest of these."""
    known = set(approved)
    return [message for message in messages if message not in known]
