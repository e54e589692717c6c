"""`owner`, `data`, `pinless`, `pin-auth`: what stands on a card beside its keys."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cryptnox_core import bip32
from cryptnox_core.admin import USER_DATA_MAX
from cryptnox_core.errors import ChannelAbortedError
from cryptnox_core.wire import CUSTOM_BYTES, PINLESS_PREFIX, Sw
from hwilib_cryptnox.access import OpenCard
from hwilib_cryptnox.ctl.cards import access, open_card, puk, unlock
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import check_free, read_input, write_new
from hwilib_cryptnox.ctl.frame import App, command, group
from hwilib_cryptnox.ctl.screen import Report, Screen, listed, said
from hwilib_cryptnox.ctl.secrets import require_initialised

data = group("data", "Read and write the card's user data (3600 bytes) and its 16 custom bytes.")
pinless = group("pinless", "The path whose key signs without PIN. Not for money.")
pin_auth = group("pin-auth", "Switch PIN authentication on or off.")

_FILE = click.Path(dir_okay=False, path_type=Path)


@command("owner")
def owner(app: App) -> Report:
    """Show the owner's name and e-mail address, as they were written when the card was set up.

    They can be changed only by resetting the card and setting it up anew.
    """
    with open_card(app) as found:
        require_initialised(found)
        page = found.card.info_page()
        serial = str(found.card.serial)
    found_data = {"serial": serial, "name": page.name, "email": page.email}
    return listed(found_data, [("Name", page.name or "-"), ("E-mail", page.email or "-")])


@data.command("read")
@click.option("--custom", is_flag=True, help="The 16 custom bytes, which every reader sees without PIN.")
@click.option("--output", type=_FILE, help="Write the bytes to this new file.")
def data_read(app: App, custom: bool, output: Path | None) -> Report:
    """Read the user data (needs the PIN), or the custom bytes (needs none)."""
    if output is not None:
        check_free(output, None)
    with open_card(app, channel=not custom) as found:
        serial = str(found.card.serial)
        if custom:
            content = found.card.info.custom
        else:
            require_initialised(found)
            content = _user_data(app, found)
    if output is not None:
        write_new(output, content)
    report = {"serial": serial, "bytes": len(content), "hex": content.hex(), "file": output and str(output)}

    def show(screen: Screen) -> None:
        if output is not None:
            screen.line(f"{len(content)} bytes are in {output}")
        elif custom or screen.fancy:
            screen.line(content.hex() or "nothing is stored")
        else:
            # Piped: the bytes themselves.
            sys.stdout.buffer.write(content)

    return Report(report, show)


def _user_data(app: App, found: OpenCard) -> bytes:
    """The user data; the PIN is verified afterwards.

    A card that breaks off the channel at the first page may want the other form of the request (see `Card.run`). It
    gets that once, in a new channel, with the PIN that was right in the old one.
    """
    pin = unlock(app, found)
    try:
        return found.card.read_user_data()
    except ChannelAbortedError as error:
        if error.sw != Sw.SECURITY_STATUS:
            raise
        access(app).open_channel(found.card)
        found.card.verify_pin(pin)
        return found.card.read_user_data()


@data.command("write")
@click.argument("file")
@click.option("--custom", is_flag=True, help="The 16 custom bytes instead of the user data.")
@click.option("--yes", is_flag=True, help="Do not ask before what is there is overwritten.")
def data_write(app: App, file: str, custom: bool, yes: bool) -> Report:
    """Write FILE (- for stdin) to the card. What is there is overwritten."""
    content = read_input(app, file)
    limit = CUSTOM_BYTES if custom else USER_DATA_MAX
    if len(content) > limit or (custom and len(content) != limit):
        what = f"exactly {limit}" if custom else f"at most {limit}"
        raise CtlError(Exit.INPUT, f"{file}: {what} bytes can be written, not {len(content)}")
    with open_card(app) as found:
        require_initialised(found)
        if custom:
            unlock(app, found)
        before = found.card.info.custom if custom else _user_data(app, found)
        if any(before) and before != content and not yes:
            app.terminal.confirm(f"The card holds {len(before)} other bytes there. Overwrite them?")
        if custom:
            found.card.write_custom_bytes(content)
        else:
            found.card.write_user_data(content)
        serial = str(found.card.serial)
    return said({"serial": serial, "bytes": len(content)}, f"{len(content)} bytes are written")


@pinless.command("set")
@click.argument("path")
def pinless_set(app: App, path: str) -> Report:
    """Let the key at PATH (under m/43h/60h/1581h) sign without PIN. Needs the PUK.

    Whoever holds the card, or comes near it, can then sign with that key.
    """
    parsed = bip32.Path.parse(path)
    if not parsed.starts_with(bip32.Path(PINLESS_PREFIX)):
        raise CtlError(Exit.USAGE, "A pinless path lies under m/43h/60h/1581h")
    with open_card(app) as found:
        require_seed(found.card.info.seeded)
        found.card.set_pinless_path(parsed, puk(app))
        serial = str(found.card.serial)
    return said({"serial": serial, "pinless_path": str(parsed)}, f"The key at {parsed} signs without PIN now")


@pinless.command("clear")
def pinless_clear(app: App) -> Report:
    """Let no key sign without PIN. Needs the PUK."""
    with open_card(app) as found:
        require_seed(found.card.info.seeded)
        found.card.set_pinless_path(None, puk(app))
        serial = str(found.card.serial)
    return said({"serial": serial, "pinless_path": None}, "No key signs without PIN any more")


def require_seed(seeded: bool) -> None:
    """The card has keys."""
    if not seeded:
        raise CtlError(Exit.REFUSED, "The card holds no seed", "cryptnoxctl setup")


@pin_auth.command("on")
def pin_auth_on(app: App) -> Report:
    """Accept the PIN again. Needs the PUK."""
    return _pin_auth(app, on=True, yes=True)


@pin_auth.command("off")
@click.option("--yes", is_flag=True, help="Do not ask.")
def pin_auth_off(app: App, yes: bool) -> Report:
    """Accept user keys only, no PIN. Needs the PUK, and a user key on the card."""
    return _pin_auth(app, on=False, yes=yes)


def _pin_auth(app: App, *, on: bool, yes: bool) -> Report:
    with open_card(app) as found:
        require_initialised(found)
        if not on and not found.card.info.user_keys:
            raise CtlError(
                Exit.REFUSED, "The card has no user key: nothing could authenticate", "cryptnoxctl user-key add"
            )
        if not yes:
            app.terminal.confirm("Wallets that give a PIN will no longer work with this card. Go on?")
        found.card.set_pin_auth(on, puk(app))
        serial = str(found.card.serial)
    return said({"serial": serial, "pin_auth": on}, f"PIN authentication is {'on' if on else 'off'}")
