"""PIN authentication off, status word by status word: what a PIN, an answered challenge and an approved hash open."""

from __future__ import annotations

import pytest

from cryptnox_core.emulator.memory import from_json, to_json
from cryptnox_core.emulator.readings import Reading
from tests.emulator.client import OK, PUK, H, Host, host, path, pin, public_point, seeded_memory
from tests.emulator.test_user_keys import DIGESTS, EC_KEY, MODULUS, ec_sign, registration, rsa_sign

DIGEST, OTHER = DIGESTS[:2]
POINT = public_point(EC_KEY)
SEED_16 = bytes(range(16))
PIN_COMMANDS = {
    # What the PIN opens: instruction, P1, P2, data, and what it answers when it is open.
    "DERIVE KEY": (0xD1, 0x08, 0, path(H), OK),
    "GET PUBKEY": (0xC2, 0, 1, b"", OK),
    "GET PUBKEY on the fly": (0xC2, 1, 1, path(H), OK),
    "SIGN PUBLIC": (0xC6, 0, 0, b"", OK),
    "READ DATA, a key": (0xFA, 1, 0, b"", OK),
    "READ DATA, a page": (0xFA, 0, 1, b"", OK),
    "WRITE DATA": (0xFC, 0, 0, b"x", OK),
}
"""GET HISTORY, card info and random numbers are open to the channel alone."""


def off(*readings: Reading, **memory: object) -> Host:
    """A card with both kinds of keys, and PIN authentication off."""
    card = host(seeded_memory(**memory), readings)
    card.get(0xD5, data=registration(1, POINT))
    card.get(0xD5, data=registration(2, MODULUS))
    card.get(0xC3, data=b"\1" + PUK)
    return card


def answered(card: Host) -> Host:
    challenge = card.get(0xD6, 1)
    assert card.get(0xD6, 2, 0, b"\1" + ec_sign(challenge)) == b"\1"
    return card


def approved(card: Host, *digests: bytes) -> Host:
    if len(digests) == 1:
        assert card.get(0xD6, 0, 0, b"\1" + digests[0] + ec_sign(digests[0])) == b"\1"
    else:
        listed = bytes([len(digests)]) + b"".join(digests)
        assert card.get(0xD6, 0x10, 0, b"\1" + listed + ec_sign(listed)) == b"\1"
    return card


@pytest.mark.parametrize("name", PIN_COMMANDS)
def test_what_the_pin_opens_is_opened_by_an_answer_alone(name: str) -> None:
    ins, p1, p2, data, status = PIN_COMMANDS[name]
    card = off()
    assert card.verify() == 0x6986
    assert card.status(ins, p1, p2, data) == 0x6985
    approved(card, DIGEST)
    assert card.status(ins, p1, p2, data) == 0x6985, "an approved hash opens nothing but its own SIGN"
    answered(card)
    assert card.status(ins, p1, p2, data) == status
    card.connect()
    assert card.status(ins, p1, p2, data) == 0x6985, "it ends with the selection"


def test_the_flag() -> None:
    card = off()
    assert card.select()[4:6] == b"\0\x60"
    card.connect()
    assert card.status(0xC3, data=b"\0" + PUK) == OK
    assert card.select()[4:6] == b"\0\x70"


def test_it_is_remembered() -> None:
    card = off()
    again = host(from_json(to_json(card.card.memory)))
    assert again.verify() == 0x6986
    assert again.card.memory.factory().pin_auth, "a reset allows the PIN again"


def test_commands_that_take_a_pin_in_their_data() -> None:
    """No PIN is looked at, so none is spent, right or wrong."""
    card, own = off(), public_point(EC_KEY)
    for given in (pin(), pin("999999")):
        for ins, p1, data in (
            (0x20, 0, given),
            (0xC0, 0, DIGEST + given),
            (0xC0, 1, DIGEST + path(H, 1) + given),
            (0xC4, 0, given + own),
            (0xD0, 3, SEED_16 + given),
            (0xD4, 0, given),
        ):
            assert card.status(ins, p1, 0, data) == 0x6986
    assert card.status(0x20) == 0x6986
    assert card.status(0x21, data=pin("1234")) == 0x6985
    assert card.status(0x22, data=PUK + pin()) == 0x6985
    assert card.card.counters.pin_tries == 0
    assert card.card.counters.signatures == 0


@pytest.mark.parametrize("readings", [(), (Reading.PIN_OPTIONAL_IN_SIGN,)], ids=["first", "pin-optional-in-sign"])
def test_an_answer_opens_no_signature(readings: tuple[Reading, ...]) -> None:
    card = answered(off(*readings))
    refused = 0x6985 if readings else 0x6700
    assert card.status(0xC0, 0, 0, DIGEST) == refused
    assert card.status(0xC0, 1, 0, DIGEST + path(H)) == refused
    assert card.status(0xC0, 1, 0, DIGEST + path(H, 1, 2)) == (0x6985 if readings else 0x6986)
    assert card.card.counters.signatures == 0


def test_the_end_of_an_approval() -> None:
    """A wrong digest leaves it; the signature, a new channel and another approval end it."""
    card = approved(off(), DIGEST)
    assert card.status(0xC0, 0, 0, OTHER) == 0x6985
    assert card.status(0xC0, 0, 0, DIGEST + pin()) == 0x6A80
    assert card.status(0xC0, 1, 0, DIGEST + b"\0\0\0") == 0x6A80
    assert card.status(0xC0, 1, 0, DIGEST) == 0x6A80
    assert card.status(0xC0, 0, 0, DIGEST) == OK
    assert card.status(0xC0, 0, 0, DIGEST) == 0x6700
    approved(approved(card, DIGEST), OTHER)
    assert card.status(0xC0, 0, 0, DIGEST) == 0x6985
    card.connect()
    assert card.status(0xC0, 0, 0, OTHER) == 0x6700


def test_afterwards() -> None:
    """The user key's authentication is left open; under the other reading every signature ends it."""
    for readings, status in (((), OK), ((Reading.PIN_ENDS_AT_SIGN,), 0x6985)):
        card = approved(off(*readings), DIGEST, OTHER)
        assert card.status(0xC0, 0, 0, DIGEST) == OK
        assert card.status(0xD1, 8) == 0x6985
        assert card.status(0xC0, 0, 0, OTHER) == OK
        assert card.status(0xD1, 8) == status


def test_what_is_approved_may_be_approved_again() -> None:
    """The card keeps no list: a user key's signature is good for its digest, and for no other, as often as given."""
    card, signature = off(), ec_sign(DIGEST)
    for _ in range(2):
        assert card.get(0xD6, 0, 0, b"\1" + DIGEST + signature) == b"\1"
        assert card.status(0xC0, 0, 0, DIGEST) == OK
    assert card.get(0xD6, 0, 0, b"\1" + OTHER + signature) == b"\0"
    assert card.get(0xD6, 0x10, 0, b"\1\1" + DIGEST + signature) == b"\0"
    card.get(0xD6, 1)
    assert card.get(0xD6, 2, 0, b"\1" + signature) == b"\0", "nor for a challenge"
    assert card.get(0xD6, 0, 0, b"\2" + DIGEST + rsa_sign(DIGEST)) == b"\1"
    assert card.status(0xC0, 0, 0, DIGEST) == OK


def test_a_pinless_path_needs_nobody() -> None:
    card = off()
    pinless = path(H | 43, H | 60, H | 1581, 0)
    assert card.status(0xC0, 3, 0, DIGEST) == 0x6A88
    assert card.status(0xC1, data=PUK + pinless) == OK
    assert card.status(0xC0, 3, 0, DIGEST) == OK
    assert card.clear(0xC0, 3, 0, DIGEST)[0] == OK


def test_a_pin_that_signs_all_the_same() -> None:
    """The other reading: SIGN takes a PIN although PIN authentication is off, and counts wrong ones; only SIGN does."""
    card = off(Reading.PIN_AUTH_OFF_TAKES_PIN)
    assert card.status(0xC0, 1, 0, DIGEST + path(H) + pin()) == OK
    for left in (5, 4, 3):
        assert card.status(0xC0, 0, 0, DIGEST + pin("999999")) == 0x63C0 | left
    assert card.status(0xC0, 0, 0, DIGEST + pin()) == 0x63C0, "a power cycle is wanted"
    assert card.card.counters.pin_tries == 3
    assert card.status(0x20) == 0x6986
    assert card.status(0xD4, data=pin()) == 0x6986
    approved(card, DIGEST)
    assert card.status(0xC0, 0, 0, DIGEST) == OK, "a user key still signs"
