"""`address`: the card's addresses."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from cryptnox_core.bip32 import Path
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import open_card, wallet
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.options import (
    TAPROOT,
    TYPES,
    account_at,
    account_option,
    chain_of_address,
    chain_of_path,
    chain_option,
    check_taproot,
    read_keys,
    script_of,
    script_of_address,
    text_of,
    type_option,
)
from hwilib_cryptnox.ctl.qr import check_qr, draw, qr_options, shown_with_codes, write_qr
from hwilib_cryptnox.ctl.screen import BAD, GOOD, Report, Screen, said
from hwilib_cryptnox.ctl.wallets import chosen_chain, policy_of, quoted, stored_wallet
from hwilib_cryptnox.networks import CHAINS, Chain
from hwilib_cryptnox.signer.signatures.taproot import Taproot

if TYPE_CHECKING:
    from hwilib_cryptnox.signer.wallet import Wallet
    from hwilib_cryptnox.signer.wallets import WalletPolicy

_RECEIVE, _CHANGE = 0, 1
MAX_RANGE = 10_000
MOST_CODES = 20
"""QR codes that are drawn at once."""


def _range(text: str) -> range:
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise CtlError(Exit.USAGE, f"{text!r} is not a number or a range like 0-9")
    numbers = range(int(first), int(last if dash else first) + 1)
    if not 0 < len(numbers) <= MAX_RANGE or numbers[-1] >= 1 << 31:
        raise CtlError(Exit.USAGE, f"{text!r}: give 1 to {MAX_RANGE} addresses, with numbers below 2^31")
    return numbers


@command("address")
@click.argument("numbers", default="0", metavar="[NUMBER|FIRST-LAST]")
@type_option("rawtr", TAPROOT)
@account_option
@chain_option
@click.option("--change", is_flag=True, help="Show change addresses.")
@click.option("--path", "path_text", metavar="PATH", help="Show the address of the key at this path instead.")
@click.option(
    "--check",
    metavar="ADDRESS",
    help=("Check whether this address belongs to the card. Searches all types, receive and change."),
)
@click.option(
    "--gap",
    type=click.IntRange(1, MAX_RANGE),
    default=1000,
    show_default=True,
    help=("How many addresses --check searches."),
)
@click.option("--wallet", "wallet_name", metavar="NAME", help="Show addresses of a registered wallet. Needs no card.")
@qr_options
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
    wallet_name: str | None,
    qr: bool,
    qr_file: FilePath | None,
) -> Report:
    """Show addresses of an account, or find out whether an address belongs to the card.

    With --wallet: addresses of a registered wallet, derived from its descriptor, which was compared with the card when
    you added it. Compare the address with the one that another signer's device shows.
    """
    _check_codes(app, numbers, check, qr, qr_file)
    if wallet_name is not None:
        return _of_wallet(app, wallet_name, numbers, change, check, gap, qr, qr_file)
    if kind == TAPROOT:
        check_taproot(app)
    if check is not None:
        chosen = click.get_current_context().get_parameter_source("chain") is ParameterSource.COMMANDLINE
        return _check(app, check, account, chain if chosen else chain_of_address(check, chain), gap)
    if path_text is None:
        parent = account_at(kind, chain, account).child(_CHANGE if change else _RECEIVE)
        wanted = _range(numbers)
        with open_card(app) as opened:
            used = _usable(app, wallet(app, opened), kind)
            keys = read_keys(used, parent, wanted)
    else:
        path = Path.parse(path_text)
        if path.depth < 1:
            raise CtlError(Exit.USAGE, "An address needs a path of at least one level")
        chain = chain_of_path(app, path, chain)
        with open_card(app) as opened:
            used = _usable(app, wallet(app, opened), kind)
            keys = {path: used.public_keys([path])[path]}
    shown = [(str(path), text_of(script_of(key, kind), chain), key.hex()) for path, key in keys.items()]
    entries = [{"path": path, "address": text, "public_key": key} for path, text, key in shown]
    write_qr(qr_file, [text for _, text, _ in shown])
    data = {"type": kind, "chain": chain, "addresses": entries, "qr_file": qr_file and str(qr_file)}
    if qr:
        return said(data, *[part for path, text, _ in shown for part in (path, *shown_with_codes([text], qr))])
    return said(data, lambda screen: screen.table(("Path", "Address"), [row[:2] for row in shown]))


def _usable(app: App, used: Wallet, kind: str) -> Wallet:
    if kind == TAPROOT:
        check_taproot(app, used)
    return used


def _check_codes(app: App, numbers: str, check: str | None, qr: bool, file: FilePath | None) -> None:
    check_qr(app, qr, file)
    if (qr or file is not None) and check is not None:
        raise CtlError(Exit.USAGE, "--check has no QR code: it only answers yes or no")
    if file is not None and len(_range(numbers)) > 1:
        raise CtlError(Exit.USAGE, "--qr-file writes one QR code", "ask for one address")
    if qr and len(_range(numbers)) > MOST_CODES:
        raise CtlError(Exit.USAGE, f"--qr draws at most {MOST_CODES} codes at once")


def _of_wallet(
    app: App,
    name: str,
    numbers: str,
    change: bool,
    check: str | None,
    gap: int,
    qr: bool,
    qr_file: FilePath | None,
) -> Report:
    """Addresses of a registered wallet. No card is asked."""
    source = click.get_current_context().get_parameter_source
    for option, parameter in (("--type", "kind"), ("--account", "account"), ("--path", "path_text")):
        if source(parameter) is ParameterSource.COMMANDLINE:
            raise CtlError(Exit.USAGE, f"{option} is for the card's own addresses; leave it out with --wallet")
    stored = stored_wallet(app, name)
    policy = policy_of(stored)
    chain = chosen_chain(policy)
    head = {"wallet": stored.name, "policy": policy.words, "chain": chain.name.lower()}
    if check is not None:
        return _check_wallet(head, policy, check, chain, gap)
    branch, wanted = _CHANGE if change else _RECEIVE, _range(numbers)
    if branch >= policy.branches:
        raise CtlError(Exit.USAGE, f"The wallet {quoted(stored.name)} has no change addresses")
    shown = [(index, policy.address(branch, index, chain)) for index in wanted]
    entries = [{"branch": branch, "index": index, "address": text} for index, text in shown]
    write_qr(qr_file, [text for _, text in shown])
    title = f"Wallet {quoted(stored.name)}, {policy.words}"
    heads = ("#", "Change address" if change else "Receive address")

    def show(screen: Screen) -> None:
        if qr:
            screen.told(title)
            for index, text in shown:
                screen.line(f"{heads[1]} {index}")
                screen.line(text)
                draw(screen, text)
            return
        screen.table(heads, [(str(index), text) for index, text in shown], title=title if screen.fancy else "")

    return Report({**head, "addresses": entries, "qr_file": qr_file and str(qr_file)}, show)


def _check_wallet(head: dict[str, str], policy: WalletPolicy, text: str, chain: Chain, gap: int) -> Report:
    wanted = script_of_address(text, next(name for name, one in CHAINS.items() if one is chain))
    found = next(
        (
            (branch, index)
            for index in range(gap)
            for branch in range(policy.branches)
            if policy.script(branch, index) == wanted
        ),
        None,
    )
    branch, index = found or (None, None)
    data = {**head, "address": text, "ours": found is not None, "branch": branch, "index": index, "looked_at": gap}
    whose = f"wallet {quoted(head['wallet'])}"
    if found is not None:
        which = "change" if branch == _CHANGE else "receive"
        return said(data, (f"Yes: {text} is {which} address {index} of the {whose}", GOOD))
    no = f"No: {text} is not among the first {gap} addresses of the {whose}"
    return said(data, (no, BAD), exit_code=Exit.REFUSED)


def _check(app: App, text: str, account: int, chain: str, gap: int) -> Report:
    wanted = script_of_address(text, chain)
    path = None
    with open_card(app) as opened:
        used = wallet(app, opened)
        reach = gap if used.session().card.info.xpub_export else min(gap, 20)
        taproot = (TAPROOT,) if used.taproot() is Taproot.SIGNS else ()
        for kind in (*TYPES, *taproot, "rawtr"):
            for branch in (_RECEIVE, _CHANGE):
                parent = account_at(kind, chain, account).child(branch)
                keys = read_keys(used, parent, range(reach))
                hit = next((place for place, key in keys.items() if script_of(key, kind) == wanted), None)
                path = hit if path is None else path
            if path is not None:
                break
    data = {"address": text, "ours": path is not None, "path": path and str(path), "looked_at": reach}
    if path is not None:
        return said(data, (f"Yes: {text} belongs to the card, at {path}", GOOD))
    no = f"No: {text} is not among the first {reach} addresses of account {account}"
    return said(data, (no, BAD), exit_code=Exit.REFUSED)
