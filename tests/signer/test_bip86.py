"""Taproot key paths (BIP86) signed through HWI's commands, on cards that were asked and on cards that were not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pytest

from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.psbt.finalize import extract
from hwilib_cryptnox.signer.signatures.memory import REPEATED_NONCE_TEXT
from hwilib_cryptnox.signer.signing import NO_KEY_PATH_TEXT
from hwilib_cryptnox.storage.state import State
from tests.ctl.program import answer
from tests.hwi.conftest import Program
from tests.psbt.factory import OTHER, Draft, Out, draft, p2wpkh, spend
from tests.support import bip86
from tests.support.emulator import SEED, EmulatorProcess
from tests.support.kernel import failing_inputs

READINGS = ("musig2", "musig2-no-second", "musig2-as-printed")
KEYS = 200


def emulated(*options: str) -> EmulatorProcess:
    return EmulatorProcess("--seed", SEED, "--xpub-export", *options)


@pytest.fixture(scope="module")
def able() -> Iterator[EmulatorProcess]:
    with emulated("--reading", "musig2") as card:
        yield card


def check(card: EmulatorProcess) -> None:
    answer(card, "taproot", "check", schema="taproot check")


def judged(said: object, given: Draft) -> Psbt:
    """All signed, and Bitcoin Core's verifier takes every input."""
    assert isinstance(said, dict) and said.get("signed") is True, said
    signed = Psbt.parse(said["psbt"])
    assert failing_inputs(extract(signed), [(item.amount, item.script) for item in given.ins]) == []
    return signed


def test_every_parity_and_sighash_type_that_is_allowed(able: EmulatorProcess, hwi: Program) -> None:
    check(able)
    at = bip86.one_of_each()
    given = draft(*[bip86.coin(path, kind=kind) for path, kind in zip(at, (None, 0, 1, None), strict=True)])
    signed = judged(hwi.on(able, "signtx", given.base64()), given)
    assert [len(fields.pairs[b"\x13"]) for fields in signed.inputs] == [64, 64, 65, 64]
    again = hwi.on(able, "signtx", signed.to_base64())
    assert again == {"psbt": signed.to_base64(), "signed": False}
    unlike = bip86.spending(at[:1], kind=3)
    assert "SINGLE" in hwi.on(able, "signtx", unlike.base64())["error"]
    judged(hwi.on(able, "--allow-sighash", "signtx", unlike.base64()), unlike)


def test_beside_other_inputs_and_with_change(able: EmulatorProcess, hwi: Program) -> None:
    """Legacy, segwit, untweaked taproot and BIP86 together; the change of BIP86 is proved."""
    check(able)
    kinds = ("p2pkh", "p2wpkh", "rawtr")
    at = bip86.one_of_each()[:2]
    coins = [spend(kind, number + 20) for number, kind in enumerate(kinds)]
    coins += [bip86.coin(path, proved=True) for path in at]
    back = bip86.change("m/86h/0h/0h/1/9", 200_000)
    given = draft(*coins, outs=[Out(p2wpkh(OTHER.key("m/0")), 290_000), back])
    judged(hwi.on(able, "signtx", given.base64()), given)


def test_what_it_costs(able: EmulatorProcess, hwi: Program) -> None:
    """A level for each key, and five commands a signature."""
    check(able)
    at = [f"m/86h/0h/0h/0/{number}" for number in range(100, 108)]
    given = bip86.spending(at)
    hwi.on(able, "getxpub", "m/86h/0h/0h")
    before = able.stats()
    judged(hwi.on(able, "signtx", given.base64()), given)
    after = able.stats()
    assert after["derivations"] - before["derivations"] == 3 + 1 + 8
    assert after["signatures"] - before["signatures"] == 8
    used = {ins: count - before["by_ins"].get(ins, 0) for ins, count in after["by_ins"].items()}
    assert (used["C7"], used["C8"], used["D1"], used.get("C0", 0)) == (8, 24, 2 + 8, 0)


@pytest.mark.parametrize("reading", ["", *READINGS])
def test_a_card_that_was_not_asked(reading: str, hwi: Program) -> None:
    """Nothing is signed, and the reason says what to do; whatever the card could."""
    with emulated(*(["--reading", reading] if reading else [])) as card:
        before = card.stats()["signatures"] if reading == "" else 0
        said = hwi.on(card, "signtx", bip86.spending(bip86.one_of_each()).base64())
        assert said["code"] == -7 and "cryptnoxctl taproot check" in said["error"]
        assert card.stats()["signatures"] == before
        assert len(hwi.on(card, "getdescriptors")["receive"]) == 3
        assert hwi.on(card, "getkeypool", "--addr-type", "tap", "0", "5")["code"] == -9
        assert card.stats()["by_ins"].get("C7", 0) == 0


@pytest.mark.parametrize("reading", ["", *READINGS[1:]])
def test_a_memory_that_lies(reading: str, able: EmulatorProcess, hwi: Program) -> None:
    """The note of a card that signs, with the same serial number, seed and applet version: the signature is verified
    before it goes anywhere, nothing is handed out, and the note is gone."""
    check(able)
    note = State().record(able.serial).taproot
    assert note is not None
    with emulated(*(["--reading", reading] if reading else [])) as card:
        assert card.serial == able.serial
        for path in bip86.one_of_each():
            State().update(card.serial, lambda now: replace(now, taproot=note))
            said = hwi.on(card, "signtx", bip86.spending([path]).base64())
            assert said == {"error": NO_KEY_PATH_TEXT, "code": -13}
            assert State().record(card.serial).taproot is None
        assert len(hwi.on(card, "getdescriptors")["receive"]) == 3
        partial = State().folder / "partial"
        assert not partial.exists() or not any(partial.iterdir())


def test_with_the_export_off(hwi: Program) -> None:
    """Each key is read by itself."""
    with EmulatorProcess("--seed", SEED, "--reading", "musig2") as card:
        check(card)
        given = bip86.spending(bip86.one_of_each())
        judged(hwi.on(card, "signtx", given.base64()), given)


def test_pins_that_end(hwi: Program) -> None:
    """Where a signature ends the PIN's validity: it is verified again, once for each, and no try is spent."""
    with emulated("--reading", "musig2", "--reading", "pin-ends-at-sign") as card:
        check(card)
        at = bip86.one_of_each()
        given = draft(spend("p2pkh"), spend("p2wpkh"), *[bip86.coin(path, proved=True) for path in at])
        judged(hwi.on(card, "signtx", given.base64()), given)
        assert card.stats()["pin_tries"] == 0


@pytest.mark.parametrize("ins", ["C7", "C8", "D1"])
@pytest.mark.parametrize("kind", ["remove", "badmac"])
def test_a_card_that_goes_away(ins: str, kind: str, hwi: Program) -> None:
    """It goes on with what is left, with new nonces."""
    with emulated("--reading", "musig2") as card:
        check(card)
    with emulated("--reading", "musig2", "--fault", f"{kind}@{ins}:3") as card:
        given = bip86.spending(bip86.one_of_each())
        judged(hwi.on(card, "signtx", given.base64()), given)
        assert card.stats()["by_ins"]["A4"] == 2


def test_a_nonce_that_comes_again(hwi: Program) -> None:
    """The card gives the nonces of before again: the signatures would have other nonces, and give the key away all the
    same. The second is handed out to nobody and kept nowhere; asked again, with a new nonce, it is made."""
    with emulated("--reading", "musig2", "--fault", "repeat-nonce@C7:6") as card:
        check(card)
        given = bip86.spending(bip86.one_of_each()[:2])
        assert hwi.on(card, "signtx", given.base64()) == {"error": REPEATED_NONCE_TEXT, "code": -13}
        lines = [line for file in (State().folder / "partial").iterdir() for line in file.read_text().splitlines()]
        assert len(lines) == 1
        judged(hwi.on(card, "signtx", given.base64()), given)


def two_hundred() -> list[Draft]:
    at = [*islice(bip86.paths(), 120), *islice(bip86.paths("m/86h/1h/7h"), 40), *islice(bip86.paths("m/86h/0h/3h"), 40)]
    assert len(set(at)) == KEYS and {bip86.parities(path) for path in at} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert min([bip86.parities(path) for path in at].count(each) for each in ((0, 0), (0, 1), (1, 0), (1, 1))) > 25
    return [bip86.spending(at[first : first + 40]) for first in range(0, KEYS, 40)]


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_two_hundred_keys(able: EmulatorProcess, hwi: Program) -> None:
    """Of all parities, in accounts of two networks."""
    check(able)
    for given in two_hundred():
        judged(hwi.on(able, "signtx", given.base64()), given)


@pytest.mark.heavy
@pytest.mark.timeout(900)
@pytest.mark.parametrize("reading", ["", *READINGS[1:]])
def test_two_hundred_keys_of_cards_that_do_not(reading: str, hwi: Program) -> None:
    """Not one is signed, whatever its parities are."""
    with emulated(*(["--reading", reading] if reading else [])) as card:
        answer(card, "taproot", "check", schema="taproot check", code=1)
        asked = card.stats()["signatures"]
        for given in two_hundred():
            said = hwi.on(card, "signtx", given.base64())
            assert said["code"] == -7 and "tweaked key" in said["error"]
        assert card.stats()["signatures"] == asked
        everything = str(hwi.on(card, "getdescriptors")) + str(hwi.on(card, "getkeypool", "--all", "0", "5"))
        assert "tr(" not in everything
        assert hwi.on(card, "getkeypool", "--addr-type", "tap", "0", "5")["code"] == -9


def test_core_and_hwi_have_the_descriptors(able: EmulatorProcess, hwi: Program) -> None:
    check(able)
    told = hwi.on(able, "getdescriptors")
    assert [text.split("(")[0] for text in told["receive"]] == ["pkh", "wpkh", "sh", "tr"]
    assert told["internal"][3].startswith("tr([") and "/86h/0h/0h]xpub" in told["internal"][3]
    pool = hwi.on(able, "getkeypool", "--addr-type", "tap", "0", "5")
    assert [entry["desc"] for entry in pool] == [told["receive"][3], told["internal"][3]]
    assert len(hwi.on(able, "getkeypool", "--all", "0", "5")) == 8
    raw = hwi.on(able, "--rawtr", "getdescriptors")
    assert [text.split("(")[0] for text in raw["receive"]] == ["pkh", "wpkh", "sh", "rawtr"]
    shown = hwi.on(able, "displayaddress", "--desc", told["receive"][3].replace("*", "0").partition("#")[0])
    assert shown["code"] == -9 and "screen" in shown["error"]
