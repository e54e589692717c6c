"""The vendor's SDK drives the emulated card through pcscd and the virtual reader, as it drives a real one.

The results are judged by embit and `cryptography`, not by code of ours.
"""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from embit import bip32, bip39
from embit import ec as embit_ec

from cryptnox_core.emulator.readings import Reading
from tests.support import optional, pcsc
from tests.support.emulator import MNEMONIC, PIN, PUK
from tests.support.sdk import OperationTable, connected

pytest.importorskip("cryptnox_sdk_py", reason=optional.NO_SDK)

from cryptnox_sdk_py import exceptions
from cryptnox_sdk_py.card.basic_g1 import Basic
from cryptnox_sdk_py.card.nft import Nft
from cryptnox_sdk_py.enums import AuthType, Derivation, KeyType, SeedSource, SlotIndex

pytestmark = pytest.mark.pcsc

SEED = bip39.mnemonic_to_seed(MNEMONIC)
ROOT = bip32.HDKey.from_seed(SEED)
UNBEARABLE = (Reading.NO_F7_AFTER_F8, Reading.MAC_LEN_VALUE_ONLY)
READINGS = tuple(reading.value for reading in Reading if reading not in UNBEARABLE)
"""All but two. With `no-f7-after-f8` the SDK cannot work: it reads the certificate again after the session's. With
`mac-len-value-only` it can do no long reading: in the MAC of its extended frames stand the three bytes it sends."""
DIGEST = hashlib.sha256(b"a digest to sign").digest()
PATH = "m/84'/0'/0'/0/7"
ACCOUNT = "m/84'/0'/0'"
PINLESS = "m/43'/60'/1581'/0'/0"
DECRYPT = "m/17'/910196630'/2006168372'/332516148'/580566270'"
SECOND_PIN = "4321"
SECOND_PUK = "abcdefghijkl"


def k1_public(path: str) -> str:
    return ROOT.derive(path.replace("'", "h")).key.get_public_key().serialize().hex()


def k1_verifies(signature: bytes, public_key: str, digest: bytes = DIGEST) -> bool:
    return embit_ec.PublicKey.parse(bytes.fromhex(public_key)).verify(embit_ec.Signature.parse(signature), digest)


def r1_verifies(signature: bytes, public_key: str, digest: bytes = DIGEST) -> bool:
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(public_key))
    key.verify(signature, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    return True


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def test_the_sdk_connects_reads_and_signs(virtual_readers: pcsc.VirtualReaders) -> None:
    with virtual_readers.card("--mnemonic", MNEMONIC, "--xpub-export") as emulator, connected() as card:
        assert card.serial_number == emulator.serial
        assert card.initialized
        assert card.valid_key
        card.verify_pin(PIN)
        assert card.info["type"] == "Basic"
        assert card.info["seed"] is True
        card.derive(path=ACCOUNT)
        assert card.get_public_key(Derivation.CURRENT_KEY) == k1_public(ACCOUNT)
        assert card.get_public_key(Derivation.DERIVE, path=PATH) == k1_public(PATH)
        expected = ROOT.derive(ACCOUNT.replace("'", "h")).to_public().serialize()
        xpub = bytes.fromhex(card.get_public_key_extended())
        # The card gives the SHA-256 of the parent's key where BIP32 has the first four bytes of its hash.
        assert xpub[:5] + xpub[37:] == expected[:5] + expected[9:]
        assert hashlib.new("ripemd160", xpub[5:37]).digest()[:4] == expected[5:9]
        signature = card.sign(DIGEST, Derivation.DERIVE, path=PATH, pin=PIN)
        assert k1_verifies(signature, k1_public(PATH))


@pytest.mark.parametrize("reading", ["", *READINGS])
def test_every_operation_on_a_basic_card(
    virtual_readers: pcsc.VirtualReaders, request: pytest.FixtureRequest, tmp_path: Path, reading: str
) -> None:
    """Also under each other reading of the card that the SDK can work with."""
    table = OperationTable("vendor SDK on an emulated Basic card, through pcscd")
    options = ("--reading", reading) if reading else ()
    with virtual_readers.card("--state", str(tmp_path / "card.json"), *options) as emulator:
        set_up(table, emulator.serial, full=3 if reading == "tries-min" else 6)
        keys(table, x_only=reading == "clearpub-32")
        signing(table)
        user_keys(table)
        data(table, longer_select=reading == "select-v2")
        secrets(table)
        wrapped_seed(table)
        lock_and_reset(table)
    table.skip("origin", "left out: needs network (the SDK fetches the CA certificates from the vendor's site)")
    if not reading:
        table.publish(request)
    assert table.failures == []
    dual = {"dual_seed_public_key", "dual_seed_load"}
    nft_only = {"signature_check"}
    assert public_operations(Basic) - table.touched - dual - nft_only == set()


def test_no_long_reading_by_the_sdk_with_the_length_by_value(virtual_readers: pcsc.VirtualReaders) -> None:
    """All else works; of the extended frames the short ones are refused, and the long ones are not."""
    options = ("--mnemonic", MNEMONIC, "--reading", Reading.MAC_LEN_VALUE_ONLY.value)
    content = os.urandom(300)
    with virtual_readers.card(*options):
        with connected() as card:
            card.verify_pin(PIN)
            assert k1_verifies(card.sign(DIGEST, Derivation.DERIVE, path=PATH, pin=PIN), k1_public(PATH))
            card.user_data[0] = content
            with pytest.raises(exceptions.CryptnoxException):
                _ = card.user_data[0]
        with connected() as card:
            card.verify_pin(PIN)
            with pytest.raises(exceptions.CryptnoxException):
                card.generate_seed_wrapper()


def public_operations(card: type) -> set[str]:
    """Names of the SDK's public methods and properties; not its constants and its rules about input."""
    names = {name for name in dir(card) if not name.startswith("_")}
    constants = {
        "PUK_LENGTH",
        "MAX_ASCII_LENGTH",
        "pin_rule",
        "puk_rule",
        "type",
        "select_apdu",
        "valid_pin",
        "valid_puk",
    }
    return names - constants | {"user_data", "custom_bits"}


def set_up(table: OperationTable, serial: int, full: int) -> None:
    """`full` is what the card says when no PIN was refused."""
    with connected() as card:
        table.run("alive", lambda: card.alive, bool)
        table.run("get_manufacturer_certificate", card.get_manufacturer_certificate, lambda text: text.startswith("30"))
        table.run("initialized (factory)", lambda: card.initialized, lambda value: value is False)
        table.run("valid_key (factory)", lambda: card.valid_key, lambda value: value is False)
        table.refused("check_init (factory)", card.check_init, exceptions.InitializationException)
        table.run("init", lambda: card.init("Alice", "alice@example.org", PIN, PUK))
    with connected() as card:
        table.run("check_init", card.check_init)
        table.run("initialized", lambda: card.initialized, bool)
        table.run("seed_source (none)", lambda: card.seed_source, lambda value: value is SeedSource.NO_SEED)
        table.run("pin_authentication", lambda: card.pin_authentication, bool)
        table.run("verify_pin (ask)", card.verify_pin, lambda left: left == full)
        table.refused("verify_pin (wrong)", lambda: card.verify_pin("999999"), exceptions.PinException)
        table.run("verify_pin (ask after a wrong one)", card.verify_pin, lambda left: left == full - 1)
        table.run("open (before)", lambda: card.open, lambda value: value is False)
        table.run("verify_pin", lambda: card.verify_pin(PIN))
        table.run("open", lambda: card.open, bool)
        table.run("verify_pin (ask after the right one)", card.verify_pin, lambda left: left == full)
        table.run(
            "info",
            lambda: card.info,
            lambda info: (info["name"], info["email"], info["serial_number"]) == ("Alice", "alice@example.org", serial),
        )
        for size in (16, 32, 64):
            table.run(
                f"generate_random_number {size}",
                lambda size=size: card.generate_random_number(size),
                lambda value, size=size: len(value) == size and len(set(value)) > 1,
            )
        table.run("generate_seed", lambda: card.generate_seed(PIN), lambda key_id: len(key_id) == 32)
        table.run("seed_source (made on card)", lambda: card.seed_source, lambda value: value is SeedSource.INTERNAL)
        table.run("valid_key", lambda: card.valid_key, bool)
        table.refused("generate_seed (again)", lambda: card.generate_seed(PIN), exceptions.KeyAlreadyGenerated)
        table.run("reset", lambda: card.reset(PUK))
    with connected() as card:
        table.run("initialized (after reset)", lambda: card.initialized, lambda value: value is False)
        card.init("", "", PIN, PUK)
    with connected() as card:
        card.verify_pin(PIN)
        table.run("load_seed", lambda: card.load_seed(SEED, PIN))
        table.run("seed_source (loaded)", lambda: card.seed_source, lambda value: value is SeedSource.EXTERNAL)


def keys(table: OperationTable, *, x_only: bool) -> None:
    """`x_only`: the public key read in the clear is its x coordinate."""
    current, derive = Derivation.CURRENT_KEY, Derivation.DERIVE
    with connected() as card:
        card.verify_pin(PIN)
        table.run("derive (master)", lambda: card.derive())
        table.run("get_public_key (current)", lambda: card.get_public_key(current), lambda key: key == k1_public("m"))
        table.run("derive (path)", lambda: card.derive(path=ACCOUNT))
        table.run("get_public_key (moved)", lambda: card.get_public_key(current), lambda key: key == k1_public(ACCOUNT))
        table.run(
            "get_public_key (derive k1)",
            lambda: card.get_public_key(derive, path=PATH),
            lambda key: key == k1_public(PATH),
        )
        table.run(
            "get_public_key (derive r1)",
            lambda: card.get_public_key(derive, KeyType.R1, PATH, compressed=False),
            lambda key: len(key) == 130,
        )
        table.run("extended_public_key (off)", lambda: card.extended_public_key, lambda value: value is False)
        table.refused(
            "get_public_key_extended (export off)", card.get_public_key_extended, exceptions.PinAuthenticationException
        )
        table.run("set_xpubread", lambda: card.set_xpubread(True, PUK))
        expected = ROOT.derive(ACCOUNT.replace("'", "h")).to_public().serialize()
        table.run(
            "get_public_key_extended",
            lambda: bytes.fromhex(card.get_public_key_extended()),
            lambda key: key[:5] + key[37:] == expected[:5] + expected[9:],
        )
        table.run("set_extended_public_key (off)", lambda: card.set_extended_public_key(False, PUK))
        table.run("set_pubexport", lambda: card.set_pubexport(True, 0, PUK))
        table.refused(
            "set_pubexport (wrong PUK)", lambda: card.set_pubexport(True, 0, "x" * 12), exceptions.PukException
        )
        table.run("set_clearpubkey", lambda: card.set_clearpubkey(True, PUK))
        table.run(
            "get_public_key_clear",
            lambda: card.get_public_key_clear(current).hex(),
            lambda key: key == k1_public(ACCOUNT)[2 if x_only else 0 :],
        )
    with connected() as card:
        table.run("extended_public_key", lambda: card.extended_public_key, bool)
        card.verify_pin(PIN)
        table.run("sign_public (k1)", lambda: card.sign_public(KeyType.K1), bool)
        table.run("sign_public (r1)", lambda: card.sign_public(KeyType.R1), bool)


def signing(table: OperationTable) -> None:
    current, derive = Derivation.CURRENT_KEY, Derivation.DERIVE
    with connected() as card:
        card.verify_pin(PIN)
        before = card.signing_counter
        card.derive(path=ACCOUNT)
        table.run(
            "sign (current k1)",
            lambda: card.sign(DIGEST, current, pin=PIN),
            lambda signature: k1_verifies(signature, k1_public(ACCOUNT)),
        )
        table.run(
            "sign (derive k1)",
            lambda: card.sign(DIGEST, derive, path=PATH, pin=PIN),
            lambda signature: k1_verifies(signature, k1_public(PATH)),
        )
        card.verify_pin(PIN)
        r1_key = card.get_public_key(derive, KeyType.R1, PATH, compressed=False)
        r1_current = card.get_public_key(current, KeyType.R1, compressed=False)
        table.run(
            "sign (derive r1)",
            lambda: card.sign(DIGEST, derive, KeyType.R1, PATH, PIN),
            lambda signature: r1_verifies(signature, r1_key),
        )
        table.run(
            "sign (current r1)",
            lambda: card.sign(DIGEST, current, KeyType.R1, pin=PIN),
            lambda signature: r1_verifies(signature, r1_current),
        )
        table.refused("sign (wrong PIN)", lambda: card.sign(DIGEST, current, pin="99999"), exceptions.PinException)
        card.verify_pin(PIN)
        table.run("signing_counter", lambda: card.signing_counter, lambda count: count == before + 4)
        table.run("history", card.history, lambda entry: entry == (before + 4, DIGEST))
        table.run("history (older)", lambda: card.history(3), lambda entry: entry == (before + 1, DIGEST))
        table.run("set_pinless_path", lambda: card.set_pinless_path(PINLESS, PUK))
        table.refused(
            "set_pinless_path (wrong PUK)", lambda: card.set_pinless_path(PINLESS, "x" * 12), exceptions.PukException
        )
    with connected() as card:
        table.run("pinless_enabled", lambda: card.pinless_enabled, bool)
        # The SDK reads the kind of seed before it signs, which takes a verified PIN.
        card.verify_pin(PIN)
        table.run(
            "sign (pinless)",
            lambda: card.sign(DIGEST, Derivation.PINLESS_PATH),
            lambda signature: k1_verifies(signature, k1_public(PINLESS)),
        )
        table.run("set_pinless_path (clear)", lambda: card.set_pinless_path("", PUK))
    with connected() as card:
        table.run("pinless_enabled (cleared)", lambda: card.pinless_enabled, lambda value: value is False)
        decryption(table, card)


def decryption(table: OperationTable, card: Basic) -> None:
    card.verify_pin(PIN)
    recipient = card.get_public_key(Derivation.DERIVE, KeyType.R1, DECRYPT, compressed=False)
    sender = ec.generate_private_key(ec.SECP256R1())
    there = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(recipient))
    secret = hashlib.sha256(sender.exchange(ec.ECDH(), there)).digest()
    table.run("decrypt (symmetric key)", lambda: card.decrypt(0, point(sender), pin=PIN), lambda value: value == secret)
    plain = b"thirty-two bytes of a plain text"
    encryptor = Cipher(algorithms.AES(secret[16:]), modes.CBC(secret[:16])).encryptor()
    padded = plain + b"\x80" + bytes(15)
    ciphertext = encryptor.update(padded) + encryptor.finalize()
    table.run(
        "decrypt (data)",
        lambda: card.decrypt(1, point(sender), ciphertext, PIN),
        lambda value: value.startswith(plain),
    )


def user_keys(table: OperationTable) -> None:
    """The host's key store hashes what it is given before it signs."""
    key = ec.generate_private_key(ec.SECP256R1())
    rsa_key = rsa.generate_private_key(65537, 2048)
    modulus = rsa_key.public_key().public_numbers().n.to_bytes(256, "big")
    fido = ec.generate_private_key(ec.SECP256R1())
    credential = os.urandom(32)

    def ec_response(challenge: bytes) -> bytes:
        return key.sign(challenge, ec.ECDSA(hashes.SHA256()))

    def rsa_response(challenge: bytes) -> bytes:
        return rsa_key.sign(challenge, padding.PKCS1v15(), hashes.SHA256())

    def fido_assertion(challenge: bytes) -> bytes:
        counter = (7).to_bytes(4, "big")
        text = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
        client = f'{{"type": "webauthn.get", "origin": "https://cryptnox.ch", "challenge": "{text}", '
        client += '"clientExtensions": {}}'
        authenticator = hashlib.sha256(b"cryptnox.ch").digest() + b"\x05" + counter
        return counter + fido.sign(authenticator + hashlib.sha256(client.encode()).digest(), ec.ECDSA(hashes.SHA256()))

    with connected() as card:
        card.verify_pin(PIN)
        for slot, name, public, extra in (
            (SlotIndex.EC256R1, "P-256", point(key), b""),
            (SlotIndex.RSA, "RSA", modulus, b""),
            (SlotIndex.FIDO, "FIDO", point(fido), credential),
        ):
            table.run(
                f"user_key_add ({name})",
                lambda slot=slot, name=name, public=public, extra=extra: card.user_key_add(
                    slot, f"my {name} key", public, PUK, extra
                ),
            )
            table.run(
                f"user_key_info ({name})",
                lambda slot=slot: card.user_key_info(slot),
                lambda info, name=name, public=public: (
                    info[0].rstrip("\0") == f"my {name} key" and public.hex() in info[1]
                ),
            )
    with connected() as card:
        for slot, name in ((SlotIndex.EC256R1, "P-256"), (SlotIndex.RSA, "RSA"), (SlotIndex.FIDO, "FIDO")):
            table.run(f"user_key_enabled ({name})", lambda slot=slot: card.user_key_enabled(slot), bool)
    for slot, name, sign in (
        (SlotIndex.EC256R1, "P-256", ec_response),
        (SlotIndex.RSA, "RSA", rsa_response),
        (SlotIndex.FIDO, "FIDO", fido_assertion),
    ):
        with connected() as card:
            nonce = table.run(
                f"user_key_challenge_response_nonce ({name})",
                card.user_key_challenge_response_nonce,
                lambda value: len(value) == 32,
            )
            table.run(
                f"user_key_challenge_response_open ({name})",
                lambda slot=slot, sign=sign, nonce=nonce: card.user_key_challenge_response_open(slot, sign(nonce)),
                lambda opened, card=card: opened and card.auth_type is AuthType.USER_KEY,
            )
    with connected() as card:
        other = hashlib.sha256(b"another digest").digest()
        table.run(
            "user_key_signature_open (another digest)",
            lambda: card.user_key_signature_open(SlotIndex.EC256R1, DIGEST, ec_response(other)),
            lambda accepted: accepted is False,
        )
        table.run(
            "user_key_signature_open (P-256)",
            lambda: card.user_key_signature_open(SlotIndex.EC256R1, DIGEST, ec_response(DIGEST)),
            bool,
        )
    with connected() as card:
        card.verify_pin(PIN)
        table.run("set_pin_authentication (off)", lambda: card.set_pin_authentication(False, PUK))
    with connected() as card:
        table.run("pin_authentication (off)", lambda: card.pin_authentication, lambda value: value is False)
        table.run("set_pin_authentication (on)", lambda: card.set_pin_authentication(True, PUK))
    with connected() as card:
        table.run("pin_authentication (on)", lambda: card.pin_authentication, bool)
        card.verify_pin(PIN)
        for slot in (SlotIndex.EC256R1, SlotIndex.RSA, SlotIndex.FIDO):
            table.run(f"user_key_delete ({slot.name})", lambda slot=slot: card.user_key_delete(slot, PUK))
        table.refused(
            "set_pin_authentication (no user key)",
            lambda: card.set_pin_authentication(False, PUK),
            exceptions.PinAuthenticationException,
        )


def data(table: OperationTable, *, longer_select: bool) -> None:
    """`longer_select`: the SDK looks for the custom bytes at the end of the answer, where then is something else."""
    long = os.urandom(2000)
    with connected() as card:
        card.verify_pin(PIN)
        table.run("user_data (write)", lambda: card.user_data.__setitem__(0, long))
        table.run("user_data (read)", lambda: card.user_data[0], lambda value: value == long)
        table.run("custom_bits (write)", lambda: card.custom_bits.__setitem__(3, True))
    with connected() as card:
        table.run("custom_bits (read)", lambda: card.custom_bits[3], lambda bit: longer_select or bit == 1)


def secrets(table: OperationTable) -> None:
    own_key = os.urandom(32)
    with connected() as card:
        card.verify_pin(PIN)
        table.run("change_pin", lambda: card.change_pin(SECOND_PIN))
        table.run("change_puk", lambda: card.change_puk(PUK, SECOND_PUK))
        table.refused(
            "change_pairing_key (old PUK)", lambda: card.change_pairing_key(0, own_key, PUK), exceptions.PukException
        )
        table.run("change_pairing_key", lambda: card.change_pairing_key(0, own_key, SECOND_PUK))
    with connected() as card:
        table.refused(
            "verify_pin (common pairing key)", lambda: card.verify_pin(SECOND_PIN), exceptions.ConnectionException
        )
    with connected(pairing_key=own_key) as card:
        table.run("verify_pin (own pairing key)", lambda: card.verify_pin(SECOND_PIN))
    puk_key = SECOND_PUK.encode()
    for _ in range(32):
        puk_key = hashlib.sha256(puk_key).digest()
    with connected() as card:
        table.run("connection (pairing by PUK)", lambda: card.connection._open_secure_channel(puk_key, 0xFF))
        card.verify_pin(SECOND_PIN)
        card.change_pairing_key(0, b"Cryptnox Basic CommonPairingData", SECOND_PUK)
        card.change_pin(PIN)
        card.change_puk(SECOND_PUK, PUK)
    with connected() as card:
        table.run("verify_pin (changed back)", lambda: card.verify_pin(PIN))


def wrapped_seed(table: OperationTable) -> None:
    with connected() as card:
        card.reset(PUK)
    with connected() as card:
        card.init("", "", PIN, PUK)
    with connected() as card:
        card.verify_pin(PIN)
        answer = table.run("generate_seed_wrapper", card.generate_seed_wrapper, bool) or b""
        table.run("load_wrapped_seed", lambda: card.load_wrapped_seed(wrap(answer, SEED), PIN))
        table.run("seed_source (wrapped)", lambda: card.seed_source, lambda value: value is SeedSource.WRAPPED)
        table.run(
            "get_public_key (wrapped seed)",
            lambda: card.get_public_key(Derivation.DERIVE, path=PATH),
            lambda key: key == k1_public(PATH),
        )


def wrap(wrapper: bytes, seed: bytes) -> bytes:
    """The seed encrypted to the card's RSA key, which comes behind a tag of four bytes."""
    public = rsa.RSAPublicNumbers(65537, int.from_bytes(wrapper[4:260], "big")).public_key()
    return public.encrypt(seed, padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))


def lock_and_reset(table: OperationTable) -> None:
    for power_cycle in range(2):
        with connected() as card:
            for attempt in range(3):
                table.refused(
                    f"verify_pin (wrong, power cycle {power_cycle + 1}, try {attempt + 1})",
                    lambda: card.verify_pin("1111"),
                    exceptions.PinException,
                    exceptions.PinBlockedException,
                    exceptions.PinAuthenticationException,  # the SDK's fault: it means a soft lock
                )
    with connected() as card:
        table.refused("verify_pin (right one, blocked)", lambda: card.verify_pin(PIN), exceptions.PinBlockedException)
    with connected() as card:
        table.refused("unblock_pin (wrong PUK)", lambda: card.unblock_pin("x" * 12, PIN), exceptions.PukException)
        table.run("unblock_pin", lambda: card.unblock_pin(PUK, SECOND_PIN))
    with connected() as card:
        table.run("verify_pin (unblocked)", lambda: card.verify_pin(SECOND_PIN))
        table.refused("unblock_pin (not blocked)", lambda: card.unblock_pin(PUK, PIN), exceptions.CardNotBlocked)
        table.refused("reset (wrong PUK)", lambda: card.reset("x" * 12), exceptions.PukException)
        table.run("reset (at the end)", lambda: card.reset(PUK))


def test_every_operation_on_an_nft_card(virtual_readers: pcsc.VirtualReaders, request: pytest.FixtureRequest) -> None:
    table = OperationTable("vendor SDK on an emulated NFT card, through pcscd")
    current = Derivation.CURRENT_KEY
    with virtual_readers.card("--type", "N") as emulator:
        with connected() as card:
            table.run("alive", lambda: card.alive, bool)
            assert isinstance(card, Nft)
            assert card.serial_number == emulator.serial
            table.run("init", lambda: card.init("Bob", "bob@example.org", PIN, PUK, nfc_sign=True))
        with connected() as card:
            table.run("verify_pin", lambda: card.verify_pin(PIN))
            table.run("info", lambda: card.info, lambda info: (info["type"], info["name"]) == ("NFT", "Bob"))
            table.run("generate_seed", lambda: card.generate_seed(PIN), lambda key_id: len(key_id) == 32)
            table.run("valid_key", lambda: card.valid_key, bool)
            key = table.run("get_public_key", lambda: card.get_public_key(current), lambda text: len(text) == 130) or ""
            table.run(
                "sign", lambda: card.sign(DIGEST, current, pin=PIN), lambda signature: k1_verifies(signature, key)
            )
            table.run("history", card.history, lambda entry: entry.hashed_data == DIGEST)
            table.run("signing_counter", lambda: card.signing_counter, lambda count: count == 1)
            table.run("set_clearpubkey", lambda: card.set_clearpubkey(True, PUK))
            table.run(
                "get_public_key_clear",
                lambda: card.get_public_key_clear(current, compressed=False).hex(),
                lambda value: value == key,
            )
            nonce = os.urandom(16)
            table.run(
                "signature_check", lambda: card.signature_check(nonce), lambda result: nft_answers(result, nonce, key)
            )
            table.run("signing_counter (after signature_check)", lambda: card.signing_counter, lambda count: count == 1)
            for name, call in {
                "derive": lambda: card.derive(path=PATH),
                "generate_random_number": lambda: card.generate_random_number(32),
                "load_seed": lambda: card.load_seed(SEED, PIN),
                "set_pin_authentication": lambda: card.set_pin_authentication(False, PUK),
                "set_pinless_path": lambda: card.set_pinless_path(PINLESS, PUK),
                "user_key_add": lambda: card.user_key_add(SlotIndex.EC256R1, "", bytes(65), PUK),
            }.items():
                table.refused(f"{name} (not on NFT cards)", call, NotImplementedError)
            content = os.urandom(1500)
            table.run("user_data (write)", lambda: card.user_data.__setitem__(0, content))
            table.run("user_data (read)", lambda: card.user_data[0], lambda value: value == content)
            table.run("change_pin", lambda: card.change_pin(SECOND_PIN))
            table.run("change_puk", lambda: card.change_puk(PUK, SECOND_PUK))
            own_key = os.urandom(32)
            table.run("change_pairing_key", lambda: card.change_pairing_key(0, own_key, SECOND_PUK))
        with connected(pairing_key=own_key) as card:
            table.run("verify_pin (own pairing key)", lambda: card.verify_pin(SECOND_PIN))
            table.run("reset", lambda: card.reset(SECOND_PUK))
        with connected() as card:
            table.run("initialized (after reset)", lambda: card.initialized, lambda value: value is False)
    table.publish(request)
    assert table.failures == []


def nft_answers(result: tuple[bytes, bytes], nonce: bytes, key: str) -> bool:
    """The card's answer names our nonce and is signed by its key."""
    message, signature = result
    return nonce in message and k1_verifies(signature, key, hashlib.sha256(message).digest())


@pytest.mark.parametrize("first", [0, 1])
def test_two_cards_make_one_seed(
    virtual_readers: pcsc.VirtualReaders, request: pytest.FixtureRequest, first: int
) -> None:
    """Dual generation with a card in each slot: both end with the same tree, whichever begins."""
    table = OperationTable(f"vendor SDK, one seed on two cards, slot {first} begins")
    order = (first, 1 - first)
    with virtual_readers.card(slot=0), virtual_readers.card(slot=1):
        for slot in order:
            with connected(slot) as card:
                card.init("", "", PIN, PUK)
        with connected(order[0]) as one, connected(order[1]) as two:
            for card in (one, two):
                card.verify_pin(PIN)
            offers = [
                table.run(f"dual_seed_public_key (card {n})", lambda card=card: card.dual_seed_public_key(PIN))
                for n, card in enumerate((one, two), 1)
            ]
            table.run("dual_seed_load (card 1)", lambda: one.dual_seed_load(offers[1], PIN))
            table.run("dual_seed_load (card 2)", lambda: two.dual_seed_load(offers[0], PIN))
        seen = []
        for slot in order:
            with connected(slot) as card:
                card.verify_pin(PIN)
                table.run(
                    "seed_source (dual)", lambda card=card: card.seed_source, lambda kind: kind is SeedSource.DUAL
                )
                seen.append(card.get_public_key(Derivation.DERIVE, path=PATH))
        table.run("get_public_key (same on both)", lambda: seen, lambda keys: keys[0] == keys[1])
    table.publish(request)
    assert table.failures == []
