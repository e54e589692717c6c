"""What people do in Electrum's window besides what they should: Enter twice, wait, guess, leave, wallets of others."""

from __future__ import annotations

import json
import time

import pytest
from embit import bip32, bip39
from embit.networks import NETWORKS
from embit.script import p2wpkh

from tests.electrum.people import PIN, Person
from tests.electrum.test_cards import open_wallet, pay, sign_message, signature, unsigned
from tests.electrum.test_in_electrum import RECIPIENT
from tests.electrum.window import prepare
from tests.support.emulator import EmulatorProcess
from tests.system.interop.programs import OTHER_MNEMONIC, run_hwi

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("electrum-window"), pytest.mark.timeout(1200)]

GUESSES = 10
"""More than a card takes."""
PASSWORD = "a password of my own"


def test_enter_signs_nothing(person: Person, own: EmulatorProcess) -> None:
    """Who presses Enter for the PIN, and again since nothing seems to happen, has not seen what the card would sign."""
    with person.electrum(own) as window:
        window.wait("Type the PIN of")
        window.write(PIN, window="PIN")
        window.do("press", key="Return")
        window.wait_gone("Type the PIN")
        pay(person, window)
        window.click("Sign", window="Transaction")
        window.wait("about to sign")
        for key in ("Return", "Enter", "Space", "Return", "Return"):
            window.do("press", key=key)
            time.sleep(0.2)
        assert "about to sign" in window.text()
        assert own.stats()["signatures"] == 0
        window.do("press", key="Escape")
        unsigned(window)
        person.sign(window)


def test_a_pin_is_forgotten_after_some_time(person: Person, own: EmulatorProcess) -> None:
    """Also while the card is out."""
    prepare(person.home / "electrum", "regtest", session_timeout=4)
    with person.electrum(own) as window:
        person.pair(window)
        person.program.insert()
        window.click("Cryptnox card*")
        window.click("Pair again")
        window.wait("Please insert")
        window.click("No")
        window.wait_gone("Please insert")
        time.sleep(8)
        person.program.insert(own.path)
        pay(person, window)
        window.click("Sign", window="Transaction")
        window.wait("Type the PIN of")
        window.click("Cancel", window="PIN")
        unsigned(window)
        assert own.stats()["signatures"] == 0


def test_the_last_try_is_the_persons(person: Person, own: EmulatorProcess) -> None:
    """After some guesses the card has one try left, which is spent only after a yes."""
    with person.electrum(own) as window:
        window.wait("History")
        for number in range(GUESSES):
            person.type_pin(window, f"86420{number}")
            window.wait_gone("Type the PIN of")
            if window.wait("Type the PIN of", "One PIN try is left", "OK") != "Type the PIN of":
                break
        spent = own.stats()["pin_tries"]
        window.wait("One PIN try is left")
        assert "PUK" in window.text()
        window.click("No")
        window.wait_gone("One PIN try is left")
        time.sleep(1)
        assert "does not hold the keys" not in window.text()
        assert own.stats()["pin_tries"] == spent
        pay(person, window)
        window.click("Sign", window="Transaction")
        person.type_pin(window)
        window.wait("One PIN try is left")
        window.click("Yes")
        window.wait("about to sign")
        window.click("Sign", window="review")
        window.wait("Status: Signed")
        person.signed(window)


def test_a_high_fee_is_typed(person: Person, own: EmulatorProcess) -> None:
    prepare(person.home / "electrum", "regtest", fee_policy={"default": "feerate:1400000"})
    with person.electrum(own) as window:
        person.pair(window)
        person.fund(window, 300_000)
        person.prepare_payment(window, RECIPIENT, "0.0005")
        window.click("Sign", window="Transaction")
        window.wait("about to sign")
        assert "Type the fee in satoshi" in window.text("review")
        fee = next(line for line in window.text("review").splitlines() if "Fee: " in line)
        number = fee.partition("(")[2].partition(" satoshi")[0]
        assert int(number.replace(",", "")) > 30_000
        window.write(number[:-1], window="review")
        assert not window.do("click", text="Sign", window="review")
        window.write(number, window="review")
        window.click("Sign", window="review")
        window.wait("Status: Signed")
        person.signed(window)


def test_electrum_is_killed_at_the_review(person: Person, own: EmulatorProcess) -> None:
    """Nothing is signed, and the card is free again."""
    with person.electrum(own) as window:
        person.pair(window)
        pay(person, window)
        window.click("Sign", window="Transaction")
        window.wait("about to sign")
        window.kill()
    command = ["--device-type", "cryptnox", "--device-path", own.path, "--stdinpass", "getxpub", "m/84h/0h/0h"]
    end = time.monotonic() + 60
    while "error" in (answer := run_hwi(command, stdin=f"{PIN}\n")):
        assert time.monotonic() < end, answer
        time.sleep(1)
    assert own.stats()["signatures"] == 0


def test_a_wallet_with_a_password(person: Person, own: EmulatorProcess) -> None:
    """Electrum's password encrypts the file; the card's PIN is asked for beside it, each in its own dialogue."""
    with person.electrum(own) as window:
        person.pair(window)
        window.menu("Wallet", "Password")
        window.wait("add a password to your")
        window.write(PASSWORD, 0, window="Change Password")
        window.write(PASSWORD, 1, window="Change Password")
        window.click("OK", window="Change Password")
        window.wait("Password was updated successfully")
        window.click("OK")
        window.quit()
    assert b"keystore" not in person.wallet_file().read_bytes()
    with person.electrum(own) as window:
        window.wait("Electrum wallet")
        window.write(PASSWORD, 1)
        window.click("Finish")
        person.pair(window)
        pay(person, window)
        person.sign(window)
        window.quit()
    person.nothing_knows()


def test_a_wallet_file_of_somebody_else(person: Person, own: EmulatorProcess) -> None:
    """Whatever its label says: it is shown as it is, and the card's button works."""
    path = person.wallet_file()
    wallet = person.wallet()
    wallet["keystore"]["label"] = "<h1>Your card is broken.</h1><img src=http://127.0.0.1:9/x> " + "x" * 5_000
    wallet["keystore"]["soft_device_id"] = ["cryptnox:1"]
    path.write_text(json.dumps(wallet))
    with person.electrum(own) as window:
        window.wait("Please select which Cryptnox card")
        window.click("OK")
        person.type_pin(window)
        window.wait_gone("Type the PIN")
        window.click("Cryptnox card*")
        window.wait("Master fingerprint")
        window.click("Forget the PIN")
        window.wait("The PIN was forgotten")
        window.click("OK")
        assert "report" not in window.text().lower()
        assert own.stats()["pin_tries"] == 0


def test_a_wallet_of_other_words(person: Person, own: EmulatorProcess) -> None:
    """Made with this very card before it got other words. Electrum takes a card that another window paired without
    asking for its key: no address of the old wallet is called the card's, and no message is signed for one."""
    other = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(OTHER_MNEMONIC))
    wallet = person.wallet()
    keystore = wallet["keystore"]
    keystore["root_fingerprint"] = other.my_fingerprint.hex()
    keystore["xpub"] = other.derive("m/84h/1h/0h").to_public().to_base58(NETWORKS["regtest"]["zpub"])
    made = {
        kind: [
            str(p2wpkh(other.derive(f"m/84h/1h/0h/{branch}/{number}").get_public_key()).address(NETWORKS["regtest"]))
            for number in range(len(wallet["addresses"][kind]))
        ]
        for branch, kind in enumerate(("receiving", "change"))
    }
    wallet |= {"addresses": made, "addr_history": {address: [] for addresses in made.values() for address in addresses}}
    person.wallet_file(name="old").write_text(json.dumps(wallet))
    with person.electrum(own) as window:
        person.pair(window)
        open_wallet(window, str(person.wallet_file(name="old")))
        sign_message(window, "old", made["receiving"][0])
        person.type_pin(window)
        window.wait("does not belong to this address", "a different wallet")
        window.click("OK")
        assert window.do("read", number=2, window="Message") == ""
        assert own.stats()["pin_tries"] == 0


def test_one_window_waits_for_the_other(person: Person, own: EmulatorProcess) -> None:
    """While one shows what the card would sign, the other's command waits for its turn, and asks for its own PIN."""
    second = person.wallet_file(name="second")
    second.write_text(person.wallet_file().read_text())
    with person.electrum(own) as window:
        person.pair(window)
        pay(person, window)
        open_wallet(window, str(second))
        window.click("Sign", window="Transaction")
        window.wait("about to sign")
        sign_message(window, "second")
        time.sleep(3)
        assert "about to sign" in window.text()
        assert "Type the PIN of" not in window.text()
        window.click("Sign", window="review")
        window.wait("Status: Signed")
        person.type_pin(window)
        assert signature(window)
        window.click("Close", window="Message")
        person.signed(window)
        assert own.stats()["pin_tries"] == 0
