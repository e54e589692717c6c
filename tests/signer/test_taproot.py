"""Which cards sign taproot key paths: asked of the emulated card under every reading, and what is believed later."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as File

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from cryptnox_core.card import Card
from cryptnox_core.crypto.hashes import tagged_hash
from cryptnox_core.derivation import Position
from cryptnox_core.emulator import ca, curves
from cryptnox_core.emulator import card as emulated
from cryptnox_core.emulator.context import Context
from cryptnox_core.emulator.faults import Fault, FaultKind
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.errors import CertificateError, CryptnoxError
from cryptnox_core.wire import Curve, Ins
from hwilib_cryptnox.signer.cards import OpenCard, Session
from hwilib_cryptnox.signer.signatures.memory import RepeatedNonceError
from hwilib_cryptnox.signer.signatures.taproot import Proof, Taproot, any_asked, any_signs, digest_of, known, note_of
from hwilib_cryptnox.signer.signatures.taproot_check import PATH, ask
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State, StateError, TaprootNote
from tests.core.emulated import PIN, SERIAL, EmulatedReader, apdus, seeded
from tests.psbt.factory import ORDER
from tests.support.curve import PrivateKey, PublicKey, PublicKeyXOnly

VERDICTS = {
    (): Taproot.ABSENT,
    (Reading.MUSIG2,): Taproot.SIGNS,
    (Reading.MUSIG2_NO_SECOND,): Taproot.DIFFERS,
    (Reading.MUSIG2_AS_PRINTED,): Taproot.DIFFERS,
}


@pytest.fixture
def state(tmp_path: File) -> State:
    return State(tmp_path / "state")


def session(card: Card, state: State) -> Session:
    return Session(OpenCard(card, "tcp:in this process", state), PIN, bytes(4), Position())


def asked(state: State, *readings: Reading, serial: int = SERIAL) -> tuple[Taproot, Card]:
    card = EmulatedReader.of(replace(seeded(), serial=serial), *readings).open()
    return ask(session(card, state), Settings(), state), card


@pytest.mark.parametrize(("readings", "verdict"), VERDICTS.items(), ids=lambda value: str(value))
def test_what_a_card_is_found_to_do(state: State, readings: tuple[Reading, ...], verdict: Taproot) -> None:
    assert not any_asked(state)
    found, card = asked(state, *readings)
    assert found is verdict
    assert known(state, card) is verdict
    assert any_signs(state) is (verdict is Taproot.SIGNS) and any_asked(state)
    assert verdict.words


def test_it_is_asked_with_all_four_parities(state: State) -> None:
    """Each signature verifies by another's arithmetic, for an output key of its own, under keys below a path that no
    wallet has; none of what was signed is the digest of a transaction or of a message."""
    _, card = asked(state, Reading.MUSIG2)
    note = state.record(card.serial).taproot
    assert note is not None and note.version == "1.6.0"
    proofs = [Proof.parse(text) for text in note.proofs]
    found = set()
    for proof in proofs:
        output = PublicKey(b"\x02" + proof.key[1:]).add(tagged_hash("TapTweak", proof.key[1:] + proof.root)).format()
        digest = digest_of(card, proof.key, proof.root)
        assert PublicKeyXOnly(output[1:]).verify(proof.signature, digest)
        found.add((proof.key[0] & 1, output[0] & 1))
    assert found == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert len({proof.key for proof in proofs}) == 2
    assert str(PATH) == "m/1413566546h"


def test_what_it_costs(state: State) -> None:
    """Two derivations to begin with, one for each key that is looked at, four commands a signature, one for
    the card's word on each of the two keys."""
    reader = EmulatedReader.of(seeded(), Reading.MUSIG2)
    card = reader.open()
    before = len(apdus(card))
    ask(session(card, state), Settings(), state)
    sent = [apdu[1] for apdu in apdus(card)[before:]]
    looked_at = sent.count(Ins.DERIVE_KEY)
    assert sent.count(Ins.GET_PUBLIC_KEY) == looked_at <= 8
    assert sent.count(Ins.NONCE_GEN) == 4 and sent.count(Ins.MUSIG2) == 12 and sent.count(Ins.SIGN_PUBLIC) == 2
    assert len(sent) == 2 * looked_at + 18
    assert reader.card.counters.derivations == looked_at + 1


# What is believed


def lies(card: Card, proofs: list[Proof]) -> dict[str, TaprootNote]:
    """Notes that no card has earned."""
    texts = [proof.to_text() for proof in proofs]
    version = ".".join(map(str, card.info.version))
    bent = [replace(proof, signature=proof.signature[:-1] + bytes((proof.signature[-1] ^ 1,))) for proof in proofs]
    own, made = PrivateKey(bytes(31) + b"\x07"), []
    for proof in proofs:
        key = own.public_key.format()
        made.append(replace(proof, key=key, signature=own.sign_schnorr(digest_of(card, key, proof.root))))
    another = ec.generate_private_key(ec.SECP256R1())
    return {
        "nothing but the word": TaprootNote(version, ("yes",)),
        "another applet": TaprootNote("9.9.9", tuple(texts)),
        "three of four": TaprootNote(version, tuple(texts[:3])),
        "one four times": TaprootNote(version, (texts[0],) * 4),
        "bent signatures": TaprootNote(version, tuple(proof.to_text() for proof in bent)),
        "roots exchanged": TaprootNote(version, tuple(replace(one, root=proofs[0].root).to_text() for one in proofs)),
        "signatures of an untweaked key": TaprootNote(version, tuple(proof.to_text() for proof in made)),
        "of another's keys, with the card's certificates of its own": note_of(
            card, Taproot.SIGNS, forged(card, lambda number, _: proofs[number].certificate)
        ),
        "of another's keys, certified by another": note_of(
            card, Taproot.SIGNS, forged(card, lambda _, key: another.sign(key, ec.ECDSA(hashes.SHA256())))
        ),
        "without certificates": TaprootNote(version, tuple(text[: 2 * 129] for text in texts)),
        "certificates exchanged": note_of(
            card, Taproot.SIGNS, [replace(proof, certificate=other.certificate) for proof, other in crossed(proofs)]
        ),
        "no points": TaprootNote(version, tuple("02" + "ff" * 32 + text[66:] for text in texts)),
        "cut short": TaprootNote(version, tuple(text[:-2] for text in texts)),
        "a problem nobody knows": TaprootNote(version, problem="signs"),
    }


def crossed(proofs: list[Proof]) -> list[tuple[Proof, Proof]]:
    """Each with one of the other key."""
    return [(proof, next(other for other in proofs if other.key != proof.key)) for proof in proofs]


def forged(card: Card, certificate: Callable[[int, bytes], bytes]) -> list[Proof]:
    """What somebody who knows the card's certificate makes with private keys of his own: all four parities, each
    signature as BIP341 says. `certificate`: given the number, and the key's 65 bytes."""
    found: dict[tuple[int, int], Proof] = {}
    number = 0
    while len(found) < 4:
        number += 1
        private, root = PrivateKey((number // 8 + 1).to_bytes(32, "big")), bytes((number % 8,)) * 32
        key = private.public_key.format()
        secret = int.from_bytes(private.secret, "big") * (1 if key[0] == 2 else -1)
        tweak = int.from_bytes(tagged_hash("TapTweak", key[1:] + root), "big")
        tweaked = PrivateKey(((secret + tweak) % ORDER).to_bytes(32, "big"))
        signature = tweaked.sign_schnorr(digest_of(card, key, root))
        proof = Proof(key, root, signature, certificate(len(found), private.public_key.format(compressed=False)))
        found.setdefault(proof.parities, proof)
    return list(found.values())


def test_what_is_forged_is_all_but_the_card_s(state: State) -> None:
    """The forger's signatures are good ones: with a certificate of the card they would be believed."""
    _, card = asked(state, Reading.MUSIG2)
    static = ca.static_key(card.serial)
    believed = forged(card, lambda _, key: static.sign(key, ec.ECDSA(hashes.SHA256())))
    state.update(card.serial, lambda now: replace(now, taproot=note_of(card, Taproot.SIGNS, believed)))
    assert known(state, card) is Taproot.SIGNS


@pytest.mark.parametrize("lie", range(14))
def test_no_entry_of_a_file_makes_a_card_sign(state: State, lie: int) -> None:
    """The signatures are verified each time, and speak for one card and one applet."""
    _, card = asked(state, Reading.MUSIG2)
    note = state.record(card.serial).taproot
    assert note is not None
    made = list(lies(card, [Proof.parse(text) for text in note.proofs]).items())
    assert len(made) == 14
    name, lied = made[lie]
    state.update(card.serial, lambda now: replace(now, taproot=lied))
    assert known(state, card) is Taproot.UNKNOWN, name


def test_the_signatures_of_one_card_say_nothing_of_another(state: State) -> None:
    """Another serial number, with the same seed and the same applet."""
    _, card = asked(state, Reading.MUSIG2)
    note = state.record(card.serial).taproot
    other = EmulatedReader.of(replace(seeded(), serial=SERIAL + 1)).open()
    state.update(other.serial, lambda now: replace(now, taproot=note))
    assert known(state, card) is Taproot.SIGNS
    assert known(state, other) is Taproot.UNKNOWN


def test_the_signatures_of_one_applet_say_nothing_of_another(state: State) -> None:
    """The same card with a later applet, and a file that was changed to say so."""
    _, card = asked(state, Reading.MUSIG2)
    note = state.record(card.serial).taproot
    assert note is not None
    later = EmulatedReader.of(seeded(), Reading.MUSIG2, Reading.SELECT_V2).open()
    assert later.info.version != card.info.version
    assert known(state, later) is Taproot.UNKNOWN
    version = ".".join(map(str, later.info.version))
    state.update(card.serial, lambda now: replace(now, taproot=replace(note, version=version)))
    assert known(state, later) is Taproot.UNKNOWN


def test_the_signatures_of_a_card_say_nothing_of_one_with_its_serial_number(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed, serial number and applet are the same; the static key is another."""
    _, card = asked(state, Reading.MUSIG2)
    assert known(state, card) is Taproot.SIGNS
    another = ec.derive_private_key(7_000_001, ec.SECP256R1())
    monkeypatch.setattr(ca, "static_key", lambda serial: another)
    twin = EmulatedReader.of(seeded(), Reading.MUSIG2).open()
    assert twin.serial == card.serial
    assert known(state, twin) is Taproot.UNKNOWN


@pytest.mark.parametrize(
    "entry", ["yes", True, [], {"version": 1}, {"version": "1.6.0", "proofs": "x"}, {"version": "1.6.0", "proofs": [1]}]
)
def test_an_entry_of_another_form_harms_nothing(state: State, entry: object) -> None:
    """The rest of the record is read; the card counts as not asked."""
    _, card = asked(state, Reading.MUSIG2)
    file = state.folder / "cards.json"
    cards = json.loads(file.read_text())
    cards[str(card.serial)] |= {"taproot": entry, "full": 6}
    file.write_text(json.dumps(cards))
    assert known(state, card) is Taproot.UNKNOWN
    assert state.record(card.serial).full_counter == 6


def test_a_state_that_cannot_be_read(state: State) -> None:
    _, card = asked(state, Reading.MUSIG2)
    (state.folder / "cards.json").write_text("{")
    assert known(state, card) is Taproot.UNKNOWN and not any_signs(state) and not any_asked(state)
    with pytest.raises(StateError):
        asked(state, Reading.MUSIG2)


def test_a_card_that_changed_its_mind(state: State) -> None:
    """The last answer counts."""
    assert asked(state, Reading.MUSIG2)[0] is Taproot.SIGNS
    found, card = asked(state, Reading.MUSIG2_NO_SECOND)
    assert found is known(state, card) is Taproot.DIFFERS
    assert note_of(card, found).proofs == ()


# What goes wrong meanwhile


@pytest.mark.parametrize("kind", [FaultKind.REMOVE, FaultKind.RESET, FaultKind.GARBAGE, FaultKind.BADMAC])
@pytest.mark.parametrize("ins", [Ins.DERIVE_KEY, Ins.GET_PUBLIC_KEY, Ins.NONCE_GEN, Ins.MUSIG2, Ins.SIGN_PUBLIC])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_fault_teaches_nothing(state: State, kind: FaultKind, ins: Ins, nth: int) -> None:
    """Neither that the card signs nor that it does not; asked again it answers."""
    reader = EmulatedReader.of(seeded(), Reading.MUSIG2, faults=[Fault(kind, nth, ins)])
    with pytest.raises(CryptnoxError):
        ask(session(reader.open(), state), Settings(), state)
    assert not any_asked(state)
    card = reader.open()
    assert ask(session(card, state), Settings(), state) is Taproot.SIGNS


def test_a_card_that_repeats_its_nonce(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its two points are the same while the nonce of each whole signature is another: nothing of the second is used,
    and the card is not held for one that signs."""
    numbers = [7, 11]

    def fixed(curve: Curve, random: object) -> int:
        numbers.append(numbers.pop(0))
        return numbers[-1]

    monkeypatch.setattr(curves, "random_scalar", fixed)
    card = EmulatedReader.of(seeded(), Reading.MUSIG2).open()
    with pytest.raises(RepeatedNonceError):
        ask(session(card, state), Settings(), state)
    assert not any_asked(state)


def test_two_halves_of_a_nonce_that_are_one(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(range(10**6, 10**6 + 1000))
    monkeypatch.setattr(curves, "random_scalar", lambda curve, random: next(drawn) // 2)
    card = EmulatedReader.of(seeded(), Reading.MUSIG2).open()
    with pytest.raises(RepeatedNonceError):
        ask(session(card, state), Settings(), state)


def test_a_card_that_does_not_say_whose_the_key_is(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """It signs as it should, and its certificate of the key is none: nothing is remembered."""
    another = ec.generate_private_key(ec.SECP256R1())

    def lying(ctx: Context, command: object, data: bytes) -> bytes:
        return another.sign(ctx.cursor(Curve.K1).current.point, ec.ECDSA(hashes.SHA256()))

    monkeypatch.setitem(emulated._SECURE, Ins.SIGN_PUBLIC, lying)
    card = EmulatedReader.of(seeded(), Reading.MUSIG2).open()
    with pytest.raises(CertificateError):
        ask(session(card, state), Settings(), state)
    assert not any_asked(state)


def test_without_a_pin_nothing_is_asked(state: State) -> None:
    card = EmulatedReader.of(seeded(), Reading.MUSIG2).open(pin=None)
    with pytest.raises(CryptnoxError):
        ask(session(card, state), Settings(), state)
    assert not any_asked(state)
