"""HWI's registered wallets: `registerdescriptor`, and the registrations that `signtx` and `displayaddress` are given.

The owner looks at a wallet of several keys once, on the terminal or in a dialogue; the card signs its name and
descriptor, and this computer remembers it.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from dataclasses import dataclass

from cryptnox_core.bip32 import HARDENED
from hwilib_cryptnox.console.terminal import Terminal
from hwilib_cryptnox.errors import BadRequestError, CanceledError, LeftError, UnavailableError
from hwilib_cryptnox.networks import CHAINS, Chain, Network
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.signer.registered.registrar import believe, known_before, prove, register, remember
from hwilib_cryptnox.signer.registered.registration import REGISTRATION_PATH, Registration, RegistrationError
from hwilib_cryptnox.signer.review.wallet_prompts import (
    look_prompt_text,
    register_prompt_text,
    register_texts,
    together_note,
    wallet_lines,
)
from hwilib_cryptnox.signer.wallet import Wallet
from hwilib_cryptnox.signer.wallets import WalletPolicy, check_name, check_on_card
from hwilib_cryptnox.storage.state import State, StateError
from hwilib_cryptnox.storage.wallets import StoredWallet

_log = logging.getLogger(__name__)

NOBODY_TEXT = (
    "a person must review a wallet before it is registered: run this in a terminal (with -i if stdin or stderr is "
    "not one), use cryptnoxctl wallet add, or set up a dialog (pin_source or confirm in the configuration)"
)


@dataclass(frozen=True)
class Request:
    """A wallet to be registered. Make it with `of`, which asks no card."""

    name: str
    policy: WalletPolicy
    chain: Chain | None
    """How addresses are written; None: as the keys say."""
    known: StoredWallet | None
    """The wallet as this computer remembers it already."""
    terminal: bool
    """Whether the person is at the terminal."""

    @classmethod
    def of(
        cls, name: str, descriptor: str, state: State, unlocker: Unlocker, *, chain: str | None, terminal: bool
    ) -> Request:
        """`chain`: HWI's name of the one that was given, None: the keys say it. `terminal`: whether the person may be
        asked there; else the dialogue that gives the PIN, or that of the configuration, asks.

        Raises: BadRequestError for a name or a descriptor that cannot be registered; UnavailableError where nobody can
        be asked; StateError.
        """
        name, policy = check_name(name), WalletPolicy.parse(descriptor)
        if chain is not None and Network.of_chain(chain) is not policy.network:
            keys = "the main network (xpub)" if policy.network is Network.MAIN else "a test network (tpub)"
            raise BadRequestError(f"--chain {chain}: the wallet's keys are for {keys}")
        known = known_before(state, name, policy)
        if known is not None and known.name != name:
            raise BadRequestError(f'this wallet is registered as "{known.name}"')
        there = terminal and Terminal().available
        if not (there or unlocker.asks_person or unlocker.confirms) and (
            known is None or not any(known.cards.values())
        ):
            raise UnavailableError(NOBODY_TEXT)
        return cls(name, policy, None if chain is None else CHAINS[chain], known, there)

    @property
    def prompt(self) -> str:
        """What a dialogue says that asks for the PIN."""
        return register_prompt_text(self.name, self.policy)


def registerdescriptor(wallet: Wallet, request: Request) -> Registration:
    """Register a wallet with the card, and on this computer. One that is registered with this card by this name is
    answered again, and nobody is asked.

    Raises: PolicyError where the card is not in the wallet; UnavailableError where nobody can be asked; CanceledError
    where the person does not agree; what opening a card, verifying the PIN and signing raise.
    """
    name, policy = request.name, request.policy
    fingerprint = wallet.session(request.prompt).fingerprint
    made = None if request.known is None else request.known.cards.get(fingerprint)
    if made is not None:
        with suppress(RegistrationError):  # the file says so, the card does not
            again = Registration(name, policy, made)
            believe(wallet, again)
            return again
    key = prove(wallet, policy, [REGISTRATION_PATH])[REGISTRATION_PATH]
    _ask(wallet, request)
    registration = register(wallet, name, policy, key)
    try:
        remember(wallet.access.state, name, policy, fingerprint, registration)
    except StateError as error:
        _log.warning("the wallet is registered, but this computer cannot remember it: %s", error)
    return registration


def _ask(wallet: Wallet, request: Request) -> None:
    """Return when the person agreed, who has seen what is registered."""
    session = wallet.session()
    name, policy, chain = request.name, request.policy, request.chain
    serial, fingerprint = session.card.serial, session.fingerprint
    note = together_note(policy, wallet.taproot())
    if request.terminal:
        _ask_at_terminal(Terminal(), serial, wallet_lines(name, policy, fingerprint, chain, note))
    elif wallet.unlocker.confirms:
        for shown, plain in register_texts(name, policy, serial, fingerprint, chain, note):
            wallet.unlocker.confirm(shown, plain)
    else:
        raise UnavailableError(NOBODY_TEXT)


def _ask_at_terminal(terminal: Terminal, serial: int, lines: list[str]) -> None:
    for line in lines:
        terminal.say(line)
    terminal.say("Compare every key with its own device, or with what its owner gave you.")
    terminal.fresh()
    try:
        agreed = terminal.agrees(f"Register this wallet with the card {serial}?")
    except LeftError:
        agreed = False
    if not agreed:
        raise CanceledError("Canceled. Nothing was registered")


def person_at_terminal() -> bool:
    """Whether a person typed the command: a program that starts us has stdin or stderr for itself."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def check_ours(policy: WalletPolicy, fingerprint: bytes | None) -> None:
    """PolicyError where a wallet names no key of the card that was asked for: then it needs no PIN. `fingerprint`: 4
    bytes, None where none was given."""
    if fingerprint is not None and not policy.keys_of(fingerprint):
        check_on_card(policy, {}, fingerprint)


def check_place(registration: Registration, index: int | None, branch: int | None) -> tuple[int, int]:
    """Branch and index of an address of a registered wallet.

    Raises: BadRequestError where no index is given, PolicyError where the wallet has no such address.
    """
    if index is None:
        raise BadRequestError("Missing --index")
    policy = registration.policy
    branch = 0 if branch is None else branch
    if not 0 <= index < HARDENED:
        raise BadRequestError(f"the index of an address is 0 to {HARDENED - 1}")
    if not 0 <= branch < policy.branches:
        known = "0 is receive, 1 is change" if policy.branches > 1 else "0 is receive and change"
        raise BadRequestError(f"the wallet has no branch {branch}: {known}")
    policy.keys_at(branch, index)
    return branch, index


def check_registered(wallet: Wallet, registration: Registration) -> None:
    """Raises RegistrationError unless this card made it, PolicyError where it is not in the wallet."""
    wallet.session(look_prompt_text(registration.name))
    believe(wallet, registration)
