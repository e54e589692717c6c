"""The steps of setting a card up that `setup` takes with one card and with two."""

from __future__ import annotations

import secrets as system
import string
from dataclasses import dataclass, field

from cryptnox_core.bip32 import Path
from cryptnox_core.errors import StatusWordError
from cryptnox_core.session import Card
from cryptnox_core.wire import COMMON_PAIRING_KEY, EMAIL_MAX, NAME_MAX, PAIRING_KEY_LENGTH, PUK_LENGTH
from hwilib_cryptnox.access import OpenCard
from hwilib_cryptnox.ctl.cards import PersonUnlocker, access, identify, unlocker
from hwilib_cryptnox.ctl.chains import account_of, script_of, text_of
from hwilib_cryptnox.ctl.errors import CanceledError, CtlError, Exit
from hwilib_cryptnox.ctl.frame import App
from hwilib_cryptnox.ctl.look import judged
from hwilib_cryptnox.ctl.prompts import ATTEMPTS
from hwilib_cryptnox.ctl.screen import GOOD, STRONG, Report, Screen
from hwilib_cryptnox.session import authenticate

_PUK_ALPHABET = string.digits


@dataclass(slots=True)
class Opened:
    """A card being set up, and what was typed for it."""

    found: OpenCard
    pin: str = field(repr=False)
    puk: str | None = field(default=None, repr=False)

    @property
    def card(self) -> Card:
        """The card."""
        return self.found.card


def begin(app: App, found: OpenCard, owner: tuple[str | None, str | None]) -> Opened:
    """Initialise the card where it is not, open its channel, verify the PIN. Closes the card where that fails."""
    try:
        card, serial = found.card, found.card.serial
        verdict, _ = judged(card.genuineness, found.reader)
        app.terminal.say(f"Card {serial} ({card.info.type_name}) in {found.reader}; genuine: {verdict}")
        if card.info.seeded:
            raise CtlError(
                Exit.REFUSED,
                "There is a wallet on this card already; nothing was changed",
                "to use it: cryptnoxctl adopt; to erase it: cryptnoxctl reset (needs the PUK)",
            )
        if card.info.initialized:
            app.terminal.say("It is initialised and holds no seed: it goes on from there, with the PIN it has.")
            identify(access(app), found)
            return Opened(found, unlocker(app, typed=True).unlock(card, found.reader))
        return _initialise(app, found, owner)
    except BaseException:
        found.close()
        raise


def _initialise(app: App, found: OpenCard, owner: tuple[str | None, str | None]) -> Opened:
    terminal, card = app.terminal, found.card
    terminal.say(
        "\nThe PIN is asked for at every signature. 3 wrong ones lock the card until it is taken out, 6 block it."
    )
    pin = terminal.new_pin()
    puk = _choose_puk(app)
    terminal.say("\nThe owner's name and e-mail address stand on the card. They may be empty.")
    name = _asked(app, "Name", NAME_MAX) if owner[0] is None else owner[0]
    email = _asked(app, "E-mail", EMAIL_MAX) if owner[1] is None else owner[1]
    terminal.say(
        "\nThe pairing key opens the secure channel. Every card comes with the common one; all programs know it."
    )
    terminal.say("An own one is kept on this computer: others cannot talk to the card then.")
    own = terminal.agrees("An own pairing key?")
    key = system.token_bytes(PAIRING_KEY_LENGTH) if own else COMMON_PAIRING_KEY
    nfc = terminal.agrees("May this card sign over NFC?") if card.info.is_nft else None
    terminal.confirm("\nInitialise the card now?")
    serial = card.serial
    app.state.forget(serial)
    app.state.keep_pairing_key(serial, key if own else None)
    try:
        card.init(name, email, pin=pin, puk=puk, pairing_key=key, nft_nfc_sign=nfc)
    except StatusWordError:
        app.state.keep_pairing_key(serial, None)
        raise
    # After any other fault the card may be initialised all the same, and its own key is still needed.
    identify(access(app), found)
    PersonUnlocker(app.settings, app.state, pin).unlock(card, found.reader)
    return Opened(found, pin, puk)


def check_owner(name: str | None, email: str | None) -> None:
    """CtlError USAGE for what cannot stand on a card, told before anything is asked."""
    for what, text, most in (("--name", name, NAME_MAX), ("--email", email, EMAIL_MAX)):
        problem = _fault(text or "", most)
        if problem:
            raise CtlError(Exit.USAGE, f"{what}: {problem}")


def _fault(text: str, most: int) -> str:
    if len(text.encode("utf-8", "surrogateescape")) > most:
        return f"at most {most} bytes fit on the card"
    return "" if text.isprintable() else "there are characters in it that cannot be shown"


def _asked(app: App, what: str, most: int) -> str:
    for _ in range(ATTEMPTS):
        text = app.terminal.ask(what)
        problem = _fault(text, most)
        if not problem:
            return text
        app.terminal.say(problem)
    raise CanceledError


def _choose_puk(app: App) -> str:
    terminal = app.terminal
    terminal.say("\nThe PUK unblocks the PIN, resets the card and switches its settings. Keep it apart from the card.")
    if not terminal.agrees("Choose it yourself? (No: one is drawn and shown once)"):
        drawn = "".join(system.choice(_PUK_ALPHABET) for _ in range(PUK_LENGTH))
        while True:
            terminal.show_secret(["Your PUK. Write it down. It is shown only now.", "", f"  {drawn}"])
            if terminal.puk("Type it back") == drawn:
                return drawn
            terminal.say("That is not the PUK shown")
            if not terminal.agrees("Show it again?"):
                raise CanceledError
    return terminal.new_puk()


def finish(app: App, opened: Opened, backup: str, chain: str, *, check: str = "cryptnoxctl backup check") -> Report:
    """Switch xpub export on, read fingerprint and first address, say what to write down.

    `check`: the command that compares the card with its backup; empty where there is none.
    """
    card = opened.card
    if card.info.is_nft:
        return _nft(opened, backup)
    if not card.info.xpub_export:
        if opened.puk is None:
            app.terminal.say("Wallets need the card's extended public keys; switching their export on takes the PUK.")
            opened.puk = app.terminal.puk()
        card.set_xpub_export(True, opened.puk)
    path, address, fingerprint = first_address(app, opened, chain)
    serial = str(card.serial)
    use = "cryptnoxctl export, or your wallet's own menu"
    data = {
        "serial": serial,
        "fingerprint": fingerprint.hex(),
        "path": str(path),
        "address": address,
        "public_key": None,
        "xpub_export": True,
        "backup": backup,
    }

    def show(screen: Screen) -> None:
        screen.line("The card is ready.", GOOD)
        screen.fields(
            [
                ("Serial number", serial, STRONG),
                ("Fingerprint", fingerprint.hex(), STRONG),
                ("First address", f"{address} ({path})", STRONG),
                ("Backup", backup),
                ("Write down", "serial number, fingerprint, first address: with them you know your wallet again"),
                ("Next", f"{check}; then {use}" if check else use),
            ]
        )

    return Report(data, show)


def _nft(opened: Opened, backup: str) -> Report:
    """An NFT card has one key: no tree, no fingerprint that wallets know."""
    serial, key = str(opened.card.serial), opened.card.public_key().hex()
    data = {
        "serial": serial,
        "fingerprint": None,
        "path": None,
        "address": None,
        "public_key": key,
        "xpub_export": False,
        "backup": backup,
    }

    def show(screen: Screen) -> None:
        screen.line("The card is ready.", GOOD)
        screen.fields([("Serial number", serial, STRONG), ("Public key", key, STRONG), ("Backup", backup)])

    return Report(data, show)


def first_address(app: App, opened: Opened, chain: str) -> tuple[Path, str, bytes]:
    """Path and text of the first segwit address, and the fingerprint, which this computer remembers from now on."""
    given = PersonUnlocker(app.settings, app.state, opened.pin)
    session = authenticate(opened.found, given)
    path = account_of("p2wpkh", chain, 0).child(0).child(0)
    key = opened.card.public_key(path)
    return path, text_of(script_of(key, "p2wpkh"), chain), session.fingerprint
