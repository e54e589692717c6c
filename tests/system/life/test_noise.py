"""One disturbed answer of a good card: what comes in the clear is asked for again before it is believed, and a refusal
of what was carried out all the same is found out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from cryptnox_core.wire import Ins
from tests.system.life.oracle import succeeded
from tests.system.life.play import SEEDS, SPENT, Twist, play
from tests.system.life.scenes import SCENES, VARIANTS
from tests.system.life.test_cards import wanted
from tests.system.life.world import Event

IN_THE_CLEAR = (
    Ins.SELECT,
    Ins.GET_MANUFACTURER_CERTIFICATE,
    Ins.GET_CARD_CERTIFICATE,
    Ins.OPEN_SECURE_CHANNEL,
)
BEGINNINGS = [
    "ctl setup, initialised",
    "ctl setup card",
    "ctl adopt",
    "ctl adopt, unknown pairing key",
    "ctl reset, own pairing key",
    "ctl puk change",
    "ctl xpub on",
    "hwi restore, initialised",
    "hwi setup card",
    "hwi wipe",
]


@pytest.mark.parametrize("in_readers", [False, True], ids=["address", "reader"])
@pytest.mark.parametrize("name", BEGINNINGS)
def test_a_disturbed_answer_before_the_channel_is_open_ends_nothing(
    name: str, in_readers: bool, tmp_path: Path
) -> None:
    """Nor does it start a dialogue for another card than it is: the person is asked the same, and it is done."""
    scene = SCENES[name]
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        whole = play(scene, Path(folder), in_readers=in_readers)
    found = []
    for exchange in whole.told.exchanges:
        if exchange.ins not in (Ins.SELECT, Ins.GET_MANUFACTURER_CERTIFICATE, Ins.GET_CARD_CERTIFICATE):
            break
        for kind in ("garbage", "badmac"):
            with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
                played = play(scene, Path(folder), Twist(Event(kind, exchange.number)), in_readers=in_readers)
            if played.verdict or not succeeded(scene, played.told):
                found.append(f"{kind}@{exchange.number}: {played.verdict or wanted(played.told)}")
            elif len(played.told.prompts) != len(whole.told.prompts):
                found.append(f"{kind}@{exchange.number}: asked {played.told.prompts}")
    assert not found, "\n".join(found)


WORDS = ["6110", "6F00", "63C1", "6982", "6A82", "9840"]
LONG = [pytest.param(name, sw, marks=pytest.mark.heavy) for name in BEGINNINGS for sw in WORDS]
QUICK = [("ctl puk change", "63C1"), ("hwi wipe", "6F00"), ("ctl adopt", "9840")]


@pytest.mark.parametrize(("name", "sw"), [*QUICK, *LONG])
def test_a_status_word_in_the_clear_ends_nothing(name: str, sw: str, tmp_path: Path) -> None:
    """Up to OPEN all is said in the clear, by anybody on the way. No PIN or PUK is called wrong for it."""
    scene = SCENES[name]
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        whole = play(scene, Path(folder))
    found = []
    for exchange in whole.told.exchanges:
        if exchange.ins not in IN_THE_CLEAR:
            break
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            played = play(scene, Path(folder), Twist(Event(f"sw:{sw}", exchange.number)))
        if played.verdict or not succeeded(scene, played.told):
            found.append(f"{sw}@{exchange.number}: {played.verdict or wanted(played.told)}")
        elif len(played.told.prompts) != len(whole.told.prompts):
            found.append(f"{sw}@{exchange.number}: asked {played.told.prompts}")
    assert not found, "\n".join(found)


def test_a_pairing_key_is_not_called_wrong_for_one_refusal_in_the_clear(tmp_path: Path) -> None:
    """Else its owner is talked into giving it up."""
    scene = SCENES["ctl adopt"]
    whole = play(scene, tmp_path)
    at = next(each.number for each in whole.told.exchanges if each.ins == Ins.MUTUALLY_AUTHENTICATE)
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        played = play(scene, Path(folder), Twist(Event("sw:6982", at)))
    assert succeeded(scene, played.told) and not played.verdict, wanted(played.told)
    assert played.told.prompts == whole.told.prompts


CHANGING = [name for name, scene in SCENES.items() if name not in VARIANTS and scene.second is None]


@pytest.mark.parametrize("sw", ["6985", "63C5"])
@pytest.mark.parametrize("name", CHANGING)
def test_what_was_done_is_told_although_the_card_refused_it(name: str, sw: str, tmp_path: Path) -> None:
    """A documented status word, in the channel, after the command was carried out; but for what only a PIN try could
    find out."""
    scene = SCENES[name]
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        whole = play(scene, Path(folder))
    changing = set(whole.told.changing())
    for exchange in whole.told.exchanges:
        if exchange.number not in changing or exchange.changes & SPENT or exchange.ins in (Ins.INIT, *SEEDS):
            continue
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            played = play(scene, Path(folder), Twist(Event(f"says:{sw}", exchange.number)))
        assert not played.verdict, f"{exchange}: {played.verdict}"
