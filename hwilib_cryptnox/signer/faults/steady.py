"""One card that is opened anew by itself after a fault. Knows no click."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cryptnox_core.errors import NoCardError, ProtocolError, StatusWordError, TransportError
from cryptnox_core.models import AppletInfo
from cryptnox_core.wire import Ins
from hwilib_cryptnox.errors import CardNotFoundError
from hwilib_cryptnox.signer.cards import Access, OpenCard
from hwilib_cryptnox.signer.faults.heard import agreed, until_back
from hwilib_cryptnox.storage.state import static_key_hash

T = TypeVar("T")

FAULTS = 3
"""How often in one step a card is opened anew after a fault before it is given up."""
_IN_THE_CLEAR = (
    Ins.SELECT,
    Ins.GET_MANUFACTURER_CERTIFICATE,
    Ins.GET_CARD_CERTIFICATE,
    Ins.OPEN_SECURE_CHANNEL,
    Ins.INIT,
)
"""Commands whose status words anybody on the way can have said: they prove nothing, and are faults like others."""


class SteadyCard:
    """The card in hand. It stays the same one: by its serial number and its static key."""

    def __init__(
        self, way: Access, opened: OpenCard, say: Callable[[str], None], opened_anew: Callable[[], None]
    ) -> None:
        """`opened`: selected, its certificate readable. `opened_anew` is called each time the card is open again."""
        self.opened = opened
        self.serial = opened.card.read_certificate().serial
        self._way = way
        self._say = say
        self._opened_anew = opened_anew
        self._static_key = static_key_hash(opened.card)
        self._place = opened.path
        self._lost = False

    def close(self) -> None:
        """Reset and release the card."""
        self.opened.close()

    def leave(self) -> None:
        """Let the card be taken out; `run` and `reopen` go on with it."""
        self.opened.close()
        self._lost = True

    def run(self, action: Callable[[], T]) -> T:
        """Run it; after a fault open the card anew, waiting for it to come back, and run it again. It must look first
        whether it is done already.

        Raises what it raises that is no fault, and the last fault where the card does not come back, or after three.
        """
        cause: Exception = NoCardError(f"the card {self.serial} is not there")
        for left in reversed(range(FAULTS + 1)):
            try:
                if self._lost and not self._comes_back():
                    break
                return action()
            except (TransportError, ProtocolError, StatusWordError) as error:
                if isinstance(error, StatusWordError) and error.ins not in _IN_THE_CLEAR:
                    raise
                self._lost, cause = True, error
                if not left:
                    raise
        raise cause

    def _comes_back(self) -> bool:
        wait = self._way.settings.reinsert_wait
        text = f"The card does not answer. Put it back within {wait:.0f} seconds to continue."
        try:
            until_back(wait, self.reopen, lambda: self._say(text))
        except (TransportError, CardNotFoundError):
            return False
        return True

    def reopen(self) -> None:
        """Open it anew, identified. Raises what `Access.open` does; CardNotFoundError where another is there."""
        self.opened.close()
        self._lost = True
        opened = self._way.open(self._place)
        try:
            self._check(opened)
        except BaseException:
            opened.close()
            raise
        self.opened, self._lost = opened, False
        self._opened_anew()

    def look(self) -> AppletInfo:
        """What SELECT says of it, twice alike, in the reader where it was. Raises what `Access.connect` does,
        CardNotFoundError where another is there."""
        self.leave()
        self.opened = self._way.connect(self.opened.reader, self._way.settings.wait)
        self._check(self.opened)
        self.opened.card.select()
        return agreed(self.opened.card)

    def _check(self, opened: OpenCard) -> None:
        if opened.card.read_certificate().serial != self.serial or static_key_hash(opened.card) != self._static_key:
            raise CardNotFoundError(f"this is a different card, not the card {self.serial}")
