"""secp256k1 with private keys, for tests: coincurve's classes; where there is no wheel of it, what tests use of them,
over embit's libsecp256k1."""

from __future__ import annotations

from typing import Any

try:
    from coincurve import PrivateKey, PublicKey, PublicKeyXOnly
except ImportError:
    import embit.util.ctypes_secp256k1 as library

    class PublicKey:  # type: ignore[no-redef]
        def __init__(self, data: bytes) -> None:
            self._key = library.ec_pubkey_parse(data)

        @classmethod
        def _of(cls, key: bytes) -> PublicKey:
            made = cls.__new__(cls)
            made._key = key
            return made

        @classmethod
        def from_secret(cls, secret: bytes) -> PublicKey:
            return cls._of(library.ec_pubkey_create(secret))

        @classmethod
        def combine_keys(cls, keys: list[PublicKey]) -> PublicKey:
            return cls._of(library.ec_pubkey_combine(*(key._key for key in keys)))

        @classmethod
        def from_signature_and_message(cls, signature: bytes, digest: bytes, hasher: None) -> PublicKey:
            parsed = library.ecdsa_recoverable_signature_parse_compact(signature[:64], signature[64])
            return cls._of(library.ecdsa_recover(parsed, digest))

        def add(self, scalar: bytes) -> PublicKey:
            return self._of(library.ec_pubkey_add(self._key, scalar))

        def format(self, compressed: bool = True) -> bytes:
            return library.ec_pubkey_serialize(
                self._key, library.EC_COMPRESSED if compressed else library.EC_UNCOMPRESSED
            )

    class PrivateKey:  # type: ignore[no-redef]
        def __init__(self, secret: bytes) -> None:
            self.secret = secret
            self.public_key = PublicKey.from_secret(secret)

        def add(self, scalar: bytes) -> PrivateKey:
            return PrivateKey(library.ec_privkey_add(self.secret, scalar))

        def sign(self, digest: bytes, hasher: None) -> bytes:
            return library.ecdsa_signature_serialize_der(library.ecdsa_sign(digest, self.secret))

        def sign_recoverable(self, digest: bytes, hasher: None) -> bytes:
            made = library.ecdsa_sign_recoverable(digest, self.secret)
            compact, number = library.ecdsa_recoverable_signature_serialize_compact(made)
            return compact + bytes((number,))

        def sign_schnorr(self, digest: bytes, aux: Any = None) -> bytes:
            return library.schnorrsig_sign(digest, self.secret)

    class PublicKeyXOnly:  # type: ignore[no-redef]
        def __init__(self, data: bytes) -> None:
            self._key, _ = library.xonly_pubkey_from_pubkey(library.ec_pubkey_parse(b"\x02" + data))

        def verify(self, signature: bytes, digest: bytes) -> bool:
            return library.schnorrsig_verify(signature, digest, self._key)


__all__ = ["PrivateKey", "PublicKey", "PublicKeyXOnly"]
