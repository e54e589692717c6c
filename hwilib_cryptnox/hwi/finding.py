"""The card that a command of HWI's means where it names none: by a fingerprint, or the only one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cryptnox_core.errors import CryptnoxError
from hwilib_cryptnox.errors import (
    NOT_FOUND_TEXT,
    BadRequestError,
    CanceledError,
    CardNotFoundError,
    RefusedCardError,
    WalletError,
)
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.signer.cards import CARD_PREFIX, Access, OpenCard, Session, may_be_ours, remembered
from hwilib_cryptnox.signer.wallet import Wallet, authenticate, of_card
from hwilib_cryptnox.storage.state import StateError
from hwilib_cryptnox.storage.vouching import holder_instead_of

BY_SERIAL = f"name it by its serial number: --device-path {CARD_PREFIX}SERIAL, without --fingerprint"


class _Search:
    """A look through all readers, in their order. At its end every card is closed but the one that was taken."""

    def __init__(self, access: Access, unlocker: Unlocker, fingerprint: bytes | None) -> None:
        self._access = access
        self._unlocker = unlocker
        self._fingerprint = fingerprint
        self._taken: OpenCard | None = None
        self.cards: list[OpenCard] = []
        """All of ours that could be opened."""
        self.unusable: list[str] = []
        """Where those are that could not be identified."""
        self.problems: list[Exception] = []
        """What kept cards from being asked; the first one wins where none is found."""

    def identified(self, *, nft: bool) -> Iterator[OpenCard]:
        """The cards that can be used, each as soon as it is; `nft`: also those that hold one key."""
        for reader, opened in self._access.scan(self._access.readers(), self._access.settings.wait):
            if not isinstance(opened, OpenCard):
                if may_be_ours(opened):
                    self.problems.append(opened)
                continue
            self.cards.append(opened)
            if opened.card.info.is_nft and not nft:
                continue
            try:
                self._access.identify(opened)
                self._check_holder(opened)
            except (CryptnoxError, WalletError) as error:
                self.problems.append(error)
                self.unusable.append(f"one in {reader}")
            else:
                yield opened

    def _check_holder(self, opened: OpenCard) -> None:
        """RefusedCardError for a card that nobody vouches for, where another one is known to hold the wallet."""
        card, fingerprint = opened.card, self._fingerprint
        other = holder_instead_of(card, opened.state, fingerprint) if card.info.seeded else None
        if fingerprint is not None and other is not None:
            raise RefusedCardError(
                f"the wallet {fingerprint.hex()} is on the card {other}; the one here says it is {card.serial}, "
                "is not known to this computer, and its manufacturer does not vouch for it, so it gets no PIN (if it "
                f"is your second card: --device-path {opened.path}, without --fingerprint)"
            )

    def take(self, opened: OpenCard, session: Session | None = None) -> Wallet:
        self._taken = opened
        return Wallet(
            opened.path, self._access, self._unlocker, opened=opened, session=session, expected=self._fingerprint
        )

    def none(self) -> Exception:
        return self.problems[0] if self.problems else CardNotFoundError(NOT_FOUND_TEXT)

    def close(self) -> None:
        for opened in self.cards:
            if opened is not self._taken:
                opened.close()


def find_wallet(access: Access, unlocker: Unlocker, fingerprint: bytes | None, *, prompt: str = "") -> Wallet:
    """The card with a fingerprint. Where None is given: the first that holds a seed, or else the first.

    Of several cards that are known to have the fingerprint one is taken, one without a note of a refused PIN before
    others; what keeps its PIN from being verified names it, and says how another one is chosen.

    A PIN is sent only where no card is known to have the fingerprint, to cards that were identified. One that is given
    none does not end the search; one that refuses it does, for a command spends one try at the most: cards with a note
    come last, so that the next command reaches the others. Where there is none the first reason is raised why a card
    could not be asked, else CardNotFoundError with HWI's own text.
    """
    with contextlib.closing(_Search(access, unlocker, fingerprint)) as search:
        cards: list[OpenCard] = []
        for opened in search.identified(nft=False):
            cards.append(opened)
            fits = opened.card.info.seeded if fingerprint is None else remembered(opened) == fingerprint
            if fits and (fingerprint is None or not _noted(opened)):
                return search.take(opened)
        for opened in cards:
            if fingerprint is None or remembered(opened) == fingerprint:
                return search.take(opened)
        for opened in sorted(cards, key=_noted):
            if opened.card.info.seeded and opened.card.channel_open and remembered(opened) is None:
                try:
                    session = authenticate(opened, unlocker, prompt=prompt)
                except CanceledError:
                    raise
                except (CryptnoxError, WalletError) as error:
                    if isinstance(error, WalletError) and error.spent and len(search.cards) > 1:
                        raise of_card(error, opened.card.serial) from error
                    search.problems.append(error)
                    continue
                if session.fingerprint == fingerprint:
                    return search.take(opened, session)
        raise search.none()


def only_wallet(access: Access, unlocker: Unlocker, fingerprint: bytes | None, *, empty: bool) -> Wallet:
    """The only card there is. Sends no PIN.

    With a fingerprint only cards that are known to have it may be meant, or else those that may have it. `empty`: where
    there are cards without a seed only they may be. A card that could not be identified may be meant, too, where
    neither says otherwise. Raises BadRequestError where several may be, with their serial numbers; where none may the
    first reason a card could not be asked, or CardNotFoundError.
    """
    with contextlib.closing(_Search(access, unlocker, fingerprint)) as search:
        cards = list(search.identified(nft=True))
        others: list[str] = []
        if fingerprint is None:
            meant = [opened for opened in cards if empty and not opened.card.info.seeded]
            if not meant:
                meant, others = cards, search.unusable
        else:
            meant = [opened for opened in cards if remembered(opened) == fingerprint]
            meant = meant or [opened for opened in cards if opened.card.info.seeded and remembered(opened) is None]
        if len(meant) + len(others) > 1:
            names = [*(str(opened.card.serial) for opened in meant), *others]
            raise BadRequestError(f"{len(names)} cards could be meant: {', '.join(names)}; {BY_SERIAL}")
        if not meant:
            raise search.none()
        return search.take(meant[0])


def _noted(opened: OpenCard) -> bool:
    """Whether a note of a refused PIN stands."""
    with contextlib.suppress(StateError):  # then nothing is known of it
        return opened.card.channel_open and opened.state.record(opened.card.serial).note is not None
    return False
