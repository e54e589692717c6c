"""`pin`, `puk`, `pairing`: the secrets a card is opened with."""

from __future__ import annotations

import secrets as system
from dataclasses import replace
from pathlib import Path

import click

from cryptnox_core.commands.setup import pairing_key_from_puk
from cryptnox_core.errors import NotAllowedError, PairingError, StatusWordError, UsageError
from cryptnox_core.wire import COMMON_PAIRING_KEY, PAIRING_INDEX_PUK, PAIRING_KEY_LENGTH, PIN_TRIES_SESSION
from hwilib_cryptnox.access import OpenCard
from hwilib_cryptnox.ctl.cards import access, open_card, puk, unlock
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.frame import App, group
from hwilib_cryptnox.ctl.screen import Report, said
from hwilib_cryptnox.unlock import tries_left

pin = group("pin", "Change, verify or unblock the PIN; ask for the tries left.")
puk_group = group("puk", "Change the PUK.")
pairing = group("pairing", "The pairing key, which opens the secure channel.")


def require_initialised(found: OpenCard) -> None:
    """The card has a PIN and a PUK."""
    if not found.card.info.initialized:
        raise CtlError(Exit.REFUSED, "The card is not initialised", "cryptnoxctl setup")


@pin.command("tries")
def pin_tries(app: App) -> Report:
    """Show how many PIN tries are left. Spends none."""
    with open_card(app) as found:
        require_initialised(found)
        left = tries_left(found.card)
        serial = str(found.card.serial)
    if left:
        text = f"At most {left} PIN tries are left"
        if left <= PIN_TRIES_SESSION:
            text += " (a card allows 3 until it is taken out and put back, 6 in all)"
        return said({"serial": serial, "pin_tries_left": left}, text)
    return said(
        {"serial": serial, "pin_tries_left": 0},
        "No PIN try is left now. Take the card out, put it back and ask again; if it is still none, the PIN is "
        "blocked: cryptnoxctl pin unblock (needs the PUK)",
    )


@pin.command("verify")
def pin_verify(app: App) -> Report:
    """Check the PIN. A right one clears the note of a refusal, so that set-up PIN sources are used again."""
    with open_card(app) as found:
        require_initialised(found)
        unlock(app, found, typed=True)
        serial = str(found.card.serial)
    return said({"serial": serial, "verified": True}, "The PIN is right")


@pin.command("change")
@click.option("--with-puk", is_flag=True, help="Set it with the PUK instead of the present PIN.")
def pin_change(app: App, with_puk: bool) -> Report:
    """Change the PIN: the present one first, then the new one twice."""
    with open_card(app) as found:
        require_initialised(found)
        secret: str | None = None
        if with_puk:
            secret = puk(app)
        else:
            unlock(app, found, typed=True)
        found.card.change_pin(app.terminal.new_pin(), puk=secret)
        _forget_counter(app, found)
        serial = str(found.card.serial)
    return said({"serial": serial, "changed": True}, "The PIN is changed")


def _forget_counter(app: App, found: OpenCard) -> None:
    """What is remembered of the old PIN's refusals says nothing about a new one."""
    app.state.update(found.card.serial, lambda record: replace(record, note=None, full=None))


@pin.command("unblock")
def pin_unblock(app: App) -> Report:
    """Set a new PIN on a card whose PIN is blocked, with the PUK."""
    with open_card(app) as found:
        require_initialised(found)
        if tries_left(found.card):
            raise CtlError(
                Exit.REFUSED,
                "The PIN is not blocked; nothing was sent",
                "forgotten PIN: cryptnoxctl pin change --with-puk",
            )
        secret = puk(app)
        new = app.terminal.new_pin()
        try:
            found.card.unblock_pin(puk=secret, new_pin=new)
        except NotAllowedError as error:
            raise CtlError(
                Exit.REFUSED,
                "The card says that the PIN is not blocked, only locked",
                "take the card out and put it back, then: cryptnoxctl pin tries",
            ) from error
        _forget_counter(app, found)
        serial = str(found.card.serial)
    return said({"serial": serial, "unblocked": True}, "The card has a new PIN")


@puk_group.command("change")
def puk_change(app: App) -> Report:
    """Change the PUK: the present one first, then the new one twice."""
    with open_card(app) as found:
        require_initialised(found)
        current = puk(app)
        found.card.change_puk(new=app.terminal.new_puk(), current=current)
        serial = str(found.card.serial)
    return said({"serial": serial, "changed": True}, "The PUK is changed. Write the new one down, apart from the card")


@pairing.command("change")
@click.option("--common", is_flag=True, help="Back to the key every card comes with.")
@click.option("--file", "source", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A key exported.")
def pairing_change(app: App, common: bool, source: Path | None) -> Report:
    """Give the card a pairing key of its own, kept on this computer. Needs the PUK.

    Whoever has not got the key cannot talk to the card at all; the PUK gets it back.
    """
    if common and source is not None:
        raise click.UsageError("--common and --file exclude each other")
    key = system.token_bytes(PAIRING_KEY_LENGTH) if source is None else read_key(source)
    if common:
        key = COMMON_PAIRING_KEY
    with open_card(app) as found:
        require_initialised(found)
        change_pairing_key(app, found, key, puk(app))
        serial = str(found.card.serial)
    text = "The card has the common pairing key again" if common else "The card has its own pairing key now"
    return said(
        {"serial": serial, "own_pairing_key": not common},
        text if common else f"{text}. Keep a copy: cryptnoxctl pairing export FILE",
    )


def change_pairing_key(app: App, found: OpenCard, key: bytes, secret: str) -> None:
    """Change it on the card and in `pairing.json`, where both keys stand until the card has answered: where its answer
    is lost, or this program is killed, the next command finds out which one opens the card.
    """
    serial = found.card.serial
    before = app.state.pairing_keys(serial)
    app.state.keep_pairing_key(serial, key, *(before or (COMMON_PAIRING_KEY,)))
    try:
        found.card.change_pairing_key(key, puk=secret)
    except (StatusWordError, UsageError):
        app.state.keep_pairing_key(serial, *before)
        raise
    app.state.keep_pairing_key(serial, None if key == COMMON_PAIRING_KEY else key)


def read_key(source: Path) -> bytes:
    """A pairing key from a file: 64 hexadecimal characters."""
    try:
        key = bytes.fromhex(source.read_text("ascii").strip())
    except ValueError as error:
        raise CtlError(Exit.INPUT, f"{source}: not a pairing key (64 hexadecimal characters)") from error
    if len(key) != PAIRING_KEY_LENGTH:
        raise CtlError(Exit.INPUT, f"{source}: a pairing key has {PAIRING_KEY_LENGTH} bytes, not {len(key)}")
    return key


@pairing.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def pairing_export(app: App, file: Path) -> Report:
    """Write the card's own pairing key to a new FILE (mode 0600), for another computer."""
    from hwilib_cryptnox.ctl.files import write_new

    with open_card(app, channel=False) as found:
        serial = found.card.serial
        if len(app.state.pairing_keys(serial)) > 1:
            access(app).open_channel(found.card)
    key = app.state.pairing_key(serial)
    if key is None:
        raise CtlError(Exit.REFUSED, "This computer has no own pairing key for this card: it uses the common one")
    write_new(file, (key.hex() + "\n").encode("ascii"), private=True)
    return said(
        {"serial": str(serial), "file": str(file)},
        f"The pairing key is in {file}. There: cryptnoxctl pairing recover --file {file.name}",
    )


@pairing.command("recover")
@click.option("--file", "source", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A key exported.")
def pairing_recover(app: App, source: Path | None) -> Report:
    """Get at a card that is paired with another key: with the exported key, or with the PUK (it sets a new key)."""
    with open_card(app, channel=False) as found:
        require_initialised(found)
        serial = found.card.serial
        if source is not None:
            key = read_key(source)
            _open(found, key, 0)
            app.state.keep_pairing_key(serial, None if key == COMMON_PAIRING_KEY else key)
            return said(
                {"serial": str(serial), "own_pairing_key": True}, "The key is right; it is kept on this computer"
            )
        recover_by_puk(app, found)
    return said(
        {"serial": str(serial), "own_pairing_key": False},
        "The card has the common pairing key again (an own one: cryptnoxctl pairing change)",
    )


def recover_by_puk(app: App, found: OpenCard) -> None:
    """Open a card whose pairing key is lost with its PUK, and give it the common key."""
    secret = puk(app)
    _open(found, pairing_key_from_puk(secret), PAIRING_INDEX_PUK)
    change_pairing_key(app, found, COMMON_PAIRING_KEY, secret)


def _open(found: OpenCard, key: bytes, index: int) -> None:
    found.card.select()
    try:
        found.card.open_channel(key, index=index)
    except PairingError as error:
        what = "pairing key" if index == 0 else "PUK"
        raise CtlError(Exit.SECRET, f"That {what} does not open the channel to this card") from error
