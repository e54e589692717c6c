"""`pairing`: the key that opens the secure channel.

Both keys of a change are kept until a channel has shown which one the card has: whatever happens in between, the next
command finds out.
"""

from __future__ import annotations

import contextlib
import secrets as system
from pathlib import Path

import click

from cryptnox_core.card import Card
from cryptnox_core.commands.setup import pairing_key_from_puk
from cryptnox_core.errors import PairingError, StatusWordError, UnknownChannelError, UsageError
from cryptnox_core.wire import COMMON_PAIRING_KEY, PAIRING_INDEX_PUK, PAIRING_KEY_LENGTH
from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import admit, open_card, puk
from hwilib_cryptnox.ctl.changes import change
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import NEW_FILE, OLD_FILE, check_free, read_text, write_new
from hwilib_cryptnox.ctl.screen import Report, said
from hwilib_cryptnox.errors import NOTHING_CHANGED
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.faults.heard import twice
from hwilib_cryptnox.signer.faults.irreversible import End, Words, opens
from hwilib_cryptnox.storage.state import StateError
from hwilib_cryptnox.storage.vouching import is_known, remember_key

pairing = CtlGroup("pairing", help="The pairing key, which opens the secure channel.")


@pairing.command("change")
@click.option("--common", is_flag=True, help="Go back to the default key, which every new card has.")
@click.option("--file", "source", type=OLD_FILE, help="An exported key.")
def pairing_change(app: App, common: bool, source: Path | None) -> Report:
    """Give the card its own pairing key, which is kept on this computer. Needs the PUK.

    Without the key nobody can talk to the card at all. With the PUK you can set the default key again.
    """
    if common and source is not None:
        raise click.UsageError("--common and --file cannot be used together")
    key = system.token_bytes(PAIRING_KEY_LENGTH) if source is None else read_key(source)
    if common:
        key = COMMON_PAIRING_KEY
    with open_card(app, initialised=True) as opened:
        change_pairing_key(app, opened, key, puk(app, opened))
        serial = str(opened.card.serial)
    own = key != COMMON_PAIRING_KEY
    lines = [*app.achieved, "Keep a copy: cryptnoxctl pairing export FILE"] if own else app.achieved
    return said({"serial": serial, "own_pairing_key": own}, *lines)


def change_pairing_key(app: App, opened: OpenCard, key: bytes, secret: str, *, known: bool = True) -> None:
    """Change it on the card and in `pairing.json`, and show by a new channel that the card has it; `opened` is in that
    channel afterwards. `known`: this computer has the key that the card has now. StateError before anything is sent
    where the keys cannot be kept."""
    serial = opened.card.serial
    before = app.state.pairing_keys(serial)
    others = before or (COMMON_PAIRING_KEY,)
    mine = not before or is_known(opened.card, app.state)
    app.state.keep_pairing_key(serial, key, *others)
    answered = False

    def send(card: Card) -> None:
        nonlocal answered
        card.change_pairing_key(key, puk=secret)
        answered = True

    def look(opened: OpenCard) -> End:
        if opens(opened, key):
            return End.TAKEN
        if any(opens(opened, other) for other in others):
            return End.NOT_TAKEN
        if known or answered:
            return End.OTHER
        # The old one is not known here; that the card is still there and opens with its PUK is as good.
        there = opens(opened, pairing_key_from_puk(secret), PAIRING_INDEX_PUK)
        return End.NOT_TAKEN if there else End.UNKNOWN

    common = key == COMMON_PAIRING_KEY
    words = Words(
        done=f"The card {serial} has {'the default pairing key again' if common else 'its own pairing key now'}",
        kept="the card still has its old pairing key",
        either="the card may have the new pairing key, or still its old one",
        keep="this computer keeps both, and the next command tries them; if neither opens the card: cryptnoxctl "
        "pairing recover (needs the PUK)",
        remedy="try another reader: cryptnoxctl pairing recover (needs the PUK)",
    )
    try:
        change(app, opened, words, send, look, prove=True)
    except (StatusWordError, UsageError):
        _settle(app, serial, *before)
        raise
    if mine:
        _settle(app, serial, None if common else key)
        if not common:
            remember_key(opened.card, app.state)


def _settle(app: App, serial: int, *keys: bytes | None) -> None:
    """Keep these alone. Where that fails all are still there, and are tried."""
    with contextlib.suppress(StateError):
        app.state.keep_pairing_key(serial, *keys)


def read_key(source: Path) -> bytes:
    """A pairing key from a file: 64 hexadecimal characters."""
    try:
        key = bytes.fromhex(read_text(source).strip())
    except ValueError as error:
        raise CtlError(Exit.INPUT, f"{source}: not a pairing key (64 hexadecimal characters)") from error
    if len(key) != PAIRING_KEY_LENGTH:
        raise CtlError(Exit.INPUT, f"{source}: a pairing key has {PAIRING_KEY_LENGTH} bytes, not {len(key)}")
    return key


@pairing.command("export")
@click.argument("file", type=NEW_FILE)
def pairing_export(app: App, file: Path) -> Report:
    """Write the card's own pairing key to a new FILE (mode 0600), for another computer."""
    check_free(file, None)
    with open_card(app, channel=False, initialised=True) as opened:
        admit(app, opened)
        serial = opened.card.serial
        key = next((key for key in app.state.pairing_keys(serial) if opens(opened, key)), None)
        if key is None:
            app.host.access.open_channel(opened.card)
    if key in (None, COMMON_PAIRING_KEY):
        raise CtlError(Exit.REFUSED, "The card has no pairing key of its own; it uses the default one")
    write_new(file, (key.hex() + "\n").encode("ascii"), private=True)
    text = f"The pairing key is in {file}. On the other computer: cryptnoxctl pairing recover --file {file.name}"
    return said({"serial": str(serial), "file": str(file)}, text)


@pairing.command("recover")
@click.option("--file", "source", type=OLD_FILE, help="An exported key.")
def pairing_recover(app: App, source: Path | None) -> Report:
    """Open a card that is paired with another key: with the exported key, or with the PUK (which sets the default key).

    If the card opens as it is, nothing is changed, and no PUK is asked for.
    """
    key = None if source is None else read_key(source)
    with open_card(app, channel=False, initialised=True) as opened:
        admit(app, opened)
        serial = opened.card.serial
        if key is not None:
            return _take(app, opened, key)
        try:
            twice(opened.card, lambda: app.host.access.open_channel(opened.card))
        except (PairingError, UnknownChannelError):  # a later applet does not say which of the two it is
            recover_by_puk(app, opened)
            data = {"serial": str(serial), "own_pairing_key": False}
            return said(data, *app.achieved, "To set one: cryptnoxctl pairing change")
        own = not opened.card.opened_by(COMMON_PAIRING_KEY)
    data = {"serial": str(serial), "own_pairing_key": own}
    what = "its own pairing key, which is kept on this computer" if own else "the default pairing key"
    return said(data, f"There is nothing to recover: the card opens with {what}")


def _take(app: App, opened: OpenCard, key: bytes) -> Report:
    """Keep a key that opens the card."""
    serial = opened.card.serial
    if not opens(opened, key):
        raise CtlError(Exit.SECRET, "That pairing key does not open the secure channel to this card")
    own = key != COMMON_PAIRING_KEY
    try:
        if own or is_known(opened.card, app.state):  # the default key opens any card of the same serial number
            app.state.keep_pairing_key(serial, key if own else None)
    except StateError as error:
        raise CtlError(
            Exit.REFUSED,
            f"The key is right, but this computer cannot store it: {error}",
            "keep the file and try again",
        ) from error
    if own:
        remember_key(opened.card, app.state)
    kept = "it is kept on this computer" if own else "it is the default one"
    return said({"serial": str(serial), "own_pairing_key": own}, f"The key is right; {kept}")


def recover_by_puk(app: App, opened: OpenCard) -> None:
    """Open a card whose pairing key is lost with its PUK, and give it the common key."""
    secret = puk(app, opened)
    if not opens(opened, pairing_key_from_puk(secret), PAIRING_INDEX_PUK):
        raise CtlError(Exit.SECRET, "That PUK does not open the secure channel to this card", unchanged=NOTHING_CHANGED)
    change_pairing_key(app, opened, COMMON_PAIRING_KEY, secret, known=False)
