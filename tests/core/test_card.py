"""Every method of `Card` on the emulated card, under each reading that sources leave open (docs/emulator.md)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from embit import bip32 as oracle

from cryptnox_core.bip32 import MASTER, Path
from cryptnox_core.card import Card
from cryptnox_core.certificate import CardCertificate, Genuineness, TrustAnchors
from cryptnox_core.commands.setup import pairing_key_from_puk
from cryptnox_core.commands.user_keys import digest_to_sign, message_to_sign
from cryptnox_core.crypto import p256, secp256k1
from cryptnox_core.emulator.faults import parse_fault
from cryptnox_core.emulator.memory import Memory
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.errors import (
    BadSignatureError,
    CertificateError,
    ChannelAbortedError,
    ChannelError,
    InvalidDataError,
    MalformedResponseError,
    NoSeedError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    NotInitializedError,
    NotSupportedError,
    PairingError,
    PinLockedError,
    UnknownChannelError,
    UsageError,
    WrongPinError,
    WrongPukError,
)
from cryptnox_core.wire import Curve, Ins, KeySource, SignatureKind, Source, UserKeySlot
from tests.core.emulated import (
    PIN,
    PUK,
    SEED,
    SERIAL,
    EmulatedReader,
    EmulatedTransport,
    apdus,
    fresh,
    initialized,
    seeded,
)

ROOT = oracle.HDKey.from_seed(SEED)
ACCOUNT = Path.parse("m/84h/0h/0h")
LEAF = Path.parse("m/84h/0h/0h/1/7")
DIGEST = hashlib.sha256(b"to sign").digest()
OWN_PAIRING_KEY = bytes(range(32))

READINGS: list[Reading | None] = [None, *Reading]


def key_at(path: Path | str) -> bytes:
    """The compressed key that another library derives."""
    return ROOT.derive(str(path)).to_public().key.sec() if str(path) != "m" else ROOT.to_public().key.sec()


@pytest.fixture(params=READINGS, ids=lambda reading: reading.value if reading else "first-readings")
def reading(request: pytest.FixtureRequest) -> Reading | None:
    return request.param


class Maker:
    """Makes emulated cards that act in one reading."""

    def __init__(self, reading: Reading | None) -> None:
        self.readings = (reading,) if reading else ()

    def __call__(self, memory: Memory) -> EmulatedReader:
        return EmulatedReader.of(memory, *self.readings)

    def has(self, reading: Reading) -> bool:
        return reading in self.readings


@pytest.fixture
def make(reading: Reading | None) -> Maker:
    return Maker(reading)


@pytest.fixture
def card(make: Maker) -> Iterator[Card]:
    """A card with seed, channel open, PIN verified."""
    with make(seeded()).open(pin=None) as opened:
        if make.has(Reading.MAC_LEN_VALUE_ONLY):
            with pytest.raises(NotAuthenticatedError):  # with no PIN verified, the form of the MAC is found by itself
                opened.read_user_data()
        opened.verify_pin(PIN)
        yield opened


class TestLifeCycle:
    def test_from_factory_and_back(self, make: Maker) -> None:
        with make(fresh()).connect() as card:
            info = card.select()
            assert not info.initialized and not info.seeded
            with pytest.raises(NotInitializedError):
                card.open_channel()
            assert card.init("Ada", "ada@example.org", pin="1234", puk=PUK).initialized
            with pytest.raises(NotAllowedError):
                card.init("Eve", "", pin="1234", puk=PUK)
            card.open_channel()
            card.verify_pin("1234")
            page = card.info_page()
            assert (page.name, page.email, page.key_source, page.signature_counter) == (
                "Ada",
                "ada@example.org",
                KeySource.NONE,
                0,
            )
            with pytest.raises(NoSeedError):
                card.derive(ACCOUNT)
            with pytest.raises(NoSeedError):
                card.set_xpub_export(True, PUK)
            assert len(card.generate_key("1234")) == 32
            assert card.info.seeded and card.info_page().key_source is KeySource.ON_CARD
            with pytest.raises(NotAllowedError):
                card.generate_key("1234")
            with pytest.raises(NotAllowedError):
                card.load_seed(bytes(64), "1234")
            with pytest.raises(NotAllowedError):
                card.read_extended_public_key()
            card.set_xpub_export(True, PUK)
            assert card.extended_public_key(ACCOUNT).depth == 3
            with pytest.raises(WrongPukError):
                card.reset("x" * 12)
            assert not card.reset(PUK).initialized
            assert not card.channel_open

    def test_own_pairing_key_and_the_lost_one(self, make: Maker) -> None:
        reader = make(fresh())
        with reader.connect() as card:
            card.init("", "", pin=PIN, puk=PUK, pairing_key=OWN_PAIRING_KEY)
            with pytest.raises(UnknownChannelError if make.has(Reading.SELECT_V2) else PairingError):
                card.open_channel()
            assert not card.channel_open
            card.open_channel(OWN_PAIRING_KEY)
            card.verify_pin(PIN)
            with pytest.raises(WrongPukError):
                card.change_pairing_key(bytes(32), puk="x" * 12)
            card.open_channel(pairing_key_from_puk(PUK), index=0xFF)
            card.change_pairing_key(bytes(32), puk=PUK)
        with reader.connect() as card:
            card.open_channel(bytes(32))
            assert card.channel_open

    def test_pairing_keys_are_kept_and_found(self, make: Maker) -> None:
        class Kept(dict[int, bytes]):
            def pairing_key(self, serial: int) -> bytes | None:
                return self.get(serial)

            def keep_pairing_key(self, serial: int, key: bytes | None) -> None:
                self.pop(serial, None)
                if key is not None:
                    self[serial] = key

        reader, kept = make(fresh()), Kept()

        def power_up() -> Card:
            return Card(reader.connect().transport, pairing_keys=kept)

        with power_up() as card:
            card.init("", "", pin=PIN, puk=PUK, pairing_key=OWN_PAIRING_KEY)
            assert kept == {SERIAL: OWN_PAIRING_KEY}
        with power_up() as card:
            card.open_channel()
            with pytest.raises(WrongPukError):
                card.change_pairing_key(bytes(32), puk="x" * 12)
            assert kept == {SERIAL: OWN_PAIRING_KEY}
            card.change_pairing_key(bytes(32), puk=PUK)
            assert kept == {SERIAL: bytes(32)}
        with power_up() as card:
            card.open_channel()
            card.reset(PUK)
            assert kept == {}

    def test_identity(self, make: Maker) -> None:
        reader = make(seeded())
        with reader.connect() as card:
            with pytest.raises(UsageError):
                _ = card.serial
            with pytest.raises(UsageError):
                _ = card.genuineness
            with pytest.raises(UsageError):
                _ = card.info
            certificate = card.read_certificate()
            assert card.serial == certificate.serial == SERIAL
            assert card.genuineness is Genuineness.GENUINE
            assert card.card_public_key() == certificate.public_key
            stranger = Card(card.transport, anchors=TrustAnchors.builtin())
            stranger.read_certificate()
            assert stranger.genuineness is Genuineness.UNKNOWN

    def test_select_ends_the_channel(self, card: Card) -> None:
        card.select()
        assert not card.channel_open
        with pytest.raises(UsageError):
            card.pin_tries_left()
        card.open_channel()
        with pytest.raises(NotAuthenticatedError):
            card.derive(ACCOUNT)

    def test_torn_reset(self, make: Maker) -> None:
        """Initialised, not seeded: can be seeded again, or reset again."""
        memory = seeded()
        memory.erase_keys()
        with make(memory).open() as card:
            assert card.info.initialized and not card.info.seeded
            with pytest.raises(NoSeedError):
                card.master_fingerprint()
            assert not card.reset(PUK).initialized


class TestRememberedCertificates:
    """What the host remembers saves the certificate pages, and never weakens the check."""

    def known(self) -> CardCertificate:
        with EmulatedReader.of(seeded()).connect() as card:
            return card.read_certificate()

    def stranger(self) -> CardCertificate:
        memory = seeded()
        memory.serial += 1
        with EmulatedReader.of(memory).connect() as card:
            return card.read_certificate()

    def test_known_card(self, make: Maker) -> None:
        with make(seeded()).connect() as card:
            card.open_channel(known=[self.stranger(), self.known()])
            assert card.serial == SERIAL and card.channel_open
            assert [sent[1] for sent in apdus(card)] == [0xA4, 0xF8, 0x10, 0x11]

    def test_unknown_card(self, make: Maker) -> None:
        with make(seeded()).connect() as card:
            card.open_channel(known=[self.stranger()])
            assert card.serial == SERIAL and card.channel_open
            assert [sent[1] for sent in apdus(card)] == [0xA4, 0xF8, 0xA4, 0xF7, 0xF7, 0xF8, 0x10, 0x11]

    def test_certificate_read_before(self, make: Maker) -> None:
        with make(seeded()).connect() as card:
            card.read_certificate()
            card.open_channel(known=[self.stranger()])
            card.open_channel()
            assert [sent[1] for sent in apdus(card)] == [
                *(0xA4, 0xF7, 0xF7, 0xF8, 0x10, 0x11),
                *(0xA4, 0xF8, 0x10, 0x11),
            ]

    def test_bad_session_signature(self, make: Maker) -> None:
        """A certificate copied from another card does not help: nothing secret is sent."""

        class Swapped(EmulatedTransport):
            def transmit(self, apdu: bytes) -> bytes:
                answer = super().transmit(apdu)
                return answer[:-3] + bytes((answer[-3] ^ 1,)) + answer[-2:] if apdu[1] == 0xF8 else answer

        card = Card(Swapped(make(seeded()).engine))
        for known in ([], [self.known()]):
            with pytest.raises(CertificateError):
                card.open_channel(known=known)
            assert 0x10 not in {sent[1] for sent in apdus(card)}
        empty = Card(Swapped(make(fresh()).engine))
        with pytest.raises(CertificateError):
            empty.init("", "", pin=PIN, puk=PUK)
        assert 0xFE not in {sent[1] for sent in apdus(empty)}

    def test_replayed_session_certificate(self, make: Maker) -> None:
        """An old answer of the very card, with a good signature, does not answer this nonce."""
        kept: list[bytes] = []

        class Replaying(EmulatedTransport):
            def transmit(self, apdu: bytes) -> bytes:
                answer = super().transmit(apdu)
                if apdu[1] != 0xF8:
                    return answer
                kept.append(answer)
                return kept[0]

        card = Card(Replaying(make(seeded()).engine))
        card.open_channel()
        with pytest.raises(CertificateError, match="nonce"):
            card.open_channel()
        assert [sent[1] for sent in apdus(card)].count(0x10) == 1

    def test_a_fault_of_a_command_in_the_clear_ends_the_channel(self, make: Maker) -> None:
        class Deaf(EmulatedTransport):
            def transmit(self, apdu: bytes) -> bytes:
                answer = super().transmit(apdu)
                return b"" if apdu[1] == 0xF4 else answer

        card = Card(Deaf(make(seeded()).engine))
        card.open_channel()
        with pytest.raises(MalformedResponseError):
            card.card_public_key()
        assert not card.channel_open
        with pytest.raises(ChannelError):
            card.pin_tries_left()


class TestPin:
    def test_tries(self, make: Maker) -> None:
        most = 3 if make.has(Reading.TRIES_MIN) else 6
        reader = make(seeded())
        with reader.open(pin=None) as card:
            assert card.pin_tries_left() == most
            with pytest.raises(NotAuthenticatedError):
                card.derive(ACCOUNT)
            for wrong in range(1, 3):
                with pytest.raises(WrongPinError) as caught:
                    card.verify_pin("999999")
                assert caught.value.left == most - wrong == card.pin_tries_left()
            card.verify_pin(PIN)
            assert card.pin_tries_left() == most
            assert reader.card.counters.pin_tries == 2

    def test_usage_errors_spend_nothing(self, card: Card) -> None:
        before = len(apdus(card))
        for pin in ("", "123", "1234567890", "12a4", "١٢٣٤"):
            with pytest.raises(UsageError):
                card.verify_pin(pin)
        assert len(apdus(card)) == before

    def test_soft_lock_block_unblock(self, make: Maker) -> None:
        reader = make(seeded())
        for _ in range(2):
            with reader.open(pin=None) as card:
                with pytest.raises(NotAllowedError):
                    card.unblock_pin(puk=PUK, new_pin="4321")
                for _ in range(2):
                    with pytest.raises(WrongPinError):
                        card.verify_pin("999999")
                with pytest.raises((WrongPinError, PinLockedError)):
                    card.verify_pin("999999")
                with pytest.raises(PinLockedError):
                    card.verify_pin(PIN)
                if make.has(Reading.SOFTLOCK_6985) and reader.memory.pin_tries:
                    with pytest.raises(PinLockedError):
                        card.select()
                    with pytest.raises(PinLockedError):
                        card.open_channel()
        with reader.open(pin=None) as card:
            assert card.pin_tries_left() == 0
            with pytest.raises(PinLockedError):
                card.verify_pin(PIN)
            with pytest.raises(WrongPukError):
                card.unblock_pin(puk="x" * 12, new_pin="4321")
            card.unblock_pin(puk=PUK, new_pin="4321")
            card.verify_pin("4321")
        assert reader.card.counters.pin_tries == 6

    def test_change(self, make: Maker) -> None:
        with make(seeded()).open(pin=None) as card:
            with pytest.raises(NotAuthenticatedError):
                card.change_pin("4321")
            with pytest.raises(WrongPukError) as caught:
                card.change_pin("4321", puk="x" * 12)
            assert caught.value.left == -1
            card.change_pin("4321", puk=PUK)
            card.verify_pin("4321")
            card.change_pin("56789")
            with pytest.raises(WrongPinError):
                card.verify_pin("4321")
            card.verify_pin("56789")

    def test_change_puk(self, card: Card, make: Maker) -> None:
        new = "abcdefghijkl"
        with pytest.raises(WrongPukError) as caught:
            card.change_puk(new=new, current="x" * 12)
        assert caught.value.left == (11 if make.has(Reading.PUK_984X) else -1)
        card.change_puk(new=new, current=PUK)
        with pytest.raises(WrongPukError) as caught:
            card.set_xpub_export(True, PUK)
        assert caught.value.left == (-1 if make.has(Reading.PUK_9840) else 11)
        card.set_xpub_export(True, new)

    def test_wrong_pin_in_sign(self, card: Card, make: Maker) -> None:
        most = 3 if make.has(Reading.TRIES_MIN) else 6
        with pytest.raises(WrongPinError) as caught:
            card.sign(DIGEST, "999999", path=LEAF, public_key=key_at(LEAF))
        assert caught.value.left == most - 1
        with pytest.raises(NotAuthenticatedError):
            card.derive(ACCOUNT)


class TestSeeds:
    def test_load(self, make: Maker) -> None:
        for size in (16, 32, 64):
            with make(initialized()).open() as card:
                card.load_seed(SEED[:size], PIN)
                assert card.info_page().key_source is KeySource.LOADED
                assert card.master_fingerprint() == oracle.HDKey.from_seed(SEED[:size]).my_fingerprint

    def test_wrong_pin_with_a_seed(self, make: Maker) -> None:
        with make(initialized()).open() as card:
            with pytest.raises(WrongPinError):
                card.load_seed(SEED, "999999")
            assert not card.info.seeded

    def test_load_keys(self, make: Maker) -> None:
        node = ROOT.derive("m/84h")
        with make(initialized()).open() as card:
            card.load_key(node.key.secret, PIN, chain_code=node.chain_code)
            assert card.info_page().key_source is KeySource.EXTENDED
            assert card.public_key(Path((1, 2))) == node.derive([1, 2]).to_public().key.sec()
        with make(initialized()).open() as card:
            card.load_key(node.key.secret, PIN, public_key=secp256k1.decompress(node.to_public().key.sec()))
            assert card.info_page().key_source is KeySource.SINGLE
            assert card.public_key() == node.to_public().key.sec()
            card.sign(DIGEST, PIN, public_key=card.public_key())

    @pytest.mark.parametrize("order", ["first", "second"])
    def test_dual(self, make: Maker, order: str) -> None:
        """Two cards in two readers; either may finish first."""
        second = initialized()
        second.serial += 1
        with make(initialized()).open() as one, make(second).open() as two:
            keys = one.dual_seed_start(PIN), two.dual_seed_start(PIN)
            steps = [lambda: one.dual_seed_finish(keys[1], PIN), lambda: two.dual_seed_finish(keys[0], PIN)]
            for step in steps if order == "first" else reversed(steps):
                step()
            assert one.info_page().key_source is two.info_page().key_source is KeySource.DUAL
            assert one.master_fingerprint() == two.master_fingerprint()

    def test_dual_in_one_reader(self, make: Maker) -> None:
        """The cards are swapped: each is powered off between its steps."""
        other = initialized()
        other.serial += 1
        first, second = make(initialized()), make(other)
        with first.open() as card:
            of_first = card.dual_seed_start(PIN)
        with second.open() as card:
            of_second = card.dual_seed_start(PIN)
            card.dual_seed_finish(of_first, PIN)
            fingerprint = card.master_fingerprint()
        with first.open() as card:
            card.dual_seed_finish(of_second, PIN)
            assert card.master_fingerprint() == fingerprint

    def test_dual_with_a_forged_key(self, make: Maker) -> None:
        with make(initialized()).open() as card:
            own = card.dual_seed_start(PIN)
            with pytest.raises((InvalidDataError, NotAllowedError)):
                card.dual_seed_finish(own[:-1] + bytes((own[-1] ^ 1,)), PIN)
            assert not card.info.seeded

    def test_wrapped(self) -> None:
        """The emulated card's form: `CRSA`, the modulus, a signature by the static key; RSA-OAEP."""
        with EmulatedReader.of(initialized()).open() as card:
            answer = card.generate_seed_wrap_key()
            assert answer.startswith(b"CRSA")
            assert card.certificate is not None and card.certificate.verify(answer[:260], answer[260:])
            public = rsa.RSAPublicNumbers(65537, int.from_bytes(answer[4:260], "big")).public_key()
            scheme = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
            with pytest.raises(InvalidDataError):
                card.load_wrapped_seed(bytes(256), PIN)
            card.load_wrapped_seed(public.encrypt(SEED[:32], scheme), PIN)
            assert card.info_page().key_source is KeySource.WRAPPED
            assert card.master_fingerprint() == oracle.HDKey.from_seed(SEED[:32]).my_fingerprint

    def test_random(self, card: Card) -> None:
        assert len(card.random_bytes(16)) == 16
        assert len(card.random_bytes(64)) == 64
        assert card.random_bytes(32) != card.random_bytes(32)


class TestKeys:
    def test_fingerprint_and_path(self, card: Card) -> None:
        assert card.master_fingerprint().hex() == "73c5da0a"
        assert card.current_path() == MASTER
        card.derive(LEAF)
        assert card.current_path() == LEAF
        assert card.public_key() == key_at(LEAF)
        assert card.public_key(compressed=False) == secp256k1.decompress(key_at(LEAF))

    def test_sources(self, card: Card) -> None:
        card.derive(ACCOUNT)
        card.derive(Path((1,)), source=Source.CURRENT)
        card.derive(Path((0, 3)), source=Source.PARENT)
        assert card.current_path() == ACCOUNT.extend(Path((0, 3)))
        assert card.public_key(Path((9,)), source=Source.CURRENT) == key_at(ACCOUNT.extend(Path((0, 3, 9))))
        assert card.public_key(Path((9,)), source=Source.PARENT) == key_at(ACCOUNT.extend(Path((0, 9))))
        assert card.public_key(ACCOUNT) == key_at(ACCOUNT)
        assert card.current_path() == ACCOUNT.extend(Path((0, 3)))
        assert card.public_key(LEAF) == key_at(LEAF)
        assert card.current_path() == ACCOUNT, "more than three levels take a step"
        card.derive(MASTER)
        with pytest.raises(NotFoundError):
            card.derive(Path((1,)), source=Source.PARENT)

    def test_depth(self, card: Card) -> None:
        deepest = Path(tuple(range(8)))
        assert card.public_key(deepest) == key_at(deepest)
        card.derive(deepest)
        with pytest.raises(InvalidDataError):
            card.derive(Path((1,)), source=Source.CURRENT)
        with pytest.raises(UsageError):
            card.derive(Path(tuple(range(9))))

    def test_extended_keys(self, card: Card) -> None:
        for text in ("m/84h/0h/0h", "m/48h/1h/2h/2h", "m/0/1/2/3/4/5/6/7"):
            path = Path.parse(text)
            assert card.extended_public_key(path).to_string() == ROOT.derive(text).to_public().to_string()
        sent = len(apdus(card))
        for text in ("m", "m/84h", "m/84h/0h", "m/0/0/0/0/0/0/0/0/0"):
            with pytest.raises(UsageError):
                card.extended_public_key(Path.parse(text))
        assert len(apdus(card)) == sent
        card.derive(Path.parse("m/84h/0h"))
        with pytest.raises(NotAllowedError):
            card.read_extended_public_key()

    def test_export_switch(self, make: Maker) -> None:
        with make(seeded(xpub_export=False)).open() as card:
            assert not card.info.xpub_export
            with pytest.raises(NotAllowedError, match="export is off"):
                card.extended_public_key(ACCOUNT)
            with pytest.raises(WrongPukError):
                card.set_xpub_export(True, "x" * 12)
            card.set_xpub_export(True, PUK)
            assert card.info.xpub_export
            card.extended_public_key(ACCOUNT)
            card.set_xpub_export(False, PUK)
            with pytest.raises(NotAllowedError):
                card.extended_public_key(ACCOUNT)
            assert not card.select().xpub_export

    def test_r1(self, card: Card) -> None:
        path = Path.parse("m/1h/2h")
        card.derive(path, curve=Curve.R1)
        assert card.current_path(Curve.R1) == path
        key = card.public_key(curve=Curve.R1)
        assert key == card.public_key(path, curve=Curve.R1)
        assert p256.compress(card.public_key(curve=Curve.R1, compressed=False)) == key
        signature = card.sign(DIGEST, PIN, curve=Curve.R1, public_key=key)
        assert p256.verify_digest(key, DIGEST, signature)
        card.sign(DIGEST, PIN, path=path, curve=Curve.R1, public_key=key)

    def test_clear_reading(self, make: Maker) -> None:
        reader = make(seeded())
        with reader.open() as card:
            card.set_clear_public_key(True, PUK)
            card.derive(LEAF)
            assert card.info.clear_public_key
        current = key_at(MASTER if make.has(Reading.CURRENT_LOST) else LEAF)
        with reader.connect() as card:
            if make.has(Reading.CLEAR_PUBKEY_32):
                with pytest.raises(MalformedResponseError):
                    card.clear_public_key()
            else:
                assert card.clear_public_key() == current
        with reader.open() as card:
            card.set_clear_public_key(False, PUK)
        with reader.connect() as card, pytest.raises(NotAllowedError):
            card.clear_public_key()


class TestSigning:
    @pytest.mark.parametrize("kind", list(SignatureKind))
    def test_kinds(self, card: Card, kind: SignatureKind) -> None:
        key = key_at(LEAF)
        for _ in range(3):
            signature = card.sign(DIGEST, PIN, path=LEAF, kind=kind, public_key=key)
            if kind is SignatureKind.SCHNORR:
                assert secp256k1.verify_schnorr(key[1:], DIGEST, signature)
            else:
                assert secp256k1.is_low_s(signature) and secp256k1.verify_ecdsa(key, DIGEST, signature)
        card.verify_pin(PIN)
        card.derive(LEAF)
        card.sign(DIGEST, PIN, kind=kind, public_key=key)

    def test_one_apdu_and_the_current_key_stays(self, card: Card) -> None:
        card.derive(ACCOUNT)
        sent = len(apdus(card))
        card.sign(DIGEST, PIN, path=Path((1, 7)), source=Source.CURRENT, public_key=key_at(LEAF))
        assert len(apdus(card)) == sent + 1
        card.verify_pin(PIN)
        assert card.current_path() == ACCOUNT

    def test_under_another_key(self, card: Card) -> None:
        """The card signs with one key, the host expects another: no signature is given out."""
        for kind in SignatureKind:
            with pytest.raises(BadSignatureError):
                card.sign(DIGEST, PIN, path=LEAF, kind=kind, public_key=key_at(ACCOUNT))

    def test_usage(self, card: Card) -> None:
        sent = len(apdus(card))
        for digest, key in ((bytes(31), key_at(LEAF)), (DIGEST, b""), (DIGEST, key_at(LEAF)[1:])):
            with pytest.raises(UsageError):
                card.sign(digest, PIN, path=LEAF, public_key=key)
        assert len(apdus(card)) == sent

    def test_counter_and_history(self, card: Card) -> None:
        digests = [hashlib.sha256(bytes((number,))).digest() for number in range(5)]
        for digest in digests:
            card.sign(digest, PIN, path=LEAF, public_key=key_at(LEAF))
        card.verify_pin(PIN)
        assert card.info_page().signature_counter == 5
        entries = card.history()
        assert [(entry.counter, entry.digest) for entry in entries] == list(
            zip(range(5, 0, -1), reversed(digests), strict=True)
        )
        assert len(card.history(2)) == 2

    def test_pinless(self, make: Maker) -> None:
        path = Path.parse("m/43h/60h/1581h/0h/0")
        reader = make(seeded())
        with reader.open() as card:
            with pytest.raises(NotFoundError):
                card.sign_pinless(DIGEST, public_key=key_at(path))
            with pytest.raises(WrongPukError):
                card.set_pinless_path(path, "x" * 12)
            card.set_pinless_path(path, PUK)
            assert card.info.pinless_path
        with reader.connect() as card:
            signature = card.sign_pinless(DIGEST, public_key=key_at(path))
            assert secp256k1.verify_ecdsa(key_at(path), DIGEST, signature)
        with reader.open() as card:
            card.set_pinless_path(None, PUK)
            assert not card.info.pinless_path
            with pytest.raises(UsageError):
                card.set_pinless_path(LEAF, PUK)

    def test_sign_public(self, card: Card) -> None:
        card.derive(LEAF)
        assert card.certificate is not None
        assert card.certificate.verify(secp256k1.decompress(key_at(LEAF)), card.sign_public())
        r1 = card.public_key(curve=Curve.R1, compressed=False)
        assert card.certificate.verify(r1, card.sign_public(Curve.R1))

    def test_decrypt(self, card: Card) -> None:
        sender = ec.generate_private_key(ec.SECP256R1())
        point = sender.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        secret = card.decryption_key(point, PIN)
        assert len(secret) == 32
        for size in (16, 64, 512):
            plain = bytes(index & 0xFF for index in range(size))
            encryptor = Cipher(algorithms.AES(secret[16:]), modes.CBC(secret[:16])).encryptor()
            assert card.decrypt(point, encryptor.update(plain) + encryptor.finalize(), PIN) == plain
        with pytest.raises(WrongPinError):
            card.decryption_key(point, "999999")


class TestData:
    @pytest.mark.parametrize("size", [1, 1199, 1200, 1201, 2400, 3000, 3600])
    def test_user_data(self, card: Card, size: int) -> None:
        content = bytes(index * 7 & 0xFF for index in range(size))
        card.write_user_data(content)
        assert card.read_user_data() == content

    def test_shrinking(self, card: Card) -> None:
        for size in (3600, 2400, 1200, 5):
            card.write_user_data(b"x" * size)
            assert card.read_user_data() == b"x" * size

    def test_impossible_amounts(self, card: Card) -> None:
        for size in (0, 3601):
            with pytest.raises(UsageError):
                card.write_user_data(bytes(size))
        assert card.read_user_data() == b""

    def test_custom_bytes(self, card: Card) -> None:
        card.write_custom_bytes(bytes(range(16)))
        assert card.select().custom == bytes(range(16))


SLOTS = [UserKeySlot.EC, UserKeySlot.RSA, UserKeySlot.FIDO]


class TestUserKeys:
    EC_KEY = ec.generate_private_key(ec.SECP256R1())
    EC_POINT = EC_KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    RSA_KEY = rsa.generate_private_key(65537, 2048)
    RSA_MODULUS = RSA_KEY.public_key().public_numbers().n.to_bytes(256, "big")

    def prove(self, slot: UserKeySlot, hashed: bytes | list[bytes]) -> bytes:
        """By a signer that hashes for itself, by one that wants a digest, and by a FIDO authenticator."""
        if slot is UserKeySlot.FIDO:
            return self.assertion(message_to_sign(hashed))
        if slot is UserKeySlot.RSA:
            return self.RSA_KEY.sign(message_to_sign(hashed), padding.PKCS1v15(), hashes.SHA256())
        return self.EC_KEY.sign(digest_to_sign(hashed), ec.ECDSA(utils.Prehashed(hashes.SHA256())))

    def assertion(self, challenge: bytes) -> bytes:
        """What a FIDO authenticator makes: counter, then the signature over the assertion."""
        text = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
        client = '{"type": "webauthn.get", "origin": "https://cryptnox.ch", "challenge": "%s", "clientExtensions": {}}'
        counter = (7).to_bytes(4, "big")
        signed = hashlib.sha256(b"cryptnox.ch").digest() + b"\x05" + counter
        signed += hashlib.sha256((client % text).encode()).digest()
        return counter + self.EC_KEY.sign(signed, ec.ECDSA(hashes.SHA256()))

    def add(self, card: Card) -> None:
        card.add_user_key(UserKeySlot.EC, "laptop", self.EC_POINT, PUK)
        card.add_user_key(UserKeySlot.RSA, "piv", self.RSA_MODULUS, PUK)
        card.add_user_key(UserKeySlot.FIDO, "stick", self.EC_POINT, PUK, credential_id=b"credential")
        assert int(card.info.user_keys) == 7

    def test_slots(self, card: Card) -> None:
        with pytest.raises(NotFoundError):
            card.delete_user_key(UserKeySlot.EC, PUK)
        with pytest.raises(NotFoundError):
            card.user_key(UserKeySlot.RSA)
        with pytest.raises(NotFoundError):
            card.fido_credential_id()
        self.add(card)
        with pytest.raises(NotAllowedError):
            card.add_user_key(UserKeySlot.EC, "again", self.EC_POINT, PUK)
        assert (card.user_key(UserKeySlot.EC).text, card.user_key(UserKeySlot.EC).public_key) == (
            "laptop",
            self.EC_POINT,
        )
        assert card.user_key(UserKeySlot.RSA).public_key == self.RSA_MODULUS
        assert card.user_key(UserKeySlot.FIDO).public_key == self.EC_POINT
        assert card.fido_credential_id() == b"credential"
        with pytest.raises(WrongPukError):
            card.delete_user_key(UserKeySlot.EC, "x" * 12)
        card.delete_user_key(UserKeySlot.EC, PUK)
        assert int(card.info.user_keys) == int(card.select().user_keys) == 6

    def test_slots_by_version(self, card: Card, make: Maker) -> None:
        sent = len(apdus(card))
        for slot in (UserKeySlot.EC4, UserKeySlot.EC5):
            if make.has(Reading.SELECT_V2):
                card.add_user_key(slot, "later", self.EC_POINT, PUK)
                assert card.user_key(slot).public_key == self.EC_POINT and card.info.has_user_key(slot)
                assert card.authorize_digest(slot, DIGEST, self.prove(slot, DIGEST))
                card.verify_pin(PIN)
                continue
            for call in (
                lambda slot=slot: card.add_user_key(slot, "later", self.EC_POINT, PUK),
                lambda slot=slot: card.delete_user_key(slot, PUK),
                lambda slot=slot: card.user_key(slot),
                lambda slot=slot: card.user_key_respond(slot, b"s"),
                lambda slot=slot: card.authorize_digest(slot, DIGEST, b"s"),
                lambda slot=slot: card.authorize_digests(slot, [DIGEST], b"s"),
            ):
                with pytest.raises(UsageError, match=f"slot {int(slot)} before applet 2.0"):
                    call()
        if make.has(Reading.SELECT_V2):
            assert int(card.select().user_keys) == 0x30
        else:
            assert len(apdus(card)) == sent

    def test_adding_may_want_the_pin(self, make: Maker) -> None:
        with make(seeded()).open(pin=None) as card:
            if make.has(Reading.ADD_USER_KEY_NEEDS_PIN):
                with pytest.raises(NotAuthenticatedError):
                    self.add(card)
            else:
                self.add(card)

    @pytest.mark.parametrize("slot", SLOTS)
    def test_challenge_and_response(self, make: Maker, slot: UserKeySlot) -> None:
        reader = make(seeded())
        with reader.open() as card:
            self.add(card)
        with reader.open(pin=None) as card:
            with pytest.raises(NotAuthenticatedError):
                card.user_key_respond(slot, b"\x30")
            proof = self.prove(slot, card.user_key_challenge())
            assert card.user_key_respond(slot, proof)
            card.derive(ACCOUNT)
            card.user_key_challenge()
            assert not card.user_key_respond(slot, bytes(4) + proof[4:])

    @pytest.mark.parametrize("slot", SLOTS)
    def test_authorised_digests(self, make: Maker, slot: UserKeySlot) -> None:
        reader = make(seeded())
        with reader.open() as card:
            self.add(card)
            key = card.public_key(LEAF)
        with reader.open(pin=None) as card:
            proof = self.prove(slot, DIGEST)
            assert not card.authorize_digest(slot, hashlib.sha256(b"another").digest(), proof)
            assert card.authorize_digest(slot, DIGEST, proof)
            card.sign(DIGEST, None, path=LEAF, public_key=key)
            digests = [hashlib.sha256(bytes((number,))).digest() for number in range(3)]
            assert card.authorize_digests(slot, digests, self.prove(slot, digests))
            for digest in digests:
                card.sign(digest, None, path=LEAF, public_key=key)

    def test_pin_authentication(self, make: Maker) -> None:
        reader = make(seeded())
        with reader.open() as card:
            with pytest.raises(NotAllowedError):
                card.set_pin_auth(False, PUK)
            self.add(card)
            card.set_pin_auth(False, PUK)
            assert not card.info.pin_auth
        with reader.open(pin=None) as card:
            with pytest.raises(NotAllowedError):
                card.verify_pin(PIN)
            card.set_pin_auth(True, PUK)
            card.verify_pin(PIN)


class TestLengthByValue:
    """A card that wants one length byte in the MAC of an extended frame with little data (`mac-len-value-only`)."""

    REOPENED = (Ins.SELECT, Ins.GET_CARD_CERTIFICATE, Ins.OPEN_SECURE_CHANNEL, Ins.MUTUALLY_AUTHENTICATE)

    @staticmethod
    def reader(*, strict: bool = True) -> EmulatedReader:
        memory = seeded()
        memory.user_data, memory.pairing_key = b"kept on the card", OWN_PAIRING_KEY
        with EmulatedReader.of(memory).connect() as card:
            card.open_channel(OWN_PAIRING_KEY)
            card.verify_pin(PIN)
            card.add_user_key(UserKeySlot.RSA, "piv", TestUserKeys.RSA_MODULUS, PUK)
        return EmulatedReader.of(memory, *([Reading.MAC_LEN_VALUE_ONLY] if strict else []))

    @staticmethod
    def sent(card: Card, since: int) -> list[int]:
        return [apdu[1] for apdu in apdus(card)[since:]]

    def test_found_before_the_pin(self) -> None:
        with self.reader().connect() as card:
            card.open_channel(OWN_PAIRING_KEY)
            before = len(apdus(card))
            with pytest.raises(NotAuthenticatedError):
                card.user_key(UserKeySlot.RSA)
            assert self.sent(card, before) == [Ins.READ_DATA, *self.REOPENED, Ins.READ_DATA]
            assert card.channel_open
            card.verify_pin(PIN)
            before = len(apdus(card))
            assert card.user_key(UserKeySlot.RSA).public_key == TestUserKeys.RSA_MODULUS
            assert card.read_user_data() == b"kept on the card"
            card.derive(ACCOUNT)
            assert card.sign_public()
            assert self.sent(card, before) == [Ins.READ_DATA, Ins.READ_DATA, Ins.DERIVE_KEY, Ins.SIGN_PUBLIC]
            card.open_channel(OWN_PAIRING_KEY)
            card.verify_pin(PIN)
            assert card.read_user_data() == b"kept on the card"

    def test_after_the_pin_the_caller_opens_the_channel(self) -> None:
        with self.reader().connect() as card:
            card.open_channel(OWN_PAIRING_KEY)
            card.verify_pin(PIN)
            before = len(apdus(card))
            with pytest.raises(ChannelAbortedError, match="open it again and retry") as caught:
                card.read_user_data()
            assert caught.value.sw == 0x6982
            assert self.sent(card, before) == [Ins.READ_DATA] and not card.channel_open
            card.open_channel(OWN_PAIRING_KEY)
            card.verify_pin(PIN)
            assert card.read_user_data() == b"kept on the card"

    def test_only_plain_reads_are_repeated(self) -> None:
        reader = self.reader()
        calls = [Card.sign_public, Card.generate_seed_wrap_key]
        for call in calls:
            with reader.connect() as card:
                card.open_channel(OWN_PAIRING_KEY)
                before = len(apdus(card))
                with pytest.raises(ChannelAbortedError):
                    call(card)
                assert len(apdus(card)) == before + 1 and not card.channel_open

    @pytest.mark.parametrize("ins", ["C0", "20", "C5", "FC"])
    def test_short_frames_are_not_repeated(self, ins: str) -> None:
        """Their MAC has one form: 6982 has another reason, and the form stays."""
        reader = EmulatedReader.of(seeded(), faults=[parse_fault(f"sw:6982@{ins}:1")])
        calls = {
            "C0": lambda card: card.sign(DIGEST, PIN, path=LEAF, public_key=key_at(LEAF)),
            "20": lambda card: card.verify_pin(PIN),
            "C5": lambda card: card.set_xpub_export(False, PUK),
            "FC": lambda card: card.write_user_data(b"x"),
        }
        with reader.open(pin=None) as card:
            before = len(apdus(card))
            with pytest.raises(ChannelAbortedError):
                calls[ins](card)
            assert len(apdus(card)) == before + 1
            card.open_channel()
            card.verify_pin(PIN)
            assert card.read_user_data() == b""

    @pytest.mark.parametrize("fault", ["sw:6985@FA:1", "sw:6982@FA:2"])
    def test_other_reasons(self, fault: str) -> None:
        """Another status word; and 6982 from a card whose form is known."""
        with EmulatedReader.of(seeded(), faults=[parse_fault(fault)]).open() as card:
            if fault.endswith("2"):
                assert card.read_user_data() == b""
            before = len(apdus(card))
            with pytest.raises(ChannelAbortedError, match="closed"):
                card.read_user_data()
            assert len(apdus(card)) == before + 1
            card.open_channel()
            card.verify_pin(PIN)
            assert card.read_user_data() == b""

    def test_a_card_that_takes_neither_form(self) -> None:
        """Two attempts a call, and the form as sent is the first one again."""
        faults = [parse_fault(f"sw:6982@FA:{number}") for number in (1, 2)]
        with EmulatedReader.of(seeded(), faults=faults).open(pin=None) as card:
            with pytest.raises(ChannelAbortedError):
                card.read_user_data()
            assert sum(apdu[1] == Ins.READ_DATA for apdu in apdus(card)) == 2
            card.open_channel()
            card.verify_pin(PIN)
            assert card.read_user_data() == b""

    def test_a_form_that_the_caller_names_is_kept(self) -> None:
        reader = self.reader()
        with Card(reader.connect().transport, length_by_value=True) as card:
            card.open_channel(OWN_PAIRING_KEY)
            card.verify_pin(PIN)
            assert card.read_user_data() == b"kept on the card"
        with Card(reader.connect().transport, length_by_value=False) as card:
            card.open_channel(OWN_PAIRING_KEY)
            before = len(apdus(card))
            with pytest.raises(ChannelAbortedError, match="closed"):
                card.user_key(UserKeySlot.RSA)
            assert self.sent(card, before) == [Ins.READ_DATA]
        with pytest.raises(UsageError):
            Card(reader.connect().transport, length_by_value=1)  # type: ignore[arg-type]

    def test_an_ordinary_card_costs_nothing_more(self) -> None:
        with self.reader(strict=False).connect() as card:
            card.open_channel(OWN_PAIRING_KEY)
            card.verify_pin(PIN)
            before = len(apdus(card))
            card.read_user_data()
            card.user_key(UserKeySlot.RSA)
            assert self.sent(card, before) == [Ins.READ_DATA, Ins.READ_DATA]


class TestNft:
    def test_story(self, make: Maker) -> None:
        reader = make(fresh("N"))
        with reader.connect() as card:
            assert card.select().is_nft
            card.init("Ada", "", pin=PIN, puk=PUK, nft_nfc_sign=True)
            card.open_channel()
            card.verify_pin(PIN)
            card.generate_key(PIN)
            key = card.public_key()
            card.sign(DIGEST, PIN, public_key=key)
            check = card.signature_check(key, bytes(range(16)))
            assert check.message.startswith(b"CR") and len(check.message) == 36
            with pytest.raises(BadSignatureError):
                card.signature_check(key_at(LEAF))
            card.verify_pin(PIN)
            assert card.info_page().signature_counter == 1
            if not make.has(Reading.OUTER_SW):
                with pytest.raises(NotSupportedError):
                    card.derive(ACCOUNT)
                with pytest.raises(NotSupportedError):
                    card.random_bytes(16)
            else:
                with pytest.raises(ChannelError):
                    card.derive(ACCOUNT)
                assert not card.channel_open

    def test_bad_parameters_send_nothing(self, make: Maker) -> None:
        with make(fresh()).connect() as card:
            for name, email, pin, puk, key in (
                ("x" * 21, "", PIN, PUK, bytes(32)),
                ("", "x" * 61, PIN, PUK, bytes(32)),
                ("", "", "123", PUK, bytes(32)),
                ("", "", PIN, "short", bytes(32)),
                ("", "", PIN, PUK, bytes(31)),
            ):
                with pytest.raises(UsageError):
                    card.init(name, email, pin=pin, puk=puk, pairing_key=key)
            assert apdus(card) == []

    def test_init_forms(self, make: Maker) -> None:
        with make(fresh("N")).connect() as card:
            assert card.init("", "", pin=PIN, puk=PUK).initialized
        with make(fresh()).connect() as card:
            with pytest.raises(UsageError):
                card.init("", "", pin=PIN, puk=PUK, nft_nfc_sign=True)
            assert not card.select().initialized

    def test_basic_card_has_no_signature_check(self, make: Maker) -> None:
        with make(seeded()).open() as card, pytest.raises((NotSupportedError, ChannelError)):
            card.signature_check()


class TestClosing:
    def test_close_is_idempotent_and_powers_down(self, card: Card) -> None:
        transport = card.transport
        assert isinstance(transport, EmulatedTransport)
        card.close()
        card.close()
        assert transport.closed == 2
        with pytest.raises(UsageError):
            card.pin_tries_left()

    def test_context_manager_closes_on_errors(self, make: Maker) -> None:
        card = make(seeded()).connect()
        with pytest.raises(UsageError), card:
            card.pin_tries_left()
        assert isinstance(card.transport, EmulatedTransport) and card.transport.closed == 1
