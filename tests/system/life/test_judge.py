"""The judge itself: it knows a false word from a true one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryptnox_core.emulator.memory import Memory
from tests.core.emulated import SERIAL
from tests.system.life.facts import Facts, facts_of
from tests.system.life.oracle import FalseWordError, judge, judge_state
from tests.system.life.scenes import OWN_KEY, SCENES
from tests.system.life.world import Exchange, Told
from tests.system.torture.programs import NEW_PIN, NEW_PUK, factory, seeded

SEEDED = facts_of(seeded())
BLANK = facts_of(factory())
NEW = {
    "ctl pin change": replace(SEEDED, pin=NEW_PIN),
    "ctl puk change": replace(SEEDED, puk=NEW_PUK),
    "ctl pairing change": replace(SEEDED, pairing_key=OWN_KEY.hex()),
    "ctl reset": BLANK,
    "hwi wipe": BLANK,
    "ctl xpub off": replace(SEEDED, export=False),
}


def judged(name: str, before: Facts, after: Facts, said: str, status: int = 1) -> None:
    """As if the command had ended with these words on stderr, or in HWI's answer."""
    told = Told(status=status, err=said, exchanges=[Exchange(1, 0x21)])
    if name.startswith("hwi"):
        told = Told(status=0, out=f'{{"error": "{said}", "code": -13}}')
    judge(SCENES[name], told, [before], [after], SCENES[name].people())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "ctl pin change",
            "Error: The card's connection was closed\nWhat to do: repeat the command",
        ),
        ("ctl pin change", "Error: Interrupted"),
        ("ctl pin change", "Error: Canceled; nothing was changed"),
        ("ctl pin change", "Error: The PIN of the card was not changed"),
        ("ctl pin change", "Error: the card has the old PIN"),
        ("ctl puk change", "Error: Interrupted; keep the PIN you have"),
        ("ctl puk change", "Error: the card has the old PUK"),
        ("ctl pairing change", "Error: state/cards.json: No space left on device"),
        ("ctl pairing change", "Error: the card has the default pairing key"),
        ("ctl reset", f"Error: Interrupted; the card {SERIAL} still has its contents; nothing was erased"),
        ("ctl reset", "Error: the card in the reader was removed, or reset by another program"),
        ("hwi wipe", "Canceled"),
        ("ctl xpub off", "Error: The card does not answer"),
        ("ctl xpub off", "Error: The card does not answer; xpub export is on"),
    ],
)
def test_a_change_that_is_denied_or_not_told(name: str, said: str) -> None:
    with pytest.raises(FalseWordError):
        judged(name, SEEDED, NEW[name], said)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ctl pin change", "Error: Interrupted. The card has the new PIN"),
        ("ctl pin change", "Error: The card does not answer; it may have the new PIN: keep both"),
        ("ctl puk change", "Error: Interrupted; whether the card has the new PUK is not known: keep both"),
        ("ctl pairing change", "Error: the card has its own pairing key now; the output could not be written"),
        ("ctl reset", f"Error: Interrupted; the card {SERIAL} is erased"),
        ("hwi wipe", "the card may be erased, or not"),
        ("ctl xpub off", "Error: Interrupted; xpub export is off"),
        ("ctl xpub off", "Error: Interrupted; whether xpub export is off is not known"),
    ],
)
def test_a_change_that_is_told(name: str, said: str) -> None:
    judged(name, SEEDED, NEW[name], said)


@pytest.mark.parametrize(
    "said",
    [
        "Error: Interrupted; the card has the new PIN",
        "Error: The PIN of the card is changed. Interrupted",
        f"Error: the card {SERIAL} is erased",
        f"Error: the card {SERIAL} has no seed",
        "Error: xpub export is off",
    ],
)
def test_a_change_that_was_none(said: str) -> None:
    with pytest.raises(FalseWordError):
        judged("ctl pin change", SEEDED, SEEDED, said)
    judged("ctl pin change", SEEDED, SEEDED, "Error: The card does not answer; nothing was changed")


def test_what_is_said_of_another_card() -> None:
    said = f"Error: Interrupted; the card {SERIAL + 1} is erased"
    judged("ctl pin change", SEEDED, SEEDED, said)
    with pytest.raises(FalseWordError):
        judged("ctl pin change", replace(SEEDED, serial=SERIAL + 1), replace(SEEDED, serial=SERIAL + 1), said)


@pytest.mark.parametrize(
    "after",
    [
        SEEDED,
        replace(SEEDED, pin="918273"),
        replace(SEEDED, pin=NEW_PIN, puk=NEW_PUK),
        replace(SEEDED, pin=NEW_PIN, wrong_pins=2),
        replace(SEEDED, pin=NEW_PIN, tries=0),
    ],
    ids=["as before", "another PIN", "another PUK as well", "two tries", "blocked"],
)
def test_a_success_that_is_none(after: Facts) -> None:
    with pytest.raises(FalseWordError):
        judged("ctl pin change", SEEDED, after, "The PIN is changed", status=0)
    judged("ctl pin change", SEEDED, replace(SEEDED, pin=NEW_PIN), "The PIN is changed", status=0)


def test_ends_that_may_not_be() -> None:
    for told in (
        Told(status=1),
        Told(status=7, err="Error: x"),
        Told(status=1, err="Traceback (most recent call last):"),
        Told(status=1, err=f"Error: the PIN {NEW_PIN} is wrong"),
        Told(status=1, err="Error: x", hung=True),
    ):
        with pytest.raises(FalseWordError):
            judge(SCENES["ctl pin change"], told, [SEEDED], [SEEDED], SCENES["ctl pin change"].people())


def test_a_pairing_key_that_is_nowhere() -> None:
    own = replace(SEEDED, pairing_key=OWN_KEY.hex())
    judge_state({str(SERIAL): OWN_KEY.hex()}, {SERIAL: own}, set())
    judge_state({}, {SERIAL: own}, {OWN_KEY.hex()})
    for kept in ({}, {str(SERIAL): "11" * 32}, {str(SERIAL): ["11" * 32, "22" * 32]}):
        with pytest.raises(FalseWordError):
            judge_state(kept, {SERIAL: own}, set())
    with pytest.raises(FalseWordError):
        judge_state({str(SERIAL): OWN_KEY.hex()}, {SERIAL: SEEDED}, set())


def test_a_memory_as_facts() -> None:
    """Each fact shows a change."""
    memory: Memory = seeded()
    assert facts_of(memory).changes(SEEDED) == set()
    memory.pinless_path, memory.pin_auth, memory.user_data, memory.custom = (1,), False, b"x", b"y" * 16
    assert facts_of(memory).changes(SEEDED) == {"pinless", "pin_auth", "data", "custom"}
