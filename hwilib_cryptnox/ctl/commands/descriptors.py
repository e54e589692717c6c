"""`descriptors`: an account's output descriptors."""

from __future__ import annotations

import click

from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.options import (
    ALL_TYPES,
    TAPROOT,
    TYPES,
    account_at,
    account_option,
    chain_option,
    check_taproot,
    key_set,
)
from hwilib_cryptnox.ctl.screen import Report, said
from hwilib_cryptnox.export import CHANGE, RECEIVE, descriptor


@command("descriptors")
@click.option("--type", "kind", type=click.Choice(list(ALL_TYPES)), help="One kind of script only.")
@account_option
@chain_option
def descriptors(app: App, kind: str | None, account: int, chain: str) -> Report:
    """Show an account's output descriptors, receive and change.

    Those of taproot (p2tr) are among them where the card signs for them: see cryptnoxctl taproot check.
    """
    if kind == TAPROOT:
        check_taproot(app)
    at = {name: account_at(name, chain, account) for name in ALL_TYPES}
    asked = [kind] if kind else list(TYPES)
    taproot = () if kind else (at[TAPROOT],)
    keys = key_set(app, [at[name] for name in asked], chain, taproot=taproot, only_taproot=kind == TAPROOT)
    entries = [
        {
            "type": name,
            "receive": descriptor(keys, script, account, branch=RECEIVE),
            "change": descriptor(keys, script, account, branch=CHANGE),
        }
        for name, script in ALL_TYPES.items()
        if at[name] in keys.keys
    ]
    lines = (entry[branch] for entry in entries for branch in ("receive", "change"))
    return said({"fingerprint": keys.fingerprint.hex(), "descriptors": entries}, *lines)
