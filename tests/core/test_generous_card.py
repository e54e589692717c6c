"""A card that answers more than is documented, or less of SELECT: the whole life of it works all the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from embit import bip32 as oracle

from cryptnox_core.bip32 import Path
from cryptnox_core.card import Card
from cryptnox_core.certificate import Genuineness, TrustAnchors
from cryptnox_core.commands.setup import pairing_key_from_puk
from cryptnox_core.commands.user_keys import message_to_sign
from cryptnox_core.crypto import p256, secp256k1
from cryptnox_core.discovery import is_other_card
from cryptnox_core.emulator import ca
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.emulator.server import Engine
from cryptnox_core.errors import (
    MalformedResponseError,
    NotAllowedError,
    NotFoundError,
    NotInitializedError,
    PairingError,
    PinLockedError,
    UsageError,
    WrongPinError,
    WrongPukError,
)
from cryptnox_core.wire import Curve, SignatureKind, UserKeySlot
from tests.core.emulated import PIN, PUK, SEED, SERIAL, EmulatedTransport, fresh, initialized, seeded
from tests.core.generous import GenerousCard

ROOT = oracle.HDKey.from_seed(SEED)
ACCOUNT, LEAF, PINLESS = "m/84h/0h/0h", "m/84h/0h/0h/0/0", "m/43h/60h/1581h/0"
DIGEST = hashlib.sha256(b"to sign").digest()
OWN_KEY = bytes(range(32))
ANCHORS = TrustAnchors.builtin() + TrustAnchors.from_pem(ca.ca_certificate_pem().encode())
EC_KEY = ec.generate_private_key(ec.SECP256R1())
POINT = EC_KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
RSA_KEY = rsa.generate_private_key(65537, 2048)
MODULUS = RSA_KEY.public_key().public_numbers().n.to_bytes(256, "big")

FILLERS = [b"\x00", b"\x01", b"\x30", b"\x80", b"\xff"]


def key_at(path: str) -> bytes:
    return ROOT.derive(path).to_public().key.sec()


class Kept(dict[int, bytes]):
    """A store of pairing keys."""

    def pairing_key(self, serial: int) -> bytes | None:
        return self.get(serial)

    def keep_pairing_key(self, serial: int, key: bytes | None) -> None:
        self.pop(serial, None)
        if key is not None:
            self[serial] = key


class Drawer:
    """A card that is taken out and put back; its own pairing keys are remembered."""

    def __init__(self, card: GenerousCard) -> None:
        self.card = card
        self.engine = Engine(card)
        self.kept = Kept()

    def insert(self) -> Card:
        self.engine.power_up()
        return Card(EmulatedTransport(self.engine), anchors=ANCHORS, pairing_keys=self.kept)

    def open(self, pin: str | None = PIN) -> Card:
        card = self.insert()
        card.open_channel()
        if pin is not None:
            card.verify_pin(pin)
        return card


def set_up(drawer: Drawer) -> None:
    with drawer.insert() as card:
        with pytest.raises(NotInitializedError):
            card.open_channel()
        assert card.genuineness is Genuineness.GENUINE and card.serial == SERIAL
        assert card.card_public_key() == card.read_certificate().public_key
        assert card.init("Ada", "ada@example.org", pin=PIN, puk=PUK).initialized
        with pytest.raises(NotAllowedError):
            card.init("Eve", "", pin=PIN, puk=PUK)
        card.open_channel()
        assert card.pin_tries_left() == 6
        card.verify_pin(PIN)
        assert (card.info_page().name, card.info_page().email) == ("Ada", "ada@example.org")
        assert len(card.random_bytes(32)) == 32
        assert len(card.generate_key(PIN)) == 32 and card.info.seeded
        assert len(card.master_fingerprint()) == 4
        assert not card.reset(PUK).initialized
    with drawer.insert() as card:
        card.init("", "", pin=PIN, puk=PUK)
        card.open_channel()
        card.load_seed(SEED, PIN)
        card.set_xpub_export(True, PUK)
        assert card.select().xpub_export


def use_keys(drawer: Drawer) -> None:
    with drawer.open() as card:
        assert card.master_fingerprint().hex() == "73c5da0a"
        assert card.extended_public_key(ACCOUNT).to_string() == ROOT.derive(ACCOUNT).to_public().to_string()
        assert card.public_key(LEAF) == key_at(LEAF)
        card.derive(LEAF)
        assert card.public_key() == key_at(LEAF)
        assert card.current_path().starts_with(Path.parse(LEAF))
        assert card.certificate is not None
        assert card.certificate.verify(card.public_key(compressed=False), card.sign_public())
        for kind in SignatureKind:
            card.sign(DIGEST, PIN, path=LEAF, kind=kind)
            card.sign(DIGEST, PIN, path=LEAF, kind=kind, public_key=key_at(LEAF))
            card.sign(DIGEST, PIN, kind=kind, public_key=key_at(LEAF))
        r1 = card.public_key("m/1h", curve=Curve.R1)
        assert p256.verify_digest(r1, DIGEST, card.sign(DIGEST, PIN, path="m/1h", curve=Curve.R1))
        card.verify_pin(PIN)
        assert card.info_page().signature_counter == 10
        entries = card.history()
        assert [entry.counter for entry in entries] == list(range(10, 0, -1))
        assert {entry.digest for entry in entries} == {DIGEST}
        secret = card.decryption_key(POINT, PIN)
        encryptor = Cipher(algorithms.AES(secret[16:]), modes.CBC(secret[:16])).encryptor()
        plain = bytes(range(64))
        assert card.decrypt(POINT, encryptor.update(plain) + encryptor.finalize(), PIN) == plain
        card.set_pinless_path(PINLESS, PUK)
        card.set_clear_public_key(True, PUK)
        card.derive(PINLESS)
    with drawer.insert() as card:
        assert card.clear_public_key() == key_at(PINLESS)
        signature = card.sign_pinless(DIGEST, public_key=key_at(PINLESS))
        assert secp256k1.verify_ecdsa(key_at(PINLESS), DIGEST, signature)
    with drawer.open() as card:
        card.set_pinless_path(None, PUK)
        card.set_clear_public_key(False, PUK)


def keep_data(drawer: Drawer) -> None:
    """User data has no length of its own: what the card adds is read with it."""
    with drawer.open() as card:
        for content in (b"short", bytes(1201), bytes(range(256)) * 14):
            card.write_user_data(content)
            assert card.read_user_data() == content + drawer.card.extra
            assert drawer.card.memory.user_data == content
        card.write_custom_bytes(OWN_KEY[:16])
        assert card.info.custom == OWN_KEY[:16] == drawer.card.memory.custom


def change_secrets(drawer: Drawer) -> None:
    with drawer.open() as card:
        card.change_pairing_key(OWN_KEY, puk=PUK)
        assert drawer.kept == {SERIAL: OWN_KEY}
    with drawer.open() as card:
        with pytest.raises(PairingError):
            card.open_channel(bytes(32))
        card.open_channel(pairing_key_from_puk(PUK), index=255)
        with pytest.raises(WrongPukError):
            card.change_puk(new="another puk!", current="x" * 12)
        card.change_puk(new="another puk!", current=PUK)
        card.change_pin("4321", puk="another puk!")
        card.verify_pin("4321")
        card.change_pin("56789")
        card.change_puk(new=PUK, current="another puk!")
    for left in ((5, 4), (2, 1)):
        with drawer.open(pin=None) as card:
            for expected in left:
                with pytest.raises(WrongPinError) as caught:
                    card.verify_pin("000000")
                assert caught.value.left == expected == card.pin_tries_left()
            with pytest.raises((WrongPinError, PinLockedError)):
                card.verify_pin("000000")
    with drawer.open(pin=None) as card:
        assert card.pin_tries_left() == 0
        card.unblock_pin(puk=PUK, new_pin=PIN)
        card.verify_pin(PIN)


def use_user_keys(drawer: Drawer) -> None:
    def prove(slot: UserKeySlot, hashed: bytes | list[bytes]) -> bytes:
        if slot is UserKeySlot.RSA:
            return RSA_KEY.sign(message_to_sign(hashed), padding.PKCS1v15(), hashes.SHA256())
        return EC_KEY.sign(message_to_sign(hashed), ec.ECDSA(hashes.SHA256()))

    with drawer.open() as card:
        card.add_user_key(UserKeySlot.EC, "laptop", POINT, PUK)
        card.add_user_key(UserKeySlot.RSA, "token", MODULUS, PUK)
        card.add_user_key(UserKeySlot.FIDO, "stick", POINT, PUK, credential_id=b"credential")
        assert [card.user_key(slot).text for slot in card.info.user_key_slots[:3]] == ["laptop", "token", "stick"]
        assert card.user_key(UserKeySlot.RSA).public_key == MODULUS
        assert card.user_key(UserKeySlot.FIDO).public_key == POINT
        assert card.fido_credential_id() == b"credential"
        card.set_pin_auth(False, PUK)
    for slot in (UserKeySlot.EC, UserKeySlot.RSA):
        with drawer.open(pin=None) as card:
            assert card.user_key_respond(slot, prove(slot, card.user_key_challenge()))
            card.derive(LEAF)
            assert not card.authorize_digest(slot, DIGEST, b"none")
            assert card.authorize_digest(slot, DIGEST, prove(slot, DIGEST))
            card.sign(DIGEST, None, public_key=key_at(LEAF))
            digests = [DIGEST, hashlib.sha256(b"2").digest()]
            assert card.authorize_digests(slot, digests, prove(slot, digests))
            for digest in digests:
                card.sign(digest, None, path=LEAF, public_key=key_at(LEAF))
    with drawer.open(pin=None) as card:
        card.set_pin_auth(True, PUK)
        card.verify_pin(PIN)
        for slot in (UserKeySlot.EC, UserKeySlot.RSA, UserKeySlot.FIDO):
            card.delete_user_key(slot, PUK)
            with pytest.raises(NotFoundError):
                card.user_key(slot)


def erase(drawer: Drawer) -> None:
    with drawer.open() as card:
        assert not card.reset(PUK).initialized
        assert drawer.kept == {} and not drawer.card.memory.initialized


def live(drawer: Drawer) -> None:
    set_up(drawer)
    use_keys(drawer)
    keep_data(drawer)
    change_secrets(drawer)
    use_user_keys(drawer)
    erase(drawer)


@pytest.mark.parametrize("size", range(1, 17))
def test_extra_bytes_behind_every_answer(size: int) -> None:
    live(Drawer(GenerousCard(fresh(), extra=FILLERS[size % len(FILLERS)] * size)))


@pytest.mark.parametrize("filler", FILLERS, ids=bytes.hex)
def test_extra_bytes_of_every_kind(filler: bytes) -> None:
    for size in (1, 16):
        live(Drawer(GenerousCard(fresh(), extra=filler * size)))


@pytest.mark.parametrize("length", range(6, 65))
def test_select_answers_of_any_length(length: int) -> None:
    live(Drawer(GenerousCard(fresh(), select_length=length)))


@pytest.mark.parametrize("length", range(6))
def test_less_than_six_bytes_is_another_card(length: int) -> None:
    with Drawer(GenerousCard(seeded(), select_length=length)).insert() as card:
        with pytest.raises(MalformedResponseError) as caught:
            card.select()
        assert is_other_card(caught.value)


@pytest.mark.parametrize("size", [1, 16])
def test_two_cards_make_one_seed(size: int) -> None:
    """What one card adds to its signed key is not handed on to the other."""
    drawers = [Drawer(GenerousCard(fresh(), extra=b"\x55" * size)) for _ in range(2)]
    drawers[1].card.memory.serial += 1
    cards = [drawer.insert() for drawer in drawers]
    for card in cards:
        card.init("", "", pin=PIN, puk=PUK)
        card.open_channel()
    first, second = (card.dual_seed_start(PIN) for card in cards)
    cards[0].dual_seed_finish(second, PIN)
    cards[1].dual_seed_finish(first, PIN)
    assert cards[0].master_fingerprint() == cards[1].master_fingerprint()


@pytest.mark.parametrize("size", [1, 16])
def test_an_nft_card(size: int) -> None:
    drawer = Drawer(GenerousCard(fresh("N"), extra=b"\x30" * size))
    with drawer.insert() as card:
        card.init("Ada", "", pin=PIN, puk=PUK, nft_nfc_sign=True)
        card.open_channel()
        card.verify_pin(PIN)
        card.generate_key(PIN)
        key = card.public_key()
        card.sign(DIGEST, PIN)
        assert card.signature_check(key).message.startswith(b"CR")
        card.verify_pin(PIN)
        for slot in range(4):
            card.write_user_data(bytes((slot,)) * 1300, slot)
            assert card.read_user_data(slot) == bytes((slot,)) * 1300 + drawer.card.extra
        with pytest.raises(UsageError):
            card.write_custom_bytes(bytes(16))
        card.reset(PUK)


@pytest.mark.parametrize("size", [0, 1, 16])
def test_a_seed_made_without_its_id(size: int) -> None:
    drawer = Drawer(GenerousCard(initialized(), extra=b"\x01" * size, no_key_id=True))
    with drawer.open() as card:
        assert card.generate_key(PIN) == b"" and card.info.seeded
        card.sign(DIGEST, PIN, path=LEAF)


@pytest.mark.parametrize(
    "reading", [Reading.PIN_QUERY_SW, Reading.SELECT_V2, Reading.PAGE_6B00, Reading.CLEAR_PUBKEY_33]
)
def test_under_other_readings(reading: Reading) -> None:
    steps: list[Callable[[Drawer], None]] = [set_up, use_keys, keep_data, use_user_keys, erase]
    drawer = Drawer(GenerousCard(fresh(), reading, extra=b"\x00\x01\x02"))
    for step in steps:
        step(drawer)
