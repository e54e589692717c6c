"""Which card a command works on, and the PIN and PUK it needs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace

from cryptnox_core.errors import CryptnoxError, ReaderBusyError, TransportError
from cryptnox_core.remote import parse_address
from cryptnox_core.wire import PUK_LENGTH
from hwilib_cryptnox.access import CARD_PREFIX, EMULATOR_PREFIX, Access, ForeignCardError, OpenCard
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.frame import App
from hwilib_cryptnox.ctl.screen import WARN
from hwilib_cryptnox.faults import NoPinError
from hwilib_cryptnox.unlock import Unlocker, tries_left

LAST_TRY = "last try"
"""What is typed to spend the last PIN try."""


def access(app: App) -> Access:
    """The way to all cards; the emulated one is among them where CRYPTNOX_EMULATOR or an option names it."""
    return Access(app.settings, app.state, emulators="CRYPTNOX_EMULATOR" in os.environ)


def wanted_serial(app: App) -> int | None:
    """The serial of `--card`, in decimal, `cryptnox:` in front or not."""
    text = app.options.card
    if text is None or text.startswith(EMULATOR_PREFIX):
        return None
    number = text.removeprefix(CARD_PREFIX)
    if not (number.isascii() and number.isdecimal()):
        raise CtlError(Exit.USAGE, f"--card: {text!r} is no serial number", "cryptnoxctl list shows the serial numbers")
    return int(number)


def candidates(app: App) -> list[str]:
    """The readers a card may be in."""
    place = app.options.reader or ""
    if app.options.card is not None and app.options.card.startswith(EMULATOR_PREFIX):
        place = app.options.card
    if place.startswith(EMULATOR_PREFIX):
        parse_address(place.removeprefix(EMULATOR_PREFIX))
        return [place]
    if not place and app.options.card is None and "CRYPTNOX_EMULATOR" in os.environ:
        host, port = app.settings.emulator
        return [f"{EMULATOR_PREFIX}{f'[{host}]' if ':' in host else host}:{port}"]
    names = access(app).readers()
    if not place:
        return names
    if place.isdecimal() and int(place) < len(names):
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
    found = _find(app, channel)
    try:
        yield found
    finally:
        found.close()


def _find(app: App, channel: bool) -> OpenCard:
    serial, way = wanted_serial(app), access(app)
    chosen: OpenCard | None = None
    others: list[str] = []
    busy: CryptnoxError | None = None
    places = candidates(app)
    try:
        for place in places:
            try:
                found = way.connect(place, app.settings.wait)
            except ReaderBusyError as error:
                busy = error
                continue
            except (TransportError, ForeignCardError):
                if len(places) == 1:
                    raise
                continue
            number = _serial(found)
            if serial not in (None, number):
                found.close()
            elif chosen is None:
                chosen = found
                others.append(str(number))
            else:
                found.close()
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
    if busy is not None:
        raise busy
    if not places:
        raise CtlError(Exit.NO_CARD, "There is no card reader", "plug one in, then: cryptnoxctl doctor")
    what = "No Cryptnox card was found" if serial is None else f"The card {serial} is in no reader"
    raise CtlError(Exit.NO_CARD, what, "put the card into the reader; cryptnoxctl list shows what is there")


def _serial(found: OpenCard) -> int:
    try:
        return found.card.read_certificate().serial
    except BaseException:
        found.close()
        raise


def identify(way: Access, found: OpenCard, *, channel: bool = True) -> None:
    """Open the channel where the card has one, check that it is the card it was before."""
    if channel:
        way.identify(found, found.card.serial)
    else:
        found.card.read_certificate()
        found.hold()


def puk(app: App) -> str:
    """The PUK: from stdin with --stdinpuk, else asked for. Where it comes from it goes to the card unchanged, once."""
    if app.options.stdin_puk:
        text = app.secret_line("PUK")
        if len(text) != PUK_LENGTH or not text.isascii():
            raise CtlError(Exit.SECRET, f"A PUK has {PUK_LENGTH} characters; nothing was sent to the card")
        return text
    return app.terminal.puk()


def unlock(app: App, found: OpenCard, purpose: str = "", *, typed: bool = False) -> str:
    """Verify the PIN in the open channel and return it.

    From stdin with --stdinpass, from the sources set up as for HWI, else asked for on the terminal; with `typed` only
    from stdin or the terminal. At most one PIN is sent that may be wrong; the last try wants a typed confirmation.
    """
    unlocker = Unlocker.load(app.settings, app.state, app.secret_line("PIN") if app.options.stdin_pin else None)
    if app.options.stdin_pin:
        return unlocker.unlock(found.card, found.reader, purpose=purpose)
    if unlocker.has_source and not typed:
        try:
            return unlocker.unlock(found.card, found.reader, purpose=purpose)
        except NoPinError as error:
            # Nothing was sent. A person in front of a terminal can still be asked.
            if not app.terminal.available:
                raise
            app.err.line(str(error), WARN)
    if not app.terminal.available:
        raise unlocker.no_pin()
    return _ask(app, found, unlocker, purpose)


def _ask(app: App, found: OpenCard, unlocker: Unlocker, purpose: str) -> str:
    settings, card = app.settings, found.card
    left = tries_left(card)
    if purpose:
        app.terminal.say(purpose)
    if left == 1:
        app.terminal.typed("One PIN try is left; a wrong PIN blocks the card until the PUK sets a new one.", LAST_TRY)
        settings = replace(settings, last_try=True)
    pin = app.terminal.pin(f"PIN of card {card.serial} (at most {left} {'try' if left == 1 else 'tries'} left)")
    return replace(unlocker, settings=settings, password=pin).unlock(card, found.reader)
