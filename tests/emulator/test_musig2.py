"""MuSig2 of the emulated card, and the card's part of it in the library, with signers that share no code with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptnox_core.apdu import CommandApdu
from cryptnox_core.bip32 import Path
from cryptnox_core.card import Card
from cryptnox_core.commands import musig2
from cryptnox_core.commands.base import Command, apdu
from cryptnox_core.crypto.musig2 import Session, aggregate_keys, aggregate_nonces
from cryptnox_core.crypto.points import ORDER
from cryptnox_core.crypto.secp256k1 import taproot_output_key, verify_schnorr
from cryptnox_core.emulator.faults import Fault, FaultKind
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.errors import BadSignatureError, CryptnoxError, NotAllowedError, NotSupportedError, UsageError
from cryptnox_core.wire import Ins
from tests.core.emulated import PIN, EmulatedReader, apdus, seeded
from tests.support.cosigner import Aggregate, Cosigner

PATH = Path.parse("m/86h/0h/0h/0/5")
MESSAGE = bytes(range(32))
OTHERS = (Reading.MUSIG2_NO_SECOND, Reading.MUSIG2_AS_PRINTED)


def opened(*readings: Reading) -> tuple[Card, bytes]:
    """A card at its key."""
    card = EmulatedReader.of(seeded(), *readings).open()
    card.derive(PATH)
    return card, card.public_key()


def signed_by_all(card: Card, own: bytes, others: list[Cosigner], *, at: int, tweaks: list[tuple[int, bool]]) -> bytes:
    """The signature of the card and the others over MESSAGE, the card's key at a place of the list."""
    keys = [other.key for other in others]
    keys.insert(at, own)
    aggregate, theirs = aggregate_keys(keys), Aggregate(keys, tweaks)
    for value, xonly in tweaks:
        aggregate = aggregate.tweaked(value.to_bytes(32, "big"), xonly=xonly)
    nonces = [other.nonce() for other in others]
    part = card.musig2_sign(aggregate, nonces, MESSAGE, public_key=own)
    session = Session(aggregate, aggregate_nonces([*nonces, part.nonce]), MESSAGE)
    partials = [other.sign(theirs, session.nonces, MESSAGE) for other in others]
    return session.signature([*partials, part.partial])


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_with_other_signers(data: st.DataObject) -> None:
    """Any number of them, any order, any parities, with and without tweaks: the whole is a BIP340 signature."""
    card, own = opened(Reading.MUSIG2)
    others = [Cosigner(secret) for secret in data.draw(st.lists(st.integers(1, ORDER - 1), min_size=1, max_size=3))]
    tweaks = data.draw(st.lists(st.tuples(st.integers(0, ORDER - 1), st.booleans()), max_size=2))
    at = data.draw(st.integers(0, len(others)))
    signature = signed_by_all(card, own, others, at=at, tweaks=tweaks)
    keys = [other.key for other in others]
    keys.insert(at, own)
    assert verify_schnorr(Aggregate(keys, tweaks).xonly, MESSAGE, signature)


@pytest.mark.parametrize("reading", [Reading.MUSIG2, *OTHERS])
def test_the_key_path_of_bip86(reading: Reading) -> None:
    """The list [any other key, the card's]: the card's coefficient is 1, so that its part over P + tG, and e * t, are a
    signature of the output key. Any card that is not exactly BIP327 hands out none."""
    worked = 0
    for number in range(40):
        card, _ = opened(reading)
        card.derive(Path((*PATH.steps[:-1], number)))
        own = card.public_key()
        output, _ = taproot_output_key(own[1:])
        try:
            signature = card.sign_key_path(MESSAGE, public_key=own).signature
        except BadSignatureError:
            assert reading is not Reading.MUSIG2
            continue
        assert verify_schnorr(output, MESSAGE, signature)
        worked += 1
    assert worked == 40 if reading is Reading.MUSIG2 else worked < 40


@pytest.mark.parametrize("reading", OTHERS)
def test_a_card_that_is_not_exactly_bip327_hands_nothing_wrong_out(reading: Reading) -> None:
    """Its part verifies, or is thrown away."""
    refused = 0
    for secret in range(2, 26):
        card, own = opened(reading)
        others = [Cosigner(secret)]
        try:
            signature = signed_by_all(card, own, others, at=secret % 2, tweaks=[(secret, True)])
        except BadSignatureError:
            refused += 1
            continue
        keys = [others[0].key]
        keys.insert(secret % 2, own)
        assert verify_schnorr(Aggregate(keys, [(secret, True)]).xonly, MESSAGE, signature)
    assert refused


def test_a_card_without_musig2() -> None:
    card, own = opened()
    with pytest.raises(NotSupportedError) as caught:
        card.musig2_sign(aggregate_keys([own]), [], MESSAGE, public_key=own)
    assert caught.value.sw == 0x6D00


def test_every_part_has_new_nonces() -> None:
    card, own = opened(Reading.MUSIG2)
    other = Cosigner(9)
    aggregate = aggregate_keys([other.key, own])
    parts = [card.musig2_sign(aggregate, [other.nonce()], MESSAGE, public_key=own) for _ in range(20)]
    assert len({part.nonce[:33] for part in parts} | {part.nonce[33:] for part in parts}) == 40


def test_a_nonce_signs_once() -> None:
    """The card forgets it with the first PARTIAL SIGN, whatever comes of that."""
    card, own = opened(Reading.MUSIG2)
    nonce = card.send(musig2.GenerateNonce())
    card.send(musig2.LoadCosignerKey(own))
    command = musig2.SignPartially(nonce, own, MESSAGE)
    assert len(card.send(command)) == 32
    with pytest.raises(NotAllowedError):
        card.send(command)
    card.send(musig2.GenerateNonce())
    with pytest.raises(NotAllowedError):  # no key was loaded
        card.send(command)
    with pytest.raises(NotAllowedError):  # and the nonce is gone by that
        card.send(musig2.LoadCosignerKey(own))


def test_another_key_or_no_pin() -> None:
    card, own = opened(Reading.MUSIG2)
    nonce = card.send(musig2.GenerateNonce())
    card.send(musig2.LoadCosignerKey(own))
    card.derive(Path.parse("m/86h/0h/0h/0/6"))
    with pytest.raises(NotAllowedError):
        card.send(musig2.SignPartially(nonce, own, MESSAGE))
    reader = EmulatedReader.of(seeded(), Reading.MUSIG2)
    without = reader.open(pin=None)
    with pytest.raises(CryptnoxError) as caught:
        without.send(musig2.GenerateNonce())
    assert getattr(caught.value, "sw", 0) == 0x6985


KINDS = [FaultKind.REMOVE, FaultKind.RESET, FaultKind.GARBAGE, FaultKind.BADMAC]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
@pytest.mark.parametrize("ins", [Ins.NONCE_GEN, Ins.MUSIG2])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_fault_ends_it_and_another_try_works(kind: FaultKind, ins: Ins, nth: int) -> None:
    """Nothing is sent again, and the second try has nonces of its own."""
    if ins is Ins.NONCE_GEN and nth > 1:
        pytest.skip("there is one NONCE GEN")
    reader = EmulatedReader.of(seeded(), Reading.MUSIG2, faults=[Fault(kind, nth, ins)])
    card = reader.open()
    card.derive(PATH)
    own = card.public_key()
    other = Cosigner(11)
    aggregate = aggregate_keys([other.key, own])
    before = len(apdus(card))
    with pytest.raises(CryptnoxError):
        card.musig2_sign(aggregate, [other.nonce()], MESSAGE, public_key=own)
    sent = [apdu[1] for apdu in apdus(card)[before:]]
    assert sent == [Ins.NONCE_GEN, Ins.MUSIG2, Ins.MUSIG2, Ins.MUSIG2][: len(sent)]
    again = reader.open()
    again.derive(PATH)
    assert verify_schnorr(aggregate.xonly, MESSAGE, signed_by_all(again, own, [other], at=1, tweaks=[]))


def test_what_is_refused_before_anything_is_sent() -> None:
    card, own = opened(Reading.MUSIG2)
    before = len(apdus(card))
    other = Cosigner(3)
    for keys, nonces, message, key in (
        ([other.key], [other.nonce()], MESSAGE, own),
        ([other.key, own], [bytes(66)], MESSAGE, own),
        ([other.key, own], [other.nonce()[:65]], MESSAGE, own),
        ([other.key, own], [other.nonce()], MESSAGE[1:], own),
        ([Cosigner(number).key for number in range(1, 33)] + [own], [], MESSAGE, own),
    ):
        with pytest.raises(UsageError):
            card.musig2_sign(aggregate_keys(keys), nonces, message, public_key=key)
    assert len(apdus(card)) == before


@pytest.mark.parametrize("card_type", ["B", "N"])
@pytest.mark.parametrize("pin", [True, False])
def test_absent_by_default(card_type: str, pin: bool) -> None:
    """6D00 to whatever is sent, right or wrong: before PIN, seed, parameters and lengths are looked at."""
    memory = seeded() if card_type == "B" else replace(seeded(), card_type=ord("N"))
    card = EmulatedReader.of(memory).open(pin=PIN if pin else None)
    for ins in (Ins.NONCE_GEN, Ins.MUSIG2):
        for p1, p2, data in ((0, 0, b""), (1, 0, bytes(33)), (2, 0, bytes(195)), (7, 7, b"x")):
            with pytest.raises(NotSupportedError) as caught:
                card.send(Raw(ins, p1, p2, data))
            assert caught.value.sw == 0x6D00


@dataclass(frozen=True, slots=True)
class Raw(Command[bytes]):
    """Anything."""

    number: Ins
    p1: int
    p2: int
    data: bytes

    ins: ClassVar[Ins] = Ins.MUSIG2

    def encode(self) -> CommandApdu:
        return apdu(self.number, self.p1, self.p2, self.data)

    def decode(self, data: bytes) -> bytes:
        return data


def test_nonces_that_come_again() -> None:
    """As the fault says: the same two points, once."""
    reader = EmulatedReader.of(seeded(), Reading.MUSIG2, faults=[Fault(FaultKind.REPEAT_NONCE, 2, Ins.NONCE_GEN)])
    card = reader.open()
    first, again, third = (card.send(musig2.GenerateNonce()) for _ in range(3))
    assert first == again != third
