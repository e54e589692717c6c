"""Every command that changes a card, with something going wrong at an APDU or a prompt: no false word is told."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.life.play import NO_TWIST, Played, Twist, play, quick_twists, twists
from tests.life.scenes import SCENES, Scene


def without_a_fault(scene: Scene, place: Path, *, in_readers: bool) -> Played:
    """What the scene does where nothing goes wrong, which is what was asked."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        whole = play(scene, Path(folder), NO_TWIST, in_readers=in_readers)
    assert not whole.verdict, whole.verdict
    return whole


def false_words(scene: Scene, chosen: Sequence[Twist], place: Path, *, in_readers: bool, further: bool) -> list[str]:
    """What was told wrongly, by twist."""
    found = []
    seen: set[object] | None = set() if further else None
    for twist in chosen:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            played = play(scene, Path(folder), twist, in_readers=in_readers, seen=seen)
        if played.verdict:
            found.append(f"{twist}: {played.verdict}")
    return found


@pytest.mark.parametrize(("name", "in_readers"), [(name, bool(number % 2)) for number, name in enumerate(SCENES)])
def test_the_command_that_changes_the_card_loses_its_answer(name: str, in_readers: bool, tmp_path: Path) -> None:
    """At an address or in a reader, by turns."""
    whole = without_a_fault(SCENES[name], tmp_path, in_readers=in_readers)
    chosen = quick_twists(whole)
    found = false_words(SCENES[name], chosen, tmp_path, in_readers=in_readers, further=False)
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
