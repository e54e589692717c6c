"""A man in the middle without keys, who changes the first 16 plain bytes of a command or repeats an answer: what he
gets the card to do, and that nothing this package says rests on it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from embit import bip32 as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptnox_core.bip32 import MASTER, Path
from cryptnox_core.card import Card
from cryptnox_core.certificate import TrustAnchors
from cryptnox_core.commands import auth, data, keys, setup, user_keys
from cryptnox_core.commands.keys import DeriveKey, GetPublicKey
from cryptnox_core.crypto import secp256k1
from cryptnox_core.crypto.aes import pad, unpad
from cryptnox_core.emulator.memory import Memory
from cryptnox_core.errors import BadMacError, CryptnoxError, MalformedResponseError
from cryptnox_core.first_block import LEVELS, in_steps
from cryptnox_core.wire import BLOCK, PIN_TRIES_TOTAL, ExportKind, Ins, Source, UserKeySlot
from tests.core.emulated import PIN, PUK, SEED, EmulatedReader, seeded
from tests.support.shifter import Repeater, Shifter, Watcher

ROOT = oracle.HDKey.from_seed(SEED)
DIGEST = bytes(range(32))
ACCOUNT = Path.parse("m/84h/0h/0h")
PATHS = [Path(tuple(1 << 31 | 7 * level for level in range(depth))) for depth in range(9)]
"""One of each depth."""
NOBODY = 10_000
"""A command that does not come."""


def key_at(path: Path) -> bytes:
    return bytes(ROOT.derive(list(path.steps)).key.get_public_key().sec())


class Between:
    """A transport with somebody in it."""

    name = "in between"

    def __init__(self, reader: EmulatedReader, middle: Watcher) -> None:
        self._engine, self._middle = reader.engine, middle

    def transmit(self, apdu: bytes) -> bytes:
        return self._middle(apdu, self._exchange)

    def _exchange(self, apdu: bytes) -> bytes:
        answer = self._engine.exchange(apdu)
        assert isinstance(answer, bytes)
        return answer

    def close(self) -> None:
        self._engine.power_up()


@contextmanager
def opened(middle: Watcher, memory: Memory | None = None, *, pin: bool = True) -> Iterator[Card]:
    """A card over him, with the PIN verified; his commands are counted from here on."""
    reader = EmulatedReader.of(memory or seeded())
    with Card(Between(reader, middle), anchors=TrustAnchors.builtin()) as card:
        card.open_channel()
        if pin:
            card.verify_pin(PIN)
        middle.commands = 0
        yield card


# What he can do


def xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("depth", range(4, 9))
def test_the_card_takes_a_changed_path_of_more_than_three_levels(depth: int) -> None:
    """In one command: the key is that of another path, which he can work out. Of five levels and more the last one, so
    the child number of the extended key, is what was asked for."""
    him, path = Shifter(before=NOBODY), PATHS[depth]
    with opened(him) as card:
        him.before = 1
        card.send(DeriveKey(path))
        changed = Path.from_bytes(xor(path.to_bytes()[:BLOCK], him.difference) + path.to_bytes()[BLOCK:])
        assert him.shifts == 1 and changed != path and changed.steps[4:] == path.steps[4:]
        assert card.current_path() == changed
        extended = card.read_extended_public_key()
        assert extended.public_key == key_at(changed)
        assert ((extended.depth, extended.child_number) == (depth, path.steps[-1])) is (depth > 4)
        him.before = him.commands + 1
        key = card.send(GetPublicKey(path))
        changed = Path.from_bytes(xor(path.to_bytes()[:BLOCK], him.difference) + path.to_bytes()[BLOCK:])
        assert secp256k1.compress(key) == key_at(changed)


@pytest.mark.parametrize("depth", range(4))
def test_three_levels_are_protected_by_their_padding(depth: int) -> None:
    for _ in range(20):
        him = Shifter(before=NOBODY)
        with opened(him) as card:
            card.derive(ACCOUNT)
            him.before = 2
            with pytest.raises(CryptnoxError):
                card.send(DeriveKey(PATHS[depth]))
            assert him.shifts == 1


@settings(max_examples=1000, deadline=None)
@given(depth=st.integers(0, 3), difference=st.binary(min_size=BLOCK, max_size=BLOCK).filter(any), tail=st.booleans())
def test_what_becomes_of_a_block_with_padding(depth: int, difference: bytes, tail: bool) -> None:
    """A changed path of whole levels comes out only where four bytes are just so."""
    if tail:  # as no man in the middle can choose it
        difference = difference[: 4 * depth].ljust(BLOCK, b"\0")
    block = pad(PATHS[depth].to_bytes())
    assert len(block) == BLOCK
    plain = unpad(xor(block, difference))
    if plain is not None and len(plain) % 4 == 0 and plain != PATHS[depth].to_bytes():
        assert xor(block, difference)[12:] in (b"\x80\0\0\0", bytes(4))


def test_steps() -> None:
    for path in PATHS:
        steps = in_steps(path)
        assert Path(tuple(number for step in steps for number in step.steps)) == path
        assert all(step.depth <= LEVELS for step in steps) and (not path.depth or all(step.depth for step in steps))
        assert len(pad(max(steps, key=len).to_bytes())) == BLOCK
    assert in_steps(MASTER) == [MASTER]


# What this package makes of it: the right answer or an error


def derived(card: Card, path: Path) -> bytes:
    card.derive(path)
    return card.public_key()


def relative(card: Card, path: Path) -> bytes:
    card.derive(Path(path.steps[:1]))
    return card.public_key(Path(path.steps[1:]), source=Source.CURRENT)


def extended(card: Card, path: Path) -> bytes:
    return card.extended_public_key(path).public_key


def signed(card: Card, path: Path) -> bytes:
    key = card.public_key(path)
    card.sign(DIGEST, PIN, public_key=key, path=path)
    return key


def signed_alone(card: Card, path: Path) -> bytes:
    """The card is asked for the key, at the whole path in one command, and what it says is used for the check alone."""
    signature = card.sign(DIGEST, PIN, path=path)
    return key_at(path) if secp256k1.verify_ecdsa(key_at(path), DIGEST, signature) else b""


READS: list[tuple[Callable[[Card, Path], bytes], int]] = [
    (derived, 0),
    (Card.public_key, 1),
    (relative, 2),
    (extended, 3),
    (signed, 1),
    (signed_alone, 1),
]


def name_of(value: object) -> str:
    return str(getattr(value, "__name__", value))


@pytest.mark.parametrize(
    ("read", "path"), [(read, path) for read, least in READS for path in PATHS[least:]], ids=name_of
)
def test_every_key_is_right_or_an_error(read: Callable[[Card, Path], bytes], path: Path) -> None:
    watcher = Watcher()
    with opened(watcher) as card:
        assert read(card, path) == key_at(path)
    outcomes = set()
    for before in range(watcher.commands + 1):
        him = Shifter(before=before)
        try:
            with opened(him) as card:
                assert read(card, path) == key_at(path)
            outcomes.add("right")
        except CryptnoxError as error:
            outcomes.add(type(error).__name__)
        assert him.shifts
    assert "right" not in outcomes


def test_the_fingerprint() -> None:
    for before in range(3):
        him = Shifter(before=before)
        with pytest.raises(CryptnoxError), opened(him) as card:
            card.derive(ACCOUNT)
            him.commands = 0
            card.master_fingerprint()
        assert him.shifts


CHANGES: dict[str, tuple[Callable[[Card], object], Callable[[Memory], object], object]] = {
    "VERIFY PIN": (lambda card: card.verify_pin(PIN), lambda memory: memory.pin_tries, PIN_TRIES_TOTAL),
    "CHANGE PIN": (lambda card: card.change_pin("98765"), lambda memory: memory.pin, b"98765\0\0\0\0"),
    "CHANGE PIN, PUK": (lambda card: card.change_pin("98765", puk=PUK), lambda memory: memory.pin, b"98765\0\0\0\0"),
    "CHANGE PUK": (lambda card: card.change_puk(new="A" * 12, current=PUK), lambda memory: memory.puk, b"A" * 12),
    "SET PUB EXPORT": (lambda card: card.set_xpub_export(False, PUK), lambda memory: memory.xpub_export, False),
    "SET PINLESS PATH": (
        lambda card: card.set_pinless_path(Path.parse("m/43h/60h/1581h/7"), PUK),
        lambda memory: memory.pinless_path,
        Path.parse("m/43h/60h/1581h/7").steps,
    ),
    "RESET": (lambda card: card.reset(PUK), lambda memory: memory.initialized, False),
    "SIGN": (
        lambda card: card.sign(DIGEST, PIN, public_key=key_at(ACCOUNT), path=ACCOUNT),
        lambda memory: len(memory.history) > 0,
        True,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_made_or_an_error(name: str) -> None:
    """He changes a command's first block, or keeps it from the card and gives an earlier answer for the card's."""
    change, look, wanted = CHANGES[name]
    attackers: list[Watcher] = [Watcher(), Shifter(before=1), *(Repeater(instead=1, answer=n) for n in range(3))]
    for him in attackers:
        reader = EmulatedReader.of(seeded())
        with Card(Between(reader, him), anchors=TrustAnchors.builtin()) as card:
            card.open_channel()
            him.commands = NOBODY
            card.verify_pin(PIN)
            card.info_page()  # an answer of several blocks
            him.commands = 0
            try:
                change(card)
            except CryptnoxError:
                assert type(him) is not Watcher
            else:
                assert type(him) is Watcher and look(reader.memory) == wanted


# Answers


def test_no_answer_is_taken_twice() -> None:
    """Each of the channel, in place of every later one."""
    calls: list[Callable[[Card], Any]] = [
        Card.info_page,
        Card.pin_tries_left,
        Card.public_key,
        lambda card: card.derive(ACCOUNT),
        Card.read_extended_public_key,
        Card.info_page,
        lambda card: card.sign(DIGEST, PIN, public_key=key_at(ACCOUNT)),
        lambda card: card.random_bytes(32),
    ]
    for instead in range(1, len(calls) + 1):
        for answer in range(instead):
            him = Repeater(instead=NOBODY)
            with opened(him) as card:
                him.instead, him.answer = instead, answer
                for call in calls[: instead - 1]:
                    call(card)
                with pytest.raises(BadMacError, match="already given"):
                    calls[instead - 1](card)
                assert him.repeated and not card.channel_open


STATUS_ALONE = [
    auth.VerifyPin(PIN),
    auth.ChangePin("1234"),
    auth.ChangePuk(PUK, PUK),
    auth.UnblockPin(PUK, "1234"),
    auth.SetPinAuth(enabled=True, puk=PUK),
    setup.ChangePairingKey(bytes(32), PUK),
    setup.Reset(PUK),
    keys.DeriveKey(ACCOUNT),
    keys.SetPubExport(ExportKind.XPUB, enabled=True, puk=PUK),
    keys.SetPinlessPath(None, PUK),
    data.WriteUserData(0, b""),
    data.WriteCustomBytes(bytes(16)),
    user_keys.DeleteUserKey(UserKeySlot.EC, PUK),
]


@pytest.mark.parametrize("command", STATUS_ALONE, ids=lambda command: type(command).__name__)
@pytest.mark.parametrize("length", [17, 32, 70, 106])
def test_a_status_word_behind_a_block_of_data_is_no_answer(command: Any, length: int) -> None:
    """It may be another command's, with its first block changed: to the handshake command that somebody repeated, for
    one, which a card may answer each time. A few bytes are what a later applet adds."""
    command.decode(bytes(16))
    with pytest.raises(MalformedResponseError):
        command.decode(secrets.token_bytes(length))


def test_the_tries_left_are_one_byte() -> None:
    for length in (18, 32, 70, 106):
        with pytest.raises(MalformedResponseError):
            auth.PinTriesLeft().decode(secrets.token_bytes(length))


def test_a_card_that_answers_a_repeated_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    """With fresh random bytes, as it does the first time. The answer is new to the host, its status word good."""
    from cryptnox_core.emulator import card as emulated

    handler = emulated.Card._handler

    def answering(self: emulated.Card, command: Any) -> Any:
        if command.ins == Ins.MUTUALLY_AUTHENTICATE:
            # The first byte is longer than any name: by chance the others would be a page of information.
            return lambda *_: b"\xff" + secrets.token_bytes(31)
        return handler(self, command)

    monkeypatch.setattr(emulated.Card, "_handler", answering)

    class Instead(Watcher):
        """Has the handshake repeated, and hands its answer on for the next command's."""

        at = NOBODY

        def secure(self, apdu: bytes, card: Callable[[bytes], bytes]) -> bytes:
            return card(self.handshake if self.commands == self.at else apdu)

    for change, _, _ in CHANGES.values():
        him = Instead()
        with opened(him) as card:
            him.at = 1
            with pytest.raises(CryptnoxError):
                change(card)
    for call in (Card.pin_tries_left, Card.public_key, Card.info_page):
        him = Instead()
        with opened(him) as card:
            him.at = 1
            with pytest.raises(CryptnoxError):
                call(card)
