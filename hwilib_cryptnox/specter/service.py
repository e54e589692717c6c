"""What Specter loads: the device, the service that registers it, and Specter's configuration with both."""

from __future__ import annotations

from functools import partial
from typing import Any

from cryptoadvance.specter import hwi_rpc
from cryptoadvance.specter.config import ProductionConfig
from cryptoadvance.specter.devices.hwi_device import HWIDevice
from cryptoadvance.specter.services.service import Service, devstatus_prod

import hwilib_cryptnox
from hwilib_cryptnox import DEVICE_TYPE
from hwilib_cryptnox.specter import cards

_ICON = "img/cryptnox.svg"
_UNLOCK = "cryptnox_unlock"
"""The method of Specter's JSON-RPC for devices that this extension adds."""


class Cryptnox(HWIDevice):  # type: ignore[misc] # Specter ships no types
    """The card as a device: over PC/SC, and by file where Specter runs elsewhere."""

    device_type = DEVICE_TYPE
    name = "Cryptnox"
    icon = _ICON
    sd_card_support = True
    # Specter asks the kind of device, perhaps on another computer than the one that asked the card: no released card
    # signs for the key path of a tr() wallet, and one that does cannot be told apart here.
    taproot_support = False
    supports_hwi_multisig_display_address = False
    bridge: Any = None
    """Specter's JSON-RPC for devices, when it is there."""

    @classmethod
    def blueprint(cls) -> str:
        """Flask's endpoint that serves the icon."""
        return f"{CryptnoxService.id}_endpoint.static"

    @classmethod
    def enumerate(cls, passphrase: str | None = None, **_: object) -> list[cards.Entry]:
        """The cards, as HWI lists them. Specter tells no driver which device a passphrase is for."""
        return cards.listed() if not passphrase else cards.listed_with(passphrase, getattr(cls.bridge, "devices", []))

    @classmethod
    def get_client(cls, *args: Any, **kwargs: Any) -> cards.Client:
        """A client for one call; Specter closes it."""
        return cards.Client(*args, **kwargs)

    def create_psbts(self, base64_psbt: str, wallet: Any) -> dict[str, str]:
        """The PSBT with previous transactions (they prove the amounts) and the cosigners' xpubs (they prove change)."""
        psbt = wallet.fill_psbt(base64_psbt, non_witness=True, xpubs=True)
        return {"hwi": psbt, "sdcard": psbt}


def unlock(bridge: Any, path: object = "", passphrase: object = "", **_: object) -> cards.Entry:
    """The entry of one listed card, with its fingerprint. The PIN reaches no other card, and no other device's driver.

    Further parameters are those that Specter's other methods have.
    """
    with hwi_rpc.hwilock:
        listed = next(
            (entry for entry in bridge.devices if (entry["type"], entry["path"]) == (DEVICE_TYPE, path)), None
        )
        if listed is None:
            raise cards.not_listed()
        unlocked = cards.unlocked(listed, passphrase if isinstance(passphrase, str) else "")
        bridge.devices = [unlocked if entry is listed else entry for entry in bridge.devices]
        return unlocked


class CryptnoxService(Service):  # type: ignore[misc] # Specter ships no types
    """What makes Specter load the device."""

    id = DEVICE_TYPE
    name = "Cryptnox smart card"
    desc = "Cryptnox card over PC/SC"
    icon = _ICON
    logo = _ICON
    blueprint_module = "hwilib_cryptnox.specter.controller"
    devices = ("hwilib_cryptnox.specter.service",)
    devstatus = devstatus_prod
    sort_priority = 99

    def __init__(self, active: bool, specter: Any) -> None:
        super().__init__(active, specter)
        hwilib_cryptnox.register()  # so that Specter's hwilib keeps PSBTs of version 2
        # Specter draws up its list of HWI devices before it loads extensions.
        if Cryptnox not in hwi_rpc.hwi_classes:
            hwi_rpc.hwi_classes.append(Cryptnox)

    def callback_specter_added_to_flask_app(self) -> None:
        """Specter's JSON-RPC for devices is there."""
        Cryptnox.bridge = bridge = self.specter.hwi
        bridge.exposed_rpc[_UNLOCK] = partial(unlock, bridge)


class SpecterConfig(ProductionConfig):  # type: ignore[misc] # Specter ships no types
    """Specter's own configuration and this extension."""

    EXTENSION_LIST = (*ProductionConfig.EXTENSION_LIST, "hwilib_cryptnox.specter.service")
