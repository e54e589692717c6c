"""Plays a scene: the cards, the home, the person, the program, one event; and has it judged."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptnox_core.emulator.card import Card as EmulatedCard
from cryptnox_core.wire import Ins
from tests.life.facts import Facts, facts_of
from tests.life.oracle import judge, judge_state, succeeded
from tests.life.people import Person
from tests.life.scenes import OTHER_KEY, OWN_KEY, SERIAL, Scene
from tests.life.world import Event, Told, World, mend, spoil


@dataclass
class Played:
    """How a scene ended. `verdict`: the false word, empty where there is none."""

    told: Told
    before: list[Facts]
    after: list[Facts]
    verdict: str
    person: Person


@dataclass(frozen=True)
class Twist:
    """What goes wrong: an event at an APDU, a key at a prompt, a stdout."""

    event: Event | None = None
    prompt: int = 0
    key: bytes = b"\x03"
    stdout: str = "pipe"
    spoilt: str = ""
    """`state gone`: from the beginning."""

    def __str__(self) -> str:
        if self.event is not None:
            return str(self.event)
        if self.prompt:
            return f"{_KEYS[self.key]} at prompt {self.prompt}"
        return self.spoilt or f"stdout {self.stdout}"


_KEYS = {b"\x03": "Ctrl-C", b"\x04": "Ctrl-D"}
NO_TWIST = Twist()


def play(scene: Scene, folder: Path, twist: Twist = NO_TWIST) -> Played:
    """One scene with one twist, judged."""
    memories = [scene.memory()]
    own_place = "{second}" in scene.words
    if scene.second is not None and own_place:
        memories.append(scene.second())
    with World(folder, *memories) as world:
        if scene.second is not None and not own_place:
            world.spare.append(EmulatedCard(scene.second()))
        if scene.kept is not None:
            world.state.mkdir(parents=True, mode=0o700)
            (world.state / "pairing.json").write_text(json.dumps({str(SERIAL): scene.kept.hex()}))
        person = scene.people()
        before = facts(world)
        if twist.spoilt:
            world.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            spoil(world.state, twist.spoilt)
        other = f"tcp:{world.slots[1].address}" if own_place else ""
        told = world.run(
            scene.program,
            scene.command(folder, f"tcp:{world.slots[0].address}", other),
            person,
            twist.event,
            stdin=None if scene.stdin is None else scene.stdin + "\n",
            stdout=twist.stdout,
            prompt=twist.prompt,
            key=twist.key,
        )
        after = facts(world)
        verdict = ""
        try:
            judge(scene, told, before, after, person, full=twist.stdout in ("full", "closed"))
            if twist == NO_TWIST and not succeeded(scene, told):
                verdict = f"it does not succeed: {told.out} {told.err} {told.terminal[-300:]}"
            mend(world.state)
            if not twist.spoilt and (twist.event is None or not twist.event.kind.startswith("state")):
                judge_state(world.kept(), dict(zip(serials(world), after, strict=True)), known(scene))
        except AssertionError as error:
            verdict = str(error)
        return Played(told, before, after, verdict, person)


def known(scene: Scene) -> set[str]:
    """The pairing keys that the person has in files."""
    return {OWN_KEY.hex()} if scene.memory().pairing_key == OWN_KEY else {OTHER_KEY.hex()}


def cards(world: World) -> list[EmulatedCard]:
    """All cards there are, by their serials."""
    return sorted([slot.card for slot in world.slots] + world.spare, key=lambda card: card.memory.serial)


def serials(world: World) -> list[int]:
    """Theirs."""
    return [card.memory.serial for card in cards(world)]


def facts(world: World) -> list[Facts]:
    """What they hold."""
    return [facts_of(card.memory) for card in cards(world)]


SOON = ("lost", "killed", "inted", "badmac")
"""Kinds that the fast tests try."""
BEFORE = ("remove", "sw:6F00", "sw:6982", "int", "kill")
AFTER = ("lost", "garbage", "badmac", "silence", "inted", "inted twice", "killed")
OUT = ("remove", "lost")
PROVED = {"pin", "puk", "pairing_key", "seed"}
"""What is used once before success is told."""
CHECKED = PROVED | {"data", "custom"}
"""What stands in a first block, which a reader in the middle may alter."""
STATE = ("state gone", "state full")


def twists(whole: Played, disk: bool) -> list[Twist]:
    """All of a scene that was played without one."""
    found = []
    changing = set(whole.told.changing())
    for exchange in whole.told.exchanges:
        at = exchange.number
        found += [Twist(Event(kind, at)) for kind in (*BEFORE, *AFTER)]
        found += [Twist(Event(kind, at, out=True)) for kind in OUT]
        found += [Twist(Event(kind, at)) for kind in STATE if disk or kind != "state full"]
        if exchange.changes & PROVED and at in changing:
            found.append(Twist(Event("forgets", at)))
        if exchange.changes & CHECKED and exchange.ins != Ins.RESET:
            found.append(Twist(Event("alters", at)))
        if exchange.ins == Ins.RESET:
            found += [Twist(Event("torn", at)), Twist(Event("torn", at, out=True))]
    for number in range(1, len(whole.told.prompts) + 1):
        found += [Twist(prompt=number, key=key) for key in (b"\x03", b"\x04")]
    found += [Twist(stdout=kind) for kind in ("full", "closed", "broken")]
    found.append(Twist(spoilt="state gone"))
    return found


__all__ = ["Iterable", "Played", "Twist", "play"]
