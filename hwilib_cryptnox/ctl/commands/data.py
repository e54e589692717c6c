"""`owner`, `data`, `pinless`, `pin-auth`: what stands on a card beside its keys."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cryptnox_core import bip32
from cryptnox_core.card import USER_DATA_MAX, Card
from cryptnox_core.commands.base import MOST_EXTRA
from cryptnox_core.errors import ChannelAbortedError, ProtocolError, StatusWordError
from cryptnox_core.wire import CUSTOM_BYTES, PINLESS_PREFIX, Sw
from hwilib_cryptnox.ctl.app import App, command, group
from hwilib_cryptnox.ctl.cards import open_card, puk, unlock
from hwilib_cryptnox.ctl.changes import accepted_again, change, flags
from hwilib_cryptnox.ctl.commands.pin import require_initialised
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import check_free, read_input, write_new
from hwilib_cryptnox.ctl.screen import Report, Screen, listed, said
from hwilib_cryptnox.ctl.vendor import touched_marks
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.heard import agreed
from hwilib_cryptnox.signer.irreversible import End, Words

data = group("data", "Read and write the card's user data (3600 bytes) and its 16 custom bytes.")
pinless = group("pinless", "The path whose key signs without PIN. Not for money.")
pin_auth = group("pin-auth", "Switch PIN authentication on or off.")

_FILE = click.Path(dir_okay=False, path_type=Path)


@command("owner")
def owner(app: App) -> Report:
    """Show the owner's name and e-mail address, as they were written when the card was set up.

    They can be changed only by resetting the card and setting it up anew.
    """
    with open_card(app) as opened:
        require_initialised(opened)
        page = opened.card.info_page()
        serial = str(opened.card.serial)
    found_data = {"serial": serial, "name": page.name, "email": page.email}
    return listed(found_data, [("Name", page.name or "-"), ("E-mail", page.email or "-")])


@data.command("read")
@click.option("--custom", is_flag=True, help="The 16 custom bytes, which every reader sees without PIN.")
@click.option("--output", type=_FILE, help="Write the bytes to this new file.")
def data_read(app: App, custom: bool, output: Path | None) -> Report:
    """Read the user data (needs the PIN), or the custom bytes (needs none)."""
    if output is not None:
        check_free(output, None)
    with open_card(app, channel=not custom) as opened:
        serial = str(opened.card.serial)
        if custom:
            content = opened.card.info.custom
        else:
            require_initialised(opened)
            content = _read(app, opened, unlock(app, opened))
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


def _read(app: App, opened: OpenCard, pin: str) -> bytes:
    """The user data; the PIN is verified before and afterwards.

    A card that breaks off the channel at the first page may want the other form of the request (see `Card.send`). It
    gets that once, in a new channel, with the PIN that was right in the old one.
    """
    try:
        return opened.card.read_user_data()
    except ChannelAbortedError as error:
        if error.sw != Sw.SECURITY_STATUS:
            raise
        app.host.access.open_channel(opened.card)
        opened.card.verify_pin(pin)
        return opened.card.read_user_data()


@data.command("write")
@click.argument("file")
@click.option("--custom", is_flag=True, help="The 16 custom bytes instead of the user data.")
@click.option("--yes", is_flag=True, help="Do not ask before what is there is overwritten.")
def data_write(app: App, file: str, custom: bool, yes: bool) -> Report:
    """Write FILE (- for stdin) to the card. What is there is overwritten.

    The vendor's tools keep marks in custom bytes 0 to 2: it is said where the new bytes touch them.
    """
    content = read_input(app, file)
    limit = CUSTOM_BYTES if custom else USER_DATA_MAX
    if len(content) > limit or (custom and len(content) != limit):
        what = f"exactly {limit}" if custom else f"at most {limit}"
        raise CtlError(Exit.INPUT, f"{file}: {what} bytes can be written, not {len(content)}")
    with open_card(app) as opened:
        require_initialised(opened)
        if custom and opened.card.info.is_nft:
            raise CtlError(Exit.REFUSED, "An NFT card takes what is written there for user data: nothing was sent")
        pin, serial = unlock(app, opened), str(opened.card.serial)
        before = opened.card.info.custom if custom else _read(app, opened, pin)
        marks = list(touched_marks(before, content)) if custom else []
        for text in marks:
            app.note(text)
        if marks and not any(before) and not yes and app.terminal.available:
            app.terminal.confirm(f"Write these bytes to the card {serial} all the same?")
        if any(before) and before != content and not yes:
            app.terminal.confirm(f"The card {serial} holds {len(before)} other bytes there. Overwrite them?")
        _write(app, opened, pin, before, content, custom=custom)
    return said({"serial": serial, "bytes": len(content)}, *app.achieved)


class _CutShortError(ProtocolError):
    """The card refused one of several pages."""


def _write(app: App, opened: OpenCard, pin: str, before: bytes, content: bytes, *, custom: bool) -> None:
    """Write and read back, as far as the card shows it."""
    answered = False
    shown = not custom or len(before) == CUSTOM_BYTES

    def send(card: Card) -> None:
        nonlocal answered
        if custom:
            card.write_custom_bytes(content)
            return
        try:
            card.write_user_data(content)
        except StatusWordError as error:
            raise _CutShortError(str(error)) from error  # perhaps after the first page
        answered = True

    def look(opened: OpenCard) -> End:
        if custom:
            opened.card.select()
            now = agreed(opened.card).custom
            if not shown:
                return End.UNKNOWN
        else:
            accepted_again(app, opened, pin)
            now = _read(app, opened, pin)
        # A card may add a few bytes to its answers. Where it has not said that it is done, they may be of the old ones.
        added = now.startswith(content) and len(now) - len(content) <= MOST_EXTRA and (answered or now != before)
        if now == content or added:
            return End.TAKEN
        return End.NOT_TAKEN if now == before else End.HALF

    words = Words(
        done=f"{len(content)} bytes are written",
        kept="the card holds what it held: nothing was written",
        half="the card holds a part of the new bytes, and no longer all of the old ones",
        either="the card may hold the new bytes, the old ones, or a part of both",
        keep="keep the file and write it once more",
    )
    change(app, opened, words, send, look, prove=shown)
    if not shown:
        app.note("This card does not show its custom bytes: they could not be read back")


@pinless.command("set")
@click.argument("path")
def pinless_set(app: App, path: str) -> Report:
    """Let the key at PATH (under m/43h/60h/1581h) sign without PIN. Needs the PUK.

    Whoever holds the card, or comes near it, can then sign with that key.
    """
    parsed = bip32.Path.parse(path)
    if not parsed.starts_with(bip32.Path(PINLESS_PREFIX)):
        raise CtlError(Exit.USAGE, "A pinless path lies under m/43h/60h/1581h")
    with open_card(app) as opened:
        require_seed(opened.card.info.seeded)
        serial = str(opened.card.serial)
        secret, had_one = puk(app, opened), opened.card.info.pinless_path

        def look(opened: OpenCard) -> End:
            if not agreed(opened.card).pinless_path:
                return End.NOT_TAKEN
            return End.UNKNOWN if had_one else End.TAKEN  # which one it is no card tells

        words = Words(
            done=f"The key at {parsed} signs without PIN now",
            kept="no key signs without PIN: nothing was changed",
            either=f"the key at {parsed} may sign without PIN already, or the one of before",
            keep="set it once more, or take it away: cryptnoxctl pinless clear",
        )
        change(app, opened, words, lambda card: card.set_pinless_path(parsed, secret), look)
    return said({"serial": serial, "pinless_path": str(parsed)}, *app.achieved)


@pinless.command("clear")
def pinless_clear(app: App) -> Report:
    """Let no key sign without PIN. Needs the PUK."""
    with open_card(app) as opened:
        require_seed(opened.card.info.seeded)
        serial, secret = str(opened.card.serial), puk(app, opened)
        words = Words(
            done="No key signs without PIN any more",
            kept="a key still signs without PIN",
            either="a key may still sign without PIN",
            keep="cryptnoxctl info says which",
        )
        look, doubted = flags(lambda info: not info.pinless_path), opened.card.info.pinless_path
        change(app, opened, words, lambda card: card.set_pinless_path(None, secret), look, doubted=doubted)
    return said({"serial": serial, "pinless_path": None}, *app.achieved)


def require_seed(seeded: bool) -> None:
    """The card has keys."""
    if not seeded:
        raise CtlError(Exit.REFUSED, "The card holds no seed", "cryptnoxctl setup")


@pin_auth.command("on")
def pin_auth_on(app: App) -> Report:
    """Accept the PIN again. Needs the PUK."""
    return _pin_auth(app, on=True)


@pin_auth.command("off")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--cannot-sign-here", is_flag=True, help="Although no program of this package can sign with it then.")
def pin_auth_off(app: App, yes: bool, cannot_sign_here: bool) -> Report:
    """Accept user keys only, no PIN. Needs the PUK, and a user key on the card.

    Neither cryptnoxctl nor hwi-cryptnox signs with user keys: this is for cards that other software signs with.
    """
    if not cannot_sign_here:
        raise CtlError(
            Exit.REFUSED,
            "Without the PIN no wallet could sign with this card any more: neither cryptnoxctl nor hwi-cryptnox signs "
            "with user keys. Nothing was changed",
            "where other software signs with them: --cannot-sign-here",
        )
    return _pin_auth(app, on=False, ask=not yes)


def _pin_auth(app: App, *, on: bool, ask: bool = False) -> Report:
    word = "on" if on else "off"
    with open_card(app) as opened:
        require_initialised(opened)
        serial = str(opened.card.serial)
        if not on and opened.card.info.tells_user_keys and not opened.card.info.user_keys:
            raise CtlError(
                Exit.REFUSED, "The card has no user key: nothing could authenticate", "cryptnoxctl user-key add"
            )
        if ask:
            app.terminal.confirm(f"Wallets that give a PIN will no longer work with the card {serial}. Go on?")
        secret = puk(app, opened)
        words = Words(
            done=f"PIN authentication is {word}",
            kept=f"PIN authentication is not {word}: nothing was changed",
            either=f"PIN authentication may be {word} already, or not",
            keep="cryptnoxctl info says which",
        )
        look, doubted = flags(lambda info: info.pin_auth is on), opened.card.info.pin_auth is not on
        change(app, opened, words, lambda card: card.set_pin_auth(on, secret), look, doubted=doubted)
    return said({"serial": serial, "pin_auth": on}, *app.achieved)
