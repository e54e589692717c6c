"""The plugin in Electrum 4.8.3's own window, with emulated cards; Bitcoin Core's verifier judges what was signed."""

from __future__ import annotations

import base64

import pytest
from embit import bip32, bip39
from embit.networks import NETWORKS
from embit.script import Script, address_to_scriptpubkey, p2pkh, p2sh, p2wpkh
from embit.transaction import Transaction

from tests.electrum.people import SCRIPTS, Person, card
from tests.support.emulator import MNEMONIC
from tests.system.interop.paper import message_key

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("electrum-window"), pytest.mark.timeout(1200)]

FINGERPRINT = "73c5da0a"
RECIPIENTS = {
    net: Script(b"\x00\x14" + 20 * b"\x51").address(NETWORKS[name])
    for net, name in {"mainnet": "main", "regtest": "regtest", "testnet": "test", "signet": "signet"}.items()
}
RECIPIENT = RECIPIENTS["regtest"]
ROOT = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(MNEMONIC))


def script_of(purpose: int, path: str) -> bytes:
    """What an address of the words at a path pays to."""
    key = ROOT.derive(path).get_public_key()
    inner = p2wpkh(key)
    made = {44: p2pkh(key), 49: p2sh(inner), 84: inner}[purpose]
    return bytes(made.data)


@pytest.mark.parametrize("purpose", SCRIPTS)
def test_receive_and_send(person: Person, purpose: int) -> None:
    """A wallet made in the wizard, an address that the card confirms, a payment, and what is left of it all."""
    with card() as cards, person.electrum(cards) as window:
        person.make_wallet(window, purpose)
        person.fund(window, 100_000, 70_000)
        address = person.request(window)
        person.check_address(window)
        person.type_pin(window)
        window.wait("This address belongs to the card")
        assert address in window.text("Cryptnox card")
        window.click("OK", window="Cryptnox card")
        person.prepare_payment(window, RECIPIENT, "0.0015")
        window.click("Sign", window="Transaction")
        window.wait("about to sign")
        shown = window.text("review")
        assert "0.00150000 BTC to" in shown
        assert RECIPIENT in shown
        assert "proved with the card's keys" in shown
        window.click("Sign", window="review")
        window.wait("Status: Signed")
        raw = person.signed(window)
        window.quit()
    made = Transaction.parse(raw)
    assert len(made.vin) == 2
    paid = {bytes(out.script_pubkey.data): out.value for out in made.vout}
    assert paid[bytes(address_to_scriptpubkey(RECIPIENT).data)] == 150_000
    assert script_of(purpose, f"m/{purpose}h/1h/0h/1/0") in paid
    assert bytes(address_to_scriptpubkey(address).data) == script_of(purpose, f"m/{purpose}h/1h/0h/0/2")
    (keystore,) = [person.wallet()["keystore"]]
    assert keystore["type"] == "hardware"
    assert keystore["hw_type"] == "cryptnox"
    assert keystore["root_fingerprint"] == FINGERPRINT
    assert keystore["derivation"] == f"m/{purpose}h/1h/0h"
    person.nothing_knows()


@pytest.mark.parametrize("purpose", SCRIPTS)
def test_message(person: Person, purpose: int) -> None:
    with card() as cards, person.electrum(cards) as window:
        person.make_wallet(window, purpose)
        (address, *_) = window.do("addresses")["receive"]
        window.menu("Tools", "Sign/verify message")
        window.wait("Signature")
        window.write("Paid in full.", 0, window="Message")
        window.write(address, 1, window="Message")
        window.click("Sign", window="Message")
        person.type_pin(window)
        window.until(lambda: window.do("read", number=2, window="Message"))
        signature = window.do("read", number=2, window="Message")
        assert len(base64.b64decode(signature)) == 65
        key = ROOT.derive(f"m/{purpose}h/1h/0h/0/0").get_public_key().sec()
        assert message_key(signature, "Paid in full.") == key
