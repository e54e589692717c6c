"""The cards as `hwi-cryptnox` shows them, and its commands. No PIN is in a command line: each goes through the pipe."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import BUSY, NO_WALLET, CanceledError, ProgramError, error_of, sentence
from .program import Conversation, find_program
from .review import Review

EMULATED = "tcp:"
REAL = "cryptnox:"
_LIST_LIMIT, _COMMAND_LIMIT, _SIGNING_LIMIT = 30.0, 90.0, 120.0
"""Seconds without an answer: the program waits 5 of them for a busy card, and 30 for one that was taken out."""
_MOST_FAULTS, _MOST_CARDS = 50, 100
_MOST_TOUCHES = 50
"""Lines about the token in a row."""
LOOKING = "enumerate"
"""What `cancel` takes for the list of the cards, which is of no card."""
_UNKNOWN_TEXT = "The answer of hwi-cryptnox has an unknown form."
_UNASKED_TEXT = "hwi-cryptnox did not show what the card would sign. Its answer was not used."
_LAST_TRY = "CRYPTNOX_LAST_TRY"
_EMULATOR = "CRYPTNOX_EMULATOR"


Touch = Callable[[str], None]
"""Shows what a person is to do at the token that approves."""


def _unseen(text: str) -> None:
    """The token may show by itself that it is to be touched."""


@dataclass(frozen=True)
class Card:
    """A card that is there."""

    path: str
    """How the program calls it: `cryptnox:SERIAL`, or `tcp:HOST:PORT` for an emulated one."""
    fingerprint: str | None
    """Of the master key, where the program knows it without a PIN: 8 hexadecimal digits."""
    state: str
    """A word or two."""
    problem: str = ""
    """Why it cannot be used now, and what to do; empty where it can."""
    has_wallet: bool = True
    approved: bool = False
    """A key in a token approves what it is asked, instead of the PIN: it has to be touched."""

    @property
    def name(self) -> str:
        """How people tell it from others: the serial number is what `cryptnoxctl list` shows."""
        if self.path.startswith(EMULATED):
            return f"Cryptnox {self.path.removeprefix(EMULATED)}"
        return f"Cryptnox {self.path.removeprefix(REAL)}"

    @property
    def emulated(self) -> bool:
        """Whether it is a program that behaves like a card."""
        return self.path.startswith(EMULATED)


@dataclass(frozen=True)
class Key:
    """An extended public key of a card."""

    xpub: str
    fingerprint: str
    """Of the card's master key."""


class Cards:
    """Runs the program. May be used from several threads; `cancel` ends what runs."""

    def __init__(self, chosen: Callable[[], str], chain: Callable[[], str]) -> None:
        """`chosen` gives the file that the settings name, or nothing; `chain` the network, as the program calls it."""
        self._chosen = chosen
        self._chain = chain
        self._running: dict[Conversation, str] = {}
        self._lock = threading.Lock()
        self._closed = False

    def cancel(self, card: str = "") -> None:
        """End the commands that run on a card, the list (`LOOKING`), or all: each of them raises CanceledError."""
        with self._lock:
            running = [conversation for conversation, path in self._running.items() if card in ("", path)]
        for conversation in running:
            conversation.stop()

    def close(self) -> None:
        """End all, and start none any more: Electrum ends."""
        self._closed = True
        self.cancel()

    def look(self) -> list[Card]:
        """The cards in the readers. No PIN is sent."""
        with self._start([LOOKING], LOOKING) as conversation:
            answer = conversation.next_answer(_LIST_LIMIT)
        if not isinstance(answer, list):
            self._object(answer)
            raise ProgramError("The list of cards has an unknown form.")
        entries = [entry for entry in answer if isinstance(entry, dict) and _is_path(entry.get("path"))]
        return [_card(entry) for entry in entries[:_MOST_CARDS]]

    def key(self, card: str, path: str, pin: str | None, last: bool = False, *, touch: Touch = _unseen) -> Key:
        """The extended public key at a path like m/84h/0h/0h. Without PIN for a card that is `approved`; `touch` shows
        what a person is to do at the token then."""
        with self._start(self._of(card), card, pin, ["getxpub", path], last) as conversation:
            answer = self._next(conversation, _COMMAND_LIMIT, touch)
        xpub, fingerprint = answer.get("xpub"), answer.get("fingerprint")
        if not isinstance(xpub, str) or not isinstance(fingerprint, str):
            raise ProgramError("hwi-cryptnox is too old for this plugin. Update it.")
        return Key(xpub, fingerprint.lower())

    def sign_message(
        self, card: str, message: str, path: str, pin: str | None, last: bool = False, *, touch: Touch = _unseen
    ) -> bytes:
        """The 65 bytes of a message signature."""
        command = ["signmessage", "--", message, path]
        with self._start(self._of(card), card, pin, command, last) as conversation:
            answer = self._next(conversation, _COMMAND_LIMIT, touch)
        return _decoded(answer, "signature")

    def sign_transaction(
        self,
        card: str,
        psbt: bytes,
        pin: str | None,
        last: bool = False,
        *,
        fingerprint: str,
        agree: Callable[[Review], str | None],
        progress: Callable[[int, int], None],
        touch: Touch = _unseen,
    ) -> bytes | None:
        """A PSBT with the card's signatures; None where it has nothing to sign, and then perhaps it was not asked.
        `agree` gets what is proved before the first signature: None cancels, the answer is `review.answer`. `progress`
        gets the number of a signature, and how many there are.

        What was not agreed to is never taken over, whatever the program answers: CanceledError after a no, ProgramError
        without a review.
        """
        words = [*self._of(card), "--fingerprint", fingerprint]
        command = ["signtx", base64.b64encode(psbt).decode("ascii")]
        with self._start(words, card, pin, command, last) as conversation:
            answer = self._next(conversation, _SIGNING_LIMIT, touch)
            review, counted = None, _Counted()
            while "psbt" not in answer:
                if "review" in answer and review is None:
                    review = Review.of(answer["review"])
                    agreed = agree(review)
                    if agreed is None:  # the end of its stdin is a no to the program, too
                        raise CanceledError("Canceled.")
                    conversation.send(agreed)
                elif review is not None and counted.admits(answer, review.signatures):
                    progress(counted.number, review.signatures)
                else:
                    raise ProgramError(_UNKNOWN_TEXT)
                answer = self._next(conversation, _SIGNING_LIMIT, touch)
        done = _decoded(answer, "psbt")
        if review is not None:
            return done
        if done != psbt:
            raise ProgramError(_UNASKED_TEXT)
        return None

    def _of(self, card: str) -> list[str]:
        return ["--device-type", "cryptnox", "--device-path", card, "--chain", self._chain()]

    @contextlib.contextmanager
    def _start(
        self, words: Sequence[str], card: str, pin: str | None = None, command: Sequence[str] = (), last: bool = False
    ) -> Iterator[Conversation]:
        """The program, running; `cancel` reaches it. The PIN and the command go by stdin: neither is for everybody who
        can list processes, and both may be long."""
        program, lines = [find_program(self._chosen()), "--frontend"], []
        if os.environ.get(_EMULATOR):
            program.append("--emulators")
        if pin is not None:
            program.append("--stdinpass")
            lines.append(pin)
        if command:
            program.append("--stdin")
            lines += [json.dumps(list(command)), ""]
        with Conversation([*program, *words], lines, {_LAST_TRY: "1"} if last else {}) as conversation:
            with self._lock:
                self._running[conversation] = card
            if self._closed:
                conversation.stop()
            try:
                yield conversation
            finally:
                with self._lock:
                    del self._running[conversation]

    def _next(self, conversation: Conversation, limit: float, touch: Touch) -> Mapping[str, Any]:
        """The next line that is not about the token. A program that tells of touches without end has gone wrong."""
        for _ in range(_MOST_TOUCHES):
            answer = self._object(conversation.next_answer(limit))
            told = answer.get("touch")
            if not isinstance(told, str) or len(answer) != 1:
                return answer
            touch(sentence(told))
        raise ProgramError(_UNKNOWN_TEXT)

    @staticmethod
    def _object(answer: object) -> Mapping[str, Any]:
        """An answer that is no error. CardError where it is one."""
        if not isinstance(answer, dict):
            raise ProgramError(_UNKNOWN_TEXT)
        if "error" in answer:
            raise error_of(answer)
        return answer


class _Counted:
    """The number of the signature that the card makes: it begins after those of an interrupted run, stays after a fault
    that is gone on from, and never goes back. A program that tells of progress without end has gone wrong."""

    def __init__(self) -> None:
        self.number = 0
        self._told = 0

    def admits(self, answer: Mapping[str, Any], total: int) -> bool:
        """Whether a line of progress can be true; it counts then."""
        number = answer.get("signing")
        self._told += 1
        if not isinstance(number, int) or answer.get("of") != total or self._told > 2 * total + _MOST_FAULTS:
            return False
        if not max(1, self.number) <= number <= total:
            return False
        self.number = number
        return True


def _decoded(answer: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(answer[name], validate=True)
    except (KeyError, TypeError, ValueError):
        raise ProgramError(_UNKNOWN_TEXT) from None


def _is_path(path: object) -> bool:
    """Whether it can be how the program calls a card: it becomes a name that people read."""
    return isinstance(path, str) and path.startswith((REAL, EMULATED)) and len(path) <= 100 and path.isprintable()


def _card(entry: Mapping[str, Any]) -> Card:
    """A card from its entry of `enumerate`. One without a PIN is ready: the window asks for it."""
    path, fingerprint = entry["path"], entry.get("fingerprint")
    fingerprint = fingerprint.lower() if isinstance(fingerprint, str) else None
    error, code = entry.get("error"), entry.get("code")
    if error is None or entry.get("needs_passphrase_sent") is True:
        state = "emulated" if path.startswith(EMULATED) else "ready"
        return Card(path, fingerprint, state, approved=entry.get("approved") is True)
    state = {BUSY: "in use", NO_WALLET: "no wallet"}.get(code if isinstance(code, int) else 0, "not ready")
    return Card(path, fingerprint, state, str(error_of({"error": error, "code": code})), has_wallet=code != NO_WALLET)
