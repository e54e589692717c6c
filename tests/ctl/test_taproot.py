"""`taproot check`, and what the other commands offer for a card that was asked, and for one that was not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwilib_cryptnox.storage.state import State
from tests.ctl.program import answer, run
from tests.support.consent import consenting
from tests.support.emulator import MNEMONIC, EmulatorProcess
from tests.support.token import Token

ADDRESS = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"
"""The first receiving address of BIP86's test vectors (the mnemonic "abandon ... about")."""
CHANGE = "bc1p3qkhfews2uk44qtvauqyr2ttdsw7svhkl9nkm9s9c3x4ax5h60wqwruhk7"
XPUB = "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY49yfdDEHGCtMMj92pReUsQ"
OTHERS = {"": "no MuSig2", "musig2-no-second": "another MuSig2", "musig2-as-printed": "another MuSig2"}


def emulated(reading: str) -> EmulatorProcess:
    return EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export", *(["--reading", reading] if reading else []))


@pytest.fixture(scope="module")
def shared() -> Iterator[EmulatorProcess]:
    """A card whose MuSig2 is that of BIP327."""
    with emulated("musig2") as card:
        yield card


def test_a_card_that_signs_has_taproot_everywhere(shared: EmulatorProcess) -> None:
    assert answer(shared, "info")["taproot"] == "not asked"
    assert "cryptnoxctl taproot check" in answer(shared, "address", "--type", "p2tr", code=1)["error"]
    found = answer(shared, "taproot", "check", schema="taproot check")
    assert found == {"serial": str(shared.serial), "version": "1.6.0", "taproot": True, "found": "signs"}
    assert answer(shared, "info")["taproot"] == "signs"
    shown = answer(shared, "descriptors")["descriptors"]
    assert [entry["type"] for entry in shown] == ["p2pkh", "p2sh-p2wpkh", "p2wpkh", "p2tr"]
    assert shown[3]["receive"].startswith(f"tr([73c5da0a/86h/0h/0h]{XPUB}/0/*)#")
    assert answer(shared, "descriptors", "--type", "p2tr")["descriptors"] == shown[3:]
    assert answer(shared, "address", "--type", "p2tr")["addresses"][0]["address"] == ADDRESS
    assert answer(shared, "address", "--type", "p2tr", "--change")["addresses"][0]["address"] == CHANGE
    assert answer(shared, "address", "--type", "p2tr", "--path", "m/86h/0h/0h/1/0")["addresses"][0]["address"] == CHANGE
    check = answer(shared, "address", "--check", CHANGE, "--gap", "3", schema="address --check")
    assert (check["ours"], check["path"]) == (True, "m/86h/0h/0h/1/0")
    assert ADDRESS in run(shared, "address", "--type", "p2tr").stdout


def test_a_card_without_pin_authentication(tmp_path: Path) -> None:
    """It could only be asked with the PIN: told before anything is asked of the key that approves."""
    with consenting(Token(), tmp_path, "--reading", "musig2") as card:
        found = answer(card, "taproot", "check", code=1)
        assert "PIN authentication is off" in found["error"] and "pin-auth on" in found["hint"]
        assert not {"c7", "c8", "C7", "C8"} & card.stats()["by_ins"].keys()


def test_files_for_wallets(shared: EmulatorProcess) -> None:
    answer(shared, "taproot", "check", schema="taproot check")

    def exported(form: str, *more: str) -> str:
        return str(answer(shared, "export", form, *more)["content"])

    assert exported("key-line", "--type", "p2tr") == f"[73c5da0a/86h/0h/0h]{XPUB}"
    assert f"\ntr([73c5da0a/86h/0h/0h]{XPUB}/<0;1>/*)#" in exported("descriptor", "--type", "p2tr")
    entries = json.loads(exported("core", "--type", "p2tr"))
    assert [(entry["desc"].split("(")[0], entry["internal"]) for entry in entries] == [("tr", False), ("tr", True)]
    assert json.loads(exported("coldcard"))["bip86"] == {"name": "p2tr", "deriv": "m/86'/0'/0'", "xpub": XPUB}
    assert "Electrum" in answer(shared, "export", "electrum", "--type", "p2tr", code=2)["error"]
    assert "Wasabi" in answer(shared, "export", "wasabi", "--type", "p2tr", code=2)["error"]
    assert answer(shared, "export", "descriptor", "--type", "p2tr", "--threshold", "2", code=2)


@pytest.mark.parametrize(("reading", "found"), OTHERS.items())
def test_a_card_that_does_not_shows_none(reading: str, found: str) -> None:
    """The check says no, and no command has a descriptor, an address or a file of taproot afterwards."""
    with emulated(reading) as card:
        before = card.stats()["signatures"] if reading == "" else None
        said = answer(card, "taproot", "check", schema="taproot check", code=1)
        assert (said["taproot"], said["found"]) == (False, found)
        assert before is None or card.stats()["signatures"] == before
        assert answer(card, "info")["taproot"] == found
        shown = answer(card, "descriptors")["descriptors"]
        assert [entry["type"] for entry in shown] == ["p2pkh", "p2sh-p2wpkh", "p2wpkh"]
        assert "bip86" not in json.loads(answer(card, "export", "coldcard")["content"])
        for words in (
            ("descriptors",),
            ("address",),
            ("export", "descriptor"),
            ("export", "core"),
            ("export", "key-line"),
        ):
            refused = answer(card, *words, "--type", "p2tr", code=1)
            assert "taproot addresses (BIP86)" in refused["error"] and "p2wpkh" in refused["hint"]
        assert not answer(card, "address", "--check", ADDRESS, "--gap", "3", schema="address --check", code=1)["ours"]
        assert "No: " in run(card, "taproot", "check").stdout


def test_nobody_is_asked_where_no_card_ever_was() -> None:
    """Without any card that was asked here, taproot is refused before a card is opened."""
    for words in (("descriptors",), ("address",), ("export", "descriptor")):
        refused = answer(None, *words, "--type", "p2tr", code=1)
        assert "nobody has asked it yet" in refused["error"]


def test_it_wants_the_pin(shared: EmulatorProcess) -> None:
    tries = shared.stats()["pin_tries"]
    assert answer(shared, "taproot", "check", pin=None, code=4)["exit_code"] == 4
    assert shared.stats()["pin_tries"] == tries
    assert State().record(shared.serial).taproot is None


def test_what_the_card_signed_for_it_is_known_here(shared: EmulatorProcess) -> None:
    """The card's history has four signatures more; `audit` knows whose they are."""
    answer(shared, "taproot", "check", schema="taproot check")
    done = run(shared, "audit", "--json")
    told = json.loads(done.stdout)
    asked_elsewhere = {entry["digest"] for entry in told["elsewhere"]}
    answer(shared, "taproot", "check", schema="taproot check")
    again = json.loads(run(shared, "audit", "--json").stdout)
    assert again["compared"] == told["compared"] + 4
    assert {entry["digest"] for entry in again["elsewhere"]} <= asked_elsewhere
    assert again["repeated_nonce"] == []


@pytest.mark.parametrize("options", [("--type", "N"), ()])
def test_a_card_without_a_wallet(options: tuple[str, ...]) -> None:
    with EmulatorProcess(*options) as card:
        assert answer(card, "taproot", "check", code=1)["error"]
