"""Who stands in between, and what happens meanwhile: another card in the place, another computer, another program on
the same card, a clock that jumps."""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cryptnox_core.wire import COMMON_PAIRING_KEY, Ins
from tests.core.emulated import SERIAL
from tests.system.life.facts import Facts
from tests.system.life.oracle import FalseWordError, judge
from tests.system.life.people import Person
from tests.system.life.play import Twist, facts, play
from tests.system.life.scenes import SCENES, VARIANTS, second
from tests.system.life.test_cards import wanted
from tests.system.life.world import Chip, Event, Told, Way, World
from tests.system.torture.programs import NEW_PIN, NEW_PUK, PIN, PUK, seeded

ONE_CARD = [name for name, scene in SCENES.items() if scene.second is None]
QUICK = [name for name in ONE_CARD if name not in VARIANTS][::2]
"""Half of them: what finds out how it stands is the same in all."""


def swapped(name: str, at: int, folder: Path, *, in_readers: bool) -> str:
    """The card is pulled out while it answers, and another one is put in: with the same PIN and PUK, and a wallet of
    its own. The false word, or empty."""
    scene = SCENES[name]
    with World(folder, scene.memory(), in_readers=in_readers) as world:
        other = replace(scene.memory(), serial=SERIAL + 1)
        if other.seed:
            other.seed = bytes(range(1, 65))
        world.spare.append(Chip(other))
        if scene.kept is not None:
            world.state.mkdir(parents=True, mode=0o700)
            (world.state / "pairing.json").write_text(json.dumps({str(SERIAL): scene.kept.hex()}))
        stranger = world.spare[0]
        person, before = scene.people(), facts(world)
        told = world.run(
            scene.program,
            scene.command(folder, world.slots[0].path),
            person,
            Event("other", at),
            Way(stdin=None if scene.stdin is None else f"{scene.stdin}\n"),
        )
        after = facts(world)
        if stranger.secrets:
            return f"the other card was sent a secret by {[Ins(ins).name for ins in stranger.secrets]}: {wanted(told)}"
        if before[1] != after[1]:
            return f"the other card was changed: {sorted(before[1].changes(after[1]))}"
        try:
            judge(scene, told, before[:1], after[:1], person)
        except FalseWordError as error:
            return str(error)
        return ""


def all_swapped(name: str, moments: Callable[[Told], list[int]], folder: Path, *, in_readers: bool) -> None:
    """At each of some moments."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        whole = play(SCENES[name], Path(place), in_readers=in_readers)
    found = []
    for at in moments(whole.told):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            verdict = swapped(name, at, Path(place), in_readers=in_readers)
        if verdict:
            found.append(f"{at}: {verdict}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "in_readers"),
    [
        pytest.param(name, bool(number // 2 % 2), marks=() if name in QUICK else pytest.mark.heavy)
        for number, name in enumerate(ONE_CARD)
    ],
)
def test_another_card_is_put_in_after_the_answer_was_lost(name: str, in_readers: bool, tmp_path: Path) -> None:
    """What it shows says nothing of the first one, and it is sent nothing that is the first one's."""
    all_swapped(name, Told.changing, tmp_path, in_readers=in_readers)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("in_readers", [False, True], ids=["address", "reader"])
@pytest.mark.parametrize("name", ONE_CARD)
def test_another_card_is_put_in_at_any_moment(name: str, in_readers: bool, tmp_path: Path) -> None:
    """From the first answer on that the program has heard: one that was lost tells it of no card, and an address names
    none; in readers the card is named."""
    first = 1 if in_readers else 2
    all_swapped(name, lambda told: list(range(first, len(told.exchanges) + 1)), tmp_path, in_readers=in_readers)


# A secret of two cards


def made_together(at: int, folder: Path) -> None:
    """Interrupted after an APDU. Whoever does what is told ends with two cards that hold the same wallet."""
    scene = SCENES["ctl setup dual"]
    with World(folder, scene.memory(), second(), in_readers=True) as world:
        first, other = world.slots
        words = [*scene.words.replace("{second}", "%").split(), "--card", str(SERIAL)]
        words = [other.reader if word == "%" else word for word in words]
        told = world.run("ctl", words, scene.people(), Event("lost", at, out=True))
        for _ in range(3):
            for slot in world.slots:
                slot.insert()
            if first.facts.seed and first.facts.seed == other.facts.seed:
                return
            for slot in world.slots:
                if slot.facts.seed:
                    assert "reset" in told.err or "compare" in told.err, wanted(told)
                    erase = ["reset", "--card", str(slot.card.memory.serial)]
                    done = world.run("ctl", erase, SCENES["ctl reset"].people())
                    assert done.status == 0, wanted(done)
            told = world.run("ctl", words, scene.people())
        raise AssertionError(f"no end: {wanted(told)}")


@pytest.mark.parametrize("part", range(3))
def test_two_cards_whose_set_up_was_interrupted(part: int, tmp_path: Path) -> None:
    """After a command that changed one of them; a third of these moments each."""
    with tempfile.TemporaryDirectory(dir=tmp_path) as place:
        whole = play(SCENES["ctl setup dual"], Path(place), in_readers=True)
    for at in whole.told.changing()[part::3]:
        with tempfile.TemporaryDirectory(dir=tmp_path) as place:
            made_together(at, Path(place))


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_two_cards_whose_set_up_was_interrupted_at_any_moment(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as place:
        whole = play(SCENES["ctl setup dual"], Path(place), in_readers=True)
    for exchange in whole.told.exchanges:
        with tempfile.TemporaryDirectory(dir=tmp_path) as place:
            made_together(exchange.number, Path(place))


class Pair:
    """Two cards in two readers, or in turns in one, and commands on one of them."""

    def __init__(self, folder: Path, *, readers: int) -> None:
        self.scene = SCENES["ctl setup dual" if readers == 2 else "ctl setup dual, one reader"]
        self.readers = readers
        cards = [self.scene.memory(), second()]
        self.world = World(folder, *cards[:readers], in_readers=True)
        self.world.spare += [Chip(memory) for memory in cards[readers:]]

    def holds(self, serial: int) -> Facts:
        """What a card holds."""
        return next(found for found in facts(self.world) if found.serial == serial)

    def set_up(self, event: Event | None = None) -> Told:
        """The two make their secret, as far as the event lets them."""
        self._put_in(SERIAL)
        return self._run(SERIAL, self.scene.words.removesuffix(" --second {second}"), event)

    def on(self, serial: int, command: str) -> Told:
        """A command on a card, which wants the other one."""
        self._put_in(serial)
        return self._run(serial, command, None)

    def _run(self, serial: int, command: str, event: Event | None) -> Told:
        words = [*command.split(), "--card", str(serial)]
        if self.readers == 2 and command.startswith(("setup", "backup")):
            words += ["--second", self.world.slots[SERIAL + 1 - serial].reader]
        swap = (r"remove the .*card.* and insert", lambda world: world.swap() or "")
        person = replace(self.scene.people(), answers=(swap, ("own pairing key", "n")))
        told = self.world.run("ctl", words, person, event)
        for slot in self.world.slots:
            slot.insert()
        return told

    def _put_in(self, serial: int) -> None:
        if self.readers == 1 and self.world.slots[0].card.memory.serial != serial:
            self.world.swap()


def killed_between(at: int, kind: str, folder: Path, *, readers: int) -> None:
    """It is said truly which card has to be reset, by each command on each card that has to know; or a second set-up
    goes on; or both are compared."""
    pair, other = Pair(folder, readers=readers), SERIAL + 1
    with pair.world:
        assert pair.set_up(Event(kind, at)).killed
        one, two = pair.holds(SERIAL), pair.holds(other)
        if one.seed:
            assert one.seed == two.seed
            for serial in (SERIAL, other):
                told = pair.on(serial, "backup check --second-card")
                assert told.status == 0 and "same wallet" in told.out, wanted(told)
            return
        if two.seed:
            reset = f"reset --card {other}"
            for serial, command in ((other, "adopt"), (other, "backup check --second-card"), (SERIAL, DUAL)):
                told = pair.on(serial, command)
                assert reset in told.out + told.err and "no backup" in told.out + told.err, wanted(told)
                assert "Next, connect a wallet" not in told.out
            told = pair.on(SERIAL, "backup check --second-card")
            assert told.status and "reset it" in told.err, wanted(told)
            erased = pair.on(other, "reset")
            assert erased.status == 0, wanted(erased)
        told = pair.set_up()
        assert told.status == 0, wanted(told)
        assert pair.holds(SERIAL).seed == pair.holds(other).seed != ""


DUAL = "setup --seed dual --name= --email="


def between(folder: Path, readers: int) -> Told:
    """Two cards are set up, and nothing goes wrong."""
    pair = Pair(folder, readers=readers)
    with pair.world:
        return pair.set_up()


def test_the_second_card_is_looked_at_first(tmp_path: Path) -> None:
    """One that holds a wallet ends the set-up before the first card is asked for anything, or given anything."""
    pair = Pair(tmp_path, readers=2)
    with pair.world as world:
        for name in ("initialized", "pin", "puk", "pairing_key", "key_source", "seed"):
            setattr(world.slots[1].card.memory, name, getattr(seeded(), name))
        before = facts(world)
        told = pair.set_up()
        assert told.status and f"already a wallet on the card {SERIAL + 1}" in told.err, wanted(told)
        assert not told.prompts and facts(world) == before


@pytest.mark.parametrize("readers", [2, 1], ids=["two readers", "one reader"])
def test_two_cards_whose_program_was_killed(readers: int, tmp_path: Path) -> None:
    """After each command that changed one of them."""
    for at in between(tmp_path, readers).changing():
        with tempfile.TemporaryDirectory(dir=tmp_path) as place:
            killed_between(at, "killed", Path(place), readers=readers)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["kill", "killed"])
@pytest.mark.parametrize("readers", [2, 1], ids=["two readers", "one reader"])
def test_two_cards_whose_program_was_killed_at_any_moment(readers: int, kind: str, tmp_path: Path) -> None:
    for exchange in between(tmp_path, readers).exchanges:
        with tempfile.TemporaryDirectory(dir=tmp_path) as place:
            killed_between(exchange.number, kind, Path(place), readers=readers)


# Two computers


def on(world: World, home: str, *words: str, person: Person | None = None, stdin: str | None = None) -> str:
    """A command on another computer, which remembers for itself; it has to succeed."""
    there = {"XDG_STATE_HOME": str(world.folder / home)}
    told = world.run("ctl", words, person or SCENES["ctl adopt"].people(), way=Way(stdin=stdin, environ=there))
    assert told.status == 0, wanted(told)
    return told.out


@pytest.mark.parametrize("in_readers", [False, True], ids=["address", "reader"])
def test_another_computer_changed_the_pin(in_readers: bool, tmp_path: Path) -> None:
    """The first one's automatic PIN is wrong now: it is sent once, by however many commands; the right one mends it."""
    with World(tmp_path, seeded(), in_readers=in_readers) as world:
        card = world.slots[0].card
        file = tmp_path / "pin"
        file.write_text(PIN)
        file.chmod(0o600)
        automatic = {"CRYPTNOX_PIN_FILE": str(file), "CRYPTNOX_PIN": PIN}
        on(world, "state", "pin", "verify", "--stdinpass", stdin=f"{PIN}\n")
        on(world, "elsewhere", "pin", "change")
        for _ in range(3):
            told = world.run("ctl", ["address", "--json"], Person(), way=Way(stdin="", environ=automatic))
            assert told.status, wanted(told)
        assert card.counters.pin_tries == 1, f"{card.counters.pin_tries} tries were spent"
        on(world, "state", "pin", "verify", "--stdinpass", stdin=f"{NEW_PIN}\n")
        assert card.memory.pin_tries == 6


@pytest.mark.parametrize("in_readers", [False, True], ids=["address", "reader"])
def test_two_computers_and_the_pairing_key(in_readers: bool, tmp_path: Path) -> None:
    """Each of them can get at the card again, and neither is told that it has a key which it has not."""
    person = SCENES["ctl adopt"].people()
    with World(tmp_path, seeded(), in_readers=in_readers) as world:
        here, there = "state", "elsewhere"
        on(world, here, "pairing", "change")
        on(world, there, "pairing", "recover", person=person)
        assert world.slots[0].facts.pairing_key == COMMON_PAIRING_KEY.hex()
        on(world, here, "pin", "verify", "--stdinpass", stdin=f"{PIN}\n")
        on(world, there, "pairing", "change")
        file = tmp_path / "key"
        on(world, there, "pairing", "export", str(file))
        told = world.run("ctl", ["pin", "verify", "--stdinpass"], person, way=Way(stdin=f"{PIN}\n"))
        assert told.status and "pairing recover" in told.err, wanted(told)
        on(world, here, "pairing", "recover", "--file", str(file))
        for home in (here, there):
            on(world, home, "pin", "verify", "--stdinpass", stdin=f"{PIN}\n")


def test_another_computer_erased_the_card_and_set_it_up(tmp_path: Path) -> None:
    """The first one remembers an own pairing key and a fingerprint of before: the person is told, and can go on."""
    with World(tmp_path, seeded(), in_readers=True) as world:
        on(world, "state", "pairing", "change")
        on(world, "state", "adopt", "--json")
        on(world, "elsewhere", "pairing", "recover")
        on(world, "elsewhere", "reset")
        scene = SCENES["ctl setup restore"]
        on(world, "elsewhere", *scene.words.split(), person=scene.people())
        told = world.run("ctl", ["adopt"], SCENES["ctl adopt"].people())
        if told.status:  # once, for what is remembered
            assert re_seed(told.err), wanted(told)
            told = world.run("ctl", ["adopt"], SCENES["ctl adopt"].people())
        assert told.status == 0 and world.slots[0].facts.fingerprint in told.out, wanted(told)


def re_seed(text: str) -> bool:
    """Whether it says that the card has another seed than before."""
    return "seed" in text or "wallet" in text


# Two programs at once


@pytest.mark.parametrize("in_readers", [False, True], ids=["address", "reader"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pairing change", "pairing change"),
        ("pairing change", "puk change"),
        ("pin change", "pin change --with-puk"),
        ("reset", "pairing change"),
    ],
)
def test_two_programs_on_one_card(one: str, other: str, in_readers: bool, tmp_path: Path) -> None:
    """Whoever comes second is served after the first or refused; and at the end the state fits the card."""
    with World(tmp_path, seeded(), in_readers=in_readers) as world:
        people = [
            Person(pin=PIN, puk=PUK, new_pin=NEW_PIN, new_puk=NEW_PUK),
            Person(pin=PIN, puk=PUK, new_pin="864202", new_puk="other-puk-12"),
        ]
        waits = Way(environ={"CRYPTNOX_WAIT": "10"})
        programs = [("ctl", words.split(), person) for words, person in zip((one, other), people, strict=True)]
        told = world.race(programs, waits)
        now = world.slots[0].facts
        for each in told:
            assert not each.hung and "Traceback" not in wanted(each), wanted(each)
            assert each.status in (0, 1, 3, 4), wanted(each)
        if now.initialised:
            kept = json.dumps(world.kept())
            assert not now.own_pairing_key or now.pairing_key in kept, "the card's own pairing key is nowhere"
            assert now.pin in {PIN, *(person.new_pin for person in people)}
            done = [person for each, person in zip(told, people, strict=True) if each.status == 0]
            if "pin change" in one:
                assert now.pin in [person.new_pin for person in done] or not done


def test_a_reset_card_is_not_given_the_key_of_before(tmp_path: Path) -> None:
    """A killed reset, then set-up by another program: what this computer kept does not lock anybody out."""
    with World(tmp_path, seeded(), in_readers=True) as world:
        on(world, "state", "pairing", "change")
        person = SCENES["ctl adopt"].people()
        told = world.run("ctl", ["reset"], person, Event("killed", 7))
        assert told.killed
        if world.slots[0].facts.initialised:
            told = world.run("ctl", ["reset"], person)
            assert told.status == 0, wanted(told)
        scene = SCENES["ctl setup restore"]
        on(world, "elsewhere", *scene.words.split(), person=scene.people())
        on(world, "state", "pin", "verify", "--stdinpass", stdin=f"{PIN}\n")


# The clock, and other ends


@pytest.mark.parametrize("now", [0.0, 4.3e9], ids=["1970", "2106"])
@pytest.mark.parametrize("name", ["ctl pairing change", "ctl pin change", "ctl setup restore", "hwi wipe"])
def test_a_clock_that_is_wrong(name: str, now: float, tmp_path: Path) -> None:
    real = time.time
    time.time = lambda: now  # the forked program's clock
    try:
        played = play(SCENES[name], tmp_path, seen=set())
    finally:
        time.time = real
    assert not played.verdict, played.verdict


ENDED = ["ctl puk change", "ctl reset", "hwi wipe"]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name", [*ENDED, pytest.param("ctl setup restore", marks=pytest.mark.heavy)])
def test_the_program_is_told_to_end(name: str, sent: signal.Signals, tmp_path: Path) -> None:
    """After each command that changed the card: nothing is said, or what is true; the next command works."""
    with tempfile.TemporaryDirectory(dir=tmp_path) as place:
        whole = play(SCENES[name], Path(place))
    found = []
    for at in whole.told.changing():
        with tempfile.TemporaryDirectory(dir=tmp_path) as place:
            played = play(SCENES[name], Path(place), Twist(Event(f"signal {int(sent)}", at)), seen=set())
        if played.verdict:
            found.append(f"{at}: {played.verdict}")
    assert not found, "\n".join(found)
