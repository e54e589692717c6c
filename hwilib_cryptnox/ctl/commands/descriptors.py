"""`descriptors`: an account's output descriptors."""

from __future__ import annotations

import click

from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.options import TYPES, account_at, account_option, chain_option, key_set
from hwilib_cryptnox.ctl.screen import Report, said
from hwilib_cryptnox.export import CHANGE, RECEIVE, descriptor


@command("descriptors")
@click.option("--type", "kind", type=click.Choice(list(TYPES)), help="One kind of script only.")
@account_option
@chain_option
def descriptors(app: App, kind: str | None, account: int, chain: str) -> Report:
    """Show an account's output descriptors, receive and change."""
    kinds = [kind] if kind else list(TYPES)
    keys = key_set(app, [account_at(name, chain, account) for name in kinds], chain)
    entries = [
        {
            "type": name,
            "receive": descriptor(keys, TYPES[name], account, branch=RECEIVE),
            "change": descriptor(keys, TYPES[name], account, branch=CHANGE),
        }
        for name in kinds
    ]
    lines = (entry[branch] for entry in entries for branch in ("receive", "change"))
    return said({"fingerprint": keys.fingerprint.hex(), "descriptors": entries}, *lines)
