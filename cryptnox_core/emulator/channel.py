"""The card's side of the secure channel (docs/protocol.md, The channel)."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cryptnox_core.emulator.frame import Command, Refusal
from cryptnox_core.wire import BLOCK, FIRST_IV, MAX_SHORT_DATA, Sw

_ZERO = bytes(BLOCK)
MIN_WRAPPED = BLOCK + 1
"""A MAC and something behind it: shorter data cannot be meant for the channel."""


def encrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """AES-CBC without padding."""
    context = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return context.update(data) + context.finalize()


def decrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """AES-CBC without padding."""
    context = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    return context.update(data) + context.finalize()


def pad(data: bytes) -> bytes:
    """ISO 9797-1 method 2."""
    return data + b"\x80" + bytes(-(len(data) + 1) % BLOCK)


def unpad(data: bytes) -> bytes | None:
    """What was padded; `None` when the padding is wrong (more than a block of it, too)."""
    body = data.rstrip(b"\0")
    if not body.endswith(b"\x80") or len(data) - len(body) >= BLOCK:
        return None
    return body[:-1]


class Channel:
    """Keys and chaining of one channel. `confirmed` turns true with MUTUALLY AUTHENTICATE."""

    def __init__(self, shared: bytes, pairing_key: bytes, salt: bytes) -> None:
        keys = hashlib.sha512(shared + pairing_key + salt).digest()
        self._key, self._mac_key = keys[:32], keys[32:]
        self._iv = FIRST_IV
        self.confirmed = False

    def _mac(self, header: bytes, ciphertext: bytes) -> bytes:
        return encrypt(self._mac_key, _ZERO, header.ljust(BLOCK, b"\0") + ciphertext)[-BLOCK:]

    def unwrap(self, command: Command, *, by_value: bool, as_sent: bool) -> bytes:
        """Plain data of a command. Any fault is 6982 and ends the channel.

        The length in the MAC of an extended frame that would have fitted a short one: `as_sent`, in three bytes;
        `by_value`, in one.
        """
        mac, ciphertext = command.data[:BLOCK], command.data[BLOCK:]
        if not ciphertext or len(ciphertext) % BLOCK:
            raise Refusal(Sw.SECURITY_STATUS, aborts=True)
        start = bytes([command.cla, command.ins, command.p1, command.p2])
        length = len(command.data)
        short, long = bytes([length & 0xFF]), b"\0" + length.to_bytes(2, "big")
        forms = [long if command.extended else short] if as_sent else []
        if by_value:
            forms.append(long if length > MAX_SHORT_DATA else short)
        if not any(hmac.compare_digest(mac, self._mac(start + form, ciphertext)) for form in forms):
            raise Refusal(Sw.SECURITY_STATUS, aborts=True)
        plain = unpad(decrypt(self._key, self._iv, ciphertext))
        if plain is None:
            raise Refusal(Sw.SECURITY_STATUS, aborts=True)
        self._iv = mac
        return plain

    def wrap(self, plain: bytes) -> bytes:
        """MAC and ciphertext of an answer; its MAC is the IV of the next command."""
        ciphertext = encrypt(self._key, self._iv, pad(plain))
        length = BLOCK + len(ciphertext)
        form = bytes([length]) if length < 256 else b"\0" + length.to_bytes(2, "big")
        self._iv = self._mac(form, ciphertext)
        return self._iv + ciphertext
