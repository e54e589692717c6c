"""`xpub`, `address`, `descriptors`, `export`: the card's public side, for wallets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path as FilePath

import click

from cryptnox_core.bip32 import Path
from hwilib_cryptnox import export as files
from hwilib_cryptnox.ctl.app import App, CtlGroup, command
from hwilib_cryptnox.ctl.cards import open_card, puk, wallet
from hwilib_cryptnox.ctl.changes import change, flags
from hwilib_cryptnox.ctl.commands.data import require_seed
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import check_free, read_text, write_new
from hwilib_cryptnox.ctl.options import (
    TYPES,
    Found,
    account_at,
    account_option,
    addresses,
    chain_option,
    read_keys,
    script_of,
    script_of_address,
    type_option,
)
from hwilib_cryptnox.ctl.screen import BAD, GOOD, Report, Screen, said
from hwilib_cryptnox.export import KeySet
from hwilib_cryptnox.networks import Network, ScriptType
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.irreversible import Words

_MULTISIG = {"p2wsh": ScriptType.P2WSH, "p2sh-p2wsh": ScriptType.P2SH_P2WSH}
_RECEIVE, _CHANGE = 0, 1
MAX_RANGE = 10_000
NO_TWEAK = (
    "The card cannot sign for BIP86 taproot addresses: it has no way to tweak a key. "
    "Wallets with segwit addresses (p2wpkh) work; untweaked taproot keys are rawtr, which few wallets know"
)


class XpubGroup(CtlGroup):
    """`xpub PATH` is short for `xpub show PATH`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A word that is no command is a path."""
        if args and self.get_command(ctx, args[0]) is None and args[0].startswith(("m", "4", "8")):
            args = ["show", *args]
        return super().resolve_command(ctx, args)


xpub = XpubGroup("xpub", help="Extended public keys: show one (xpub PATH), switch their export on or off.")


@xpub.command("show")
@click.argument("path")
@chain_option
def xpub_show(app: App, path: str, chain: str) -> Report:
    """Show the extended public key at PATH (3 to 8 levels), with its origin."""
    parsed, network = Path.parse(path), Network.of_chain(chain)
    with open_card(app) as opened:
        used = wallet(app, opened)
        key, fingerprint = used.xpub(parsed), used.fingerprint()
    text = key.to_string(network.version)
    line = files.key_line(KeySet(fingerprint, {parsed: key}, network), parsed)
    data = {"path": str(parsed), "xpub": text, "fingerprint": fingerprint.hex(), "origin": line}
    return said(data, line)


@xpub.command("on")
def xpub_on(app: App) -> Report:
    """Let the card give extended public keys: wallets need them. Needs the PUK."""
    return _switch(app, on=True)


@xpub.command("off")
def xpub_off(app: App) -> Report:
    """Keep extended public keys on the card. Needs the PUK."""
    return _switch(app, on=False)


def _switch(app: App, *, on: bool) -> Report:
    word = "on" if on else "off"
    with open_card(app) as opened:
        serial = str(opened.card.serial)
        require_seed(opened.card.info.seeded)
        if opened.card.info.xpub_export is on:
            # SELECT comes in the clear: it is asked once more before it is believed.
            if opened.card.select().xpub_export is on:
                return said({"serial": serial, "xpub_export": on}, f"xpub export is {word} already")
            app.host.access.open_channel(opened.card)
        switch_export(app, opened, puk(app, opened), on=on)
    return said({"serial": serial, "xpub_export": on}, *app.achieved)


def switch_export(app: App, opened: OpenCard, secret: str, *, on: bool) -> None:
    """SET PUB EXPORT with the PUK; see `change`."""
    word, other = ("on", "off") if on else ("off", "on")
    words = Words(
        done=f"xpub export is {word}",
        kept=f"xpub export is still {other}",
        either=f"xpub export may be {word} already, or not",
        keep="cryptnoxctl info says which",
    )
    look = flags(lambda info: info.xpub_export is on)
    change(app, opened, words, lambda card: card.set_xpub_export(on, secret), look)


def _range(text: str) -> range:
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise CtlError(Exit.USAGE, f"{text!r} is no number and no range like 0-9")
    numbers = range(int(first), int(last if dash else first) + 1)
    if not 0 < len(numbers) <= MAX_RANGE or numbers[-1] >= 1 << 31:
        raise CtlError(Exit.USAGE, f"{text!r}: 1 to {MAX_RANGE} addresses, numbers below 2^31")
    return numbers


@command("address")
@click.argument("numbers", default="0", metavar="[NUMBER|FIRST-LAST]")
@type_option("rawtr", "p2tr")
@account_option
@chain_option
@click.option("--change", is_flag=True, help="Of the change chain.")
@click.option("--path", "path_text", metavar="PATH", help="The address of the key at this path instead.")
@click.option("--check", metavar="ADDRESS", help="Is this address the card's? Looks at all types, both chains.")
@click.option(
    "--gap", type=click.IntRange(1, MAX_RANGE), default=1000, show_default=True, help="How far --check looks."
)
def address(
    app: App,
    numbers: str,
    kind: str,
    account: int,
    chain: str,
    change: bool,
    path_text: str | None,
    check: str | None,
    gap: int,
) -> Report:
    """Show addresses of an account, or find out whether an address is the card's."""
    if kind == "p2tr":
        raise CtlError(Exit.REFUSED, NO_TWEAK, "--type rawtr for the untweaked key")
    if check is not None:
        return _check(app, check, account, chain, gap)
    if path_text is not None:
        path = Path.parse(path_text)
        if path.depth < 1:
            raise CtlError(Exit.USAGE, "An address has a path of one level at least")
        with open_card(app) as opened:
            key = wallet(app, opened).public_keys([path])[path]
        from hwilib_cryptnox.ctl.options import text_of

        shown = [Found(path, key, text_of(script_of(key, kind), chain))]
    else:
        parent = account_at(kind, chain, account).child(_CHANGE if change else _RECEIVE)
        wanted = _range(numbers)
        with open_card(app) as opened:
            shown = addresses(wallet(app, opened), parent, wanted, kind, chain)
    data = {"type": kind, "chain": chain, "addresses": [entry.data() for entry in shown]}
    return Report(data, lambda screen: screen.table(("Path", "Address"), [(str(e.path), e.address) for e in shown]))


def _check(app: App, text: str, account: int, chain: str, gap: int) -> Report:
    wanted = script_of_address(text, chain)
    with open_card(app) as opened:
        used = wallet(app, opened)
        path = None
        export_on = used.session().card.info.xpub_export
        reach = gap if export_on else min(gap, 20)
        for kind in (*TYPES, "rawtr"):
            for branch in (_RECEIVE, _CHANGE):
                parent = account_at(kind, chain, account).child(branch)
                keys = read_keys(used, parent, range(reach))
                hit = next((number for number, key in keys.items() if script_of(key, kind) == wanted), None)
                if hit is not None and path is None:
                    path = parent.child(hit)
            if path is not None:
                break
    data = {"address": text, "ours": path is not None, "path": path and str(path), "looked_at": reach}

    def show(screen: Screen) -> None:
        if path is not None:
            screen.line(f"Yes: {text} is the card's, at {path}", GOOD)
        else:
            screen.line(f"No: {text} is not among the first {reach} addresses of account {account}", BAD)

    return Report(data, show, Exit.DONE if path is not None else Exit.REFUSED)


@command("descriptors")
@click.option("--type", "kind", type=click.Choice(list(TYPES)), help="One kind of script only.")
@account_option
@chain_option
def descriptors(app: App, kind: str | None, account: int, chain: str) -> Report:
    """Show an account's output descriptors, receive and change."""
    kinds = [kind] if kind else list(TYPES)
    keys = _key_set(app, [account_at(name, chain, account) for name in kinds], chain)
    entries = [
        {
            "type": name,
            "receive": files.descriptor(keys, TYPES[name], account, branch=files.RECEIVE),
            "change": files.descriptor(keys, TYPES[name], account, branch=files.CHANGE),
        }
        for name in kinds
    ]

    def show(screen: Screen) -> None:
        for entry in entries:
            screen.line(entry["receive"])
            screen.line(entry["change"])

    return Report({"fingerprint": keys.fingerprint.hex(), "descriptors": entries}, show)


def _key_set(app: App, paths: Sequence[Path], chain: str) -> KeySet:
    with open_card(app) as opened:
        used = wallet(app, opened)
        return KeySet(used.fingerprint(), used.xpubs(paths), Network.of_chain(chain))


FORMATS = {
    "key-line": "one key with its origin: Sparrow (as Specter DIY), Specter Desktop, most coordinators",
    "descriptor": "an output descriptor: Sparrow, BlueWallet, Nunchuk",
    "coldcard": "one JSON file for all script types: Sparrow, Specter, Nunchuk, BlueWallet (as Coldcard)",
    "electrum": "an Electrum wallet file, watch-only",
    "core": "the argument of Bitcoin Core's importdescriptors",
}


@command("export", epilog="Formats: " + "; ".join(f"{name} = {text}" for name, text in FORMATS.items()))
@click.argument("form", metavar="FORMAT", type=click.Choice(list(FORMATS)))
@type_option(*_MULTISIG)
@account_option
@chain_option
@click.option("--output", type=click.Path(dir_okay=False, path_type=FilePath), help="Write this new file.")
@click.option("--force", is_flag=True, help="Overwrite it.")
@click.option("--threshold", type=click.IntRange(1, 20), help="Multisig: signatures needed.")
@click.option(
    "--cosigner",
    "cosigners",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=FilePath),
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
    script = {**TYPES, **_MULTISIG}[kind]
    if bool(cosigners) != (threshold is not None) or (cosigners and not script.is_multisig):
        raise CtlError(Exit.USAGE, "A multisig wallet takes --threshold, --cosigner and --type p2wsh or p2sh-p2wsh")
    paths = files.account_paths(network, account) if form == "coldcard" else (_path(script, network, account),)
    keys = _key_set(app, paths, chain)
    if cosigners and threshold is not None:
        content = _multisig(form, keys, script, account, threshold, cosigners)
    elif form == "key-line":
        content = files.key_line(keys, _path(script, network, account))
    elif form == "coldcard":
        content = files.coldcard_json(keys, account)
    elif form == "descriptor":
        content = files.descriptor_file(keys, script, account)
    elif form == "electrum":
        content = files.electrum_wallet(keys, script, account)
    else:
        content = files.core_import(keys, [script], account)
    if output is not None:
        write_new(output, content.encode("utf-8"), force=force)
    data = {"format": form, "content": content, "file": output and str(output), "fingerprint": keys.fingerprint.hex()}

    def show(screen: Screen) -> None:
        if output is not None:
            screen.line(f"Written: {output} ({FORMATS[form]})")
        elif screen.fancy:
            screen.line(content.rstrip("\n"))
        else:
            # As it is: Sparrow takes a line break for a part of the key.
            sys.stdout.write(content)

    return Report(data, show)


def _path(script: ScriptType, network: Network, account: int) -> Path:
    return files.account_path(script, network, account)


def _multisig(
    form: str, keys: KeySet, script: ScriptType, account: int, threshold: int, others: Sequence[FilePath]
) -> str:
    cosigners = [keys.account(script, account)]
    for other in others:
        cosigner, network = files.parse_key_line(read_text(other))
        if network is not keys.network:
            raise CtlError(Exit.INPUT, f"{other}: a key of another network")
        cosigners.append(cosigner)
    if form == "descriptor":
        return f"{files.multisig_descriptor(script, threshold, cosigners, keys.network)}\n"
    if form == "electrum":
        return files.electrum_multisig_wallet(script, threshold, cosigners, keys.network)
    if form == "core":
        return files.core_import_multisig(script, threshold, cosigners, keys.network)
    raise CtlError(Exit.USAGE, f"{form} is no file of a whole multisig wallet", "descriptor, electrum or core")


__all__ = ["address", "descriptors", "export", "xpub"]
