"""`setup`: from an unopened card to a usable wallet, step by step; or two cards for one seed."""

from __future__ import annotations

import contextlib
import secrets as system

import click

from cryptnox_core.card import Card
from cryptnox_core.wire import COMMON_PAIRING_KEY, EMAIL_MAX, NAME_MAX, PAIRING_KEY_LENGTH, SEED_MAX
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
from hwilib_cryptnox.errors import EndedError
from hwilib_cryptnox.networks import Network
from hwilib_cryptnox.signer import mnemonic
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.provision import Provision, said_of, telling
from hwilib_cryptnox.signer.setup import recovery
from hwilib_cryptnox.signer.setup.choices import Opening, Question, ask_puk, choose_all, with_a_way_back
from hwilib_cryptnox.signer.setup.stages import Stage

SEEDS = {
    "new": "new words: this computer and the card create recovery words, and you write them down (recommended)",
    "restore": "your words: load recovery words you already have on paper",
    "shares": "your SLIP39 shares: load a backup of 20 or 33 words on one or more papers",
    "dual": "two cards create one seed together: each is the other's backup, and nobody ever sees it",
    "card": "on this card alone: no backup at all. Lose the card and you lose the money",
}
NO_BACKUP = "no backup"
_ALONE = "There is no backup. Keep only a little money on this card."
_Owner = tuple[str | None, str | None]
"""Name and e-mail address as they were given; None: to be asked."""


@command("setup")
@click.option("--seed", "choice", type=click.Choice(list(SEEDS)), help="Where the seed comes from.")
@click.option("--words", type=click.Choice(["12", "24"]), help="How many new recovery words. Without it, setup asks.")
@click.option("--name", help="The owner's name on the card. Without it, setup asks.")
@click.option("--email", help="The owner's e-mail address on the card. Without it, setup asks.")
@click.option("--second", metavar="READER", help="Dual: the reader with the second card.")
@chain_option
def setup(
    app: App, choice: str | None, words: str | None, name: str | None, email: str | None, second: str | None, chain: str
) -> Report:
    """Make a wallet on a card: PIN, PUK, owner, seed, export. Asks before every step; needs a terminal.

    If it is interrupted, it says what is true of the card. Run it again to continue from there.
    """
    if not app.terminal.available:
        raise CtlError(Exit.USAGE, "Setup needs a terminal, because secrets are typed and shown")
    _check_owner(name, email)
    owner = (name, email)
    opened = find_card(app, wanted_serial(app), candidates(app), channel=False)
    with telling(_provision(app, opened, chain)) as work:
        if work.is_nft and choice not in (None, "card"):
            raise CtlError(Exit.USAGE, "An NFT card creates its one key itself")
        if choice == "dual" and second is not None:
            _look_ahead(app, second, work.serial)
        _begin(app, work, owner)
        chosen, expected = _chosen_seed(app, work, "card" if work.is_nft else choice, words)
        if chosen == "dual":
            return _dual(app, work, owner, second, chain)
        if expected is None:
            return _card(app, work, chain)
        work.restore(expected)
        _settle(app, work, expected)
        return _new(app, work, expected, chain) if expected.words else _restored(app, work, chosen, chain)


def _chosen_seed(
    app: App, work: Provision, given: str | None, count: str | None
) -> tuple[str, mnemonic.Expected | None]:
    """Where the seed comes from, and what the card has to show then: all that is to be answered before the card gets
    it. `given`: what the command said, `count` the number of new words. Who goes back in it chooses once more."""
    terminal = app.terminal

    def ask(again: bool) -> tuple[str, mnemonic.Expected | None]:
        chosen = None if again and not work.is_nft else given
        if chosen is None:
            terminal.say("\nWhere should the seed come from?")
            with terminal.a_way_back(False):
                chosen = terminal.choose("Your choice", SEEDS)
        if chosen == "card":
            terminal.explain("A key made on the card has no backup. Lose the card and you lose the money.")
            terminal.typed("", NO_BACKUP)
        if chosen == "new":
            number = None if again else count
            if number is None:
                explained = {"12": "words: 128 bits, enough", "24": "words: 256 bits, as some wallets ask for"}
                number = terminal.choose("How many words", explained)
            return chosen, work.new_words(int(number))
        if chosen == "restore":
            return chosen, recovery.ask_seed(terminal)
        return chosen, recovery.ask_shares(terminal) if chosen == "shares" else None

    if work.is_nft:
        with terminal.a_way_back(False):
            return ask(False)
    return with_a_way_back(terminal, ask)


def _card(app: App, work: Provision, chain: str) -> Report:
    work.check = ""
    work.generate()
    if work.is_nft:
        return _nft_report(app, work, _ALONE)
    _settle(app, work, None)
    return _report(app, work, _ALONE, chain, checked=None)


def _new(app: App, work: Provision, expected: mnemonic.Expected, chain: str) -> Report:
    """The backup is checked before an address is shown."""
    checked = recovery.check_backup(app.terminal, lambda typed: typed == expected, expected.words)
    check = "" if checked else f"cryptnoxctl backup check --card {work.serial}"
    backup = f"The {len(expected.words)} words on your paper are the backup."
    return _report(app, work, backup, chain, checked=checked, check=check)


def _restored(app: App, work: Provision, how: str, chain: str) -> Report:
    """What was typed comes from the paper, and the card is compared with it: the backup is checked by that."""
    what = "The words" if how == "restore" else "The shares"
    backup = f"{what} on your paper (with the passphrase, if you gave one) are the backup."
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
    app.terminal.say("It is initialized and has no seed. Setup continues from there, with the PUK and the PIN it has.")
    from_stdin = app.options.stdin_puk and not second
    given = unlocker(app, typed=True, second=second)
    work.take_over(
        (lambda: puk(app, work.opened)) if from_stdin else app.terminal.puk,
        lambda opened: given.verify(opened.card, opened.reader),
        attempts=1 if from_stdin else ATTEMPTS,
    )


def _initialise(app: App, work: Provision, owner: _Owner) -> None:
    """Everything is asked first, and can be changed until the last question is answered with yes."""
    terminal, chosen = app.terminal, Opening(name=owner[0] or "", email=owner[1] or "")

    def pin() -> None:
        terminal.explain(
            "\nYou enter the PIN for every signature. 3 wrong PINs lock the card until you remove it; 6 block it."
        )
        chosen.pin = terminal.new_pin()

    def puk() -> None:
        chosen.puk = ask_puk(terminal)

    def name() -> None:
        terminal.explain("\nThe card stores the owner's name and e-mail address. You may leave them empty.")
        chosen.name = _asked(app, "Name", NAME_MAX)

    def email() -> None:
        chosen.email = _asked(app, "E-mail", EMAIL_MAX)

    def pairing() -> None:
        terminal.explain(
            "\nThe pairing key opens the secure channel. Every new card has the same default key, which all "
            "programs know."
        )
        terminal.explain(
            "If you use your own, it is kept on this computer, and other computers cannot talk to the card."
        )
        own = terminal.agrees("Use your own pairing key? (Most people: no)")
        chosen.key = system.token_bytes(PAIRING_KEY_LENGTH) if own else COMMON_PAIRING_KEY

    def nfc() -> None:
        chosen.nfc = terminal.agrees("Allow this card to sign over NFC?")

    def summary() -> str:
        parts = [f"name {chosen.name or '(none)'}", f"e-mail {chosen.email or '(none)'}"]
        parts.append("the default pairing key" if chosen.key == COMMON_PAIRING_KEY else "its own pairing key")
        if chosen.nfc is not None:
            parts.append("signs over NFC" if chosen.nfc else "does not sign over NFC")
        return f"You chose: PIN, PUK, {', '.join(parts)}."

    questions = {"pin": Question("the PIN", pin), "puk": Question("the PUK", puk)}
    if owner[0] is None:
        questions["name"] = Question("the owner's name", name)
    if owner[1] is None:
        questions["email"] = Question("the owner's e-mail address", email)
    questions["pairing"] = Question("the pairing key", pairing)
    if work.is_nft:
        questions["nfc"] = Question("NFC", nfc)
    choose_all(terminal, questions, summary, "Initialize the card now?")
    work.initialise(chosen.name, chosen.email, chosen.pin, chosen.puk, chosen.key, chosen.nfc)


def _check_owner(name: str | None, email: str | None) -> None:
    """CtlError USAGE for what cannot stand on a card, told before anything is asked."""
    for what, text, most in (("--name", name, NAME_MAX), ("--email", email, EMAIL_MAX)):
        problem = _fault(text or "", most)
        if problem:
            raise CtlError(Exit.USAGE, f"{what}: {problem}")


def _fault(text: str, most: int) -> str:
    if len(text.encode("utf-8", "surrogateescape")) > most:
        return f"at most {most} bytes fit on the card"
    return "" if text.isprintable() else "it has characters that cannot be shown"


def _asked(app: App, what: str, most: int) -> str:
    while True:
        for _ in range(ATTEMPTS):
            text = app.terminal.ask(what)
            problem = _fault(text, most)
            if not problem:
                return text
            app.terminal.say(f"{problem[:1].upper()}{problem[1:]}. Type it again, or press Enter for none.")
        app.terminal.again()


def _settle(app: App, work: Provision, expected: mnemonic.Expected | None) -> None:
    """Compare the card with its words, where there are any, and switch xpub export on. The success is told here, before
    anything else can fail."""
    shown = work.finish(expected)
    words = "" if expected is None else " words" if len(expected.seed) == SEED_MAX else " shares"
    proof = f" Fingerprint, first address, and account key match your{words}." if words else ""
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
    use = "cryptnoxctl sheet prints a page for your papers; cryptnoxctl export connects a wallet program"
    rows: list[Row] = [
        ("Fingerprint", fingerprint, STRONG),
        ("First address", f"{address} ({shown.path})", STRONG),
        ("Backup", backup),
        ("Write down", "serial number, fingerprint, first address: they tell you later that this is your wallet"),
        ("Next", f"{check}; then {use}" if check else use),
    ]
    warning = ("The backup was NOT compared with the card. Compare it before you put money on the card.", WARN)
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


# Two cards that make one seed together


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
                text = f"Remove the second card and insert the card {first.serial} again."
                swapped(app, text, first.line.reopen)
            first.dual_finish(theirs)
            first.finish(shown)
            backup = f"The cards {first.serial} and {other.serial} hold the same seed. Keep them apart."
            app.terminal.say(f"\n{backup}")
            app.happened(f"The card {other.serial} is set up")  # from here on the first one's end tells enough
        except (Exception, KeyboardInterrupt) as error:
            raise _half(error, first, other) from error
    return _report(app, first, backup, chain, checked=True)


def _check_second(card: Card, first: int) -> None:
    """CtlError for a card that cannot make a seed together with the first one."""
    if card.info.is_nft:
        raise CtlError(Exit.USAGE, "That is an NFT card, which creates its one key itself")
    if card.info.seeded:
        serial = card.serial
        raise CtlError(
            Exit.REFUSED,
            f"There is already a wallet on the card {serial}",
            f"if setup was interrupted while the cards {first} and {serial} made a seed together, no backup of it "
            f"can ever be made: cryptnoxctl reset --card {serial}, then cryptnoxctl setup --seed dual --card "
            f"{first}. To use it as it is: cryptnoxctl adopt --card {serial}",
        )


def _look_ahead(app: App, second: str, serial: int) -> None:
    """Before anything is done to the first card: CtlError where the second one, in a reader of its own, cannot be used.
    It is let go again."""
    with contextlib.closing(other_card(app, second, serial)) as opened:
        _check_second(opened.card, serial)


def _half(error: BaseException, first: Provision, other: Provision) -> EndedError:
    """What to say where one card may have its part of the seed, and the other has not."""
    first.find_out()
    other.find_out()
    said = said_of(error)
    one, two = first.serial, other.serial
    with_seed = (Stage.SEEDED, Stage.PROVED, Stage.OTHER_SEED)
    if other.stage is Stage.INITIALISED:
        return EndedError(
            error,
            f"{said}; the cards {one} and {two} are initialized, and neither has a seed",
            hint=f"start over with both cards: cryptnoxctl setup --seed dual --card {one}",
        )
    holds = "holds the seed" if other.stage in with_seed else "may hold the seed"
    compare = f"cryptnoxctl backup check --second-card --card {two} compares them"
    if first.stage is Stage.INITIALISED:
        return EndedError(
            error,
            f"{said}. The card {two} {holds}. The card {one} has no seed, and cannot get that one any more. Put no "
            "money on either card. No backup can ever be made",
            hint=f"cryptnoxctl reset --card {two}, then cryptnoxctl setup --seed dual again",
        )
    if first.stage is Stage.OTHER_SEED:
        return EndedError(
            error,
            f"The cards {one} and {two} have different seeds. Put no money on either card",
            hint=f"cryptnoxctl reset --card {one}, the same with --card {two}, then run setup again",
        )
    if first.stage is Stage.PROVED:
        return EndedError(
            error,
            f"{said}. The cards {one} and {two} hold the same seed; they were compared",
            hint=f"cryptnoxctl adopt finishes the setup of each card (--card {one}, --card {two})",
        )
    return EndedError(
        error,
        f"{said}. The card {two} {holds}; whether the card {one} does is not known. Put no money on either card",
        hint=f"{compare}; if they differ, or one has no seed: cryptnoxctl reset the card that has one, then run setup "
        "again",
    )
