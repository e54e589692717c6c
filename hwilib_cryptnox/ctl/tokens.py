"""Keys that approve signatures, as options of commands: in a PKCS#11 token, or in a file for other software."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from cryptnox_core.wire import RSA_EXPONENT, RSA_MODULUS, UserKeySlot
from hwilib_cryptnox.ctl.app import App
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import read_file
from hwilib_cryptnox.pin.approval import Approval
from hwilib_cryptnox.pin.approver import Approver, ApprovingKey
from hwilib_cryptnox.pin.pkcs11 import TokenApprover
from hwilib_cryptnox.pin.token_modules import split
from hwilib_cryptnox.pin.token_pins import TokenPins
from hwilib_cryptnox.pin.token_uri import SCHEME, TokenUri

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Named:
    """A key as the options of a command name it."""

    module: str | None = None
    token: str | None = None
    key: str | None = None

    def __bool__(self) -> bool:
        return any(part is not None for part in (self.module, self.token, self.key))


def token_options(function: F) -> F:
    """`--pkcs11`, `--token` and `--object`, as the parameters `module`, `token` and `key`."""
    for flags, name, metavar, text in (
        ("--object", "key", "ID|LABEL", "The key in the token: its label, or its ID in hexadecimal."),
        ("--token", "token", "LABEL", "The token with this label."),
        (
            "--pkcs11",
            "module",
            "MODULE",
            "The token's PKCS#11 module: its file or name, or a pkcs11: URI of the key.",
        ),
    ):
        function = click.option(flags, name, metavar=metavar, help=text)(function)
    return function


def token_key(app: App, named: Named) -> TokenApprover:
    """The key that the options mean, or else the one of `approve` in the configuration. Nothing is asked of it. Its
    token's PIN is typed where there is a terminal."""
    if not named.module and not app.settings.approve:
        raise CtlError(
            Exit.USAGE,
            "No key is named" if not named else "--token and --object go with --pkcs11",
            "--pkcs11 MODULE, or approve in the configuration",
        )
    text = named.module or app.settings.approve
    if text[: len(SCHEME)].lower() == SCHEME:
        uri = TokenUri.parse(text)
        if named.token is not None and uri.token not in (None, named.token):
            raise CtlError(Exit.USAGE, "--token and the URI name two tokens")
    else:
        path, name = split(text)
        uri = TokenUri(module_path=path and str(Path(path).absolute()), module_name=name)
    uri = replace(uri, token=named.token if named.token is not None else uri.token)
    person = app.terminal.hidden if app.terminal.available else None
    return TokenApprover(uri, TokenPins(app.settings, app.state, person), either=named.key or "")


def approval_by(app: App, key: Approver) -> Approval:
    """What has a key answer a card's challenge."""
    settings = app.settings
    return Approval(lambda: key, limit=settings.approve_wait, patience=settings.reinsert_wait, say=app.ask_touch)


class FileKey:
    """A private key in a PEM file, as an approver: for cards that other software signs with. Implements `Approver`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._private = _private_key(path)

    @property
    def name(self) -> str:
        return self._path.name

    def key(self) -> ApprovingKey:
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public = self._private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            return ApprovingKey(UserKeySlot.RSA, public.public_numbers().n.to_bytes(RSA_MODULUS, "big"))
        return ApprovingKey(UserKeySlot.EC, public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))

    def ready(self) -> None:
        """It was read."""

    def sign(self, message: bytes, limit: float) -> bytes:  # noqa: ARG002 - the protocol of an approver
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding

        if isinstance(self._private, ec.EllipticCurvePrivateKey):
            return self._private.sign(message, ec.ECDSA(hashes.SHA256()))
        return self._private.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def close(self) -> None:
        """Nothing is open."""


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(read_file(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CtlError(Exit.INPUT, f"{path}: this is not a private key in PEM form without a password") from error
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        if key.key_size == RSA_MODULUS * 8 and numbers.e == RSA_EXPONENT:
            return key
    raise CtlError(Exit.INPUT, f"{path}: neither a P-256 key nor an RSA key of 2048 bits with the exponent 65537")


def public_key(path: Path, slot: UserKeySlot) -> bytes:
    """The public key of a PEM file as the card takes it in a slot."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        key = load_pem_public_key(read_file(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CtlError(Exit.INPUT, f"{path}: this is not a public key in PEM form") from error
    if slot is not UserKeySlot.RSA:
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise CtlError(Exit.INPUT, f"{path}: no P-256 key")
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != RSA_MODULUS * 8:
        raise CtlError(Exit.INPUT, f"{path}: no RSA key of 2048 bits")
    numbers = key.public_numbers()
    if numbers.e != RSA_EXPONENT:
        raise CtlError(Exit.INPUT, f"{path}: the card takes the exponent {RSA_EXPONENT} only")
    return numbers.n.to_bytes(RSA_MODULUS, "big")
