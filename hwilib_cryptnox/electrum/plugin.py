"""The plugin without a user interface: finds cards, makes clients, checks addresses, and has the wizard's steps."""

from __future__ import annotations

import weakref
from typing import Any

from .cards import LOOKING, Card, Cards
from .client import CryptnoxClient
from .errors import CanceledError, CardError
from .keystore import CryptnoxKeyStore
from .pins import PinMemory, RefusedPins
from .places import (
    CardProblem,
    Device,
    DeviceUnpairableError,
    HardwarePluginLibraryUnavailable,
    HW_PluginBase,
    UserCancelled,
    address_of,
    chain,
    runs_in_hwd_thread,
)
from .program import MISSING_TEXT

PRODUCT = ("cryptnox", "card")
PROGRAM_KEY = "plugins.cryptnox.program"
"""Where Electrum's configuration keeps the file of the program, if it was named."""
OTHER_CARD_TEXT = (
    "This card does not hold the keys of this wallet. Put in the card with the fingerprint {}, then click the card at "
    "the bottom of the window to pair again."
)


class CryptnoxPlugin(HW_PluginBase):  # type: ignore[misc]
    """What `qt` and `cmdline` share."""

    keystore_class = CryptnoxKeyStore
    DEVICE_IDS = (PRODUCT,)
    SUPPORTED_XTYPES = ("standard", "p2wpkh-p2sh", "p2wpkh", "p2wsh-p2sh", "p2wsh")

    def __init__(self, parent: Any, config: Any, name: str) -> None:
        HW_PluginBase.__init__(self, parent, config, name)
        self.config = config
        self.cards = Cards(lambda: str(config.get(PROGRAM_KEY) or ""), chain)
        self.known: dict[str, Card] = {}
        """By path, as of the last look."""
        self.refused = RefusedPins()
        self._memories: weakref.WeakKeyDictionary[Any, PinMemory] = weakref.WeakKeyDictionary()
        self._unusable = ""
        """Why the program cannot be asked."""
        self._quiet = self._declined = False
        self.device_manager().register_enumerate_func(self.detect_cards)

    @property
    def libraries_available(self) -> bool:
        """Whether the program could be asked when it was last tried."""
        return not self._unusable

    def get_library_not_available_message(self) -> str:
        """What is wrong with the program."""
        return self._unusable or MISSING_TEXT

    def look_anew(self) -> None:
        """What was wrong with the program need not be any more: the next look tells."""
        self._unusable = ""

    # Cards

    def detect_cards(self) -> list[Any]:
        """The cards in the readers, for Electrum's scan."""
        try:
            cards = self.cards.look()
        except CanceledError:  # a window was closed meanwhile
            cards = list(self.known.values())
        except CardError as error:
            self._unusable = str(error)
            self.known = {}
            self.logger.warning(f"no cards: {error}")
            return []
        self._unusable = ""
        self.known = {card.path: card for card in cards}
        return [
            Device(
                path=card.path,
                interface_number=-1,
                id_=card.path,
                product_key=PRODUCT,
                usage_page=0,
                transport_ui_string=card.state,
            )
            for card in cards
        ]

    @runs_in_hwd_thread  # type: ignore[untyped-decorator]
    def create_client(self, device: Any, handler: Any) -> CryptnoxClient:
        """A client for a card. Nothing is asked of the card."""
        return CryptnoxClient(self, handler, str(device.path))

    def lost(self, path: str) -> None:
        """The card is gone, or is another one: the next command looks for it again."""
        self.device_manager().unpair_id(path)

    @runs_in_hwd_thread  # type: ignore[untyped-decorator]
    def get_client(
        self, keystore: Any, force_pair: bool = True, *, devices: Any = None, allow_user_interaction: bool = True
    ) -> Any:
        """The client of the card that holds a keystore's keys. Without interaction no PIN is asked for either: then
        None where one would be."""
        self._quiet, self._declined = not allow_user_interaction, False
        try:
            client = HW_PluginBase.get_client(
                self, keystore, force_pair, devices=devices, allow_user_interaction=allow_user_interaction
            )
        except (DeviceUnpairableError, HardwarePluginLibraryUnavailable, CardProblem) as error:
            if self._quiet:  # another signer of this wallet may be ready
                return None
            if self._declined:
                raise UserCancelled from None
            if isinstance(error, DeviceUnpairableError):
                raise CardProblem(OTHER_CARD_TEXT.format(keystore.get_root_fingerprint())) from None
            if isinstance(error, CardProblem):
                raise
            raise CardProblem(str(error)) from error
        finally:
            self._quiet = False
        return client

    def pair_again(self, keystore: Any) -> bool:
        """Look for the card of a keystore anew; whether it is there."""
        self.device_manager().unpair_pairing_code(keystore.pairing_code())
        return self.get_client(keystore) is not None

    def cancel_of(self, keystore: Any) -> None:
        """End what a keystore's window asks of its card, and nothing that another window asks; and a list of the cards,
        which may hang."""
        self.cards.cancel(LOOKING)
        client = self.device_manager().client_by_id(keystore.soft_device_id, scan_now=False)
        if client is not None and client.handler is keystore.handler:
            client.cancel()

    # PINs

    def memory_of(self, window: Any) -> PinMemory:
        """The PINs of a window."""
        return self._memories.setdefault(window, PinMemory())

    def forget_unused(self, since: float) -> None:
        """Forget the PINs of windows that used none since then."""
        for memory in list(self._memories.values()):
            memory.forget_unused(since)

    def ask_pin(self, handler: Any, card: Card, why: str) -> str | None:
        """Ask in a window; None where nobody is to be asked, or the person leaves."""
        pin: str | None = None if self._quiet else handler.ask_pin(card.name, why)
        self._declined = self._declined or pin is None
        return pin

    # Addresses

    def show_address(self, wallet: Any, address: str, keystore: Any = None) -> None:
        """Say whether the card's own key makes an address."""
        keystore = keystore or wallet.get_keystore()
        if not self.show_address_helper(wallet, address, keystore):
            return
        handler = keystore.handler
        index = wallet.get_address_index(address)
        path = f"{keystore.get_derivation_prefix()}/{index[0]}/{index[1]}"
        client = self.get_client(keystore)
        if client is None:
            raise CardProblem("The card of this wallet is not connected. Put it into the reader, then try again.")
        handler.show_message("Asking the card for its key...", on_cancel=client.cancel)
        try:
            key = client.public_key(path)
        finally:
            handler.finished()
        if key != keystore.derive_pubkey(*index):
            handler.show_error(f"The card has another key at {path}. Do not use this address:\n\n{address}")
            return
        keystores = wallet.get_keystores()
        if len(keystores) > 1:
            handler.tell(
                f"{address}\n\nThe card holds one of the {len(keystores)} keys of this address, at {path}. Compare the "
                "address with what the other signers show."
            )
        elif address_of(wallet.get_txin_type(address), key) == address:
            handler.tell(f"{address}\n\nThis address is the card's: the card's own key at {path} makes it.")
        else:
            handler.show_error(f"The card's key at {path} makes another address. Do not use this one:\n\n{address}")

    # The wizard

    def wizard_entry_for_device(self, device_info: Any, *, new_wallet: bool = True) -> str:
        """The first page for a card."""
        card = self.known.get(device_info.device.path)
        if card is None or card.problem or not new_wallet:
            return "cryptnox_problem"
        return "cryptnox_start"

    def problem_of(self, path: str) -> str:
        """Why the wizard does not go on with a card, and what to do."""
        card = self.known.get(path)
        if card is None:
            return "The card is not in the reader any more. Put it back, go back, and rescan the devices."
        return card.problem or "The card does not encrypt wallet files, so it cannot open this one. Use its password."

    def extend_wizard(self, wizard: Any) -> None:
        """The pages of the card, without their looks. The wallet file is encrypted with a password, never by a card."""
        wizard.navmap_merge(
            {
                "cryptnox_start": {"next": "cryptnox_xpub"},
                "cryptnox_xpub": {
                    "next": lambda data: (
                        "wallet_password" if wizard.last_cosigner(data) else "multisig_cosigner_keystore"
                    ),
                    "accept": wizard.maybe_master_pubkey,
                    "last": lambda data: wizard.is_single_password() and wizard.last_cosigner(data),
                },
                "cryptnox_problem": {},
            }
        )
