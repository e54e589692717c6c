"""`address`: the card's addresses."""

from __future__ import annotations

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
    chain_option,
    check_taproot,
    read_keys,
    script_of,
    script_of_address,
    text_of,
    type_option,
)
from hwilib_cryptnox.ctl.screen import BAD, GOOD, Report, Screen, said
from hwilib_cryptnox.ctl.wallets import chosen_chain, policy_of, quoted, stored_wallet
from hwilib_cryptnox.networks import CHAINS, Chain
from hwilib_cryptnox.signer.taproot import Taproot

if TYPE_CHECKING:
    from hwilib_cryptnox.signer.wallet import Wallet
    from hwilib_cryptnox.signer.wallets import WalletPolicy

_RECEIVE, _CHANGE = 0, 1
MAX_RANGE = 10_000


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
@type_option("rawtr", TAPROOT)
@account_option
@chain_option
@click.option("--change", is_flag=True, help="Of the change chain.")
@click.option("--path", "path_text", metavar="PATH", help="The address of the key at this path instead.")
@click.option("--check", metavar="ADDRESS", help="Is this address the card's? Looks at all types, both chains.")
@click.option(
    "--gap", type=click.IntRange(1, MAX_RANGE), default=1000, show_default=True, help="How far --check looks."
)
@click.option("--wallet", "wallet_name", metavar="NAME", help="Of a registered wallet; needs no card.")
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
) -> Report:
    """Show addresses of an account, or find out whether an address is the card's.

    With --wallet: those of a registered wallet, derived from its descriptor, which was compared with the card when the
    wallet was added. Compare the address with the one that another signer's device shows.
    """
    if wallet_name is not None:
        return _of_wallet(app, wallet_name, numbers, change, check, gap)
    if kind == TAPROOT:
        check_taproot(app)
    if check is not None:
        return _check(app, check, account, chain, gap)
    if path_text is None:
        parent = account_at(kind, chain, account).child(_CHANGE if change else _RECEIVE)
        wanted = _range(numbers)
        with open_card(app) as opened:
            used = _usable(app, wallet(app, opened), kind)
            keys = read_keys(used, parent, wanted)
    else:
        path = Path.parse(path_text)
        if path.depth < 1:
            raise CtlError(Exit.USAGE, "An address has a path of one level at least")
        with open_card(app) as opened:
            used = _usable(app, wallet(app, opened), kind)
            keys = {path: used.public_keys([path])[path]}
    shown = [(str(path), text_of(script_of(key, kind), chain), key.hex()) for path, key in keys.items()]
    entries = [{"path": path, "address": text, "public_key": key} for path, text, key in shown]
    data = {"type": kind, "chain": chain, "addresses": entries}
    return said(data, lambda screen: screen.table(("Path", "Address"), [row[:2] for row in shown]))


def _usable(app: App, used: Wallet, kind: str) -> Wallet:
    if kind == TAPROOT:
        check_taproot(app, used)
    return used


def _of_wallet(app: App, name: str, numbers: str, change: bool, check: str | None, gap: int) -> Report:
    """Addresses of a registered wallet. No card is asked."""
    source = click.get_current_context().get_parameter_source
    for option, parameter in (("--type", "kind"), ("--account", "account"), ("--path", "path_text")):
        if source(parameter) is ParameterSource.COMMANDLINE:
            raise CtlError(Exit.USAGE, f"{option} is for the card's own addresses: --wallet goes without it")
    stored = stored_wallet(app, name)
    policy = policy_of(stored)
    chain = chosen_chain(policy)
    head = {"wallet": stored.name, "policy": policy.words, "chain": chain.name.lower()}
    if check is not None:
        return _check_wallet(head, policy, check, chain, gap)
    branch, wanted = _CHANGE if change else _RECEIVE, _range(numbers)
    if branch >= policy.branches:
        raise CtlError(Exit.USAGE, f"The wallet {quoted(stored.name)} has no change addresses of its own")
    shown = [(index, policy.address(branch, index, chain)) for index in wanted]
    entries = [{"branch": branch, "index": index, "address": text} for index, text in shown]
    title = f"Wallet {quoted(stored.name)}, {policy.words}"
    heads = ("#", "Change address" if change else "Receive address")

    def show(screen: Screen) -> None:
        screen.table(heads, [(str(index), text) for index, text in shown], title=title if screen.fancy else "")

    return Report({**head, "addresses": entries}, show)


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
        return said(data, (f"Yes: {text} is the card's, at {path}", GOOD))
    no = f"No: {text} is not among the first {reach} addresses of account {account}"
    return said(data, (no, BAD), exit_code=Exit.REFUSED)
