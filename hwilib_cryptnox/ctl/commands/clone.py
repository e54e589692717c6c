"""`clone check`: does a second card hold the same wallet, and could it take the first one's place?"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptnox_core.bip32 import ExtendedPublicKey, Path
from cryptnox_core.certificate import Genuineness
from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import (
    judged,
    open_card,
    other_card,
    source_text,
    unlocker,
    verdict_text,
    version_text,
)
from hwilib_cryptnox.ctl.commands.backup import require_wallet
from hwilib_cryptnox.ctl.errors import Exit
from hwilib_cryptnox.ctl.options import TYPES, account_at, chain_option, script_of, second_option, text_of
from hwilib_cryptnox.ctl.screen import BAD, GOOD, WARN, Part, Report, said
from hwilib_cryptnox.networks import Network
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.provision import Shown, first_path
from hwilib_cryptnox.signer.wallet import Wallet

clone = CtlGroup("clone", help="The second card, which holds the same seed.")


@dataclass(frozen=True, slots=True)
class _Held:
    """What one card holds, as far as it can be asked."""

    shown: Shown
    accounts: Mapping[Path, ExtendedPublicKey] | None
    """None: xpub export is off."""
    row: tuple[str | tuple[str, str], ...]
    """Of the table."""
    data: Mapping[str, object]
    """As in `--json`."""
    lacks: Sequence[str]
    """What a wallet would stumble over."""


@clone.command("check")
@second_option
@chain_option
def clone_check(app: App, second: str | None, chain: str) -> Report:
    """Compare two cards of the same words: is it the same wallet, and can the second card take the first one's place?

    Asks for each card's PIN. Changes nothing.
    """
    with open_card(app) as opened:
        first, place = opened.card.serial, opened.reader
        one = _held(app, opened, unlocker(app), chain)
    with contextlib.closing(other_card(app, second, first, place, channel=True)) as other:
        serial = other.card.serial
        two = _held(app, other, unlocker(app, second=True), chain)
    exported = None not in (one.accounts, two.accounts)
    same = one.shown == two.shown and (not exported or one.accounts == two.accounts)
    lacks = [*one.lacks, *two.lacks] if same else []
    data = {
        "same": same,
        "path": str(one.shown.path),
        "cards": [one.data, two.data],
        "accounts_compared": same and exported,
        "needed": lacks,
    }
    heads = ("Card", "Fingerprint", f"First address ({one.shown.path})", "Seed", "Genuine")
    lines: list[Part] = [(f"The cards {first} and {serial} are NOT the same wallet", BAD)]
    if same:
        lines = [
            (f"Good: the cards {first} and {serial} hold the same wallet", GOOD),
            *((f"To do: {line}", WARN) for line in lacks),
            "Each card has its own PIN, PUK, and tries. Keep them apart: anyone with one card and its PIN can spend.",
        ]
    exit_code = Exit.DONE if same else Exit.INPUT
    return said(data, lambda screen: screen.table(heads, [one.row, two.row]), *lines, exit_code=exit_code)


def _held(app: App, opened: OpenCard, given: Unlocker, chain: str) -> _Held:
    require_wallet(opened)
    used = Wallet(opened.path, app.host.access, given, opened=opened)
    session = used.session()
    card, seed = session.card, source_text(session.card.info_page())
    path = first_path(Network.of_chain(chain).coin_type)
    shown = Shown(session.fingerprint, path, card.public_key(path))
    paths = [account_at(kind, chain, 0) for kind in TYPES]
    accounts = used.xpubs(paths) if card.info.xpub_export else None
    serial, info, fingerprint = str(card.serial), card.info, shown.fingerprint.hex()
    address, genuine = text_of(script_of(shown.key, "p2wpkh"), chain), card.genuineness
    own = app.state.pairing_key(card.serial) is not None
    data = {
        "serial": serial,
        "version": version_text(info),
        "genuine": verdict_text(genuine, opened.reader),
        "key_source": seed,
        "fingerprint": fingerprint,
        "address": address,
        "xpub_export": accounts is not None,
        "pinless_path": info.pinless_path,
        "own_pairing_key": own,
    }
    lacks = []
    if accounts is None:
        lacks.append(f"turn xpub export on: cryptnoxctl xpub on --card {serial} (needs its PUK)")
    if genuine is Genuineness.NOT_GENUINE:
        lacks.append(f"do not put money on the card {serial}: its certificate is forged")
    if info.pinless_path:
        lacks.append(f"the card {serial} has a key that signs without a PIN: cryptnoxctl pinless clear --card {serial}")
    if own:
        lacks.append(
            f"the card {serial} only opens with its own pairing key. Keep a copy: cryptnoxctl pairing export FILE "
            f"--card {serial}"
        )
    return _Held(shown, accounts, (serial, fingerprint, address, seed, judged(genuine, opened.reader)), data, lacks)
