"""`backup check`: is the backup the card's wallet? Asked before money arrives."""

from __future__ import annotations

import click

from cryptnox_core.bip32 import Path
from hwilib_cryptnox.access import OpenCard
from hwilib_cryptnox.ctl import mnemonic
from hwilib_cryptnox.ctl.cards import open_card, unlocker
from hwilib_cryptnox.ctl.chains import account_of, chain_option, script_of, text_of
from hwilib_cryptnox.ctl.dual import other_card
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.frame import App, group
from hwilib_cryptnox.ctl.screen import BAD, GOOD, Report, Screen
from hwilib_cryptnox.session import authenticate

backup = group("backup", "Check a backup before money arrives.")


@backup.command("check")
@click.option("--second-card", is_flag=True, help="The backup is a second card, not words.")
@click.option("--second", metavar="READER", help="The reader with the second card. Without: swap them in one reader.")
@chain_option
def backup_check(app: App, second_card: bool, second: str | None, chain: str) -> Report:
    """Compare the card with its backup, by fingerprint and first address: typed words, or a second card."""
    path = account_of("p2wpkh", chain, 0).child(0).child(0)
    with open_card(app) as found:
        serial = found.card.serial
        card = _read(app, found, path)
    if second_card or second is not None:
        other = other_card(app, second, serial, channel=True)
        try:
            there = _read(app, other, path)
            what = f"the card {other.card.serial}"
        finally:
            other.close()
    else:
        words = mnemonic.ask(app.terminal)
        expected = mnemonic.Expected(mnemonic.seed_of(words, mnemonic.ask_passphrase(app.terminal)))
        there = expected.fingerprint, expected.public_key(path)
        what = "the words"
    same = card == there
    addresses = [text_of(script_of(key, "p2wpkh"), chain) for _, key in (card, there)]
    data = {
        "serial": str(serial),
        "same": same,
        "path": str(path),
        "card": {"fingerprint": card[0].hex(), "address": addresses[0]},
        "backup": {"fingerprint": there[0].hex(), "address": addresses[1]},
    }

    def show(screen: Screen) -> None:
        screen.table(
            ("", "Fingerprint", f"First address ({path})"),
            [("Card", card[0].hex(), addresses[0]), ("Backup", there[0].hex(), addresses[1])],
        )
        if same:
            screen.line(f"Good: the card {serial} and {what} hold the same wallet", GOOD)
        else:
            screen.line(f"The card {serial} and {what} are NOT the same wallet: no backup of this card", BAD)

    return Report(data, show, Exit.DONE if same else Exit.INPUT)


def _read(app: App, found: OpenCard, path: Path) -> tuple[bytes, bytes]:
    """Fingerprint, and the key of the first address."""
    if not found.card.info.seeded:
        raise CtlError(Exit.REFUSED, f"The card {found.card.serial} holds no seed", "cryptnoxctl setup")
    session = authenticate(found, unlocker(app))
    return session.fingerprint, found.card.public_key(path)
