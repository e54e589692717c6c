"""PIN and PUK of the emulated card: counting, locks, changes, reset."""

from __future__ import annotations

import os

import pytest

from cryptnox_core.emulator.memory import UserKey
from cryptnox_core.wire import UserKeySlot
from tests.emulator.client import COMMON, OK, PIN, PUK, Host, host, pin, ready_memory, seeded_memory

WRONG = "999999"
BAD_PUK = b"x" * 12


def asked(card: Host) -> int:
    answer = card.get(0x20)
    assert len(answer) == 1
    return answer[0]


def blocked() -> Host:
    card = host(seeded_memory())
    for _ in range(2):
        for _ in range(3):
            card.verify(WRONG)
        card.power_cycle()
    return card


@pytest.mark.parametrize("data", [b"000000", pin()])
def test_padded_or_not(data: bytes) -> None:
    assert host(seeded_memory()).status(0x20, data=data) == OK


@pytest.mark.parametrize("length", [1, 2, 3, 10, 12])
def test_length(length: int) -> None:
    card = host(seeded_memory())
    assert card.status(0x20, data=b"0" * length) == 0x6700
    assert asked(card) == 6


def test_counting_down_to_blocked() -> None:
    card = host(seeded_memory())
    assert asked(card) == 6
    assert [card.verify(WRONG) for _ in range(3)] == [0x63C5, 0x63C4, 0x63C3]
    assert asked(card) == 3
    assert [card.verify(WRONG), card.verify(PIN)] == [0x63C0, 0x63C0]
    assert card.card.counters.pin_tries == 3
    card.connect()
    assert card.verify(PIN) == 0x63C0  # a new SELECT is no power cycle
    card.power_cycle()
    assert asked(card) == 3
    assert [card.verify(WRONG) for _ in range(3)] == [0x63C2, 0x63C1, 0x63C0]
    card.power_cycle()
    assert asked(card) == 0
    assert card.verify(PIN) == 0x63C0
    assert card.card.counters.pin_tries == 6


def test_the_right_pin_restores_all_tries() -> None:
    card = host(seeded_memory())
    card.verify(WRONG)
    card.verify(WRONG)
    assert card.verify() == OK
    assert asked(card) == 6
    assert [card.verify(WRONG) for _ in range(3)] == [0x63C5, 0x63C4, 0x63C3]


def test_a_wrong_pin_drops_the_verification() -> None:
    card = host(seeded_memory())
    card.verify()
    assert card.status(0xD1) == OK
    card.verify(WRONG)
    assert card.status(0xD1) == 0x6985


def test_change_pin() -> None:
    card = host(seeded_memory())
    assert card.status(0x21, data=pin("1234")) == 0x6985
    card.verify()
    for bad in (pin("123"), b"1234", b"12345678a", pin("1234") + b"x", b"\0" * 9):
        assert card.status(0x21, data=bad) == 0x6A80
    assert card.status(0x21, data=pin("1234")) == OK
    assert card.status(0xD1) == OK
    assert card.verify("1234") == OK
    assert card.verify() == 0x63C5


def test_change_pin_with_the_puk() -> None:
    card = host(seeded_memory())
    assert card.status(0x21, data=pin("1234") + BAD_PUK) == 0x6985
    assert card.card.counters.puk_tries == 1
    assert card.status(0x21, data=pin("1234") + PUK) == OK
    assert card.status(0xD1) == OK
    assert card.verify("1234") == OK


def test_change_pin_does_not_unblock() -> None:
    card = blocked()
    assert card.status(0x21, data=pin("1234") + PUK) == 0x6985


def test_change_puk() -> None:
    card = host(seeded_memory())
    new = b"new puk 1234"
    assert card.status(0x21, 1, 0, new + PUK[:-1]) == 0x6A80
    assert card.status(0x21, 1, 0, new + BAD_PUK) == 0x9840
    assert card.status(0x21, 1, 0, new + PUK) == OK
    assert card.status(0x21, 1, 0, new + PUK) == 0x9840
    assert card.status(0xDA, data=COMMON + new) == OK
    assert card.status(0x21, 2, 0, new + new) == 0x6A86


def test_unblock() -> None:
    card = host(seeded_memory())
    assert card.status(0x22, data=PUK + pin("1234")) == 0x6985
    assert card.status(0x22) == 0x6985
    card = blocked()
    assert card.status(0x22) == 0x6A80
    assert card.status(0x22, data=PUK + b"1234") == 0x6A80
    assert card.status(0x22, data=PUK + pin("12")) == 0x6A80
    assert card.status(0x22, data=BAD_PUK + pin("1234")) == 0x63CB
    assert card.status(0x22, data=PUK + pin("1234")) == OK
    assert card.status(0xD1) == OK
    assert asked(card) == 6
    assert card.verify("1234") == OK


def test_puk_tries_of_a_power_cycle() -> None:
    card = host(seeded_memory())
    left = [card.status(0xDA, data=COMMON + BAD_PUK) & 0xF for _ in range(12)]
    assert left == list(range(11, -1, -1))
    assert card.status(0xDA, data=COMMON + PUK) == 0x63C0
    assert card.card.counters.puk_tries == 12
    card.power_cycle()
    assert card.status(0xDA, data=COMMON + BAD_PUK) == 0x63CB
    assert card.status(0xDA, data=COMMON + PUK) == OK
    assert card.status(0xDA, data=COMMON + BAD_PUK) == 0x63CB


def test_change_pairing_key() -> None:
    card = host(seeded_memory())
    new = os.urandom(32)
    assert card.status(0xDA, data=new + PUK + b"x") == 0x6700
    assert card.status(0xDA, 1, 0, new + PUK) == 0x6A86
    assert card.status(0xDA, data=new + PUK) == OK
    assert card.status(0xFA) == OK
    card.select()
    card.session()
    assert card.open() == 0x6982
    card.pairing = new
    card.session()
    assert card.open() == OK


def test_pin_auth_off() -> None:
    memory = seeded_memory()
    card = host(memory)
    assert card.status(0xC3, data=b"\1" + PUK) == 0x6986
    memory.user_keys[UserKeySlot.EC] = UserKey(bytes(64), bytes(65))
    card.verify()
    assert card.status(0xC3, data=b"\1" + PUK + b"x") == 0x6A80
    assert card.status(0xC3, data=b"\1" + BAD_PUK) == 0x63CB
    assert card.status(0xC3, data=b"\1" + PUK) == OK
    assert card.status(0xD1) == 0x6985
    assert card.verify() == 0x6986
    assert card.status(0x20) == 0x6986
    assert card.status(0x21, data=pin("1234")) == 0x6985
    assert card.status(0x21, data=pin("1234") + PUK) == OK
    assert card.status(0xD1) == 0x6985
    assert card.status(0x22, data=PUK + pin()) == 0x6985
    assert card.status(0xC0, 0, 0, bytes(32) + pin("1234")) == 0x6986
    assert card.status(0xC3, data=b"\0" + PUK) == OK
    assert card.verify("1234") == OK


def test_reset() -> None:
    card = host(seeded_memory(name=b"Alice", counter=3, xpub_export=True, user_data=b"x", custom=b"c" * 16))
    assert card.status(0xFD, data=PUK + b"x") == 0x6A80
    assert card.status(0xFD, data=BAD_PUK) == 0x63CB
    serial = card.card.memory.serial
    assert card.status(0xFD, data=PUK) == OK
    assert card.send(0xFA) == (0x6985, b"")
    assert card.clear(0xF4)[0] == 0x6985
    assert card.select()[4:] == bytes(20)
    assert card.certificate().serial_number == serial
    card.session()
    assert card.open() == 0x6985


def test_a_torn_reset_takes_the_keys_only() -> None:
    card = host(seeded_memory())
    frame, _ = card.wrap(0xFD, 0, 0, PUK)
    card.card.process(frame, torn=True)
    card.power_cycle()
    assert card.select()[4:6] == b"\x00\x50"
    card.connect()
    assert card.verify() == OK
    assert card.status(0xD1) == 0x6985


def test_p1_p2() -> None:
    card = host(ready_memory())
    for ins in (0x20, 0x22, 0xDA, 0xC3, 0xFD):
        assert card.status(ins, 1, 0) == 0x6A86
        assert card.status(ins, 0, 1) == 0x6A86
    assert card.status(0x21, 0, 1) == 0x6A86
