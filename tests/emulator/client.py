"""A host for the emulated card, sharing no code with it nor with our client: frames, channel, commands by hand."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cryptnox_core.emulator.card import Card
from cryptnox_core.emulator.memory import Memory
from cryptnox_core.emulator.readings import Reading

AID = bytes.fromhex("A0000010000112")
COMMON = b"Cryptnox Basic CommonPairingData"
PIN = "000000"
PUK = b"000000000000"
SEED = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
SERIAL = 0x0123456789ABCDEF
H = 1 << 31
OK = 0x9000


def read_exactly(connection: socket.socket, length: int) -> bytes:
    """ConnectionError where the other side ends before."""
    data = b""
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data


def pin(digits: str = PIN) -> bytes:
    return digits.encode().ljust(9, b"\0")


def path(*levels: int) -> bytes:
    return b"".join(level.to_bytes(4, "big") for level in levels)


def cbc(key: bytes, iv: bytes, data: bytes, *, decrypt: bool = False) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv))
    context = cipher.decryptor() if decrypt else cipher.encryptor()
    return context.update(data) + context.finalize()


def padded(data: bytes) -> bytes:
    data += b"\x80"
    return data + bytes(-len(data) % 16)


def public_point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


class BadAnswer(AssertionError):
    """The card's answer breaks the channel's rules."""


class Host:
    """Talks to a ``Card``. Commands answer ``(status word, data)``; in the channel the inner one."""

    def __init__(self, card: Card, pairing: bytes = COMMON) -> None:
        self.card = card
        self.pairing = pairing
        self.key = self.mac_key = self.iv = b""
        self.session_point = b""
        self.outer = 0

    def raw(self, frame: bytes) -> tuple[int, bytes]:
        answer = self.card.process(frame).raw
        self.outer = int.from_bytes(answer[-2:], "big")
        return self.outer, answer[:-2]

    def clear(self, ins: int, p1: int = 0, p2: int = 0, data: bytes = b"", cla: int = 0x80) -> tuple[int, bytes]:
        return self.raw(bytes([cla, ins, p1, p2]) + (bytes([len(data)]) + data if data else b""))

    def select(self) -> bytes:
        status, data = self.clear(0xA4, 4, 0, AID, cla=0)
        assert status == OK
        return data

    def certificate(self) -> x509.Certificate:
        data = b""
        page = 0
        while page == 0 or len(data) < 2 + int.from_bytes(data[:2], "big"):
            status, part = self.clear(0xF7, 0, page)
            assert status == OK and part
            data += part
            page += 1
        return x509.load_der_x509_certificate(data[2:])

    def session(self) -> bytes:
        """F8; the session point, whose signature is checked by test_setup."""
        status, answer = self.clear(0xF8, 0, 0, os.urandom(8))
        assert status == OK
        self.session_point = answer[9:74]
        return answer

    def shared(self, own: ec.EllipticCurvePrivateKey) -> bytes:
        peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self.session_point)
        return own.exchange(ec.ECDH(), peer)

    def open(self, index: int = 0) -> int:
        """OPEN SECURE CHANNEL and MUTUALLY AUTHENTICATE; the last status word."""
        own = ec.generate_private_key(ec.SECP256R1())
        status, salt = self.clear(0x10, index, 0, public_point(own))
        if status != OK:
            return status
        assert len(salt) == 32
        keys = hashlib.sha512(self.shared(own) + self.pairing + salt).digest()
        self.key, self.mac_key, self.iv = keys[:32], keys[32:], b"\1" * 16
        status, data = self.send(0x11, 0, 0, os.urandom(32))
        if self.outer != OK:
            return self.outer
        assert len(data) == 32
        return status

    def connect(self) -> Host:
        self.select()
        self.session()
        assert self.open() == OK
        return self

    def power_cycle(self) -> Host:
        self.card.power_up()
        return self.connect()

    def mac(self, header: bytes, ciphertext: bytes) -> bytes:
        return cbc(self.mac_key, bytes(16), header.ljust(16, b"\0") + ciphertext)[-16:]

    def wrap(
        self, ins: int, p1: int, p2: int, data: bytes, *, extended: bool = False, by_value: bool = False
    ) -> tuple[bytes, bytes]:
        """A frame and its MAC."""
        ciphertext = cbc(self.key, self.iv, padded(data))
        length = 16 + len(ciphertext)
        start = bytes([0x80, ins, p1, p2])
        long_form = b"\0" + length.to_bytes(2, "big")
        extended = extended or length > 255
        form = long_form if extended else bytes([length])
        mac = self.mac(start + (bytes([length]) if by_value else form), ciphertext)
        return start + form + mac + ciphertext, mac

    def unwrap(self, mac: bytes, answer: bytes) -> tuple[int, bytes]:
        length = len(answer)
        form = bytes([length]) if length < 256 else b"\0" + length.to_bytes(2, "big")
        if self.mac(form, answer[16:]) != answer[:16]:
            raise BadAnswer
        self.iv = answer[:16]
        plain = cbc(self.key, mac, answer[16:], decrypt=True).rstrip(b"\0")[:-1]
        return int.from_bytes(plain[-2:], "big"), plain[:-2]

    def send(
        self, ins: int, p1: int = 0, p2: int = 0, data: bytes = b"", *, extended: bool = False, by_value: bool = False
    ) -> tuple[int, bytes]:
        """One command in the channel: the inner status word and data, or the outer status word when it is not 9000."""
        frame, mac = self.wrap(ins, p1, p2, data, extended=extended, by_value=by_value)
        status, answer = self.raw(frame)
        return self.unwrap(mac, answer) if status == OK else (status, b"")

    def status(self, ins: int, p1: int = 0, p2: int = 0, data: bytes = b"", *, extended: bool = False) -> int:
        """The status word alone; a refusal must come without data."""
        status, answer = self.send(ins, p1, p2, data, extended=extended)
        assert status == OK or not answer
        return status

    def get(self, ins: int, p1: int = 0, p2: int = 0, data: bytes = b"", *, extended: bool = False) -> bytes:
        """The data of a command that must succeed."""
        status, answer = self.send(ins, p1, p2, data, extended=extended)
        assert status == OK, f"{status:04X}"
        return answer

    def verify(self, digits: str = PIN) -> int:
        return self.status(0x20, data=pin(digits))


def ready_memory(card_type: str = "B", **changes: object) -> Memory:
    """An initialised card without a key."""
    memory = Memory(serial=SERIAL, card_type=ord(card_type), initialized=True)
    memory.pin, memory.puk, memory.pairing_key = pin(), PUK, COMMON
    for name, value in changes.items():
        setattr(memory, name, value)
    return memory


def seeded_memory(seed: bytes = SEED, **changes: object) -> Memory:
    from cryptnox_core.wire import KeySource

    return ready_memory(key_source=KeySource.LOADED, seed=seed, **changes)


def host(memory: Memory, readings: Iterable[Reading] = ()) -> Host:
    """Powered and connected."""
    return Host(Card(memory, readings)).connect()


def verifies(point: bytes, digest: bytes, signature: bytes, curve: ec.EllipticCurve) -> bool:
    """ECDSA with low S."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

    order = {
        "secp256k1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
        "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    }[curve.name]
    key = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    try:
        key.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except InvalidSignature:
        return False
    return decode_dss_signature(signature)[1] <= order // 2
