"""What people do: paste two lines, press Enter early, type the wrong PUK, have a small window, swap cards too late."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from embit import bip39

from cryptnox_core.wire import COMMON_PAIRING_KEY, KeySource
from tests.core.emulated import SERIAL
from tests.support.emulator import MNEMONIC
from tests.system.life.facts import seed_of_words
from tests.system.life.oracle import succeeded, told_text
from tests.system.life.play import play
from tests.system.life.scenes import OWN_KEY, SCENES, Scene, own_paired
from tests.system.life.test_cards import wanted
from tests.system.life.world import SIZE, Way, World
from tests.system.torture.programs import PIN, PUK, blocked, seeded

WRONG_PUK = "wrong-puk-00"
WITHOUT_PUK = ("ctl pin change", "ctl data write", "ctl data write --custom", "ctl pairing recover --file")
WITH_PUK = [name for name, scene in SCENES.items() if scene.memory().initialized and name not in WITHOUT_PUK]


@pytest.mark.parametrize("name", WITH_PUK)
def test_a_wrong_puk_changes_nothing(name: str, tmp_path: Path) -> None:
    """It shows before a seed is on the card, and it is said."""
    scene = SCENES[name]
    given = WRONG_PUK if scene.stdin == PUK else scene.stdin
    wrong = replace(scene, person={**scene.person, "puk": WRONG_PUK}, stdin=given)
    played = play(wrong, tmp_path)
    assert played.told.status or scene.program == "hwi", played.told.out
    assert not succeeded(wrong, played.told), wanted(played.told)
    assert played.before == played.after
    assert re.search(r"\bPUK\b", told_text(wrong, played.told) + played.told.terminal), wanted(played.told)


def test_a_blocked_pin_is_not_called_a_wrong_puk(tmp_path: Path) -> None:
    scene = replace(SCENES["ctl pin change --with-puk"], memory=blocked)
    played = play(scene, tmp_path)
    assert "rong PUK" not in wanted(played.told), wanted(played.told)
    if not succeeded(scene, played.told):
        assert played.before == played.after and "unblock" in wanted(played.told), wanted(played.told)


def long_words() -> str:
    """24 words, of which the first 12 are valid by themselves."""
    head = MNEMONIC.split() + ["zoo"] * 11
    for last in bip39.WORDLIST:
        if bip39.mnemonic_is_valid(" ".join([*head, last])):
            return " ".join([*head, last])
    raise AssertionError


@pytest.mark.parametrize("size", [12, 6, 24], ids=["two lines", "four lines", "one line"])
@pytest.mark.parametrize("name", ["ctl setup restore", "ctl setup, initialised", "hwi restore"])
def test_words_that_are_pasted_restore_the_wallet_on_the_paper(name: str, size: int, tmp_path: Path) -> None:
    """Or nothing: never the wallet of the first half."""
    words = long_words().split()
    pasted = "\n".join(" ".join(words[at : at + size]) for at in range(0, 24, size))
    given = itertools.chain([pasted], itertools.repeat("\x03"))
    scene = SCENES[name]
    scene = replace(
        scene,
        words=scene.words.replace("-w 12", "-w 24"),
        person={
            **scene.person,
            "words": " ".join(words),
            "answers": (
                ("own pairing key", "n"),
                (r"(?<!many )words?\b(?!.*how many)", lambda world: next(given)),
            ),
        },
        wants={**scene.wants, "seed": seed_of_words(" ".join(words))},
    )
    played = play(scene, tmp_path)
    now = played.after[0]
    assert now.seed in ("", scene.wants["seed"]), "another wallet than the one on the paper"
    assert succeeded(scene, played.told) is bool(now.seed), wanted(played.told)
    assert "Traceback" not in wanted(played.told)


@pytest.mark.parametrize("count", ["12", "24"])
@pytest.mark.parametrize("name", ["ctl setup new", "hwi setup words"])
def test_the_words_fit_on_the_screen_and_all_are_typed_back(name: str, count: str, tmp_path: Path) -> None:
    """In a window of 24 lines and 80 columns nothing of a secret scrolls away before Enter."""
    scene = SCENES[name]
    scene = replace(
        scene,
        words=scene.words.replace("--words 12", f"--words {count}"),
        person={**scene.person, "answers": (("how many words", count), *scene.person.get("answers", ()))},  # type: ignore[arg-type,misc]
    )
    played = play(scene, tmp_path)
    assert not played.verdict, played.verdict
    for screen in re.findall(r"\x1b\[\?1049h(.*?)\x1b\[\?1049l", played.told.terminal, re.S):
        pages = re.split(r"\x1b\[2J|\[Enter\] ", screen.replace("\x1b[H", ""))
        for page in pages:
            lines = page.split("\n")
            assert len(lines) <= SIZE[0], f"{len(lines)} lines"
            assert max(map(len, lines)) < SIZE[1]
    shown = played.person.shown_words
    assert len(shown) == int(count) and played.after[0].seed == seed_of_words(" ".join(shown))
    asked = " ".join(played.told.prompts)
    for number in range(1, int(count) + 1):
        assert re.search(rf"Word {number}\b", asked), f"word {number} is not asked for"


@pytest.mark.parametrize("name", ["ctl setup new", "hwi setup card"])
def test_keys_pressed_early_do_not_hide_the_puk(name: str, tmp_path: Path) -> None:
    """The card has no PUK that was not on the screen while the program waited, and that was not typed back."""
    scene = SCENES[name]
    early: tuple[tuple[str, str], ...] = (("choose it yourself", "n\n\n"),)
    answers = (*early, ("^seed", "card"), ("own pairing key", "n"))
    scene = replace(scene, person={**scene.person, "answers": answers})
    played = play(scene, tmp_path)
    if played.after[0].initialised:
        assert played.after[0].puk == played.person.shown_puk, "the PUK was never seen"
        asked = [prompt for prompt in played.told.prompts if re.search(r"\bback\b", prompt, re.I)]
        assert asked, "the PUK is not typed back"


def test_a_pin_that_was_typed_once_becomes_no_cards_pin(tmp_path: Path) -> None:
    """`--stdinpass` on a terminal asks for the PIN; a new one wants to be typed twice."""
    scene = SCENES["hwi setup card"]
    typed: list[str] = []

    def new(world: World) -> str:
        typed.append("once")
        return PIN

    scene = replace(
        scene,
        words=scene.words.replace("-i", "--stdinpass -i"),
        person={**scene.person, "answers": (("password", new), ("new PIN", new), *scene.person["answers"])},  # type: ignore[misc]
    )
    played = play(scene, tmp_path)
    again = sum("again" in prompt for prompt in played.told.prompts)
    assert not played.after[0].initialised or len(typed) + again > 1, "its PIN was typed once"


@pytest.mark.parametrize("name", ["ctl setup restore", "hwi restore"])
def test_a_passphrase_that_is_no_utf_8(name: str, tmp_path: Path) -> None:
    """Typed in a terminal of another encoding: refused in words, before anything is on the card, or taken."""
    scene = SCENES[name]
    answers = (("passphrase", "caf\udce9"), ("Type it again", "caf\udce9"), ("own pairing key", "n"))
    scene = replace(scene, person={**scene.person, "answers": answers})
    played = play(scene, tmp_path)
    text = wanted(played.told)
    assert "Traceback" not in text and "UnicodeDecodeError" not in text and "codec" not in text, text
    assert not played.after[0].seed


@pytest.mark.parametrize("name", [name for name, scene in SCENES.items() if scene.stdin is None])
def test_without_a_terminal_nothing_is_changed(name: str, tmp_path: Path) -> None:
    """There is nobody to ask; and it is said."""
    scene = SCENES[name]
    with World(tmp_path, scene.memory()) as world:
        if scene.kept is not None:
            world.state.mkdir(parents=True, mode=0o700)
            (world.state / "pairing.json").write_text(json.dumps({str(SERIAL): OWN_KEY.hex()}))
        before = world.slots[0].facts
        words = scene.command(tmp_path, world.slots[0].path, "tcp:127.0.0.1:1")
        told = world.run(scene.program, words, scene.people(), way=Way(alone=True, environ={"CRYPTNOX_PIN": PIN}))
        assert not before.changes(world.slots[0].facts), wanted(told)
        assert not succeeded(scene, told) or not scene.wants or name == "ctl adopt", wanted(told)
        said = re.search("terminal|nothing was changed", told_text(scene, told))
        assert said or succeeded(scene, told), wanted(told)


def test_a_card_of_two_is_not_called_usable_before_it_was_compared(tmp_path: Path) -> None:
    """A secret made with another card whose half never came is on this one alone: nobody has a backup."""
    scene = replace(SCENES["ctl adopt"], memory=lambda: replace(seeded(), key_source=KeySource.DUAL))
    played = play(scene, tmp_path)
    assert "second" in played.told.out and "Next, connect a wallet" not in played.told.out, wanted(played.told)


# Cards that are swapped


@pytest.mark.parametrize("early", [1, 3])
def test_enter_before_the_card_is_in(early: int, tmp_path: Path) -> None:
    """The same card, then no card: it is asked again, and goes on."""
    scene = SCENES["ctl setup dual, one reader"]
    turns = itertools.count()

    def swap(world: World) -> str:
        turn = next(turns) % (early + 1)
        slot = world.slots[0]
        if turn == early:
            slot.insert()
            world.swap()
        elif turn:
            slot.remove()
        return ""

    answers = (("own pairing key", "n"), (r"remove the .*card.* and insert|\[Enter\]", swap))
    scene = replace(scene, person={**scene.person, "answers": answers})
    played = play(scene, tmp_path)
    assert not played.verdict, played.verdict
    first, other = played.after
    assert first.seed == other.seed != ""


# Pairing keys of before


BACK = ["ctl pin change", "ctl puk change", "ctl pairing change", "ctl reset", "ctl adopt", "hwi wipe"]


def stale(scene: Scene) -> Scene:
    """This computer keeps an own pairing key, and the card has the common one again."""
    return replace(scene, kept=OWN_KEY)


@pytest.mark.parametrize("name", BACK)
def test_a_card_back_on_the_common_key_is_opened(name: str, tmp_path: Path) -> None:
    """Another computer recovered it: no PUK is wanted for that."""
    played = play(stale(SCENES[name]), tmp_path, seen=set())
    assert not played.verdict, played.verdict


def test_a_pairing_key_that_the_card_does_not_have_is_not_exported(tmp_path: Path) -> None:
    file = tmp_path / "exported"
    with World(tmp_path, seeded()) as world:
        world.state.mkdir(parents=True, mode=0o700)
        (world.state / "pairing.json").write_text(json.dumps({str(SERIAL): OWN_KEY.hex()}))
        told = world.run("ctl", ["pairing", "export", str(file)], SCENES["ctl adopt"].people())
        assert not file.exists() and told.status, wanted(told)


@pytest.mark.parametrize("agreed", [False, True])
@pytest.mark.parametrize("which", ["serial", "all"])
def test_a_pairing_key_is_forgotten_only_where_the_person_says_so(which: str, agreed: bool, tmp_path: Path) -> None:
    """It may be the only way to the card but the PUK."""
    with World(tmp_path, own_paired()) as world:
        world.state.mkdir(parents=True, mode=0o700)
        (world.state / "pairing.json").write_text(json.dumps({str(SERIAL): OWN_KEY.hex()}))
        words = ["forget", str(SERIAL) if which == "serial" else "all", "--pairing-key"]
        person = replace(SCENES["ctl adopt"].people(), answers=() if agreed else ((r"\[y/N\]", "n"),))
        told = world.run("ctl", words, person)
        gone = OWN_KEY.hex() not in json.dumps(world.kept())
        assert gone is agreed, wanted(told)
        assert "nothing was remembered" not in wanted(told).lower() or not gone
        assert world.slots[0].facts.pairing_key != COMMON_PAIRING_KEY.hex()
