"""Which card a command works on, and the PIN and PUK it needs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial

from cryptnox_core.card import Card
from cryptnox_core.errors import CryptnoxError, ProtocolError, TransportError
from cryptnox_core.transport.tcp import parse_address
from cryptnox_core.wire import PUK_LENGTH
from hwilib_cryptnox.ctl.app import App
from hwilib_cryptnox.ctl.errors import CtlError, Exit, explain
from hwilib_cryptnox.ctl.screen import WARN
from hwilib_cryptnox.errors import NoPinError
from hwilib_cryptnox.pin.policy import Unlocker, tries_left
from hwilib_cryptnox.pin.sources import automatic_sources
from hwilib_cryptnox.signer.cards import CARD_PREFIX, EMULATOR_PREFIX, Access, OpenCard, may_be_ours, serial_of
from hwilib_cryptnox.signer.heard import settle, twice
from hwilib_cryptnox.signer.wallet import Wallet

LAST_TRY = "last try"
"""What is typed to spend the last PIN try."""


def wanted_serial(app: App) -> int | None:
    """The serial of `--card`, in decimal, `cryptnox:` in front or not."""
    text = app.options.card
    if text is None or text.startswith(EMULATOR_PREFIX):
        return None
    serial = serial_of(f"{CARD_PREFIX}{text.removeprefix(CARD_PREFIX)}")
    if serial is None:
        raise CtlError(Exit.USAGE, f"--card: {text!r} is no serial number", "cryptnoxctl list shows the serial numbers")
    return serial


def candidates(app: App, reader: str | None = None) -> list[str]:
    """The readers a card may be in: the one named, here or by --reader, or all."""
    place = reader or app.options.reader or ""
    if reader is None and app.options.card is not None and app.options.card.startswith(EMULATOR_PREFIX):
        if place not in ("", app.options.card):
            raise CtlError(Exit.USAGE, f"--card {app.options.card} and --reader {place} are two cards", "name one")
        place = app.options.card
    if place.startswith(EMULATOR_PREFIX):
        parse_address(place.removeprefix(EMULATOR_PREFIX))
        return [place]
    if not place and app.options.card is None and "CRYPTNOX_EMULATOR" in os.environ:
        return [app.settings.emulator_path]
    names = app.host.access.readers()
    if not place:
        return names
    if place in map(str, range(len(names))):
        return [names[int(place)]]
    exact = [name for name in names if name == place]
    found = exact or [name for name in names if place.lower() in name.lower()]
    if len(found) == 1:
        return found
    what = "no reader is called that" if not found else f"{len(found)} readers are called that"
    raise CtlError(Exit.NO_CARD, f"--reader {place!r}: {what}", "cryptnoxctl list shows the readers")


@contextlib.contextmanager
def open_card(app: App, *, channel: bool = True) -> Iterator[OpenCard]:
    """The one card the options mean, selected and identified; with `channel` its secure channel is open where the card
    is initialised. Reset and released at the end, whatever happens."""
    opened = find_card(app, wanted_serial(app), candidates(app), channel=channel)
    try:
        yield opened
    finally:
        opened.close()


def find_card(app: App, serial: int | None, places: list[str], *, channel: bool) -> OpenCard:
    """The card with a serial number, or the only one, in some of the readers. The caller closes it.

    Where there is none the last reason is raised why a card could not be read. A reader without a card of ours is one
    only where it is the only place; a card whose serial number cannot be read is one at once where none is asked for.
    """
    way = app.host.access
    chosen: OpenCard | None = None
    others: list[str] = []
    unread: Exception | None = None
    try:
        for _, opened in way.scan(places, app.settings.wait):
            if not isinstance(opened, OpenCard):
                if may_be_ours(opened):
                    unread = opened
                elif len(places) == 1:
                    raise opened
                continue
            try:
                number = _serial(opened)
            except CryptnoxError as error:
                if serial is None:
                    raise
                unread = error  # perhaps another card's trouble
                continue
            if serial not in (None, number):
                opened.close()
            elif chosen is None:
                chosen = opened
                others.append(str(number))
            else:
                opened.close()
                others.append(str(number))
        if chosen is not None and len(others) == 1:
            identify(way, chosen, channel=channel)
            return chosen
    except BaseException:
        if chosen is not None:
            chosen.close()
        raise
    if chosen is not None:
        chosen.close()
        raise CtlError(Exit.USAGE, f"{len(others)} cards are here: {', '.join(others)}", "say which: --card SERIAL")
    if unread is not None:
        raise unread
    if not places:
        raise CtlError(Exit.NO_CARD, "There is no card reader", "plug one in, then: cryptnoxctl doctor")
    what = "No Cryptnox card was found" if serial is None else f"The card {serial} is in no reader"
    raise CtlError(Exit.NO_CARD, what, "put the card into the reader; cryptnoxctl list shows what is there")


def _serial(opened: OpenCard) -> int:
    try:
        return twice(opened.card, opened.card.read_certificate).serial
    except BaseException:
        opened.close()
        raise


def identify(way: Access, opened: OpenCard, *, channel: bool = True) -> None:
    """Open the channel where the card has one, check that it is the card it was before."""
    if channel:
        way.identify(opened, opened.card.serial)
    else:
        settle(opened.card)
        opened.card.read_certificate()
        opened.hold()


def admit(app: App, opened: OpenCard) -> None:
    """Before a secret is asked for: see `Access.admit`. `puk` and `unlock` do it themselves."""
    app.host.access.admit(opened.card)


def puk(app: App, opened: OpenCard) -> str:
    """The card's PUK: from stdin with --stdinpuk, else asked for, with the card named. Where it comes from it goes to
    the card unchanged. Raises what `admit` raises before it is asked for."""
    admit(app, opened)
    if app.options.stdin_puk:
        text = app.secret_line("PUK")
        if len(text) != PUK_LENGTH or not text.isascii():
            raise CtlError(Exit.SECRET, f"A PUK has {PUK_LENGTH} characters; nothing was sent to the card")
        return text
    if app.terminal.available:
        app.terminal.say(f"This is about the card {opened.card.serial} in {opened.reader}.")
    return app.terminal.puk()


def _typed_pin(app: App, card: Card, missing: NoPinError | None) -> tuple[str, bool]:
    """The PIN that the person types where no source gave one (`missing`: why), and whether it may cost the last try,
    which wants a typed confirmation."""
    if not app.terminal.available:
        raise missing or CtlError(
            Exit.SECRET,
            "A PIN is needed, and there is no terminal to ask on",
            "set CRYPTNOX_PIN_COMMAND, or give the PIN as the first line of stdin: --stdinpass",
        )
    if missing is not None:
        app.err.line(explain(missing).message, WARN)
    left = tries_left(card)
    if not left:
        raise CtlError(
            Exit.SECRET,
            "No PIN is accepted now: the card is blocked, or locked until it is powered anew",
            "take it out and put it back, then: cryptnoxctl pin tries; still none: cryptnoxctl pin unblock",
        )
    if left == 1:
        app.terminal.typed("One PIN try is left; a wrong PIN blocks the card until the PUK sets a new one.", LAST_TRY)
    tries = f"at most {left} {'try' if left == 1 else 'tries'} left"
    return app.terminal.pin(f"PIN of card {card.serial} ({tries})"), left == 1


def unlocker(app: App, *, typed: bool = False, second: bool = False) -> Unlocker:
    """PINs from stdin with --stdinpass, from the sources set up as for HWI (unless `typed`), else from the terminal.

    `second`: for the second of two cards: the PIN of stdin is the first one's, and is not sent to it.
    """
    given = app.secret_line("PIN") if app.options.stdin_pin and not second else None
    sources = () if typed else automatic_sources(app.settings)
    return Unlocker(app.settings, app.state, given, sources, person=partial(_typed_pin, app))


def unlock(app: App, opened: OpenCard, prompt: str = "", *, typed: bool = False) -> str:
    """Verify the PIN in the open channel and return it. Raises what `admit` and `Unlocker.unlock` raise; CtlError where
    the card's answer was lost."""
    admit(app, opened)
    try:
        return unlocker(app, typed=typed).unlock(opened.card, opened.reader, prompt=prompt)
    except (TransportError, ProtocolError) as error:
        problem = explain(error)
        raise CtlError(
            problem.exit_code,
            f"{problem.message}; if the PIN was sent already, it is not known whether it was right",
            "cryptnoxctl pin tries shows how many tries are left; a wrong PIN has cost one",
        ) from error


def wallet(app: App, opened: OpenCard) -> Wallet:
    """The wallet on an open card; it reopens the card by itself after a fault."""
    return Wallet(opened.path, app.host.access, unlocker(app), opened=opened)
