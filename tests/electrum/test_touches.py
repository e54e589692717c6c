"""A wallet in Electrum whose card asks a key in a token instead of a PIN: what the window says, and what a no does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.electrum.people import SCRIPTS, Person
from tests.electrum.test_in_electrum import RECIPIENT
from tests.signer.test_softhsm import pin_command
from tests.support.consent import consenting
from tests.support.softhsm import TOKEN_PIN, SoftHsm
from tests.support.token import Token

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("electrum-window"), pytest.mark.timeout(1200)]

_ASKED = "Touch mine (approve) to read keys"
_FINGER = """
sys.path.insert(0, ROOT)
from hwilib_cryptnox.pin.pkcs11 import TokenApprover
sign = TokenApprover.sign
def touched(*what):
    while os.path.exists({hand!r}):
        time.sleep(0.1)
    return sign(*what)
TokenApprover.sign = touched
"""
"""The key in SoftHSM wants no touch: this is what takes its time."""


@pytest.fixture
def hand(person: Person, tmp_path: Path) -> Path:
    """While this file is there, nobody touches the token."""
    file = tmp_path / "away"
    person.program.replace(before=_FINGER.format(hand=str(file)))
    return file


@pytest.fixture
def token() -> Token:
    return Token()


@pytest.fixture
def environ(token: Token, tmp_path: Path) -> dict[str, str]:
    """What the program needs to find the key."""
    hsm = SoftHsm(tmp_path / "hsm")
    hsm.token("mine")
    hsm.import_key("mine", token.pem(tmp_path), "approve", "01")
    return {
        **hsm.environ,
        "CRYPTNOX_APPROVE": hsm.uri(token="mine", object="approve"),
        "CRYPTNOX_APPROVE_PIN_COMMAND": pin_command(TOKEN_PIN),
    }


def test_touches_instead_of_the_pin(
    person: Person, hand: Path, token: Token, environ: dict[str, str], tmp_path: Path
) -> None:
    """Nobody is asked for a PIN: the window says what to do at the token, with a button to cancel, and signs then."""
    with consenting(token, tmp_path) as card, person.electrum(card, environ=environ) as window:
        hand.touch()
        person.choose_card(window)
        window.wait("Choose the type of addresses")
        window.click(SCRIPTS[84])
        window.click("Next")
        window.wait(_ASKED)
        hand.unlink()
        window.wait("Encrypt", "Choose a password")
        window.click("Finish")
        window.wait("History")
        window.until(lambda: window.do("paired"), what="the card")
        person.fund(window, 100_000, 70_000)
        person.prepare_payment(window, RECIPIENT, "0.0015")
        hand.touch()
        window.click("Sign", window="Transaction")
        window.wait(_ASKED)
        window.click("Cancel", window="Cryptnox card")
        window.wait_gone(_ASKED)
        window.wait("Status: Unsigned")
        assert card.stats()["signatures"] == 0
        hand.unlink()
        window.click("Sign", window="Transaction")
        window.wait("about to sign")
        assert card.stats()["signatures"] == 0
        window.click("Sign", window="review")
        window.wait("Status: Signed")
        person.signed(window)
        assert "PIN" not in window.text()
        assert card.stats()["signatures"] == 2
        assert card.stats()["by_ins"].get("20", 0) == 0
        window.quit()
