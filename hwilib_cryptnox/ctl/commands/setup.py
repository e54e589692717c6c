"""`setup`: from an unopened card to a usable wallet, step by step; or two cards for one secret."""

from __future__ import annotations

import contextlib
import secrets as system

import click

from cryptnox_core.card import Card
from cryptnox_core.wire import COMMON_PAIRING_KEY, EMAIL_MAX, NAME_MAX, PAIRING_KEY_LENGTH
from hwilib_cryptnox.console.terminal import ATTEMPTS
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import (
    candidates,
    find_card,
    judged,
    other_card,
    puk,
    swapped,
    unlocker,
    wanted_serial,
)
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.options import chain_option, script_of, text_of
from hwilib_cryptnox.ctl.screen import GOOD, STRONG, WARN, Part, Report, Row, said
from hwilib_cryptnox.errors import EndedError, LeftError
from hwilib_cryptnox.networks import Network
from hwilib_cryptnox.signer import mnemonic
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.provision import Provision, said_of, telling
from hwilib_cryptnox.signer.stages import Stage

SEEDS = {
    "new": "new words: this computer and the card draw a mnemonic, you write it down. The usual choice",
    "restore": "your words: load a mnemonic you have on paper already",
    "dual": "two cards make one secret together: each is the other's backup, nobody ever sees it",
    "card": "made on this card alone: no backup at all; the money is lost with the card",
}
NO_BACKUP = "no backup"
_ALONE = "There is no backup. Keep little money on this card."
_Owner = tuple[str | None, str | None]
"""Name and e-mail address as they were given; None: to be asked."""


@command("setup")
@click.option("--seed", "choice", type=click.Choice(list(SEEDS)), help="Where the secret comes from.")
@click.option("--words", type=click.Choice(["12", "24"]), help="Length of a new mnemonic, instead of asking.")
@click.option("--name", help="The owner's name on the card, instead of asking.")
@click.option("--email", help="The owner's e-mail address on the card, instead of asking.")
@click.option("--second", metavar="READER", help="Dual: the reader with the second card.")
@chain_option
def setup(
    app: App, choice: str | None, words: str | None, name: str | None, email: str | None, second: str | None, chain: str
) -> Report:
    """Make a usable wallet of a card: PIN, PUK, owner, seed, export. Asks before every step; needs a terminal.

    Interrupted, it says what is true of the card; given again, it goes on from there.
    """
    if not app.terminal.available:
        raise CtlError(Exit.USAGE, "Setting a card up needs a terminal: secrets are typed and shown")
    _check_owner(name, email)
    owner = (name, email)
    opened = find_card(app, wanted_serial(app), candidates(app), channel=False)
    with telling(_provision(app, opened, chain)) as work:
        if work.is_nft and choice not in (None, "card"):
            raise CtlError(Exit.USAGE, "An NFT card makes its one key itself")
        if choice == "dual" and second is not None:
            _look_ahead(app, second, work.serial)
        _begin(app, work, owner)
        chosen = "card" if work.is_nft else choice
        if chosen is None:
            app.terminal.say("\nWhere does the secret come from?")
            chosen = app.terminal.choose("Your choice", SEEDS)
        if chosen == "dual":
            return _dual(app, work, owner, second, chain)
        if chosen == "card":
            return _card(app, work, chain)
        return _new(app, work, words, chain) if chosen == "new" else _restore(app, work, chain)


def _card(app: App, work: Provision, chain: str) -> Report:
    app.terminal.say("Nobody can copy a secret made on the card. When the card is lost, the money is.")
    app.terminal.typed("", NO_BACKUP)
    work.check = ""
    work.generate()
    if work.is_nft:
        return _nft_report(app, work, _ALONE)
    _settle(app, work, None)
    return _report(app, work, _ALONE, chain, checked=None)


def _new(app: App, work: Provision, count: str | None, chain: str) -> Report:
    if count is None:
        explained = {"12": "words: 128 bits, enough", "24": "words: 256 bits, as some wallets want them"}
        count = app.terminal.choose("How many words", explained)
    expected = work.new_seed(int(count))
    _settle(app, work, expected)
    checked = mnemonic.check_backup(app.terminal, lambda typed: typed == expected)
    check = "" if checked else f"cryptnoxctl backup check --card {work.serial}"
    return _report(app, work, f"The {count} words on your paper are the backup.", chain, checked=checked, check=check)


def _restore(app: App, work: Provision, chain: str) -> Report:
    """The words come from the paper, and the card is compared with them: the backup is checked by that."""
    expected = mnemonic.ask_seed(app.terminal)
    work.restore(expected)
    _settle(app, work, expected)
    backup = "The words on your paper (with the passphrase, if you gave one) are the backup."
    return _report(app, work, backup, chain, checked=True)


# The steps, with one card and with two


def _provision(app: App, opened: OpenCard, chain: str) -> Provision:
    """A card that was found, to be set up. Closes it where its certificate cannot be read."""
    try:
        return Provision(app.host.access, opened, app.terminal, Network.of_chain(chain).coin_type)
    except BaseException:
        opened.close()
        raise


def _begin(app: App, work: Provision, owner: _Owner, *, second: bool = False) -> None:
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


def _initialise(app: App, work: Provision, owner: _Owner) -> None:
    terminal = app.terminal
    terminal.say(
        "\nThe PIN is asked for at every signature. 3 wrong ones lock the card until it is taken out, 6 block it."
    )
    pin = terminal.new_pin()
    terminal.say("\nThe PUK unblocks the PIN, resets the card and switches its settings. Keep it apart from the card.")
    own_puk = terminal.agrees("Choose it yourself? (No: one is drawn and shown once)")
    chosen = terminal.new_puk() if own_puk else terminal.drawn_puk()
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


def _check_owner(name: str | None, email: str | None) -> None:
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


def _settle(app: App, work: Provision, expected: mnemonic.Expected | None) -> None:
    """Compare the card with its words, where there are any, and switch xpub export on. The success is told here, before
    anything else can fail."""
    shown = work.finish(expected)
    proof = " Fingerprint, first address and account key are those of your words." if expected is not None else ""
    app.terminal.say(f"\nThe card {work.serial} holds the wallet {shown.fingerprint.hex()}.{proof}")


def _report(app: App, work: Provision, backup: str, chain: str, *, checked: bool | None, check: str = "") -> Report:
    """What to write down of a card that is set up. Requires: `_settle`.

    `checked`: whether the backup was compared with the card; None where there is none. `check`: the command for it.
    """
    shown = work.shown
    if shown is None or work.stage is not Stage.PROVED:
        raise CtlError(Exit.REFUSED, "The card was not compared")
    fingerprint, address = shown.fingerprint.hex(), text_of(script_of(shown.key, "p2wpkh"), chain)
    app.happened(f"The card {work.serial} is set up and holds the wallet {fingerprint}")
    data = {
        "fingerprint": fingerprint,
        "path": str(shown.path),
        "address": address,
        "xpub_export": True,
        "backup_checked": checked,
    }
    use = "cryptnoxctl sheet writes down what belongs with the backup; cryptnoxctl export, or your wallet's own menu"
    rows: list[Row] = [
        ("Fingerprint", fingerprint, STRONG),
        ("First address", f"{address} ({shown.path})", STRONG),
        ("Backup", backup),
        ("Write down", "serial number, fingerprint, first address: with them you know your wallet again"),
        ("Next", f"{check}; then {use}" if check else use),
    ]
    warning = ("The backup was NOT compared with the card. Do so before money arrives.", WARN)
    return _ready(work, backup, data, rows, *([warning] if checked is False else []))


def _nft_report(app: App, work: Provision, backup: str) -> Report:
    """An NFT card has one key: no tree, no fingerprint that wallets know."""
    key = work.single_key().hex()
    app.terminal.say(f"\nThe card {work.serial} holds its key.")
    app.happened(f"The card {work.serial} is set up and holds its key {key}")
    return _ready(work, backup, {"public_key": key}, [("Public key", key, STRONG), ("Backup", backup)])


def _ready(work: Provision, backup: str, told: dict[str, object], rows: list[Row], *parts: Part) -> Report:
    serial = str(work.serial)
    data = {
        "serial": serial,
        **dict.fromkeys(("fingerprint", "path", "address", "public_key")),
        "xpub_export": False,
        "backup": backup,
        "backup_checked": None,
        **told,
    }
    rows = [("Serial number", serial, STRONG), *rows]
    return said(data, ("The card is ready.", GOOD), lambda screen: screen.fields(rows), *parts)


# Two cards that make one secret together


def _dual(app: App, first: Provision, owner: _Owner, second: str | None, chain: str) -> Report:
    """The keys cross over: each card takes the other's signed key. Both cards show the same wallet at the end.

    `second` is the reader of the second card; None: it takes the first one's place. A card whose part is done waits for
    the other's: it is asked for again until the person gives up, and then it is said which card has to be reset.
    """
    first.check = f"cryptnoxctl backup check --second-card --card {first.serial}"
    place = first.opened.reader
    own = first.dual_start()
    first.line.leave()
    with telling(_provision(app, other_card(app, second, first.serial, place), chain)) as other:
        other.check = f"cryptnoxctl backup check --second-card --card {other.serial}"
        try:
            _check_second(other.card, first.serial)
            _begin(app, other, owner, second=True)
            theirs = other.dual_start()
        except (Exception, KeyboardInterrupt) as error:
            ended = other.ended(error)
            raise EndedError(error, f"{ended}; {first.truth()[0]}", hint=ended.hint) from error
        try:
            other.dual_finish(own)
            shown = other.finish(None)
            other.line.leave()
            if second is None:
                text = f"Take the second card out and put the card {first.serial} in again."
                swapped(app, text, first.line.reopen)
            first.dual_finish(theirs)
            first.finish(shown)
            backup = f"The cards {first.serial} and {other.serial} hold the same secret. Keep them apart."
            app.terminal.say(f"\n{backup}")
            app.happened(f"The card {other.serial} is set up")  # from here on the first one's end tells enough
        except (Exception, KeyboardInterrupt) as error:
            raise _half(error, first, other) from error
    return _report(app, first, backup, chain, checked=True)


def _check_second(card: Card, first: int) -> None:
    """CtlError for a card that cannot make a secret together with the first one."""
    if card.info.is_nft:
        raise CtlError(Exit.USAGE, "That is an NFT card, which makes its one key itself")
    if card.info.seeded:
        serial = card.serial
        raise CtlError(
            Exit.REFUSED,
            f"There is a wallet on the card {serial} already",
            f"where the cards {first} and {serial} were interrupted while they made one together, no backup of it can "
            f"ever be made: cryptnoxctl reset --card {serial}, then cryptnoxctl setup --seed dual --card {first}. To "
            f"use it as it is: cryptnoxctl adopt --card {serial}",
        )


def _look_ahead(app: App, second: str, serial: int) -> None:
    """Before anything is done to the first card: CtlError where the second one, in a reader of its own, cannot be used.
    It is let go again."""
    with contextlib.closing(other_card(app, second, serial)) as opened:
        _check_second(opened.card, serial)


def _half(error: BaseException, first: Provision, other: Provision) -> EndedError:
    """What to say where one card may have its part of the secret, and the other has not."""
    first.find_out()
    other.find_out()
    said = said_of(error)
    one, two = first.serial, other.serial
    with_seed = (Stage.SEEDED, Stage.PROVED, Stage.OTHER_SEED)
    if other.stage is Stage.INITIALISED:
        return EndedError(
            error,
            f"{said}; the cards {one} and {two} are initialised, and both have no seed",
            hint=f"begin the two anew: cryptnoxctl setup --seed dual --card {one}",
        )
    holds = "holds the secret" if other.stage in with_seed else "may hold the secret"
    compare = f"cryptnoxctl backup check --second-card --card {two} compares them"
    if first.stage is Stage.INITIALISED:
        return EndedError(
            error,
            f"{said}. The card {two} {holds} and the card {one} does not, nor can it get it any more: put no money on "
            "either. No backup of it can ever be made",
            hint=f"cryptnoxctl reset --card {two}, then cryptnoxctl setup --seed dual once more",
        )
    if first.stage is Stage.OTHER_SEED:
        return EndedError(
            error,
            f"The cards {one} and {two} did not make the same secret: put no money on either",
            hint=f"cryptnoxctl reset --card {one}, the same with --card {two}, then setup once more",
        )
    if first.stage is Stage.PROVED:
        return EndedError(
            error,
            f"{said}. The cards {one} and {two} hold the same secret, and that was compared",
            hint=f"cryptnoxctl adopt does what is left, for each of them (--card {one}, --card {two})",
        )
    return EndedError(
        error,
        f"{said}. The card {two} {holds}; whether the card {one} does is not known: put no money on either",
        hint=f"{compare}; if they differ, or one has no seed: cryptnoxctl reset the card that has one, then setup once "
        "more",
    )
