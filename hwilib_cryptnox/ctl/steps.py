"""The steps of setting a card up that `setup` takes with one card and with two."""

from __future__ import annotations

import secrets as system

from cryptnox_core.wire import COMMON_PAIRING_KEY, EMAIL_MAX, NAME_MAX, PAIRING_KEY_LENGTH
from hwilib_cryptnox.console.terminal import ATTEMPTS
from hwilib_cryptnox.ctl.app import App
from hwilib_cryptnox.ctl.cards import puk, unlocker
from hwilib_cryptnox.ctl.commands.info import judged
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.options import script_of, text_of
from hwilib_cryptnox.ctl.screen import GOOD, STRONG, WARN, Report, Screen
from hwilib_cryptnox.errors import LeftError
from hwilib_cryptnox.networks import Network
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.mnemonic import Expected
from hwilib_cryptnox.signer.provision import Provision
from hwilib_cryptnox.signer.stages import Stage

Owner = tuple[str | None, str | None]
"""Name and e-mail address as they were given; None: to be asked."""


def provision(app: App, opened: OpenCard, chain: str) -> Provision:
    """A card that was found, to be set up. Closes it where its certificate cannot be read."""
    try:
        return Provision(app.host.access, opened, app.terminal, Network.of_chain(chain).coin_type)
    except BaseException:
        opened.close()
        raise


def begin(app: App, work: Provision, owner: Owner, *, second: bool = False) -> None:
    """A card with PIN and PUK, which are proved, and without a seed: initialised where it is not.

    `second`: what comes by stdin is another card's.
    """
    card = work.card
    verdict, _ = judged(card.genuineness, work.opened.reader)
    app.terminal.say(f"Card {work.serial} ({card.info.type_name}) in {work.opened.reader}; genuine: {verdict}")
    work.admit()
    if not card.info.initialized:
        _initialise(app, work, owner)
        return
    app.terminal.say("It is initialised and holds no seed: it goes on from there, with the PUK and the PIN it has.")
    from_stdin = app.options.stdin_puk and not second
    given = unlocker(app, typed=True, second=second)
    work.take_over(
        (lambda: puk(app, work.opened)) if from_stdin else app.terminal.puk,
        lambda opened: given.unlock(opened.card, opened.reader),
        attempts=1 if from_stdin else ATTEMPTS,
    )


def _initialise(app: App, work: Provision, owner: Owner) -> None:
    terminal = app.terminal
    terminal.say(
        "\nThe PIN is asked for at every signature. 3 wrong ones lock the card until it is taken out, 6 block it."
    )
    pin = terminal.new_pin()
    chosen = _choose_puk(app)
    terminal.say("\nThe owner's name and e-mail address stand on the card. They may be empty.")
    name = _asked(app, "Name", NAME_MAX) if owner[0] is None else owner[0]
    email = _asked(app, "E-mail", EMAIL_MAX) if owner[1] is None else owner[1]
    terminal.say(
        "\nThe pairing key opens the secure channel. Every card comes with the common one; all programs know it."
    )
    terminal.say("An own one is kept on this computer: others cannot talk to the card then.")
    own = terminal.agrees("An own pairing key?")
    key = system.token_bytes(PAIRING_KEY_LENGTH) if own else COMMON_PAIRING_KEY
    nfc = terminal.agrees("May this card sign over NFC?") if work.is_nft else None
    terminal.confirm("\nInitialise the card now?")
    work.initialise(name, email, pin, chosen, key, nfc)


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
    raise LeftError


def _choose_puk(app: App) -> str:
    terminal = app.terminal
    terminal.say("\nThe PUK unblocks the PIN, resets the card and switches its settings. Keep it apart from the card.")
    if terminal.agrees("Choose it yourself? (No: one is drawn and shown once)"):
        return terminal.new_puk()
    return terminal.drawn_puk()


def settle(app: App, work: Provision, expected: Expected | None) -> None:
    """Compare the card with its words, where there are any, and switch xpub export on. The success is told here, before
    anything else can fail."""
    shown = work.finish(expected)
    proof = " Fingerprint, first address and account key are those of your words." if expected is not None else ""
    app.terminal.say(f"\nThe card {work.serial} holds the wallet {shown.fingerprint.hex()}.{proof}")


def report(app: App, work: Provision, backup: str, chain: str, *, checked: bool | None, check: str = "") -> Report:
    """What to write down of a card that is set up. Requires: `settle`.

    `checked`: whether the backup was compared with the card; None where there is none. `check`: the command for it.
    """
    shown = work.shown
    if shown is None or work.stage is not Stage.PROVED:
        raise CtlError(Exit.REFUSED, "The card was not compared")
    app.happened(f"The card {work.serial} is set up and holds the wallet {shown.fingerprint.hex()}")
    serial, fingerprint = str(work.serial), shown.fingerprint.hex()
    address = text_of(script_of(shown.key, "p2wpkh"), chain)
    data = {
        "serial": serial,
        "fingerprint": fingerprint,
        "path": str(shown.path),
        "address": address,
        "public_key": None,
        "xpub_export": True,
        "backup": backup,
        "backup_checked": checked,
    }
    use = "cryptnoxctl sheet writes down what belongs with the backup; cryptnoxctl export, or your wallet's own menu"

    def show(screen: Screen) -> None:
        screen.line("The card is ready.", GOOD)
        screen.fields(
            [
                ("Serial number", serial, STRONG),
                ("Fingerprint", fingerprint, STRONG),
                ("First address", f"{address} ({shown.path})", STRONG),
                ("Backup", backup),
                ("Write down", "serial number, fingerprint, first address: with them you know your wallet again"),
                ("Next", f"{check}; then {use}" if check else use),
            ]
        )
        if checked is False:
            screen.line("The backup was NOT compared with the card. Do so before money arrives.", WARN)

    return Report(data, show)


def nft_report(app: App, work: Provision, backup: str) -> Report:
    """An NFT card has one key: no tree, no fingerprint that wallets know."""
    serial, key = str(work.serial), work.single_key().hex()
    app.terminal.say(f"\nThe card {serial} holds its key.")
    app.happened(f"The card {serial} is set up and holds its key {key}")
    data = {
        "serial": serial,
        "fingerprint": None,
        "path": None,
        "address": None,
        "public_key": key,
        "xpub_export": False,
        "backup": backup,
        "backup_checked": None,
    }

    def show(screen: Screen) -> None:
        screen.line("The card is ready.", GOOD)
        screen.fields([("Serial number", serial, STRONG), ("Public key", key, STRONG), ("Backup", backup)])

    return Report(data, show)
