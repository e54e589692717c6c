"""`setup`: from an unopened card to a usable wallet, step by step."""

from __future__ import annotations

import click

from cryptnox_core.session import Card
from hwilib_cryptnox.ctl import mnemonic
from hwilib_cryptnox.ctl.cards import candidates, find_card, wanted_serial
from hwilib_cryptnox.ctl.chains import chain_option
from hwilib_cryptnox.ctl.dual import dual
from hwilib_cryptnox.ctl.errors import CanceledError, CtlError, Exit
from hwilib_cryptnox.ctl.frame import App, command
from hwilib_cryptnox.ctl.screen import Report
from hwilib_cryptnox.ctl.steps import Opened, begin, check_owner, finish

SEEDS = {
    "new": "new words: this computer and the card draw a mnemonic, you write it down. The usual choice",
    "restore": "your words: load a mnemonic you have on paper already",
    "dual": "two cards make one secret together: each is the other's backup, nobody ever sees it",
    "card": "made on this card alone: no backup at all; the money is lost with the card",
}
NO_BACKUP = "no backup"


@command("setup")
@click.option("--seed", "choice", type=click.Choice(list(SEEDS)), help="Where the secret comes from.")
@click.option("--words", type=click.Choice(["12", "24"]), help="Length of a new mnemonic, instead of asking.")
@click.option("--name", help="The owner's name on the card, instead of asking.")
@click.option("--email", help="The owner's e-mail address on the card, instead of asking.")
@click.option("--second", metavar="READER", help="Dual: the reader with the second card.")
@chain_option
def setup(
    app: App,
    choice: str | None,
    words: str | None,
    name: str | None,
    email: str | None,
    second: str | None,
    chain: str,
) -> Report:
    """Make a usable wallet of a card: PIN, PUK, owner, seed, export. Asks before every step; needs a terminal."""
    if not app.terminal.available:
        raise CtlError(Exit.USAGE, "Setting a card up needs a terminal: secrets are typed and shown")
    check_owner(name, email)
    owner = (name, email)
    opened = begin(app, find_card(app, wanted_serial(app), candidates(app), channel=False), owner)
    try:
        chosen = _choose(app, opened.card, choice)
        backup, check = "", "cryptnoxctl backup check"
        if chosen == "dual":
            return dual(app, opened, owner, second, chain)
        if chosen == "new":
            backup = _new(app, opened, words)
        elif chosen == "restore":
            backup = _restore(app, opened)
        else:
            app.terminal.say("Nobody can copy a secret made on the card. When the card is lost, the money is.")
            app.terminal.typed("", NO_BACKUP)
            opened.card.generate_key(opened.pin)
            backup, check = "There is no backup. Keep little money on this card.", ""
        return finish(app, opened, backup, chain, check=check)
    except (KeyboardInterrupt, CanceledError) as stop:
        raise _half_way(stop) from stop
    finally:
        opened.found.close()


def _half_way(stop: BaseException) -> CtlError:
    """What to say to a person who stops after the card was initialised."""
    said = "Interrupted" if isinstance(stop, KeyboardInterrupt) else str(stop).partition(";")[0]
    return CtlError(
        Exit.REFUSED,
        f"{said}; the card is initialised: its PIN and PUK are those you chose",
        "cryptnoxctl setup goes on from here; if the card has its seed already: cryptnoxctl adopt",
    )


def _choose(app: App, card: Card, choice: str | None) -> str:
    if card.info.is_nft:
        if choice not in (None, "card"):
            raise CtlError(Exit.USAGE, "An NFT card makes its one key itself")
        return "card"
    if choice is not None:
        return choice
    app.terminal.say("\nWhere does the secret come from?")
    return app.terminal.choose("Your choice", SEEDS)


def _new(app: App, opened: Opened, count: str | None) -> str:
    if count is None:
        explained = {"12": "words: 128 bits, enough", "24": "words: 256 bits, as some wallets want them"}
        count = app.terminal.choose("How many words", explained)
    words = mnemonic.make(opened.card, int(count))
    mnemonic.show(app.terminal, words)
    mnemonic.type_back(app.terminal, words)
    _load(opened, mnemonic.seed_of(words, ""))
    return f"The {count} words on your paper are the backup."


def _restore(app: App, opened: Opened) -> str:
    words = mnemonic.ask(app.terminal)
    _load(opened, mnemonic.seed_of(words, mnemonic.ask_passphrase(app.terminal)))
    return "The words on your paper (with the passphrase, if you gave one) are the backup."


def _load(opened: Opened, seed: bytes) -> None:
    """Load a seed, and have the card show that it holds this one."""
    opened.card.load_seed(seed, opened.pin)
    if opened.card.master_fingerprint() != mnemonic.Expected(seed).fingerprint:
        raise CtlError(
            Exit.REFUSED,
            "The card shows another fingerprint than the words have: it did not take the seed as it should",
            "do not use it; cryptnoxctl reset erases it",
        )
