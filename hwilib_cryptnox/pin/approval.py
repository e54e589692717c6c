"""Consent by a key in a token: one command's uses of it for one card whose PIN authentication is off.

The card's challenge is answered once, for reading; after that each digest is approved by a use of its own. Nothing else
is ever sent to the token: a digest that was not reviewed in this run is refused here, whoever asks.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence

from cryptnox_core.card import Card
from cryptnox_core.commands.user_keys import message_to_sign
from cryptnox_core.errors import NotFoundError
from cryptnox_core.wire import MAX_HASHES, UserKeySlot
from hwilib_cryptnox.errors import ApproverRefusedError, FailedError, NoApproverError, UnknownCardError
from hwilib_cryptnox.pin.approver import Approver
from hwilib_cryptnox.storage.settings import EMULATOR_PREFIX, Settings

_POLL = 0.5
"""Seconds between two looks for a token that was pulled out."""
_LOSSES = 3
"""How often a token may be pulled out during one use."""
_CHALLENGES = 6
"""How many challenges are answered before something is approved: a card that asks for more collects signatures."""
_EC_SLOTS = (UserKeySlot.EC, UserKeySlot.EC4, UserKeySlot.EC5)
UNTRUSTED_TEXT = (
    "the approving key of the configuration is not asked for an emulated card, unless trust_emulated names its address "
    "or CRYPTNOX_APPROVE names the key"
)
VOUCH_TEXT = (
    "nothing is approved for it: name its maker's CA in anchors, or use it here once with its PIN (cryptnoxctl pin "
    "verify; where its PIN is off, cryptnoxctl pin-auth on comes first, with the PUK)"
)
MANY_TEXT = (
    f"the card asked {_CHALLENGES} times to be opened for reading, so the key is not used for it any more. Try again; "
    "if it happens again, do not use this card or this reader"
)
READING, SIGNING = "to read keys", "to sign"


class NotReviewedError(FailedError):
    """A digest that nobody reviewed was to be approved. Nothing was sent to the token."""

    def __init__(self) -> None:
        super().__init__("what is to be signed is not what was reviewed: nothing was sent to the approving key")


def touches(number: int) -> str:
    """How many, in words."""
    return f"{number} {'touch' if number == 1 else 'touches'}"


def on_terminal(text: str) -> None:
    """A line on stderr where somebody sees it: programs that read stderr take its first line for an error."""
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


class Approval:
    """`make` gives the key, when it is first needed. `limit`: seconds for one touch. `patience`: seconds a token that
    was pulled out may take to come back. `lists`: one touch approves up to four digests. `say` shows a line."""

    def __init__(
        self,
        make: Callable[[], Approver],
        *,
        limit: float,
        patience: float = 0.0,
        lists: bool = False,
        say: Callable[[str], None] = on_terminal,
    ) -> None:
        self._make = make
        self._limit = limit
        self._patience = patience
        self._approver: Approver | None = None
        self._reviewed: set[bytes] = set()
        self._given: dict[bytes, bytes] = {}
        self._slot: UserKeySlot | None = None
        self._left: dict[str, int] = {READING: 0, SIGNING: 0}
        self._planned = False
        self._challenges = 0
        self.lists = lists
        self.say = say
        self.used = 0
        """Uses of the key that gave a signature."""

    def __repr__(self) -> str:
        return "Approval()"

    # What is shown

    def plan(self, reading: int, signing: int | None) -> str:
        """Count down from here: so many uses for reading, and for signing (None: not known yet). Returns what a person
        is told of it."""
        self._left = {READING: reading, SIGNING: signing or 0}
        self._planned = signing is not None
        parts = [f"{number} {what}" for what, number in self._left.items() if number]
        if signing is None:
            return f"{touches(reading)} of {self.name} {READING}, then one for each signature"
        total = reading + signing
        return f"{touches(total)} of {self.name}: {', '.join(parts)}" if total else f"no touch of {self.name}"

    @property
    def left(self) -> int:
        """Uses that are still to come, as far as they are planned."""
        return sum(self._left.values())

    @property
    def name(self) -> str:
        """What a person calls the key."""
        return self._key().name

    def needed(self, digests: Sequence[bytes]) -> int:
        """Uses of the key for these digests, each once; what was approved in this run is not approved again."""
        number = len([digest for digest in dict.fromkeys(digests) if digest not in self._given])
        return -(-number // MAX_HASHES) if self.lists else number

    # What is sent to the token

    def ready(self) -> None:
        """The token is there, and its PIN given. No touch. Raises what `Approver.ready` raises."""
        self._key().ready()

    def open(self, card: Card) -> None:
        """Answer the card's challenge: what a PIN opens is open then, but for SIGN. One use of the key.

        Raises: ApproverError, ApproverCanceledError; what the card's commands raise.
        """
        if self.answer(card) is None:
            raise self._refused()

    def answer(self, card: Card) -> UserKeySlot | None:
        """As `open`; the slot in which the card has the key, or None where it has another one there."""
        self.ready()
        slots = self._slots(card)
        for number, slot in enumerate(slots):
            if self._challenges >= _CHALLENGES:
                raise ApproverRefusedError(MANY_TEXT)
            self._challenges += 1
            self._left[READING] = max(self._left[READING], 1)
            challenge = card.user_key_challenge()
            answer = self._use(challenge, READING)
            try:
                if card.user_key_respond(slot, answer):
                    self._slot = slot
                    return slot
            except NotFoundError:
                pass
            if slots[number + 1 :]:
                self.say(f"The card does not know this key in its slot {slot.name.lower()}; it has others")
        return None

    def review(self, digests: Iterable[bytes]) -> None:
        """What was shown, or agreed to: 32 bytes each. Only these are ever sent to the token."""
        self._reviewed.update(digests)

    def authorize(self, card: Card, digests: Sequence[bytes]) -> None:
        """Have the card sign these digests, in this order, without PIN: one, or with `lists` up to four. One use of the
        key; none where the same were approved in this run already.

        Raises: NotReviewedError, before anything is sent; ApproverError, ApproverCanceledError; what the card's
        commands raise. InvalidDataError, NotSupportedError where several were given and the card takes no lists.
        """
        if not digests or not self._reviewed.issuperset(digests):
            raise NotReviewedError
        message = message_to_sign(digests[0] if len(digests) == 1 else digests)
        if message not in self._given:
            self.ready()
            self._given[message] = self._use(message, SIGNING)
        answer = self._given[message]
        for slot in (self._slot,) if self._slot is not None else self._slots(card):
            taken = False
            try:
                if len(digests) == 1:
                    taken = card.authorize_digest(slot, digests[0], answer)
                else:
                    taken = card.authorize_digests(slot, digests, answer)
            except NotFoundError:
                continue
            if taken:
                self._slot, self._challenges = slot, 0
                return
        del self._given[message]
        raise self._refused()

    def takes_no_lists(self) -> None:
        """The card refused a list: one digest at a time from here on."""
        self.lists = False

    def close(self) -> None:
        """Leave the token. What was reviewed and approved is forgotten."""
        if self._approver is not None:
            self._approver.close()
        self._reviewed.clear()
        self._given.clear()
        self._challenges = 0

    def _key(self) -> Approver:
        if self._approver is None:
            self._approver = self._make()
        return self._approver

    def _slots(self, card: Card) -> list[UserKeySlot]:
        """Where the card may have the key, as far as SELECT tells."""
        kind = self._key().key().slot
        fitting = _EC_SLOTS if kind in _EC_SLOTS else (kind,)
        info = card.info
        slots = [slot for slot in info.user_key_slots if slot in fitting]
        if info.tells_user_keys:
            slots = [slot for slot in slots if info.has_user_key(slot)]
        if not slots:
            raise self._refused()
        return slots

    def _refused(self) -> ApproverRefusedError:
        return ApproverRefusedError(
            f"the card does not know the key of {self.name}", hint="cryptnoxctl user-key list shows the keys it knows"
        )

    def _use(self, message: bytes, what: str) -> bytes:
        """One use of the key, again where the token was pulled out and comes back."""
        key, losses = self._key(), 0
        while True:
            left = self.left
            known = f": {touches(left)} left" if self._planned else ""
            self.say(f"Touch {key.name} {what}{known}")
            try:
                answer = key.sign(message, self._limit)
            except NoApproverError:
                losses += 1
                if losses > _LOSSES or not self._comes_back(key):
                    raise
                continue
            self.used += 1
            self._left[what] = max(0, self._left[what] - 1)
            return answer

    def _comes_back(self, key: Approver) -> bool:
        """Wait for the token. Raises what else keeps it from being used."""
        end, told = time.monotonic() + self._patience, False
        while True:
            try:
                key.ready()
            except NoApproverError:
                if time.monotonic() >= end:
                    return False
            else:
                return True
            if not told:
                self.say(f"{key.name} is not there; put it back within {self._patience:.0f} seconds to continue")
                told = True
            time.sleep(_POLL)


def approval_of(
    settings: Settings, make: Callable[[], Approver], say: Callable[[str], None] = on_terminal
) -> Approval | None:
    """With the key that the settings name; None where they name none. Nothing is asked of it: `make` gives it when it
    is used."""
    if not settings.approve:
        return None
    return Approval(
        make,
        limit=settings.approve_wait,
        patience=settings.reinsert_wait,
        lists=settings.approve_lists,
        say=say,
    )


def check_place(card: Card, settings: Settings) -> None:
    """UnknownCardError for an emulated card that nobody named: the configuration's key approves nothing for it."""
    place = card.transport.name
    if place.startswith(EMULATOR_PREFIX) and not (settings.approve_by_environment or settings.trusts(place)):
        raise UnknownCardError(UNTRUSTED_TEXT)
