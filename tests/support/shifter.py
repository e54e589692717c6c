"""A man in the middle between host and card who has no key: a reader, hub or network that is not the owner's.

What he can do to the secure channel (docs/protocol.md): the MAC of a message covers header and ciphertext, not the IV,
which is the MAC of the last message of the other side. A command that he sends to the card a second time is answered
by it, and the answer that the host never sees is the card's next IV. The host's next command decrypts with another IV
than it was encrypted with: its first 16 plain bytes are XORed with a difference that he knows and can hardly choose.
All else in the command stays as it was, and its MAC is right. The same holds for an answer that he gives to the host a
second time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptnox_core.wire import BLOCK, Ins
from tests.support.middle import Ask

CLEAR = frozenset(
    {
        Ins.SELECT,
        Ins.GET_CARD_PUBLIC_KEY,
        Ins.GET_MANUFACTURER_CERTIFICATE,
        Ins.GET_CARD_CERTIFICATE,
        Ins.OPEN_SECURE_CHANNEL,
        Ins.INIT,
    }
)
"""Commands that do not go through the channel."""


@dataclass
class Watcher:
    """Changes nothing. Counts the commands in the channel, over all channels; what attacks start from."""

    commands: int = 0
    handshake: bytes = b""
    """MUTUALLY AUTHENTICATE of the channel that is open now."""
    answers: list[bytes] = field(default_factory=list)
    """What the card said in this channel, the answer to MUTUALLY AUTHENTICATE first."""
    headers: list[str] = field(default_factory=list)
    """Class, instruction, P1 and P2 of each command in the channel, in hex."""

    def __call__(self, apdu: bytes, card: Ask) -> bytes:
        ins = apdu[1]
        if ins == Ins.MUTUALLY_AUTHENTICATE:
            self.handshake, self.answers = apdu, [card(apdu)]
            return self.answers[0]
        if ins in CLEAR:
            self.handshake = b""
        if not self.handshake:
            return card(apdu)
        self.commands += 1
        self.headers.append(apdu[:4].hex())
        answer = self.secure(apdu, card)
        self.answers.append(answer)
        return answer

    def secure(self, apdu: bytes, card: Ask) -> bytes:
        """A command in the channel."""
        return card(apdu)


@dataclass
class Shifter(Watcher):
    """Shifts the card's IV before one command in the channel, or before each of them (`before` 0), by having the card
    answer the handshake command a second time. `only`: before the commands of one instruction."""

    before: int = 0
    only: int | None = None
    shifts: int = 0
    """Times the card took part in it."""
    difference: bytes = b""
    """What the first plain block of the latest command was XORed with."""

    def secure(self, apdu: bytes, card: Ask) -> bytes:
        if self.before in (0, self.commands) and self.only in (None, apdu[1]):
            answer = card(self.handshake)
            if len(answer) > BLOCK and answer[-2:] == b"\x90\x00":
                self.shifts += 1
                old, new = self.answers[-1][:BLOCK], answer[:BLOCK]
                self.difference = bytes(a ^ b for a, b in zip(old, new, strict=True))
        return card(apdu)


@dataclass
class Repeater(Watcher):
    """Keeps one command in the channel from the card and gives the host an earlier answer of the channel: the one to
    MUTUALLY AUTHENTICATE is number 0."""

    instead: int = 1
    answer: int = 0
    repeated: bool = False

    def secure(self, apdu: bytes, card: Ask) -> bytes:
        if self.commands != self.instead or self.answer >= len(self.answers):
            return card(apdu)
        self.repeated = True
        return self.answers[self.answer]


@dataclass
class Between:
    """Whoever is in between now; for `Middle`, over several runs."""

    him: Watcher

    def __call__(self, apdu: bytes, card: Ask) -> bytes:
        return self.him(apdu, card)
