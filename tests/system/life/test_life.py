"""Every command that changes a card, with something going wrong at an APDU or a prompt: no false word is told."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from cryptnox_core.emulator.readings import Reading
from tests.system.life.play import NO_TWIST, Played, Twist, play, quick_twists, twists
from tests.system.life.scenes import SCENES, VARIANTS, Scene


def without_a_fault(scene: Scene, place: Path, *, in_readers: bool, readings: Sequence[Reading] = ()) -> Played:
    """What the scene does where nothing goes wrong, which is what was asked."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        whole = play(scene, Path(folder), NO_TWIST, in_readers=in_readers, readings=readings)
    assert not whole.verdict, whole.verdict
    return whole


def false_words(
    scene: Scene,
    chosen: Sequence[Twist],
    place: Path,
    *,
    in_readers: bool,
    further: bool = False,
    readings: Sequence[Reading] = (),
) -> list[str]:
    """What was told wrongly, by twist."""
    found = []
    seen: set[object] | None = set() if further else None
    for twist in chosen:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            played = play(scene, Path(folder), twist, in_readers=in_readers, readings=readings, seen=seen)
        if played.verdict:
            found.append(f"{twist}: {played.verdict}")
    return found


QUICK = [name for name in SCENES if name not in VARIANTS]


@pytest.mark.parametrize(("name", "in_readers"), [(name, bool(number % 2)) for number, name in enumerate(QUICK)])
def test_the_command_that_changes_the_card_loses_its_answer(name: str, in_readers: bool, tmp_path: Path) -> None:
    """At an address or in a reader, by turns."""
    whole = without_a_fault(SCENES[name], tmp_path, in_readers=in_readers)
    chosen = quick_twists(whole)
    found = false_words(SCENES[name], chosen, tmp_path, in_readers=in_readers)
    assert not found, "\n".join([f"{len(found)} of {len(chosen)}:", *found])


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("in_readers", [False, True], ids=["address", "reader"])
@pytest.mark.parametrize("name", SCENES)
def test_everything_at_every_apdu_and_every_prompt(
    name: str, in_readers: bool, tmp_path: Path, disk: Path | None, request: pytest.FixtureRequest
) -> None:
    """And what the person does next works, whatever is left behind."""
    place = tmp_path if disk is None else disk
    whole = without_a_fault(SCENES[name], place, in_readers=in_readers)
    chosen = twists(whole, disk is not None)
    found = false_words(SCENES[name], chosen, place, in_readers=in_readers, further=True)
    title = f"life of a card: {name}, {'in a reader' if in_readers else 'at an address'}"
    request.node.user_properties.append(
        ("table", [title, f"{len(chosen)} things went wrong, {len(found)} false words"])
    )
    assert not found, "\n".join([f"{len(found)} of {len(chosen)}:", *found])


READ_OTHERWISE = [name for name in QUICK if "one reader" not in name and "NFT" not in name]


WITHOUT_SUCCESS = {
    Reading.SELECT_V2: "ctl adopt, unknown pairing key",
    Reading.PIN_AUTH_OFF_TAKES_PIN: "ctl pin-auth off",
}
"""With an applet of version 2 nobody can tell another pairing key from another channel, and a card that signs with the
PIN all the same is of no use without it: the command says so, and leaves the card as it was."""


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("reading", list(Reading), ids=lambda reading: reading.value)
def test_cards_that_read_the_protocol_otherwise(reading: Reading, tmp_path: Path) -> None:
    """The quick selection of each scene."""
    found = []
    for name in READ_OTHERWISE:
        if WITHOUT_SUCCESS.get(reading) == name:
            continue
        whole = without_a_fault(SCENES[name], tmp_path, in_readers=True, readings=[reading])
        words = false_words(SCENES[name], quick_twists(whole), tmp_path, in_readers=True, readings=[reading])
        found += [f"{name}, {each}" for each in words]
    assert not found, "\n".join(found)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SCENES)
def test_ctrl_c_at_any_moment(name: str, tmp_path: Path) -> None:
    """Right before each call by which something leaves the program, also between the card's answer and the report."""
    whole = without_a_fault(SCENES[name], tmp_path, in_readers=False)
    chosen = [Twist(moment=moment) for moment in range(1, whole.told.moments + 1)]
    found = false_words(SCENES[name], chosen, tmp_path, in_readers=False, further=True)
    assert not found, "\n".join([f"{len(found)} of {len(chosen)}:", *found])


SHORT = ("ctl reset --serial", "ctl xpub on", "hwi wipe")


@pytest.mark.parametrize("name", SHORT)
def test_ctrl_c_around_the_report(name: str, tmp_path: Path) -> None:
    """The same of the last moments of some short commands."""
    whole = without_a_fault(SCENES[name], tmp_path, in_readers=False)
    chosen = [Twist(moment=moment) for moment in range(whole.told.moments - 26, whole.told.moments + 1, 2)]
    found = false_words(SCENES[name], chosen, tmp_path, in_readers=False)
    assert not found, "\n".join([f"{len(found)} of {len(chosen)}:", *found])
