"""`descriptors`: an account's output descriptors."""

from __future__ import annotations

from pathlib import Path

import click

from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.errors import CtlError, Exit
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
from hwilib_cryptnox.ctl.qr import check_qr, qr_options, shown_with_codes, write_qr
from hwilib_cryptnox.ctl.screen import Report, said
from hwilib_cryptnox.export import CHANGE, RECEIVE, descriptor


@command("descriptors")
@click.option("--type", "kind", type=click.Choice(list(ALL_TYPES)), help="Show only this script type.")
@account_option
@chain_option
@click.option(
    "--both", is_flag=True, help=("Write receive and change as one descriptor (BIP389), which most wallets read.")
)
@qr_options
def descriptors(
    app: App, kind: str | None, account: int, chain: str, both: bool, qr: bool, qr_file: Path | None
) -> Report:
    """Show an account's output descriptors, receive and change.

    Taproot (p2tr) is included if the card signs for it: see cryptnoxctl taproot check.
    """
    check_qr(app, qr, qr_file)
    if qr_file is not None and (kind is None or not both):
        raise CtlError(Exit.USAGE, "--qr-file writes one QR code", "add --both and --type")
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
            "both": descriptor(keys, script, account),
        }
        for name, script in ALL_TYPES.items()
        if at[name] in keys.keys
    ]
    branches = ("both",) if both else ("receive", "change")
    lines = [entry[branch] for entry in entries for branch in branches]
    write_qr(qr_file, lines)
    data = {"fingerprint": keys.fingerprint.hex(), "descriptors": entries, "qr_file": qr_file and str(qr_file)}
    return said(data, *shown_with_codes(lines, qr))
