"""Wallets of several keys as commands are given them, by name, descriptor or file, and how they are shown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from cryptnox_core.bip32 import Path as KeyPath
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.console.wording import escaped
from hwilib_cryptnox.ctl.app import App
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import read_file, read_input
from hwilib_cryptnox.networks import CHAINS, Chain, Network
from hwilib_cryptnox.storage.state import StateError
from hwilib_cryptnox.storage.wallets import StoredWallet, WalletStore

if TYPE_CHECKING:
    from hwilib_cryptnox.export.imports import WalletFile
    from hwilib_cryptnox.psbt.codec import FieldMap
    from hwilib_cryptnox.signer.registered.card_wallets import NamedWallet
    from hwilib_cryptnox.signer.wallets import WalletPolicy

STDIN = "-"
_NEITHER_TEXT = "What you gave is neither an output descriptor nor an existing file"
_REGISTRATION = "cmRlc2"
"""How a registration of HWI begins."""
_MOST_CLAIMS = 20
"""Keys of one input or output that are looked at."""
_MOST_WORK = 40_000
"""Keys of wallets that are derived for the inputs and outputs of one PSBT."""
_MOST_LINES = 64 * 1024
"""Bytes that are looked at for a descriptor of one key."""


def quoted(name: str) -> str:
    """A wallet's name in quotation marks, in which nothing is hidden."""
    return f'"{escaped(name)}"'


@contextlib.contextmanager
def refused(what: str, hint: str = "") -> Iterator[None]:
    """What is no wallet that can be used is refused input."""
    from hwilib_cryptnox.signer.wallets import PolicyError

    try:
        yield
    except PolicyError as error:
        raise CtlError(Exit.INPUT, f"{what} was refused: {error}", hint) from error


# Registered ones


def stored_wallet(app: App, name: str) -> StoredWallet:
    """A registered wallet by its name; CtlError where there is none."""
    found = WalletStore(app.state).get(name)
    if found is None:
        raise CtlError(Exit.USAGE, "No wallet is registered under this name", "cryptnoxctl wallet list shows the names")
    return found


def policy_of(stored: StoredWallet) -> WalletPolicy:
    """What a registered wallet's descriptor says; CtlError where it cannot be read any more."""
    from hwilib_cryptnox.signer.wallets import WalletPolicy

    with refused(f"The registered wallet {quoted(stored.name)}", "its descriptor may need a later version of embit"):
        return WalletPolicy.parse(stored.descriptor)


def known_wallets(app: App) -> list[tuple[str, WalletPolicy]]:
    """All registered wallets that can be read, for commands that only name them: what cannot be read is a note."""
    try:
        stored = WalletStore(app.state).all()
    except StateError as error:
        app.note(f"No wallet is recognized: {error}")
        return []
    found = []
    for one in stored:
        try:
            found.append((one.name, policy_of(one)))
        except CtlError as error:
            app.note(str(error))
    return found


# As they are given


def given_file(app: App, text: str, neither: str = _NEITHER_TEXT) -> WalletFile:
    """What DESCRIPTOR|FILE says. Its text is repeated in no message: it may be a secret that was pasted by mistake.
    `neither`: what is said of anything else."""
    from hwilib_cryptnox.export.imports import WalletFile, read_wallet_file

    if text == STDIN:
        data = read_input(app, text)
    elif "(" in text and not _is_file(text):
        return WalletFile(text)
    elif text.startswith(_REGISTRATION) and not _is_file(text):
        data = text.encode("utf-8", "surrogateescape")
    elif _is_file(text):
        data = read_file(text)
    else:
        raise CtlError(Exit.USAGE, neither)
    try:
        return read_wallet_file(data)
    except UsageError as error:
        raise CtlError(Exit.INPUT, f"The wallet file was refused: {error}") from error


def named_wallet(app: App, text: str) -> NamedWallet:
    """What `--wallet NAME|DESCRIPTOR|FILE` means: a registered wallet before a file."""
    from hwilib_cryptnox.signer.registered.card_wallets import NamedWallet
    from hwilib_cryptnox.signer.registered.registration import Registration

    stored = _registered(app, text)
    if stored is not None:
        if _is_file(text):
            app.note(
                f"--wallet: this means the registered wallet {quoted(stored.name)}, not the file of that name; put "
                "./ before the name to use the file"
            )
        policy = policy_of(stored)
        return NamedWallet(policy.tree, policy)
    descriptor = _one_key_in(text)
    with refused("The wallet of --wallet"):
        if descriptor is None:
            found = given_file(app, text, "--wallet: this is not a registered wallet, an output descriptor, or a file")
            descriptor = found.descriptor or Registration.parse(found.registration or "").descriptor
        return NamedWallet.parse(descriptor)


def _registered(app: App, text: str) -> StoredWallet | None:
    """By name. What cannot be read is no matter where a descriptor or a file was meant."""
    try:
        return WalletStore(app.state).get(text)
    except StateError:
        if "(" in text or _is_file(text):
            return None
        raise


def _one_key_in(text: str) -> str | None:
    """The descriptor of a file that holds one of a single key and nothing else; None otherwise."""
    if not _is_file(text):
        return None
    lines = [line.strip() for line in read_file(text)[:_MOST_LINES].decode("utf-8", "replace").splitlines()]
    told = [line for line in lines if line and not line.startswith("#")]
    return told[0] if len(told) == 1 and told[0].startswith(("wpkh(", "pkh(", "sh(wpkh(", "tr(")) else None


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # a name that is too long, or has a zero byte
        return False


# How addresses are written


def chosen_chain(policy: WalletPolicy) -> Chain:
    """The network of `--chain`, else that of the wallet's keys: the one that is configured where it is of theirs.
    CtlError where --chain and the keys contradict each other."""
    context = click.get_current_context()
    chain = str(context.params["chain"])
    if Network.of_chain(chain) is policy.network:
        return CHAINS[chain]
    if context.get_parameter_source("chain") is not ParameterSource.COMMANDLINE:
        return Chain.MAIN if policy.network is Network.MAIN else Chain.TEST
    keys = "the main network" if policy.network is Network.MAIN else "a test network"
    raise CtlError(Exit.USAGE, f"--chain {chain}: the wallet's keys are for {keys}")


# Whose inputs and outputs are


@dataclass(slots=True)
class Work:
    """What the inputs and outputs of one PSBT may cost together."""

    left: int = _MOST_WORK
    """Keys."""
    ended: bool = False
    """Something was not compared: a PSBT may name any number of keys."""

    def spend(self, keys: int) -> bool:
        """Whether so many keys may be derived."""
        self.ended = self.ended or keys > self.left
        self.left -= 0 if self.ended else keys
        return not self.ended


def owner_of(
    wallets: Sequence[tuple[str, WalletPolicy]], script: bytes, fields: FieldMap, work: Work, *, output: bool
) -> str | None:
    """Name of the wallet that derives a script at the place where one of its keys says to be, by an input's or an
    output's fields. None also where that would be too much work."""
    from hwilib_cryptnox.psbt import fields as f
    from hwilib_cryptnox.psbt.musig import places_by_signer

    plain, taproot = (
        (f.OUT_BIP32_DERIVATION, f.OUT_TAP_BIP32_DERIVATION)
        if output
        else (f.IN_BIP32_DERIVATION, f.IN_TAP_BIP32_DERIVATION)
    )
    claims = [
        *fields.keyed(plain),
        *[(key, f.split_tap_derivation(value)[1]) for key, value in fields.keyed(taproot)],
    ]
    places = places_by_signer(fields, f.OUT_MUSIG2_PARTICIPANTS if output else f.IN_MUSIG2_PARTICIPANTS, taproot)
    for key, value in claims[:_MOST_CLAIMS]:
        path = KeyPath.from_bytes(value[4:], "little")
        for name, policy in wallets:
            for place in (KeyPath(), *places.get(key, ())):
                if not work.spend(policy.work(script, path, value[:4], place)):
                    return None
                if policy.matches(script, path, value[:4], key, place):
                    return name
    return None
