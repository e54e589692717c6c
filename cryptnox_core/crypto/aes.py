"""AES-CBC with ISO 9797-1 method 2 padding, as the card uses it. On its own because the channel and INIT share it."""

from __future__ import annotations

from cryptnox_core.wire import BLOCK


def pad(data: bytes) -> bytes:
    """`80`, then zeros up to a whole block."""
    return data + b"\x80" + bytes(-(len(data) + 1) % BLOCK)


def unpad(data: bytes) -> bytes | None:
    """The inverse; None where the padding is wrong."""
    body = data.rstrip(b"\0")
    if not body.endswith(b"\x80") or len(data) - len(body) >= BLOCK:
        return None
    return body[:-1]


def encrypt_cbc(key: bytes, iv: bytes, blocks: bytes) -> bytes:
    """AES-CBC over whole blocks of 16 bytes."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(blocks) + encryptor.finalize()


def decrypt_cbc(key: bytes, iv: bytes, blocks: bytes) -> bytes:
    """The inverse of `encrypt_cbc`."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    return decryptor.update(blocks) + decryptor.finalize()


def encrypt_padded(key: bytes, iv: bytes, data: bytes) -> bytes:
    """Pad data of any length and encrypt it."""
    return encrypt_cbc(key, iv, pad(data))
