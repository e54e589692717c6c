"""`user-key`: keys held elsewhere that authenticate to the card instead of the PIN."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryptnox_core.card import Card
from cryptnox_core.commands.user_keys import digest_to_sign
from cryptnox_core.errors import NotAuthenticatedError, NotFoundError, StatusWordError
from cryptnox_core.models import UserKeyInfo
from cryptnox_core.wire import RSA_EXPONENT, RSA_MODULUS, UserKeySlot
from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import admit, open_card, puk, unlock
from hwilib_cryptnox.ctl.changes import accepted_again, change, switch
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import OLD_FILE, read_file
from hwilib_cryptnox.ctl.screen import BAD, GOOD, Report, said
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.irreversible import End, Words

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

user_key = CtlGroup(
    "user-key", help=("Keys on other devices that authenticate instead of the PIN: P-256, RSA-2048, FIDO.")
)

_SLOTS = {slot.name.lower(): slot for slot in UserKeySlot}
_slot = click.argument("slot", type=click.Choice(list(_SLOTS)))


@user_key.command("list")
def user_key_list(app: App) -> Report:
    """Show the user keys on the card."""
    with open_card(app, initialised=True) as opened:
        serial, info = str(opened.card.serial), opened.card.info
        slots = [slot for slot in info.user_key_slots if info.has_user_key(slot) or not info.tells_user_keys]
        keys = [key for slot in slots if (key := _read(app, opened, slot)) is not None]
    entries = [
        {
            "slot": key.slot.name.lower(),
            "text": key.text,
            "public_key": key.public_key.hex(),
            "credential_id": key.credential_id.hex() or None,
        }
        for key in keys
    ]
    data = {"serial": serial, "user_keys": entries}
    rows = [(key.slot.name.lower(), key.text or "-", key.public_key.hex()[:32] + "...") for key in keys]
    if not rows:
        return said(data, "The card has no user key")
    return said(data, lambda screen: screen.table(("Slot", "Text", "Key"), rows))


def _read(app: App, opened: OpenCard, slot: UserKeySlot) -> UserKeyInfo | None:
    try:
        try:
            key = opened.card.user_key(slot)
        except NotAuthenticatedError:
            unlock(app, opened)
            key = opened.card.user_key(slot)
    except NotFoundError:
        return None
    if slot is UserKeySlot.FIDO and not key.credential_id:
        with contextlib.suppress(StatusWordError):  # not every applet tells it
            key = replace(key, credential_id=opened.card.fido_credential_id())
    return key


@user_key.command("add")
@_slot
@click.argument("key_file", metavar="KEY", type=OLD_FILE)
@click.option("--text", default="", help="What the key is, up to 64 bytes.")
@click.option("--credential-id", metavar="HEX", help="FIDO: the credential's ID.")
def user_key_add(app: App, slot: str, key_file: Path, text: str, credential_id: str | None) -> Report:
    """Store the public key in the PEM file KEY on the card. Needs the PIN and the PUK."""
    chosen = _SLOTS[slot]
    if (credential_id is not None) != (chosen is UserKeySlot.FIDO):
        raise CtlError(Exit.USAGE, "--credential-id is for the slot fido, which needs it")
    try:
        credential = bytes.fromhex(credential_id or "")
    except ValueError as error:
        raise CtlError(Exit.USAGE, "--credential-id must be hexadecimal") from error
    public = _public_key(key_file, chosen)
    with open_card(app, initialised=True) as opened:
        _require_slot(opened, chosen)
        pin, serial = unlock(app, opened), str(opened.card.serial)
        secret = puk(app, opened)

        def look(opened: OpenCard) -> End:
            accepted_again(app, opened, pin)
            try:
                key = opened.card.user_key(chosen)
            except NotFoundError:
                return End.NOT_TAKEN
            return End.TAKEN if (key.text, key.public_key) == (text, public) else End.OTHER

        words = Words(
            done=f"The {slot} user key was added to the card",
            kept=f"the {slot} user key is not on the card; nothing was changed",
            either=f"the {slot} user key may or may not be on the card now",
            keep="cryptnoxctl user-key list shows which",
            remedy="cryptnoxctl user-key list shows what the card has now. Delete what is not yours, and use another "
            "reader",
        )

        def send(card: Card) -> None:
            card.add_user_key(chosen, text, public, secret, credential_id=credential)

        doubted = not opened.card.info.has_user_key(chosen)
        change(app, opened, words, send, look, prove=True, doubted=doubted)
    return said({"serial": serial, "slot": slot, "public_key": public.hex()}, *app.achieved)


def _require_slot(opened: OpenCard, slot: UserKeySlot) -> None:
    """The applet has this slot."""
    if slot not in opened.card.info.user_key_slots:
        raise CtlError(Exit.REFUSED, f"This card has no slot {slot.name.lower()}, which exists from applet 2.0 on")


def _public_key(path: Path, slot: UserKeySlot) -> bytes:
    """The key of a PEM file as the card takes it."""
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
        raise CtlError(Exit.INPUT, f"{path}: this is not a 2048-bit RSA key")
    numbers = key.public_numbers()
    if numbers.e != RSA_EXPONENT:
        raise CtlError(Exit.INPUT, f"{path}: the card takes only the exponent {RSA_EXPONENT}")
    return numbers.n.to_bytes(RSA_MODULUS, "big")


@user_key.command("delete")
@_slot
@click.option("--yes", is_flag=True, help="Do not ask first.")
def user_key_delete(app: App, slot: str, yes: bool) -> Report:
    """Remove a user key. Needs the PUK."""
    key = _SLOTS[slot]
    with open_card(app, initialised=True) as opened:
        _require_slot(opened, key)
        if not opened.card.info.pin_auth and not yes:
            app.terminal.confirm("PIN authentication is off: without user keys nothing can authenticate. Continue?")
        secret = puk(app, opened)
        words = Words(
            done=f"The {slot} user key was deleted from the card",
            kept=f"the {slot} user key is still on the card; nothing was changed",
            either=f"the {slot} user key may or may not be on the card now",
            keep="cryptnoxctl info shows which",
        )
        switch(
            app, opened, words, lambda card: card.delete_user_key(key, secret), lambda info: not info.has_user_key(key)
        )
        return said({"serial": str(opened.card.serial), "slot": slot}, *app.achieved)


@user_key.command("test")
@click.argument("slot", type=click.Choice([name for name in _SLOTS if name != "fido"]))
@click.argument("key_file", metavar="PRIVATE-KEY", type=OLD_FILE)
def user_key_test(app: App, slot: str, key_file: Path) -> Report:
    """Authenticate with a user key: sign the card's challenge with the PEM file PRIVATE-KEY.

    FIDO keys sign in their own device and cannot be tested here.
    """
    private = _private_key(key_file)
    with open_card(app, initialised=True) as opened:
        admit(app, opened)
        _require_slot(opened, _SLOTS[slot])
        digest = digest_to_sign(opened.card.user_key_challenge())
        accepted = opened.card.user_key_respond(_SLOTS[slot], _sign(private, digest))
        serial = str(opened.card.serial)
    data = {"serial": serial, "slot": slot, "accepted": accepted}
    if accepted:
        return said(data, ("The card accepts this key", GOOD))
    return said(data, ("The card refuses this key", BAD), exit_code=Exit.REFUSED)


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(read_file(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CtlError(Exit.INPUT, f"{path}: this is not a private key in PEM form without a password") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise CtlError(Exit.INPUT, f"{path}: this is neither a P-256 nor an RSA key")
    return key


def _sign(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, digest: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

    prehashed = utils.Prehashed(hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(digest, ec.ECDSA(prehashed))
    return key.sign(digest, padding.PKCS1v15(), prehashed)
