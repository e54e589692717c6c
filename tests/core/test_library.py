"""The library as people meet it: what `cryptnox_core` names, `open_card`, paths as text, and callers' mistakes."""

from __future__ import annotations

import ast
import hashlib
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path as File

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import cryptnox_core
from cryptnox_core import (
    Card,
    ChannelAbortedError,
    CryptnoxError,
    Curve,
    InvalidDataError,
    NotInitializedError,
    PairingError,
    Path,
    SignatureKind,
    Source,
    TrustAnchors,
    UnknownChannelError,
    UsageError,
    UserKeySlot,
    WrongPinError,
    message_to_sign,
)
from cryptnox_core.bip32 import ExtendedPublicKey, KeyOrigin
from cryptnox_core.crypto import p256, secp256k1
from cryptnox_core.crypto.musig2 import aggregate_keys
from cryptnox_core.crypto.p256 import EphemeralKey
from cryptnox_core.emulator import ca
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.wire import COMMON_PAIRING_KEY, Ins
from tests.core.emulated import PIN, PUK, SEED, EmulatedReader, apdus, fresh, initialized, seeded

ROOT = File(__file__).resolve().parents[2]
LEAF, ACCOUNT = "m/84h/0h/0h/0/0", "m/84h/0h/0h"
DIGEST = hashlib.sha256(b"to sign").digest()
POINT = EphemeralKey.from_scalar(7).public_key
K1_KEY = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
ANCHORS = TrustAnchors.builtin() + TrustAnchors.from_pem(ca.ca_certificate_pem().encode())


class TestNames:
    def test_all_are_there(self) -> None:
        for name in cryptnox_core.__all__:
            value = getattr(cryptnox_core, name)
            assert getattr(value, "__name__", name) == name
        assert set(cryptnox_core.__all__) <= set(dir(cryptnox_core))

    def test_a_type_checker_sees_the_same(self) -> None:
        tree = ast.parse((ROOT / "cryptnox_core" / "__init__.py").read_text())
        (block,) = (
            node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        )
        seen = {}
        for node in block.body:
            assert isinstance(node, ast.ImportFrom)
            for alias in node.names:
                assert alias.asname == alias.name
                seen[alias.name] = node.module
        assert seen == {name: f"cryptnox_core.{module}" for name, module in cryptnox_core._MODULE_OF.items()}

    def test_a_name_that_is_none(self) -> None:
        with pytest.raises(AttributeError, match="no attribute 'open_cart'"):
            _ = cryptnox_core.open_cart
        with pytest.raises(ImportError):
            exec("from cryptnox_core import open_cart")

    def test_importing_loads_no_module_of_ours(self) -> None:
        program = "import sys, cryptnox_core; print(*[n for n in sys.modules if n.startswith('cryptnox_core.')])"
        run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
        assert run.stdout.split() == []


@pytest.fixture
def card() -> Iterator[Card]:
    with EmulatedReader.of(seeded()).open() as opened:
        yield opened


class TestPaths:
    def test_as_text_everywhere(self, card: Card) -> None:
        path = Path.parse(LEAF)
        assert card.public_key(LEAF) == card.public_key(path)
        assert card.extended_public_key(ACCOUNT) == card.extended_public_key(Path.parse(ACCOUNT))
        card.derive("m/84'/0'/0'")
        card.derive("0/0", source=Source.CURRENT)
        assert card.current_path() == path
        card.sign(DIGEST, PIN, path=LEAF, public_key=card.public_key())
        card.verify_pin(PIN)
        card.derive("m")
        assert card.current_path() == Path()
        card.set_pinless_path("m/43h/60h/1581h/0", PUK)
        assert card.info.pinless_path

    @pytest.mark.parametrize("path", ["m/x", "84h//0", "m/2147483648", b"m/84h", 84, ("m", 84), ["84h"], 1.5])
    def test_what_is_none(self, card: Card, path: object) -> None:
        sent = len(apdus(card))
        calls: list[Callable[[], object]] = [
            lambda: card.derive(path),  # type: ignore[arg-type]
            lambda: card.public_key(path),  # type: ignore[arg-type]
            lambda: card.extended_public_key(path),  # type: ignore[arg-type]
            lambda: card.sign(DIGEST, PIN, path=path),  # type: ignore[arg-type]
            lambda: card.set_pinless_path(path, PUK),  # type: ignore[arg-type]
        ]
        for call in calls:
            with pytest.raises(UsageError):
                call()
        assert len(apdus(card)) == sent

    @pytest.mark.parametrize("steps", ["m/84h", [84], 84, (1.5,), ("84",), (-1,), (1 << 32,)])
    def test_child_numbers(self, steps: object) -> None:
        with pytest.raises(UsageError):
            Path(steps)  # type: ignore[arg-type]

    def test_other_values(self) -> None:
        for call in (KeyOrigin.parse, ExtendedPublicKey.from_string):
            for value in (None, 5, b"bytes"):
                with pytest.raises(UsageError):
                    call(value)  # type: ignore[arg-type]


class TestSign:
    """Without a public key, the key is read before the card signs."""

    @pytest.mark.parametrize("path", [None, LEAF])
    @pytest.mark.parametrize("kind", list(SignatureKind))
    def test_reads_the_key(self, card: Card, path: str | None, kind: SignatureKind) -> None:
        card.derive(LEAF)
        key, sent = card.public_key(), len(apdus(card))
        signature = card.sign(DIGEST, PIN, path=path, kind=kind)
        if kind is SignatureKind.SCHNORR:
            assert secp256k1.verify_schnorr(key[1:], DIGEST, signature)
        else:
            assert secp256k1.verify_ecdsa(key, DIGEST, signature)
        assert [apdu[1] for apdu in apdus(card)[sent:]] == [Ins.GET_PUBLIC_KEY, Ins.SIGN]

    def test_r1_and_sources(self, card: Card) -> None:
        card.derive("m/1h", curve=Curve.R1)
        key = card.public_key("5", source=Source.CURRENT, curve=Curve.R1)
        signature = card.sign(DIGEST, PIN, path="5", source=Source.CURRENT, curve=Curve.R1)
        assert p256.verify_digest(key, DIGEST, signature)

    def test_the_pin_is_verified_where_the_card_wants_it(self) -> None:
        """Once, and a wrong one costs one try: SIGN is not sent then."""
        reader = EmulatedReader.of(seeded(), Reading.PIN_ENDS_AT_SIGN)
        with reader.open(pin=None) as card:
            for _ in range(2):
                sent = len(apdus(card))
                card.sign(DIGEST, PIN, path=LEAF)
                asked = [apdu[1] for apdu in apdus(card)[sent:]]
                assert asked == [Ins.GET_PUBLIC_KEY, Ins.VERIFY_PIN, Ins.GET_PUBLIC_KEY, Ins.SIGN]
            with pytest.raises(WrongPinError):
                card.sign(DIGEST, "999999", path=LEAF)
            assert apdus(card)[-1][1] == Ins.VERIFY_PIN
        assert reader.card.counters.pin_tries == 1

    def test_without_pin_for_what_a_user_key_unlocked_alone(self) -> None:
        """For any other digest a card takes the end of the path for a PIN, and counts a try."""
        key, other = ec.generate_private_key(ec.SECP256R1()), hashlib.sha256(b"another").digest()
        reader = EmulatedReader.of(seeded())

        def unlock(card: Card, *digests: bytes) -> None:
            proof = key.sign(message_to_sign(digests), ec.ECDSA(hashes.SHA256()))
            assert card.authorize_digests(UserKeySlot.EC, digests, proof)

        with reader.open() as card:
            point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            card.add_user_key(UserKeySlot.EC, "", point, PUK)
            public_key = card.public_key(LEAF)

            def sign(digest: bytes) -> bytes:
                return card.sign(digest, None, path=LEAF, public_key=public_key)

            def refused(digest: bytes) -> None:
                sent = len(apdus(card))
                with pytest.raises(UsageError):
                    sign(digest)
                assert len(apdus(card)) == sent

            refused(DIGEST)
            unlock(card, DIGEST, other, DIGEST)
            with pytest.raises(UsageError, match="name the public key"):
                card.sign(DIGEST, None, path=LEAF)
            card.pin_tries_left()
            for digest in (DIGEST, other, DIGEST):
                sign(digest)
                refused(hashlib.sha256(b"a third").digest())
            refused(DIGEST)
            refused(other)
            assert not card.authorize_digest(UserKeySlot.EC, DIGEST, b"no signature")
            refused(DIGEST)
            unlock(card, DIGEST)
            card.verify_pin(PIN)  # ends it
            refused(DIGEST)
            unlock(card, DIGEST)
            card.open_channel()
            refused(DIGEST)
        assert reader.card.counters.pin_tries == 0

    def test_mistakes_send_nothing(self, card: Card) -> None:
        sent = len(apdus(card))
        for call in (
            lambda: card.sign(bytes(31), PIN),
            lambda: card.sign(DIGEST.hex(), PIN),  # type: ignore[arg-type]
            lambda: card.sign(DIGEST, "12"),
            lambda: card.sign(DIGEST, 123456),  # type: ignore[arg-type]
            lambda: card.sign(DIGEST, PIN, path="m"),
            lambda: card.sign(DIGEST, PIN, curve=Curve.R1, kind=SignatureKind.SCHNORR),
            lambda: card.sign(DIGEST, PIN, kind=7),  # type: ignore[arg-type]
            lambda: card.sign(DIGEST, PIN, public_key="02" * 33),  # type: ignore[arg-type]
        ):
            with pytest.raises(UsageError):
                call()
        assert len(apdus(card)) == sent


class TestSecretsByName:
    """Two secrets of one call cannot be swapped: swapped, they cost a try."""

    def test_pairs(self) -> None:
        for method in (Card.init, Card.change_puk, Card.change_pin, Card.unblock_pin, Card.change_pairing_key):
            parameters = inspect.signature(method).parameters.values()
            secret = {"pin", "puk", "new", "current", "new_pin", "pairing_key"}
            by_place = [
                each.name for each in parameters if each.name in secret and each.kind is each.POSITIONAL_OR_KEYWORD
            ]
            assert len(by_place) <= 1, method

    def test_by_place_nothing_is_sent(self, card: Card) -> None:
        sent = len(apdus(card))
        for call in (
            lambda: card.change_puk(PUK, PUK),  # type: ignore[misc]
            lambda: card.unblock_pin(PUK, PIN),  # type: ignore[misc]
            lambda: card.change_pin(PIN, PUK),  # type: ignore[misc]
            lambda: card.change_pairing_key(bytes(32), PUK),  # type: ignore[misc]
        ):
            with pytest.raises(TypeError, match="positional"):
                call()
        assert len(apdus(card)) == sent


class TestInfoStaysTrue:
    def test_after_every_change(self, card: Card) -> None:
        """`info` is what the next SELECT says."""
        changes: list[Callable[[], object]] = [
            lambda: card.write_custom_bytes(bytes(range(16))),
            lambda: card.write_custom_bytes(bytearray(16)),
            lambda: card.set_xpub_export(False, PUK),
            lambda: card.set_clear_public_key(True, PUK),
            lambda: card.set_pinless_path("m/43h/60h/1581h", PUK),
            lambda: card.add_user_key(UserKeySlot.EC, "laptop", POINT, PUK),
            lambda: card.add_user_key(UserKeySlot.FIDO, "stick", POINT, PUK, credential_id=b"id"),
            lambda: card.set_pin_auth(False, PUK),
            lambda: card.set_pin_auth(True, PUK),
            lambda: card.delete_user_key(UserKeySlot.EC, PUK),
            lambda: card.set_pinless_path(None, PUK),
        ]
        for change in changes:
            change()
            known = card.info
            assert card.select() == known
            card.open_channel()
            card.verify_pin(PIN) if known.pin_auth else None

    def test_a_refused_change_is_none(self, card: Card) -> None:
        before = card.info
        with pytest.raises(CryptnoxError):
            card.set_xpub_export(False, "x" * 12)
        with pytest.raises(CryptnoxError):
            card.delete_user_key(UserKeySlot.EC, PUK)
        assert card.info == before


class TestHistory:
    def test_how_many(self, card: Card) -> None:
        for number in range(3):
            card.sign(hashlib.sha256(bytes((number,))).digest(), PIN, path=LEAF)
        card.verify_pin(PIN)
        assert [entry.counter for entry in card.history(1)] == [3]
        assert [entry.counter for entry in card.history(1000)] == [3, 2, 1]

    @pytest.mark.parametrize("limit", [0, -1, None, "3", 1.0, True])
    def test_none_is_a_mistake(self, card: Card, limit: object) -> None:
        """The vendor's `history(0)` is the newest entry: an empty list would say that there is none."""
        sent = len(apdus(card))
        with pytest.raises(UsageError):
            card.history(limit)  # type: ignore[arg-type]
        assert len(apdus(card)) == sent


WRONG = [
    None,
    0,
    -1,
    300,
    1.5,
    "",
    "text",
    "m/84h",
    b"",
    b"bytes",
    bytearray(4),
    True,
    object(),
    [],
    [b"x"],
    {},
]
GOOD: dict[str, dict[str, object]] = {
    "open_channel": {"pairing_key": COMMON_PAIRING_KEY, "index": 0, "known": ()},
    "session_key": {"known": ()},
    "opened_by": {"pairing_key": COMMON_PAIRING_KEY},
    "verify_pin": {"pin": PIN},
    "derive": {"path": LEAF, "source": Source.MASTER, "curve": Curve.K1},
    "current_path": {"curve": Curve.K1},
    "public_key": {"path": LEAF, "source": Source.MASTER, "curve": Curve.K1},
    "clear_public_key": {"curve": Curve.K1},
    "extended_public_key": {"path": ACCOUNT},
    "sign": {
        "digest": DIGEST,
        "pin": PIN,
        "public_key": None,
        "path": LEAF,
        "source": Source.MASTER,
        "curve": Curve.K1,
        "kind": SignatureKind.ECDSA,
    },
    "sign_pinless": {"digest": DIGEST, "public_key": K1_KEY},
    "sign_key_path": {"digest": DIGEST, "public_key": K1_KEY, "merkle_root": b""},
    "musig2_sign": {
        "keys": aggregate_keys([K1_KEY]),
        "nonces": [K1_KEY * 2],
        "message": DIGEST,
        "public_key": K1_KEY,
    },
    "change_pairing_key": {"pairing_key": COMMON_PAIRING_KEY, "puk": PUK},
    "change_pin": {"new_pin": PIN, "puk": PUK},
    "change_puk": {"new": PUK, "current": PUK},
    "unblock_pin": {"puk": PUK, "new_pin": PIN},
    "set_pin_auth": {"enabled": True, "puk": PUK},
    "load_seed": {"seed": SEED, "pin": PIN},
    "load_key": {"private_key": bytes(range(32)), "pin": PIN, "chain_code": bytes(32), "public_key": b""},
    "generate_key": {"pin": PIN},
    "dual_seed_start": {"pin": PIN},
    "dual_seed_finish": {"other": POINT + b"s", "pin": PIN},
    "generate_seed_wrap_key": {"bits": 2048},
    "load_wrapped_seed": {"wrapped": bytes(256), "pin": PIN},
    "random_bytes": {"size": 16},
    "set_xpub_export": {"on": True, "puk": PUK},
    "set_clear_public_key": {"on": True, "puk": PUK},
    "set_pinless_path": {"path": "m/43h/60h/1581h", "puk": PUK},
    "sign_public": {"curve": Curve.K1},
    "decryption_key": {"point": POINT, "pin": PIN},
    "decrypt": {"point": POINT, "ciphertext": bytes(16), "pin": PIN},
    "signature_check": {"public_key": None, "nonce": bytes(16)},
    "read_user_data": {"slot": 0},
    "write_user_data": {"content": b"content", "slot": 0},
    "write_custom_bytes": {"content": bytes(16)},
    "history": {"limit": 1},
    "add_user_key": {"slot": UserKeySlot.EC, "text": "t", "public_key": POINT, "puk": PUK, "credential_id": b""},
    "delete_user_key": {"slot": UserKeySlot.EC, "puk": PUK},
    "user_key": {"slot": UserKeySlot.EC},
    "user_key_respond": {"slot": UserKeySlot.EC, "signature": b"s"},
    "authorize_digest": {"slot": UserKeySlot.EC, "digest": DIGEST, "signature": b"s"},
    "authorize_digests": {"slot": UserKeySlot.EC, "digests": [DIGEST], "signature": b"s"},
}
INIT: dict[str, object] = {
    "name": "Ada",
    "email": "",
    "pin": PIN,
    "puk": PUK,
    "pairing_key": COMMON_PAIRING_KEY,
    "nft_nfc_sign": None,
}


class TestMistakes:
    """Whatever a caller gives for whatever is wanted: an error of ours, nothing sent where it is a mistake of form."""

    def test_every_parameter_is_tried(self) -> None:
        left_out = {"send", "init", "reset"}
        for name in dir(Card):
            method = getattr(Card, name)
            if name.startswith("_") or not callable(method) or name in left_out:
                continue
            parameters = set(inspect.signature(method).parameters) - {"self", "compressed"}
            assert parameters == set(GOOD.get(name, {})), name

    @pytest.mark.parametrize("method", GOOD)
    def test_wrong_values(self, method: str) -> None:
        for parameter in GOOD[method]:
            for wrong in WRONG:
                reader = EmulatedReader.of(seeded())
                with reader.open() as card:
                    sent = len(apdus(card))
                    try:
                        getattr(card, method)(**{**GOOD[method], parameter: wrong})
                    except UsageError as error:
                        assert len(apdus(card)) == sent, (parameter, wrong)
                        assert PIN not in str(error) and PUK not in str(error)
                    except CryptnoxError:
                        pass
                assert reader.card.counters.pin_tries == reader.card.counters.puk_tries == 0, (parameter, wrong)

    @pytest.mark.parametrize("parameter", INIT)
    def test_init(self, parameter: str) -> None:
        for wrong in (*WRONG, "\ud800"):
            reader = EmulatedReader.of(fresh())
            with reader.connect() as card:
                try:
                    card.init(**{**INIT, parameter: wrong})  # type: ignore[arg-type]
                except CryptnoxError:
                    assert not reader.memory.initialized
                else:
                    assert reader.memory.initialized

    def test_text_that_utf_8_does_not_have(self, card: Card) -> None:
        sent = len(apdus(card))
        for call in (
            lambda: card.add_user_key(UserKeySlot.EC, "\ud800", POINT, PUK),
            lambda: card.verify_pin("\ud800123"),
            lambda: card.change_puk(new="\ud800" * 12, current=PUK),
        ):
            with pytest.raises(UsageError):
                call()
        assert len(apdus(card)) == sent

    def test_numbers_for_members(self, card: Card) -> None:
        """A curve or slot may be given by its number, and means the same."""
        assert card.public_key(LEAF, curve=0) == card.public_key(LEAF)  # type: ignore[arg-type]
        assert card.public_key(LEAF, curve=0x10) == card.public_key(LEAF, curve=Curve.R1)  # type: ignore[arg-type]
        card.sign(DIGEST, PIN, path=LEAF, curve=0x10, kind=0)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=r"K1 \(0\), R1 \(16\)"):
            card.public_key(LEAF, curve=1)  # type: ignore[arg-type]

    def test_anchors(self) -> None:
        with pytest.raises(UsageError):
            Card(object(), anchors=ANCHORS.anchors)  # type: ignore[arg-type]


class TestApplet2:
    """An applet whose channel may have another form than the one that is known."""

    def test_a_channel_that_opens(self) -> None:
        with EmulatedReader.of(seeded(), Reading.SELECT_V2).open() as card:
            assert card.info.version == (2, 0, 0) and not card.info.reset_disabled
            card.sign(DIGEST, PIN, path=LEAF)

    @pytest.mark.parametrize("index", [0, 255])
    def test_one_that_does_not(self, index: int) -> None:
        memory = seeded()
        memory.pairing_key = bytes(range(32))
        with EmulatedReader.of(memory, Reading.SELECT_V2).connect() as card:
            with pytest.raises(
                UnknownChannelError, match=r"2\.0\.0, is not supported yet.*doctor --json.*6982"
            ) as caught:
                card.open_channel(index=index)
            assert caught.value.sw == 0x6982 and "another key" not in str(caught.value)
            assert not isinstance(caught.value, PairingError) and not card.channel_open
        with EmulatedReader.of(memory).connect() as card, pytest.raises(PairingError):
            card.open_channel()

    @pytest.mark.parametrize("ins", [Ins.OPEN_SECURE_CHANNEL, Ins.MUTUALLY_AUTHENTICATE])
    @pytest.mark.parametrize(
        "answer", ["6D00", "6A86", "6F00", "9000", "00" * 31 + "9000", "AA" * 64 + "9000", "AA" * 65 + "9000"]
    )
    def test_whatever_it_answers(self, ins: Ins, answer: str) -> None:
        """From the second applet on no answer in the handshake is taken for another pairing key, or for a bad line."""
        for readings, second in (((), False), ((Reading.SELECT_V2,), True)):
            reader = EmulatedReader.of(seeded(), *readings)
            card = reader.connect()
            transmit = card.transport.transmit

            def answering(apdu: bytes, transmit: Callable[[bytes], bytes] = transmit) -> bytes:
                return bytes.fromhex(answer) if apdu[1] == ins else transmit(apdu)

            card.transport.transmit = answering  # type: ignore[method-assign]
            with pytest.raises(CryptnoxError) as caught:
                card.open_channel()
            assert isinstance(caught.value, UnknownChannelError) is second
            assert not card.channel_open

    @pytest.mark.parametrize("answer", ["6982", "9000", "AA" * 64 + "9000", "AA" * 32 + "9000"])
    def test_a_handshake_that_passes_shows_little(self, answer: str) -> None:
        """A counter in the MACs that begins at zero is seen only in the command after it."""
        for readings, second in (((), False), ((Reading.SELECT_V2,), True)):
            card = EmulatedReader.of(seeded(), *readings).open(pin=None)
            transmit = card.transport.transmit
            card.transport.transmit = lambda apdu: bytes.fromhex(answer)  # type: ignore[method-assign]
            with pytest.raises(CryptnoxError) as caught:
                card.verify_pin(PIN)
            assert isinstance(caught.value, UnknownChannelError) is second
            card.transport.transmit = transmit  # type: ignore[method-assign]
            card.open_channel()
            card.verify_pin(PIN)
            card.transport.transmit = lambda apdu: bytes.fromhex(answer)  # type: ignore[method-assign]
            with pytest.raises(CryptnoxError) as caught:
                card.public_key(LEAF)
            assert not isinstance(caught.value, UnknownChannelError), "it was known before"

    @pytest.mark.parametrize("sw", [0x6985, 0x6D00, 0x6700])
    def test_a_status_word_in_the_clear_may_have_another_reason(self, sw: int) -> None:
        """A lock, or a command that this applet does not know."""
        card = EmulatedReader.of(seeded(), Reading.SELECT_V2).open(pin=None)
        card.transport.transmit = lambda apdu: sw.to_bytes(2, "big")  # type: ignore[method-assign]
        with pytest.raises(ChannelAbortedError) as caught:
            card.pin_tries_left()
        assert caught.value.sw == sw

    def test_what_is_not_about_the_channel(self) -> None:
        with EmulatedReader.of(initialized(), Reading.SELECT_V2).connect() as card, pytest.raises(UsageError):
            card.open_channel(bytes(31))
        with EmulatedReader.of(fresh(), Reading.SELECT_V2).connect() as card, pytest.raises(NotInitializedError):
            card.open_channel()

    def test_a_disabled_reset(self) -> None:
        memory = seeded()
        memory.reset_disabled = True
        with EmulatedReader.of(memory, Reading.SELECT_V2).open() as card:
            assert card.info.reset_disabled
            with pytest.raises(CryptnoxError, match="permanently disabled"):
                card.reset(PUK)
            assert card.info_page()
        with EmulatedReader.of(memory).open() as card:
            assert not card.info.reset_disabled


class TestNftData:
    def test_four_slots(self) -> None:
        with EmulatedReader.of(fresh("N")).connect() as card:
            card.init("Ada", "", pin=PIN, puk=PUK)
            card.open_channel()
            card.verify_pin(PIN)
            contents = [bytes((slot + 1,)) * size for slot, size in enumerate((15, 1200, 3600, 16))]
            for slot, content in enumerate(contents):
                assert card.read_user_data(slot) == b""
                card.write_user_data(content, slot)
            assert [card.read_user_data(slot) for slot in range(4)] == contents
            assert card.read_user_data() == contents[0]
            for slot in (-1, 4):
                with pytest.raises(UsageError, match="4 slots"):
                    card.read_user_data(slot)
                with pytest.raises(UsageError, match="4 slots"):
                    card.write_user_data(b"x", slot)

    def test_what_the_card_could_take_for_something_else(self) -> None:
        """16 bytes in its first slot and the custom bytes are one command."""
        with EmulatedReader.of(fresh("N")).connect() as card:
            card.init("Ada", "", pin=PIN, puk=PUK)
            card.open_channel()
            card.verify_pin(PIN)
            sent = len(apdus(card))
            with pytest.raises(UsageError, match="custom bytes"):
                card.write_user_data(bytes(16))
            with pytest.raises(UsageError, match="NFT card"):
                card.write_custom_bytes(bytes(16))
            assert len(apdus(card)) == sent

    def test_other_cards_have_one(self, card: Card) -> None:
        sent = len(apdus(card))
        with pytest.raises(UsageError, match="only NFT cards"):
            card.read_user_data(1)
        with pytest.raises(UsageError, match="only NFT cards"):
            card.write_user_data(b"x", 1)
        assert len(apdus(card)) == sent


def test_clear_reading_that_is_off_by_its_other_status_word() -> None:
    """Published texts give 6985 and 6A88."""
    from cryptnox_core import NotAllowedError
    from cryptnox_core.commands.keys import GetClearPublicKey

    assert type(GetClearPublicKey().error(0x6A88)) is NotAllowedError
    assert type(GetClearPublicKey().error(0x6A80)) is InvalidDataError
