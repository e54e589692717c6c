"""A card in a real reader whose signatures a token approves: a known one needs no touch, an unknown one gets none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cryptnox_core.card import Card
from cryptnox_core.transport.pcsc import PcscTransport
from tests.hwi.conftest import Program
from tests.hwi.test_listing import FPR, entry, listed
from tests.pin.test_approval import digests_of
from tests.signer.test_signing import account, check
from tests.support.consent import consenting
from tests.support.emulator import PIN, PUK, EmulatorProcess
from tests.support.pcsc import SLOTS, VirtualReaders
from tests.support.token import Token, plug

pytestmark = pytest.mark.pcsc


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> Token:
    made = Token()
    plug(monkeypatch, made)
    return made


@pytest.fixture
def card(virtual_readers: VirtualReaders, token: Token, tmp_path: Path) -> Iterator[EmulatorProcess]:
    """Its PIN is not switched off yet."""
    with virtual_readers.card(*consenting(token, tmp_path, pin_auth=True).options) as made:
        yield made


def switch_off() -> None:
    with Card(PcscTransport.open(SLOTS[0], 5)) as other:
        other.open_channel()
        other.set_pin_auth(False, PUK)


def test_known_and_unknown(card: EmulatorProcess, token: Token, hwi: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"cryptnox:{card.serial}"
    assert "xpub" in hwi("-t", "cryptnox", "-d", path, "-p", PIN, "getmasterxpub")
    switch_off()
    before = card.stats()
    assert listed(hwi, card) == listed(hwi, card, PIN) == [entry(path, fingerprint=FPR)]
    assert token.messages == [] and token.opened == 0
    assert card.stats()["by_ins"].get("10", 0) == before["by_ins"]["10"], "no channel either"
    given = account(2)
    for select in (["-t", "cryptnox", "-d", path], ["-f", FPR], ["-t", "cryptnox"]):
        token.messages.clear()
        check(hwi(*select, "signtx", given.base64()), given)
        assert sorted(token.messages[1:]) == sorted(digests_of(given))
    monkeypatch.delenv("CRYPTNOX_APPROVE")
    (found,) = listed(hwi, card)
    assert found["fingerprint"] == FPR and found["code"] == -12 and not found["needs_passphrase_sent"]
    assert found["error"].startswith("PIN authentication is off on this card")


def test_a_card_that_this_computer_never_saw(card: EmulatorProcess, token: Token, hwi: Program) -> None:
    """No CA vouches for it, so nothing is approved for it: its challenge could be somebody's transaction."""
    switch_off()
    path = f"cryptnox:{card.serial}"
    error = "a touch of the approving key is needed once: cryptnoxctl info"
    assert listed(hwi, card) == [entry(path, error=error, code=-12)]
    answer = hwi("-t", "cryptnox", "-d", path, "signtx", account(1).base64())
    assert answer["code"] == -12 and "not known to be genuine" in answer["error"]
    assert token.messages == [] and card.stats()["signatures"] == 0
