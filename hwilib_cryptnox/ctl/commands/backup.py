"""`backup check`: is the backup the card's wallet? Asked before money arrives."""

from __future__ import annotations

import contextlib

import click

from cryptnox_core.bip32 import Path
from cryptnox_core.wire import KeySource
from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import open_card, other_card, unlocker
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.options import chain_option, script_of, second_option, text_of
from hwilib_cryptnox.ctl.screen import BAD, GOOD, Part, Report, said
from hwilib_cryptnox.networks import Network
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.provision import Shown, first_path
from hwilib_cryptnox.signer.setup import recovery
from hwilib_cryptnox.signer.wallet import authenticate

backup = CtlGroup("backup", help="Check a backup before you put money on the card.")


_NO_TWIN = (
    "no backup can ever be made. If there is money on it, move it to another wallet; then cryptnoxctl reset --card "
    "{0}, and cryptnoxctl setup --seed dual with both cards"
)
_OTHER_HALF = (
    "if the other card holds the seed that the two were to share, no backup of it can ever be made: cryptnoxctl "
    "reset it, then cryptnoxctl setup --seed dual with both. Otherwise: cryptnoxctl setup --card {0}"
)


@backup.command("check")
@click.option("--second-card", is_flag=True, help="The backup is a second card, not words.")
@second_option
@chain_option
def backup_check(app: App, second_card: bool, second: str | None, chain: str) -> Report:
    """Compare the card with its backup, by fingerprint and first address: typed words, or a second card."""
    path = first_path(Network.of_chain(chain).coin_type)
    second_card = second_card or second is not None
    with open_card(app) as opened:
        serial, place = opened.card.serial, opened.reader
        if second_card and not opened.card.info.seeded:
            raise CtlError(Exit.REFUSED, f"The card {serial} has no seed", _OTHER_HALF.format(serial))
        card = _shown(opened, unlocker(app), path)
        dual = opened.card.info_page().key_source == KeySource.DUAL
    if second_card:
        with contextlib.closing(other_card(app, second, serial, place, channel=True)) as other:
            if not other.card.info.seeded:
                text = f"The card {other.card.serial} has no seed, so it is not a backup of the card {serial}"
                raise CtlError(Exit.REFUSED, text, _NO_TWIN.format(serial) if dual else "")
            there = _shown(other, unlocker(app, second=True), path)
            what = f"the card {other.card.serial}"
    else:
        expected = recovery.ask_seed(app.terminal)
        there = Shown(expected.fingerprint, path, expected.public_key(path))
        what = "the words"
    same = card == there
    addresses = [text_of(script_of(shown.key, "p2wpkh"), chain) for shown in (card, there)]
    data = {
        "serial": str(serial),
        "same": same,
        "path": str(path),
        "card": {"fingerprint": card.fingerprint.hex(), "address": addresses[0]},
        "backup": {"fingerprint": there.fingerprint.hex(), "address": addresses[1]},
    }

    heads = ("", "Fingerprint", f"First address ({path})")
    rows = [("Card", card.fingerprint.hex(), addresses[0]), ("Backup", there.fingerprint.hex(), addresses[1])]
    lines: list[Part] = [(f"Good: the card {serial} and {what} hold the same wallet", GOOD)]
    if not same:
        lines = [(f"The cards {serial} and {what} are NOT the same wallet. This card has no backup", BAD)]
        if dual:
            lines.append(
                f"Two cards made its seed together. If you do not have the other card, {_NO_TWIN.format(serial)}"
            )
    exit_code = Exit.DONE if same else Exit.INPUT
    return said(data, lambda screen: screen.table(heads, rows), *lines, exit_code=exit_code)


def require_wallet(opened: OpenCard) -> None:
    """CtlError for a card without a seed."""
    if not opened.card.info.seeded:
        serial = opened.card.serial
        raise CtlError(Exit.REFUSED, f"The card {serial} has no seed", f"cryptnoxctl setup --card {serial}")


def _shown(opened: OpenCard, given: Unlocker, path: Path) -> Shown:
    """Fingerprint, and the key of the first address; the PIN is verified."""
    require_wallet(opened)
    session = authenticate(opened, given)
    return Shown(session.fingerprint, path, opened.card.public_key(path))
