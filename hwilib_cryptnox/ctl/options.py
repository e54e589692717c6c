"""Networks, script types and accounts as options, and the keys and addresses they lead to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import click
from click.core import ParameterSource

from cryptnox_core.bip32 import Path
from cryptnox_core.crypto.hashes import base58check_decode
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.ctl.app import App
from hwilib_cryptnox.ctl.cards import open_card, wallet
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.export import KeySet
from hwilib_cryptnox.networks import (
    CHAINS,
    SINGLE_KEY,
    AccountType,
    Network,
    ScriptType,
    TaprootType,
    account_path,
)
from hwilib_cryptnox.psbt.change import single_key_scripts
from hwilib_cryptnox.psbt.script import p2pkh, p2sh
from hwilib_cryptnox.psbt.summary import address_of, coin_of
from hwilib_cryptnox.signer.signatures.taproot import Taproot, any_asked
from hwilib_cryptnox.signer.wallet import Wallet
from hwilib_cryptnox.storage.settings import SettingsError

F = TypeVar("F", bound=Callable[..., object])

TAPROOT = TaprootType.P2TR.value
TYPES = {script.value: script for script in ScriptType if not script.is_multisig}
ALL_TYPES: dict[str, AccountType] = {**TYPES, TAPROOT: TaprootType.P2TR}
"""With what only some cards sign for: `check_taproot`."""
READ_ONE_BY_ONE = 100
"""So many keys are read singly where the card gives no extended key."""


_MAIN, _CHAIN_NAMES = "main", ", ".join(CHAINS)


def _configured_chain() -> str:
    """What the environment or the configuration file says, else the main network."""
    name = click.get_current_context().ensure_object(App).settings.chain or _MAIN
    if name not in CHAINS:
        raise SettingsError(f"The configured chain (CRYPTNOX_CHAIN, chain in config.toml) is not one of {_CHAIN_NAMES}")
    return name


chain_option = click.option(
    "--chain",
    type=click.Choice(list(CHAINS)),
    default=_configured_chain,
    show_default="main, or the one you configured",
    help="The network.",
)


def chain_is_chosen(app: App) -> bool:
    """Whether the person said which network is meant: with --chain, or in the configuration."""
    source = click.get_current_context().get_parameter_source("chain")
    return source is ParameterSource.COMMANDLINE or bool(app.settings.chain)


def chain_of_path(app: App, path: Path, chain: str) -> str:
    """The network whose addresses a key at a path has. Where nobody said which is meant, the path does.

    CtlError where the two contradict each other: nothing is shown or signed for another network by mistake.
    """
    coin = coin_of(path)
    if coin is None or coin == Network.of_chain(chain).coin_type:
        return chain
    if not chain_is_chosen(app):
        return "test" if coin else _MAIN
    keys = "a test network" if coin else "the main network"
    raise CtlError(
        Exit.USAGE,
        f"{path} is a path of {keys}, but the network is {chain}",
        f"--chain {'test' if coin else _MAIN}, or another path",
    )


account_option = click.option(
    "--account", type=click.IntRange(0, (1 << 31) - 1), default=0, show_default=True, help="Account number."
)
second_option = click.option(
    "--second", metavar="READER", help="The reader with the second card. Without it, you swap the cards in one reader."
)


def type_option(*more: str) -> Callable[[F], F]:
    """`--type`; `more` are choices beside the single-sig types."""
    choices = click.Choice([*TYPES, *more])
    return click.option("--type", "kind", type=choices, default="p2wpkh", show_default=True, help="Script type.")


def account_at(kind: str, chain: str, account: int) -> Path:
    """The path of an account; taproot keys live under BIP86's purpose, untweaked ones too."""
    return account_path(_kind(kind), Network.of_chain(chain), account)


def _kind(name: str) -> AccountType:
    return TaprootType.P2TR if name == TAPROOT else SINGLE_KEY[name]


def check_taproot(app: App, used: Wallet | None = None) -> None:
    """CtlError for a card that does not sign taproot key paths (BIP86), as far as this computer knows: nobody is to be
    paid to what it could not spend. Without `used`: told before any card is opened, where none was asked here."""
    if used is None and any_asked(app.state):
        return
    found = Taproot.UNKNOWN if used is None else used.taproot()
    if found is not Taproot.SIGNS:
        raise CtlError(
            Exit.REFUSED,
            f"The card cannot sign for taproot addresses (BIP86): {found.words}",
            "--type p2wpkh works with every card",
        )


def script_of(key: bytes, kind: str) -> bytes:
    """The output script of a compressed key."""
    return single_key_scripts(key, taproot=kind == TAPROOT)[_kind(kind)]


def text_of(script: bytes, chain: str) -> str:
    """The address of a script that has one."""
    return address_of(script, CHAINS[chain]) or script.hex()


def read_keys(used: Wallet, parent: Path, numbers: Sequence[int]) -> dict[Path, bytes]:
    """Unhardened children of `parent`, two levels below an account at least: from the account's extended key, or singly
    where the card does not give it."""
    if len(numbers) > READ_ONE_BY_ONE and not used.session().card.info.xpub_export:
        raise CtlError(
            Exit.REFUSED,
            f"xpub export is off, so keys are read one by one: ask for at most {READ_ONE_BY_ONE}",
            "cryptnoxctl xpub on (needs the PUK)",
        )
    paths = [parent.child(number) for number in numbers]
    keys = used.public_keys(paths)
    return {path: keys[path] for path in paths}


def key_set(
    app: App, paths: Sequence[Path], chain: str, *, taproot: Sequence[Path] = (), only_taproot: bool = False
) -> KeySet:
    """Extended keys of the card at some paths, with the master fingerprint. `taproot`: others, for a card that signs
    BIP86 key paths; CtlError for another with `only_taproot`."""
    with open_card(app) as opened:
        used = wallet(app, opened)
        if only_taproot:
            check_taproot(app, used)
        if taproot and used.taproot() is Taproot.SIGNS:
            paths = [*paths, *taproot]
        return KeySet(used.fingerprint(), used.xpubs(paths), Network.of_chain(chain))


def chain_of_address(text: str, chain: str) -> str:
    """The network whose prefix an address has, where it is not that of `chain`; `chain` where none is told."""
    head = text.lower()
    found = [name for name, one in CHAINS.items() if head.startswith(f"{one.value[0]}1")]
    if found:
        return chain if chain in found else found[0]
    with contextlib.suppress(UsageError):
        version = base58check_decode(text)[0]
        found = [name for name, one in CHAINS.items() if version in one.value[1:]]
    return chain if chain in found or not found else found[0]


def script_of_address(text: str, chain: str) -> bytes:
    """The output script of an address of a network; CtlError INPUT where it is none."""
    prefix, p2pkh_version, p2sh_version = CHAINS[chain].value
    other = CtlError(
        Exit.INPUT,
        f"{text!r} is not an address of the network {chain}",
        "check that you copied all of it; for another network: --chain",
    )
    if text.lower().startswith(f"{prefix}1"):
        from embit import bech32

        version, program = bech32.decode(prefix, text)
        if version is None or program is None:
            raise other
        return bytes((0x50 + version if version else 0, len(program), *program))
    try:
        raw = base58check_decode(text)
    except UsageError as error:
        raise other from error
    if len(raw) != 21 or raw[0] not in (p2pkh_version, p2sh_version):
        raise other
    if raw[0] == p2pkh_version:
        return p2pkh(raw[1:])
    return p2sh(raw[1:])
