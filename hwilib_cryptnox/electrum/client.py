"""A card as Electrum's device manager keeps it: one object while the card is there. Holds no secret."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from .cards import Card, Cards, Key
from .errors import AbsentCardError, CanceledError, CardError
from .pins import RefusedPins, with_pin
from .places import (
    BIP32Node,
    CardProblem,
    HardwareClientBase,
    UserCancelled,
    coin_type,
    runs_in_hwd_thread,
    steps_of,
)
from .review import Review

T = TypeVar("T")

LEAST_LEVELS, MOST_LEVELS = 3, 8
LEVELS_TEXT = (
    f"The card gives keys of {LEAST_LEVELS} to {MOST_LEVELS} levels. Use a path like m/84'/0'/0', or m/48'/0'/0'/2' "
    "for a multisig wallet."
)
_HARDENED = 1 << 31


def path_text(steps: list[int]) -> str:
    """A path as the program takes it."""
    return "/".join(["m", *(f"{step & ~_HARDENED}h" if step & _HARDENED else str(step) for step in steps)])


class Desk(Protocol):
    """What a client needs of the plugin."""

    cards: Cards
    known: dict[str, Card]
    refused: RefusedPins

    def ask_pin(self, handler: Any, card: Card, why: str) -> str | None:
        """Ask in a window."""

    def detect_cards(self) -> list[Any]:
        """Look at the readers."""

    def forget_unused(self, since: float) -> None:
        """Forget PINs."""

    def lost(self, path: str) -> None:
        """The card is gone."""


class CryptnoxClient(HardwareClientBase):  # type: ignore[misc]
    """Everything that is asked of a card goes through here, in the one thread that Electrum has for devices."""

    def __init__(self, plugin: Desk, handler: Any, path: str) -> None:
        HardwareClientBase.__init__(self, plugin=plugin)
        self.plugin: Desk = plugin
        self.handler = handler
        self.path = path
        self._keys: dict[str, Key] = {}
        """What this card gave: the wallet is recognized by them without asking for the PIN again."""

    def __repr__(self) -> str:
        return f"CryptnoxClient({self.path})"

    # What Electrum asks without a PIN

    def device_model_name(self) -> str:
        """The model."""
        return "Cryptnox card"

    def label(self) -> str:
        """The serial number tells cards from one another."""
        return self._card().name

    def get_soft_device_id(self) -> str:
        """The serial number stays the same for the life of a card, and needs no PIN."""
        return self.path

    def is_initialized(self) -> bool:
        """Whether the card holds a wallet."""
        return self._card().has_wallet

    def is_pairable(self) -> bool:
        """A card that cannot be used says why when its key is asked for."""
        return True

    def has_usable_connection_with_device(self) -> bool:
        """As of the last look at the readers."""
        return self.path in self.plugin.known

    def timeout(self, cutoff: float) -> None:
        """Forget the PINs that were not used since then."""
        self.plugin.forget_unused(cutoff)

    def close(self) -> None:
        """Forget the keys."""
        self._keys.clear()

    def cancel(self) -> None:
        """End what the card is asked. From any thread."""
        self.plugin.cards.cancel(self.path)

    def _card(self) -> Card:
        return self.plugin.known.get(self.path) or Card(self.path, None, "absent")

    # What needs the PIN

    @runs_in_hwd_thread  # type: ignore[untyped-decorator]
    def get_xpub(self, bip32_path: str, xtype: str) -> str:
        """The extended public key at a path, as Electrum writes it for a type of script."""
        return str(self._node(bip32_path)._replace(xtype=xtype).to_xpub())

    @runs_in_hwd_thread  # type: ignore[untyped-decorator]
    def public_key(self, bip32_path: str) -> bytes:
        """The card's own key at a path, 33 bytes, asked now."""
        self._keys.pop(path_text(steps_of(bip32_path)), None)
        return bytes(self._node(bip32_path).eckey.get_public_key_bytes(compressed=True))

    @runs_in_hwd_thread  # type: ignore[untyped-decorator]
    def request_root_fingerprint_from_device(self) -> str:
        """The master key's fingerprint."""
        if not self._keys:
            self._node(f"m/84'/{coin_type()}'/0'")
        return next(iter(self._keys.values())).fingerprint

    def get_password_for_storage_encryption(self) -> str:
        """The card keeps no key for files."""
        raise CardProblem("The card does not encrypt wallet files. Choose a password for the wallet file instead.")

    @runs_in_hwd_thread  # type: ignore[untyped-decorator]
    def sign_message(self, bip32_path: str, message: str) -> bytes:
        """A message signature, 65 bytes."""
        path = path_text(steps_of(bip32_path))
        return self._with_pin(lambda pin, last: self.plugin.cards.sign_message(self.path, message, path, pin, last))

    @runs_in_hwd_thread  # type: ignore[untyped-decorator]
    def sign_transaction(self, psbt: bytes, fingerprint: str) -> bytes:
        """The PSBT with the card's signatures, after the person agreed to what it does."""
        handler = self.handler

        def agree(review: Review) -> str | None:
            answer: str | None = handler.agree(review)
            if answer is not None:
                handler.show_message("The card signs...", on_cancel=self.cancel)
            return answer

        def progress(number: int, total: int) -> None:
            handler.show_message(f"The card signs: {number} of {total}", on_cancel=self.cancel)

        def command(pin: str, last: bool) -> bytes:
            handler.show_message("Asking the card what is to be signed...", on_cancel=self.cancel)
            return self.plugin.cards.sign_transaction(
                self.path, psbt, pin, last, fingerprint=fingerprint, agree=agree, progress=progress
            )

        try:
            return self._with_pin(command)
        finally:
            handler.finished()

    def _node(self, bip32_path: str) -> Any:
        """The key at a path, checked against the path and against what the card gave before."""
        steps = steps_of(bip32_path)
        if not LEAST_LEVELS <= len(steps) <= MOST_LEVELS:
            raise CardProblem(LEVELS_TEXT)
        path = path_text(steps)
        key = self._keys.get(path)
        if key is None:
            key = self._with_pin(lambda pin, last: self.plugin.cards.key(self.path, path, pin, last))
            if any(known.fingerprint != key.fingerprint for known in self._keys.values()):
                self.plugin.lost(self.path)
                raise CardProblem("The card holds another wallet now. Try again with the card of this wallet.")
        try:
            node = BIP32Node.from_xkey(key.xpub)
        except Exception as error:
            raise CardProblem("The card's key cannot be read.") from error
        if (node.depth, int.from_bytes(node.child_number, "big")) != (len(steps), steps[-1]):
            raise CardProblem("The card's key is of another path than the one that was asked for.")
        self._keys[path] = key
        return node

    def _with_pin(self, command: Callable[[str, bool], T]) -> T:
        """Run a command with the PIN of the window; its errors as Electrum shows them."""
        handler, card = self.handler, self._card()
        if card.problem:  # which may be over
            self.plugin.detect_cards()
            card = self._card()
        if card.problem:
            raise CardProblem(card.problem)
        if handler is None:
            raise CardProblem("There is no window to ask for the PIN in.")
        try:
            return with_pin(
                self.path,
                command,
                memory=handler.pins,
                refused=self.plugin.refused,
                ask=lambda why: self.plugin.ask_pin(handler, card, why),
                confirm=handler.confirm,
            )
        except CanceledError:
            raise UserCancelled from None
        except AbsentCardError as error:
            self.plugin.lost(self.path)
            raise CardProblem(str(error)) from error
        except CardError as error:
            raise CardProblem(str(error)) from error
