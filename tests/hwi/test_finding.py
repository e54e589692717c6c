"""The card that is meant where none is named: what is asked of one that is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hwilib_cryptnox.storage.state import State
from tests.hwi.conftest import PIN, Program
from tests.psbt.factory import ME
from tests.support.emulator import MNEMONIC, EmulatorProcess


@pytest.mark.parametrize("which", [("-t", "cryptnox"), ("-f", "73c5da0a")])
def test_a_card_that_is_refused_gets_no_pin(
    hwi: Program, signer: EmulatorProcess, state: State, which: tuple[str, ...]
) -> None:
    """Its serial was another card's, whose fingerprint is not known."""
    state.update(signer.serial, lambda now: replace(now, static_key=bytes(32)))
    answer = hwi(*which, "--emulators", "-p", PIN, "getmasterxpub", env={"CRYPTNOX_EMULATOR": signer.path[4:]})
    assert answer["code"] == -3 and "another card with the serial" in answer["error"]
    assert "20" not in signer.stats()["by_ins"]


DAMAGE = {"full": "x"}


@pytest.mark.parametrize("damage", ["a value", "the file", "a folder in its place"])
def test_an_impostor_where_it_cannot_be_read_which_cards_are_known(
    hwi: Program, signer: EmulatorProcess, state: State, damage: str
) -> None:
    """Not to be read is not never met: one that nobody vouches for gets no PIN. A genuine card is served."""
    used = ("-t", "cryptnox", "-d", signer.path, "-p", PIN, "getmasterxpub")
    assert "xpub" in hwi(*used)
    file = state.folder / "cards.json"
    if damage == "a value":
        file.write_text(json.dumps({str(signer.serial): DAMAGE}))
    elif damage == "the file":
        file.write_text("damaged")
    else:
        file.unlink()
        file.mkdir()
    assert "xpub" in hwi(*used), "a genuine card"
    options = ("--mnemonic", MNEMONIC, "--xpub-export", "--serial", str(signer.serial))
    with EmulatorProcess(*options, maker="Mallory ") as fake:
        answer = hwi("-t", "cryptnox", "-d", fake.path, "-p", PIN, "getmasterxpub")
        assert answer["code"] == -3 and "cards.json" in answer["error"] and "remove it" in answer["error"]
        (entry,) = hwi("--emulators", "-p", PIN, "enumerate", env={"CRYPTNOX_EMULATOR": fake.path[4:]})
        assert entry["code"] == -3 and "cards.json" in entry["error"] and "fingerprint" not in entry
        assert "20" not in fake.stats()["by_ins"]
        file.rmdir() if file.is_dir() else file.unlink()
        assert "xpub" in hwi("-t", "cryptnox", "-d", fake.path, "-p", PIN, "getmasterxpub"), "never met"


def test_another_cards_wallet_on_a_card_that_nobody_vouches_for(
    hwi: Program, signer: EmulatorProcess, state: State
) -> None:
    """Who is in between makes a certificate of his own, with a serial number of his choice."""
    state.update(7, lambda now: replace(now, fingerprint=ME.fingerprint, static_key=bytes(32)))
    words = ("-f", ME.fingerprint.hex(), "--emulators", "-p", PIN, "getmasterxpub")
    there = {"CRYPTNOX_EMULATOR": signer.path[4:]}
    before = signer.stats()["by_ins"].get("20", 0)
    answer = hwi(*words, env=there)
    assert answer["code"] == -3 and signer.stats()["by_ins"].get("20", 0) == before
    assert "on the card 7;" in answer["error"] and str(signer.serial) in answer["error"]
    assert "xpub" in hwi("-t", "cryptnox", "-d", signer.path, "-p", PIN, "getmasterxpub"), (
        "named, and known from now on"
    )
    assert "xpub" in hwi(*words, env=there)
