"""The vendor's SDK on the emulated card over TCP: every operation, Basic and NFT, under every reading it can bear."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from embit import bip32

from cryptnox_core.emulator import ca
from cryptnox_core.emulator.card import Card
from cryptnox_core.emulator.memory import Memory
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.emulator.server import Engine, TcpServer
from cryptnox_core.wire import DECRYPT_PATH
from tests.emulator.client import SEED, SERIAL, cbc, public_point, verifies
from tests.support import optional

sdk = optional.sdk()

PIN, PUK = "1234", "abcdefghijkl"
DIGEST = hashlib.sha256(b"m").digest()
ROOT = bip32.HDKey.from_seed(SEED)
CURRENT, DERIVE = 0, 1
K1, R1 = 0x00, 0x10
BEARABLE = [r for r in Reading if r not in (Reading.NO_F7_AFTER_F8, Reading.MAC_LEN_VALUE_ONLY)]
Connect = Callable[[], AbstractContextManager["sdk.Card"]]


def public(where: str) -> str:
    return str(ROOT.derive(where.replace("'", "h")).get_public_key().sec().hex())


@contextlib.contextmanager
def emulated(kind: str, *readings: Reading, serial: int = SERIAL) -> Iterator[Connect]:
    """A factory-new card behind a TCP server; each connection is a power cycle."""
    server = TcpServer(Engine(Card(Memory(serial=serial, card_type=ord(kind)), readings)), "127.0.0.1", 0)
    threading.Thread(target=server.serve, daemon=True).start()

    @contextlib.contextmanager
    def connect() -> Iterator[sdk.Card]:
        with socket.create_connection(server.address) as connection:
            yield sdk.factory.get_card(sdk.Connection(0, conn=[connection], remote=True))

    yield connect
    server.close()


def refused(error: type[Exception], call: Callable[[], object]) -> None:
    with pytest.raises(error):
        call()


@pytest.mark.parametrize(
    "readings", [(), *((reading,) for reading in BEARABLE)], ids=lambda r: r[0].value if r else "first"
)
def test_basic_card(readings: tuple[Reading, ...]) -> None:
    with emulated("B", *readings) as connect:
        set_up(connect)
        keys(connect)
        signing(connect)
        user_keys(connect)
        data(connect)
        secrets_and_locks(connect)


def set_up(connect: Connect) -> None:
    with connect() as card:
        assert card.serial_number == SERIAL and card.alive
        assert not card.initialized and not card.valid_key
        card.init("Alice", "alice@example.org", PIN, PUK)
    with connect() as card:
        assert card.initialized and card.pin_authentication
        assert card.get_manufacturer_certificate().startswith("30")
        assert card.info["name"] == "Alice" and card.info["email"] == "alice@example.org"
        assert card.verify_pin(None) in (6, 3)
        refused(sdk.exceptions.PinException, lambda: card.verify_pin("9999"))
        card.verify_pin(PIN)
        assert [len(card.generate_random_number(size)) for size in (16, 64)] == [16, 64]
        assert len(card.generate_seed(PIN)) == 32
        refused(sdk.exceptions.KeyAlreadyGenerated, lambda: card.generate_seed(PIN))
        refused(sdk.exceptions.PukException, lambda: card.reset("x" * 12))
        card.reset(PUK)
    with connect() as card:
        card.init("", "", PIN, PUK)
    with connect() as card:
        card.verify_pin(PIN)
        answer = card.generate_seed_wrapper()
        modulus = rsa.RSAPublicNumbers(65537, int.from_bytes(answer[4:260], "big")).public_key()
        oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
        card.load_wrapped_seed(modulus.encrypt(SEED, oaep), PIN)
        assert card.seed_source is sdk.SeedSource.WRAPPED
        card.reset(PUK)
    with connect() as card:
        card.init("", "", PIN, PUK)
    with connect() as card:
        card.verify_pin(PIN)
        card.load_seed(SEED, PIN)
        assert card.seed_source is sdk.SeedSource.EXTERNAL


def keys(connect: Connect) -> None:
    with connect() as card:
        card.verify_pin(PIN)
        card.derive()
        assert card.get_public_key(CURRENT) == public("m")
        card.derive(path="m/84'/0'/0'")
        assert card.get_public_key(CURRENT) == public("m/84'/0'/0'")
        assert card.get_public_key(DERIVE, path="m/1/2'") == public("m/1/2'")
        assert len(card.get_public_key(DERIVE, R1, "m/1", compressed=False)) == 130
        refused(sdk.exceptions.PinAuthenticationException, card.get_public_key_extended)
        refused(sdk.exceptions.PukException, lambda: card.set_xpubread(True, "x" * 12))
        card.set_xpubread(True, PUK)
        assert card.get_public_key_extended()[-66:] == public("m/84'/0'/0'")
        card.set_extended_public_key(False, PUK)
        assert card.get_public_key_extended(puk=PUK)[:10] == "0488b21e03"
        refused(sdk.exceptions.PinAuthenticationException, lambda: card.get_public_key_clear(CURRENT))
        card.set_clearpubkey(True, PUK)
        assert card.get_public_key_clear(CURRENT).hex() in (public("m/84'/0'/0'"), public("m/84'/0'/0'")[2:])
        point = bytes.fromhex(card.get_public_key(CURRENT, compressed=False))
        ca.static_key(SERIAL).public_key().verify(card.sign_public(), point, ec.ECDSA(hashes.SHA256()))
        assert card.sign_public(sdk.KeyType.R1)[0] == 0x30
    with connect() as card:
        assert card.extended_public_key


def signing(connect: Connect) -> None:
    def good(where: str, signature: bytes) -> bool:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), bytes.fromhex(public(where)))
        numbers = point.public_numbers()
        raw = b"\4" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        return verifies(raw, DIGEST, signature, ec.SECP256K1())

    with connect() as card:
        card.verify_pin(PIN)
        card.derive(path="m/1")
        assert good("m/1", card.sign(DIGEST, pin=PIN))
        assert good("m/2'/3", card.sign(DIGEST, sdk.Derivation.DERIVE, path="m/2'/3", pin=PIN))
        card.verify_pin(PIN)
        point = bytes.fromhex(card.get_public_key(DERIVE, R1, "m/4", compressed=False))
        signature = card.sign(DIGEST, sdk.Derivation.DERIVE, sdk.KeyType.R1, "m/4", PIN)
        assert verifies(point, DIGEST, signature, ec.SECP256R1())
        card.verify_pin(PIN)
        assert card.signing_counter == 3
        assert card.history() == (3, DIGEST) and card.history(3) == (0, bytes(32))
        refused(sdk.exceptions.PinException, lambda: card.sign(DIGEST, pin="9999"))
        card.verify_pin(PIN)
        refused(sdk.exceptions.DataValidationException, lambda: card.set_pinless_path("m/43'/60'/1580'", PUK))
        card.set_pinless_path("m/43'/60'/1581'/1", PUK)
        assert good("m/43'/60'/1581'/1", card.sign(DIGEST, sdk.Derivation.PINLESS_PATH))
        card.set_pinless_path("", PUK)
    with connect() as card:
        assert not card.pinless_enabled
        card.verify_pin(PIN)
        where = "m/" + "/".join(f"{level - (1 << 31)}'" for level in DECRYPT_PATH)
        there = bytes.fromhex(card.get_public_key(DERIVE, R1, where, compressed=False))
        own = ec.generate_private_key(ec.SECP256R1())
        peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), there)
        secret = hashlib.sha256(own.exchange(ec.ECDH(), peer)).digest()
        assert card.decrypt(0, public_point(own), pin=PIN) == secret
        plain = bytes(range(48))
        assert card.decrypt(1, public_point(own), cbc(secret[16:], secret[:16], plain), PIN) == plain


def user_keys(connect: Connect) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    rsa_key = rsa.generate_private_key(65537, 2048)
    modulus = rsa_key.public_key().public_numbers().n.to_bytes(256, "big")
    slots = sdk.SlotIndex
    with connect() as card:
        card.verify_pin(PIN)
        card.user_key_add(slots.EC256R1, "an EC key", public_point(key), PUK)
        card.user_key_add(slots.RSA, "an RSA key", modulus, PUK)
        card.user_key_add(slots.FIDO, "a FIDO key", public_point(key), PUK, b"credential")
        assert card.user_key_info(slots.RSA) == ("an RSA key".ljust(64, "\0"), modulus.hex())
        assert all(card.user_key_enabled(slot) for slot in slots)
    with connect() as card:
        assert all(card.user_key_enabled(slot) for slot in slots)
        for slot, sign in (
            (slots.EC256R1, lambda nonce: key.sign(nonce, ec.ECDSA(hashes.SHA256()))),
            (slots.RSA, lambda nonce: rsa_key.sign(nonce, padding.PKCS1v15(), hashes.SHA256())),
        ):
            nonce = card.user_key_challenge_response_nonce()
            assert not card.user_key_challenge_response_open(slot, sign(b"another"))
            nonce = card.user_key_challenge_response_nonce()
            assert card.user_key_challenge_response_open(slot, sign(nonce))
    with connect() as card:
        assert card.user_key_signature_open(slots.EC256R1, DIGEST, key.sign(DIGEST, ec.ECDSA(hashes.SHA256())))
        assert card.sign(DIGEST)[0] == 0x30
    with connect() as card:
        card.set_pin_authentication(False, PUK)
    with connect() as card:
        assert not card.pin_authentication
        card.set_pin_authentication(True, PUK)
        for slot in slots:
            card.user_key_delete(slot, PUK)
        assert not any(card.user_key_enabled(slot) for slot in slots)


def data(connect: Connect) -> None:
    content = os.urandom(3000)
    with connect() as card:
        card.verify_pin(PIN)
        card.user_data[0] = content
        assert card.user_data[0] == content
        card.custom_bits[3] = 1
    with connect() as card:
        assert card.custom_bits[3] == 1


def secrets_and_locks(connect: Connect) -> None:
    own = os.urandom(32)
    with connect() as card:
        card.verify_pin(PIN)
        card.change_pin("567890")
        card.change_puk(PUK, "new puk 1234")
        card.change_pairing_key(0, own, "new puk 1234")
    with connect() as card:
        refused(sdk.exceptions.ConnectionException, lambda: card.verify_pin("567890"))
    # The SDK shows a soft lock as the refusal of an UNBLOCK PIN that it tries by itself.
    locked = (
        sdk.exceptions.PinException,
        sdk.exceptions.PinBlockedException,
        sdk.exceptions.PinAuthenticationException,
    )
    for _ in range(2):
        with connect() as card:
            card.connection.pairing_secret = own
            for _ in range(3):
                with contextlib.suppress(*locked):
                    card.verify_pin("9999")
    with connect() as card:
        card.connection.pairing_secret = own
        assert card.verify_pin(None) == 0
        refused(sdk.exceptions.PinBlockedException, lambda: card.verify_pin("567890"))
        refused(sdk.exceptions.PukException, lambda: card.unblock_pin(PUK, PIN))
        card.unblock_pin("new puk 1234", PIN)
    with connect() as card:
        card.connection.pairing_secret = own
        card.verify_pin(PIN)
        refused(sdk.exceptions.CardNotBlocked, lambda: card.unblock_pin("new puk 1234", PIN))
        card.reset("new puk 1234")
    with connect() as card:
        assert not card.initialized


def test_nft_card() -> None:
    with emulated("N") as connect:
        with connect() as card:
            assert isinstance(card, sdk.factory.Nft)
            card.init("Bob", "", PIN, PUK, nfc_sign=True)
        with connect() as card:
            card.verify_pin(PIN)
            card.generate_seed(PIN)
            point = bytes.fromhex(card.get_public_key(compressed=False))
            nonce = os.urandom(16)
            message, signature = card.signature_check(nonce)
            assert verifies(point, hashlib.sha256(message).digest(), signature, ec.SECP256K1())
            refused(sdk.exceptions.DataValidationException, lambda: card.sign(DIGEST[1:], pin=PIN))
            assert verifies(point, DIGEST, card.sign(DIGEST, pin=PIN), ec.SECP256K1())
            assert card.history() == (1, DIGEST) and card.signing_counter == 1
            content = os.urandom(2000)
            card.user_data[0] = content
            assert card.user_data[0] == content
            card.custom_bits[5] = 1
            card.set_clearpubkey(True, PUK)
            assert card.get_public_key_clear(CURRENT) == bytes.fromhex(card.get_public_key(compressed=True))
            assert len(card.sign_public()) > 65
            card.change_pin("9876")
            card.change_puk(PUK, PUK[::-1])
        with connect() as card:
            assert card.custom_bits[5] == 1 and card.info["name"] == "Bob"
            card.verify_pin("9876")
            card.reset(PUK[::-1])


def test_dual_generation() -> None:
    with emulated("B") as first, emulated("B", serial=SERIAL + 1) as second:
        for connect in (first, second):
            with connect() as card:
                card.init("", "", PIN, PUK)
        with first() as one, second() as two:
            for card in (one, two):
                card.verify_pin(PIN)
            halves = one.dual_seed_public_key(PIN), two.dual_seed_public_key(PIN)
            one.dual_seed_load(halves[1], PIN)
            two.dual_seed_load(halves[0], PIN)
        with first() as one, second() as two:
            for card in (one, two):
                card.verify_pin(PIN)
            assert one.seed_source is sdk.SeedSource.DUAL
            assert one.get_public_key(DERIVE, path="m/1") == two.get_public_key(DERIVE, path="m/1")
