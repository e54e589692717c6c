"""Wallets of more kinds in Electrum's window: several cosigners, other networks, many coins."""

from __future__ import annotations

import pytest
from embit import bip32, bip39
from embit.psbt import PSBT

from hwilib_cryptnox.networks import Network, ScriptType
from tests.electrum.people import PIN, Person, card
from tests.electrum.test_in_electrum import RECIPIENT, RECIPIENTS
from tests.electrum.window import FROZEN, ElectrumWindow
from tests.support.emulator import MNEMONIC, EmulatorProcess
from tests.system.interop.programs import OTHER_MNEMONIC, run_hwi

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("electrum-window"), pytest.mark.timeout(1200)]

THIRD_MNEMONIC = "legal winner thank year wave sausage worth useful legal winner thank yellow"


def account_key(mnemonic: str, script: ScriptType, path: str) -> str:
    """What a cosigner hands over: their account's key in SLIP-132's form."""
    root = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(mnemonic))
    return str(root.derive(path).to_public().to_base58(version=script.slip132(Network.TEST)))


def start_multisig(person: Person, window: ElectrumWindow, script: str, signers: int) -> None:
    """The wizard, up to the first cosigner's key from the card: two signatures of `signers`."""
    window.wait("Electrum wallet")
    window.click("Next")
    window.wait("What kind of wallet")
    window.click("Multi-signature wallet")
    window.click("Next")
    window.wait("Require 2 signatures")
    window.slide(1, signers) if signers > 2 else None
    window.click("Next")
    window.wait("Use a hardware device")
    window.click("Use a hardware device")
    window.click("Next")
    window.wait("Select a device")
    window.click("Next")
    window.wait("Choose the type of addresses")
    window.click(script)
    window.click("Next")
    person.type_pin(window)
    window.wait("Add Cosigner 2")


def add_key(window: ElectrumWindow, number: int, key: str) -> None:
    """A cosigner whose card is elsewhere."""
    window.wait(f"Add Cosigner {number}")
    window.click("Enter cosigner key")
    window.click("Next")
    window.wait("Please enter the master public key")
    window.paste(key)
    window.click("Next")


def elsewhere(other: EmulatorProcess, psbt: str) -> str:
    """The other cosigner signs with a card and a program of their own."""
    answer = run_hwi(
        ["--device-type", "cryptnox", "--device-path", other.path, "--chain", "regtest", "--stdinpass", "--stdin"],
        stdin=f"{PIN}\nsigntx {psbt}\n",
    )
    assert answer.get("signed") is True, answer
    return str(answer["psbt"])


@pytest.mark.parametrize(
    ("script", "kind", "path", "signers"),
    [
        ("native segwit multisig (p2wsh)", ScriptType.P2WSH, "m/48h/1h/0h/2h", 2),
        ("p2sh-segwit multisig (p2wsh-p2sh)", ScriptType.P2SH_P2WSH, "m/48h/1h/0h/1h", 3),
    ],
)
def test_two_signatures(person: Person, script: str, kind: ScriptType, path: str, signers: int) -> None:
    """The card signs in the window, the second cosigner elsewhere, and the window puts both together."""
    with card() as mine, card(OTHER_MNEMONIC) as other, person.electrum(mine) as window:
        start_multisig(person, window, script, signers)
        add_key(window, 2, account_key(OTHER_MNEMONIC, kind, path))
        if signers == 3:
            add_key(window, 3, account_key(THIRD_MNEMONIC, kind, path))
        window.wait("password")
        window.click("Finish")
        window.wait("History")
        person.fund(window, 100_000)
        person.prepare_payment(window, RECIPIENT, "0.0005")
        window.click("Sign", window="Transaction")
        person.type_pin(window)
        window.wait("about to sign")
        print(window.text("review"))
        window.click("Sign", window="review")
        window.wait("Partially signed (1/2)")
        window.menu("Share", "Copy to clipboard")
        half = str(window.until(lambda: window.do("clipboard")))
        (given,) = PSBT.from_string(half).inputs
        assert len(given.partial_sigs) == 1
        full = elsewhere(other, half)
        window.click("Close", window="Transaction")
        window.wait_gone("Status: ")
        window.menu("Tools", "Load transaction", "From text")
        window.paste(full, window="Input raw")
        window.click("Load transaction", window="Input raw")
        window.wait("Status: Signed")
        person.signed(window)
        window.quit()
    assert {person.wallet()[name]["type"] for name in ("x1", "x2")} == {"hardware", "bip32"}
    person.nothing_knows()


def test_two_cards_in_one_window(person: Person) -> None:
    """Both cosigners are cards of this computer: each asks for its own PIN."""
    with card() as mine, card(OTHER_MNEMONIC) as other, person.electrum(mine) as window:
        start_multisig(person, window, "native segwit multisig (p2wsh)", 2)
        person.program.insert(mine.path, other.path)
        window.click("Cosign with hardware device")
        window.click("Next")
        window.wait("Select a device")
        window.click(f"Cryptnox {other.path.removeprefix('tcp:')}*")
        window.click("Next")
        window.wait("If you are not sure what this is")
        window.click("Next")
        person.type_pin(window)
        window.wait("password")
        window.click("Finish")
        window.wait("History")
        person.fund(window, 100_000)
        person.prepare_payment(window, RECIPIENT, "0.0005")
        window.click("Sign", window="Transaction")
        for _ in range(2):
            person.type_pin(window)
            window.wait("about to sign")
            window.click("Sign", window="review")
            window.wait_gone("Cryptnox card: review")
        window.wait("Status: Signed")
        person.signed(window)
        assert (mine.stats()["signatures"], other.stats()["signatures"]) == (1, 1)
        assert mine.stats()["pin_tries"] + other.stats()["pin_tries"] == 0


@pytest.mark.parametrize("net", ["testnet", "signet", "mainnet"])
def test_networks(person: Person, net: str) -> None:
    with card() as mine, person.electrum(mine, net=net) as window:
        person.make_wallet(window)
        person.fund(window, 100_000)
        address = person.request(window)
        assert address.startswith("bc1q" if net == "mainnet" else "tb1q")
        person.check_address(window)
        person.type_pin(window)
        window.wait("This address is the card's")
        window.click("OK", window="Cryptnox card")
        person.prepare_payment(window, RECIPIENTS[net], "0.0005")
        window.click("Sign", window="Transaction")
        window.wait("about to sign")
        shown = window.text("review")
        assert RECIPIENTS[net] in shown
        window.click("Sign", window="review")
        window.wait("Status: Signed")
        person.signed(window)
        window.quit()
    coin = 0 if net == "mainnet" else 1
    assert person.wallet(net)["keystore"]["derivation"] == f"m/84h/{coin}h/0h"


def test_many_coins(person: Person) -> None:
    """The window counts the signatures, stays usable, and goes on after a cancel where it was."""
    coins = 30
    with card(MNEMONIC, "--latency", "sign=400") as mine, person.electrum(mine) as window:
        person.make_wallet(window)
        person.fund(window, *[20_000] * 20)
        person.fund(window, *[20_000] * (coins - 20), first=0)
        person.prepare_payment(window, RECIPIENT, "")
        window.longest_pause()
        window.click("Sign", window="Transaction")
        person.type_pin(window)
        window.wait("about to sign")
        window.click("Sign", window="review")
        window.wait(f"of {coins}")
        window.wait(f"5 of {coins}", f"6 of {coins}", f"7 of {coins}")
        window.click("Cancel", window="Cryptnox card")
        window.wait_gone("Please wait")
        window.wait("Status: Unsigned")
        assert mine.stats()["signatures"] < coins
        window.click("Sign", window="Transaction")
        window.wait("about to sign", "Type the PIN")
        window.click("Sign", window="review")
        window.wait("Status: Signed")
        assert window.longest_pause() < FROZEN
        person.signed(window)
