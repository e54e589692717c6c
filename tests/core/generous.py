"""An emulated card that says more than is documented: bytes behind every answer, a SELECT answer of any length.

What goes through the channel is unwrapped and wrapped anew here, by code of its own on both sides of the middle.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec

from cryptnox_core.emulator.card import Answer
from cryptnox_core.emulator.card import Card as EmulatedCard
from cryptnox_core.emulator.memory import Memory
from cryptnox_core.emulator.readings import Reading
from tests.emulator.client import cbc, padded

SELECT, OPEN, SIGN, GENERATE_KEY, GET_CARD_CERTIFICATE = 0xA4, 0x10, 0xC0, 0xD4, 0xF8
CLEAR = {SELECT, OPEN, 0xF4, 0xF7, 0xFE}
FIRST_IV = b"\x01" * 16


def puk_key(puk: bytes) -> bytes:
    for _ in range(32):
        puk = hashlib.sha256(puk).digest()
    return puk


class GenerousCard(EmulatedCard):
    """`extra` stands behind the data of every answer, in the channel before its status word.

    `select_length`: SELECT answers that many bytes instead, cut or filled up. `no_key_id`: GENERATE KEY answers without
    data.
    """

    def __init__(
        self,
        memory: Memory,
        *readings: Reading,
        extra: bytes = b"",
        select_length: int | None = None,
        no_key_id: bool = False,
    ) -> None:
        super().__init__(memory, readings)
        self.extra = extra
        self.select_length = select_length
        self.no_key_id = no_key_id
        self._key = self._mac_key = b""
        self._host_iv = self._card_iv = FIRST_IV

    def power_up(self) -> None:
        super().power_up()
        self._key = b""

    def process(self, raw: bytes, *, torn: bool = False) -> Answer:
        ins, p1 = raw[1], raw[2]
        data = self._data(raw)
        clear = ins in CLEAR or (ins == GET_CARD_CERTIFICATE and p1 != 1)
        pinless = ins == SIGN and p1 == 3 and len(data) == 32
        if self._key and not clear and not pinless and len(data) >= 32:
            return self._in_the_middle(raw, data, torn=torn)
        answer = super().process(raw, torn=torn)
        if ins == OPEN and answer.sw == 0x9000:
            self._begin(p1, data, answer.data)
        content = answer.data
        if ins == SELECT and answer.sw == 0x9000:
            self._key = b""
            if self.select_length is not None:
                content = content[: self.select_length].ljust(self.select_length, b"\xa5")
        return Answer(content + self.extra, answer.sw, answer.inner)

    @staticmethod
    def _data(raw: bytes) -> bytes:
        extended = len(raw) > 5 and raw[4] == 0
        return raw[7:] if extended else raw[5:]

    def _begin(self, index: int, point: bytes, salt: bytes) -> None:
        session = self._ctx.selection.session_key
        assert session is not None
        host = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        pairing = puk_key(self.memory.puk) if index == 0xFF else self.memory.pairing_key
        keys = hashlib.sha512(session.exchange(ec.ECDH(), host) + pairing + salt).digest()
        self._key, self._mac_key = keys[:32], keys[32:]
        self._host_iv = self._card_iv = FIRST_IV

    def _mac(self, head: bytes, ciphertext: bytes) -> bytes:
        return cbc(self._mac_key, bytes(16), head.ljust(16, b"\0") + ciphertext)[-16:]

    def _in_the_middle(self, raw: bytes, data: bytes, *, torn: bool) -> Answer:
        head, asked = raw[: -len(data)], data[:16]
        if self._mac(head, data[16:]) != asked:
            return super().process(raw, torn=torn)  # another pairing key: the card will say so
        plain = cbc(self._key, self._host_iv, data[16:], decrypt=True)
        ciphertext = cbc(self._key, self._card_iv, plain)
        mac = self._mac(head, ciphertext)
        answer = super().process(head + mac + ciphertext, torn=torn)
        if answer.sw != 0x9000:
            return answer
        self._card_iv = answer.data[:16]
        content = cbc(self._key, mac, answer.data[16:], decrypt=True).rstrip(b"\0")[:-1]
        content, sw = content[:-2], content[-2:]
        if self.no_key_id and head[1] == GENERATE_KEY:
            content = b""
        content += self.extra + sw
        ciphertext = cbc(self._key, asked, padded(content))
        length = 16 + len(ciphertext)
        form = bytes([length]) if length < 256 else b"\0" + length.to_bytes(2, "big")
        self._host_iv = self._mac(form, ciphertext)
        return Answer(self._host_iv + ciphertext, 0x9000, answer.inner)
