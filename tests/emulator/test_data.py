"""User data, custom bytes, random numbers, and what an NFT card does and refuses."""

from __future__ import annotations

import hashlib
import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from cryptnox_core.emulator.card import Card
from cryptnox_core.emulator.curves import compress
from cryptnox_core.emulator.memory import from_json, to_json
from tests.emulator.client import OK, PUK, H, Host, host, path, pin, ready_memory, seeded_memory, verifies


def opened(**changes: object) -> Host:
    card = host(seeded_memory(**changes))
    card.verify()
    return card


def test_card_info() -> None:
    card = host(seeded_memory(name=b"Alice", email=b"", counter=258))
    for data in (b"", b"\0"):
        assert card.get(0xFA, data=data) == b"L\x05Alice\x00\x00\x00\x01\x02"
    assert card.status(0xFA, data=b"\1") == 0x6700


def test_pages() -> None:
    card = opened()
    content = os.urandom(3600)
    for page in range(3):
        assert card.status(0xFC, 0, page, content[1200 * page : 1200 * (page + 1)]) == OK
    for page in range(3):
        assert card.get(0xFA, 0, page + 1, extended=True) == content[1200 * page : 1200 * (page + 1)]
    assert card.status(0xFC, 0, 1, b"short") == OK  # a page ends the data
    assert card.get(0xFA, 0, 2, extended=True) == b"short"
    assert card.get(0xFA, 0, 3, extended=True) == b""


def test_pages_come_in_order() -> None:
    card = opened()
    assert card.status(0xFC, 0, 1, b"x") == 0x6985
    assert card.status(0xFC, 0, 0, bytes(1199)) == OK
    assert card.status(0xFC, 0, 1, b"x") == 0x6985
    assert card.status(0xFC, 0, 0, bytes(1200)) == OK
    assert card.status(0xFC, 0, 2, b"x") == 0x6985


@pytest.mark.parametrize(
    ("p1", "p2", "length", "status"),
    [
        (0, 0, 1201, 0x6700),
        (0, 0, 0, 0x6700),
        (0, 3, 1, 0x6A86),
        (1, 0, 15, 0x6700),
        (1, 0, 17, 0x6700),
        (2, 0, 1, 0x6A86),
    ],
)
def test_write_refused(p1: int, p2: int, length: int, status: int) -> None:
    assert opened().status(0xFC, p1, p2, bytes(length)) == status


@pytest.mark.parametrize(("p1", "p2"), [(0, 4), (4, 0), (1, 1), (255, 255)])
def test_read_out_of_range(p1: int, p2: int) -> None:
    assert opened().status(0xFA, p1, p2) == 0x6B00


def test_data_wants_a_pin() -> None:
    card = host(seeded_memory())
    assert card.status(0xFA, 0, 1) == 0x6985
    assert card.status(0xFA, 1, 0) == 0x6985
    assert card.status(0xFC, 0, 0, b"x") == 0x6985
    assert card.status(0xFC, 1, 0, bytes(16)) == 0x6985


def test_an_empty_slot() -> None:
    assert opened().status(0xFA, 1, 0) == 0x6A88


def test_custom_bytes() -> None:
    card = opened()
    assert card.status(0xFC, 1, 0, b"0123456789abcdef") == OK
    assert card.status(0xFC, 1, 1, bytes(16)) == 0x6A86
    assert card.select()[8:] == b"0123456789abcdef"


def test_random() -> None:
    card = host(ready_memory())
    for size in range(16, 65, 4):
        assert len(card.get(0xD3, size)) == size
    assert card.get(0xD3, 32) != card.get(0xD3, 32)
    for size in (0, 12, 17, 18, 68, 255):
        assert card.status(0xD3, size) == 0x6A86


def test_nft_holds_one_key() -> None:
    card = host(ready_memory("N"))
    for kind in (2, 3):
        assert card.status(0xD0, kind, 0, bytes(32) + pin()) == 0x6A86
    card.get(0xD4, data=pin())
    point = card.get(0xC2, 0, 1)
    digest = hashlib.sha256(b"x").digest()
    assert verifies(point, digest, card.get(0xC0, 0, 0, digest + pin()), ec.SECP256K1())
    for p1 in (0x01, 0x10, 0x11, 0x81):
        assert card.status(0xC2, p1, 1, path(1) if p1 & 1 else b"") == 0x6A86
        assert card.status(0xC0, p1, 0, digest + (path(1) if p1 & 1 else b"") + pin()) == 0x6B00
    for ins, p1, data in (
        (0xD1, 0, path(H)),
        (0xD3, 32, b""),
        (0xC3, 0, b"\0" + PUK),
        (0xC1, 0, PUK),
        (0xD5, 0, bytes(142)),
        (0xD6, 1, b""),
        (0xD7, 0, b"\1" + PUK),
    ):
        assert card.status(ins, p1, 0, data) == 0x6D00


def test_signature_check() -> None:
    card = host(ready_memory("N"))
    assert card.status(0xF8, 1, 0, bytes(16)) == 0x6985
    card.get(0xD4, data=pin())
    point = card.get(0xC2, 0, 1)
    nonce = os.urandom(16)
    answer = card.get(0xF8, 1, 0, nonce)
    assert answer[:18] == b"CR" + nonce and answer[35] == 0
    assert verifies(point, hashlib.sha256(answer[:36]).digest(), answer[36:], ec.SECP256K1())
    assert card.get(0xFA)[-4:] == bytes(4)
    for length in (0, 15, 17):
        assert card.status(0xF8, 1, 0, bytes(length)) == 0x6984
    assert card.status(0xF8, 1, 1, nonce) == 0x6A86
    assert card.clear(0xF8, 1, 0, nonce)[0] == 0x6985


def test_nft_data() -> None:
    card = host(ready_memory("N"))
    card.verify()
    content = os.urandom(1500)
    assert card.status(0xFC, 1, 0, content[:1200]) == OK
    assert card.status(0xFC, 1, 1, content[1200:]) == OK
    assert card.get(0xFA, 1, 0, extended=True) + card.get(0xFA, 1, 1, extended=True) == content
    assert card.status(0xFA, 1, 3) == 0x6B00
    assert card.status(0xFC, 1, 0, b"c" * 16) == OK
    assert card.select()[8:24] == b"c" * 16


def test_nft_slots() -> None:
    """Four, each by itself, kept in the state file; the forms of Basic cards are refused."""
    card = host(ready_memory("N"))
    for p1 in (1, 2, 3, 4):
        assert card.status(0xFA, p1, 0) == 0x6985
        assert card.status(0xFC, p1, 0, b"x") == 0x6985
    card.verify()
    contents = {p1: os.urandom(1200 * p1 - 700) for p1 in (1, 2, 3)} | {4: b"16 bytes exactly"}
    for p1, content in contents.items():
        assert card.status(0xFC, p1, 1, b"x") == 0x6985
        for page in range(-(-len(content) // 1200)):
            assert card.status(0xFC, p1, page, content[1200 * page : 1200 * (page + 1)]) == OK
    card.card = Card(from_json(to_json(card.card.memory)))
    card.connect().verify()
    for p1, content in contents.items():
        assert b"".join(card.get(0xFA, p1, page, extended=True) for page in range(3)) == content
    for p1, p2 in ((0, 1), (0, 3), (5, 0), (4, 3)):
        assert card.status(0xFA, p1, p2) == 0x6B00
    for p1, p2 in ((0, 0), (5, 0), (4, 3)):
        assert card.status(0xFC, p1, p2, b"x") == 0x6A86


def test_states_of_before_are_read() -> None:
    """Without the slots of NFT cards, and without the flag of a disabled reset."""
    state = to_json(ready_memory("N", user_data=b"first slot"))
    del state["more_user_data"], state["reset_disabled"]
    card = Host(Card(from_json(state))).connect()
    card.verify()
    assert card.get(0xFA, 1, 0) == b"first slot"
    assert card.status(0xFD, data=PUK) == OK


def test_a_disabled_reset() -> None:
    """Refused before the PUK is looked at; kept in the state file."""
    memory = seeded_memory(reset_disabled=True)
    card = Host(Card(from_json(to_json(memory)))).connect()
    for puk in (PUK, b"x" * 12):
        assert card.status(0xFD, data=puk) == 0x6985
    assert card.card.counters.puk_tries == 0
    assert card.get(0xFA)[:1] == b"L"


def test_nft_clear_reading() -> None:
    card = host(ready_memory("N"))
    card.get(0xD4, data=pin())
    point = card.get(0xC2, 0, 1)
    card.get(0xC5, 1, 0, b"\1" + PUK)
    assert card.clear(0xC2, 0, 1)[1] == point
    assert card.clear(0xC2, 0x10, 1)[0] == 0x6A86
    assert len(compress(point)) == 33
