"""What the person does next: the card is looked at, the PIN is tried, and the card is made usable. Nothing that was
interrupted may stand in the way, and what is told then has to be true as well."""

from __future__ import annotations

import json
from dataclasses import replace

from cryptnox_core.wire import CARD_TYPE_NFT
from tests.support.emulator import MNEMONIC
from tests.system.life.facts import Facts
from tests.system.life.oracle import FalseWordError, judge
from tests.system.life.scenes import ANY, FRESH, OF_WORDS, SCENES, Scene
from tests.system.life.world import Slot, Told, Way, World, mend
from tests.system.torture.programs import NEW_PIN, NEW_PUK, PIN, PUK

_CHOSEN = {PIN, NEW_PIN}, {PUK, NEW_PUK}
_SETUP, _NFT = SCENES["ctl setup restore"], SCENES["ctl setup, NFT"]


def aftermath(world: World, scene: Scene) -> str:
    """In a word: what the card was made of. FalseWordError for what stands in the way."""
    mend(world.state)
    slot = world.slots[0]
    for each in world.slots:
        each.insert()
    truth = slot.facts
    _look(world, slot)
    if truth.initialised and (truth.pin not in _CHOSEN[0] or not truth.pin_auth or truth.tries < 2):
        return "left alone"
    is_nft = slot.card.memory.card_type == CARD_TYPE_NFT
    if not truth.initialised:
        _play(world, _NFT if is_nft else replace(_SETUP, person={**_SETUP.person, **FRESH}), truth)
        return "set up"
    known = {"pin": truth.pin, "puk": truth.puk, "words": MNEMONIC}
    if truth.own_pairing_key and truth.pairing_key not in json.dumps(world.kept()):
        if truth.puk not in _CHOSEN[1]:
            return "left alone"
        _play(world, replace(SCENES["ctl pairing recover"], person=known), truth)
    _verify(world, slot)
    if not truth.seed:
        if is_nft:
            _play(world, replace(_NFT, person=known, wants={"seed": ANY}), slot.facts)
            return "given its key"
        wants = {"seed": OF_WORDS["seed"], "export": True}
        _play(world, replace(SCENES["ctl setup, initialised"], person=known, wants=wants), slot.facts)
        return "given its seed"
    if is_nft:
        return "has its key"
    if truth.puk in _CHOSEN[1] or truth.export:
        _play(world, replace(SCENES["ctl adopt"], person=known, wants={"export": True}), slot.facts)
    return "adopted"


def _play(world: World, scene: Scene, before: Facts) -> None:
    """A further command, which has to succeed."""
    person = scene.people()
    words = scene.command(world.folder, world.slots[0].path)
    if len(world.slots) > 1:
        words += ["--card", world.slots[0].path.removeprefix("cryptnox:")]
    told = world.run(scene.program, words, person)
    what = f"afterwards, {scene.words}"
    if told.status:
        raise FalseWordError(f"{what}: exit {told.status}: {_all(told)}")
    try:
        judge(scene, told, [before], [world.slots[0].facts], person)
    except FalseWordError as error:
        raise FalseWordError(f"{what}: {error}") from error


def _all(told: Told) -> str:
    return " | ".join(f"{told.err}\n{told.out}\n{told.terminal[-300:]}".split("\n"))


def _look(world: World, slot: Slot) -> None:
    """`info` says of the card what is."""
    words = ["info", "--json"]
    if len(world.slots) > 1:
        words += ["--card", slot.path.removeprefix("cryptnox:")]
    told = world.run("ctl", words, SCENES["ctl adopt"].people())
    if told.status:
        raise FalseWordError(f"afterwards, info: exit {told.status}: {_all(told)}")
    answer = json.loads(told.out)
    facts, memory = slot.facts, slot.card.memory
    said = answer["initialized"], answer["seeded"], answer["serial"], answer["xpub_export"]
    there = facts.initialised, bool(facts.seed), str(memory.serial), facts.export
    if said != there:
        raise FalseWordError(f"afterwards, info: {said}, and not {there}")


def _verify(world: World, slot: Slot) -> None:
    """The PIN is right, and the channel opens."""
    words = ["pin", "verify", "--stdinpass"]
    if len(world.slots) > 1:
        words += ["--card", slot.path.removeprefix("cryptnox:")]
    told = world.run("ctl", words, SCENES["ctl adopt"].people(), way=Way(stdin=f"{slot.facts.pin}\n"))
    if told.status:
        raise FalseWordError(f"afterwards, pin verify: exit {told.status}: {_all(told)}")
