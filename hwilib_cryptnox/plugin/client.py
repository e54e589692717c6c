"""The driver for hwilib: `CryptnoxClient` and `enumerate`. A thin skin: what happens on the card is in `signer`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from copy import copy
from typing import Any, NoReturn, TypeVar

from hwilib import errors as hwi_errors
from hwilib.common import AddressType, Chain
from hwilib.hwwclient import HardwareWalletClient
from hwilib.key import ExtendedKey
from hwilib.psbt import PSBT

from hwilib_cryptnox import DEVICE_TYPE
from hwilib_cryptnox.errors import NO_SCREEN_TEXT, BadRequestError, UnavailableError
from hwilib_cryptnox.hwi.errors import NO_BACKUP_TEXT, NO_TOGGLE_TEXT, PIN_TEXT, Code, to_hwi_error
from hwilib_cryptnox.networks import ADDRESS_TYPES, Network
from hwilib_cryptnox.plugin.version2 import is_kept

F = TypeVar("F", bound=Callable[..., Any])

OLD_HWILIB_TEXT = (
    "this hwilib does not support registered wallets: use hwi-cryptnox registerdescriptor, or cryptnoxctl wallet add"
)

CHANGED_TEXT = (
    "hwilib changed this PSBT of version 2 while reading it: call hwilib_cryptnox.register() before PSBTs are read, or "
    "use hwi-cryptnox"
)

_CLASSES: dict[Code, Callable[[str], hwi_errors.HWWError]] = {
    Code.CONNECTION: hwi_errors.DeviceConnectionError,
    Code.INVALID_TX: hwi_errors.PSBTSerializationError,
    Code.NO_PASSWORD: hwi_errors.NoPasswordError,
    Code.BAD_ARGUMENT: hwi_errors.BadArgumentError,
    Code.NOT_IMPLEMENTED: hwi_errors.NotImplementedError,
    Code.UNAVAILABLE: hwi_errors.UnavailableActionError,
    Code.ALREADY_INITIALIZED: hwi_errors.DeviceAlreadyInitError,
    Code.NOT_READY: hwi_errors.DeviceNotReadyError,
    Code.FAILURE: hwi_errors.DeviceFailureError,
    Code.CANCELED: hwi_errors.ActionCanceledError,
    Code.BUSY: hwi_errors.DeviceBusyError,
}


def as_hwi_error(error: BaseException) -> hwi_errors.HWWError:
    """hwilib's exception for any error, with its code."""
    if isinstance(error, hwi_errors.HWWError):
        return error
    told = to_hwi_error(error)
    make = _CLASSES.get(told.code)
    return hwi_errors.HWWError(told.message, int(told.code)) if make is None else make(told.message)


def mapped(function: F) -> F:
    """Every exception of a client's method leaves as one of hwilib's; none is swallowed."""

    @functools.wraps(function)
    def wrapper(self: CryptnoxClient, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(self, *args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            raise as_hwi_error(self.retold(error)) from error

    return wrapper  # type: ignore[return-value]


def network_of(chain: object) -> Network:
    """Of a chain: hwilib's enumeration, or the text some callers assign instead. What is not said is the main chain."""
    name = str(getattr(chain, "name", chain) or "main").lower()
    return Network.MAIN if name in ("main", "mainnet", "none") else Network.TEST


def _refusing(error: UnavailableError) -> Callable[..., Any]:
    """The method for what no card does."""

    @mapped
    def method(self: CryptnoxClient, *args: object, **kwargs: object) -> NoReturn:  # noqa: ARG001
        """Not available."""
        anew = copy(error)  # one that is kept would keep what its callers were doing
        raise anew

    return method


def _registration(given: object) -> Any:
    """What hwilib's RegisteredDescriptor, or its text, says. Raises BadRequestError."""
    from hwilib_cryptnox.signer.registered.registration import Registration

    return Registration.parse(_text_of(given, "serialize"))


def _text_of(given: object, method: str) -> str:
    """A text, or what hwilib's object for it writes."""
    return given if isinstance(given, str) else str(getattr(given, method)())


class CryptnoxClient(HardwareWalletClient):  # type: ignore[misc]
    """A Cryptnox card for hwilib. The card is opened by the first method that needs it; `close` lets go of it.

    `path`: `cryptnox:SERIAL` or `tcp:HOST:PORT`. `password`: the card's PIN; None, empty or another device's password
    is none.
    """

    def __init__(self, path: str, password: str | None = None, expert: bool = False, chain: Chain = Chain.MAIN) -> None:
        super().__init__(path, password, expert, chain)
        self._wallet: Any = None

    def _open(self) -> Any:
        """The wallet. Loaded late: hwilib constructs clients it never uses."""
        if self._wallet is None:
            from hwilib_cryptnox.signer.host import Host

            self._wallet = Host().wallet(self.path, self.password)
        return self._wallet

    def retold(self, error: BaseException) -> BaseException:
        """An error as the users of a front end are told it, which may have words of its own for it."""
        return error

    @mapped
    def get_master_fingerprint(self) -> bytes:
        """The fingerprint of the master key, 4 bytes."""
        fingerprint: bytes = self._open().fingerprint()
        return fingerprint

    @mapped
    def get_pubkey_at_path(self, bip32_path: str) -> ExtendedKey:
        """The extended public key at a path of 3 to 8 levels."""
        from cryptnox_core.bip32 import Path

        key = self._open().xpub(Path.parse(bip32_path))
        return ExtendedKey.deserialize(key.to_string(network_of(self.chain).version))

    @mapped
    def get_master_xpub(self, addrtype: AddressType = AddressType.WIT, account: int = 0) -> ExtendedKey:
        """The extended public key of an account (BIP44, 49, 84, 86)."""
        purpose = ADDRESS_TYPES[addrtype.name.lower()].purpose
        return self.get_pubkey_at_path(f"m/{purpose}h/{network_of(self.chain).coin_type}h/{account}h")

    @mapped
    def sign_tx(self, psbt: PSBT, registered_descriptor: object = None) -> PSBT:
        """Sign what is ours; the same object where nothing is left to sign. `registered_descriptor`: what
        `register_descriptor` gave, of the wallet that is signed for."""
        from functools import partial

        from hwilib_cryptnox.psbt import Psbt
        from hwilib_cryptnox.signer.signing import Signing

        if not is_kept(psbt):
            raise BadRequestError(CHANGED_TEXT)
        given = Psbt.parse(psbt.serialize())
        wallet, wallets = self._open(), None
        if registered_descriptor is not None:
            from hwilib_cryptnox.signer.registered.registrar import wallets_with

            wallets = partial(wallets_with, wallet, _registration(registered_descriptor))
        signed = Signing(wallet, given, network=network_of(self.chain), wallets=wallets).run()
        if signed is given:
            return psbt
        result = PSBT()
        result.deserialize(signed.to_base64())
        return result

    @mapped
    def sign_message(self, message: str | bytes, bip32_path: str) -> str:
        """A signature in Bitcoin Core's legacy format, base64."""
        from cryptnox_core.bip32 import Path

        signature: str = self._open().sign_message(message, Path.parse(bip32_path))
        return signature

    @mapped
    def can_sign_taproot(self) -> bool:
        """Whether the card signed taproot key paths (BIP86) when it was asked: `cryptnoxctl taproot check`. False for
        all others: a card cannot tweak keys."""
        from hwilib_cryptnox.signer.signatures.taproot import Taproot

        return bool(self._open().taproot() is Taproot.SIGNS)

    def close(self) -> None:
        """Reset and release the card. Harmless when called again."""
        if self._wallet is not None:
            self._wallet.close()

    @mapped
    def setup_device(self, label: str = "", passphrase: str = "") -> bool:
        """Initialise the card and make or load a seed, in a dialogue on the terminal."""
        from hwilib_cryptnox.hwi.setup import setup

        return setup(self._open(), label, passphrase)

    @mapped
    def restore_device(self, label: str = "", word_count: int = 24) -> bool:
        """Initialise the card with the seed of recovery words, typed on the terminal."""
        from hwilib_cryptnox.hwi.setup import restore

        return restore(self._open(), label, word_count)

    @mapped
    def wipe_device(self) -> bool:
        """Back to the factory state, with the PUK and the serial number typed on the terminal."""
        from hwilib_cryptnox.hwi.setup import wipe

        return wipe(self._open())

    @mapped
    def display_singlesig_address(self, bip32_path: str, addr_type: AddressType) -> str:  # noqa: ARG002
        """Not available: there is no screen. BadArgumentError for what is no path."""
        from cryptnox_core.bip32 import Path

        Path.parse(bip32_path)
        raise UnavailableError(NO_SCREEN_TEXT)

    # The next two are of hwilib's versions after 3.2.0.

    @mapped
    def register_descriptor(self, name: str, descriptor: object) -> Any:
        """Have the owner look at a wallet of several keys, and the card register it: hwilib's RegisteredDescriptor.
        `descriptor`: hwilib's. The terminal is asked where a person sits at it, else the dialogue that gives the PIN,
        or that of the configuration; without either it is not available."""
        try:
            from hwilib.descriptor import RegisteredDescriptor
        except ImportError:
            raise UnavailableError(OLD_HWILIB_TEXT) from None
        from hwilib_cryptnox.hwi.registerdescriptor import Request, person_at_terminal, registerdescriptor

        wallet = self._open()
        request = Request.of(
            name,
            _text_of(descriptor, "to_string"),
            wallet.access.state,
            wallet.unlocker,
            chain=None,
            terminal=person_at_terminal(),
        )
        made = registerdescriptor(wallet, request)
        return RegisteredDescriptor(made.name, descriptor, DEVICE_TYPE, made.registration)

    @mapped
    def display_bip388_policy_address(
        self, registered_descriptor: object, index: int, multipath_index: int = 0
    ) -> NoReturn:
        """Not available: there is no screen. Before that it is looked at whether the card registered the wallet, and
        whether it has such an address: BadArgumentError."""
        from hwilib_cryptnox.hwi.registerdescriptor import check_place, check_registered

        registration = _registration(registered_descriptor)
        check_place(registration, index, multipath_index)
        check_registered(self._open(), registration)
        raise UnavailableError(NO_SCREEN_TEXT)

    display_multisig_address = _refusing(UnavailableError(NO_SCREEN_TEXT))
    backup_device = _refusing(UnavailableError(NO_BACKUP_TEXT))
    prompt_pin = send_pin = _refusing(UnavailableError(PIN_TEXT))
    toggle_passphrase = _refusing(UnavailableError(NO_TOGGLE_TEXT))


def enumerate(  # noqa: A001 - the name HWI fixes
    password: str | None = None,
    expert: bool = False,  # noqa: ARG001 - HWI's signature
    chain: object = None,  # noqa: ARG001 - HWI's signature
    allow_emulators: bool = False,
) -> list[dict[str, object]]:
    """All Cryptnox cards, as HWI lists devices. Never raises or asks, and prints nothing on stdout."""
    from hwilib_cryptnox.hwi.listing import list_entries

    return list_entries(password, emulators=bool(allow_emulators))
