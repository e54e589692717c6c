"""Which card a command works on, what is said of it, and the PIN and PUK it needs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from cryptnox_core import errors
from cryptnox_core.card import Card
from cryptnox_core.certificate import Genuineness
from cryptnox_core.models import AppletInfo, CardInfo
from cryptnox_core.transport.tcp import parse_address
from cryptnox_core.wire import PUK_LENGTH, KeySource
from hwilib_cryptnox.ctl.app import App
from hwilib_cryptnox.ctl.errors import CtlError, Exit, explain
from hwilib_cryptnox.ctl.screen import BAD, GOOD, WARN
from hwilib_cryptnox.errors import LeftError, NoPinError, WalletError, tries_text
from hwilib_cryptnox.pin.policy import Unlocker, tries_left
from hwilib_cryptnox.signer.cards import (
    CARD_PREFIX,
    EMULATOR_PREFIX,
    ForeignCardError,
    OpenCard,
    may_be_ours,
    serial_of,
)
from hwilib_cryptnox.signer.faults.heard import settle, twice
from hwilib_cryptnox.signer.wallet import Wallet

T = TypeVar("T")

SWAPS = 10
"""How often a person is asked to swap the cards before it is given up."""
LAST_TRY = "last try"
"""What is typed to spend the last PIN try."""
_KEY_SOURCES = {
    KeySource.NONE: "none",
    KeySource.SINGLE: "single key",
    KeySource.EXTENDED: "extended key",
    KeySource.LOADED: "loaded seed",
    KeySource.ON_CARD: "made on the card",
    KeySource.DUAL: "made by two cards",
    KeySource.WRAPPED: "loaded wrapped",
}
_JUDGED = {
    Genuineness.GENUINE: ("genuine", GOOD),
    Genuineness.NOT_GENUINE: ("NOT genuine", BAD),
    Genuineness.UNKNOWN: ("cannot tell", WARN),
}
_EMULATED = "emulated"
_EMPTY, _OTHER = "empty", "another card"


def wanted_serial(app: App) -> int | None:
    """The serial of `--card`, in decimal, `cryptnox:` in front or not."""
    text = app.options.card
    if text is None or text.startswith(EMULATOR_PREFIX):
        return None
    serial = serial_of(f"{CARD_PREFIX}{text.removeprefix(CARD_PREFIX)}")
    if serial is None:
        raise CtlError(
            Exit.USAGE, f"--card: {text!r} is not a serial number", "cryptnoxctl list shows the serial numbers"
        )
    return serial


def candidates(app: App, reader: str | None = None) -> list[str]:
    """The readers a card may be in: the one named, here or by --reader, or all."""
    place = reader or app.options.reader or ""
    if reader is None and app.options.card is not None and app.options.card.startswith(EMULATOR_PREFIX):
        if place not in ("", app.options.card):
            raise CtlError(
                Exit.USAGE,
                f"--card {app.options.card} and --reader {place} name two different cards",
                "give only one of them",
            )
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
    what = "no reader has that name" if not found else f"{len(found)} readers have that name"
    raise CtlError(Exit.NO_CARD, f"--reader {place!r}: {what}", "cryptnoxctl list shows the readers")


@contextlib.contextmanager
def open_card(
    app: App, *, serial: int | None = None, channel: bool = True, initialised: bool = False, seeded: bool = False
) -> Iterator[OpenCard]:
    """The one card the options mean, selected and identified; with `channel` its secure channel is open where the card
    is initialised. Reset and released at the end, whatever happens. `serial`: of the card that it was a moment ago.

    CtlError for one that has no PIN and PUK yet, where it is to be `initialised`, or no keys, where `seeded`.
    """
    wanted = wanted_serial(app) if serial is None else serial
    with contextlib.closing(find_card(app, wanted, candidates(app), channel=channel)) as opened:
        if initialised and not opened.card.info.initialized:
            raise CtlError(Exit.REFUSED, "The card is not initialized", "cryptnoxctl setup")
        if seeded and not opened.card.info.seeded:
            raise CtlError(Exit.REFUSED, "The card has no seed", "cryptnoxctl setup")
        yield opened


def find_card(app: App, serial: int | None, places: list[str], *, channel: bool) -> OpenCard:
    """The card with a serial number, or the only one, in some of the readers; that it is the card it was before is
    checked. The caller closes it.

    Where there is none the last reason is raised why a card could not be read. A reader without a card of ours is one
    only where it is the only place; a card whose serial number cannot be read is one at once where none is asked for.
    """
    way = app.host.access
    found: list[int] = []
    unread: Exception | None = None
    with contextlib.ExitStack() as closing:
        for _, opened in way.scan(places, app.settings.wait):
            if not isinstance(opened, OpenCard):
                if may_be_ours(opened):
                    unread = opened
                elif len(places) == 1:
                    raise opened
                continue
            try:
                number = twice(opened.card, opened.card.read_certificate).serial
            except BaseException as error:
                opened.close()
                if serial is None or not isinstance(error, errors.CryptnoxError):
                    raise
                unread = error  # perhaps another card's trouble
                continue
            if serial not in (None, number) or found:
                opened.close()
            else:
                chosen = closing.enter_context(contextlib.closing(opened))
            if serial in (None, number):
                found.append(number)
        if len(found) == 1:
            if channel:
                way.identify(chosen, found[0])
            else:
                settle(chosen.card)
                chosen.card.read_certificate()
                chosen.hold()
            closing.pop_all()
            return chosen
    if found:
        cards = ", ".join(map(str, found))
        raise CtlError(Exit.USAGE, f"{len(found)} cards are here: {cards}", "choose one: --card SERIAL")
    if unread is not None:
        raise unread
    if not places:
        raise CtlError(Exit.NO_CARD, "There is no card reader", "plug one in, then: cryptnoxctl doctor")
    what = "No Cryptnox card was found" if serial is None else f"The card {serial} is not in any reader"
    raise CtlError(Exit.NO_CARD, what, "put the card into the reader; cryptnoxctl list shows which cards are here")


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
            raise CtlError(Exit.SECRET, f"A PUK has {PUK_LENGTH} characters. Nothing was sent to the card")
        return text
    if app.terminal.available:
        app.terminal.say(f"Card {opened.card.serial} in {opened.reader}")
    return app.terminal.puk()


def _typed_pin(app: App, card: Card, missing: NoPinError | None) -> tuple[str, bool]:
    """The PIN that the person types where no source gave one (`missing`: why), and whether it may cost the last try,
    which wants a typed confirmation."""
    if not app.terminal.available:
        raise missing or CtlError(
            Exit.SECRET,
            "A PIN is needed, and there is no terminal to ask on",
            "set CRYPTNOX_PIN_COMMAND, or give the PIN as the first line of stdin with --stdinpass",
        )
    if missing is not None:
        app.err.told(explain(missing).message, WARN)
    left = tries_left(card)
    if not left:
        raise CtlError(
            Exit.SECRET,
            "The card accepts no PIN now: it is blocked, or locked until you remove it and put it back",
            "remove the card, put it back, then: cryptnoxctl pin tries; if none are left: cryptnoxctl pin unblock",
        )
    if left == 1:
        app.terminal.typed(
            "One PIN try is left. A wrong PIN now blocks the card until you set a new PIN with the PUK.", LAST_TRY
        )
    return app.terminal.pin(f"PIN of card {card.serial} (at most {tries_text(left)} left)"), left == 1


def unlocker(app: App, *, typed: bool = False, second: bool = False) -> Unlocker:
    """PINs from stdin with --stdinpass, from the sources set up as for HWI (unless `typed`), else from the terminal.

    `second`: for the second of two cards: the PIN of stdin is the first one's, and is not sent to it.
    """
    given = app.secret_line("PIN") if app.options.stdin_pin and not second else None
    hidden = app.terminal.hidden if app.settings.approve and app.terminal.available else None
    return app.host.unlocker(given, typed=typed, person=partial(_typed_pin, app), hidden=hidden, say=app.ask_touch)


def unlock(app: App, opened: OpenCard, *, typed: bool = False) -> str | None:
    """Verify the PIN in the open channel and return it; None where a user key approved instead (never with `typed`).
    Raises what `admit` and `Unlocker.unlock` raise; CtlError where the card's answer was lost."""
    admit(app, opened)
    given = unlocker(app, typed=typed)
    if not typed and not opened.card.info.pin_auth:
        try:
            return given.unlock(opened.card, opened.reader)
        finally:
            if given.approval is not None:
                given.approval.close()
    try:
        return given.verify(opened.card, opened.reader)
    except (errors.TransportError, errors.ProtocolError) as error:
        problem = explain(error)
        raise CtlError(
            problem.exit_code,
            f"{problem.message}. If the PIN was already sent, it is not known whether it was right",
            "cryptnoxctl pin tries shows how many tries are left; a wrong PIN costs one",
        ) from error


def wallet(app: App, opened: OpenCard) -> Wallet:
    """The wallet on an open card; it reopens the card by itself after a fault."""
    return Wallet(opened.path, app.host.access, unlocker(app), opened=opened)


def other_card(
    app: App, second: str | None, serial: int, place: str | None = None, *, channel: bool = False
) -> OpenCard:
    """The second card: in its own reader, or in the place of the first (the reader `place`, or any)."""
    named = None if second is None else candidates(app, second)

    def look() -> OpenCard:
        places = named if named is not None else candidates(app) if place is None else [place]
        opened = find_card(app, None, places, channel=channel)
        if opened.card.serial != serial:
            return opened
        opened.close()
        if named is not None:
            raise CtlError(Exit.USAGE, "--second: this is the first card again")
        raise CtlError(Exit.NO_CARD, "That is still the first card")

    return look() if named is not None else swapped(app, f"Remove the card {serial} and insert the second card.", look)


def swapped(app: App, text: str, look: Callable[[], T]) -> T:
    """What `look` finds when the person has put a card in. An Enter too early costs nothing; LeftError after
    ten of them."""
    for _ in range(SWAPS):
        app.terminal.pause(f"\n{text}")
        try:
            return look()
        except LeftError:
            raise
        except (WalletError, errors.CryptnoxError) as error:
            problem = explain(error)
            app.terminal.say(f"{problem.message}. {problem.hint}".rstrip(". ") + ".")
    raise LeftError("Canceled: no card was inserted")


# What is said of a card


def version_text(info: AppletInfo) -> str:
    """The applet's version, dotted."""
    return ".".join(map(str, info.version))


def verdict_text(genuine: Genuineness, reader: str) -> str:
    """The verdict as in JSON. A card over TCP is never genuine: anybody can sign for one."""
    emulated = genuine is Genuineness.GENUINE and reader.startswith(EMULATOR_PREFIX)
    return _EMULATED if emulated else genuine.value


def judged(genuine: Genuineness, reader: str) -> tuple[str, str]:
    """The verdict in words, and its style."""
    text = verdict_text(genuine, reader)
    return (text, WARN) if text == _EMULATED else _JUDGED[genuine]


def card_state(info: AppletInfo) -> str:
    """How far a card is set up, in one word or two."""
    if not info.initialized:
        return "not initialized"
    return "ready" if info.seeded else "no seed"


def source_text(page: CardInfo) -> str:
    """Where the card's key comes from."""
    source = page.key_source
    return _KEY_SOURCES[source] if isinstance(source, KeySource) else f"unknown ({source:02x})"


@dataclass(frozen=True, slots=True)
class Seen:
    """One reader and what is in it."""

    reader: str
    state: str
    serial: int | None = None
    info: AppletInfo | None = None
    genuine: Genuineness | None = None

    @property
    def unread(self) -> bool:
        """Whether there may be a card of ours that could not be asked which it is."""
        return self.serial is None and self.state not in (_EMPTY, _OTHER)

    def data(self) -> dict[str, object]:
        """As in `list --json`."""
        return {
            "reader": self.reader,
            "state": self.state,
            "serial": None if self.serial is None else str(self.serial),
            "type": None if self.info is None else self.info.type_name,
            "version": None if self.info is None else version_text(self.info),
            "genuine": None if self.genuine is None else verdict_text(self.genuine, self.reader),
        }


def see(app: App, readers: list[str]) -> list[Seen]:
    """What is in each reader. What keeps a card from being asked is told as its state."""
    found = app.host.access.scan(readers, app.settings.enumerate_wait)
    return [_seen(reader, opened) for reader, opened in found]


def _seen(reader: str, opened: OpenCard | Exception) -> Seen:
    if isinstance(opened, errors.NoCardError):
        return Seen(reader, _EMPTY)
    if isinstance(opened, ForeignCardError):
        return Seen(reader, _OTHER)
    if isinstance(opened, errors.TransportError | errors.PinLockedError):
        return Seen(reader, _short(opened))
    if not isinstance(opened, OpenCard):
        raise opened
    try:
        certificate = twice(opened.card, opened.card.read_certificate)
        return Seen(reader, card_state(opened.card.info), certificate.serial, opened.card.info, opened.card.genuineness)
    except errors.CryptnoxError as error:
        return Seen(reader, _short(error), info=opened.card.info)
    finally:
        opened.close()


def _short(error: errors.CryptnoxError) -> str:
    if isinstance(error, errors.PinLockedError):
        return "locked: remove the card and put it back"
    return explain(error).message
