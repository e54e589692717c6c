"""The card that was named, and no other: two cards in two readers, and cards that are not what they were."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cryptnox_core.emulator.memory import Memory
from cryptnox_core.wire import Ins
from tests.core.emulated import SERIAL
from tests.support.emulator import MNEMONIC
from tests.system.life.facts import Facts, facts_of
from tests.system.life.oracle import succeeded
from tests.system.life.people import Person
from tests.system.life.scenes import FRESH, OWN_KEY, SCENES, VARIANTS, Scene
from tests.system.life.world import READERS, Told, Way, World
from tests.system.torture.programs import NEW_PIN, NEW_PUK, PIN, PUK, factory, seeded

OTHER = SERIAL + 1
SEED = bytes(range(1, 65))
WAYS: dict[str, tuple[str, ...]] = {
    "--card": ("--card", "{serial}"),
    "--card cryptnox:": ("--card", "cryptnox:{serial}"),
    "--reader": ("--reader", "{reader}"),
    "--reader number": ("--reader", "{number}"),
}
"""How `cryptnoxctl` is told which card."""
COMMANDS: dict[str, tuple[str, dict[str, object]]] = {
    "reset": ("reset", {"initialised": False}),
    "pin change": ("pin change", {"pin": NEW_PIN}),
    "pin change --with-puk": ("pin change --with-puk", {"pin": NEW_PIN}),
    "puk change": ("puk change", {"puk": NEW_PUK}),
    "pairing change": ("pairing change", {}),
    "xpub off": ("xpub off", {"export": False}),
    "pinless set": ("pinless set m/43h/60h/1581h/0", {}),
}


def two(memory: Callable[[], Memory] = seeded) -> tuple[Memory, Memory]:
    """The second has the same PIN and the same PUK."""
    other = replace(memory(), serial=OTHER)
    return memory(), replace(other, seed=SEED) if other.seed else other


def fingerprints(world: World) -> list[str]:
    return [slot.facts.fingerprint for slot in world.slots]


def person(**differs: object) -> Person:
    known = {"pin": PIN, "puk": PUK, "new_pin": NEW_PIN, "new_puk": NEW_PUK, "words": MNEMONIC}
    return Person(**{**known, **differs})  # type: ignore[arg-type]


def untouched(world: World, place: int, was: object) -> None:
    """As before, and it was sent no secret."""
    slot = world.slots[place]
    assert isinstance(was, Facts)
    assert not was.changes(slot.facts), f"changed: {sorted(was.changes(slot.facts))}"
    assert not slot.card.secrets, f"sent with a secret: {[Ins(ins).name for ins in slot.card.secrets]}"


def wanted(told: Told) -> str:
    """What to show of a run that went wrong: its last words."""
    return f"{told.out}{told.err}{told.terminal[-200:]}".strip()


ALL_WAYS = [(command, way, named) for command in COMMANDS for way in WAYS for named in (0, 1)]
SOME_WAYS = [each for number, each in enumerate(ALL_WAYS) if number % 3 == 0]
"""All commands, and for each of them other ways and places."""


@pytest.mark.parametrize(
    ("command", "way", "named"),
    [pytest.param(*each, marks=() if each in SOME_WAYS else pytest.mark.heavy) for each in ALL_WAYS],
)
def test_ctl_works_on_the_card_that_is_named(command: str, way: str, named: int, tmp_path: Path) -> None:
    words, wants = COMMANDS[command]
    with World(tmp_path, *two(), in_readers=True) as world:
        before = [slot.facts for slot in world.slots]
        names = {"serial": str(SERIAL + named), "reader": READERS[named], "number": str(named)}
        told = world.run("ctl", [*words.split(), *(word.format(**names) for word in WAYS[way])], person())
        assert told.status == 0, wanted(told)
        untouched(world, 1 - named, before[1 - named])
        assert world.slots[named].facts != before[named]
        assert all(getattr(world.slots[named].facts, name) == value for name, value in wants.items())


@pytest.mark.parametrize("command", COMMANDS)
def test_ctl_refuses_where_nothing_is_named(command: str, tmp_path: Path) -> None:
    """And says which there are."""
    with World(tmp_path, *two(), in_readers=True) as world:
        before = [slot.facts for slot in world.slots]
        told = world.run("ctl", COMMANDS[command][0].split(), person())
        assert told.status and str(SERIAL) in told.err and str(OTHER) in told.err
        for place in (0, 1):
            untouched(world, place, before[place])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "names", [("--card", str(OTHER + 5)), ("--card", str(OTHER), "--reader", READERS[0]), ("--reader", "Life")]
)
def test_ctl_refuses_a_name_that_does_not_fit(command: str, names: tuple[str, ...], tmp_path: Path) -> None:
    with World(tmp_path, *two(), in_readers=True) as world:
        before = [slot.facts for slot in world.slots]
        told = world.run("ctl", [*COMMANDS[command][0].split(), *names], person())
        assert told.status, wanted(told)
        for place in (0, 1):
            untouched(world, place, before[place])


def test_reset_refuses_another_serial_than_the_card_has(tmp_path: Path) -> None:
    """Without a terminal too, and before the PUK is sent."""
    with World(tmp_path, seeded(), in_readers=True) as world:
        before = world.slots[0].facts
        for way in (Way(), Way(stdin=f"{PUK}\n"), Way(stdin=f"{PUK}\n", alone=True)):
            words = ["reset", "--serial", str(OTHER), *(["--stdinpuk"] if way.stdin else [])]
            told = world.run("ctl", words, person(), way=way)
            assert told.status, wanted(told)
            untouched(world, 0, before)


# HWI

DEVICE: dict[str, tuple[str, ...]] = {
    "-d": ("-t", "cryptnox", "-d", "cryptnox:{serial}"),
    "-f": ("-f", "{fingerprint}"),
    "-f -t": ("-t", "cryptnox", "-f", "{fingerprint}"),
    "-f -d": ("-t", "cryptnox", "-f", "{fingerprint}", "-d", "cryptnox:{serial}"),
}
MET = {False: "never met", True: "met before"}


def meet(world: World) -> None:
    """This computer learns both fingerprints."""
    for slot in world.slots:
        words = ["-t", "cryptnox", "-d", slot.path, "--stdinpass", "getmasterxpub"]
        told = world.run("hwi", words, person(), way=Way(stdin=f"{PIN}\n"))
        assert "xpub" in told.out, told.out
        slot.card.secrets.clear()


@pytest.mark.parametrize("met", MET, ids=MET.get)
@pytest.mark.parametrize("named", [0, 1])
@pytest.mark.parametrize("way", DEVICE)
def test_wipe_erases_the_card_that_is_named(way: str, named: int, met: bool, tmp_path: Path) -> None:
    """Or, where it cannot know which card that is without a PIN, none."""
    with World(tmp_path, *two(), in_readers=True) as world:
        if met:
            meet(world)
        before = [slot.facts for slot in world.slots]
        names = {"serial": str(SERIAL + named), "fingerprint": before[named].fingerprint}
        words = [*(word.format(**names) for word in DEVICE[way]), "wipe"]
        told = world.run("hwi", words, person())
        untouched(world, 1 - named, before[1 - named])
        done = json.loads(told.out).get("success") is True
        assert done is not world.slots[named].facts.initialised, wanted(told)
        assert done or (way in ("-f", "-f -t") and not met) or (way == "-f -d" and not met), wanted(told)


@pytest.mark.parametrize("met", MET, ids=MET.get)
@pytest.mark.parametrize("named", [0, 1])
def test_wipe_refuses_a_fingerprint_that_is_not_the_cards(named: int, met: bool, tmp_path: Path) -> None:
    """`-f` of one card with `-d` of the other; `-f` of no card."""
    with World(tmp_path, *two(), in_readers=True) as world:
        if met:
            meet(world)
        before = [slot.facts for slot in world.slots]
        for device in (
            ("-t", "cryptnox", "-f", before[named].fingerprint, "-d", f"cryptnox:{SERIAL + 1 - named}"),
            ("-t", "cryptnox", "-f", "00112233"),
            ("-t", "cryptnox", "-f", "00112233", "-d", f"cryptnox:{SERIAL}"),
        ):
            told = world.run("hwi", [*device, "wipe"], person())
            assert "error" in json.loads(told.out), wanted(told)
            assert [slot.facts for slot in world.slots] == before
            assert all(Ins.RESET not in slot.card.secrets for slot in world.slots)


@pytest.mark.parametrize("met", MET, ids=MET.get)
def test_two_cards_of_one_seed_are_not_told_apart_by_their_fingerprint(met: bool, tmp_path: Path) -> None:
    """Neither is erased; or the one whose serial number the person was shown, and typed."""
    first = seeded()
    with World(tmp_path, first, replace(seeded(), serial=OTHER), in_readers=True) as world:
        if met:
            meet(world)
        before = [slot.facts for slot in world.slots]
        told = world.run("hwi", ["-f", before[0].fingerprint, "wipe"], person())
        erased = [serial for serial, slot in zip((SERIAL, OTHER), world.slots, strict=True) if not slot.facts.seed]
        assert len(erased) <= 1 and all(str(serial) in told.terminal for serial in erased), wanted(told)
        assert erased or (str(SERIAL) in told.out and str(OTHER) in told.out) or not met, wanted(told)


@pytest.mark.parametrize("named", [0, 1])
@pytest.mark.parametrize("command", ["setup", "restore -w 12"])
def test_setup_works_on_the_card_that_is_named(command: str, named: int, tmp_path: Path) -> None:
    with World(tmp_path, *two(factory), in_readers=True) as world:
        before = [slot.facts for slot in world.slots]
        words = ["-t", "cryptnox", "-d", f"cryptnox:{SERIAL + named}", "-i", *command.split()]
        told = world.run("hwi", words, person(**FRESH, answers=(("^seed", "words"),)))
        assert json.loads(told.out) == {"success": True}, wanted(told)
        untouched(world, 1 - named, before[1 - named])
        assert world.slots[named].facts.seed


@pytest.mark.parametrize("command", ["setup", "restore -w 12"])
def test_setup_refuses_a_fingerprint_that_no_card_has(command: str, tmp_path: Path) -> None:
    """A card without a seed has none."""
    with World(tmp_path, *two(factory), in_readers=True) as world:
        before = [slot.facts for slot in world.slots]
        words = ["-t", "cryptnox", "-f", "00112233", "-i", *command.split()]
        told = world.run("hwi", words, person(**FRESH, answers=(("^seed", "words"),)))
        assert "error" in json.loads(told.out), wanted(told)
        for place in (0, 1):
            untouched(world, place, before[place])


# Cards that are not what they were


def refused(scene: Scene, world: World, folder: Path) -> None:
    """Nothing is sent that is secret, and nothing changes."""
    before = facts_of(world.slots[0].card.memory)
    if scene.kept is not None:
        world.state.mkdir(parents=True, mode=0o700, exist_ok=True)
        (world.state / "pairing.json").write_text(json.dumps({str(SERIAL): OWN_KEY.hex()}))
    told = world.run(
        scene.program,
        scene.command(folder, world.slots[0].path, READERS[1]),
        scene.people(),
        way=Way(stdin=None if scene.stdin is None else f"{scene.stdin}\n"),
    )
    untouched(world, 0, before)
    assert not succeeded(scene, told), wanted(told)


ONE_CARD = [name for name, scene in SCENES.items() if scene.second is None and name not in VARIANTS]


def every_other(names: Sequence[str], first: int) -> list[object]:
    """Half of them in the quick selection."""
    return [
        pytest.param(name, marks=() if number % 2 == first else pytest.mark.heavy) for number, name in enumerate(names)
    ]


@pytest.mark.parametrize("name", every_other(ONE_CARD, 0))
def test_a_known_serial_with_another_static_key_is_sent_no_secret(name: str, tmp_path: Path) -> None:
    scene = SCENES[name]
    with World(tmp_path, scene.memory(), in_readers=True) as world:
        world.state.mkdir(parents=True, mode=0o700)
        (world.state / "cards.json").write_text(json.dumps({str(SERIAL): {"static_key": "11" * 32}}))
        refused(scene, world, tmp_path)


@pytest.mark.parametrize("name", every_other(ONE_CARD, 1))
def test_a_card_that_is_not_genuine_is_sent_no_secret_where_that_is_required(name: str, tmp_path: Path) -> None:
    """An emulated card in a reader is a forged one."""
    scene = SCENES[name]
    with World(tmp_path, scene.memory(), in_readers=True) as world:
        config = tmp_path / "config/hwi-cryptnox/config.toml"
        config.parent.mkdir(parents=True)
        config.write_text("require_genuine = true\n")
        refused(scene, world, tmp_path)
