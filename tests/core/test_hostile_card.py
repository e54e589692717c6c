"""Random and mutated responses: whatever a card or somebody in between answers, only our exceptions come out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from embit.bip32 import HDKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryptnox_core.apdu import CommandApdu, drive
from cryptnox_core.bip32 import Path
from cryptnox_core.card import Card
from cryptnox_core.errors import CryptnoxError, MalformedResponseError
from cryptnox_core.models import AppletInfo
from cryptnox_core.secure_channel import SecureChannel
from cryptnox_core.wire import COMMON_PAIRING_KEY, Curve, Ins, KeyUse, SignatureKind, UserKeySlot
from tests.core.emulated import PIN, PUK, SEED, EmulatedReader, EmulatedTransport, fresh, initialized, seeded
from tests.core.test_secure_channel import CARD_KEY, CardSide

LEAF = Path.parse("m/84h/0h/0h/0/0")
DIGEST = hashlib.sha256(b"x").digest()
POINT = CARD_KEY
KEY = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")

METHODS: dict[str, Callable[[Card], object]] = {
    "info_page": lambda card: card.info_page(),
    "tries": lambda card: card.pin_tries_left(),
    "verify": lambda card: card.verify_pin(PIN),
    "change_pin": lambda card: card.change_pin(PIN),
    "change_puk": lambda card: card.change_puk(new=PUK, current=PUK),
    "unblock": lambda card: card.unblock_pin(puk=PUK, new_pin=PIN),
    "pairing": lambda card: card.change_pairing_key(bytes(32), puk=PUK),
    "pin_auth": lambda card: card.set_pin_auth(True, PUK),
    "load": lambda card: card.load_seed(SEED, PIN),
    "generate": lambda card: card.generate_key(PIN),
    "dual1": lambda card: card.dual_seed_start(PIN),
    "dual2": lambda card: card.dual_seed_finish(POINT, PIN),
    "wrap": lambda card: card.generate_seed_wrap_key(),
    "random": lambda card: card.random_bytes(16),
    "derive": lambda card: card.derive(LEAF),
    "path": lambda card: card.current_path(),
    "key": lambda card: card.public_key(LEAF),
    "key r1": lambda card: card.public_key(LEAF, curve=Curve.R1),
    "xpub": lambda card: card.extended_public_key(LEAF),
    "fingerprint": lambda card: card.master_fingerprint(),
    "sign": lambda card: card.sign(DIGEST, PIN, path=LEAF, public_key=KEY),
    "sign alone": lambda card: card.sign(DIGEST, PIN, path=LEAF),
    "sign r1": lambda card: card.sign(DIGEST, PIN, path=LEAF, curve=Curve.R1, public_key=POINT),
    "schnorr": lambda card: card.sign(DIGEST, PIN, path=LEAF, kind=SignatureKind.SCHNORR, public_key=KEY),
    "sign public": lambda card: card.sign_public(),
    "decryption key": lambda card: card.decryption_key(POINT, PIN),
    "decrypt": lambda card: card.decrypt(POINT, bytes(32), PIN),
    "check": lambda card: card.signature_check(KEY),
    "read data": lambda card: card.read_user_data(),
    "write data": lambda card: card.write_user_data(b"x"),
    "custom": lambda card: card.write_custom_bytes(bytes(16)),
    "history": lambda card: card.history(3),
    "add key": lambda card: card.add_user_key(UserKeySlot.EC, "x", POINT, PUK),
    "delete key": lambda card: card.delete_user_key(UserKeySlot.EC, PUK),
    "user key": lambda card: card.user_key(UserKeySlot.FIDO),
    "challenge": lambda card: card.user_key_challenge(),
    "respond": lambda card: card.user_key_respond(UserKeySlot.EC, b"s"),
    "authorise": lambda card: card.authorize_digest(UserKeySlot.EC, DIGEST, b"s"),
    "authorise list": lambda card: card.authorize_digests(UserKeySlot.EC, [DIGEST], b"s"),
    "credential": lambda card: card.fido_credential_id(),
    "export": lambda card: card.set_xpub_export(True, PUK),
    "clear": lambda card: card.set_clear_public_key(True, PUK),
    "pinless": lambda card: card.set_pinless_path(None, PUK),
    "clear key": lambda card: card.clear_public_key(),
    "sign pinless": lambda card: card.sign_pinless(DIGEST, public_key=KEY),
    "static key": lambda card: card.card_public_key(),
    "reset": lambda card: card.reset(PUK),
    "certificate": lambda card: card.read_certificate(),
    "init": lambda card: card.init("", "", pin=PIN, puk=PUK),
    "open": lambda card: card.open_channel(),
}

likely_sw = st.sampled_from([0x9000, 0x9000, 0x9000, 0x6982, 0x6985, 0x63C2, 0x63C0, 0x9840, 0x6D00])
statuses = (likely_sw | st.integers(0, 0xFFFF)).map(lambda sw: sw.to_bytes(2, "big"))
lengths = st.sampled_from([0, 1, 2, 4, 16, 24, 32, 33, 36, 64, 65, 72, 106, 138, 255, 256])
near_points = st.tuples(
    st.sampled_from([b"\x02", b"\x03", b"\x04"]), st.binary(min_size=32, max_size=32), st.sampled_from([0, 32])
).map(lambda parts: (parts[0] + parts[1]).ljust(33 + parts[2], b"\x55"))
"""With the prefix and the length of a public key, and mostly off the curve."""
bodies = st.binary(max_size=80) | lengths.flatmap(lambda size: st.binary(min_size=size, max_size=size)) | near_points
plain_answers = st.tuples(bodies, statuses).map(b"".join)


def examples(count: int) -> settings:
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Scripted:
    """A transport that answers from a list, and then with status words alone."""

    name = "scripted"

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = answers

    def transmit(self, apdu: bytes) -> bytes:
        return self.answers.pop(0) if self.answers else b"\x6f\x00"

    def close(self) -> None:
        return None


class KeyHolder:
    """A transport to a card's side that has the right keys and answers what it is told."""

    name = "holds the keys"

    def __init__(self) -> None:
        self.side = CardSide()
        self.answers: list[bytes] = []

    def transmit(self, apdu: bytes) -> bytes:
        extended = apdu[4] == 0 and len(apdu) > 5
        data = apdu[7:] if extended else apdu[5:]
        answer = self.answers.pop(0) if self.answers else b"\x90\x00"
        pinless = apdu[1] == Ins.SIGN and apdu[2] == KeyUse.PINLESS
        if pinless or (apdu[1] != Ins.OPEN_SECURE_CHANNEL and len(data) < 32):
            return answer
        self.side.answers = [answer]
        response = self.side.transmit(CommandApdu(*apdu[:4], data, extended=extended))
        return response.data + response.sw.to_bytes(2, "big")

    def close(self) -> None:
        return None


class OpenedCard(Card):
    """A `Card` with a seed and an open channel, as far as it can know."""

    def __init__(self, answers: list[bytes]) -> None:
        holder = KeyHolder()
        super().__init__(holder)
        self._info = AppletInfo.parse(b"B\x01\x06\x00\x00\x74" + bytes(18))
        self._channel = SecureChannel()
        drive(self._channel.handshake(CARD_KEY, COMMON_PAIRING_KEY), self._transmit)
        holder.answers = list(answers)


def test_the_extended_key_of_another_path() -> None:
    """The card derives, and then gives the key of another depth, or of a sibling."""
    root = HDKey.from_seed(SEED)
    for asked, answered, fits in (
        ("m/84h/0h/0h", "m/84h/0h/0h", True),
        ("m/84h/0h/0h", "m/84h/0h/1h", False),
        ("m/84h/0h/0h/1", "m/84h/0h/1", False),
    ):
        node, parent = root.derive(answered), root.derive(answered.rpartition("/")[0])
        answer = bytes.fromhex("0488B21E") + bytes((node.depth,)) + hashlib.sha256(parent.sec()).digest()
        answer += node.child_number.to_bytes(4, "big") + node.chain_code + node.sec()
        card = OpenedCard([b"\x90\x00", answer + b"\x90\x00"])
        if fits:
            assert card.extended_public_key(Path.parse(asked)).to_string() == node.to_public().to_string()
        else:
            with pytest.raises(MalformedResponseError):
                card.extended_public_key(Path.parse(asked))


@pytest.mark.parametrize("method", METHODS)
@examples(60)
@given(answers=st.lists(plain_answers, min_size=1, max_size=4))
def test_any_plaintext_from_a_card_that_holds_the_keys(method: str, answers: list[bytes]) -> None:
    card = OpenedCard(answers)
    assert card.channel_open
    try:
        METHODS[method](card)
    except CryptnoxError as error:
        assert PIN not in str(error) and PUK not in str(error)


@examples(500)
@given(st.lists(st.binary(max_size=300) | plain_answers, max_size=8), st.sampled_from(sorted(METHODS)))
def test_random_bytes_from_the_first_answer_on(answers: list[bytes], method: str) -> None:
    card = Card(Scripted(answers))
    for call in (card.open_channel, lambda: METHODS[method](card)):
        try:
            call()
        except CryptnoxError:
            continue


def mutate(answer: bytes, kind: str, at: int, value: int) -> bytes:
    where = at % (len(answer) or 1)
    if kind == "flip":
        return answer[:where] + bytes((answer[where] ^ (value or 1),)) + answer[where + 1 :] if answer else answer
    if kind == "cut":
        return answer[:where]
    if kind == "insert":
        return answer[:where] + bytes((value,)) + answer[where:]
    if kind == "drop":
        return answer[:where] + answer[where + 1 :]
    if kind == "double":
        return answer[:-2] + answer
    if kind == "grow":
        return answer[:-2] + bytes((value,)) * (at * 97) + answer[-2:]
    return answer[-2:]


class Mutating(EmulatedTransport):
    """One answer of an emulated card is changed on its way."""

    turn = 0
    plan: tuple[int, str, int, int] = (0, "flip", 0, 1)

    def transmit(self, apdu: bytes) -> bytes:
        answer = super().transmit(apdu)
        self.turn += 1
        turn, kind, at, value = self.plan
        return mutate(answer, kind, at, value) if turn == self.turn else answer


def story(card: Card) -> None:
    if not card.select().initialized:
        card.init("Ada", "", pin=PIN, puk=PUK)
    card.open_channel()
    card.pin_tries_left()
    card.verify_pin(PIN)
    if not card.info.seeded:
        card.load_seed(SEED, PIN)
    key = card.public_key(LEAF)
    card.derive(LEAF.parent)
    card.current_path()
    card.sign(DIGEST, PIN, path=LEAF, public_key=key)
    card.sign(DIGEST, PIN, path=LEAF, kind=SignatureKind.SCHNORR, public_key=key)
    card.info_page()
    card.read_user_data()
    card.history(2)


KINDS = ["flip", "cut", "insert", "drop", "double", "grow", "status only"]


@examples(600)
@given(
    st.sampled_from([fresh, initialized, seeded]),
    st.tuples(st.integers(1, 22), st.sampled_from(KINDS), st.integers(0, 400), st.integers(0, 255)),
)
def test_one_changed_answer(memory: Callable[[], object], plan: tuple[int, str, int, int]) -> None:
    reader = EmulatedReader.of(memory())  # type: ignore[arg-type]
    transport = Mutating(reader.engine)
    transport.plan = plan
    reader.engine.power_up()
    card = Card(transport)
    try:
        story(card)
    except CryptnoxError as error:
        assert PIN not in str(error) and PUK not in str(error)
    assert reader.card.counters.pin_tries == 0 and reader.card.counters.puk_tries == 0
