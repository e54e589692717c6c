"""Plays a scene: the cards, the home, the person, the program, one event; and has it judged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cryptnox_core.emulator import ca
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.wire import PIN_TRIES_TOTAL, Ins
from tests.core.emulated import SERIAL
from tests.system.life.aftermath import aftermath
from tests.system.life.facts import Facts
from tests.system.life.oracle import judge, judge_state, succeeded
from tests.system.life.people import Person
from tests.system.life.scenes import OTHER_KEY, OWN_KEY, Scene
from tests.system.life.world import Chip, Event, Told, Way, World, mend, spoil


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
    moment: int = 0
    """Where Ctrl-C comes, whatever the program does."""

    def __str__(self) -> str:
        if self.event is not None:
            return str(self.event)
        if self.prompt:
            return f"{_KEYS[self.key]} at prompt {self.prompt}"
        if self.moment:
            return f"Ctrl-C at moment {self.moment}"
        return self.spoilt or f"stdout {self.stdout}"


_KEYS = {b"\x03": "Ctrl-C", b"\x04": "Ctrl-D"}
NO_TWIST = Twist()


def play(
    scene: Scene,
    folder: Path,
    twist: Twist = NO_TWIST,
    *,
    in_readers: bool = False,
    readings: Sequence[Reading] = (),
    seen: set[object] | None = None,
) -> Played:
    """One scene with one twist, judged; and what the person does next, where card and state folder are left as they
    are not in `seen` yet."""
    memories = [scene.memory()]
    own_place = "{second}" in scene.words
    if scene.second is not None and own_place:
        memories.append(scene.second())
    with World(folder, *memories, in_readers=in_readers, readings=readings) as world:
        if scene.second is not None and not own_place:
            world.spare.append(Chip(scene.second()))
        world.state.mkdir(parents=True, mode=0o700)
        if in_readers:
            (world.state / "cards.json").write_text(json.dumps(met(world)))
        if scene.kept is not None:
            (world.state / "pairing.json").write_text(json.dumps({str(SERIAL): scene.kept.hex()}))
            if not in_readers:  # who keeps a pairing key here made the card known by it
                record = {"static_key": hashlib.sha256(_static_point(SERIAL)).hexdigest()}
                (world.state / "cards.json").write_text(json.dumps({str(SERIAL): record}))
        person = scene.people()
        before = facts(world)
        if twist.spoilt:
            spoil(world.state, twist.spoilt)
        other = world.slots[1].reader or world.slots[1].path if own_place else ""
        words = scene.command(folder, world.slots[0].path, other)
        if in_readers and own_place:
            words += ["--reader", world.slots[0].reader]
        told = world.run(
            scene.program,
            words,
            person,
            twist.event,
            Way(
                stdin=None if scene.stdin is None else f"{scene.stdin}\n",
                stdout=twist.stdout,
                prompt=twist.prompt,
                key=twist.key,
                moment=twist.moment,
                count=twist == NO_TWIST,
            ),
        )
        then = facts(world)
        verdict = ""
        try:
            judge(scene, told, before, then, person, stdout_lost=twist.stdout != "pipe")
            if twist == NO_TWIST and not succeeded(scene, told):
                verdict = f"it does not succeed: {told.out} {told.err} {told.terminal[-300:]}"
            mend(world.state)
            if twist.event is None or twist.event.kind != "alters":
                judge_state(world.kept(), dict(zip(serials(world), then, strict=True)), known(scene))
            left = _left(world, before, then)
            if seen is not None and not verdict and scene.second is None and left not in seen:
                seen.add(left)
                aftermath(world, scene)
        except AssertionError as error:
            verdict = str(error)
        return Played(told, before, then, verdict, person)


def met(world: World) -> dict[str, object]:
    """What this computer remembers of cards that hold a wallet: it has used them before."""
    return {
        str(card.memory.serial): {
            "fingerprint": card.facts.fingerprint,
            "static_key": hashlib.sha256(_static_point(card.memory.serial)).hexdigest(),
            "full": PIN_TRIES_TOTAL,
        }
        for card in cards(world)
        if card.facts.seed
    }


def _static_point(serial: int) -> bytes:
    """Of the emulated card with a serial: 65 bytes."""
    return ca.static_key(serial).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _left(world: World, before: list[Facts], after: list[Facts]) -> object:
    """How the cards and the state folder are left, as far as it decides what comes next."""
    changes = tuple(frozenset(was.changes(now)) for was, now in zip(before, after, strict=True))
    kept = json.dumps(world.kept())
    keys = tuple((now.pairing_key in kept, kept.count(",")) for now in after)
    file = world.state / "cards.json"
    notes = tuple(sorted(json.loads(file.read_text()).items())) if file.is_file() else ()
    return changes, keys, tuple((serial, entry.get("note"), entry.get("full")) for serial, entry in notes)


def known(scene: Scene) -> set[str]:
    """The pairing keys that the person has in files."""
    return {OWN_KEY.hex()} if scene.memory().pairing_key == OWN_KEY else {OTHER_KEY.hex()}


def cards(world: World) -> list[Chip]:
    """All cards there are, by their serials."""
    return sorted([slot.card for slot in world.slots] + world.spare, key=lambda card: card.memory.serial)


def serials(world: World) -> list[int]:
    """Theirs."""
    return [card.memory.serial for card in cards(world)]


def facts(world: World) -> list[Facts]:
    """What they hold."""
    return [card.facts for card in cards(world)]


BEFORE = ("remove", "sw:6F00", "sw:6982", "int", "kill")
AFTER = ("lost", "garbage", "badmac", "silence", "inted", "inted twice", "killed")
OUT = ("remove", "lost")
PROVED = {"pin", "puk", "pairing_key", "seed"}
"""What is used once before success is told."""
CHECKED = PROVED | {"data", "custom"}
"""What stands in a first block, which a reader in the middle may alter."""
STATE = ("state gone", "state full")
SPENT = {"pin"}
"""What is found out by a try: a refusal of the card's own is believed there."""
SEEDS = (Ins.LOAD_KEY, Ins.GENERATE_KEY)
"""They are refused on a card that has its seed already, which is another matter."""


def quick_twists(whole: Played) -> list[Twist]:
    """The few that matter most: each command that changed the card loses its answer; at the last of them the card stays
    away, Ctrl-C comes, what follows fails, the value is another one, the state folder and stdout take nothing."""
    changing = [exchange for exchange in whole.told.exchanges if exchange.changed]
    found = [Twist(Event("lost", exchange.number)) for exchange in changing]
    for exchange in changing[-1:]:
        at = exchange.number
        found += [Twist(Event("lost", at, out=True)), Twist(Event("inted", at)), Twist(Event("state gone", at))]
        if at < len(whole.told.exchanges):
            found.append(Twist(Event("remove", at + 1, out=True)))
        if exchange.changes & CHECKED and exchange.ins != Ins.RESET:
            found.append(Twist(Event("alters", at)))
    if whole.told.prompts:
        found.append(Twist(prompt=len(whole.told.prompts)))
    return [*found, Twist(stdout="full")]


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
        if at in changing and exchange.ins != Ins.INIT:
            found.append(Twist(Event("says:6F00", at)))
        if at in changing and not exchange.changes & SPENT and exchange.ins not in (Ins.INIT, *SEEDS):
            found.append(Twist(Event("says:6985", at)))
        if exchange.changes & CHECKED and exchange.ins != Ins.RESET:
            found.append(Twist(Event("alters", at)))
        if at in changing:
            found.append(Twist(Event("taken", at)))
        if exchange.ins == Ins.RESET:
            found += [Twist(Event("torn", at)), Twist(Event("torn", at, out=True))]
    for number in range(1, len(whole.told.prompts) + 1):
        found += [Twist(prompt=number, key=key) for key in (b"\x03", b"\x04")]
    found += [Twist(stdout=kind) for kind in ("full", "closed", "broken")]
    found.append(Twist(spoilt="state gone"))
    return found
