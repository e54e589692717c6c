"""`setup`: from an unopened card to a usable wallet, step by step."""

from __future__ import annotations

import click

from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import candidates, find_card, wanted_serial
from hwilib_cryptnox.ctl.dual import dual, look_ahead
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.options import chain_option
from hwilib_cryptnox.ctl.screen import Report
from hwilib_cryptnox.ctl.steps import begin, check_owner, nft_report, provision, report, settle
from hwilib_cryptnox.signer import mnemonic
from hwilib_cryptnox.signer.provision import Provision, telling

SEEDS = {
    "new": "new words: this computer and the card draw a mnemonic, you write it down. The usual choice",
    "restore": "your words: load a mnemonic you have on paper already",
    "dual": "two cards make one secret together: each is the other's backup, nobody ever sees it",
    "card": "made on this card alone: no backup at all; the money is lost with the card",
}
NO_BACKUP = "no backup"
_ALONE = "There is no backup. Keep little money on this card."


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
    """Make a usable wallet of a card: PIN, PUK, owner, seed, export. Asks before every step; needs a terminal.

    Interrupted, it says what is true of the card; given again, it goes on from there.
    """
    if not app.terminal.available:
        raise CtlError(Exit.USAGE, "Setting a card up needs a terminal: secrets are typed and shown")
    check_owner(name, email)
    owner = (name, email)
    opened = find_card(app, wanted_serial(app), candidates(app), channel=False)
    with telling(provision(app, opened, chain)) as work:
        if work.is_nft and choice not in (None, "card"):
            raise CtlError(Exit.USAGE, "An NFT card makes its one key itself")
        if choice == "dual" and second is not None:
            look_ahead(app, second, work.serial)
        begin(app, work, owner)
        chosen = "card" if work.is_nft else choice or _choose(app)
        if chosen == "dual":
            return dual(app, work, owner, second, chain)
        if chosen == "card":
            return _card(app, work, chain)
        return _new(app, work, words, chain) if chosen == "new" else _restore(app, work, chain)


def _choose(app: App) -> str:
    app.terminal.say("\nWhere does the secret come from?")
    return app.terminal.choose("Your choice", SEEDS)


def _card(app: App, work: Provision, chain: str) -> Report:
    app.terminal.say("Nobody can copy a secret made on the card. When the card is lost, the money is.")
    app.terminal.typed("", NO_BACKUP)
    work.check = ""
    work.generate()
    if work.is_nft:
        return nft_report(app, work, _ALONE)
    settle(app, work, None)
    return report(app, work, _ALONE, chain, checked=None)


def _new(app: App, work: Provision, count: str | None, chain: str) -> Report:
    if count is None:
        explained = {"12": "words: 128 bits, enough", "24": "words: 256 bits, as some wallets want them"}
        count = app.terminal.choose("How many words", explained)
    expected = work.new_seed(int(count))
    settle(app, work, expected)
    checked = mnemonic.check_backup(app.terminal, lambda typed: typed == expected)
    check = "" if checked else f"cryptnoxctl backup check --card {work.serial}"
    return report(app, work, f"The {count} words on your paper are the backup.", chain, checked=checked, check=check)


def _restore(app: App, work: Provision, chain: str) -> Report:
    """The words come from the paper, and the card is compared with them: the backup is checked by that."""
    expected = mnemonic.ask_seed(app.terminal)
    work.restore(expected)
    settle(app, work, expected)
    backup = "The words on your paper (with the passphrase, if you gave one) are the backup."
    return report(app, work, backup, chain, checked=True)
