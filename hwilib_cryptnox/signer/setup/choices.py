"""What a person chooses before a card is initialized, question by question. An answer is never thrown away by another
one: who goes back, or says no at the end, changes one thing and keeps the rest. Knows no click."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from cryptnox_core.wire import COMMON_PAIRING_KEY
from hwilib_cryptnox.console.terminal import LEAVE, Terminal
from hwilib_cryptnox.errors import BackError, LeftError

T = TypeVar("T")

_NOTHING = "nothing"


@dataclass(slots=True)
class Opening:
    """What a card is initialized with, as far as it is chosen."""

    name: str = ""
    email: str = ""
    pin: str = field(default="", repr=False)
    puk: str = field(default="", repr=False)
    key: bytes = field(default=COMMON_PAIRING_KEY, repr=False)
    """The pairing key, 32 bytes."""
    nfc: bool | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that is chosen."""

    label: str
    """What it is, in a list of what can be changed."""
    ask: Callable[[], object]
    """Asks, and keeps the answer. BackError where the person wants the question before."""


def choose_all(terminal: Terminal, questions: dict[str, Question], summary: Callable[[], str], last: str) -> None:
    """Ask all questions, then the `last` one, to which yes ends it; at no one of them is asked again.

    `summary`: a line of what was chosen, without secrets. LeftError where the person stops.
    """
    names, at = list(questions), 0
    while at < len(names):
        at = at + 1 if _answered(terminal, questions[names[at]], first=at == 0) else at - 1
    while True:
        terminal.explain(f"\n{summary()}")
        if terminal.agrees(last):
            return
        ways = {name: question.label for name, question in questions.items()}
        ways |= {_NOTHING: "keep everything as it is", LEAVE: "stop here; nothing is changed on the card"}
        terminal.say("Nothing is lost. Choose what to change:")
        way = terminal.choose("Change", ways)
        if way == LEAVE:
            raise LeftError
        while way != _NOTHING and not _answered(terminal, questions[way], first=True):
            pass


def _answered(terminal: Terminal, question: Question, *, first: bool) -> bool:
    """False where the person went back."""
    try:
        with terminal.a_way_back(not first):
            question.ask()
    except BackError:
        return False
    return True


def with_a_way_back(terminal: Terminal, ask: Callable[[bool], T]) -> T:
    """What `ask` gives. Where the person goes back in it, it is called again, with True: what was given beforehand is
    asked for then, too."""
    again = False
    while True:
        try:
            with terminal.a_way_back():
                return ask(again)
        except BackError:
            again = True


def ask_puk(terminal: Terminal) -> str:
    """A new PUK: the person's own, or one that is drawn, shown, and typed back from paper."""
    while True:
        terminal.explain(
            "\nThe PUK unblocks the PIN, resets the card, and changes its settings. Keep it apart from the card."
        )
        if terminal.agrees("Choose it yourself? (No: one is created and shown once)"):
            return terminal.new_puk()
        drawn = terminal.drawn_puk()
        if drawn is not None:
            return drawn
