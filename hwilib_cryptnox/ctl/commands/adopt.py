"""`adopt`: use a card that already holds a wallet. Looks first; changes nothing unasked."""

from __future__ import annotations

from cryptnox_core.certificate import Genuineness
from cryptnox_core.errors import PairingError
from cryptnox_core.wire import KeySource
from hwilib_cryptnox.console.weak import EASY_CHANGE, EASY_PIN, EASY_PUK, is_easy_mode
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import open_card, puk, source_text, unlocker, version_text
from hwilib_cryptnox.ctl.commands.pairing import recover_by_puk
from hwilib_cryptnox.ctl.commands.xpub import switch_export
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.options import chain_option, script_of, text_of
from hwilib_cryptnox.ctl.screen import GOOD, WARN, Part, Report, said
from hwilib_cryptnox.errors import NOTHING_CHANGED, tries_text
from hwilib_cryptnox.networks import Network
from hwilib_cryptnox.pin.policy import tries_left
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.provision import Shown, first_path
from hwilib_cryptnox.signer.setup import recovery
from hwilib_cryptnox.signer.wallet import authenticate


@command("adopt")
@chain_option
def adopt(app: App, chain: str) -> Report:
    """Use a card that already holds a wallet: look at it, then do what wallets need, step by step.

    Only looks until you say yes. Without a terminal it looks, says what is needed, and changes nothing.
    """
    with open_card(app, channel=False) as opened:
        serial = opened.card.serial
        try:
            app.host.access.identify(opened, serial)
        except PairingError as error:
            if not (app.terminal.available and _recovered(app, opened)):
                raise CtlError(
                    Exit.REFUSED,
                    "The card is paired with a key other than the default one",
                    "with the exported key: cryptnoxctl pairing recover --file FILE; with the PUK: cryptnoxctl "
                    "pairing recover",
                    unchanged=NOTHING_CHANGED,
                ) from error
        else:
            return _look(app, opened, chain)
    with open_card(app, serial=serial) as opened:  # another card that took its place gets no PIN
        return _look(app, opened, chain)


def _recovered(app: App, opened: OpenCard) -> bool:
    """Whether the person had the common pairing key put back."""
    app.terminal.say(
        "The card is paired with a key that this computer does not have. Nothing more can be read from it."
    )
    app.terminal.say("If you have the exported key, say no and run: cryptnoxctl pairing recover --file FILE")
    if not app.terminal.agrees("Set the default pairing key again now? (Needs the PUK)"):
        return False
    recover_by_puk(app, opened)
    return True


def _look(app: App, opened: OpenCard, chain: str) -> Report:
    """What the card holds and what is needed; what is agreed to is done."""
    card = opened.card
    info, serial = card.info, str(card.serial)
    if not info.seeded:
        raise CtlError(Exit.REFUSED, "This card has no wallet", "cryptnoxctl setup")
    if info.is_nft:
        raise CtlError(Exit.REFUSED, "An NFT card holds one key, not a wallet", "cryptnoxctl info")
    tries = tries_left(card)
    app.remark(f"Card {serial}, applet {version_text(info)}; PIN: at most {tries_text(tries)} left")
    session = authenticate(opened, unlocker(app))
    page = card.info_page()
    careful = _EASY_SET if session.pin == EASY_PIN else _EASY_PIN_CHANGED
    easy = [careful] if is_easy_mode(page) else []
    if easy and app.terminal.available:  # before an address is shown
        app.terminal.say(f"Careful: {careful}.")
    path = first_path(Network.of_chain(chain).coin_type)
    shown = Shown(session.fingerprint, path, card.public_key(path))
    checked = _checked(app, page.key_source, shown)
    needed = [*easy, *_needed(serial, card.genuineness, page.key_source, checked, export=info.xpub_export)]
    address = text_of(script_of(shown.key, "p2wpkh"), chain)
    if not info.xpub_export and app.terminal.available:
        app.terminal.say(f"Fingerprint {session.fingerprint.hex()}, first address {address} ({path}).")
        app.terminal.say("xpub export is off. You can sign without it, but you cannot set up a wallet.")
        if app.terminal.agrees("Turn it on now? (Needs the PUK)"):
            switch_export(app, opened, puk(app, opened), on=True, pin=session.pin)
            needed.remove(_EXPORT)
    data = {
        "serial": serial,
        "fingerprint": session.fingerprint.hex(),
        "key_source": source_text(page),
        "path": str(path),
        "address": address,
        "xpub_export": opened.card.info.xpub_export,
        "pin_tries_left": tries,
        "backup_checked": checked,
        "done": list(app.achieved),
        "needed": needed,
    }
    rows = [
        ("Serial number", serial),
        ("Fingerprint", session.fingerprint.hex()),
        ("First address", f"{address} ({path})"),
        ("Seed", source_text(page)),
    ]
    lines: list[Part] = [*((line, GOOD) for line in app.achieved), *((f"To do: {line}", WARN) for line in needed)]
    if not needed:
        lines.append(("Next, connect a wallet: cryptnoxctl export", GOOD))
    return said(data, lambda screen: screen.fields(rows), *lines)


_EASY_SET = (
    f'put no money on this card before you change its PIN and PUK: {EASY_CHANGE}. It was set up in "easy mode", '
    f"and its PIN {EASY_PIN} and PUK {EASY_PUK} are public"
)
_EASY_PIN_CHANGED = (
    'put no money on this card before you change its PUK as well: cryptnoxctl puk change. It was set up in "easy '
    f'mode", and anyone can use its public PUK {EASY_PUK} to set a new PIN'
)


def _checked(app: App, source: KeySource | int, shown: Shown) -> bool | None:
    """Whether the words on paper were compared with the card; None where there are none, or nobody can be asked."""
    if source != KeySource.LOADED or not app.terminal.available:
        return None
    return recovery.check_backup(
        app.terminal, lambda typed: (typed.fingerprint, typed.public_key(shown.path)) == (shown.fingerprint, shown.key)
    )


_EXPORT = "turn xpub export on: cryptnoxctl xpub on (needs the PUK)"
_WORDS = "compare the words on your paper with the card before you put money on it: cryptnoxctl backup check"
_TWIN = (
    "two cards made this seed together, and each is the other's only backup. Compare them before you put money on "
    "them: cryptnoxctl backup check --second-card --card {0}. If the other card has no seed, or a different one, no "
    "backup can ever be made: cryptnoxctl reset --card {0}, then cryptnoxctl setup --seed dual"
)


def _needed(
    serial: str, genuine: Genuineness, source: KeySource | int, checked: bool | None, *, export: bool
) -> list[str]:
    steps = [] if export else [_EXPORT]
    if genuine is Genuineness.NOT_GENUINE:
        steps.append("do not put money on this card: its certificate is forged")
    if source == KeySource.ON_CARD:
        steps.append("keep only a little money on it: its seed was made on the card and has no backup")
    if source == KeySource.DUAL:
        steps.append(_TWIN.format(serial))
    if checked is False:
        steps.append(_WORDS)
    return steps
