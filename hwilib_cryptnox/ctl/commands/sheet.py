"""`sheet`: the page that belongs with the backup. Public keys and addresses only; never a secret."""

from __future__ import annotations

import html
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import click

from cryptnox_core.wire import KeySource
from hwilib_cryptnox import __version__
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import open_card, source_text, version_text, wallet
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import check_free, force_option, output_option, write_new
from hwilib_cryptnox.ctl.options import TYPES, account_at, account_option, chain_option, script_of, text_of, type_option
from hwilib_cryptnox.ctl.screen import Report, printable, said
from hwilib_cryptnox.export import KeySet, key_line
from hwilib_cryptnox.networks import Network, ScriptType, account_path

ADDRESSES = 5
"""First addresses on the sheet, unless told otherwise."""
_MOST_ADDRESSES = 50
_WIDTH = 78
_NAMES = {
    "p2wpkh": "native segwit (p2wpkh, BIP84)",
    "p2sh-p2wpkh": "nested segwit (p2sh-p2wpkh, BIP49)",
    "p2pkh": "legacy (p2pkh, BIP44)",
    "p2wsh": "cosigner key for multisig (p2wsh, BIP48)",
}
_BACKUPS = {
    KeySource.ON_CARD: "There is no backup: the seed was made on the card. Lose the card and you lose the money.",
    KeySource.DUAL: "The backup is the other card that made the seed with this one. Keep the two apart.",
    KeySource.SINGLE: "The backup is the private key that was loaded.",
    KeySource.EXTENDED: "The backup is the extended private key that was loaded.",
}
_WORDS = "The backup is the recovery words (12 to 24), on paper or steel. Never on a computer or in a photo."
PUBLIC = (
    "Nothing on this page is secret, and nothing on it can spend. But anyone who sees it sees all payments of the "
    "wallet, so keep it with your papers."
)


Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Sheet:
    """What the page says: names and values."""

    fingerprint: str
    facts: Rows
    addresses: Rows
    accounts: Rows
    """Keys with their origin: `[73c5da0a/84h/0h/0h]xpub...`."""
    keep: Rows
    """What to keep where."""


RESTORE = (
    "Into another card: cryptnoxctl setup --seed restore. It is the same wallet if the master fingerprint and the "
    "first address match this page. Without such a card, use any wallet program that takes BIP39 words, with the "
    "paths below."
)


def keep_what(source: KeySource | int, *, own_pairing_key: bool) -> tuple[tuple[str, str], ...]:
    """What belongs to a wallet, and where to keep it."""
    rows = [("Backup", _BACKUPS.get(KeySource(source), _WORDS) if source in set(KeySource) else _WORDS)]
    if source in (KeySource.LOADED, KeySource.WRAPPED):
        rows.append(
            ("Passphrase", ("If you set one: apart from the words. Without it, the words are a different wallet."))
        )
    rows += [
        ("PIN", "In your head, or sealed, apart from the card. 6 wrong PINs block it."),
        ("PUK", "On paper, apart from the card and the PIN. It unblocks the PIN and erases the card."),
    ]
    if own_pairing_key:
        text = (
            "The card has its own. A copy of it (cryptnoxctl pairing export FILE), or the PUK, opens the card "
            "elsewhere."
        )
        rows.append(("Pairing key", text))
    rows.append(("This page", "With your papers, and a copy with the backup."))
    return tuple(rows)


def as_text(sheet: Sheet) -> str:
    """The page as plain text, at most 78 columns but for keys."""
    lines = ["BITCOIN WALLET ON A CRYPTNOX CARD", "", *textwrap.wrap(PUBLIC, _WIDTH), ""]
    lines += [f"{name + ':':<20} {value}" for name, value in sheet.facts]
    lines += ["", "First addresses"]
    lines += [f"  {path:<20} {address}" for path, address in sheet.addresses]
    lines += ["", "Account keys, with their origin"]
    for name, key in sheet.accounts:
        lines += [f"  {name}", f"    {key}"]
    lines += ["", "What to keep where"]
    for name, text in sheet.keep:
        lines += textwrap.wrap(text, _WIDTH, initial_indent=f"  {name + ':':<13}", subsequent_indent=" " * 15)
    lines += ["", "To get the wallet back"]
    lines += textwrap.wrap(RESTORE, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(printable(line) for line in lines) + "\n"


_STYLE = """\
@page { margin: 15mm; }
body { font: 11pt/1.4 sans-serif; max-width: 180mm; margin: 0 auto; color: #000; background: #fff; }
h1 { font-size: 16pt; } h2 { font-size: 12pt; margin: 1.2em 0 .3em; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .15em .8em .15em 0; border-bottom: 1px solid #ccc; }
th { white-space: nowrap; font-weight: normal; color: #444; }
code { font: 10pt/1.4 monospace; overflow-wrap: anywhere; }
tr, p, h2 { break-inside: avoid; } h2 { break-after: avoid; }
"""


def as_html(sheet: Sheet) -> str:
    """The page for a browser to print: one file, nothing is loaded from elsewhere, no script."""
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Wallet {sheet.fingerprint}</title>
<style>
{_STYLE}</style>
</head>
<body>
<h1>Bitcoin wallet on a Cryptnox card</h1>
<p>{html.escape(PUBLIC)}</p>
<table>
{_rows(sheet.facts, ("Master fingerprint", "Card"))}</table>
<h2>First addresses</h2>
<table>
{_rows(sheet.addresses)}</table>
<h2>Account keys, with their origin</h2>
<table>
{_rows(sheet.accounts)}</table>
<h2>What to keep where</h2>
<table>
{_rows(sheet.keep, ())}</table>
<h2>To get the wallet back</h2>
<p>{html.escape(RESTORE)}</p>
</body>
</html>
"""


def _rows(cells: Rows, codes: Sequence[str] | None = None) -> str:
    """Table rows; `codes`: the names whose values are code, None for all."""
    rows = []
    for name, value in cells:
        text = html.escape(printable(value))
        code = f"<code>{text}</code>" if codes is None or name in codes else text
        rows.append(f"<tr><th>{html.escape(name)}</th><td>{code}</td></tr>\n")
    return "".join(rows)


@command("sheet")
@type_option()
@account_option
@chain_option
@click.option(
    "--addresses",
    "count",
    type=click.IntRange(1, _MOST_ADDRESSES),
    default=ADDRESSES,
    show_default=True,
    help="How many of the first addresses to list.",
)
@click.option("--html", "as_page", is_flag=True, help="Write a page that a browser can print, instead of text.")
@output_option
@force_option
def sheet(
    app: App, kind: str, account: int, chain: str, count: int, as_page: bool, output: Path | None, force: bool
) -> Report:
    """Print what belongs with the backup: fingerprint, account keys, first addresses, what to keep where.

    It has no secrets. Its keys are compared with keys that the card derives itself.
    """
    if output is not None:
        check_free(output, force)
    made, data = _read(app, kind, account, chain, count)
    content = as_html(made) if as_page else as_text(made)
    data |= {"file": output and str(output), "html": content if as_page and output is None else None}
    if output is None:
        return Report(data, lambda _: sys.stdout.write(content))
    write_new(output, content.encode("utf-8"), force=force)
    return said(data, f"Written: {output}. Print it and keep it with your papers")


def _read(app: App, kind: str, account: int, chain: str, count: int) -> tuple[Sheet, dict[str, object]]:
    """The page, and what of it stands in `--json`."""
    network = Network.of_chain(chain)
    paths = {name: account_at(name, chain, account) for name in TYPES}
    paths["p2wsh"] = account_path(ScriptType.P2WSH, network, account)
    with open_card(app) as opened:
        used = wallet(app, opened)
        session = used.session()
        card, page = session.card, session.card.info_page()
        keys = KeySet(session.fingerprint, used.xpubs(list(paths.values())), network)
        own = all(
            keys.keys[path].child(0).child_public_key(0) == card.public_key(path.child(0).child(0))
            for path in paths.values()
        )
        if not own:
            raise CtlError(
                Exit.REFUSED,
                "An extended key that was read does not belong to the card. No sheet was made",
                "something between this computer and the card changes the data: use another reader",
            )
    serial, seed, fingerprint = str(card.serial), source_text(page), session.fingerprint.hex()
    receive, branch = paths[kind].child(0), keys.keys[paths[kind]].child(0)
    addresses = [
        (str(receive.child(number)), text_of(script_of(branch.child_public_key(number), kind), chain))
        for number in range(count)
    ]
    accounts = [{"name": _NAMES[name], "path": str(path), "key": key_line(keys, path)} for name, path in paths.items()]
    data: dict[str, object] = {
        "serial": serial,
        "seed": seed,
        "fingerprint": fingerprint,
        "chain": chain,
        "account": account,
        "type": kind,
        "accounts": accounts,
        "addresses": [{"path": path, "address": address} for path, address in addresses],
    }
    made = Sheet(
        fingerprint=fingerprint,
        facts=(
            ("Master fingerprint", fingerprint),
            ("Card", f"Cryptnox {serial}, applet {version_text(card.info)}"),
            ("Seed", seed),
            ("Network", chain),
            ("Account", str(account)),
            ("Addresses", _NAMES[kind]),
            ("Made", f"{datetime.now(timezone.utc).date().isoformat()}, hwi-cryptnox {__version__}"),
        ),
        addresses=addresses,
        accounts=[(f"{one['name']}, {one['path']}", one["key"]) for one in accounts],
        keep=keep_what(page.key_source, own_pairing_key=app.state.pairing_key(card.serial) is not None),
    )
    return made, data
