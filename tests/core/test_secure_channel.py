"""The secure channel against a card's side written for this test, and each guard of the client's side by itself."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cryptnox_core.apdu import CommandApdu, ResponseApdu, drive
from cryptnox_core.commands.auth import PinTriesLeft, VerifyPin
from cryptnox_core.commands.data import ReadUserData, WriteUserData
from cryptnox_core.crypto.aes import pad, unpad
from cryptnox_core.crypto.p256 import EphemeralKey
from cryptnox_core.errors import (
    BadMacError,
    CardRemovedError,
    ChannelAbortedError,
    ChannelError,
    MalformedResponseError,
    PairingError,
    PinLockedError,
    UsageError,
    WrongPinError,
)
from cryptnox_core.secure_channel import ChannelState, SecureChannel
from cryptnox_core.wire import COMMON_PAIRING_KEY

CARD_SECRET = 0x1234567
HOST_SECRET = 0x7654321
SALT = bytes(range(100, 132))
CARD_KEY = EphemeralKey.from_scalar(CARD_SECRET).public_key


def aes(key: bytes, iv: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv))
    context = cipher.decryptor() if decrypt else cipher.encryptor()
    return context.update(data) + context.finalize()


class CardSide:
    """The formulas of the channel from the card's end, on its own code."""

    def __init__(self, pairing_key: bytes = COMMON_PAIRING_KEY) -> None:
        self.pairing_key = pairing_key
        self.iv = b"\x01" * 16
        self.aes_key = self.mac_key = b""
        self.plain: list[bytes] = []
        self.answers: list[bytes] = []

    def transmit(self, command: CommandApdu) -> ResponseApdu:
        if command.ins == 0x10:
            host = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), command.data)
            shared = ec.derive_private_key(CARD_SECRET, ec.SECP256R1()).exchange(ec.ECDH(), host)
            keys = hashlib.sha512(shared + self.pairing_key + SALT).digest()
            self.aes_key, self.mac_key = keys[:32], keys[32:]
            return ResponseApdu(SALT, 0x9000)
        plain = self.unwrap(command.encode())
        if plain is None:
            return ResponseApdu(b"", 0x6982)
        self.plain.append(plain)
        return self.wrap(self.answers.pop(0) if command.ins != 0x11 else bytes(32) + b"\x90\x00")

    def unwrap(self, raw: bytes) -> bytes | None:
        extended = raw[4] == 0
        head, body = (raw[:7], raw[7:]) if extended else (raw[:5], raw[5:])
        mac, ciphertext = body[:16], body[16:]
        if aes(self.mac_key, bytes(16), head + bytes(16 - len(head)) + ciphertext)[-16:] != mac:
            return None
        plain = aes(self.aes_key, self.iv, ciphertext, decrypt=True)
        self.iv = mac
        return plain[: plain.rindex(b"\x80")]

    def wrap(self, plain: bytes) -> ResponseApdu:
        padded = plain + b"\x80"
        padded += bytes(-len(padded) % 16)
        ciphertext = aes(self.aes_key, self.iv, padded)
        size = len(ciphertext) + 16
        head = bytes([size]) if size < 256 else b"\0" + size.to_bytes(2, "big")
        self.iv = aes(self.mac_key, bytes(16), head + bytes(16 - len(head)) + ciphertext)[-16:]
        return ResponseApdu(self.iv + ciphertext, 0x9000)


def opened(card: CardSide | None = None) -> tuple[SecureChannel, CardSide]:
    card = card or CardSide()
    channel = SecureChannel(random=lambda size: bytes(size), ephemeral=EphemeralKey.from_scalar(HOST_SECRET))
    drive(channel.handshake(CARD_KEY, COMMON_PAIRING_KEY), card.transmit)
    return channel, card


def test_handshake_and_commands_of_many_lengths() -> None:
    channel, card = opened()
    assert channel.state is ChannelState.OPEN
    assert card.plain == [bytes(32)]
    for size in (0, 1, 15, 16, 17, 223, 224, 239, 240, 255, 256, 1200):
        card.answers.append(b"\x90\x00")
        drive(channel.exchange(WriteUserData(0, b"\xab" * size)), card.transmit)
        assert card.plain[-1] == b"\xab" * size
    for size in (0, 13, 14, 222, 223, 224, 1000):
        card.answers.append(b"\xcd" * size + b"\x90\x00")
        assert drive(channel.exchange(ReadUserData(0)), card.transmit) == b"\xcd" * size


def test_data_that_ends_like_padding() -> None:
    channel, card = opened()
    for content in (b"\x80", b"\x80\x00", b"\x00", b"\x80" + bytes(15)):
        card.answers.append(content + b"\x90\x00")
        assert drive(channel.exchange(ReadUserData(0)), card.transmit) == content


@pytest.mark.parametrize(("size", "extended"), [(223, False), (224, True)])
def test_the_shortest_extended_frame(size: int, extended: bool) -> None:
    channel, _ = opened()
    assert channel.wrap(CommandApdu(0x80, 0xFC, 0, 0, bytes(size))).is_extended is extended


def test_recorded_handshake() -> None:
    """Fixed keys, fixed randomness: the bytes on the wire never change."""
    wire: list[bytes] = []
    card = CardSide()

    def record(command: CommandApdu) -> ResponseApdu:
        wire.append(command.encode())
        return card.transmit(command)

    channel = SecureChannel(random=lambda size: bytes(size), ephemeral=EphemeralKey.from_scalar(HOST_SECRET))
    drive(channel.handshake(CARD_KEY, COMMON_PAIRING_KEY), record)
    card.answers.append(b"\x90\x00")
    drive(channel.exchange(VerifyPin("123456")), record)
    assert hashlib.sha256(b"".join(wire)).hexdigest() == RECORDED
    assert [len(sent) for sent in wire] == [70, 69, 37]


RECORDED = "9560c8f54b4d679bee461407e1fe22a3ee3fb88ab4e3077fa08d2dc8e64be9a9"


def test_padding() -> None:
    for size in range(40):
        padded = pad(bytes(size))
        assert len(padded) % 16 == 0 and unpad(padded) == bytes(size)
    for wrong in (b"", bytes(16), b"\x80" + bytes(16), b"\x81" + bytes(15)):
        assert unpad(wrong) is None


def test_another_pairing_key() -> None:
    card = CardSide(pairing_key=bytes(32))
    channel = SecureChannel()
    with pytest.raises(PairingError) as caught:
        drive(channel.handshake(CARD_KEY, COMMON_PAIRING_KEY), card.transmit)
    assert caught.value.sw == 0x6982
    assert channel.state is ChannelState.FAILED


def test_status_words_inside_leave_the_channel_open() -> None:
    channel, card = opened()
    card.answers += [b"\x63\xc2", b"\x63\xc0", b"\x05\x90\x00"]
    with pytest.raises(WrongPinError) as caught:
        drive(channel.exchange(VerifyPin("1234")), card.transmit)
    assert caught.value.left == 2
    with pytest.raises(PinLockedError):
        drive(channel.exchange(VerifyPin("1234")), card.transmit)
    assert drive(channel.exchange(PinTriesLeft()), card.transmit) == 5


def flip(response: ResponseApdu, at: int) -> ResponseApdu:
    data = bytearray(response.data)
    data[at] ^= 1
    return ResponseApdu(bytes(data), response.sw)


@pytest.mark.parametrize("at", [0, 15, 16, 31])
def test_any_changed_byte_is_a_bad_mac(at: int) -> None:
    channel, card = opened()
    card.answers.append(b"\x05\x90\x00")
    with pytest.raises(BadMacError):
        drive(channel.exchange(PinTriesLeft()), lambda command: flip(card.transmit(command), at))
    assert channel.state is ChannelState.FAILED


def test_unwrapping_by_hand_fails_the_channel_too() -> None:
    for response in (ResponseApdu(b"", 0x6982), ResponseApdu(bytes(32), 0x9000), ResponseApdu(b"", 0x9000)):
        channel, _ = opened()
        channel.wrap(CommandApdu(0x80, 0x20, 0, 0))
        with pytest.raises((ChannelError, MalformedResponseError)):
            channel.unwrap(response)
        assert channel.state is ChannelState.FAILED
    channel, card = opened()
    with pytest.raises(ChannelError):
        channel.unwrap(card.wrap(b"\x90\x00"))
    assert channel.state is ChannelState.FAILED


def test_a_replayed_response() -> None:
    """The MAC fits, but it was encrypted under another command's MAC: the padding is wrong."""
    channel, card = opened()
    card.answers += [b"\x05\x90\x00", b"\x05\x90\x00"]
    kept: list[ResponseApdu] = []

    def keep(command: CommandApdu) -> ResponseApdu:
        kept.append(card.transmit(command))
        return kept[-1]

    drive(channel.exchange(PinTriesLeft()), keep)
    with pytest.raises((MalformedResponseError, ChannelError)):
        drive(channel.exchange(PinTriesLeft()), lambda command: kept[0])
    assert channel.state is ChannelState.FAILED


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 31, 33, 47])
def test_responses_of_impossible_length(size: int) -> None:
    channel, _ = opened()
    with pytest.raises(MalformedResponseError):
        drive(channel.exchange(PinTriesLeft()), lambda command: ResponseApdu(bytes(size), 0x9000))
    assert channel.state is ChannelState.FAILED


@pytest.mark.parametrize("plain", [b"", b"\x90"])
def test_no_status_word_inside(plain: bytes) -> None:
    channel, card = opened()
    card.answers.append(plain)
    with pytest.raises(MalformedResponseError):
        drive(channel.exchange(PinTriesLeft()), card.transmit)
    assert channel.state is ChannelState.FAILED


@pytest.mark.parametrize("sw", [0x6982, 0x6D00, 0x6700, 0x6F00, 0x6985, 0x63C2])
def test_a_status_word_in_the_clear(sw: int) -> None:
    channel, _ = opened()
    with pytest.raises(ChannelAbortedError) as caught:
        drive(channel.exchange(VerifyPin("1234")), lambda command: ResponseApdu(b"", sw))
    assert caught.value.sw == sw
    assert channel.state is ChannelState.FAILED


def test_a_failed_channel_sends_nothing_more() -> None:
    channel, card = opened()
    channel.fail()
    sent: list[CommandApdu] = []

    def transmit(command: CommandApdu) -> ResponseApdu:
        sent.append(command)
        return card.transmit(command)

    with pytest.raises(ChannelError):
        drive(channel.exchange(PinTriesLeft()), transmit)
    with pytest.raises(ChannelError):
        drive(channel.handshake(CARD_KEY, COMMON_PAIRING_KEY), transmit)
    with pytest.raises(ChannelError):
        channel.wrap(CommandApdu(0x80, 0x20, 0, 0))
    assert sent == []


def test_a_transport_fault_fails_the_channel() -> None:
    channel, _ = opened()

    def vanish(command: CommandApdu) -> ResponseApdu:
        raise CardRemovedError("gone")

    with pytest.raises(CardRemovedError):
        drive(channel.exchange(PinTriesLeft()), vanish)
    assert channel.state is ChannelState.FAILED


def test_an_abandoned_command_fails_the_channel() -> None:
    channel, _ = opened()
    flow = channel.exchange(PinTriesLeft())
    next(flow)
    flow.close()
    assert channel.state is ChannelState.FAILED


def test_two_commands_at_once() -> None:
    channel, _ = opened()
    first = channel.exchange(PinTriesLeft())
    next(first)
    with pytest.raises(ChannelError):
        next(channel.exchange(PinTriesLeft()))


def test_usage_errors_send_nothing_and_keep_the_channel() -> None:
    channel, card = opened()
    with pytest.raises(UsageError):
        drive(channel.exchange(VerifyPin("12")), card.transmit)
    with pytest.raises(UsageError):
        drive(SecureChannel().handshake(CARD_KEY, bytes(31)), card.transmit)
    with pytest.raises(UsageError):
        drive(SecureChannel().handshake(CARD_KEY, bytes(32), index=1), card.transmit)
    assert len(card.plain) == 1
    card.answers.append(b"\x90\x00")
    drive(channel.exchange(VerifyPin("1234")), card.transmit)


@pytest.mark.parametrize("salt", [ResponseApdu(bytes(31), 0x9000), ResponseApdu(b"", 0x9000)])
def test_bad_salt(salt: ResponseApdu) -> None:
    channel = SecureChannel()
    with pytest.raises(MalformedResponseError):
        drive(channel.handshake(CARD_KEY, COMMON_PAIRING_KEY), lambda command: salt)
    assert channel.state is ChannelState.FAILED


@pytest.mark.parametrize("key", [b"", b"\x04" + bytes(64), CARD_KEY[:-1]])
def test_session_key_that_is_no_point(key: bytes) -> None:
    with pytest.raises(MalformedResponseError):
        drive(SecureChannel().handshake(key, COMMON_PAIRING_KEY), CardSide().transmit)


@pytest.mark.parametrize("size", [0, 31])
def test_mutual_answer_that_is_too_short(size: int) -> None:
    class Short(CardSide):
        def wrap(self, plain: bytes) -> ResponseApdu:
            return super().wrap(bytes(size) + b"\x90\x00")

    channel = SecureChannel()
    with pytest.raises(MalformedResponseError):
        drive(channel.handshake(CARD_KEY, COMMON_PAIRING_KEY), Short().transmit)
    assert channel.state is ChannelState.FAILED


def test_a_card_without_the_pairing_key_cannot_answer() -> None:
    """A card that takes any MUTUALLY AUTHENTICATE but knows no keys fails at its own MAC."""

    class Impostor(CardSide):
        def unwrap(self, raw: bytes) -> bytes | None:
            return bytes(32)

    with pytest.raises(BadMacError):
        drive(SecureChannel().handshake(CARD_KEY, COMMON_PAIRING_KEY), Impostor(pairing_key=bytes(32)).transmit)


def test_fresh_randomness_in_each_channel() -> None:
    first, second = SecureChannel(), SecureChannel()
    commands = [next(channel.handshake(CARD_KEY, COMMON_PAIRING_KEY)) for channel in (first, second)]
    assert commands[0].data != commands[1].data


def test_keys_are_not_shown() -> None:
    channel, card = opened()
    shown = repr(channel) + repr(vars(channel))
    for secret in (card.aes_key, card.mac_key):
        assert secret.hex() not in shown and repr(secret) not in shown
