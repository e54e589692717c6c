"""A card as Electrum's device manager keeps it: one object while the card is there. Holds no secret."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
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
_KEY_TEXT = "Asking the card for its key..."


def path_text(steps: list[int]) -> str:
    """A path as the program takes it."""
    return "/".join(["m", *(f"{step & ~_HARDENED}h" if step & _HARDENED else str(step) for step in steps)])


class Desk(Protocol):
    """What a client needs of the plugin."""

    cards: Cards
    known: dict[str, Card]
    refused: RefusedPins
    declined: bool
    """That the person left a dialogue or canceled: Electrum's device manager takes both for another card's key."""

    def ask_pin(self, handler: Any, card: Card, why: str) -> str | None:
        """Ask in a window."""

    def may_ask(self) -> bool:
        """Whether a person may be asked for anything now."""

    def detect_cards(self) -> list[Any]:
        """Look at the readers."""

    def lost(self, path: str) -> None:
        """The card is gone."""


class CryptnoxClient(HardwareClientBase):  # type: ignore[misc]
    """Everything that is asked of a card goes through here, in the one thread that Electrum has for devices."""

    def __init__(self, plugin: Desk, handler: Any, path: str) -> None:
        HardwareClientBase.__init__(self, plugin=plugin)
        self.plugin: Desk = plugin
        self.handler = handler
        self.path = path
        self._text = _KEY_TEXT
        self._cancel = partial(self.cancel_of, handler)
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

    def close(self) -> None:
        """Forget the keys."""
        self._keys.clear()

    def cancel_of(self, handler: Any) -> None:
        """End what a window asks of the card, and nothing that another window asks. From any thread."""
        if self.handler is handler:
            self.plugin.cards.cancel(self.path)

    def _card(self) -> Card:
        return self.plugin.known.get(self.path) or Card(self.path, None, "absent")

    # What needs the PIN. Several windows may share a card: each command says whose it is when its turn has come.

    @runs_in_hwd_thread  # type: ignore[untyped-decorator]
    def get_xpub(self, bip32_path: str, xtype: str) -> str:
        """The extended public key at a path, as Electrum writes it for a type of script."""
        with self._told(self.handler, _KEY_TEXT):
            return str(self._node(bip32_path)._replace(xtype=xtype).to_xpub())

    @runs_in_hwd_thread  # type: ignore[untyped-decorator]
    def public_key(self, handler: Any, bip32_path: str) -> bytes:
        """The card's own key at a path, 33 bytes, asked now."""
        self._keys.pop(path_text(steps_of(bip32_path)), None)
        with self._told(handler, _KEY_TEXT):
            return bytes(self._node(bip32_path).eckey.get_public_key_bytes(compressed=True))

    @runs_in_hwd_thread  # type: ignore[untyped-decorator]
    def request_root_fingerprint_from_device(self) -> str:
        """The master key's fingerprint."""
        if not self._keys:
            with self._told(self.handler, _KEY_TEXT):
                self._node(f"m/84'/{coin_type()}'/0'")
        return next(iter(self._keys.values())).fingerprint

    def get_password_for_storage_encryption(self) -> str:
        """The card keeps no key for files."""
        raise CardProblem("The card does not encrypt wallet files. Choose a password for the wallet file instead.")

    @runs_in_hwd_thread  # type: ignore[untyped-decorator]
    def sign_message(self, handler: Any, bip32_path: str, message: str) -> bytes:
        """A message signature, 65 bytes."""
        path = path_text(steps_of(bip32_path))
        with self._told(handler, "The card signs the message..."):
            return self._with_pin(
                lambda pin, last: self.plugin.cards.sign_message(self.path, message, path, pin, last, touch=self._tell)
            )

    @runs_in_hwd_thread  # type: ignore[untyped-decorator]
    def sign_transaction(self, handler: Any, psbt: bytes, fingerprint: str) -> bytes | None:
        """The PSBT with the card's signatures, after the person agreed to what it does; None where it has nothing to
        sign."""

        def progress(number: int, total: int) -> None:
            self._tell(f"The card signs: {number} of {total}")

        def command(pin: str | None, last: bool) -> bytes | None:
            def agree(review: Review) -> str | None:
                if pin is not None:
                    handler.pins.keep(self.path, pin)  # the card gave keys for this review, so it accepted the PIN
                answer: str | None = handler.agree(review)
                if answer is not None:
                    self._tell("The card signs...")
                return answer

            return self.plugin.cards.sign_transaction(
                self.path,
                psbt,
                pin,
                last,
                fingerprint=fingerprint,
                agree=agree,
                progress=progress,
                touch=self._tell,
            )

        with self._told(handler, "Asking the card what it would sign..."):
            return self._with_pin(command, proves=lambda signed: signed is not None)

    @contextlib.contextmanager
    def _told(self, handler: Any, text: str) -> Iterator[None]:
        """A command of one window. While the card is asked, the window shows a text with a button to cancel."""
        self.handler, self._text = handler, text
        self._cancel = partial(self.cancel_of, handler)  # one object: Electrum changes the text in one dialogue then
        try:
            yield
        finally:
            if handler is not None:
                handler.finished()

    def _tell(self, text: str) -> None:
        self.handler.show_message(text, on_cancel=self._cancel)

    def _node(self, bip32_path: str) -> Any:
        """The key at a path, checked against the path and against what the card gave before."""
        steps = steps_of(bip32_path)
        if not LEAST_LEVELS <= len(steps) <= MOST_LEVELS:
            raise CardProblem(LEVELS_TEXT)
        path = path_text(steps)
        key = self._keys.get(path)
        if key is None:
            key = self._with_pin(lambda pin, last: self.plugin.cards.key(self.path, path, pin, last, touch=self._tell))
            if any(known.fingerprint != key.fingerprint for known in self._keys.values()):
                self.plugin.lost(self.path)
                raise CardProblem("The card now holds a different wallet. Try again with this wallet's card.")
        try:
            node = BIP32Node.from_xkey(key.xpub)
        except Exception as error:
            raise CardProblem("The card's key cannot be read.") from error
        if (node.depth, int.from_bytes(node.child_number, "big")) != (len(steps), steps[-1]):
            raise CardProblem("The card gave the key of a different path than the one that was asked for.")
        self._keys[path] = key
        return node

    def _approved(self, command: Callable[[str | None, bool], T]) -> T:
        """Run a command whose uses of the card a token approves."""
        if not self.plugin.may_ask():
            raise CanceledError("Canceled.")
        self._tell(self._text)
        return command(None, False)

    def _with_pin(self, command: Callable[[str | None, bool], T], *, proves: Callable[[T], bool] = lambda _: True) -> T:
        """Run a command with the PIN of the window, or with touches of the token that approves for this card; its
        errors as Electrum shows them. `proves` as in `with_pin`."""
        handler, card = self.handler, self._card()
        if card.problem:  # which may be over
            self.plugin.detect_cards()
            card = self._card()
        if card.problem:
            raise CardProblem(card.problem)
        if handler is None:
            raise CardProblem("Electrum has no window to ask for the PIN in.")

        def told(pin: str, last: bool) -> T:
            self._tell(self._text)
            return command(pin, last)

        try:
            if card.approved:
                return self._approved(command)
            return with_pin(
                self.path,
                told,
                memory=handler.pins,
                refused=self.plugin.refused,
                ask=lambda why: self.plugin.ask_pin(handler, card, why),
                confirm=handler.confirm,
                proves=proves,
            )
        except CanceledError:
            self.plugin.declined = True
            raise UserCancelled from None
        except AbsentCardError as error:
            self.plugin.lost(self.path)
            raise CardProblem(str(error)) from error
        except CardError as error:
            raise CardProblem(str(error)) from error
