"""The parts of `scripts/torture` that need one process: faults, changed answers, damaged PSBTs.

A part is a number of steps. A step is made of its number alone, so that a failing one can be had again.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable

from cryptnox_core.card import Card
from cryptnox_core.emulator.faults import parse_fault
from cryptnox_core.emulator.memory import Memory
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.errors import CryptnoxError
from cryptnox_core.wire import COMMON_PAIRING_KEY
from hwilib_cryptnox.psbt import PsbtError
from tests.core.emulated import PIN, PUK, EmulatedReader, fresh, initialized, seeded
from tests.core.test_faults import KINDS
from tests.core.test_hostile_card import KINDS as CHANGES
from tests.core.test_hostile_card import METHODS, Mutating, OpenedCard, story
from tests.system.fuzz.test_psbt_fuzz import SEEDS, damage, whole_engine

MEMORIES: dict[str, Callable[[], Memory]] = {"fresh": fresh, "initialised": initialized, "seeded": seeded}
OTHER_PAIRING_KEY = bytes(32)
"""What `METHODS["pairing"]` sets."""


class NotHereError(Exception):
    """A part cannot be run on this machine; the text says why."""


class InputError(AssertionError):
    """What failed is an input, which is kept itself: `data`."""

    def __init__(self, message: str, data: bytes) -> None:
        super().__init__(message)
        self.data = data


class Part(ABC):
    """One kind of torture. `step` raises where something is wrong; `counts` says what was tried."""

    name = ""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    @abstractmethod
    def step(self, number: int) -> None:
        """One attempt."""

    def check(self) -> None:  # noqa: B027 - most parts need nothing
        """NotHereError where this machine has not got what it takes."""

    def again(self, kept: int | str) -> None:
        """Repeat what failed: a step, or (as hexadecimal) an input."""
        if isinstance(kept, str):
            raise TypeError("this part has no inputs")
        self.step(kept)

    def close(self) -> None:  # noqa: B027 - most parts start nothing
        """Give back what was started."""


def _combinations() -> list[tuple[str, str, str, int]]:
    """Every command on every kind of card, with every kind of fault at every APDU up to its end."""
    found = []
    for method, memory in ((method, memory) for method in METHODS for memory in MEMORIES):
        reader = EmulatedReader.of(MEMORIES[memory]())
        card = reader.connect()
        _session(card, method)
        positions = len(card.transport.sent)  # type: ignore[attr-defined]
        found += [(method, memory, kind, at) for kind in KINDS for at in range(1, positions + 1)]
    random.Random(0).shuffle(found)
    return found


def _session(card: Card, method: str) -> CryptnoxError | None:
    """As far as it goes: select, channel, PIN, one command."""
    try:
        card.select()
        if card.info.initialized:
            card.open_channel()
            card.verify_pin(PIN)
        METHODS[method](card)
    except CryptnoxError as error:
        return error
    return None


class Commands(Part):
    """A fault at each APDU of each command: a documented error, no try spent, and the card goes on."""

    name = "commands"

    def __init__(self) -> None:
        super().__init__()
        self.combinations = _combinations()

    def step(self, number: int) -> None:
        turn, index = divmod(number, len(self.combinations))
        method, memory, kind, at = self.combinations[index]
        rng = random.Random(number)
        # The first time round as the specification says, then with other readings of it.
        readings = rng.sample(list(Reading), min(turn, 1) * rng.randrange(1, 4))
        made = MEMORIES[memory]()
        reader = EmulatedReader.of(made, *readings, faults=[parse_fault(f"{kind}@{at}")])
        with reader.connect() as card:
            error = _session(card, method)
        what = f"{method} on a {memory} card, {kind}@{at}, {[reading.value for reading in readings]}: {error!r}"
        counters = reader.card.counters
        if counters.pin_tries or counters.puk_tries:
            raise AssertionError(f"{what}: {counters.pin_tries} PIN and {counters.puk_tries} PUK tries spent")
        if error is not None and (PIN in str(error) or PUK in str(error)):
            raise AssertionError(f"{what}: tells a secret")
        # Without the fault, which strikes later than the command took where another reading made that shorter.
        with EmulatedReader.of(made, *readings).connect() as card:
            if card.select().initialized:
                keys = (COMMON_PAIRING_KEY, OTHER_PAIRING_KEY)
                card.open_channel(keys[made.pairing_key == OTHER_PAIRING_KEY])
                if card.info.pin_auth:
                    card.verify_pin(PIN)
        self.counts[f"round {turn + 1} of {len(self.combinations)} combinations"] += 1
        self.counts["ended in an error" if error else "went on"] += 1


class Answers(Part):
    """Changed answers of a card, and any answers of one that holds the channel's keys."""

    name = "answers"

    def step(self, number: int) -> None:
        rng = random.Random(number)
        if number % 2:
            self._changed(rng)
        else:
            self._any(rng)

    def _changed(self, rng: random.Random) -> None:
        reader = EmulatedReader.of(rng.choice(list(MEMORIES.values()))())
        transport = Mutating(reader.engine)
        transport.plan = (rng.randrange(1, 23), rng.choice(CHANGES), rng.randrange(400), rng.randrange(256))
        reader.engine.power_up()
        try:
            story(Card(transport))
        except CryptnoxError:
            self.counts["changed on the way: refused"] += 1
        else:
            self.counts["changed on the way: made no difference"] += 1
        if reader.card.counters.pin_tries or reader.card.counters.puk_tries:
            raise AssertionError(f"a try was spent: {transport.plan}")

    def _any(self, rng: random.Random) -> None:
        answers = []
        for _ in range(rng.randrange(1, 5)):
            size = rng.choice((0, 1, 2, 16, 24, 32, 33, 64, 65, 72, 106, 138, 256, rng.randrange(300)))
            status = rng.choice((0x9000, 0x9000, 0x9000, 0x6982, 0x63C1, 0x9841, rng.randrange(0x10000)))
            answers.append(rng.randbytes(size) + status.to_bytes(2, "big"))
        method = rng.choice(list(METHODS))
        try:
            METHODS[method](OpenedCard(answers))
        except CryptnoxError as error:
            self.counts["from a hostile card: refused"] += 1
            if PIN in str(error) or PUK in str(error):
                raise AssertionError(f"{method}: {error!r} tells a secret") from error
        else:
            self.counts["from a hostile card: a form that can be"] += 1


class Psbts(Part):
    """Damaged PSBTs through the whole engine."""

    name = "psbts"

    def step(self, number: int) -> None:
        rng = random.Random(number)
        data = damage(rng, rng.choice(SEEDS))
        try:
            signed = whole_engine(data)
        except PsbtError:
            self.counts["refused"] += 1
        except Exception as error:
            raise AssertionError(f"{error!r} for {data.hex()}") from error
        else:
            self.counts["signed" if signed else "nothing to sign"] += 1
