"""Extension for Specter Desktop 2.1, where it was installed by pip into the same environment as this package.

Start it with `SPECTER_CONFIG=hwilib_cryptnox.specter.SpecterConfig specter server` (with `--hwibridge` too).
Nothing else imports this module, so Specter is no dependency of anything.
"""

from __future__ import annotations

import os
from typing import Any

from cryptoadvance.specter import hwi_rpc
from cryptoadvance.specter.config import ProductionConfig
from cryptoadvance.specter.devices.hwi_device import HWIDevice
from cryptoadvance.specter.services.service import Service, devstatus_prod

import hwilib_cryptnox

_ICON = "img/cryptnox.svg"


class Cryptnox(HWIDevice):  # type: ignore[misc] # Specter ships no types
    """The card as a device: over PC/SC, and by file where Specter runs elsewhere."""

    device_type = "cryptnox"
    name = "Cryptnox"
    icon = _ICON
    sd_card_support = True
    # The card cannot tweak a key, so it cannot sign for the key path of a tr() wallet.
    taproot_support = False
    supports_hwi_multisig_display_address = False

    @classmethod
    def blueprint(cls) -> str:
        """Flask's endpoint that serves the icon."""
        return f"{CryptnoxService.id}_endpoint.static"

    @classmethod
    def enumerate(cls, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """The cards, as HWI lists them. Specter asks with the password or with nothing.

        Specter has no `--emulators` option: an emulator is listed where the environment names one.
        """
        kwargs.setdefault("allow_emulators", bool(os.environ.get("CRYPTNOX_EMULATOR")))
        devices: list[dict[str, Any]] = hwilib_cryptnox.enumerate(*args, **kwargs)
        return devices

    @classmethod
    def get_client(cls, *args: Any, **kwargs: Any) -> hwilib_cryptnox.CryptnoxClient:
        """A client for one call; Specter closes it."""
        return hwilib_cryptnox.CryptnoxClient(*args, **kwargs)

    def create_psbts(self, base64_psbt: str, wallet: Any) -> dict[str, str]:
        """The PSBT with previous transactions (they prove the amounts) and the cosigners' xpubs (they prove change)."""
        psbt = wallet.fill_psbt(base64_psbt, non_witness=True, xpubs=True)
        return {"hwi": psbt, "sdcard": psbt}


class CryptnoxService(Service):  # type: ignore[misc] # Specter ships no types
    """What makes Specter load the device."""

    id = "cryptnox"
    name = "Cryptnox smart card"
    desc = "Cryptnox card over PC/SC"
    icon = _ICON
    logo = _ICON
    blueprint_module = "hwilib_cryptnox.specter.controller"
    devices = ("hwilib_cryptnox.specter",)
    devstatus = devstatus_prod
    sort_priority = 99

    def __init__(self, active: bool, specter: Any) -> None:
        super().__init__(active, specter)
        hwilib_cryptnox.register()  # so that Specter's hwilib keeps PSBTs of version 2
        # Specter draws up its list of HWI devices before it loads extensions.
        if Cryptnox not in hwi_rpc.hwi_classes:
            hwi_rpc.hwi_classes.append(Cryptnox)


class SpecterConfig(ProductionConfig):  # type: ignore[misc] # Specter ships no types
    """Specter's own configuration and this extension."""

    EXTENSION_LIST = (*ProductionConfig.EXTENSION_LIST, "hwilib_cryptnox.specter")
