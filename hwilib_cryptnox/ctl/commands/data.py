"""`data`: the user data and the custom bytes of a card."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from cryptnox_core.card import USER_DATA_MAX, Card
from cryptnox_core.commands.base import MOST_EXTRA
from cryptnox_core.errors import ChannelAbortedError, ProtocolError, StatusWordError
from cryptnox_core.wire import CUSTOM_BYTES, Sw
from hwilib_cryptnox.console.wording import counted
from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import open_card, unlock
from hwilib_cryptnox.ctl.changes import accepted_again, change
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import NEW_FILE, check_free, read_input, write_new
from hwilib_cryptnox.ctl.screen import Report, Screen, said
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.faults.heard import agreed
from hwilib_cryptnox.signer.faults.irreversible import End, Words

data = CtlGroup("data", help="Read and write the card's user data (3600 bytes) and its 16 custom bytes.")

_MARKS = ("PIV", "KMS", "Windows Hello")
"""The user keys that the vendor's tools mark, by the place of the custom byte."""


@data.command("read")
@click.option("--custom", is_flag=True, help="The 16 custom bytes, which every reader can see without a PIN.")
@click.option("--output", type=NEW_FILE, help="Write the bytes to this new file.")
def data_read(app: App, custom: bool, output: Path | None) -> Report:
    """Read the user data (needs the PIN), or the custom bytes (needs none)."""
    if output is not None:
        check_free(output, None)
    with open_card(app, channel=not custom, initialised=not custom) as opened:
        content = opened.card.info.custom if custom else _read(app, opened, unlock(app, opened))
        serial = str(opened.card.serial)
    report = {"serial": serial, "bytes": len(content), "hex": content.hex(), "file": output and str(output)}
    if output is not None:
        write_new(output, content)
        return said(report, f"Written: {output} ({counted(len(content), 'byte')})")

    def show(screen: Screen) -> None:
        if custom or screen.fancy:
            screen.line(content.hex() or "nothing is stored")
        else:
            # Piped: the bytes themselves.
            sys.stdout.buffer.write(content)

    return Report(report, show)


def _read(app: App, opened: OpenCard, pin: str | None) -> bytes:
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
        if pin is None:
            unlock(app, opened)
        else:
            opened.card.verify_pin(pin)
        return opened.card.read_user_data()


@data.command("write")
@click.argument("file")
@click.option("--custom", is_flag=True, help="Use the 16 custom bytes instead of the user data.")
@click.option("--yes", is_flag=True, help="Overwrite without asking.")
def data_write(app: App, file: str, custom: bool, yes: bool) -> Report:
    """Write FILE (- for stdin) to the card. Overwrites what is there.

    The vendor's tools keep marks in custom bytes 0 to 2. You are warned if the new bytes touch them.
    """
    content = read_input(app, file)
    limit = CUSTOM_BYTES if custom else USER_DATA_MAX
    if len(content) > limit or (custom and len(content) != limit):
        what = f"exactly {limit}" if custom else f"at most {limit}"
        raise CtlError(Exit.INPUT, f"{file}: write {what} bytes, not {len(content)}")
    with open_card(app, initialised=True) as opened:
        if custom and opened.card.info.is_nft:
            raise CtlError(Exit.REFUSED, "An NFT card stores these bytes as user data. Nothing was sent")
        pin, serial = unlock(app, opened), str(opened.card.serial)
        before = opened.card.info.custom if custom else _read(app, opened, pin)
        marks = list(_touched_marks(before, content)) if custom else []
        for text in marks:
            app.note(text)
        if marks and not any(before) and not yes and app.terminal.available:
            app.terminal.confirm(f"Write these bytes to the card {serial} anyway?")
        if any(before) and before != content and not yes:
            app.terminal.confirm(f"The card {serial} already holds {len(before)} other bytes there. Overwrite them?")
        _write(app, opened, pin, before, content, custom=custom)
    return said({"serial": serial, "bytes": len(content)}, *app.achieved)


def _touched_marks(before: bytes, after: bytes) -> Iterator[str]:
    """What writing the custom bytes does to the vendor's marks: a sentence for each kind of harm."""
    pairs = list(zip(_MARKS, before, after, strict=False))
    lost = [name for name, old, new in pairs if old and old != new]
    made = [name for name, old, new in pairs if new and not old]
    where = "The vendor's tools use custom bytes 0 to 2 to mark which user keys exist (PIV, KMS, Windows Hello)"
    if lost:
        yield f"{where}. Marked now: {', '.join(lost)}. Overwriting them hides these keys from the vendor's tools"
    if made:
        yield f"{where}. Your bytes mark {', '.join(made)}: the vendor's tools will assume these keys exist"


class _CutShortError(ProtocolError):
    """The card refused one of several pages."""


def _write(app: App, opened: OpenCard, pin: str | None, before: bytes, content: bytes, *, custom: bool) -> None:
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
        taken, kept = (End.SAID, End.DENIED) if custom else (End.TAKEN, End.NOT_TAKEN)
        if now == content or added:
            return taken
        return kept if now == before else End.HALF

    words = Words(
        done=f"Written: {counted(len(content), 'byte')}",
        kept="the card is unchanged; nothing was written",
        half="the card holds part of the new bytes, and has lost some of the old ones",
        either="the card may hold the new bytes, the old ones, or a mix of both",
        keep="keep the file and write it again",
    )
    change(app, opened, words, send, look, prove=shown)
    if not shown:
        app.note("This card does not show its custom bytes, so they could not be read back")
