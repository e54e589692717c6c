"""`export`: files for wallets; public keys only."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path as FilePath

import click

from cryptnox_core.bip32 import Path
from hwilib_cryptnox import export as files
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import OLD_FILE, check_free, force_option, output_option, read_text, write_new
from hwilib_cryptnox.ctl.options import (
    ALL_TYPES,
    TAPROOT,
    account_option,
    chain_option,
    check_taproot,
    key_set,
    type_option,
)
from hwilib_cryptnox.ctl.screen import Report, Screen, said
from hwilib_cryptnox.export import KeySet
from hwilib_cryptnox.networks import AccountType, Network, ScriptType, TaprootType

_MULTISIG = {"p2wsh": ScriptType.P2WSH, "p2sh-p2wsh": ScriptType.P2SH_P2WSH}
FORMATS = {
    "key-line": "one key with its origin: Sparrow (as Specter DIY), Specter Desktop, most coordinators",
    "descriptor": "an output descriptor: Sparrow, BlueWallet, Nunchuk",
    "coldcard": "one JSON file for all script types: Sparrow, Specter, Nunchuk, BlueWallet (as Coldcard)",
    "electrum": "an Electrum wallet file, watch-only",
    "wasabi": "a watch-only wallet for Wasabi (p2wpkh, account 0)",
    "core": "the argument of Bitcoin Core's importdescriptors",
}


@command("export", epilog="Formats: " + "; ".join(f"{name} = {text}" for name, text in FORMATS.items()))
@click.argument("form", metavar="FORMAT", type=click.Choice(list(FORMATS)))
@type_option(*_MULTISIG, TAPROOT)
@account_option
@chain_option
@output_option
@force_option
@click.option("--threshold", type=click.IntRange(1, 20), help="Multisig: signatures needed.")
@click.option(
    "--cosigner",
    "cosigners",
    multiple=True,
    type=OLD_FILE,
    help="Multisig: a file with another cosigner's key line; repeatable.",
)
def export(
    app: App,
    form: str,
    kind: str,
    account: int,
    chain: str,
    output: FilePath | None,
    force: bool,
    threshold: int | None,
    cosigners: tuple[FilePath, ...],
) -> Report:
    """Write a file for a wallet; only public keys go in."""
    if output is not None:
        check_free(output, force)
    network = Network.of_chain(chain)
    script: AccountType = {**ALL_TYPES, **_MULTISIG}[kind]
    if bool(cosigners) != (threshold is not None) or (cosigners and not script.is_multisig):
        raise CtlError(Exit.USAGE, "A multisig wallet takes --threshold, --cosigner and --type p2wsh or p2sh-p2wsh")
    if form == "wasabi" and script is not ScriptType.P2WPKH:
        raise CtlError(Exit.USAGE, "Wasabi wallets use --type p2wpkh")
    if form == "electrum" and not isinstance(script, ScriptType):
        raise CtlError(Exit.USAGE, "Electrum has no taproot wallets", "--type p2wpkh")
    if kind == TAPROOT:
        check_taproot(app)
    path = files.account_path(script, network, account)
    whole = form == "coldcard"
    keys = key_set(
        app,
        files.account_paths(network, account) if whole else (path,),
        chain,
        taproot=(files.account_path(TaprootType.P2TR, network, account),) if whole else (),
        only_taproot=kind == TAPROOT,
    )
    if cosigners and threshold is not None:
        content = _multisig(form, keys, script, account, threshold, cosigners)
    else:
        content = _single(form, keys, script, account, path)
    data = {"format": form, "content": content, "file": output and str(output), "fingerprint": keys.fingerprint.hex()}
    if output is not None:
        write_new(output, content.encode("utf-8"), force=force)
        return said(data, f"Written: {output} ({FORMATS[form]})")

    def show(screen: Screen) -> None:
        if screen.fancy:
            screen.line(content.rstrip("\n"))
        else:
            # As it is: Sparrow takes a line break for a part of the key.
            sys.stdout.write(content)

    return Report(data, show)


def _single(form: str, keys: KeySet, script: AccountType, account: int, path: Path) -> str:
    if form == "key-line":
        return files.key_line(keys, path)
    if form == "coldcard":
        return files.coldcard_json(keys, account)
    if form == "descriptor":
        return files.descriptor_file(keys, script, account)
    if form == "electrum" and isinstance(script, ScriptType):
        return files.electrum_wallet(keys, script, account)
    if form == "wasabi":
        return files.wasabi_json(keys, account)
    return files.core_import(keys, [script], account)


def _multisig(
    form: str, keys: KeySet, script: AccountType, account: int, threshold: int, others: Sequence[FilePath]
) -> str:
    cosigners = [keys.account(script, account)]
    for other in others:
        cosigner, network = files.parse_key_line(read_text(other))
        if network is not keys.network:
            raise CtlError(Exit.INPUT, f"{other}: a key of another network")
        cosigners.append(cosigner)
    if form == "descriptor":
        return f"{files.multisig_descriptor(script, threshold, cosigners, keys.network)}\n"
    if form == "electrum" and isinstance(script, ScriptType):
        return files.electrum_multisig_wallet(script, threshold, cosigners, keys.network)
    if form == "core":
        return files.core_import_multisig(script, threshold, cosigners, keys.network)
    raise CtlError(Exit.USAGE, f"{form} is no file of a whole multisig wallet", "descriptor, electrum or core")
