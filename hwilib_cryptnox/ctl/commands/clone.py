"""`clone check`: does a second card hold the same wallet, and could it take the first one's place?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import click

from cryptnox_core.bip32 import ExtendedPublicKey, Path
from cryptnox_core.certificate import Genuineness
from hwilib_cryptnox.ctl.app import App, group
from hwilib_cryptnox.ctl.cards import open_card, unlocker
from hwilib_cryptnox.ctl.commands.backup import require_wallet
from hwilib_cryptnox.ctl.commands.info import judged, source_text, version_text
from hwilib_cryptnox.ctl.dual import other_card
from hwilib_cryptnox.ctl.errors import Exit
from hwilib_cryptnox.ctl.options import TYPES, account_at, chain_option, script_of, text_of
from hwilib_cryptnox.ctl.screen import BAD, GOOD, WARN, Report, Screen
from hwilib_cryptnox.networks import Network
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.provision import Shown, first_path
from hwilib_cryptnox.signer.wallet import Wallet

clone = group("clone", "A second card that holds the same seed.")


@dataclass(frozen=True, slots=True)
class Held:
    """What one card holds, as far as it can be asked."""

    serial: int
    applet: str
    genuine: Genuineness
    reader: str
    seed: str
    """How it came onto the card."""
    shown: Shown
    accounts: Mapping[Path, ExtendedPublicKey] | None
    """None: xpub export is off."""
    pinless_path: bool
    own_pairing_key: bool

    def data(self, chain: str) -> dict[str, object]:
        """As in `--json`."""
        return {
            "serial": str(self.serial),
            "version": self.applet,
            "genuine": self.genuine.value,
            "key_source": self.seed,
            "fingerprint": self.shown.fingerprint.hex(),
            "address": self.address(chain),
            "xpub_export": self.accounts is not None,
            "pinless_path": self.pinless_path,
            "own_pairing_key": self.own_pairing_key,
        }

    def address(self, chain: str) -> str:
        """The first segwit address."""
        return text_of(script_of(self.shown.key, "p2wpkh"), chain)


@clone.command("check")
@click.option("--second", metavar="READER", help="The reader with the second card. Without: swap them in one reader.")
@chain_option
def clone_check(app: App, second: str | None, chain: str) -> Report:
    """Compare two cards of the same words: same wallet, and what the second one lacks to take the first one's place.

    Each card's own PIN is asked for; nothing is changed.
    """
    with open_card(app) as opened:
        one = _held(app, opened, unlocker(app), chain)
        place = opened.reader
    other = other_card(app, second, one.serial, place, channel=True)
    try:
        two = _held(app, other, unlocker(app, second=True), chain)
    finally:
        other.close()
    same = one.shown == two.shown and (None in (one.accounts, two.accounts) or one.accounts == two.accounts)
    lacks = [*_lacks(one), *_lacks(two)] if same else []
    data = {
        "same": same,
        "path": str(one.shown.path),
        "cards": [one.data(chain), two.data(chain)],
        "accounts_compared": same and None not in (one.accounts, two.accounts),
        "needed": lacks,
    }

    def show(screen: Screen) -> None:
        screen.table(
            ("Card", "Fingerprint", f"First address ({one.shown.path})", "Seed", "Genuine"),
            [
                (
                    str(card.serial),
                    card.shown.fingerprint.hex(),
                    card.address(chain),
                    card.seed,
                    judged(card.genuine, card.reader),
                )
                for card in (one, two)
            ],
        )
        if not same:
            screen.line(f"The cards {one.serial} and {two.serial} are NOT the same wallet", BAD)
            return
        screen.line(f"Good: the cards {one.serial} and {two.serial} hold the same wallet", GOOD)
        for line in lacks:
            screen.line(f"To do: {line}", WARN)
        screen.line(
            "Each has a PIN, a PUK and tries of its own. Keep them apart: who has one card and its PIN can spend."
        )

    return Report(data, show, Exit.DONE if same else Exit.INPUT)


def _held(app: App, opened: OpenCard, given: Unlocker, chain: str) -> Held:
    require_wallet(opened)
    used = Wallet(opened.path, app.host.access, given, opened=opened)
    session = used.session()
    card = session.card
    page = card.info_page()
    path = first_path(Network.of_chain(chain).coin_type)
    shown = Shown(session.fingerprint, path, card.public_key(path))
    paths = [account_at(kind, chain, 0) for kind in TYPES]
    return Held(
        serial=card.serial,
        applet=version_text(card.info),
        genuine=card.genuineness,
        reader=opened.reader,
        seed=source_text(page),
        shown=shown,
        accounts=used.xpubs(paths) if card.info.xpub_export else None,
        pinless_path=card.info.pinless_path,
        own_pairing_key=app.state.pairing_key(card.serial) is not None,
    )


def _lacks(card: Held) -> list[str]:
    """What a wallet would stumble over with this card."""
    serial, steps = card.serial, []
    if card.accounts is None:
        steps.append(f"switch xpub export on: cryptnoxctl xpub on --card {serial} (needs its PUK)")
    if card.genuine is Genuineness.NOT_GENUINE:
        steps.append(f"do not put money on the card {serial}: its certificate is forged")
    if card.pinless_path:
        steps.append(
            f"the card {serial} signs without PIN with one of its keys: cryptnoxctl pinless clear --card {serial}"
        )
    if card.own_pairing_key:
        steps.append(
            f"the card {serial} opens only where its own pairing key is: take a copy, cryptnoxctl pairing export FILE "
            f"--card {serial}"
        )
    return steps
