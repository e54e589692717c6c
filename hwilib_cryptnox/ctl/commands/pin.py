"""`pin`: change, verify or unblock it, and see the tries that are left."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import click

from cryptnox_core.card import Card
from cryptnox_core.errors import CryptnoxError, NotAllowedError, WrongPukError
from cryptnox_core.wire import PIN_TRIES_SESSION, Sw
from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import admit, open_card, puk, unlock
from hwilib_cryptnox.ctl.changes import change
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.screen import Report, said
from hwilib_cryptnox.errors import RefusedPinError, SoftLockedError
from hwilib_cryptnox.pin.policy import Unlocker, tries_left
from hwilib_cryptnox.pin.sources import outdated
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.faults.irreversible import End, Words, is_puk

pin = CtlGroup("pin", help="Change, verify, or unblock the PIN; show the tries left.")

SPARE_TRIES = 3
"""So many are left before a PIN is tried only to see whether the card has it: one for it, one for the old one."""


@pin.command("tries")
def pin_tries(app: App) -> Report:
    """Show how many PIN tries are left. Spends none."""
    with open_card(app, initialised=True) as opened:
        left, serial = tries_left(opened.card), str(opened.card.serial)
    text = (
        "No PIN tries are left. Remove the card, put it back, and ask again. If there are still none, the PIN is "
        "blocked: cryptnoxctl pin unblock (needs the PUK)"
    )
    if left:
        text = f"At most {left} PIN tries are left" if left > 1 else "At most one PIN try is left"
        if left <= PIN_TRIES_SESSION:
            text += " (a card allows 3 before it must be removed and put back, and 6 in all)"
    return said({"serial": serial, "pin_tries_left": left}, text)


@pin.command("verify")
def pin_verify(app: App) -> Report:
    """Check the PIN. The right one clears the note of a refusal, so that PIN sources you set up are used again."""
    with open_card(app, initialised=True) as opened:
        unlock(app, opened, typed=True)
        return said({"serial": str(opened.card.serial), "verified": True}, "The PIN is correct")


@pin.command("change")
@click.option("--with-puk", is_flag=True, help="Set the PIN with the PUK instead of the current PIN.")
def pin_change(app: App, with_puk: bool) -> Report:
    """Change the PIN: the current one first, then the new one twice."""
    with open_card(app, initialised=True) as opened:
        old = secret = None
        if with_puk:
            admit(app, opened)
            _check_not_blocked(opened)
            secret = puk(app, opened)
        else:
            old = unlock(app, opened, typed=True)
        new, serial = app.terminal.new_pin(), opened.card.serial
        words = Words(
            done=f"The PIN of the card {serial} was changed",
            kept="the card still has its old PIN",
            either="the card may already have the new PIN, or still the old one",
            keep="Keep both PINs. cryptnoxctl pin tries shows how many tries are left; if more than one is left, try "
            "the new PIN: cryptnoxctl pin verify. With the PUK you can set a new PIN: cryptnoxctl pin change "
            "--with-puk",
            other="The card refuses the new PIN: it still has the old one, or a different one",
            remedy="set a new PIN with the PUK, in another reader: cryptnoxctl pin change --with-puk",
        )
        look = _PinLook(app, new, old)

        def send(card: Card) -> None:
            card.change_pin(new, puk=secret)
            look.answered = True

        try:
            change(app, opened, words, send, look, prove=True, doubted=False)
        except WrongPukError as error:
            raise _why_refused(app, opened, secret, error) from error
    return _has_new_pin(app, serial, new, {"changed": True})


def _check_not_blocked(opened: OpenCard) -> None:
    """A blocked PIN is set by UNBLOCK PIN; the card answers CHANGE PIN with the status word of a wrong PUK."""
    if opened.card.info.pin_auth and not tries_left(opened.card):
        raise CtlError(
            Exit.SECRET,
            "No PIN tries are left: the PIN is blocked, or locked until you remove the card and put it back. Nothing "
            "was sent",
            "remove the card, put it back, then: cryptnoxctl pin tries; if none are left: cryptnoxctl pin unblock",
        )


def _why_refused(app: App, opened: OpenCard, secret: str | None, error: WrongPukError) -> Exception:
    """Of a status word that means a wrong PUK, and other things too."""
    if error.sw == Sw.CONDITIONS and secret is not None:
        with contextlib.suppress(CryptnoxError):  # then nothing better is known
            if is_puk(app.host.access, opened, secret):
                return CtlError(
                    Exit.REFUSED,
                    "The PUK is right, but the card does not allow a PIN change now",
                    "remove the card, put it back, then: cryptnoxctl pin tries",
                )
    return error


@dataclass(slots=True)
class _PinLook:
    """Whether the card has the new PIN: tried once, where tries can be spared. Where it is refused, and the card did
    not say that it has taken one, the old PIN is verified, if it is known: it was right a moment ago, and brings the
    count back."""

    app: App
    new: str = field(repr=False)
    old: str | None = field(repr=False)
    answered: bool = False
    """The card said that it has taken a PIN."""
    _tried_at: int | None = None
    _refused: bool = False

    def __call__(self, opened: OpenCard) -> End:
        card, new_session = opened.card, not opened.card.channel_open
        if new_session:
            self.app.host.access.open_channel(card)
        if not card.info.pin_auth:
            if self.answered:
                self.app.note(
                    "PIN authentication is off, so the new PIN could not be tested. The card says that it has it"
                )
            return End.TAKEN if self.answered else End.UNKNOWN
        left = tries_left(card)
        if not left and not new_session:
            raise SoftLockedError  # some cards count the tries of a session: asked again after a power cycle
        if not self._refused and not self._try_new(opened, left):
            return End.UNKNOWN
        if not self._refused:
            return End.TAKEN
        if self.answered:
            return End.OTHER
        if self.old is not None and tries_left(card) > 1 and not self._accepted(opened, self.old):
            return End.OTHER
        return End.NOT_TAKEN

    def _try_new(self, opened: OpenCard, left: int) -> bool:
        """Whether the new PIN was tried, and its end is known. It is sent a second time only where the counter, one of
        tries in all, proves that the first was not refused."""
        again = self._tried_at is not None
        if left < SPARE_TRIES or (again and (left <= PIN_TRIES_SESSION or left != self._tried_at)):
            return False
        self._tried_at = left
        self._refused = not self._accepted(opened, self.new)
        return True

    def _accepted(self, opened: OpenCard, pin: str) -> bool:
        try:
            Unlocker(self.app.settings, self.app.state, pin).verify(opened.card, opened.reader)
        except RefusedPinError as error:
            if error.spent:
                return False
            raise
        return True


def _has_new_pin(app: App, serial: int, new: str, data: dict[str, object]) -> Report:
    """The report, with what still gives the old PIN."""
    sources = outdated(app.settings, serial, new)
    lines = [*app.achieved]
    if sources:
        lines.append(
            f"Change it there too before you use a wallet: {', '.join(sources)} may still give the old PIN, and a "
            "wrong PIN costs a try"
        )
    return said({"serial": str(serial), **data, "sources": sources}, *lines)


@pin.command("unblock")
def pin_unblock(app: App) -> Report:
    """Set a new PIN on a card whose PIN is blocked, with the PUK."""
    with open_card(app, initialised=True) as opened:
        if tries_left(opened.card):
            raise CtlError(
                Exit.REFUSED,
                "The PIN is not blocked; nothing was sent",
                "if you forgot the PIN: cryptnoxctl pin change --with-puk",
            )
        secret = puk(app, opened)
        new, serial = app.terminal.new_pin(), opened.card.serial
        look = _PinLook(app, new, None)

        def send(card: Card) -> None:
            card.unblock_pin(puk=secret, new_pin=new)
            look.answered = True

        def unblocked(opened: OpenCard) -> End:
            if opened.card.channel_open:
                return look(opened)
            app.host.access.open_channel(opened.card)
            return look(opened) if tries_left(opened.card) else End.NOT_TAKEN

        words = Words(
            done=f"The card {serial} has a new PIN",
            kept="the card did not take the new PIN",
            either="the card may already have the new PIN",
            keep="Keep the new PIN and the PUK. cryptnoxctl pin tries: if none are left, the PIN is still blocked "
            "(cryptnoxctl pin unblock); if more than one is left, try the new PIN (cryptnoxctl pin verify)",
            other="The card refuses the new PIN: it has a different one",
            remedy="set a new PIN with the PUK, in another reader: cryptnoxctl pin change --with-puk",
        )
        try:
            change(app, opened, words, send, unblocked, prove=True, doubted=False)
        except NotAllowedError as error:
            raise CtlError(
                Exit.REFUSED,
                "The card says that the PIN is locked, not blocked",
                "remove the card, put it back, then: cryptnoxctl pin tries",
            ) from error
    return _has_new_pin(app, serial, new, {"unblocked": True})
