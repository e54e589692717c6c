"""A token in memory, as an approver: a key made by `cryptography`, which can be pulled out, refuse, wait and count."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from cryptnox_core.wire import UserKeySlot
from hwilib_cryptnox.errors import ApproverPinError, NoApproverError
from hwilib_cryptnox.pin.approver import ApprovingKey
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State

URI = "pkcs11:token=test;object=approve"
NAME = "test (approve)"
_RSA: list[rsa.RSAPrivateKey] = []


def _private(slot: UserKeySlot) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    if slot is not UserKeySlot.RSA:
        return ec.generate_private_key(ec.SECP256R1())
    if not _RSA:
        _RSA.append(rsa.generate_private_key(65537, 2048))
    return _RSA[0]


@dataclass
class Token:
    """Implements `Approver`. `there`: whether it is plugged in. `next_uses`: what becomes of the next uses of the key,
    in order: None signs, an exception is raised, a function is called first."""

    slot: UserKeySlot = UserKeySlot.EC
    there: bool = True
    pin_error: ApproverPinError | None = None
    next_uses: list[BaseException | Callable[[], None] | None] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    """What it was asked to sign, each time."""
    given: list[bytes] = field(default_factory=list)
    """The signatures it gave."""
    opened: int = 0
    closed: int = 0

    def __post_init__(self) -> None:
        self._key = _private(self.slot)

    @property
    def name(self) -> str:
        return NAME

    @property
    def public_key(self) -> bytes:
        """As the card takes it."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.public_key().public_numbers().n.to_bytes(256, "big")
        return self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def key(self) -> ApprovingKey:
        self._look()
        return ApprovingKey(self.slot, self.public_key)

    def ready(self) -> None:
        self._look()
        self.opened += 1
        if self.pin_error is not None:
            raise self.pin_error

    def sign(self, message: bytes, limit: float) -> bytes:
        assert limit > 0
        self._look()
        self.messages.append(message)
        planned = self.next_uses.pop(0) if self.next_uses else None
        if isinstance(planned, BaseException):
            raise planned
        if planned is not None:
            planned()
        self.given.append(self.signature(message))
        return self.given[-1]

    def signature(self, message: bytes) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        return self._key.sign(message, ec.ECDSA(hashes.SHA256()))

    def close(self) -> None:
        self.closed += 1

    def pem(self, folder: Path) -> Path:
        """The private key in a file (PKCS #8)."""
        file = folder / "key.pem"
        file.write_bytes(self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return file

    def _look(self) -> None:
        if not self.there:
            raise NoApproverError("there is no token called test")


def plug(monkeypatch: pytest.MonkeyPatch, token: Token) -> None:
    """Have the programs of this process find the token behind CRYPTNOX_APPROVE."""

    def approver_at(settings: Settings, state: State, person: Callable[[str], str] | None = None) -> Token:
        assert settings.approve == URI
        return token

    module = ModuleType("hwilib_cryptnox.pin.pkcs11")
    module.approver_at = approver_at  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hwilib_cryptnox.pin.pkcs11", module)
    monkeypatch.setenv("CRYPTNOX_APPROVE", URI)
