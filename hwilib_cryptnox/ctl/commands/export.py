"""`export`: files for wallets; public keys only."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
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
from hwilib_cryptnox.ctl.qr import check_qr, draw, qr_options, write_qr
from hwilib_cryptnox.ctl.screen import Report, Screen, said
from hwilib_cryptnox.export import KeySet
from hwilib_cryptnox.networks import AccountType, Network, ScriptType, TaprootType

_MULTISIG = {"p2wsh": ScriptType.P2WSH, "p2sh-p2wsh": ScriptType.P2SH_P2WSH}
FORMATS = {
    "key-line": "one key with its origin, for Sparrow (as Specter DIY), Specter Desktop, and most coordinators",
    "descriptor": "an output descriptor, for Sparrow, BlueWallet, and Nunchuk",
    "coldcard": "one JSON file for all script types, for Sparrow, Specter, Nunchuk, and BlueWallet (as Coldcard)",
    "electrum": "an Electrum wallet file, watch-only",
    "wasabi": "a watch-only wallet for Wasabi (p2wpkh, account 0)",
    "core": "the argument for Bitcoin Core's importdescriptors",
}


PROGRAMS = {
    "sparrow": ("key-line", "descriptor", "a key line, for Airgapped Hardware Wallet > Specter DIY"),
    "specter": ("key-line", "descriptor", "a key line, for a device of the type Other"),
    "nunchuk": ("coldcard", "descriptor", "Coldcard's JSON, imported as a Coldcard"),
    "bluewallet": ("coldcard", "descriptor", "Coldcard's JSON, imported as a wallet"),
}
"""Programs by name: the format of a key, that of a whole multisig wallet, and where the program takes it. Electrum and
Bitcoin Core (core) have formats of their own."""


@command(
    "export",
    epilog="Programs: "
    + "; ".join(f"{name} = {text}" for name, (_, _, text) in PROGRAMS.items())
    + ". Formats: "
    + "; ".join(f"{name} = {text}" for name, text in FORMATS.items()),
)
@click.argument("form", metavar="PROGRAM|FORMAT", type=click.Choice([*PROGRAMS, *FORMATS]))
@type_option(*_MULTISIG, TAPROOT)
@account_option
@chain_option
@output_option
@force_option
@click.option("--threshold", type=click.IntRange(1, 20), help="Multisig: how many signatures are needed.")
@click.option(
    "--cosigner",
    "cosigners",
    multiple=True,
    type=OLD_FILE,
    help="Multisig: a file with another cosigner's key line; repeatable.",
)
@qr_options
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
    qr: bool,
    qr_file: FilePath | None,
) -> Report:
    """Write what a wallet program imports: sparrow, specter, nunchuk, bluewallet, electrum, core. Only public keys.

    Or give a format by its name. With --threshold and --cosigner: a whole multisig wallet.
    """
    check_qr(app, qr, qr_file)
    program, form = (form, PROGRAMS[form][bool(cosigners)]) if form in PROGRAMS else (None, form)
    if output is not None:
        check_free(output, force)
    network = Network.of_chain(chain)
    script: AccountType = {**ALL_TYPES, **_MULTISIG}[kind]
    if bool(cosigners) != (threshold is not None) or (cosigners and not script.is_multisig):
        raise CtlError(Exit.USAGE, "A multisig wallet needs --threshold, --cosigner, and --type p2wsh or p2sh-p2wsh")
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
    text = content.strip()
    write_qr(qr_file, [_line(text)])
    data: dict[str, object] = {
        "program": program,
        "format": form,
        "qr_file": qr_file and str(qr_file),
        "content": content,
        "file": output and str(output),
        "fingerprint": keys.fingerprint.hex(),
    }
    if output is not None:
        write_new(output, content.encode("utf-8"), force=force)
        where = FORMATS[form] if program is None or cosigners else PROGRAMS[program][2]
        return said(data, f"Written: {output} ({where})", *([partial(draw, text=_line(text))] if qr else []))

    def show(screen: Screen) -> None:
        if screen.fancy:
            screen.line(content.rstrip("\n"))
            if qr:
                draw(screen, _line(text))
        else:
            # As it is: Sparrow takes a line break for a part of the key.
            sys.stdout.write(content)

    return Report(data, show)


def _line(text: str) -> str:
    """What a QR code holds of a file: a descriptor without the comments above it, all of the others."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return lines[0] if len(lines) == 1 else text


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
            raise CtlError(Exit.INPUT, f"{other}: the key is for another network")
        cosigners.append(cosigner)
    if form == "descriptor":
        return f"{files.multisig_descriptor(script, threshold, cosigners, keys.network)}\n"
    if form == "electrum" and isinstance(script, ScriptType):
        return files.electrum_multisig_wallet(script, threshold, cosigners, keys.network)
    if form == "core":
        return files.core_import_multisig(script, threshold, cosigners, keys.network)
    raise CtlError(Exit.USAGE, f"{form} does not describe a whole multisig wallet", "use descriptor, electrum, or core")
