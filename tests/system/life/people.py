"""A person at the terminal: answers what is asked by what it means, reads what is shown, and knows what was told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.system.life.world import World

Answer = str | Callable[["World"], str]


@dataclass
class Person:
    """Whose PIN, PUK and words they are. `answers`: what is answered first, by a regular expression on the question.
    `slips`: what is answered before that, one after the other, each once."""

    pin: str = "739182"
    puk: str = "Qz-Mark-Puk7"
    new_pin: str = "135790"
    new_puk: str = "new-puk-1234"
    words: str = ""
    shares: tuple[str, ...] = ()
    """SLIP39's, in the order in which they are typed."""
    passphrase: str = ""
    answers: tuple[tuple[str, Answer], ...] = ()
    slips: tuple[tuple[str, tuple[str, ...]], ...] = ()
    slipped: Counter[str] = field(default_factory=Counter)
    shown_puk: str = ""
    shown_words: list[str] = field(default_factory=list)
    last: str = ""
    asked: int = 0

    def reply(self, shown: str, question: str, world: World) -> str:
        """What is typed."""
        self.asked += 1
        if self.asked > 200:
            raise AssertionError(f"it asks without end: {question!r}")
        self._read(shown)
        if re.search(r"^type it again", question, re.I):
            return self.last
        self.last = self._answer(shown, question, world)
        return self.last

    def _answer(self, shown: str, question: str, world: World) -> str:
        for pattern, slips in self.slips:
            if self.slipped[pattern] < len(slips) and re.search(pattern, question, re.I):
                self.slipped[pattern] += 1
                return slips[self.slipped[pattern] - 1]
        for pattern, answer in self.answers:
            if re.search(pattern, question, re.I):
                return answer if isinstance(answer, str) else answer(world)
        for pattern, kind in _MEANINGS:
            match = re.search(pattern, question, re.I)
            if match is not None:
                return self._by_kind(kind, match)
        raise AssertionError(f"nobody knows what to answer to {question!r}")

    def _by_kind(self, kind: str, match: re.Match[str]) -> str:
        if kind == "text":
            return match[1]
        if kind == "word":
            words = self.shown_words or self.words.split()
            number = int(match[1])
            return words[number - 1] if number <= len(words) else ""
        if kind == "share":
            return self.shares[int(match[1]) - 1].split()[int(match[2]) - 1]
        if kind == "share count":
            return str(len(self.shares[0].split()))
        if kind == "count":
            return str(len(self.words.split())) if self.words else "12"
        if kind == "all words":
            return " ".join(self.shown_words or self.words.split())
        return str({"yes": "y", "enter": "", "card": "card", "leave": "leave"}.get(kind, getattr(self, kind, "")))

    def _read(self, shown: str) -> None:
        """What the terminal shows of a secret."""
        screen = shown.rpartition("\x1b[?1049h")[2] if "\x1b[?1049h" in shown else ""
        if "\x1b[?1049l" in screen:
            return  # it is gone
        puk = re.search(r"^\s+(\S{12})\s*$", screen, re.M)
        if puk is not None:
            self.shown_puk = puk[1]
        found = {int(number): word for number, word in re.findall(r"\b(\d{1,2})\.?\s+([a-z]{3,8})\b", screen)}
        if len(found) >= 12 and sorted(found) == list(range(1, len(found) + 1)):
            self.shown_words = [found[number] for number in sorted(found)]


_MEANINGS: tuple[tuple[str, str], ...] = (
    (r'type "(\S.*?)" to continue', "text"),
    (r"type it back", "shown_puk"),
    (r"show it again|use it anyway", "yes"),
    (r"what now|^change \(|type again", "leave"),
    (r"share (\d+), word (\d+)", "share"),
    (r"how many words has each share", "share count"),
    (r"choose it yourself|same words|own pairing key\?", "yes"),
    (r"how many words", "count"),
    (r"recovery words", "all words"),
    (r"word (\d+)", "word"),
    (r"your choice", "card"),
    (r"passphrase", "passphrase"),
    (r"new PIN", "new_pin"),
    (r"new PUK|your PUK", "new_puk"),
    (r"\[y/N\] $", "yes"),
    (r"PIN", "pin"),
    (r"PUK", "puk"),
    (r"\[Enter\] $", "enter"),
    (r"name|e-mail", "enter"),
)
