"""`pin-auth`: whether the card takes a PIN at all."""

from __future__ import annotations

import contextlib
from enum import Enum
from functools import partial
from pathlib import Path as FilePath

import click

from cryptnox_core.bip32 import Path
from cryptnox_core.commands.signing import Sign
from cryptnox_core.errors import CryptnoxError, NotAllowedError, ProtocolError, StatusWordError, TransportError
from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import admit, open_card, puk, unlock
from hwilib_cryptnox.ctl.changes import away, switch, until_answered
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import OLD_FILE
from hwilib_cryptnox.ctl.screen import BAD, GOOD, WARN, Report, said
from hwilib_cryptnox.ctl.tokens import FileKey, Named, approval_by, token_key, token_options
from hwilib_cryptnox.pin.approval import check_place
from hwilib_cryptnox.pin.approver import Approver
from hwilib_cryptnox.pin.pkcs11 import TokenApprover
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.faults.irreversible import Words, come_back
from hwilib_cryptnox.signer.signatures.taproot import Taproot, known
from hwilib_cryptnox.storage.audit import TRIAL_DIGEST

pin_auth = CtlGroup("pin-auth", help="Turn PIN authentication on or off.")

_TRIAL_PATH = Path.parse("m/0")
_GAIN = (
    "With PIN authentication off the card signs only what a user key approves, one use of the key for each signature.",
    "What it gives: malware that has read your PIN gets no signature without the key. Where the token needs a touch "
    "for each use, every signature needs your finger.",
    "What it does not give: a touch shows that you are there, not what is signed. Malware can have something else "
    "approved by the touch that you give. Compare what you sign as before.",
    "The PUK undoes it: cryptnoxctl pin-auth on. That is also your only way back when the key is lost. Keep the PUK "
    "away from this computer, and know where it is before you continue.",
)
_PINLESS = (
    "This card has a PIN-less path. Its key still signs without the PIN and without the user key: "
    "cryptnoxctl pinless clear"
)
_MUSIG2 = (
    "This card's applet has MuSig2. The touch that opens the card to read keys opens the card for MuSig2, too: until "
    "the card is closed, malware could have anything signed that way, without a further touch. The programs of this "
    "package use no MuSig2 in this mode"
)
_OFF_ALREADY = "The card says that PIN authentication is off already"
_LAX = (
    "This card signed with the PIN alone while PIN authentication was off. On this card the mode protects nothing, "
    "and malware that has your PIN can have anything signed. PIN authentication is on again"
)


class Trial(Enum):
    """Whether the card signs with the PIN while PIN authentication is off."""

    REFUSED = "refused"
    SIGNED = "signed"
    UNKNOWN = "unknown"


@pin_auth.command("on")
def pin_auth_on(app: App) -> Report:
    """Accept the PIN again. Needs the PUK."""
    with open_card(app, initialised=True) as opened:
        _switch(app, opened, puk(app, opened), on=True)
        return said({"serial": str(opened.card.serial), "pin_auth": True}, *app.achieved)


@pin_auth.command("off")
@token_options
@click.option("--private-key", "file", type=OLD_FILE, help="The key is in this PEM file, for use with other software.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
def pin_auth_off(
    app: App, module: str | None, token: str | None, key: str | None, file: FilePath | None, yes: bool
) -> Report:
    """Let the card sign only what a user key approves, never by PIN.

    The key is the one that the options name, or `approve` in the configuration. It must answer the card's challenge
    first. Then one signature is tried with the PIN, over a hash that no transaction can have. If the card makes it,
    PIN authentication is turned on again. Needs the PIN and the PUK.
    """
    named = Named(module, token, key)
    if file is not None and named:
        raise CtlError(Exit.USAGE, "--private-key and --pkcs11 are two keys", "name one")
    approving: Approver = FileKey(file) if file is not None else token_key(app, named)
    with contextlib.closing(approving), open_card(app, seeded=True) as opened:
        info, serial = opened.card.info, str(opened.card.serial)
        if not info.pin_auth:
            return said(
                {"serial": serial, "pin_auth": False, "trial": None},
                _OFF_ALREADY,
                "To try the key and the card once more: cryptnoxctl pin-auth on, then cryptnoxctl pin-auth off",
            )
        if info.tells_user_keys and not info.user_keys:
            raise CtlError(
                Exit.REFUSED, "The card has no user key, so nothing could authenticate", "cryptnoxctl user-key add"
            )
        has_musig2 = known(app.state, opened.card) in (Taproot.SIGNS, Taproot.DIFFERS)
        warnings = [*([_PINLESS] if info.pinless_path else []), *([_MUSIG2] if has_musig2 else [])]
        for line in (*_GAIN, *warnings):
            app.note(line, WARN if line in warnings else "")
        admit(app, opened)
        if file is None and not named:
            check_place(opened.card, app.settings)
        approving.ready()
        pin = unlock(app, opened)
        if pin is None:
            raise CtlError(Exit.REFUSED, _OFF_ALREADY)
        if approval_by(app, approving).answer(opened.card) is None:
            raise CtlError(
                Exit.REFUSED,
                f"The card does not accept the key {approving.name}; nothing was changed",
                "cryptnoxctl user-key list shows the keys that it knows; cryptnoxctl user-key add registers one",
            )
        app.note(f"The card accepts the key {approving.name}", GOOD)
        if not yes:
            app.terminal.confirm(
                f"From now on nothing signs with the card {serial} without this key. Do you have its PUK, and continue?"
            )
        secret = puk(app, opened)
        _switch(app, opened, secret, on=False)
        trial = _try_pin(app, opened, pin)
        if trial is Trial.SIGNED:
            _switch(app, opened, secret, on=True)
            app.achieved.clear()  # it is undone
            raise CtlError(Exit.REFUSED, _LAX, "protect this card as before; for consent by hardware use another card")
        data = {"serial": serial, "pin_auth": False, "trial": trial.value}
        if trial is Trial.UNKNOWN:
            return said(
                data,
                *app.achieved,
                ("Whether the card still signs with the PIN could not be tried", BAD),
                "Try it: cryptnoxctl pin-auth on, then cryptnoxctl pin-auth off",
                exit_code=Exit.REFUSED,
            )
        tried = ("The card refused a signature with the PIN", GOOD)
        return said(data, *app.achieved, tried, *_next(approving, configured=not named))


def _next(approving: Approver, *, configured: bool) -> list[str]:
    """What to do so that wallets use the key."""
    back = "The way back: cryptnoxctl pin-auth on (needs the PUK)"
    if not isinstance(approving, TokenApprover):
        return ["No program of this package signs with a key in a file: sign with the software that does", back]
    if configured:
        return [back]
    return ["So that wallets use the key, put this line into config.toml:", f'approve = "{approving.uri}"', back]


def _switch(app: App, opened: OpenCard, secret: str, *, on: bool) -> None:
    word = "on" if on else "off"
    words = Words(
        done=f"PIN authentication is {word}",
        kept=f"PIN authentication is not {word}; nothing was changed",
        either=f"PIN authentication may or may not be {word} now",
        keep=until_answered(f"cryptnoxctl pin-auth {word}"),
    )

    def asked(opened: OpenCard) -> bool:
        app.host.access.open_channel(opened.card)
        try:
            opened.card.pin_tries_left()
        except NotAllowedError:
            return not on
        return on

    switch(app, opened, words, lambda card: card.set_pin_auth(on, secret), lambda info: info.pin_auth is on, asked)


def _try_pin(app: App, opened: OpenCard, pin: str) -> Trial:
    """Whether the card signs with the PIN, in a session without any other authentication. The PIN is the one that the
    card accepted a moment ago. What it signs is thrown away; the digest is that of no transaction and no message."""
    for _ in range(2):
        try:
            opened.card.select()
            app.host.access.open_channel(opened.card)
            with contextlib.suppress(StatusWordError):
                opened.card.verify_pin(pin)
            opened.card.send(Sign(TRIAL_DIGEST, pin=pin, path=_TRIAL_PATH))
            return Trial.SIGNED
        except StatusWordError:
            return Trial.REFUSED
        except (TransportError, ProtocolError):
            with contextlib.suppress(CryptnoxError):
                come_back(app.host.access, opened, partial(away, app))
    return Trial.UNKNOWN
