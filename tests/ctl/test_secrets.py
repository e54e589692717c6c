"""PIN, PUK and pairing key: which card they are for, who may have them, and what is kept of them here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hwilib_cryptnox.storage.state import State
from tests.ctl.program import PIN, PUK, SEED, answer, dialogue, ended, run, shown, terminal
from tests.ctl.test_changes import CASES, NEW_PIN, World, answered
from tests.support.emulator import EmulatorProcess

WRONG_PUK = "111111111111"
LOOKING = ("pin tries", "pin verify", "puk verify", "user-key test")


@pytest.fixture
def own(card: EmulatorProcess) -> Iterator[EmulatorProcess]:
    """A card with a pairing key of its own, which this computer has."""
    assert run(card, "pairing", "change", "--stdinpuk", stdin=PUK).returncode == 0
    yield card


# The card that is meant, and no other


@pytest.mark.parametrize("name", [*CASES, "pin verify", "puk verify"])
def test_another_card_of_a_known_serial_gets_no_secret(name: str, tmp_path: Path) -> None:
    """Its static key is another one than before: nothing is asked for, nothing secret is sent."""
    case = CASES.get(name)
    world = World(tmp_path, case or CASES["puk change"])
    words = world.words if case else name.split()
    with world.card() as card:
        State().update(card.serial, lambda now: replace(now, static_key=bytes(32)))
        with terminal(card, *words) as child:
            code = answered(child, card)
            text = shown(child)
        by_ins = card.stats()["by_ins"]
    assert code == 3 and "Another card with the serial" in text, text
    assert "PUK:" not in text and "PIN of card" not in text and "New P" not in text
    assert not set(by_ins) & {"20", "21", "22", "D0", "DA", "FD", "C1", "C3", "C5", "D5", "D7", "FC"}


def test_the_one_card_is_named_once(card: EmulatorProcess) -> None:
    with EmulatorProcess("--seed", SEED, "--serial", str(1 << 60)) as other:
        words = ("reset", "--serial", str(card.serial), "--stdinpuk")
        two = answer(None, *words, "--card", card.path, "--reader", other.path, stdin=PUK, code=2)
        assert "name two different cards" in two["error"]
        assert answer(None, *words, "--reader", other.path, stdin=PUK, code=1)["error"].endswith("Nothing was erased")
        assert not {"FD"} & {*card.stats()["by_ins"], *other.stats()["by_ins"]}


def test_secrets_are_asked_for_by_the_cards_name(card: EmulatorProcess) -> None:
    with terminal(card, "xpub", "off") as child:
        child.expect_exact(f"Card {card.serial} in {card.path}")
        dialogue(child, ("PUK: ", PUK))
        assert ended(child) == 0


# PIN


def blocked(folder: Path) -> World:
    """A card whose PIN is blocked."""
    return World(folder, CASES["pin unblock"])


def test_a_blocked_pin_is_no_wrong_puk(tmp_path: Path) -> None:
    with blocked(tmp_path).card() as card:
        with terminal(card, "pin", "change", "--with-puk") as child:
            child.expect_exact("the PIN is blocked")
            child.expect_exact("cryptnoxctl pin unblock")
            assert ended(child) == 4
            assert "Wrong PUK" not in shown(child) and "PUK:" not in shown(child)
        assert card.stats()["puk_tries"] == 0 and "21" not in card.stats()["by_ins"]


def test_a_wrong_puk_is_one(card: EmulatorProcess) -> None:
    with terminal(card, "pin", "change", "--with-puk") as child:
        dialogue(child, ("PUK: ", WRONG_PUK), ("New PIN", NEW_PIN), ("Type it again", NEW_PIN))
        child.expect_exact("Wrong PUK")
        assert ended(child) == 4
    assert card.stats()["puk_tries"] == 1


def test_a_pin_with_pin_authentication_off(tmp_path: Path) -> None:
    """It is set with the PUK, and cannot be tried."""
    world = World(tmp_path, CASES["pin change --with-puk"])
    world.state.write_text(json.dumps(world.memory() | {"pin_auth": False, **dict(CASES["pin-auth off"].before)}))
    with world.card() as card:
        text, code = world.run(card)
        assert code == 0 and "was changed" in text and "could not be tested" in text, text
        assert world.case.taken(world.memory())


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_no_try_is_spent_to_find_out_where_few_are_left(tries: int, tmp_path: Path) -> None:
    """The answer to a change by PUK is lost: the new PIN is tried only with more than two tries left."""
    world = World(tmp_path, CASES["pin change --with-puk"])
    world.state.write_text(json.dumps(world.memory() | {"pin_tries": tries}))
    with world.card("remove@21:1") as card:
        text, code = world.run(card)
        assert card.stats()["pin_tries"] == (1 if tries == 3 else 0)
    assert code == 3 and (world.case.kept if tries == 3 else world.case.either) in text, text


def test_the_sources_of_the_old_pin_are_named(card: EmulatorProcess, tmp_path: Path) -> None:
    """Those that give the new one already are not."""
    file = tmp_path / "pin"
    file.write_text(PIN)
    file.chmod(0o600)
    asked = (("PIN of card", PIN), ("New PIN", NEW_PIN), ("Type it again", NEW_PIN))
    more = {"CRYPTNOX_PIN_FILE": str(file), "CRYPTNOX_PIN": NEW_PIN, "CRYPTNOX_PIN_COMMAND": f"touch {tmp_path}/ran"}
    with terminal(card, "pin", "change", "--json", stdout=tmp_path / "out", **more) as child:
        dialogue(child, *asked)
        assert ended(child) == 0
    data = json.loads((tmp_path / "out").read_text())
    assert data == {
        "serial": str(card.serial),
        "changed": True,
        "sources": ["CRYPTNOX_PIN_COMMAND", "CRYPTNOX_PIN_FILE"],
    }
    assert not (tmp_path / "ran").exists(), "no command is run for it"
    file.write_text(PIN)
    with terminal(card, "pin", "change", CRYPTNOX_PIN_FILE=str(file)) as child:
        dialogue(child, ("PIN of card", NEW_PIN), ("New PIN", PIN), ("Type it again", PIN), ("Use it anyway?", "y"))
        child.expect_exact("was changed")
        assert ended(child) == 0
        assert "CRYPTNOX_PIN_FILE" not in shown(child)


# PUK


def test_puk_verify_needs_no_pairing_key(own: EmulatorProcess, tmp_path: Path) -> None:
    elsewhere = {"XDG_STATE_HOME": str(tmp_path)}
    assert answer(own, "puk", "verify", "--stdinpuk", stdin=PUK, schema="puk verify", **elsewhere)["verified"]


def test_a_wrong_present_puk_is_told_before_a_new_one_is_asked_for(card: EmulatorProcess) -> None:
    with terminal(card, "puk", "change") as child:
        dialogue(child, ("PUK: ", WRONG_PUK))
        child.expect_exact("not the PUK of the card")
        assert ended(child) == 4
        assert "New PUK" not in shown(child)
    assert card.stats()["puk_tries"] == 0 and "21" not in card.stats()["by_ins"]


@pytest.mark.parametrize("reading", ["puk-9840", "puk-984x", "tries-min", "pin-query-sw", "softlock-6985"])
def test_changes_on_cards_of_other_readings(reading: str, tmp_path: Path) -> None:
    for number, name in enumerate(("pin change", "pin change --with-puk", "puk change", "pin unblock")):
        folder = tmp_path / str(number)
        folder.mkdir()
        world = World(folder, CASES[name])
        with world.card(readings=(reading,)) as card:
            text, code = world.run(card)
        assert code == 0 and world.case.taken(world.memory()), text


# Pairing key


def test_only_a_key_that_opens_the_card_is_exported(own: EmulatorProcess, tmp_path: Path) -> None:
    key, file = State().pairing_key(own.serial), tmp_path / "key"
    State().keep_pairing_key(own.serial, bytes(32), key)
    answer(own, "pairing", "export", str(file), schema="pairing export")
    assert key is not None and file.read_text().strip() == key.hex()
    State().keep_pairing_key(own.serial, bytes(32))
    refused = answer(own, "pairing", "export", str(tmp_path / "other"), code=1)
    assert "paired with another key" in refused["error"] and not (tmp_path / "other").exists()
    assert State().pairing_key(own.serial) == bytes(32), "no channel was opened without it"


def test_a_card_back_on_the_common_key_is_used(own: EmulatorProcess, tmp_path: Path) -> None:
    """Another computer gave it back: no PUK is asked for, and the own key goes when a channel was opened without it."""
    elsewhere = {"XDG_STATE_HOME": str(tmp_path)}
    assert run(own, "pairing", "recover", "--stdinpuk", stdin=PUK, **elsewhere).returncode == 0
    assert State().pairing_key(own.serial) is not None
    assert answer(own, "pin", "tries", schema="pin tries")["pin_tries_left"] == 6
    assert State().pairing_key(own.serial) is None


def test_an_own_key_outlives_a_reset_until_a_channel_is_open_without_it(own: EmulatorProcess) -> None:
    key = State().pairing_key(own.serial)
    assert answer(own, "reset", "--serial", str(own.serial), "--stdinpuk", stdin=PUK)["reset"]
    assert State().pairing_key(own.serial) == key
    assert not answer(own, "info")["own_pairing_key"]


def test_a_key_from_a_file_that_is_none_troubles_no_card(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("no key")
    for words in (("change", "--stdinpuk"), ("recover",)):
        assert answer(None, "pairing", *words, "--file", str(file), code=5)["error"].startswith(str(file))


def test_forgetting_a_pairing_key_is_asked_about_and_said(own: EmulatorProcess) -> None:
    serial = str(own.serial)
    assert run(own, "pin", "verify", "--stdinpass", stdin=PIN).returncode == 0
    kept = answer(None, "forget", serial)
    assert (kept["forgotten"], kept["pairing_keys_deleted"]) == ([serial], [])
    assert "Kept: the pairing key" in run(None, "forget", "all").stdout
    assert "terminal" in answer(None, "forget", serial, "--pairing-key", code=2)["error"]
    with terminal(None, "forget", serial, "--pairing-key") as child:
        dialogue(child, ("Delete the pairing key", "n"))
        assert ended(child) == 1
    assert State().pairing_key(own.serial) is not None
    with terminal(None, "forget", serial, "--pairing-key") as child:
        dialogue(child, ("Delete the pairing key", "y"))
        child.expect_exact(f"The pairing key of the card {serial} was deleted")
        assert ended(child) == 0
        assert "Nothing was remembered" not in shown(child)
    assert State().pairing_key(own.serial) is None


def test_forgetting_all_forgets_all_keys(own: EmulatorProcess) -> None:
    """Also those of cards of which nothing else is remembered."""
    State().keep_pairing_key(7, bytes(32))
    data = answer(None, "forget", "all", "--pairing-key", "--yes")
    assert sorted(data["pairing_keys_deleted"]) == sorted(["7", str(own.serial)])
    assert State().paired() == []


# An impostor: a card of the same serial number, with a key of its own and the common pairing key

IMPOSTORS = {
    "not genuine": {"maker": "Mallory "},
    "genuine over TCP": {
        "unlike": "from cryptnox_core.emulator import ca; scalar = ca.scalar; "
        "ca.scalar = lambda label: scalar(('Mallory ' if 'static' in label else '') + label)"
    },
}


def kept_after(how: str, card: EmulatorProcess, tmp_path: Path) -> None:
    """How the owner's own pairing key came to be here."""
    if how == "recover":
        elsewhere, file = {"XDG_STATE_HOME": str(tmp_path / "elsewhere")}, tmp_path / "key"
        assert run(card, "pairing", "change", "--stdinpuk", stdin=PUK, **elsewhere).returncode == 0
        assert run(card, "pairing", "export", str(file), **elsewhere).returncode == 0
        assert run(card, "pairing", "recover", "--file", str(file)).returncode == 0
        return
    assert run(card, "pairing", "change", "--stdinpuk", stdin=PUK).returncode == 0
    if how == "forget":
        assert run(None, "forget", str(card.serial)).returncode == 0
    elif how == "unreadable":
        (State().folder / "cards.json").write_text(json.dumps({str(card.serial): {"full": "x"}}))
    elif how == "a change without an end":
        key = State().pairing_key(card.serial)
        State().forget()
        State().keep_pairing_key(card.serial, bytes(32), key)


@pytest.mark.parametrize("impostor", [*IMPOSTORS])
@pytest.mark.parametrize("how", ["recover", "change", "forget", "unreadable", "a change without an end"])
def test_an_impostor_costs_no_pairing_key(how: str, impostor: str, tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "card"))
    with EmulatorProcess("--seed", SEED, *state) as card:
        kept_after(how, card, tmp_path)
    file = State().folder / "pairing.json"
    before = file.read_text()
    assert len(before) > 64
    with EmulatorProcess("--serial", str(card.serial), "--pin", PIN, **IMPOSTORS[impostor]) as fake:  # type: ignore[arg-type]
        for words in (("pin", "tries"), ("info",), ("pairing", "recover")):
            run(fake, *words)
            assert file.read_text() == before, words
        assert "11" in fake.stats()["by_ins"] or how not in ("forget", "a change without an end"), "a channel was open"
    with EmulatorProcess(*state) as card:
        done = run(card, "pin", "tries")
        assert done.returncode == 0 and "6 PIN tries" in done.stdout, "the card is opened with its own key"


def test_the_puk_given_to_an_impostor_drops_no_pairing_key(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "card"))
    with EmulatorProcess("--seed", SEED, *state) as card:
        kept_after("forget", card, tmp_path)
    key = State().pairing_key(card.serial)
    with EmulatorProcess("--serial", str(card.serial), "--pin", PIN, maker="Mallory ") as fake:
        assert run(fake, "pairing", "change", "--stdinpuk", stdin=PUK).returncode == 0
        assert key in State().pairing_keys(card.serial)
    with EmulatorProcess(*state) as card:
        assert run(card, "pin", "tries").returncode == 0


def test_a_forgotten_card_back_on_the_common_key(own: EmulatorProcess, tmp_path: Path) -> None:
    """It is used as it is; its own key goes as soon as its PIN has made it known again."""
    key = State().pairing_key(own.serial)
    elsewhere = {"XDG_STATE_HOME": str(tmp_path)}
    assert run(own, "pairing", "recover", "--stdinpuk", stdin=PUK, **elsewhere).returncode == 0
    assert run(None, "forget", str(own.serial)).returncode == 0
    assert not answer(own, "info")["own_pairing_key"]
    assert not answer(own, "pairing", "recover", schema="pairing recover")["own_pairing_key"]
    assert State().pairing_key(own.serial) == key
    assert run(own, "pin", "verify", "--stdinpass", stdin=PIN).returncode == 0
    assert run(own, "pin", "tries").returncode == 0
    assert State().pairing_key(own.serial) is None
