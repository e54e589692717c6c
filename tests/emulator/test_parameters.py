"""Wrong P1 and P2, and data where none belongs: refused by every command, before anything is tried or done."""

from __future__ import annotations

import pytest

from cryptnox_core.wire import Ins
from tests.emulator.client import OK, PUK, Host, host, path, pin, ready_memory, seeded_memory

SEEDED = [
    (Ins.SET_PINLESS_PATH, 0, PUK),
    (Ins.SET_PUB_EXPORT, 0, b"\1" + PUK),
    (Ins.DERIVE_KEY, 0, path(1)),
    (Ins.SIGN_PUBLIC, 0, b""),
    (Ins.DECRYPT, 0, pin() + bytes(65)),
    (Ins.ADD_USER_KEY, 0, b"\1" + bytes(129) + PUK),
    (Ins.DELETE_USER_KEY, 0, b"\1" + PUK),
    (Ins.GET_HISTORY, 0, b""),
    (Ins.GENERATE_RANDOM, 16, b""),
]
EMPTY = [
    (Ins.LOAD_KEY, 3, bytes(16) + pin()),
    (Ins.GENERATE_KEY, 0, pin()),
    (Ins.GENERATE_SEED_WRAP_KEY, 0, b"\x08\0"),
]
ONLY_P1_ZERO = (
    Ins.SET_PINLESS_PATH,
    Ins.ADD_USER_KEY,
    Ins.DELETE_USER_KEY,
    Ins.GENERATE_KEY,
    Ins.GENERATE_SEED_WRAP_KEY,
)


def verified(ins: Ins) -> Host:
    empty = ins in [row[0] for row in EMPTY]
    card = host(ready_memory() if empty else seeded_memory())
    card.verify()
    return card


@pytest.mark.parametrize(("ins", "p1", "data"), SEEDED + EMPTY)
def test_p1_and_p2(ins: Ins, p1: int, data: bytes) -> None:
    card = verified(ins)
    assert card.status(ins, p1, 1, data) == 0x6A86
    if ins in ONLY_P1_ZERO:
        assert card.status(ins, 1, 0, data) == 0x6A86
    assert card.card.counters.puk_tries == card.card.counters.pin_tries == 0
    assert card.card.memory == (ready_memory() if (ins, p1, data) in EMPTY else seeded_memory())


@pytest.mark.parametrize(("ins", "p1"), [(Ins.SIGN_PUBLIC, 0), (Ins.GET_HISTORY, 0), (Ins.GENERATE_RANDOM, 16)])
def test_data_where_none_belongs(ins: Ins, p1: int) -> None:
    card = verified(ins)
    assert card.status(ins, p1, 0, b"x") == 0x6700
    assert card.status(ins, p1, 0) == OK


@pytest.mark.parametrize("ins", [Ins.GET_CARD_PUBLIC_KEY, Ins.GET_CARD_CERTIFICATE, Ins.INIT])
@pytest.mark.parametrize(("p1", "p2"), [(2, 0), (0, 1)])
def test_in_the_clear(ins: Ins, p1: int, p2: int) -> None:
    card = host(ready_memory(initialized=True))
    card.card.memory.initialized = False
    assert card.clear(ins, p1, p2, bytes(8)) == (0x6A86, b"")


def test_the_card_key_takes_no_data() -> None:
    assert host(ready_memory()).clear(Ins.GET_CARD_PUBLIC_KEY, 0, 0, b"x") == (0x6700, b"")
