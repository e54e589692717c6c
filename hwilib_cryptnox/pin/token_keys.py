"""Keys in PKCS#11 tokens: which are there, which one a URI means, and how one is made. The only modules that know
python-pkcs11 are this one and `pkcs11`; what they call runs in a helper thread (`token_calls`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cryptnox_core.crypto import p256
from cryptnox_core.crypto.hashes import sha256
from cryptnox_core.wire import P256_POINT_LENGTH, RSA_EXPONENT, RSA_MODULUS, UserKeySlot
from hwilib_cryptnox.pin.approver import ApprovingKey, TokenState
from hwilib_cryptnox.pin.token_uri import TokenUri

_OCTET_STRING = 0x04
_ID_LENGTH = 8
_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
"""DER of PKCS #1's DigestInfo for SHA-256, without the digest (RFC 8017, section 9.2)."""
_MOST = 48
"""Letters of a label that are shown."""


@dataclass(frozen=True)
class TokenKey:
    """A key that a card can take, in a token that is there."""

    token: Any
    key: ApprovingKey
    id: bytes
    """CKA_ID; empty where it has none."""
    label: str
    """CKA_LABEL, as it is."""

    @property
    def name(self) -> str:
        """For people."""
        return named(self.token.label, self.label or self.id.hex())

    def uri(self, module: str) -> TokenUri:
        """What names it and nothing else."""
        serial = self.token.serial.decode("utf-8", "replace")
        return TokenUri(
            token=self.token.label if self.token.label.isprintable() and self.token.label else None,
            serial=serial if serial and serial.isprintable() else None,
            object=self.label if self.label and self.label.isprintable() and not self.id else None,
            id=self.id or None,
            module_path=module,
        )


def named(token: str, key: str) -> str:
    """A token and a key of it, for people: without characters that steer a terminal, and not too long."""
    parts = [_shown(part) for part in (token, key)]
    return f"{parts[0]} ({parts[1]})" if all(parts) else parts[0] or parts[1] or "the token"


def _shown(text: str) -> str:
    clean = "".join(letter if letter.isprintable() else "?" for letter in text)
    return clean if len(clean) <= _MOST else f"{clean[: _MOST - 3]}..."


def state_of(token: Any) -> TokenState:
    """What a token says of its PIN now. `token` is fresh: its flags are of the moment when it was asked for."""
    from pkcs11 import TokenFlag

    serial = token.serial.decode("utf-8", "replace")
    return TokenState(
        _shown(token.label) or _shown(serial) or "without a name",
        "/".join((token.manufacturer_id, token.model, serial, token.label)),
        locked=bool(token.flags & TokenFlag.USER_PIN_LOCKED),
        last_try=bool(token.flags & TokenFlag.USER_PIN_FINAL_TRY),
        low=bool(token.flags & TokenFlag.USER_PIN_COUNT_LOW),
    )


def tokens(library: Any, uri: TokenUri) -> list[Any]:
    """The tokens that are there and that a URI may mean."""
    from pkcs11 import PKCS11Error, TokenFlag

    found = []
    if not _means(uri, library):
        return []
    for slot in library.get_slots(token_present=True):
        try:
            token = slot.get_token()
        except PKCS11Error:  # it left, or is none that the module knows
            continue
        texts = {
            "token": token.label,
            "manufacturer": token.manufacturer_id,
            "serial": token.serial.decode("utf-8", "replace"),
            "model": token.model,
            "slot_id": slot.slot_id,
            "slot_description": slot.slot_description,
            "slot_manufacturer": slot.manufacturer_id,
        }
        if token.flags & TokenFlag.TOKEN_INITIALIZED and _all_fit(uri, texts):
            found.append(token)
    return found


def _means(uri: TokenUri, library: Any) -> bool:
    version = ".".join(map(str, library.library_version))
    texts = {
        "library_manufacturer": library.manufacturer_id,
        "library_description": library.library_description,
        "library_version": version if "." in (uri.library_version or "") else version.partition(".")[0],
    }
    return _all_fit(uri, texts)


def _all_fit(uri: TokenUri, texts: dict[str, Any]) -> bool:
    return all(getattr(uri, name) in (None, text) for name, text in texts.items())


def keys(session: Any, token: Any, uri: TokenUri, either: str = "") -> tuple[list[TokenKey], int]:
    """The keys of a token, as far as the session shows them, that a URI means and a card can take; and how many keys of
    whatever kind it shows. `either`: what a person typed, a label or a CKA_ID in hexadecimal."""
    from pkcs11 import Attribute, ObjectClass

    found: dict[tuple[bytes, bytes], TokenKey] = {}
    labels: dict[tuple[bytes, bytes], set[str]] = {}
    shown = set()
    for kind in (ObjectClass.PUBLIC_KEY, ObjectClass.CERTIFICATE, ObjectClass.PRIVATE_KEY):
        for item in _objects(session, {Attribute.CLASS: kind}):
            key_id, label = _attribute(item, Attribute.ID, b""), _attribute(item, Attribute.LABEL, "")
            key = _of_certificate(item) if kind is ObjectClass.CERTIFICATE else _of_key(item)
            shown.add(key_id or label.encode())
            if key is None:
                continue
            place = (key_id, key.public_key)
            labels.setdefault(place, set()).add(label)
            found.setdefault(place, TokenKey(token, key, key_id, label))
    chosen = [
        one
        for place, one in found.items()
        if uri.id in (None, one.id)
        and (uri.object is None or uri.object in labels[place])
        and (not either or either in labels[place] or one.id == _hexadecimal(either))
    ]
    return chosen, len(shown)


def _hexadecimal(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text.removeprefix("0x").replace(":", "")) or None
    except ValueError:
        return None


def private_half(session: Any, key: TokenKey) -> Any:
    """The private key's object, in a session that is logged in; None where it is not shown."""
    from pkcs11 import Attribute, ObjectClass

    wanted: dict[Any, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
    if key.id:
        wanted[Attribute.ID] = key.id
    else:
        wanted[Attribute.LABEL] = key.label
    halves = list(_objects(session, wanted))
    for half in halves:
        own = _of_key(half)
        if own is not None and own.public_key == key.key.public_key:
            return half
    return halves[0] if halves else None


def always_authenticates(half: Any) -> bool:
    """Whether each use wants the PIN."""
    from pkcs11 import Attribute

    return bool(_attribute(half, Attribute.ALWAYS_AUTHENTICATE, False))


def signed(half: Any, key: TokenKey, message: bytes, pin: str | None) -> bytes:
    """One use of the key, over SHA-256 of the message: DER for P-256, 256 bytes for RSA. `pin`: for a key that wants it
    for each use."""
    from pkcs11 import Mechanism
    from pkcs11.util.ec import encode_ecdsa_signature

    digest, known = sha256(message), key.token.slot.get_mechanisms()
    # Every token knows the bare mechanisms, whose input is hashed here.
    if key.key.slot is UserKeySlot.RSA:
        if Mechanism.RSA_PKCS in known:
            return bytes(half.sign(_DIGEST_INFO + digest, mechanism=Mechanism.RSA_PKCS, pin=pin))
        return bytes(half.sign(message, mechanism=Mechanism.SHA256_RSA_PKCS, pin=pin))
    if Mechanism.ECDSA in known:
        return bytes(encode_ecdsa_signature(half.sign(digest, mechanism=Mechanism.ECDSA, pin=pin)))
    return bytes(encode_ecdsa_signature(half.sign(message, mechanism=Mechanism.ECDSA_SHA256, pin=pin)))


def is_signature(key: ApprovingKey, message: bytes, signature: bytes) -> bool:
    """Whether it is the key's, over SHA-256 of the message."""
    digest = sha256(message)
    if key.slot is not UserKeySlot.RSA:
        return p256.verify_digest(key.public_key, digest, signature)
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

    public = rsa.RSAPublicNumbers(RSA_EXPONENT, int.from_bytes(key.public_key, "big")).public_key()
    try:
        public.verify(signature, digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def make(session: Any, token: Any, slot: UserKeySlot, label: str) -> TokenKey:
    """A new key pair in the token that never leaves it: P-256, or RSA-2048 for the slot RSA."""
    from pkcs11 import Attribute, KeyType, MechanismFlag
    from pkcs11.constants import DEFAULT
    from pkcs11.util.ec import encode_named_curve_parameters

    key_id = os.urandom(_ID_LENGTH)
    wanted = {
        "id": key_id,
        "label": label,
        "store": True,
        "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
        # What else it may do is not said: a TPM has one switch for signing and encryption.
        "public_template": {Attribute.ENCRYPT: DEFAULT, Attribute.WRAP: DEFAULT},
        "private_template": {
            Attribute.EXTRACTABLE: False,
            Attribute.DECRYPT: DEFAULT,
            Attribute.UNWRAP: DEFAULT,
            Attribute.DERIVE: DEFAULT,
        },
    }
    if slot is UserKeySlot.RSA:
        public, _ = session.generate_keypair(KeyType.RSA, RSA_MODULUS * 8, **wanted)
    else:
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        public, _ = session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(**wanted)
    key = _of_key(public)
    if key is None:
        raise ValueError("the token made a different key from the one it was asked for")
    return TokenKey(token, key, key_id, label)


def _objects(session: Any, wanted: dict[Any, Any]) -> Iterator[Any]:
    from pkcs11 import PKCS11Error

    try:
        yield from list(session.get_objects(wanted))
    except PKCS11Error:
        if any(name.name != "CLASS" for name in wanted):
            raise
        # A kind of object that the token does not have.


def _attribute(item: Any, name: Any, default: Any) -> Any:
    from pkcs11 import PKCS11Error

    try:
        value = item[name]
    except (PKCS11Error, KeyError, NotImplementedError, UnicodeDecodeError):
        return default
    return value if isinstance(value, type(default)) else default


def _of_key(item: Any) -> ApprovingKey | None:
    """The key of a public or private object; None for another kind, or where the object does not tell."""
    from pkcs11 import Attribute

    modulus = _attribute(item, Attribute.MODULUS, b"").lstrip(b"\0")
    if modulus:
        exponent = int.from_bytes(_attribute(item, Attribute.PUBLIC_EXPONENT, b""), "big")
        fits = len(modulus) == RSA_MODULUS and modulus[0] >= 0x80 and exponent == RSA_EXPONENT
        return ApprovingKey(UserKeySlot.RSA, modulus) if fits else None
    point = _attribute(item, Attribute.EC_POINT, b"")
    if len(point) == P256_POINT_LENGTH + 2 and point[:2] == bytes((_OCTET_STRING, P256_POINT_LENGTH)):
        point = point[2:]
    return _of_point(point)


def _of_point(point: bytes) -> ApprovingKey | None:
    fits = len(point) == P256_POINT_LENGTH and p256.is_point(point)
    return ApprovingKey(UserKeySlot.EC, point) if fits else None


def _of_certificate(item: Any) -> ApprovingKey | None:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from pkcs11 import Attribute

    try:
        key = x509.load_der_x509_certificate(_attribute(item, Attribute.VALUE, b"")).public_key()
    except Exception:  # noqa: BLE001 - whatever else a token keeps as a certificate
        return None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return _of_point(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
    if isinstance(key, rsa.RSAPublicKey) and key.key_size == RSA_MODULUS * 8 and key.public_numbers().e == RSA_EXPONENT:
        return ApprovingKey(UserKeySlot.RSA, key.public_numbers().n.to_bytes(RSA_MODULUS, "big"))
    return None
