"""`user-key`: keys held elsewhere that authenticate to the card instead of the PIN."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import click

from cryptnox_core.card import Card
from cryptnox_core.errors import NotAuthenticatedError, NotFoundError, StatusWordError
from cryptnox_core.models import UserKeyInfo
from cryptnox_core.wire import USER_KEY_TEXT, UserKeySlot
from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import admit, open_card, puk, unlock
from hwilib_cryptnox.ctl.changes import accepted_again, change, switch, until_answered
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import OLD_FILE
from hwilib_cryptnox.ctl.screen import BAD, GOOD, Report, said
from hwilib_cryptnox.ctl.tokens import FileKey, Named, approval_by, public_key, token_key, token_options
from hwilib_cryptnox.pin.approval import check_place
from hwilib_cryptnox.pin.approver import Approver, ApprovingKey
from hwilib_cryptnox.pin.policy import check_vouched
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.faults.irreversible import End, Words

user_key = CtlGroup(
    "user-key", help=("Keys on other devices that authenticate instead of the PIN: P-256, RSA-2048, FIDO.")
)

_SLOTS = {slot.name.lower(): slot for slot in UserKeySlot}
_slot = click.argument("slot", type=click.Choice(list(_SLOTS)))
_FIDO = (
    "FIDO keys are an experiment: the vendor's texts contradict each other on what such a key signs, and no program of "
    "this package signs with one"
)


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
@click.argument("slot", type=click.Choice(list(_SLOTS)), required=False)
@click.argument("key_file", metavar="[KEY]", type=OLD_FILE, required=False)
@token_options
@click.option("--make", is_flag=True, help="Make a new key in the token: P-256, or RSA for the slot rsa.")
@click.option("--text", help="What the key is, up to 64 bytes. Default: the token's name.")
@click.option("--credential-id", metavar="HEX", help="FIDO: the credential's ID.")
def user_key_add(
    app: App,
    slot: str | None,
    key_file: Path | None,
    module: str | None,
    token: str | None,
    key: str | None,
    make: bool,
    text: str | None,
    credential_id: str | None,
) -> Report:
    """Store a public key on the card: the key of a token (--pkcs11), or the one in the PEM file KEY. Needs the
    PIN and the PUK.

    The card still takes its PIN until cryptnoxctl pin-auth off.
    """
    chosen, named = _SLOTS[slot] if slot is not None else None, Named(module, token, key)
    if key_file is not None and chosen is not None and not named and not make:
        return _add_file(app, chosen, key_file, text or "", credential_id)
    if key_file is not None or credential_id is not None or chosen is UserKeySlot.FIDO:
        raise CtlError(Exit.USAGE, "A key in a token is named by --pkcs11, one in a file by SLOT and KEY", "name one")
    return _add_of_token(app, chosen, named, make, text)


def _add_file(app: App, chosen: UserKeySlot, key_file: Path, text: str, credential_id: str | None) -> Report:
    if (credential_id is not None) != (chosen is UserKeySlot.FIDO):
        raise CtlError(Exit.USAGE, "--credential-id is for the slot fido, which needs it")
    try:
        credential = bytes.fromhex(credential_id or "")
    except ValueError as error:
        raise CtlError(Exit.USAGE, "--credential-id must be hexadecimal") from error
    public = public_key(key_file, chosen)
    if chosen is UserKeySlot.FIDO:
        app.note(_FIDO)
    with open_card(app, initialised=True) as opened:
        _require_slot(opened, chosen)
        _add(app, opened, chosen, text, public, credential)
        serial = str(opened.card.serial)
    data = {"serial": serial, "slot": chosen.name.lower(), "public_key": public.hex(), "approve": None}
    return said(data, *app.achieved)


def _add_of_token(app: App, chosen: UserKeySlot | None, named: Named, make: bool, text: str | None) -> Report:
    approver = token_key(app, named)
    with contextlib.closing(approver), open_card(app, initialised=True) as opened:
        admit(app, opened)
        if make:
            wanted = chosen or _free(opened, UserKeySlot.EC)
            _require_free(opened, wanted)
            found = approver.make(wanted, named.key or f"card {opened.card.serial}")
            app.happened(f"A new key is in the token: {approver.name}")
        else:
            found = approver.key()
            wanted = chosen or _free(opened, found.slot)
            if (wanted is UserKeySlot.RSA) != (found.slot is UserKeySlot.RSA):
                kind = "an RSA key" if found.slot is UserKeySlot.RSA else "a P-256 key"
                raise CtlError(
                    Exit.USAGE, f"The slot {wanted.name.lower()} takes no such key: {approver.name} is {kind}"
                )
            _require_free(opened, wanted)
        label = approver.name if text is None else text
        short = label.encode("utf-8")[:USER_KEY_TEXT].decode("utf-8", "ignore") if text is None else label
        _add(app, opened, wanted, short, found.public_key, b"")
        serial = str(opened.card.serial)
        uri = str(approver.uri)
    data = {"serial": serial, "slot": wanted.name.lower(), "public_key": found.public_key.hex(), "approve": uri}
    return said(
        data,
        *app.achieved,
        "So that programs find the key, put this line into config.toml:",
        f'approve = "{uri}"',
        "The card still takes its PIN. Next: cryptnoxctl user-key test, then cryptnoxctl pin-auth off",
    )


def _free(opened: OpenCard, kind: UserKeySlot) -> UserKeySlot:
    """The first slot for a key of this kind that is free, as far as the card tells; else the first."""
    kinds = (UserKeySlot.RSA,) if kind is UserKeySlot.RSA else (UserKeySlot.EC, UserKeySlot.EC4, UserKeySlot.EC5)
    info = opened.card.info
    return next((slot for slot in kinds if slot in info.user_key_slots and not info.has_user_key(slot)), kinds[0])


def _require_free(opened: OpenCard, slot: UserKeySlot) -> None:
    _require_slot(opened, slot)
    name = slot.name.lower()
    if opened.card.info.has_user_key(slot):
        raise CtlError(
            Exit.REFUSED,
            f"There is a user key in the slot {name} already; nothing was changed",
            f"cryptnoxctl user-key list shows it; cryptnoxctl user-key delete {name} removes it",
        )


def _add(app: App, opened: OpenCard, slot: UserKeySlot, text: str, public: bytes, credential: bytes) -> None:
    """Store a key on the card. Asks for PIN and PUK."""
    pin, name = unlock(app, opened), slot.name.lower()
    secret = puk(app, opened)

    def look(opened: OpenCard) -> End:
        accepted_again(app, opened, pin)
        try:
            key = opened.card.user_key(slot)
        except NotFoundError:
            return End.NOT_TAKEN
        return End.TAKEN if (key.text, key.public_key) == (text, public) else End.OTHER

    words = Words(
        done=f"The {name} user key was added to the card",
        kept=f"the {name} user key is not on the card; nothing was changed",
        either=f"the {name} user key may or may not be on the card now",
        keep="cryptnoxctl user-key list shows which",
        remedy="cryptnoxctl user-key list shows what the card has now. Delete what is not yours, and use another "
        "reader",
    )

    def send(card: Card) -> None:
        card.add_user_key(slot, text, public, secret, credential_id=credential)

    change(app, opened, words, send, look, prove=True, doubted=not opened.card.info.has_user_key(slot))


def _require_slot(opened: OpenCard, slot: UserKeySlot) -> None:
    """The applet has this slot."""
    if slot not in opened.card.info.user_key_slots:
        raise CtlError(Exit.REFUSED, f"This card has no slot {slot.name.lower()}, which exists from applet 2.0 on")


@user_key.command("delete")
@_slot
@click.option("--yes", is_flag=True, help="Do not ask first.")
def user_key_delete(app: App, slot: str, yes: bool) -> Report:
    """Remove a user key. Needs the PUK."""
    key = _SLOTS[slot]
    with open_card(app, initialised=True) as opened:
        _require_slot(opened, key)
        info = opened.card.info
        if not info.pin_auth and not yes:
            others = [one for one in info.user_key_slots if one is not key and info.has_user_key(one)]
            left = (
                "this key can no longer sign"
                if others
                else "without user keys nothing signs until you turn it on with the PUK"
            )
            app.terminal.confirm(f"PIN authentication is off: {left}. Continue?")
        secret = puk(app, opened)
        words = Words(
            done=f"The {slot} user key was deleted from the card",
            kept=f"the {slot} user key is still on the card; nothing was changed",
            either=f"the {slot} user key may or may not be on the card now",
            keep=until_answered(f"cryptnoxctl user-key delete {slot}"),
        )
        switch(
            app, opened, words, lambda card: card.delete_user_key(key, secret), lambda info: not info.has_user_key(key)
        )
        return said({"serial": str(opened.card.serial), "slot": slot}, *app.achieved)


@user_key.command("test")
@click.argument("slot", type=click.Choice([name for name in _SLOTS if name != "fido"]), required=False)
@click.argument("key_file", metavar="[PRIVATE-KEY]", type=OLD_FILE, required=False)
@token_options
def user_key_test(
    app: App, slot: str | None, key_file: Path | None, module: str | None, token: str | None, key: str | None
) -> Report:
    """Authenticate with a user key: have it sign the card's challenge. A token that asks for a touch asks once.

    The key is in a token (--pkcs11, or approve in the configuration), or it is the PEM file PRIVATE-KEY. FIDO keys
    cannot be tested here. The PIN of the token is asked for in this terminal: a right one lets
    CRYPTNOX_APPROVE_PIN_COMMAND be used again after a wrong one.
    """
    named = Named(module, token, key)
    if (slot is None) != (key_file is None) or (key_file is not None and named):
        raise CtlError(Exit.USAGE, "A key in a token is named by --pkcs11, one in a file by SLOT and KEY", "name one")
    approver: Approver = token_key(app, named) if key_file is None else FileKey(key_file)
    with contextlib.closing(approver), open_card(app, initialised=True) as opened:
        admit(app, opened)
        if key_file is None and not named:
            check_place(opened.card, app.settings)
        check_vouched(opened.card, app.state)
        if slot is not None:
            _require_slot(opened, _SLOTS[slot])
            _require_kind(approver.key(), _SLOTS[slot])
        taken = approval_by(app, approver).answer(opened.card)
        serial, kind = str(opened.card.serial), approver.key().slot
    data = {"serial": serial, "slot": (taken or kind).name.lower(), "accepted": taken is not None}
    if taken is not None:
        return said(data, (f"The card accepts this key ({approver.name}), in the slot {data['slot']}", GOOD))
    return said(data, ("The card refuses this key", BAD), exit_code=Exit.REFUSED)


def _require_kind(key: ApprovingKey, slot: UserKeySlot) -> None:
    if (key.slot is UserKeySlot.RSA) != (slot is UserKeySlot.RSA):
        raise CtlError(Exit.INPUT, f"The slot {slot.name.lower()} takes no key of this kind")
