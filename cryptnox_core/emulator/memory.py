"""What an emulated card keeps without power, and its form as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from cryptnox_core import wire
from cryptnox_core.wire import Curve, KeySource, UserKeySlot

T = TypeVar("T")

STATE_VERSION = 1

Json = dict[str, object]


class BadStateError(ValueError):
    """A state file that is none, or of another version."""


@dataclass(frozen=True, slots=True)
class UserKey:
    """A user key: 64 bytes of text, the key (65-byte point or 256-byte modulus), FIDO's credential id."""

    text: bytes
    key: bytes
    credential: bytes = b""


@dataclass(frozen=True, slots=True)
class Position:
    """Path of a current key, and whether its parent is remembered."""

    path: tuple[int, ...]
    has_parent: bool


@dataclass(slots=True)
class Memory:
    """The card's persistent memory. Secrets are kept out of `repr`."""

    serial: int
    card_type: int = wire.CARD_TYPE_BASIC
    initialized: bool = False
    name: bytes = b""
    email: bytes = b""
    pin: bytes = field(default=b"", repr=False)
    puk: bytes = field(default=b"", repr=False)
    pairing_key: bytes = field(default=b"", repr=False)
    nfc_sign: bool = False
    pin_tries: int = wire.PIN_TRIES_TOTAL
    pin_auth: bool = True
    key_source: KeySource = KeySource.NONE
    seed: bytes = field(default=b"", repr=False)
    """The binary seed, or the 32-byte private key of sources K and X."""
    chain_code: bytes = field(default=b"", repr=False)
    dual_secret: int = field(default=0, repr=False)
    """P-256 scalar of a dual generation that has begun; 0 for none."""
    xpub_export: bool = False
    clear_pubkey: bool = False
    pinless_path: tuple[int, ...] = ()
    reset_disabled: bool = False
    """RESET is refused for good. No command of this applet sets it."""
    custom: bytes = bytes(wire.CUSTOM_BYTES)
    user_data: bytes = b""
    """On an NFT card its first slot."""
    more_user_data: dict[int, bytes] = field(default_factory=dict)
    """The other slots of an NFT card, 1 to 3."""
    user_keys: dict[UserKeySlot, UserKey] = field(default_factory=dict)
    positions: dict[Curve, Position] = field(default_factory=dict)
    counter: int = 0
    history: list[tuple[int, bytes]] = field(default_factory=list)
    """Newest first: signature counter and hash."""

    def record(self, digest: bytes) -> None:
        """Count a signature and remember what was signed."""
        self.counter += 1
        self.history.insert(0, (self.counter, digest))
        del self.history[wire.HISTORY_LENGTH :]

    def erase_keys(self) -> None:
        """Forget the seed and what hangs on it; also all that a torn RESET does."""
        self.key_source = KeySource.NONE
        self.seed = self.chain_code = b""
        self.dual_secret = 0
        self.pinless_path = ()
        self.xpub_export = self.clear_pubkey = False
        self.positions.clear()

    def factory(self) -> Memory:
        """The same card as it left the factory."""
        return Memory(serial=self.serial, card_type=self.card_type)

    def slot_data(self, slot: int) -> bytes:
        """User data of a slot; a Basic card has slot 0 alone."""
        return self.more_user_data.get(slot, b"") if slot else self.user_data

    def set_slot_data(self, slot: int, content: bytes) -> None:
        """Replace the user data of a slot."""
        if slot:
            self.more_user_data[slot] = content
        else:
            self.user_data = content


_BYTES = ("name", "email", "pin", "puk", "pairing_key", "seed", "chain_code", "custom", "user_data")
_FLAGS = ("initialized", "nfc_sign", "pin_auth", "xpub_export", "clear_pubkey")
_NUMBERS = ("card_type", "pin_tries", "counter")


def to_json(memory: Memory) -> Json:
    """JSON-able form; bytes in hexadecimal, the serial and secrets as decimal text."""
    state: Json = {"version": STATE_VERSION, "serial": str(memory.serial)}
    for name in _BYTES:
        state[name] = getattr(memory, name).hex()
    for name in (*_FLAGS, *_NUMBERS):
        state[name] = getattr(memory, name)
    state["key_source"] = int(memory.key_source)
    state["dual_secret"] = str(memory.dual_secret)
    state["pinless_path"] = list(memory.pinless_path)
    state["reset_disabled"] = memory.reset_disabled
    state["more_user_data"] = {str(slot): content.hex() for slot, content in memory.more_user_data.items()}
    state["user_keys"] = {
        str(int(slot)): [key.text.hex(), key.key.hex(), key.credential.hex()] for slot, key in memory.user_keys.items()
    }
    state["positions"] = {str(int(c)): [list(p.path), p.has_parent] for c, p in memory.positions.items()}
    state["history"] = [[counter, digest.hex()] for counter, digest in memory.history]
    return state


def from_json(state: object) -> Memory:
    """Read `to_json`'s form. Raises BadStateError."""
    try:
        return _read(state)
    except (KeyError, TypeError, ValueError) as error:
        raise BadStateError(f"not the state of an emulated card: {error}") from error


_KINDS = {list: "a list", str: "a text", int: "a number"}


def _as(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{_KINDS[kind]} is missing")
    return value


def _bytes(value: object) -> bytes:
    return bytes.fromhex(_as(str, value))


def _path(value: object) -> tuple[int, ...]:
    return tuple(_as(int, index) for index in _as(list, value))


def _object(state: Json, name: str) -> Json:
    value = state.get(name)
    if not isinstance(value, dict):
        raise TypeError(f"{name} is not an object")
    return value


def _read(state: object) -> Memory:
    """Every mismatch is a TypeError, KeyError or ValueError."""
    if not isinstance(state, dict) or state.get("version") != STATE_VERSION:
        raise TypeError("unknown version")
    known: Json = {"reset_disabled": False, "more_user_data": {}} | state  # earlier versions did not write these
    more_user_data, user_keys, positions = (
        _object(known, name) for name in ("more_user_data", "user_keys", "positions")
    )
    memory = Memory(serial=int(_as(str, known["serial"])))
    for name in _BYTES:
        setattr(memory, name, _bytes(known[name]))
    for name in (*_FLAGS, "reset_disabled"):
        setattr(memory, name, bool(known[name]))
    for name in _NUMBERS:
        setattr(memory, name, _as(int, known[name]))
    memory.key_source = KeySource(_as(int, known["key_source"]))
    memory.dual_secret = int(_as(str, known["dual_secret"]))
    memory.pinless_path = _path(known["pinless_path"])
    memory.more_user_data = {int(number): _bytes(content) for number, content in more_user_data.items()}
    for slot, value in user_keys.items():
        text, key, credential = map(_bytes, _as(list, value))
        memory.user_keys[UserKeySlot(int(slot))] = UserKey(text, key, credential)
    for curve, value in positions.items():
        path, has_parent = _as(list, value)
        memory.positions[Curve(int(curve))] = Position(_path(path), bool(has_parent))
    for entry in _as(list, known["history"]):
        counter, digest = _as(list, entry)
        memory.history.append((_as(int, counter), _bytes(digest)))
    return memory
