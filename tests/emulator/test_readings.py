"""Each reading of docs/emulator.md: what it changes against the first one."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from cryptnox_core.emulator.readings import Reading
from tests.emulator.client import OK, PUK, H, Host, host, path, pin, public_point, seeded_memory

DIGEST = hashlib.sha256(b"m").digest()
BAD_PUK = b"x" * 12
WRONG = "1111"


def card_of(*readings: Reading, **changes: object) -> Host:
    return host(seeded_memory(**changes), readings)


def test_all_have_the_documented_names() -> None:
    assert [reading.value for reading in Reading] == [
        "derive-08-only",
        "mac-len-value",
        "mac-len-value-only",
        "outer-sw",
        "pin-query-sw",
        "pin-optional-in-sign",
        "pin-ends-at-sign",
        "tries-min",
        "softlock-6985",
        "no-f7-after-f8",
        "current-lost-at-power-off",
        "puk-9840",
        "puk-984x",
        "clearpub-33",
        "clearpub-32",
        "pin-auth-off-takes-pin",
        "page-6b00",
        "adduser-needs-pin",
        "select-v2",
        "musig2",
        "musig2-no-second",
        "musig2-as-printed",
    ]


def test_mac_len_value() -> None:
    assert card_of().send(0xFA, extended=True, by_value=True) == (0x6982, b"")
    assert card_of().status(0xFA, extended=True) == OK
    card = card_of(Reading.MAC_LEN_VALUE)
    assert card.send(0xFA, extended=True, by_value=True)[0] == OK
    assert card.status(0xFA, extended=True) == OK
    assert card.status(0xFA) == OK
    card = card_of(Reading.MAC_LEN_VALUE_ONLY)
    assert card.send(0xFA, extended=True, by_value=True)[0] == OK
    assert card.status(0xFA) == OK
    card.verify()
    assert card.status(0xFC, data=bytes(300)) == OK  # three bytes by value, too
    assert card.send(0xFA, extended=True) == (0x6982, b"")
    assert card.send(0xFA) == (0x6985, b"")  # which has ended the channel


def test_outer_sw() -> None:
    for status, ins, data in ((0x6D00, 0xE0, b""), (0x6700, 0x20, b"12")):
        card = card_of()
        assert card.status(ins, data=data) == status and card.outer == OK
        card = card_of(Reading.OUTER_SW)
        assert card.status(ins, data=data) == status and card.outer == status
        assert card.send(0xFA) == (0x6985, b"")
    card = card_of(Reading.OUTER_SW)
    assert card.verify(WRONG) == 0x63C5 and card.outer == OK


def test_pin_query_sw() -> None:
    card = card_of(Reading.PIN_QUERY_SW)
    assert card.status(0x20) == 0x63C6
    card.verify(WRONG)
    assert card.status(0x20) == 0x63C5
    assert card.card.counters.pin_tries == 1


def test_pin_optional_in_sign() -> None:
    card = card_of(Reading.PIN_OPTIONAL_IN_SIGN)
    assert card.status(0xC0, 0, 0, DIGEST) == 0x6985
    for data, p1 in ((DIGEST, 0), (DIGEST + path(H, 1, 2), 1)):
        card.verify()
        assert card.status(0xC0, p1, 0, data) == OK
        assert card.status(0xD1) == 0x6985  # a signature resets the PIN
        assert card.status(0xC0, p1, 0, data) == 0x6985
        assert card.status(0xC0, p1, 0, data + pin()) == OK
        assert card.status(0xD1) == OK
    assert card.status(0xC0, 1, 0, DIGEST + path(H, 1, 2) + pin(WRONG)) == 0x63C5
    assert card.card.counters.pin_tries == 1


def test_pin_ends_at_sign() -> None:
    card = card_of(Reading.PIN_ENDS_AT_SIGN)
    assert card.status(0xC0, 0, 0, DIGEST + pin()) == OK
    assert card.status(0xD1) == 0x6985


def test_tries_min() -> None:
    card = card_of(Reading.TRIES_MIN)
    assert card.get(0x20) == b"\3"
    assert [card.verify(WRONG) for _ in range(4)] == [0x63C2, 0x63C1, 0x63C0, 0x63C0]
    assert card.get(0x20) == b"\0"
    card.power_cycle()
    assert card.get(0x20) == b"\3"
    assert [card.verify(WRONG) for _ in range(3)] == [0x63C2, 0x63C1, 0x63C0]
    card.power_cycle()
    assert card.get(0x20) == b"\0"


def test_softlock_6985() -> None:
    card = card_of(Reading.SOFTLOCK_6985)
    assert [card.verify(WRONG) for _ in range(3)] == [0x63C5, 0x63C4, 0x63C3]
    assert card.verify() == 0x6985
    assert card.status(0xFA) == 0x6985 and card.outer == OK
    assert card.clear(0xF7)[0] == 0x6985
    assert card.clear(0xA4, 4, 0, bytes.fromhex("A0000010000112"), cla=0)[0] == 0x6985
    card.power_cycle()
    for _ in range(3):
        card.verify(WRONG)
    assert card.verify() == 0x63C0  # blocked is not soft-locked
    assert card.status(0x22, data=PUK + pin("4321")) == OK


def test_no_f7_after_f8() -> None:
    assert card_of().clear(0xF7)[0] == OK
    card = card_of(Reading.NO_F7_AFTER_F8)
    assert card.clear(0xF7)[0] == 0x6985
    card.select()
    assert card.clear(0xF7)[0] == OK


def test_current_lost_at_power_off() -> None:
    for readings, expected in (((), path(H, 1)), ((Reading.CURRENT_LOST,), b"")):
        card = card_of(*readings)
        card.verify()
        card.get(0xD1, 0, 0, path(H, 1))
        card.connect()
        card.verify()
        assert card.get(0xC2, 0, 0) == path(H, 1)
        card.power_cycle()
        card.verify()
        assert card.get(0xC2, 0, 0) == expected


@pytest.mark.parametrize(("reading", "statuses"), [(Reading.PUK_9840, [0x9840] * 13), (Reading.PUK_984X, [])])
def test_wrong_puk(reading: Reading, statuses: list[int]) -> None:
    card = card_of(reading)
    expected = statuses or [0x9840 | left for left in (*range(11, -1, -1), 0)]
    assert [card.status(0xDA, data=bytes(32) + BAD_PUK) for _ in range(13)] == expected
    assert card.card.counters.puk_tries == 12


def test_puk_984x_of_change_puk() -> None:
    assert card_of(Reading.PUK_984X).status(0x21, 1, 0, BAD_PUK + BAD_PUK) == 0x984B


@pytest.mark.parametrize(
    ("readings", "length"), [((), 65), ((Reading.CLEAR_PUBKEY_33,), 33), ((Reading.CLEAR_PUBKEY_32,), 32)]
)
def test_clear_public_key(readings: tuple[Reading, ...], length: int) -> None:
    card = card_of(*readings, clear_pubkey=True)
    point = card.get(0xC2, 0, 1)
    answer = card.clear(0xC2, 0, 1)[1]
    assert len(point) == 65 and len(answer) == length
    assert point[1:33] in answer


def test_page_6b00() -> None:
    card = card_of(Reading.PAGE_6B00)
    card.verify()
    assert card.status(0xFA, 0, 1, extended=True) == 0x6B00
    card.get(0xFC, 0, 0, b"x")
    assert card.get(0xFA, 0, 1, extended=True) == b"x"
    assert card.status(0xFA, 0, 2, extended=True) == 0x6B00


def test_derive_08_only() -> None:
    for p1 in (0x00, 0x10, 0x40, 0x80, 0x50, 0x90):
        for readings, status in (((), OK), ((Reading.DERIVE_08_ONLY,), 0x6A86)):
            card = card_of(*readings)
            card.verify()
            for curve in (0x08, 0x18):
                assert card.status(0xD1, curve, 0, path(H, 1)) == OK
            assert card.status(0xD1, p1, 0, path(2)) == status
            assert card.status(0xD1, p1 | 0x08, 0, path(2)) == OK
            assert card.status(0xD1, p1 | 0x09, 0, path(2)) == 0x6A86


def test_pin_auth_off_takes_pin() -> None:
    key = public_point(ec.generate_private_key(ec.SECP256R1()))
    for readings, status in (((), 0x6986), ((Reading.PIN_AUTH_OFF_TAKES_PIN,), OK)):
        card = card_of(*readings)
        card.get(0xD5, data=b"\1" + bytes(64) + key + PUK)
        card.get(0xC3, data=b"\1" + PUK)
        assert card.verify() == 0x6986
        assert card.status(0xC0, 0, 0, DIGEST + pin()) == status
        assert card.status(0xC0, 1, 0, DIGEST + path(H, 1) + pin()) == status
        assert card.status(0xD0, 3, 0, bytes(16) + pin()) == 0x6986
    assert card.status(0xC0, 0, 0, DIGEST + pin(WRONG)) == 0x63C5
    assert card.card.counters.pin_tries == 1


def test_adduser_needs_pin() -> None:
    key = public_point(ec.generate_private_key(ec.SECP256R1()))
    card = card_of(Reading.ADD_USER_KEY_NEEDS_PIN)
    assert card.status(0xD5, data=b"\1" + bytes(64) + key + PUK) == 0x6985
    card.verify()
    assert card.status(0xD5, data=b"\1" + bytes(64) + key + PUK) == OK


def test_select_v2() -> None:
    card = card_of(Reading.SELECT_V2, reset_disabled=True)
    answer = card.select()
    assert len(answer) == 36 and answer[:4] == b"B\2\0\0"
    assert int.from_bytes(answer[4:6], "big") & 0xFE == 0xF0
    key = public_point(ec.generate_private_key(ec.SECP256R1()))
    card = card_of(Reading.SELECT_V2)
    for slot in (4, 5):
        assert card_of().status(0xD5, data=bytes([slot]) + bytes(64) + key + PUK) == 0x6A80
        assert card.status(0xD5, data=bytes([slot]) + bytes(64) + key + PUK) == OK
    card.verify()
    assert card.get(0xFA, 5, 0) == bytes(64) + key
    answer = card.select()
    assert int.from_bytes(answer[4:6], "big") & 0xFE == 0x70
    assert answer[6:8] == b"\0\x30"  # bit 3 is skipped
