"""When a PIN may be sent to a card. A PIN has six tries, then the PUK is wanted: every rule here saves money.

1. No command sends more than one PIN that may be wrong.
2. The card's counter is asked first. With one try left nothing is sent unless the user says so.
3. A PIN this process saw refused by a card is not sent to it again.
4. Automatic sources (all but the password given for this command) are used only for a card whose static key is known or
   which is genuine, only while the counter shows what it showed after the last success, and only when no note of a PIN
   with an unknown or bad end stands. The note is on disk before the PIN is sent: the card forgets the refusals of a
   session when it loses power, a killed process forgets everything.
5. Where no success is on record, only a counter of six is known to be full: three may be all that a card shows, or half
   of six. After each success the counter is asked once more, unless what it shows when full is known.
6. Over TCP whoever listens can be an emulated card, for its CA's private key is public. Only the password given for the
   command and CRYPTNOX_PIN, which is for tests, go there, unless the configuration names the address.
7. `enumerate`, which pollers call all the time, sends nothing else than a first PIN to a card with a full counter.
8. A card whose PIN authentication is off is given no PIN. The key that approves its signatures is asked under the rules
   of automatic sources: for a card whose static key is known or which is genuine, over TCP only where CRYPTNOX_APPROVE
   or `trust_emulated` says so; else somebody's program could have a person approve what another card is asked for.

Nothing derived from a PIN is ever stored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cryptnox_core.arguments import is_pin
from cryptnox_core.card import Card
from cryptnox_core.certificate import Genuineness
from cryptnox_core.errors import (
    ChannelAbortedError,
    NotAllowedError,
    PinLockedError,
    ProtocolError,
    TransportError,
    WrongPinError,
)
from cryptnox_core.wire import PIN_TRIES_SESSION, PIN_TRIES_TOTAL, Sw
from hwilib_cryptnox.errors import (
    LOCKED_TEXT,
    NO_PIN_NOW_TEXT,
    SOFT_LOCKED_TEXT,
    LastTryError,
    LockedPinError,
    NoPinError,
    PinAuthOffError,
    RefusedPinError,
    SoftLockedError,
    TouchNeededError,
    UnknownCardError,
    tries_text,
    wrong_pin_text,
)
from hwilib_cryptnox.pin.approval import VOUCH_TEXT, Approval, check_place
from hwilib_cryptnox.pin.sources import (
    FOREIGN_TEXT,
    NO_PIN_TEXT,
    AgentSource,
    Dialogue,
    EnvironmentSource,
    PinRequest,
    PinSource,
    PinSourceError,
    dialogue_of,
)
from hwilib_cryptnox.storage.settings import EMULATOR_PREFIX, Settings, check_genuine
from hwilib_cryptnox.storage.state import CardRecord, NoteKind, State, StateError, static_key_hash
from hwilib_cryptnox.storage.vouching import holder_instead_of

_refused: dict[int, set[str]] = {}
"""PINs this process saw refused, by serial. Memory only."""
_noted: set[int] = set()
"""Cards whose standing note this process made."""

EMULATED_TEXT = "an emulated card gets no PIN from a command, file, or dialog unless trust_emulated names its address"
GIVE_IT_ONCE = "give the right one once: --stdinpass, or cryptnoxctl pin verify"


Asker = Callable[["Card", NoPinError | None], tuple[str, bool]]
"""Asks a person for a card's PIN, where none was given and no source has one (why, where there are any): the PIN, and
whether it may cost the last try."""


@dataclass(frozen=True, slots=True)
class Unlocker:
    """Sends PINs for one command. `password` is what the caller gave for it, of whatever kind."""

    settings: Settings
    state: State
    password: str | None = None
    sources: tuple[PinSource, ...] = ()
    accepted: list[PinSource] = field(default_factory=list, compare=False)
    """The sources whose PIN a card accepted, the last one last."""
    withheld: bool = False
    """Sources that are set up are left out: see `at`."""
    person: Asker | None = field(default=None, compare=False)
    approval: Approval | None = field(default=None, compare=False)
    """The key that approves what cards without PIN authentication are asked for; None for none."""

    def __repr__(self) -> str:
        return "Unlocker()"

    def at(self, place: str) -> Unlocker:
        """This one for a card in a reader, or at `tcp:HOST:PORT`: there without the sources that are not used."""
        if not place.startswith(EMULATOR_PREFIX) or self.settings.trusts(place):
            return self
        used = tuple(source for source in self.sources if isinstance(source, EnvironmentSource))
        return self if len(used) == len(self.sources) else replace(self, sources=used, withheld=True)

    @property
    def explicit(self) -> str | None:
        """The password, where it is a PIN."""
        return self.password if is_pin(self.password) else None

    @property
    def has_source(self) -> bool:
        """Whether a PIN can be had, perhaps by asking a person."""
        return self.explicit is not None or bool(self.sources)

    @property
    def has_silent_source(self) -> bool:
        """Whether a PIN may be had without asking a person."""
        return self.explicit is not None or any(
            not source.interactive or isinstance(source, AgentSource) for source in self.sources
        )

    def no_pin(self, reasons: list[str] | None = None, *, how: str = "") -> NoPinError:
        """The error for a card nobody has a PIN for. `how`: one is given, beside the usual ways."""
        given = [FOREIGN_TEXT] if self.password and self.explicit is None else []
        given += [EMULATED_TEXT] if self.withheld else []
        given += reasons or []
        said = [*given, how] if how else given
        return NoPinError("; ".join([*said, NO_PIN_TEXT]), "; ".join(said), why="; ".join(given))

    def unlock(self, card: Card, reader: str, *, polling: bool = False, prompt: str = "") -> str | None:
        """Verify a PIN in the open channel and return it; None where a user key approved instead.

        `reader` is where the card is; `polling` is for `enumerate`; `prompt` is shown by dialogues.

        Raises WalletError (NoPinError, RefusedPinError, ApproverError, locked, canceled, not genuine and others), or
        what the card's commands raise. Spends at most one try.
        """
        if not card.info.pin_auth:
            if polling:
                raise TouchNeededError
            self.approve(card, reader)
            return None
        return self.verify(card, reader, polling=polling, prompt=prompt)

    def approving(self, card: Card) -> Approval:
        """The key that approves for a card whose PIN authentication is off. Nothing is asked of it.

        Raises: PinAuthOffError where none is named; UnknownCardError for a card that nothing vouches for."""
        if self.approval is None:
            raise PinAuthOffError
        check_place(card, self.settings)
        return self.approval

    def approve(self, card: Card, reader: str) -> None:
        """Have the user key answer the card's challenge, in the open channel: what a PIN opens is open then, but for
        SIGN. Raises what `approving` and `Approval.open` raise."""
        approval = self.approving(card)
        check_genuine(card, self.settings)
        check_vouched(card, self.state)
        approval.open(card)
        with contextlib.suppress(StateError):  # asked again the next time
            self.state.update(card.serial, lambda now: replace(now, static_key=static_key_hash(card), reader=reader))
            self.state.keep_certificate(card.serial, card.read_certificate().der)

    def verify(self, card: Card, reader: str, *, polling: bool = False, prompt: str = "") -> str:
        """As `unlock`, by the PIN alone."""
        person, missing = self.person if self.password is None else None, None
        if person is None or self.sources:
            try:
                return self.at(card.transport.name)._unlock(card, reader, polling, prompt)
            except NoPinError as error:  # nothing was sent
                if person is None:
                    raise
                missing = error
        pin, last = person(card, missing)
        settings = replace(self.settings, last_try=self.settings.last_try or last)
        return replace(self, settings=settings, password=pin, person=None).verify(card, reader, prompt=prompt)

    def _unlock(self, card: Card, reader: str, polling: bool, prompt: str) -> str:
        if not self.has_source:
            raise self.no_pin()
        left, record = self._look(card)
        if self.explicit is not None:
            self._check_explicit(card, record, left, polling)
            return self._send(card, self.explicit, record, left, reader)
        self._check_automatic(card, record, left)
        pin, source = self._fetch(PinRequest(card.serial, prompt, ask=not polling))
        if pin in _refused.get(card.serial, set()):
            raise RefusedPinError("this PIN was refused before", left, how=GIVE_IT_ONCE)
        return self._send(card, pin, record, left, reader, source)

    def resume(self, card: Card, reader: str, pin: str | None) -> None:
        """Verify again, in a new channel, the PIN this card accepted a moment ago: no new attempt, yet noted as one.
        Where a fault met that very command, it is sent once more only if the counter shows that it was not refused.
        None: a user key answers the new channel's challenge."""
        if pin is None:
            self.approve(card, reader)
            return
        left, record = self._look(card)
        self._check_last_try(left)
        self._check_note(record, left)
        self._send(card, pin, record, left, reader)

    def check(self, card: Card) -> None:
        """Raise what `unlock` would raise before a PIN of this unlocker's is fetched and sent; sends none."""
        left, record = self._look(card)
        if self.explicit is not None:
            self._check_explicit(card, record, left, polling=False)
        else:
            self._check_automatic(card, record, left)

    def was_refused(self, serial: int) -> bool:
        """Whether this process saw the password refused by the card."""
        return self.explicit in _refused.get(serial, set())

    @property
    def asks_person(self) -> bool:
        """Whether a person may see a dialogue."""
        return self.explicit is None and any(source.interactive for source in self.sources)

    @property
    def confirms(self) -> bool:
        """Whether a dialogue shows what is to be signed: as the configuration says, or since it asked for the PIN."""
        return self._dialogue is not None

    def confirm(self, text: str, plain: str = "") -> None:
        """Show what is to be signed (`plain`: in ASCII), and return when the person agreed or nobody is to be asked.

        CanceledError where the person did not agree, NotShownError where it cannot be shown.
        """
        dialogue = self._dialogue
        if dialogue is not None:
            dialogue.confirm(text, plain or text)

    @property
    def _dialogue(self) -> Dialogue | None:
        return dialogue_of(self.settings, self.accepted[-1] if self.accepted else None)

    def _look(self, card: Card) -> tuple[int, CardRecord | None]:
        """The tries left, and the card's record. WalletError for a card that is given no PIN by anybody."""
        if not card.info.pin_auth:
            raise PinAuthOffError
        check_genuine(card, self.settings)
        left = _counter(card)
        record = self._settle(card.serial, left)
        if left == 0:
            raise LockedPinError(_remedy_of_locked_pin(record, left))
        return left, record

    def _settle(self, serial: int, left: int) -> CardRecord | None:
        """The card's record; None where the state is unusable. A pending note goes when the counter proves that nothing
        was refused: a counter of tries left in all (over 3) still shows what it showed after the last success."""
        try:
            record = self.state.record(serial)
            if record.note is NoteKind.PENDING and left > PIN_TRIES_SESSION and left == record.full_counter:
                record = self.state.update(serial, lambda now: replace(now, note=None))
        except StateError:
            return None
        return record

    def _check_last_try(self, left: int) -> None:
        if left == 1 and not self.settings.last_try:
            raise LastTryError(
                "One PIN try is left; nothing was sent. CRYPTNOX_LAST_TRY=1 allows it; if the PIN is wrong, only "
                "the PUK unblocks the card"
            )

    def _check_explicit(self, card: Card, record: CardRecord | None, left: int, polling: bool) -> None:
        if self.explicit in _refused.get(card.serial, set()):
            raise RefusedPinError(f"this PIN was refused before: {wrong_pin_text(left)}", left)
        if not polling:
            self._check_last_try(left)
            return
        noted = record is not None and record.note is not None
        if noted and (card.serial not in _noted or left < 2):
            raise RefusedPinError(wrong_pin_text(left), left, how=GIVE_IT_ONCE)
        if not noted and not _is_full(record, left):
            raise RefusedPinError(f"a PIN was refused before, at most {tries_text(left)} left", left, how=GIVE_IT_ONCE)

    def _check_automatic(self, card: Card, record: CardRecord | None, left: int) -> None:
        self._check_last_try(left)
        if record is None:
            raise self.no_pin([f"{self.state.folder} cannot be used, so no PIN is sent automatically"])
        if not _is_vouched_for(card, record):
            raise self.no_pin([_unknown_text(card)])
        self._check_note(record, left)
        if record.full_counter is None and left == PIN_TRIES_SESSION:
            reason = "three tries are left, of three or of six, and no right PIN was seen"
            raise self.no_pin([reason], how=GIVE_IT_ONCE)
        if not _is_full(record, left):
            raise RefusedPinError(
                f"a PIN was refused elsewhere, at most {tries_text(left)} left", left, how=GIVE_IT_ONCE
            )

    @staticmethod
    def _check_note(record: CardRecord | None, left: int) -> None:
        if record is not None and record.note is not None:
            what = "was refused" if record.note is NoteKind.REFUSED else "was sent, and its result was lost"
            raise RefusedPinError(f"a PIN {what} before, at most {tries_text(left)} left", left, how=GIVE_IT_ONCE)

    def _fetch(self, request: PinRequest) -> tuple[str, PinSource]:
        reasons = []
        for source in self.sources:
            try:
                pin = source.get(request)
                if pin is not None:
                    return pin, source
            except PinSourceError as error:
                reasons.append(str(error))
        raise self.no_pin(reasons)

    def _send(
        self, card: Card, pin: str, record: CardRecord | None, left: int, reader: str, source: PinSource | None = None
    ) -> str:
        serial = card.serial
        if record is not None and record.note is None:
            try:
                self.state.update(serial, lambda now: replace(now, note=now.note or NoteKind.PENDING))
                _noted.add(serial)
            except StateError as error:
                if source is not None:
                    raise self.no_pin([f"{error}, so no PIN is sent automatically"]) from error
        try:
            card.verify_pin(pin)
        except PinLockedError as error:
            soft = error.sw == Sw.CONDITIONS or _is_soft_lock(record, left)
            # Where the counter shows tries of this session, the last refusal already says "locked".
            if not soft:
                self._note_refusal(serial, pin, source)
            text = SOFT_LOCKED_TEXT if soft else _remedy_of_locked_pin(record, left)
            raise LockedPinError(text, spent=not soft) from error
        except WrongPinError as error:
            self._note_refusal(serial, pin, source)
            raise RefusedPinError(wrong_pin_text(error.left), error.left, spent=True) from error
        self._succeeded(card, record, left, reader)
        if source is not None:
            self.accepted.append(source)
        return pin

    def _note_refusal(self, serial: int, pin: str, source: PinSource | None) -> None:
        """In memory, on disk, and where the PIN came from."""
        _refused.setdefault(serial, set()).add(pin)
        with contextlib.suppress(StateError):  # the pending note stands as it is
            self.state.update(serial, lambda now: replace(now, note=NoteKind.REFUSED))
        if source is not None:
            source.refused(PinRequest(serial))

    def _succeeded(self, card: Card, record: CardRecord | None, left: int, reader: str) -> None:
        """Forget refusals, remember the card and what its counter shows when full."""
        serial = card.serial
        _refused.pop(serial, None)
        _noted.discard(serial)
        known = None if record is None else record.full_counter
        full = left if left in (known, PIN_TRIES_TOTAL) else _counter_after(card, known)
        shown = None if record is None else record.fingerprint
        key = static_key_hash(card) if holder_instead_of(card, self.state, shown) is None else None
        with contextlib.suppress(StateError):  # a pending note that cannot be removed only keeps automatic sources away
            self.state.update(
                serial, lambda now: replace(now, note=None, full_counter=full, static_key=key, reader=reader)
            )
            self.state.keep_certificate(serial, card.read_certificate().der)


def check_vouched(card: Card, state: State) -> None:
    """UnknownCardError for a card that nothing vouches for: its challenge could be what another card is to sign."""
    record = CardRecord()
    with contextlib.suppress(StateError):  # then the card has to be genuine
        record = state.record(card.serial)
    if not _is_vouched_for(card, record):
        raise UnknownCardError(f"{_unknown_text(card)}; {VOUCH_TEXT}")


def _is_vouched_for(card: Card, record: CardRecord) -> bool:
    """Whether the card was used before, or a trust anchor knows it."""
    return record.static_key == static_key_hash(card) or card.genuineness is Genuineness.GENUINE


def _unknown_text(card: Card) -> str:
    return f"the card was not used before and is not known to be genuine ({card.genuineness.value})"


def _is_full(record: CardRecord | None, left: int) -> bool:
    """Whether the counter shows that no PIN was refused since the last success."""
    if record is None or record.full_counter is None:
        return left in (PIN_TRIES_SESSION, PIN_TRIES_TOTAL)
    return left == record.full_counter


def tries_left(card: Card) -> int:
    """At most this many PIN tries are left; 0: blocked, or until a power cycle. Spends none. WalletError where there is
    no PIN, or the card gives up the channel for want of a power cycle."""
    try:
        return _counter(card)
    except SoftLockedError:
        if not card.channel_open:
            raise
        return 0


def _counter(card: Card) -> int:
    """As `tries_left`; SoftLockedError also where the channel is still good."""
    try:
        return card.pin_tries_left()
    except PinLockedError as error:
        if error.sw == Sw.CONDITIONS:
            raise SoftLockedError from error
        return 0
    except ChannelAbortedError as error:
        # It was opened a moment ago, so the card did not lose it: it answers nothing else any more.
        if error.sw == Sw.CONDITIONS:
            raise SoftLockedError from error
        raise
    except NotAllowedError as error:
        if error.sw == Sw.NOT_ALLOWED:
            raise PinAuthOffError from error
        raise


def _counter_after(card: Card, known: int | None) -> int | None:
    """The counter of a card that has just accepted a PIN; what was known of it where a fault meets the question, for
    the PIN's end is known all the same."""
    try:
        return card.pin_tries_left()
    except (TransportError, ProtocolError):
        return known


def _remedy_of_locked_pin(record: CardRecord | None, left: int) -> str:
    """What helps a card that accepts no PIN and showed `left` tries before: certain where its counter is known to be
    that of tries left in all, which a power cycle does not change."""
    if _is_soft_lock(record, left):
        return SOFT_LOCKED_TEXT
    return LOCKED_TEXT if _counts_all(record, left) else NO_PIN_NOW_TEXT


def _is_soft_lock(record: CardRecord | None, left: int) -> bool:
    """Whether a power cycle is certain to help."""
    return left > 1 and _counts_all(record, left)


def _counts_all(record: CardRecord | None, left: int) -> bool:
    """Whether the counter is known to be that of the tries left in all."""
    return left > PIN_TRIES_SESSION or (record is not None and (record.full_counter or 0) > PIN_TRIES_SESSION)
