"""Commands that cannot be taken back: sent once. Where the answer is lost the card is asked what became of them.

A status word of the card's own comes through the secure channel, so it is true. Everything else (a card that was pulled
out, a MAC that is wrong, a status word in the clear or one that no document knows, Ctrl-C) leaves open whether the
command was carried out. What SELECT says then comes in the clear, and anyone on the way can have said it: it is told as
what the card says, never as what is so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from cryptnox_core.card import Card
from cryptnox_core.commands.setup import Reset, pairing_key_from_puk
from cryptnox_core.errors import PairingError, StatusWordError, TransportError, UnknownChannelError, UsageError
from cryptnox_core.wire import PAIRING_INDEX, PAIRING_INDEX_PUK, KeySource
from hwilib_cryptnox.errors import another_card
from hwilib_cryptnox.signer.cards import Access, OpenCard
from hwilib_cryptnox.signer.faults.heard import agreed, until_back
from hwilib_cryptnox.storage.state import State, StateError


class End(Enum):
    """What became of a command."""

    TAKEN = "taken"
    NOT_TAKEN = "not taken"
    HALF = "half"
    """It was cut short: some of it was carried out."""
    OTHER = "other"
    """The card took something else than was sent."""
    SAID = "said"
    """The card says in the clear that it was carried out; nothing proves it."""
    DENIED = "denied"
    """It says in the clear that it was not."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended."""

    end: End
    answered: bool = False
    """The card said that it carried the command out."""
    lost: BaseException | None = None
    """Why its answer, or the proof of what it did, did not arrive at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What is said of one command, by how it ended. `done` is a sentence without a full stop; `kept`, `half` and
    `either` go on with one; `again`, `keep` and `remedy` say what to do."""

    done: str
    """It was carried out."""
    kept: str
    """It was not."""
    either: str
    """Nobody knows."""
    keep: str
    """What to keep then, and what tells."""
    half: str = ""
    """It was cut short."""
    again: str = "run the same command again"
    """Where it was not carried out, or half."""
    other: str = "The card took something other than what was sent"
    """It took something else: a sentence."""
    remedy: str = "use another reader, and another cable or hub"
    """Then."""
    said: str = "it made the change"
    """What the card says in the clear where it was carried out."""
    denied: str = "it did not make the change"
    """Where it was not."""


AWAY_TEXT = (
    "The card's answer was lost. Put it back within {:.0f} seconds, so that this program can ask what it has now"
)
SOMEBODY_TEXT = "Someone or something between this computer and the card changes the data"


def failure(words: Words, ending: Ending, cause: str) -> tuple[str, str]:
    """Of a command that was not carried out as it was sent: what is true of the card, and what to do. `cause`: a
    sentence on why the answer is missing."""
    if ending.answered and ending.end is End.NOT_TAKEN:
        return f"The card answered that it was done, but {words.kept}. {SOMEBODY_TEXT}", words.remedy
    if ending.end is End.OTHER or (ending.answered and ending.end is End.HALF):
        return f"{words.other}. {SOMEBODY_TEXT}", words.remedy
    if ending.end in (End.SAID, End.DENIED):
        says = words.said if ending.end is End.SAID else words.denied
        return f"{cause}; {words.either}. The card says that {says}, but nothing protects that answer", words.keep
    if ending.end is End.UNKNOWN and ending.answered:
        return (
            f"{cause}; the card answered that it was done, but could not be checked: {words.either}",
            words.keep,
        )
    if ending.end is End.UNKNOWN:
        return f"{cause}; {words.either}", words.keep
    return f"{cause}; {words.half if ending.end is End.HALF else words.kept}", words.again


def carry_out(
    access: Access,
    opened: OpenCard,
    send: Callable[[Card], object],
    look: Callable[[OpenCard], End],
    *,
    prove: bool = False,
    doubted: bool = True,
    away: Callable[[], None] | None = None,
) -> Ending:
    """Send one command and find out what became of it.

    `look` says what the card has now: in a session of its own, on a card that is selected and the same as before; SAID
    or DENIED where nothing but SELECT tells. It is asked where the answer was lost, with `prove` also after the card's
    success, and where a refusal is `doubted`: a card may have carried out what it refused. None should be where a look
    spends PIN tries, nor where the card had before what is wanted. `away` is called once where the card has to be put
    back for a look. `opened` is the reopened card afterwards.

    Raises StatusWordError where the card refused and did nothing, UsageError before anything is sent. Whatever else
    goes wrong is in the result; so is a KeyboardInterrupt, for the person has to be told first.
    """
    answered = False
    try:
        send(opened.card)
        answered = True
        return Ending(_after_success(look(opened)) if prove else End.TAKEN, answered)
    except (StatusWordError, UsageError) as error:
        documented = type(error) is not StatusWordError
        if documented and not answered:
            end = _after_refusal(opened, look) if doubted and isinstance(error, StatusWordError) else End.UNKNOWN
            if end not in (End.TAKEN, End.HALF, End.SAID):
                raise
            return Ending(end, answered, error)
        lost: BaseException = error
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it is, the card may have taken it
        lost = error
    try:
        come_back(access, opened, away)
        end = look(opened)
        return Ending(_after_success(end) if answered else end, answered, lost)
    except (Exception, KeyboardInterrupt):  # noqa: BLE001 - both possibilities are told, whatever stood in the way
        return Ending(End.UNKNOWN, answered, lost)


def _after_success(end: End) -> End:
    """The same of a card that answered in its channel that it was done: what it says in the clear bears it out, or
    somebody in between changes something."""
    return {End.SAID: End.TAKEN, End.DENIED: End.NOT_TAKEN}.get(end, end)


def _after_refusal(opened: OpenCard, look: Callable[[OpenCard], End]) -> End:
    """What a card that refused has now; UNKNOWN where that cannot be seen."""
    try:
        opened.card.select()
        return look(opened)
    except (Exception, KeyboardInterrupt):  # noqa: BLE001 - the refusal is told then
        return End.UNKNOWN


def come_back(access: Access, opened: OpenCard, away: Callable[[], None] | None = None) -> None:
    """Open the same card anew in its reader, in place, waiting for it to be put back; selected, without a channel.

    Raises TransportError where it does not come within the re-insert time, and what SELECT and the session's signature
    raise: it is the card it was, by its key.
    """
    certificate, serial = opened.card.read_certificate(), opened.card.serial
    with contextlib.suppress(TransportError):  # it is gone as it is
        opened.card.close()
    wait = access.settings.wait
    back = until_back(access.settings.reinsert_wait, lambda: access.connect(opened.reader, wait), away)
    opened.card = card = back.card
    card.session_key((certificate,))
    if card.serial != serial:
        raise another_card(serial)
    card.select()


def opens(opened: OpenCard, key: bytes, index: int = PAIRING_INDEX) -> bool:
    """Whether a pairing key (32 bytes) opens a new channel; it stands then. With index FF `pairing_key_from_puk`.

    A channel that opens is a proof. One that does not is tried twice: the refusal comes in the clear, and a disturbed
    answer must not make a right key a wrong one. Raises what SELECT and the handshake raise.
    """
    for _ in range(2):
        opened.card.select()
        try:
            opened.card.open_channel(key, index=index)
        except (PairingError, UnknownChannelError):
            continue
        return True
    return False


def is_puk(way: Access, opened: OpenCard, puk: str) -> bool:
    """Whether `puk` (12 ASCII characters) is the card's: whether it opens a secure channel at index FF.

    Costs no try of PIN or PUK, and changes nothing. Requires: the card is initialised and identified. Afterwards the
    channel is a new one under the pairing key, so the PIN has to be verified again. Raises UsageError for what is no
    PUK, TransportError and ProtocolError where the conversation broke, StatusWordError where the card does not know
    index FF: then nothing is proved.
    """
    right = opens(opened, pairing_key_from_puk(puk), PAIRING_INDEX_PUK)
    opened.card.select()
    way.open_channel(opened.card)
    return right


def erased_words(serial: int) -> Words:
    """What is said of RESET."""
    return Words(
        done=f"The card {serial} was reset to factory state",
        kept=f"the card {serial} still has its contents; nothing was erased",
        half=f"the reset of the card {serial} was interrupted: its keys are erased, but its PIN and PUK are not",
        either=f"the card {serial} may or may not be erased",
        keep="keep PIN, PUK and recovery words. Look at the card in another reader: cryptnoxctl info. Not initialized "
        "there means that it is erased",
        said="it is not initialized",
    )


def erase(access: Access, opened: OpenCard, puk: str, away: Callable[[], None] | None = None) -> Ending:
    """RESET: the card as from the factory, or HALF: a reset that was cut short leaves PIN and PUK and takes the keys.

    Raises what `carry_out` raises. What is remembered of the card is for the caller to forget.
    """
    seeded = opened.card.info.seeded

    def look(opened: OpenCard) -> End:
        opened.card.select()
        info = agreed(opened.card)
        if not info.initialized:
            return End.SAID  # there is no channel in which it could be asked
        # What SELECT says comes in the clear; a card that was erased opens no channel.
        access.open_channel(opened.card)
        return End.HALF if seeded and opened.card.info_page().key_source == KeySource.NONE else End.NOT_TAKEN

    return carry_out(access, opened, lambda card: card.send(Reset(puk)), look, prove=True, away=away)


def forget_erased(state: State, serial: int, end: End) -> StateError | None:
    """Forget what was erased (its own pairing key goes later, with the first channel without it); or why it was not."""
    try:
        if end is End.TAKEN:
            state.forget(serial)
        elif end is not End.NOT_TAKEN and state.record(serial).fingerprint is not None:
            state.update(serial, lambda now: replace(now, fingerprint=None))
    except StateError as error:
        return error
    return None
